//! The `rokini` binary: the one place that reads the environment and the wall clock, writes to the standard streams and
//! listens to signals.
//!
//! Data go to standard output, all else to standard error. Nothing here calls `exit`: every way out returns a status from
//! `main`.
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]

mod args;
mod aws;
mod compression;
mod confirm;
mod consume;
mod context;
mod demo;
mod doctor;
mod error;
mod group;
mod json_log;
mod line;
mod local;
mod manual;
mod migrate;
mod output;
mod position_text;
mod put;
mod record_dump;
mod record_look;
mod run;
mod stop;
mod stream;
mod tail;
mod text;
mod text_table;
mod ui;
mod worker;

use std::ffi::OsString;
use std::num::NonZero;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use rokini::Signals;

use crate::args::{Color, Global};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::stop::{Stop, watch};
use crate::ui::Ui;

/// Work with Amazon Kinesis Data Streams: consume them with a group of workers, put, tail, manage groups, and run all of
/// it locally.
///
/// Data go to standard output, everything else to standard error. Region, credentials, profile and endpoints come
/// from the usual AWS settings (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_KINESIS`, ...).
#[derive(Debug, Parser)]
#[command(name = "rokini", version, max_term_width = 110, after_help = STATUSES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const STATUSES: &str = "\
Exit status:
  0    done; also when the reader of standard output went away
  1    not everything that was asked for happened
  2    wrong usage or configuration; also a stream, table or group that does not exist
  3    no permission, or no credentials
  4    a service cannot be reached, or is overloaded: the same command may work later
  70   a defect of rokini; please report it
  130  ended by an interrupt before it was done, or by a second interrupt (143: the same by SIGTERM)";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Local(local::Args),
    Put(Box<put::Args>),
    Tail(Box<tail::Args>),
    Dump(tail::DumpArgs),
    Restore(put::RestoreArgs),
    Consume(Box<consume::Args>),
    Run(Box<run::Args>),
    Group(group::Args),
    Stream(stream::Args),
    Import(Box<migrate::ImportArgs>),
    Export(Box<migrate::ExportArgs>),
    Doctor(Box<doctor::Args>),
    Completions(manual::CompletionArgs),
    Man(manual::ManArgs),
}

/// Threads of `rokini local`, at most.
const LOCAL_THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let own_name = arguments.next().unwrap_or_default();
    let mut arguments: Vec<_> = arguments.collect();
    if arguments.first().is_some_and(|first| first == run::EXEC_CHILD) {
        return run::exec_child(arguments.into_iter().skip(1));
    }
    if arguments.first().is_some_and(|first| first == run::KEEP_GROUPS) {
        rokini_handlers::keep_groups(std::io::stdin().lock());
        return ExitCode::SUCCESS;
    }
    #[cfg(target_os = "linux")]
    if arguments.first().is_some_and(|first| first == local::KEEP_PROGRAM) {
        return local::keep_program(arguments.into_iter().skip(1));
    }
    // What launchers of KCL applications call in place of a JVM.
    let mut warning = None;
    match run::java_command(&own_name, &arguments) {
        Some(run::JavaCommand::Version { text, stdout }) => return say(text, stdout),
        Some(run::JavaCommand::Daemon(translated)) => {
            (arguments, warning) = (translated.arguments, translated.warning);
        }
        None => {}
    }
    let given = arguments.clone();
    let cli = match parse(std::iter::once(own_name).chain(arguments).collect()) {
        Ok(mut cli) => {
            cli.global.json |= matches!(&cli.command, Command::Tail(args) if args.is_json());
            cli
        }
        Err(refusal) => return show_refusal(&refusal, &given),
    };
    let ui = Ui::new(&cli.global);
    warning.into_iter().for_each(|warning| ui.warn(warning));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Command::Local(_) = &cli.command {
        // What it does is under one lock, beside reading and writing bodies: more threads would hold memory and do nothing.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        runtime.worker_threads(cores.min(LOCAL_THREADS));
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::new(Status::FAILED, "cannot start the runtime").because(&error);
            return ui.report(&error).into();
        }
    };
    let status = runtime.block_on(run_command(cli, ui));
    // A thread that is blocked in a read or write of a standard stream must not keep the process.
    runtime.shutdown_background();
    status.into()
}

/// `rokini local` alone: the arguments of all the other commands would be memory that it has no use for.
#[derive(Debug, Parser)]
#[command(name = "rokini")]
struct OnlyLocal {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: LocalCommand,
}

#[derive(Debug, Subcommand)]
enum LocalCommand {
    Local(local::Args),
}

/// Reads the arguments, the program's own name first.
fn parse(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let is_local = words.get(1).is_some_and(|first| first == "local");
    // What is not understood, or asks for help, is for the whole of it.
    if is_local
        && let Ok(OnlyLocal { global, command: LocalCommand::Local(args) }) =
            OnlyLocal::try_parse_from(words.iter())
    {
        return Ok(Cli { global, command: Command::Local(args) });
    }
    Cli::try_parse_from(words)
}

/// Says what was asked for, and that is all.
fn say(text: &str, stdout: bool) -> ExitCode {
    use std::io::Write;
    let bytes = text.as_bytes();
    let said = if stdout { std::io::stdout().write_all(bytes) } else { std::io::stderr().write_all(bytes) };
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shows help or the version on standard output, or what is wrong with the arguments on standard error.
fn show_refusal(refusal: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_help = refusal.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if refusal.use_stderr() && !is_help && wants_json(arguments) {
        let global = Global { json: true, quiet: false, verbose: 0, log_format: None, color: Color::Never };
        return Ui::new(&global).report(&usage_error(&refusal.to_string())).into();
    }
    // A reader that is gone needs no help.
    let _ = refusal.print();
    u8::try_from(refusal.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Whether arguments that were not understood ask for JSON on standard error. What follows `--` is another program's.
fn wants_json(arguments: &[OsString]) -> bool {
    let mut before = "";
    for argument in arguments.iter().take_while(|argument| *argument != "--") {
        let argument = argument.to_str().unwrap_or_default();
        let (option, value) = argument.split_once('=').unwrap_or((before, argument));
        if argument == "--json" || (["--log-format", "--format"].contains(&option) && value == "json") {
            return true;
        }
        before = argument;
    }
    false
}

/// The paragraphs of a message about arguments: what is wrong first, then a tip, the usage, and where help is.
fn usage_error(message: &str) -> CliError {
    let mut paragraphs = message.trim().split("\n\n").map(str::trim);
    let what = paragraphs.next().unwrap_or_default();
    let error = CliError::usage(what.strip_prefix("error: ").unwrap_or(what));
    error.next(paragraphs.collect::<Vec<_>>().join("\n"))
}

/// Runs the command until it is done or a second signal comes.
async fn run_command(cli: Cli, ui: Ui) -> Status {
    let stop = Stop::new();
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            let error = CliError::new(Status::FAILED, "cannot listen to signals").because(&error);
            return ui.report(&error);
        }
    };
    let context = Context { json: cli.global.json, ui, stop: stop.clone() };
    tokio::select! {
        result = Box::pin(dispatch(cli.command, &context)) => match result {
            Ok(status) => status,
            Err(error) => context.ui.report(&error),
        },
        status = watch(signals, &stop) => status,
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<Status, CliError> {
    // `consume` and `run` install it by themselves, because their settings say whether they send spans.
    if !matches!(command, Command::Consume(_) | Command::Run(_)) {
        context.ui.install_tracing(None);
    }
    match command {
        Command::Demo(args) => demo::run(args, context).await,
        Command::Local(args) => local::run(args, context).await,
        Command::Put(args) => Box::pin(put::run(*args, context)).await,
        Command::Tail(args) => Box::pin(tail::run(*args, context)).await,
        Command::Dump(args) => Box::pin(tail::dump(args, context)).await,
        Command::Restore(args) => Box::pin(put::restore(args, context)).await,
        Command::Consume(args) => Box::pin(consume::run(*args, context)).await,
        Command::Run(args) => Box::pin(run::run(*args, context)).await,
        Command::Group(args) => group::run(args, context).await,
        Command::Stream(args) => stream::run(args, context).await,
        Command::Import(args) => migrate::import(*args, context).await,
        Command::Export(args) => migrate::export(*args, context).await,
        Command::Doctor(args) => doctor::run(*args, context).await,
        Command::Completions(args) => manual::completions::<Cli>(args).await,
        Command::Man(args) => manual::man::<Cli>(&args, context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn local_alone_is_read_as_it_is_among_the_others() {
        for line in [
            "local",
            "local --json -v --stream a:2 --stream b",
            "local --kinesis-port 0 -- pytest --help -x",
            "local --help",
            "local --version",
            "local --kinesis-port many",
            "local extra",
            "--json local",
            "loca",
        ] {
            let words: Vec<OsString> = format!("rokini {line}").split(' ').map(OsString::from).collect();
            let (alone, among) = (parse(words.clone()), Cli::try_parse_from(words));
            let text = |read: Result<Cli, clap::Error>| match read {
                Ok(cli) => format!("{cli:?}"),
                Err(refusal) => refusal.to_string(),
            };
            assert_eq!(text(alone), text(among), "{line}");
        }
    }

    #[test]
    fn arguments_that_are_wrong_are_an_error_like_others() {
        let refusal = Cli::try_parse_from(["rokini", "tail", "s", "--from", "yesterday"]).unwrap_err();
        let error = usage_error(&refusal.to_string());
        assert_eq!(error.status, Status::USAGE);
        assert!(error.what.starts_with("invalid value 'yesterday' for '--from"), "{}", error.what);
        assert!(error.next.unwrap().contains("'--help'"));
    }

    #[test]
    fn arguments_that_are_not_understood_may_still_ask_for_json() {
        let wants = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in
            ["tail s --json", "--log-format json tail", "put s --log-format=json", "tail --format json"]
        {
            assert!(wants(line), "{line}");
        }
        for line in [
            "tail s",
            "tail json",
            "--log-format text tail json",
            "put s -- --json",
            "local -- x --format=json",
        ] {
            assert!(!wants(line), "{line}");
        }
    }

    #[test]
    fn an_option_for_a_setting_has_the_name_of_the_setting() {
        let mut root = Cli::command();
        root.build();
        let consume = root.find_subcommand("consume").unwrap();
        let own = ["help", "config", "set", "print-config", "chaos"];
        for option in consume.get_arguments().filter_map(|argument| argument.get_long()) {
            let is_global =
                ["json", "quiet", "verbose", "log-format", "color", "region", "profile", "endpoint-url"]
                    .contains(&option);
            let key = option.replace('-', "_").parse::<rokini::ConfigKey>();
            assert!(own.contains(&option) || is_global || key.is_ok(), "{option}");
        }
    }

    /// The commands that do something: those without commands below them.
    fn leaves(command: &clap::Command, path: &str) -> Vec<String> {
        let name = |below: &clap::Command| format!("{path} {}", below.get_name()).trim_start().to_owned();
        let shown =
            command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
        let below: Vec<String> = shown.flat_map(|below| leaves(below, &name(below))).collect();
        if below.is_empty() { vec![path.to_owned()] } else { below }
    }

    #[test]
    fn every_command_that_prints_json_has_its_section() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/JSON.md")).unwrap();
        let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        // What writes no object to standard output, as the document says.
        let without = ["run", "completions", "man"];
        let mut root = Cli::command();
        root.build();
        let commands = leaves(&root, "");
        assert!(commands.len() > 30, "{commands:?}");
        for command in &commands {
            let has = headings.contains(&command.as_str());
            assert_eq!(has, !without.contains(&command.as_str()), "docs/JSON.md, `### {command}`");
        }
    }

    /// The examples of a command and of those below it.
    fn examples(command: &clap::Command) -> Vec<String> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example"), "{}", command.get_name());
        // A line that is wrapped cannot be pasted.
        assert!(help.lines().all(|line| line.len() <= 90), "{help}");
        let help = help.replace("\\\n", "");
        let below = command.get_subcommands().flat_map(examples);
        help.lines().map(str::to_owned).chain(below).collect()
    }

    #[test]
    fn every_command_has_examples_and_they_are_accepted() {
        let root = Cli::command();
        let lines: Vec<String> = root.get_subcommands().flat_map(examples).collect();
        let mut tried = 0;
        for line in lines.iter().filter(|line| line.contains("rokini ") && !line.contains("AWS_")) {
            let line = line.split(" #").next().unwrap();
            let Some(at) = line.find("rokini ") else { continue };
            let words = line[at..].split_whitespace().take_while(|word| !["|", "<", ">"].contains(word));
            if let Err(refusal) = Cli::try_parse_from(words) {
                panic!("{line}\n{refusal}");
            }
            tried += 1;
        }
        assert!(tried > 30, "{tried}");
    }
}

//! The commands that documents show, tried as far as that is possible without an account and without waiting: targets
//! exist, tasks exist, and the arguments of our own programs are understood.
//!
//! Looked at are shell blocks and code spans in Markdown, headers of examples, and the help of the simulation.

mod markdown;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use self::markdown::Shown;
use crate::packages::Manifest;
use crate::shell::{Outcome, output, root};
use crate::sources::{Source, rust_files};

/// What trying a command came to.
#[derive(Debug, PartialEq, Eq)]
enum Tried {
    Works,
    Skipped(&'static str),
    Wrong(String),
}

/// A package of the workspace and what `cargo` can run of it.
struct Package {
    folder: PathBuf,
    programs: Vec<String>,
    sources: Vec<Source>,
}

/// The packages by name, where their programs are built, and what `cargo xtask` lists.
struct Workspace {
    packages: BTreeMap<String, Package>,
    programs: PathBuf,
    help: String,
}

impl Workspace {
    /// The programs are built as the tests have built them.
    fn build(programs: PathBuf) -> Result<Self, String> {
        // An example makes it the features of the tests: others would compile the AWS crates anew.
        output(env!("CARGO"), &["build", "--quiet", "--workspace", "--bins", "--example", "print"])?;
        let help = output(&programs.join("xtask").to_string_lossy(), &[])?;
        let mut packages = BTreeMap::new();
        for manifest in Manifest::all()? {
            let sources = rust_files(&manifest.folder)?;
            let (name, programs) = (manifest.name().to_owned(), manifest.programs());
            packages.insert(name, Package { folder: manifest.folder, programs, sources });
        }
        Ok(Self { packages, programs, help })
    }

    fn try_out(&self, command: &str) -> Tried {
        let words = words::words(command);
        let words: Vec<&str> =
            words.iter().map(String::as_str).skip_while(|word| is_assignment(word)).collect();
        match words[..] {
            _ if command.contains(['…', '<']) || command.contains("...") => Tried::Skipped("a template"),
            ["rokini", .., option] if option.starts_with("--") && self.takes_a_value(&words) => {
                Tried::Skipped("a template")
            }
            [] => Tried::Skipped("sets variables"),
            ["rokini", ref rest @ ..] => self.parses("rokini", rest),
            ["cargo", "xtask", task, ..] => {
                let known = self.help.contains(&format!("cargo xtask {task} "));
                if known { Tried::Works } else { Tried::Wrong(format!("there is no task `{task}`")) }
            }
            ["cargo", "run", ref rest @ ..] => self.run(rest),
            ["cargo", "test", ref rest @ ..] => self.test(rest),
            ["cargo", "build" | "check" | "clippy" | "doc" | "fmt" | "package" | "xtask", ref rest @ ..] => {
                self.package(rest).map_or_else(Tried::Wrong, |_| Tried::Works)
            }
            ["cargo", ..] => Tried::Skipped("changes this machine or another repository"),
            [program, ..] if program.starts_with("./") || program.starts_with(".ci/") => {
                let there = root().join(program).exists();
                if there { Tried::Works } else { Tried::Wrong(format!("there is no `{program}`")) }
            }
            _ => Tried::Skipped("a program of others"),
        }
    }

    /// The value of an option, in either form and under either name.
    fn option<'a>(words: &[&'a str], names: &[&str]) -> Option<&'a str> {
        words.iter().enumerate().find_map(|(at, word)| match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => Some(value),
            None if names.contains(word) => words.get(at + 1).copied(),
            _ => None,
        })
    }

    fn package(&self, words: &[&str]) -> Result<Option<&Package>, String> {
        let Some(name) = Self::option(words, &["-p", "--package"]) else { return Ok(None) };
        self.packages.get(name).map(Some).ok_or_else(|| format!("there is no package `{name}`"))
    }

    fn run(&self, words: &[&str]) -> Tried {
        let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let (options, arguments) = (&words[..end], words.get(end + 1..).unwrap_or_default());
        if let Some(manifest) = Self::option(options, &["--manifest-path"]) {
            let there = root().join(manifest).exists();
            let skipped = Tried::Skipped("a workspace of its own");
            return if there { skipped } else { Tried::Wrong(format!("there is no `{manifest}`")) };
        }
        let package = match self.package(options) {
            Ok(package) => package,
            Err(wrong) => return Tried::Wrong(wrong),
        };
        if let Some(example) = Self::option(options, &["--example"]) {
            let file = Path::new("examples").join(example).with_extension("rs");
            let there = match package {
                Some(package) => package.folder.join(file).exists(),
                None => self.packages.values().any(|package| package.folder.join(&file).exists()),
            };
            return if there {
                Tried::Works
            } else {
                Tried::Wrong(format!("there is no example `{example}`"))
            };
        }
        // Without a package it is the one that the workspace runs by default.
        match package.map(|package| &package.programs[..]) {
            None => self.parses("rokini", arguments),
            Some([program]) => self.parses(program, arguments),
            Some(_) => Tried::Wrong("there is no program in it, or more than one".to_owned()),
        }
    }

    fn test(&self, words: &[&str]) -> Tried {
        const TAKE_A_VALUE: [&str; 7] =
            ["-p", "--package", "--test", "--features", "--example", "--bin", "--profile"];
        let package = match self.package(words) {
            Ok(package) => package,
            Err(wrong) => return Tried::Wrong(wrong),
        };
        let packages =
            || self.packages.values().filter(|one| package.is_none_or(|given| given.folder == one.folder));
        if let Some(target) = Self::option(words, &["--test"])
            && !packages().any(|package| package.folder.join("tests").join(target).join("main.rs").exists())
        {
            return Tried::Wrong(format!("there is no test binary `{target}`"));
        }
        let values = words.windows(2).filter(|pair| TAKE_A_VALUE.contains(&pair[0])).map(|pair| pair[1]);
        let values: Vec<&str> = values.collect();
        for filter in words.iter().filter(|word| !word.starts_with('-') && !values.contains(word)) {
            for name in filter.split("::").filter(|name| !name.is_empty()) {
                let named = |source: &Source| {
                    source
                        .path
                        .iter()
                        .any(|part| Path::new(part).file_stem().is_some_and(|stem| stem == name))
                        || source.text.contains(&format!("fn {name}"))
                };
                if !packages().any(|package| package.sources.iter().any(named)) {
                    return Tried::Wrong(format!("no test or module is named `{name}`"));
                }
            }
        }
        Tried::Works
    }

    /// Whether text names an option of ours, such as `rokini local --data`, without the value that it takes.
    fn takes_a_value(&self, words: &[&str]) -> bool {
        matches!(self.parses("rokini", &words[1..]), Tried::Wrong(why) if why.contains("a value is required"))
    }

    /// Whether a program understands these arguments: it is asked for help behind them.
    fn parses(&self, program: &str, arguments: &[&str]) -> Tried {
        let end = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
        let output = Command::new(self.programs.join(program)).args(&arguments[..end]).arg("--help").output();
        match output {
            Ok(output) if output.status.success() => Tried::Works,
            Ok(output) => Tried::Wrong(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Tried::Wrong(format!("{program} does not start: {error}")),
        }
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
    })
}

/// Every command that a document of the repository shows.
fn shown(root: &Path) -> Result<Vec<Shown>, String> {
    let mut found = Vec::new();
    for path in markdown::files(root)? {
        let text = std::fs::read_to_string(root.join(&path)).map_err(|error| error.to_string())?;
        found.extend(markdown::commands(&path, &text));
    }
    for source in rust_files(&root.join("crates"))? {
        if source.path.iter().any(|part| part == "examples") {
            let header = source.text.lines().map_while(|line| line.strip_prefix("//!"));
            let header: Vec<&str> = header.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
            found.extend(markdown::commands(&Path::new("crates").join(&source.path), &header.join("\n")));
        }
    }
    Ok(found)
}

/// What trying all commands came to.
struct Report {
    works: usize,
    /// By the reason, each with the first words of its commands.
    skipped: BTreeMap<&'static str, BTreeSet<String>>,
    wrong: Vec<String>,
}

/// Tries everything, with the programs in this folder.
fn report(programs: PathBuf) -> Result<Report, String> {
    let workspace = Workspace::build(programs)?;
    let mut all = shown(&root())?;
    let help = output(&workspace.programs.join("sim").to_string_lossy(), &["--help"])?;
    all.extend(markdown::commands(Path::new("sim --help"), &help));
    let mut report = Report { works: 0, skipped: BTreeMap::new(), wrong: Vec::new() };
    for Shown { place, command } in all {
        match workspace.try_out(&command) {
            Tried::Works => report.works += 1,
            Tried::Skipped(why) => {
                let begin: Vec<&str> = command.split(' ').take(2).collect();
                report.skipped.entry(why).or_default().insert(begin.join(" "));
            }
            Tried::Wrong(why) => report.wrong.push(format!("{place}: `{command}`: {}", why.trim())),
        }
    }
    Ok(report)
}

pub(crate) fn task(_: &[String]) -> Outcome {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let report = report(this.parent().unwrap_or(&this).to_owned())?;
    println!("{} commands work", report.works);
    for (why, commands) in report.skipped {
        println!("not tried, {why}: {}", commands.into_iter().collect::<Vec<_>>().join(", "));
    }
    if report.wrong.is_empty() { Ok(()) } else { Err(report.wrong.join("\nerror: ")) }
}

#[cfg(test)]
mod tests;

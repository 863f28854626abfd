//! `rokini group seek` and `undo`.

use std::str::FromStr;

use rokini::StartPosition;
use rokini::lease::{LeaseRow, Position, Scope, SeekReport, StreamRow};
use serde::Serialize;

use super::backlog::elsewhere;
use super::confirm::confirm;
use super::opened::{GroupArgs, Opened, ScopeArgs, keys};
use super::show::shortened;
use crate::aws::Service;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::from::{self, From};
use crate::line::time;
use crate::output::Output;
use crate::table::Table;

/// Digits from which a number is a sequence number and no time.
const SEQUENCE_DIGITS: usize = 20;

/// Set the position of a group, or of some of its shards
///
/// Works on a running fleet: whoever has a shard stops, begins anew from there, and stores nothing from before. Going
/// back repeats records, going forward skips them. The positions of before are kept, for `rokini group undo`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// trim_horizon, latest, a time such as 2026-01-31T12:00:00Z or in milliseconds since 1970, a time ago such as -10m, or
    /// (for one shard) at:N or after:N with a sequence number
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true, value_parser = to)]
    to: From,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Set the positions back to where they stood before the last seek
///
/// Where a shard was read on since the seek, that is forgotten too. Undoing again redoes the seek.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  rokini group seek billing --to trim_horizon --dry-run       from and to of every shard
  rokini group seek billing --to 2026-01-31T12:00:00Z --yes
  rokini group seek billing --to -10m --stream orders --yes
  rokini group seek billing --to after:4968... --shard 3 --yes
  rokini group undo billing --yes";

/// A position as `--from` takes it, and a bare sequence number.
fn to(text: &str) -> Result<From, String> {
    if text.len() >= SEQUENCE_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return From::from_str(&format!("at:{text}"));
    }
    From::from_str(text)
        .map_err(|_| format!("expected {}, at:<sequence number> or after:<sequence number>", from::HELP))
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let orders = orders(&opened, &args).await?;
    let operator = opened.operator();
    let mut planned = SeekReport { dry_run: true, ..SeekReport::default() };
    for (scope, to) in &orders {
        let report = operator.seek(scope, *to, true).await.map_err(|error| opened.refused(error))?;
        planned.steps.extend(report.steps);
    }
    if args.dry_run {
        return tell(&opened, &planned, context).await;
    }
    ask(context, args.yes, &planned, &opened).await?;
    let mut done = SeekReport::default();
    for (scope, to) in &orders {
        let report = operator.seek(scope, *to, false).await.map_err(|error| opened.refused(error))?;
        done.steps.extend(report.steps);
    }
    tell(&opened, &done, context).await
}

pub(crate) async fn undo(args: UndoArgs, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let scope = opened.scope(&args.scope)?;
    let operator = opened.operator();
    let planned = operator.undo_seek(&scope, true).await.map_err(|error| opened.refused(error))?;
    if args.dry_run {
        return tell(&opened, &planned, context).await;
    }
    ask(context, args.yes, &planned, &opened).await?;
    let done = operator.undo_seek(&scope, false).await.map_err(|error| opened.refused(error))?;
    tell(&opened, &done, context).await
}

async fn ask(context: &Context, yes: bool, planned: &SeekReport, opened: &Opened) -> Result<(), CliError> {
    if !yes && context.talk.is_terminal() {
        context.talk.say(text(planned, false));
    }
    let (shards, group) = (planned.steps.len(), &opened.group);
    let question = format!("Move {shards} shards of group {group}: records come again or are skipped.");
    let next = "the same command with `--dry-run` shows what it would do, with `--yes` does it";
    confirm(context, yes, &question, next).await
}

/// What is to be sought where: streams differ in what time it is.
async fn orders(opened: &Opened, args: &Args) -> Result<Vec<(Scope, Position)>, CliError> {
    let leases = opened.leases(&args.scope)?;
    let mut orders = Vec::new();
    for stream in opened.streams(&args.scope)? {
        let mut of_stream: Vec<&LeaseRow> =
            leases.iter().filter(|row| row.key.stream == stream.id).copied().collect();
        if of_stream.is_empty() {
            continue;
        }
        let to = resolve(opened, &args.scope, stream, args.to).await?;
        if matches!(args.to, From::At(StartPosition::Latest)) {
            // A finished shard has nothing to come.
            of_stream.retain(|row| !row.position.is_shard_end());
        }
        orders.push((Scope::Leases(keys(&of_stream)), to));
    }
    let sought = orders.iter().any(|(_, to)| matches!(to, Position::Sequence(..)));
    if sought && leases.len() != 1 {
        return Err(CliError::usage(format!(
            "a sequence number belongs to one shard, but {} are meant",
            leases.len()
        ))
        .next(format!("name it by `--shard`: `rokini group show {}` lists them", opened.group)));
    }
    Ok(orders)
}

async fn resolve(
    opened: &Opened,
    scope: &ScopeArgs,
    stream: &StreamRow,
    to: From,
) -> Result<Position, CliError> {
    match to {
        From::At(StartPosition::TrimHorizon) => return Ok(Position::TrimHorizon),
        From::At(StartPosition::AtSequence(number)) => return Ok(Position::at(number)),
        From::At(StartPosition::AfterSequence(number)) => return Ok(Position::after(number)),
        _ => {}
    }
    let aws = &opened.table.aws;
    let named = opened.reference(scope, stream).map_err(|error| aws.explain(error, Service::Kinesis))?;
    let (_, described) = match (aws.open(&named).await, named.arn()) {
        (Err(error), None) if error.status == Status::USAGE => {
            return Err(error.next(elsewhere(&stream.name)));
        }
        (opened, _) => opened?,
    };
    let start = to.resolve(described.now_millis);
    start.check(described.now_millis)?;
    Ok(match start {
        StartPosition::AtTimestamp(millis) => Position::AtTimestamp(millis),
        _ => Position::AtTimestamp(described.now_millis),
    })
}

#[derive(Debug, Serialize)]
struct Step {
    stream: String,
    shard: String,
    owner: Option<String>,
    from: String,
    to: String,
    written: bool,
}

async fn tell(opened: &Opened, report: &SeekReport, context: &Context) -> Result<Status, CliError> {
    let output = Output::stdout()?;
    if context.json {
        let steps = report.steps.iter().map(|step| Step {
            stream: step.key.stream.to_string(),
            shard: step.key.shard.to_string(),
            owner: step.owner.as_ref().map(|owner| owner.name.to_string()),
            from: step.from.to_string(),
            to: step.to.to_string(),
            written: step.written,
        });
        let (group, dry_run, steps) = (opened.group.to_string(), report.dry_run, steps.collect::<Vec<_>>());
        let shown = serde_json::json!({ "group": group, "dry_run": dry_run, "shards": steps });
        output.json(&shown).await?;
    } else {
        output.write(text(report, context.talk.stdout_colors()).into_bytes()).await?;
        if report.dry_run {
            context.talk.say("a dry run: nothing was done");
        } else {
            context.talk.say(format_args!("`rokini group undo {}` takes it back", opened.group));
        }
    }
    Ok(Status::DONE)
}

fn text(report: &SeekReport, colors: bool) -> String {
    let mut table = Table::new(["SHARD", "OWNER", "FROM", "TO"]);
    for step in &report.steps {
        table.row([
            step.key.shard.to_string(),
            step.owner.as_ref().map_or_else(|| "-".to_owned(), |owner| owner.name.to_string()),
            readable(&step.from),
            readable(&step.to),
        ]);
    }
    table.text(colors)
}

/// A position with its time as people write it.
fn readable(position: &Position) -> String {
    match position {
        Position::AtTimestamp(millis) => time(*millis),
        other => shortened(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_as_people_write_them() {
        let number = "49680485925276037467835448941947785701109885697267859458";
        let now = 1_800_000_000_000;
        for (text, wanted) in [
            ("trim_horizon".to_owned(), StartPosition::TrimHorizon),
            ("latest".to_owned(), StartPosition::Latest),
            ("1700000000000".to_owned(), StartPosition::AtTimestamp(1_700_000_000_000)),
            ("2023-11-14T22:13:20Z".to_owned(), StartPosition::AtTimestamp(1_700_000_000_000)),
            ("-1h".to_owned(), StartPosition::AtTimestamp(now - 3_600_000)),
            (number.to_owned(), StartPosition::AtSequence(number.parse().unwrap())),
            (format!("after:{number}"), StartPosition::AfterSequence(number.parse().unwrap())),
        ] {
            assert_eq!(to(&text).unwrap().resolve(now), wanted, "{text}");
        }
        assert!(to("yesterday").unwrap_err().contains("after:<sequence number>"));
    }
}

//! `rokini group seek` and `undo`.

use rokini::lease::{LeaseRow, Position, Progress, Scope, SeekReport, StreamRow};
use rokini::{StartPosition, format_time};
use serde::Serialize;

use super::group_handle::{GroupHandle, ScopedGroupArgs, keys};
use super::shard_lag::other_account_hint;
use super::show::shortened;
use crate::args::STARTS;
use crate::aws::Service;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;
use crate::text_table::TextTable;

/// Set the position of a group, or of some of its shards
///
/// Works while workers run: the worker that has a shard starts anew from there, and stores no position of before. Going
/// back repeats records, going forward skips them. The earlier positions are kept, for `rokini group undo`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The new position
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true, help = to_help())]
    to: StartPosition,
    #[command(flatten)]
    order: OrderArgs,
}

/// Set the positions back to where they were before the last seek
///
/// The positions that were stored since the seek are forgotten. A second undo repeats the seek.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Debug, clap::Args)]
struct OrderArgs {
    #[command(flatten)]
    group: ScopedGroupArgs,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

fn to_help() -> String {
    format!("The new position: {STARTS} (for one shard)")
}

const EXAMPLES: &str = "\
Examples:
  rokini group seek billing --to trim_horizon --dry-run
  rokini group seek billing --to 2026-01-31T12:00:00Z --yes
  rokini group seek billing --to -10m --stream orders --yes
  rokini group seek billing --shard 3 --yes \\
    --to after:49680485925276037467835448941947785701109885697267859458
  rokini group undo billing --yes";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.order.group.open().await?;
    let targets = targets(&handle, args.to).await?;
    let operator = handle.operator();
    let mut planned = SeekReport::default();
    planned.dry_run = true;
    for (scope, to) in &targets {
        let report = operator.seek(scope, *to, true).await.map_err(|error| handle.refusal(error))?;
        planned.steps.extend(report.steps);
    }
    if args.order.dry_run {
        return show_report(&handle, &planned, context).await;
    }
    confirm_seek(context, args.order.yes, &planned, &handle).await?;
    let mut done = SeekReport::default();
    for (scope, to) in &targets {
        let report = operator.seek(scope, *to, false).await.map_err(|error| handle.refusal(error))?;
        done.steps.extend(report.steps);
    }
    show_report(&handle, &done, context).await
}

pub(crate) async fn undo(args: UndoArgs, context: &Context) -> Result<Status, CliError> {
    let handle = args.order.group.open().await?;
    let scope = handle.order_scope()?;
    let operator = handle.operator();
    let planned = operator.undo_seek(&scope, true).await.map_err(|error| handle.refusal(error))?;
    if args.order.dry_run {
        return show_report(&handle, &planned, context).await;
    }
    confirm_seek(context, args.order.yes, &planned, &handle).await?;
    let done = operator.undo_seek(&scope, false).await.map_err(|error| handle.refusal(error))?;
    show_report(&handle, &done, context).await
}

async fn confirm_seek(
    context: &Context,
    yes: bool,
    planned: &SeekReport,
    handle: &GroupHandle,
) -> Result<(), CliError> {
    if !yes && context.ui.is_terminal() {
        context.ui.info(text(planned, false));
    }
    let (shards, group) = (count(planned.steps.len(), "shard"), &handle.group);
    let action =
        format!("move {shards} of group {group} to other positions, so that records are repeated or skipped");
    let next = "the same command with `--dry-run` only shows what it would do, with `--yes` it does not ask";
    confirm(context, yes, &action, next).await
}

/// The new position of each stream's leases: streams differ in what time it is.
async fn targets(handle: &GroupHandle, to: StartPosition) -> Result<Vec<(Scope, Position)>, CliError> {
    let leases = handle.leases()?;
    let mut targets = Vec::new();
    for stream in handle.streams()? {
        let mut of_stream: Vec<&LeaseRow> =
            leases.iter().filter(|row| row.key.stream == stream.id).copied().collect();
        if of_stream.is_empty() {
            continue;
        }
        let position = resolve(handle, stream, to).await?;
        if matches!(to, StartPosition::Latest) {
            // No records will come in a finished shard.
            of_stream.retain(|row| !row.position.is_shard_end());
        }
        targets.push((Scope::Leases(keys(&of_stream)), position));
    }
    let is_sequence = targets.iter().any(|(_, to)| matches!(to, Position::Sequence(..)));
    if is_sequence && leases.len() != 1 {
        return Err(CliError::usage(format!(
            "a sequence number belongs to one shard, but the order is for {}",
            count(leases.len(), "shard")
        ))
        .next(format!("name one by `--shard`: `rokini group show {}` lists them", handle.group)));
    }
    Ok(targets)
}

async fn resolve(handle: &GroupHandle, stream: &StreamRow, to: StartPosition) -> Result<Position, CliError> {
    match to {
        StartPosition::TrimHorizon => return Ok(Position::TrimHorizon),
        StartPosition::AtSequence(number) => return Ok(Position::at(number)),
        StartPosition::AfterSequence(number) => return Ok(Position::after(number)),
        StartPosition::AfterUserRecord(number, sub) => {
            return Ok(Position::Sequence(number, Progress::Through(sub)));
        }
        _ => {}
    }
    let aws = &handle.table.aws;
    let named = handle.reference(stream).map_err(|error| aws.explain(error, Service::Kinesis))?;
    let (_, described) = match (aws.open(&named).await, named.arn()) {
        (Err(error), None) if error.status == Status::USAGE => {
            return Err(error.next(other_account_hint(&stream.name)));
        }
        (handle, _) => handle?,
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

async fn show_report(
    handle: &GroupHandle,
    report: &SeekReport,
    context: &Context,
) -> Result<Status, CliError> {
    let steps = report.steps.iter().map(|step| Step {
        stream: step.key.stream.to_string(),
        shard: step.key.shard.to_string(),
        owner: step.owner.as_ref().map(|owner| owner.name.to_string()),
        from: step.from.to_string(),
        to: step.to.to_string(),
        written: step.written,
    });
    let (group, dry_run, steps) = (handle.group.to_string(), report.dry_run, steps.collect::<Vec<_>>());
    let shown = serde_json::json!({ "group": group, "dry_run": dry_run, "shards": steps });
    context.show(&shown, || text(report, context.ui.stdout_colors())).await?;
    if !context.json && report.dry_run {
        context.ui.info("this was a dry run: nothing was done");
    } else if !context.json {
        context.ui.info(format_args!("`rokini group undo {group}` takes this back"));
    }
    Ok(Status::DONE)
}

fn text(report: &SeekReport, colors: bool) -> String {
    let mut table = TextTable::new(["SHARD", "OWNER", "FROM", "TO"]);
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

/// A position for people: with its time as text, or the last digits of its sequence number.
fn readable(position: &Position) -> String {
    match position {
        Position::AtTimestamp(millis) => format_time(*millis),
        other => shortened(&other.to_string()),
    }
}

//! `rokini group seek` and `undo`.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use futures::{StreamExt, stream};
use rokini::lease::{
    LeaseRow, OperatorError, OperatorOrder, OrderId, Position, Progress, Scope, SeekChange, SeekReport,
    SequenceNumber, StreamRow, WallClock,
};
use rokini::{ErrorKind, KinesisSource, StartPosition, StreamDescription};
use serde::Serialize;
use tokio::time::timeout;

use super::group_handle::{GroupArgs, GroupHandle, ScopedGroupArgs, keys};
use super::seek_effect::{SeekEffect, StreamClock, lies_before};
use super::shard_lag::{FirstRecord, describe, first_record, other_account_hint};
use crate::args::STARTS;
use crate::aws::Service;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::position_text;
use crate::record_look::look_for;
use crate::text::count;
use crate::text_table::TextTable;

/// Set the position of a group, or of some of its shards
///
/// Works while workers run: the worker that has a shard starts anew from there, and stores no position of before. Going
/// back repeats records, going forward skips them. The order has an id, by which `rokini group undo` takes exactly it back.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The new position
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true, help = to_help())]
    to: StartPosition,
    #[command(flatten)]
    order: OrderArgs,
}

/// Take an order back: exactly that one, by its id, or the last
///
/// Positions go back to where they stood before the order; those that were stored since are forgotten. A pause and its end
/// are reversed, a shard goes back to the worker it came from, and a drained worker takes part again. What takes an order back is an order too: undoing that repeats the first. `rokini group history` lists them.
#[derive(Debug, clap::Args)]
#[command(after_help = UNDO_EXAMPLES)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// The order, as `rokini group history` shows it. Default: the last one
    #[arg(value_name = "ORDER")]
    order: Option<OrderId>,
    #[command(flatten)]
    consent: ConsentArgs,
}

#[derive(Debug, clap::Args)]
struct ConsentArgs {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct OrderArgs {
    #[command(flatten)]
    group: ScopedGroupArgs,
    #[command(flatten)]
    consent: ConsentArgs,
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
  rokini group undo billing --yes               # take the last order back";

const UNDO_EXAMPLES: &str = "\
Examples:
  rokini group undo billing --dry-run
  rokini group undo billing --yes
  rokini group history billing
  rokini group undo billing 19ac2f81b3e --yes";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.order.group.open().await?;
    let targets = targets(&handle, args.to).await?;
    let operator = handle.operator();
    let orders: Vec<(Scope, Position)> =
        targets.iter().map(|target| (target.scope.clone(), target.to)).collect();
    let planned = operator.seek_all(&orders, true).await.map_err(|error| handle.refusal(error))?;
    let effects = effects(&handle, &planned, &targets).await;
    if args.order.consent.dry_run {
        return show_report(&handle, &planned, &effects, context).await;
    }
    let (shards, group) = (count(planned.steps.len(), "shard"), &handle.group);
    let action =
        format!("move {shards} of group {group} to other positions, so that records are repeated or skipped");
    confirm_order(context, args.order.consent.yes, &planned, &effects, &action).await?;
    let done = operator.seek_all(&orders, false).await.map_err(|error| handle.refusal(error))?;
    show_report(&handle, &done, &effects, context).await
}

pub(crate) async fn undo(args: UndoArgs, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let operator = handle.operator();
    let planned = match operator.undo(args.order, true).await {
        Ok(planned) => planned,
        Err(error) => return Err(refused_undo(&handle, error).await),
    };
    let effects = effects(&handle, &planned, &[]).await;
    if args.consent.dry_run {
        return show_report(&handle, &planned, &effects, context).await;
    }
    let order = planned.undoes.as_ref();
    let words = |order: &OperatorOrder| {
        format!("{} {}", order.kind.name(), position_text::in_words(&order.what, now()))
    };
    let what = order.map(|order| format!("{} ({})", order.id, words(order)));
    let action = format!("take back order {} of group {}", what.unwrap_or_default(), handle.group);
    confirm_order(context, args.consent.yes, &planned, &effects, &action).await?;
    let order = planned.undoes.as_ref().map(|order| order.id);
    let done = operator.undo(order, false).await.map_err(|error| handle.refusal(error))?;
    show_report(&handle, &done, &effects, context).await
}

/// Why an order cannot be taken back, with the last one that can.
async fn refused_undo(handle: &GroupHandle, error: OperatorError) -> CliError {
    let is_about_the_order = matches!(error, OperatorError::Invalid(_));
    let refused = handle.refusal(error);
    if !is_about_the_order {
        return refused;
    }
    let (group, operator) = (&handle.group, handle.operator());
    let mut can = None;
    for order in handle.view.group.orders.iter().rev() {
        if operator.undo(Some(order.id), true).await.is_ok() {
            can = Some(order.id);
            break;
        }
    }
    let history = format!("`rokini group history {group}` lists the orders");
    refused.next(match can {
        Some(id) => {
            format!("{history}; the last that can be taken back is {id}: `rokini group undo {group} {id}`")
        }
        None => format!("{history}; none of them can be taken back now"),
    })
}

const CONSENT: &str =
    "the same command with `--dry-run` only shows what it would do, with `--yes` it does not ask";

/// Shows what an order would do, and asks.
async fn confirm_order(
    context: &Context,
    yes: bool,
    planned: &SeekReport,
    effects: &[SeekEffect],
    action: &str,
) -> Result<(), CliError> {
    if !yes && context.ui.is_terminal() && !planned.steps.is_empty() {
        context.ui.info(text(planned, effects, false));
    }
    confirm(context, yes, action, CONSENT).await
}

/// Where the leases of a stream are to stand.
#[derive(Debug)]
struct Target {
    scope: Scope,
    to: Position,
    clock: StreamClock,
    /// When the record of a sequence number arrived.
    arrival: Option<u64>,
}

/// The new position of each stream's leases: streams differ in what time it is.
async fn targets(handle: &GroupHandle, to: StartPosition) -> Result<Vec<Target>, CliError> {
    let leases = handle.leases()?;
    let is_sequence = matches!(
        to,
        StartPosition::AtSequence(_) | StartPosition::AfterSequence(_) | StartPosition::AfterUserRecord(..)
    );
    if is_sequence && leases.len() != 1 {
        return Err(CliError::usage(format!(
            "a sequence number belongs to one shard, but the order is for {}",
            count(leases.len(), "shard")
        ))
        .next(format!("name one by `--shard`: `rokini group show {}` lists them", handle.group)));
    }
    let mut targets = Vec::new();
    for stream in handle.streams()? {
        let mut of_stream: Vec<&LeaseRow> =
            leases.iter().filter(|row| row.key.stream == stream.id).copied().collect();
        if of_stream.is_empty() {
            continue;
        }
        let (source, described) = open(handle, stream).await?;
        let to = to.resolve(described.now_millis);
        to.check(described.now_millis)?;
        let (position, arrival) = match to {
            StartPosition::TrimHorizon => (Position::TrimHorizon, None),
            StartPosition::AtTimestamp(millis) => (Position::AtTimestamp(millis), None),
            StartPosition::AtSequence(number) => {
                (Position::at(number), arrival(handle, &source, of_stream[0], number).await?)
            }
            StartPosition::AfterSequence(number) => {
                (Position::after(number), arrival(handle, &source, of_stream[0], number).await?)
            }
            StartPosition::AfterUserRecord(number, sub) => (
                Position::Sequence(number, Progress::Through(sub)),
                arrival(handle, &source, of_stream[0], number).await?,
            ),
            _ => (Position::AtTimestamp(described.now_millis), None),
        };
        if matches!(to, StartPosition::Latest) {
            // No records will come in a finished shard.
            of_stream.retain(|row| !row.position.is_shard_end());
        }
        let clock = StreamClock { now_millis: described.now_millis, retention: described.retention };
        targets.push(Target { scope: Scope::Leases(keys(&of_stream)), to: position, clock, arrival });
    }
    Ok(targets)
}

async fn open(
    handle: &GroupHandle,
    stream: &StreamRow,
) -> Result<(KinesisSource, StreamDescription), CliError> {
    let aws = &handle.table.aws;
    let named = handle.reference(stream).map_err(|error| aws.explain(error, Service::Kinesis))?;
    match (aws.open(&named).await, named.arn()) {
        (Err(error), None) if error.status == Status::USAGE => {
            Err(error.next(other_account_hint(&stream.name)))
        }
        (opened, _) => opened,
    }
}

/// When this record arrived, if the stream still has it. Refuses one that the shard cannot have: whoever has the lease
/// would not get on.
async fn arrival(
    handle: &GroupHandle,
    source: &KinesisSource,
    lease: &LeaseRow,
    number: SequenceNumber,
) -> Result<Option<u64>, CliError> {
    let read = look_for(source, &lease.key.shard, number, false);
    let (group, shard) = (&handle.group, &lease.key.shard);
    match timeout(RECORD_WAIT, read).await {
        Ok(Ok(found)) => Ok(found.map(|found| found.arrival_millis)),
        Ok(Err(error)) if error.kind() == ErrorKind::Data => {
            let refused =
                CliError::usage(format!("{shard} cannot have record {number}, so nothing was done"));
            Err(refused.because(&error).next(format!(
                "take the number from `rokini group show {group} --json`, a log or `rokini tail STREAM --shard {shard} --json`"
            )))
        }
        Ok(Err(error)) => Err(handle.table.aws.explain(error, Service::Kinesis)),
        Err(_) => Err(CliError::new(
            Status::UNAVAILABLE,
            format!("{shard} did not answer within {RECORD_WAIT:?} whether it has record {number}"),
        )
        .next("run the same command again")),
    }
}

/// How long the stream may take to say whether a shard can have a record.
const RECORD_WAIT: Duration = Duration::from_secs(15);

/// What each step means. Without targets (to take an order back) the host's clock counts, and only times that rows tell.
async fn effects(handle: &GroupHandle, report: &SeekReport, targets: &[Target]) -> Vec<SeekEffect> {
    let here = StreamClock { now_millis: WallClock::system().millis(), retention: Duration::MAX };
    let effect = |step: &SeekChange| {
        let named = |target: &&Target| match &target.scope {
            Scope::Leases(keys) => keys.contains(&step.key),
            _ => false,
        };
        let target = targets.iter().find(named);
        let clock = target.map_or(here, |target| target.clock);
        SeekEffect::of(step, &handle.view, clock, target.and_then(|target| target.arrival))
    };
    let effects: Vec<SeekEffect> = report.steps.iter().map(effect).collect();
    records_between(handle, &report.steps, effects).await
}

/// Shards of which the stream is asked whether there is a record between both positions: of more, only rows tell.
const ASKED: usize = 64;
/// How many of them at a time, and how long each may take.
const CONCURRENT: usize = 16;
const ASK_WAIT: Duration = Duration::from_secs(4);

/// What each step means once the stream has said whether there is any record in between: of a shard that is caught up there may be
/// none, however far apart two positions are. What the stream does not say in time stays as the rows tell it.
async fn records_between(
    handle: &GroupHandle,
    steps: &[SeekChange],
    effects: Vec<SeekEffect>,
) -> Vec<SeekEffect> {
    let mut streams = BTreeMap::new();
    for row in handle.view.streams.iter().filter(|row| steps.iter().any(|step| step.key.stream == row.id)) {
        if let Ok(Ok(stream)) = timeout(ASK_WAIT, describe(handle, row)).await {
            streams.insert(row.id.clone(), stream);
        }
    }
    let client = Client::new(&handle.table.aws.config);
    let asked = steps.iter().zip(effects).enumerate().map(|(n, (step, effect))| {
        let (streams, client) = (&streams, &client);
        async move {
            let (Some(stream), Some((from, to))) = (streams.get(&step.key.stream), effect.span(step)) else {
                return effect;
            };
            if n >= ASKED {
                return effect;
            }
            match timeout(ASK_WAIT, first_record(client, stream, &step.key.shard, from)).await {
                Ok(FirstRecord::None) => effect.without_records(),
                Ok(FirstRecord::Found { number, arrival, .. }) if !lies_before(number, arrival, to) => {
                    effect.without_records()
                }
                _ => effect,
            }
        }
    });
    stream::iter(asked.collect::<Vec<_>>()).buffered(CONCURRENT).collect().await
}

#[derive(Debug, Serialize)]
struct Step<'a> {
    stream: String,
    shard: String,
    owner: Option<String>,
    from: String,
    to: String,
    written: bool,
    #[serde(flatten)]
    effect: &'a SeekEffect,
}

async fn show_report(
    handle: &GroupHandle,
    report: &SeekReport,
    effects: &[SeekEffect],
    context: &Context,
) -> Result<Status, CliError> {
    let steps = report.steps.iter().zip(effects).map(|(step, effect)| Step {
        stream: step.key.stream.to_string(),
        shard: step.key.shard.to_string(),
        owner: step.owner.as_ref().map(|owner| owner.name.to_string()),
        from: step.from.to_string(),
        to: step.to.to_string(),
        written: step.written,
        effect,
    });
    let (group, dry_run, steps) = (handle.group.to_string(), report.dry_run, steps.collect::<Vec<_>>());
    let shown = serde_json::json!({
        "group": group, "dry_run": dry_run, "shards": steps, "order": report.order,
        "undoes": report.undoes.as_ref().map(|order| order.id),
    });
    context.show(&shown, || text(report, effects, context.ui.stdout_colors())).await?;
    if context.json {
        return Ok(Status::DONE);
    }
    match (&report.order, report.dry_run) {
        (_, true) => context.ui.info("this was a dry run: nothing was done"),
        (Some(order), false) => {
            context.ui.info(format_args!("`rokini group undo {group} {order}` takes this back"));
        }
        (None, false) => context.ui.info("nothing was to be changed"),
    }
    Ok(Status::DONE)
}

/// By the clock of this host, which is only for what people see.
fn now() -> u64 {
    WallClock::system().millis()
}

fn text(report: &SeekReport, effects: &[SeekEffect], colors: bool) -> String {
    if report.steps.is_empty() {
        let Some(order) = &report.undoes else { return String::new() };
        return format!(
            "takes back: {} {}\n",
            order.kind.name(),
            position_text::in_words(&order.what, now())
        );
    }
    // In words, which are broken over lines: columns for both times would be cut in 80 columns.
    let mut table = TextTable::new(["SHARD", "WHAT"]);
    for (step, effect) in report.steps.iter().zip(effects) {
        let place = |position: Position| position_text::of(&position.to_string(), now());
        let (from, to) = match (place(step.from), place(step.to)) {
            // Of one second.
            (from, to) if from == to && step.from != step.to => (step.from.to_string(), step.to.to_string()),
            both => both,
        };
        let moves = format!("from {from} to {to}, {effect}");
        table.row([step.key.shard.to_string(), moves]);
    }
    table.text(colors)
}

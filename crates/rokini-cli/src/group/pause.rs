//! `rokini group pause` and `resume`.

use std::collections::BTreeMap;

use rokini::lease::{GroupId, GroupView, LeaseKey, PauseReport, Scope, StreamId};

use super::group_handle::{GroupHandle, ScopedGroupArgs, keys};
use crate::context::Context;
use crate::error::{CliError, Status};

/// Pause the reading of a group, or of some of its shards
///
/// Workers keep their leases and stop reading within about a heartbeat; records that they have read already are finished.
/// The pause is stored, so it also holds for workers that start later. It does not stop the retention of the stream.
/// Pausing the group and pausing a shard are apart: a shard is read when neither is paused.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
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
}

const EXAMPLES: &str = "\
Examples:
  rokini group pause billing
  rokini group pause billing --shard 3
  rokini group resume billing";

/// Resume the reading of a group, or of some of its shards
///
/// `rokini group resume GROUP` ends the pause of the group. A shard that was paused with --shard or --stream is resumed
/// the same way.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    order: OrderArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.order.group.open().await?;
    let scope = handle.order_scope()?;
    let operator = handle.operator();
    let done = match args.order.dry_run {
        true => operator.pause_plan(&scope, true).await,
        false => operator.pause(&scope).await,
    };
    let done = done.map_err(|error| handle.refusal(error))?;
    report(&handle, &scope, &done, (true, args.order.dry_run), context).await?;
    Ok(Status::DONE)
}

pub(crate) async fn resume(args: ResumeArgs, context: &Context) -> Result<Status, CliError> {
    let handle = args.order.group.open().await?;
    let scope = handle.order_scope()?;
    let operator = handle.operator();
    let done = match args.order.dry_run {
        true => operator.pause_plan(&scope, false).await,
        false => operator.resume(&scope).await,
    };
    let done = done.map_err(|error| handle.refusal(error))?;
    report(&handle, &scope, &done, (false, args.order.dry_run), context).await?;
    for warning in still_paused(&handle.group, &handle.view, &scope) {
        context.ui.warn(warning);
    }
    Ok(Status::DONE)
}

/// What is paused after an order to resume and easily overlooked, with the commands that resume it.
fn still_paused(group: &GroupId, view: &GroupView, resumed: &Scope) -> Vec<String> {
    let is_left = |key: &LeaseKey| match resumed {
        Scope::Leases(keys) => !keys.contains(key),
        _ => true,
    };
    let mut left: BTreeMap<&StreamId, Vec<String>> = BTreeMap::new();
    for row in view.leases.iter().filter(|row| row.paused && is_left(&row.key)) {
        left.entry(&row.key.stream).or_default().push(row.key.shard.to_string());
    }
    let warning = |(stream, shards): (&StreamId, Vec<String>)| {
        let paused = match shards.len() {
            1 => "1 shard was paused on its own and still is".to_owned(),
            several => format!("{several} shards were paused on their own and still are"),
        };
        // Streams have shards of the same ids, and the id of a stream is its alone.
        let stream = if view.streams.len() > 1 { format!(" --stream {stream}") } else { String::new() };
        format!("{paused}: `rokini group resume {group}{stream} --shard {}`", shards.join(" --shard "))
    };
    let mut warnings: Vec<_> = left.into_iter().map(warning).collect();
    if *resumed != Scope::Group && view.group.paused_at.is_some() {
        warnings.push(format!("the group as a whole is still paused: `rokini group resume {group}`"));
    }
    warnings
}

async fn report(
    handle: &GroupHandle,
    scope: &Scope,
    report: &PauseReport,
    (paused, dry_run): (bool, bool),
    context: &Context,
) -> Result<(), CliError> {
    let done = if paused { "paused" } else { "resumed" };
    let (group, shards) = (&handle.group, keys(&handle.leases()?));
    let has_several = handle.view.streams.len() > 1;
    let names: Vec<_> = shards.iter().map(ToString::to_string).collect();
    let names = (*scope != Scope::Group).then_some(names);
    let shown = serde_json::json!({
        "group": group.to_string(), done: !dry_run, "leases": names, "order": report.order, "dry_run": dry_run,
    });
    let said = |is_change: bool| match (is_change, dry_run, paused) {
        (true, true, true) => "would pause",
        (true, true, false) => "would resume",
        (false, true, true) => "paused already:",
        (false, true, false) => "not paused:",
        (_, false, _) => done,
    };
    let line = |key: &LeaseKey| {
        let of = if has_several { format!(" of stream {}", key.stream) } else { String::new() };
        format!("{} {}{of}\n", said(report.changed.contains(key)), key.shard)
    };
    let text = || match scope {
        Scope::Group => format!("{} group {group}\n", said(report.group)),
        _ => shards.iter().map(line).collect(),
    };
    context.show(&shown, text).await?;
    if dry_run && !context.json {
        context.ui.info("this was a dry run: nothing was done");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ShardName;
    use rokini::lease::{LeaseRow, Position, ShardId, StreamRow};

    #[test]
    fn the_command_that_resumes_the_rest_names_each_stream_where_there_are_several() {
        let group = GroupId::new("billing").unwrap();
        let mut view = GroupView::default();
        for id in ["orders@1", "refunds@2"] {
            let id = StreamId::new(id).unwrap();
            let key = LeaseKey::new(id.clone(), ShardId::new("shardId-000000000000").unwrap());
            let mut row = LeaseRow::new(key, Position::TrimHorizon);
            row.paused = true;
            view.leases.push(row);
            view.streams.push(StreamRow::new(id, "any", Position::TrimHorizon));
        }
        let warnings = still_paused(&group, &view, &Scope::Group);
        let command =
            |stream| format!("`rokini group resume billing --stream {stream} --shard shardId-000000000000`");
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].ends_with(&command("orders@1")), "{warnings:?}");
        assert!(warnings[1].ends_with(&command("refunds@2")), "{warnings:?}");
        // What was resumed is not told of.
        let resumed = Scope::Leases(vec![view.leases[0].key.clone()]);
        assert_eq!(still_paused(&group, &view, &resumed), [warnings[1].clone()]);
        assert!("shardId-000000000000".parse::<ShardName>().is_ok());
    }
}

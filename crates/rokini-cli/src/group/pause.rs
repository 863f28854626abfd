//! `rokini group pause` and `resume`.

use std::collections::BTreeSet;

use rokini::lease::Scope;

use super::group_handle::{GroupHandle, ScopedGroupArgs, keys};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Pause the reading of a group, or of some of its shards
///
/// Workers keep their leases and stop reading within about a heartbeat; records that they have read already are finished.
/// The pause is stored, so it also holds for workers that start later. It does not stop the retention of the stream.
/// Pausing the group and pausing a shard are apart: a shard is read when neither is paused.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: ScopedGroupArgs,
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
    group: ScopedGroupArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let scope = handle.order_scope()?;
    handle.operator().pause(&scope).await.map_err(|error| handle.refusal(error))?;
    report(&handle, &scope, "paused", context).await
}

pub(crate) async fn resume(args: ResumeArgs, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let scope = handle.order_scope()?;
    handle.operator().resume(&scope).await.map_err(|error| handle.refusal(error))?;
    report(&handle, &scope, "resumed", context).await?;
    // What is still paused is easily overlooked.
    let resumed: BTreeSet<_> = match &scope {
        Scope::Leases(keys) => keys.iter().collect(),
        _ => BTreeSet::new(),
    };
    let left = handle.view.leases.iter().filter(|row| row.paused && !resumed.contains(&row.key));
    let left: Vec<_> = left.map(|row| row.key.shard.to_string()).collect();
    let group = &handle.group;
    if !left.is_empty() {
        let paused = match left.len() {
            1 => "1 shard was paused on its own and still is".to_owned(),
            several => format!("{several} shards were paused on their own and still are"),
        };
        let shards = left.join(" --shard ");
        context.ui.warn(format_args!("{paused}: `rokini group resume {group} --shard {shards}`"));
    }
    if scope != Scope::Group && handle.view.group.paused_at.is_some() {
        context.ui.warn(format_args!("the group as a whole is still paused: `rokini group resume {group}`"));
    }
    Ok(Status::DONE)
}

async fn report(
    handle: &GroupHandle,
    scope: &Scope,
    done: &str,
    context: &Context,
) -> Result<Status, CliError> {
    let group = &handle.group;
    let shards = keys(&handle.leases()?);
    let output = Output::stdout()?;
    if context.json {
        let shards: Vec<_> = shards.iter().map(ToString::to_string).collect();
        let shards = (*scope != Scope::Group).then_some(shards);
        output.json(&serde_json::json!({ "group": group.to_string(), done: true, "leases": shards })).await?;
    } else {
        let text = match scope {
            Scope::Group => format!("{done} group {group}\n"),
            _ => shards.iter().map(|key| format!("{done} {}\n", key.shard)).collect(),
        };
        output.write(text.into_bytes()).await?;
    }
    Ok(Status::DONE)
}

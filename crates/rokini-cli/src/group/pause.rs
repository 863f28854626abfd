//! `rokini group pause` and `resume`.

use std::collections::BTreeSet;

use rokini::lease::Scope;

use super::opened::{GroupArgs, Opened, ScopeArgs, keys};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Stop the reading of a group, or of some of its shards
///
/// Workers keep their leases and stop reading within about a heartbeat; what they have fetched is finished and stored,
/// and nothing expires meanwhile, except the records that pass the stream's retention. The pause is stored: it outlives
/// the workers. A pause of the group and pauses of single shards are apart.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    scope: ScopeArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group pause billing
  rokini group pause billing --shard 3
  rokini group resume billing";

/// Let the reading of a group, or of some of its shards, go on
///
/// `rokini group resume GROUP` ends the pause of the group; shards that were paused by themselves are resumed by
/// themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    scope: ScopeArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let scope = opened.scope(&args.scope)?;
    opened.operator().pause(&scope).await.map_err(|error| opened.refused(error))?;
    tell(&opened, &args.scope, &scope, true, context).await
}

pub(crate) async fn resume(args: ResumeArgs, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let scope = opened.scope(&args.scope)?;
    opened.operator().resume(&scope).await.map_err(|error| opened.refused(error))?;
    tell(&opened, &args.scope, &scope, false, context).await?;
    // What still stands is easily overlooked.
    let resumed: BTreeSet<_> = match &scope {
        Scope::Leases(keys) => keys.iter().collect(),
        _ => BTreeSet::new(),
    };
    let left = opened.view.leases.iter().filter(|row| row.paused && !resumed.contains(&row.key));
    let left: Vec<_> = left.map(|row| row.key.shard.to_string()).collect();
    let group = &opened.group;
    if !left.is_empty() {
        context.talk.warn(format_args!(
            "{} of its shards are still paused by themselves: `rokini group resume {group} --shard {}`",
            left.len(),
            left.join(" --shard ")
        ));
    }
    if scope != Scope::Group && opened.view.group.paused_at.is_some() {
        context.talk.warn(format_args!("the group itself is still paused: `rokini group resume {group}`"));
    }
    Ok(Status::DONE)
}

async fn tell(
    opened: &Opened,
    args: &ScopeArgs,
    scope: &Scope,
    paused: bool,
    context: &Context,
) -> Result<Status, CliError> {
    let group = &opened.group;
    let shards = keys(&opened.leases(args)?);
    let done = if paused { "paused" } else { "resumed" };
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

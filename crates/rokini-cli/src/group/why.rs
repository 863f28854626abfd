//! `rokini group why`: what does not move, and what to do about it.

use serde::Serialize;

use super::opened::{GroupArgs, ScopeArgs, keys};
use super::show::look;
use super::verdict::State;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Say why shards of a group do not move, and what to do next
///
/// Looks at the rows, watches for two heartbeats whether the workers beat, and asks the stream how far behind each
/// shard is. Without --shard only shards that stand still or are behind are told of; the exit status is 1 if there is any,
/// or if it could not be told.
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
  rokini group why billing
  rokini group why billing --shard 3";

#[derive(Debug, Serialize)]
struct Reason {
    stream: String,
    shard: String,
    state: State,
    why: Option<String>,
    next: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let wanted = keys(&opened.leases(&args.scope)?);
    let asked = !args.scope.shards.is_empty();
    let look = look(&opened, &args.scope, &wanted, false).await?;
    let untold = look.warn(context);
    let facts = look.facts(&opened);
    let leases = opened.view.leases.iter().filter(|row| wanted.contains(&row.key));
    let judged: Vec<_> = leases.map(|lease| (lease, facts.judge(lease))).collect();
    let stands = |state: State| state.stands_still() || state == State::Behind;
    let reasons =
        judged.iter().filter(|(_, verdict)| asked || stands(verdict.state)).map(|(lease, verdict)| Reason {
            stream: lease.key.stream.to_string(),
            shard: lease.key.shard.to_string(),
            state: verdict.state,
            why: verdict.why.clone(),
            next: verdict.next.clone(),
        });
    let reasons: Vec<Reason> = reasons.collect();
    let any = judged.iter().any(|(_, verdict)| stands(verdict.state));
    let output = Output::stdout()?;
    if context.json {
        let (group, moves) = (opened.group.to_string(), !any);
        output.json(&serde_json::json!({ "group": group, "moves": moves, "shards": reasons })).await?;
    } else {
        let mut text = String::new();
        if reasons.is_empty() {
            text += &format!("all {} shards move or are finished\n", judged.len());
        }
        for reason in &reasons {
            text += &format!("{} is {}", reason.shard, reason.state.name());
            text += &reason.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            text += "\n";
            text += &reason.next.as_ref().map(|next| format!("  next: {next}\n")).unwrap_or_default();
        }
        output.write(text.into_bytes()).await?;
    }
    Ok(if any || untold { Status::FAILED } else { Status::DONE })
}

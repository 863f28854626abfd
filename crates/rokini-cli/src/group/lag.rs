//! `rokini group lag`: how far a group is behind.

use serde::Serialize;

use super::backlog::{self, Backlog};
use super::opened::{GroupArgs, ScopeArgs};
use super::verdict::span;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use crate::table::Table;

/// Show how far each shard of a group is behind
///
/// The lag of a shard is the age of its oldest record that is not done: 0 when there is none. It is read from the
/// stream, so it is also right for shards that nobody has: one record of each unfinished shard, one of the five reads a
/// second that the shard has. The exit status is 1 if the lag of some shard could not be told.
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
  rokini group lag billing
  rokini group lag billing --json | jq .most_millis       the greatest lag, for an alarm";

#[derive(Debug, Serialize)]
struct Lagging {
    stream: String,
    shard: String,
    owner: Option<String>,
    lag_millis: Option<u64>,
    problem: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let mut leases = opened.leases(&args.scope)?;
    leases.retain(|row| !row.position.is_shard_end());
    let backlogs = backlog::measure(&opened, &args.scope, &leases).await;
    let lagging = leases.iter().map(|lease| {
        let backlog = backlogs.get(&lease.key);
        Lagging {
            stream: lease.key.stream.to_string(),
            shard: lease.key.shard.to_string(),
            owner: lease.owner.as_ref().map(|owner| owner.name.to_string()),
            lag_millis: backlog.and_then(Backlog::millis),
            problem: match backlog {
                Some(Backlog::Gone(why) | Backlog::Unknown(why)) => Some(why.clone()),
                _ => None,
            },
        }
    });
    let mut lagging: Vec<Lagging> = lagging.collect();
    // The worst first.
    lagging.sort_by_key(|row| std::cmp::Reverse(row.lag_millis));
    let most = lagging.iter().filter_map(|row| row.lag_millis).max();
    let output = Output::stdout()?;
    if context.json {
        let group = opened.group.to_string();
        let shown = serde_json::json!({ "group": group, "most_millis": most, "shards": lagging });
        output.json(&shown).await?;
    } else {
        let mut table = Table::new(["SHARD", "LAG", "OWNER", "STREAM", "PROBLEM"]);
        for row in &lagging {
            table.row([
                row.shard.clone(),
                row.lag_millis.map_or_else(|| "?".to_owned(), span),
                row.owner.clone().unwrap_or_else(|| "-".to_owned()),
                row.stream.clone(),
                row.problem.clone().unwrap_or_default(),
            ]);
        }
        output.write(table.text(context.talk.stdout_colors()).into_bytes()).await?;
    }
    let untold = backlogs.values().any(|backlog| backlog.millis().is_none());
    Ok(if untold { Status::FAILED } else { Status::DONE })
}

//! `rokini group lag`: how far a group is behind.

use serde::Serialize;

use super::group_handle::ScopedGroupArgs;
use super::shard_lag::{self, ShardLag};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::span;
use crate::text_table::TextTable;

/// Show how far each shard of a group is behind
///
/// The lag of a shard is the age of its oldest record that is not done: 0 when there is none. It comes from the stream,
/// so it is also right for shards that no worker has; it takes one of the five reads a second of each unfinished shard.
/// The exit status is 1 if the lag of some shard is not known.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: ScopedGroupArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group lag billing
  rokini group lag billing --json | jq .most_millis  # the greatest lag, for an alarm";

#[derive(Debug, Serialize)]
struct LagRow {
    stream: String,
    shard: String,
    owner: Option<String>,
    lag_millis: Option<u64>,
    problem: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let mut leases = handle.leases()?;
    leases.retain(|row| !row.position.is_shard_end());
    let lags = shard_lag::measure(&handle, &leases).await;
    let rows = leases.iter().map(|lease| {
        let lag = lags.get(&lease.key);
        LagRow {
            stream: lease.key.stream.to_string(),
            shard: lease.key.shard.to_string(),
            owner: lease.owner.as_ref().map(|owner| owner.name.to_string()),
            lag_millis: lag.and_then(ShardLag::millis),
            problem: match lag {
                Some(ShardLag::Gone(why) | ShardLag::Unknown(why)) => Some(why.clone()),
                _ => None,
            },
        }
    });
    let mut rows: Vec<LagRow> = rows.collect();
    // The greatest lag first; what is not known last.
    rows.sort_by_key(|row| std::cmp::Reverse(row.lag_millis));
    let greatest = rows.iter().filter_map(|row| row.lag_millis).max();
    let shown =
        serde_json::json!({ "group": handle.group.to_string(), "most_millis": greatest, "shards": rows });
    let text = || {
        let mut table = TextTable::new(["SHARD", "LAG", "OWNER", "STREAM", "PROBLEM"]);
        for row in &rows {
            table.row([
                row.shard.clone(),
                row.lag_millis.map_or_else(|| "?".to_owned(), span),
                row.owner.clone().unwrap_or_else(|| "-".to_owned()),
                row.stream.clone(),
                row.problem.clone().unwrap_or_default(),
            ]);
        }
        table.text(context.ui.stdout_colors())
    };
    context.show(&shown, text).await?;
    let unknown = lags.values().any(|lag| lag.millis().is_none());
    Ok(if unknown { Status::FAILED } else { Status::DONE })
}

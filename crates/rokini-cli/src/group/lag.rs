//! `rokini group lag`: how far a group is behind.

use std::collections::BTreeSet;

use serde::Serialize;

use super::group_handle::{GroupHandle, ScopedGroupArgs, keys};
use super::observe::{Observations, Seen, observe};
use super::repeat::WatchArgs;
use super::shard_lag::ShardLag;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::span;
use crate::text_table::TextTable;

/// Show how far each shard of a group is behind
///
/// The lag of a shard is the age of its oldest record that is not done: 0 when there is none. A live worker tells it of its
/// shards with its heartbeat (below two seconds it counts as 0); for shards that nobody has it comes from the stream, by one
/// of the five reads a second that a shard has.
/// The exit status is 1 if the lag of some shard is not known.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: ScopedGroupArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group lag billing
  rokini group lag billing --watch
  rokini group lag billing --json | jq .most_millis  # the greatest lag, for an alarm";

#[derive(Debug, Serialize)]
struct LagRow {
    stream: String,
    shard: String,
    owner: Option<String>,
    lag_millis: Option<u64>,
    problem: Option<String>,
    /// Why it makes no progress, where its worker says that.
    cause: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    args.watch.repeat(&args.group, context, async |handle, seen| lag(handle, seen, context).await).await
}

async fn lag(handle: &GroupHandle, seen: Option<&mut Seen>, context: &Context) -> Result<Status, CliError> {
    let mut leases = handle.leases()?;
    leases.retain(|row| !row.position.is_shard_end());
    let Observations { workers, lags, .. } = observe(handle, &keys(&leases), seen).await?;
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
            cause: workers.told(lease).flatten().and_then(|told| told.stalled),
        }
    });
    let mut rows: Vec<LagRow> = rows.collect();
    // The greatest lag first; what is not known last.
    rows.sort_by_key(|row| std::cmp::Reverse(row.lag_millis));
    let greatest = rows.iter().filter_map(|row| row.lag_millis).max();
    let shown =
        serde_json::json!({ "group": handle.group.to_string(), "most_millis": greatest, "shards": rows });
    let text = || {
        let mut table = TextTable::new(["SHARD", "LAG", "OWNER", "STREAM"]);
        for row in &rows {
            table.row([
                row.shard.clone(),
                row.lag_millis.map_or_else(|| "?".to_owned(), span),
                row.owner.clone().unwrap_or_else(|| "-".to_owned()),
                row.stream.clone(),
            ]);
        }
        let mut text = table.text(context.ui.stdout_colors());
        let problems: BTreeSet<&String> = rows.iter().filter_map(|row| row.problem.as_ref()).collect();
        for problem in problems {
            text += &format!("{problem}\n");
        }
        text
    };
    context.show(&shown, text).await?;
    let unknown = lags.values().any(|lag| lag.millis().is_none());
    Ok(if unknown { Status::FAILED } else { Status::DONE })
}

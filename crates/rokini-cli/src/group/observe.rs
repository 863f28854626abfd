//! What is known of a group beyond its rows: which workers are alive, and how far shards are behind.

use std::collections::BTreeSet;
use std::time::Duration;

use rokini::lease::{LeaseKey, LeaseRow, WallClock};

use super::group_handle::GroupHandle;
use super::liveness::{self, SeenWorkers, WatchedWorkers};
use super::shard_lag::{self, ShardLag, ShardLags};
use crate::context::Context;
use crate::error::CliError;

/// What is known beyond the rows.
#[derive(Debug)]
pub(crate) struct Observations {
    pub(crate) workers: WatchedWorkers,
    /// Of the leases that were asked for.
    pub(crate) lags: ShardLags,
    pub(crate) now_millis: u64,
}

/// What a command that shows a group again and again has seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    workers: SeenWorkers,
    /// The lags that were known last.
    lags: ShardLags,
}

/// How long a frame of what is shown again and again waits for the streams.
const FRAME_WAIT: Duration = Duration::from_millis(300);

/// Watches the workers, then finds out how far these leases are behind: as their owners say, and for those of which nobody
/// says it, from the streams. With what was `seen` before nobody is waited for.
pub(super) async fn observe(
    handle: &GroupHandle,
    wanted: &[LeaseKey],
    seen: Option<&mut Seen>,
) -> Result<Observations, CliError> {
    let now_millis = WallClock::system().millis();
    let leases: Vec<&LeaseRow> = handle.view.leases.iter().filter(|row| wanted.contains(&row.key)).collect();
    let Some(seen) = seen else {
        let workers = liveness::watch(&handle.table, &handle.group, &handle.view.workers).await?;
        let lags = shard_lag::measure(handle, &leases, &workers, None).await;
        return Ok(Observations { workers, lags, now_millis });
    };
    let workers = seen.workers.look(&handle.table, &handle.group, &handle.view.workers).await;
    let mut lags = shard_lag::measure(handle, &leases, &workers, Some(FRAME_WAIT)).await;
    // What is not known in time is as it was.
    for (key, lag) in lags.iter_mut().filter(|(_, lag)| matches!(lag, ShardLag::Unknown(_))) {
        if let Some(known) = seen.lags.get(key) {
            lag.clone_from(known);
        }
    }
    seen.lags = lags
        .iter()
        .filter(|(_, lag)| lag.millis().is_some())
        .map(|(key, lag)| (key.clone(), lag.clone()))
        .collect();
    Ok(Observations { workers, lags, now_millis })
}

impl Observations {
    /// What the rows alone say: the lag as far as workers tell it, and whoever was not declared dead is alive.
    pub(super) fn of_rows(handle: &GroupHandle) -> Self {
        let workers = WatchedWorkers::of_rows(&handle.view.workers);
        let told = |row: &LeaseRow| Some((row.key.clone(), ShardLag::told(workers.told(row)?.as_ref())));
        let lags = handle.view.leases.iter().filter_map(told).collect();
        Self { workers, lags, now_millis: WallClock::system().millis() }
    }

    /// Warns of each lag that is not known; returns whether there is any.
    pub(super) fn warn_of_unknown_lags(&self, context: &Context) -> bool {
        let reasons = self.lags.values().filter_map(|lag| match lag {
            ShardLag::Unknown(reason) => Some(reason),
            _ => None,
        });
        let reasons: BTreeSet<&String> = reasons.collect();
        for reason in &reasons {
            context.ui.warn(format_args!("the lag of some shards is not known: {reason}"));
        }
        !reasons.is_empty()
    }
}

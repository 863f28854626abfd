//! What is known of a group beyond its rows: which workers are alive, and how far shards are behind.

use std::collections::BTreeSet;

use rokini::lease::{LeaseKey, LeaseRow, WallClock};

use super::group_handle::GroupHandle;
use super::liveness::{self, WorkerLiveness};
use super::shard_lag::{self, ShardLag, ShardLags};
use crate::context::Context;
use crate::error::CliError;

/// What is known beyond the rows.
#[derive(Debug)]
pub(crate) struct Observations {
    pub(crate) workers: WorkerLiveness,
    /// Of the leases that were asked for.
    pub(crate) lags: ShardLags,
    pub(crate) now_millis: u64,
}

/// Watches the workers, and measures how far these leases are behind, both at the same time.
pub(super) async fn observe(handle: &GroupHandle, wanted: &[LeaseKey]) -> Result<Observations, CliError> {
    let now_millis = WallClock::system().millis();
    let leases: Vec<&LeaseRow> = handle.view.leases.iter().filter(|row| wanted.contains(&row.key)).collect();
    let (workers, lags) = tokio::join!(liveness::watch(handle), shard_lag::measure(handle, &leases));
    Ok(Observations { workers: workers?, lags, now_millis })
}

impl Observations {
    /// What the rows alone say: no lag, and whoever was not declared dead is alive.
    pub(super) fn of_rows(handle: &GroupHandle) -> Self {
        let workers = liveness::from_rows(&handle.view.workers);
        Self { workers, lags: ShardLags::new(), now_millis: WallClock::system().millis() }
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

//! Processes that nobody waits for. As process 1 of a container a worker inherits what its handlers leave: it reaps them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::usage::Stat;

/// Between two looks. What has ended by two of them is waited for by nobody: own processes are reaped at once.
const EVERY: Duration = Duration::from_secs(5);

/// See [`HandlerContext::reap_orphans`](crate::HandlerContext::reap_orphans). `tracker`: where it reads files.
pub(crate) async fn reap_orphans(tracker: &TaskTracker) -> Infallible {
    let mut before = BTreeSet::new();
    loop {
        let looked = tracker.spawn_blocking(ended_children).await.unwrap_or_default();
        for pid in before.intersection(&looked).filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        before = looked;
        sleep(EVERY).await;
    }
}

/// Children that have ended and are not reaped.
fn ended_children() -> BTreeSet<i32> {
    let parent = u32::try_from(getpid().as_raw_nonzero().get()).unwrap_or_default();
    let ended = Stat::all().filter(|(_, stat)| stat.parent == parent && stat.is_zombie);
    ended.filter_map(|(pid, _)| i32::try_from(pid).ok()).collect()
}

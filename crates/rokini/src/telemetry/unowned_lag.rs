//! How old the oldest record is in shards that no worker has: read from the stream itself.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use rokini_lease::{LeaseKey, LeaseRow, LeaseStoreExt, Member, Position};
use tokio::time::{sleep, timeout};

use super::fleet;
use crate::catalog::duty;
use crate::catalog::leases::Catalog;
use crate::catalog::streams::Streams;
use crate::shard::worker_state::WorkerState;

/// Between two rounds. A shard that is unheld in two rounds is read: others are about to be taken up.
const EVERY: Duration = Duration::from_secs(3);
/// Shards of a round, and those read at once.
const SHARDS: usize = 64;
const AT_ONCE: usize = 4;
/// How long one read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of shards that no worker has.
#[derive(Debug, Default)]
pub(crate) struct UnownedLags(Mutex<BTreeMap<LeaseKey, Backlog>>);

/// What waits in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Backlog {
    at: Position,
    /// The arrival of the oldest record that is not done, in milliseconds since the Unix epoch.
    oldest: Option<u64>,
}

impl UnownedLags {
    /// The age of the oldest record that is not done; `None` where nothing is known, or nothing waits.
    pub(crate) fn lag(&self, row: &LeaseRow, now_millis: u64) -> Option<Duration> {
        let known = self.0.lock();
        let backlog = known.get(&row.key).filter(|backlog| backlog.at == row.position)?;
        backlog.oldest.map(|oldest| Duration::from_millis(now_millis.saturating_sub(oldest)))
    }
}

/// Reads the shards that nobody has.
pub(crate) struct UnownedReader {
    pub(crate) lags: Arc<UnownedLags>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) worker: Arc<WorkerState>,
}

impl UnownedReader {
    pub(crate) async fn run(&self) -> Infallible {
        let mut before: Vec<LeaseKey> = Vec::new();
        loop {
            sleep(EVERY).await;
            let Some(member) = self.worker.member() else { continue };
            let unowned = self.unowned(&member);
            let (known, unknown): (Vec<LeaseRow>, Vec<LeaseRow>) = {
                let known = self.lags.0.lock();
                // What waits, waits on: only its age grows.
                let waits = |row: &LeaseRow| {
                    known
                        .get(&row.key)
                        .is_some_and(|known| known.at == row.position && known.oldest.is_some())
                };
                unowned.iter().filter(|row| before.contains(&row.key)).cloned().partition(waits)
            };
            let reads: Vec<_> = unknown.into_iter().take(SHARDS).map(|row| self.read(row)).collect();
            let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
            let mut seen = Vec::new();
            while let Some(read) = reads.next().await {
                seen.extend(read);
            }
            let mut lags = self.lags.0.lock();
            lags.retain(|key, _| known.iter().any(|row| row.key == *key));
            lags.extend(seen);
            drop(lags);
            before = unowned.into_iter().map(|row| row.key).collect();
        }
    }

    /// The shards that nobody has, of the streams for which this worker is on duty: one worker of those that read a
    /// stream reads for all.
    fn unowned(&self, member: &Member) -> Vec<LeaseRow> {
        let view = member.snapshot();
        let mut on_duty: BTreeSet<_> = self.streams.all().keys().cloned().collect();
        on_duty.retain(|stream| duty::rank(stream, member.id(), &view.workers) == 0);
        if on_duty.is_empty() {
            return Vec::new();
        }
        let mine = self.worker.shards();
        let streams = fleet::facts(&view).1.into_iter().filter(|(stream, _)| on_duty.contains(stream));
        let unheld = streams.flat_map(|(_, facts)| facts.unheld);
        unheld.filter(|row| !mine.contains_key(&row.key)).collect()
    }

    async fn read(&self, row: LeaseRow) -> Option<(LeaseKey, Backlog)> {
        let stream = self.streams.get(&row.key.stream)?;
        let read = async {
            // The listing may be half a minute old. Somebody else's shard is not to be read.
            let now = self.catalog.store.lease(&self.catalog.group, &row.key).await.ok()??;
            if now.owner != row.owner || now.position != row.position {
                return None;
            }
            let mut reader = stream.source.open(&row.key.shard, &row.position).await.ok()?;
            reader.next().await.ok()
        };
        let fetched = timeout(READ_TIMEOUT, read).await.ok()??;
        let oldest = fetched.records.first().map(|record| record.arrival_millis);
        Some((row.key, Backlog { at: row.position, oldest }))
    }
}

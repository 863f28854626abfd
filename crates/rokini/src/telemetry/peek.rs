//! How old the oldest record is in shards that no worker has: read from the stream itself.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use rokini_lease::{LeaseKey, LeaseRow, Position};
use tokio::time::{sleep, timeout};

use super::fleet;
use crate::catalog::duty;
use crate::consumer::control::Control;
use crate::consumer::engine::Engine;

/// Between two rounds. A shard that is unheld in two rounds is looked at: others are about to be taken up.
const EVERY: Duration = Duration::from_secs(3);
/// Shards of a round, and those read at once.
const SHARDS: usize = 64;
const AT_ONCE: usize = 4;
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of shards that no worker has.
#[derive(Debug, Default)]
pub(crate) struct Backlogs(Mutex<BTreeMap<LeaseKey, Backlog>>);

/// What waits in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Backlog {
    at: Position,
    /// The arrival of the oldest record that is not done, in milliseconds since the Unix epoch.
    oldest: Option<u64>,
}

impl Backlogs {
    /// The age of the oldest record that is not done; `None` where nothing is known, or nothing waits.
    pub(crate) fn lag(&self, row: &LeaseRow, now_millis: u64) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let backlog = known.get(&row.key).filter(|backlog| backlog.at == row.position)?;
        backlog.oldest.map(|oldest| Duration::from_millis(now_millis.saturating_sub(oldest)))
    }
}

pub(crate) async fn run(engine: Arc<Engine>, control: Arc<Control>) -> Infallible {
    let mut before: Vec<LeaseKey> = Vec::new();
    loop {
        sleep(EVERY).await;
        let Some(member) = control.member() else { continue };
        let view = member.snapshot();
        // One worker of those that read a stream looks for all.
        let mut minded = engine.streams.all().keys().cloned().collect::<BTreeSet<_>>();
        minded.retain(|stream| duty::place(stream, member.id(), &view.workers) == 0);
        let unheld: Vec<LeaseRow> = if minded.is_empty() {
            Vec::new()
        } else {
            let mine = control.shards();
            let streams = fleet::facts(&view).1.into_iter().filter(|(stream, _)| minded.contains(stream));
            let unheld = streams.flat_map(|(_, facts)| facts.unheld);
            unheld.filter(|row| !mine.contains_key(&row.key)).collect()
        };
        let (known, again): (Vec<LeaseRow>, Vec<LeaseRow>) = {
            let known = engine.backlogs.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What waits, waits on: only its age grows.
            let waits = |row: &LeaseRow| {
                known.get(&row.key).is_some_and(|known| known.at == row.position && known.oldest.is_some())
            };
            unheld.iter().filter(|row| before.contains(&row.key)).cloned().partition(waits)
        };
        let looks = again.into_iter().take(SHARDS).map(|row| look(Arc::clone(&engine), row));
        let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        let mut seen = Vec::new();
        while let Some(looked) = looks.next().await {
            seen.extend(looked);
        }
        let mut backlogs = engine.backlogs.0.lock().unwrap_or_else(PoisonError::into_inner);
        backlogs.retain(|key, _| known.iter().any(|row| row.key == *key));
        backlogs.extend(seen);
        drop(backlogs);
        before = unheld.into_iter().map(|row| row.key).collect();
    }
}

async fn look(engine: Arc<Engine>, row: LeaseRow) -> Option<(LeaseKey, Backlog)> {
    let stream = engine.streams.get(&row.key.stream)?;
    let look = async {
        // The listing may be half a minute old. Somebody else's shard is not to be read.
        let now = engine.catalog.store.lease(&engine.catalog.group, &row.key).await.ok()??;
        if now.owner != row.owner || now.position != row.position {
            return None;
        }
        let mut reader = stream.source.open(&row.key.shard, &row.position).await.ok()?;
        reader.next().await.ok()
    };
    let fetched = timeout(PATIENCE, look).await.ok()??;
    let oldest = fetched.records.first().map(|record| record.arrival_millis);
    Some((row.key, Backlog { at: row.position, oldest }))
}

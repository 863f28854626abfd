//! What a member knows of one lease that it holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::LeaseLostReason;
use crate::position::Position;
use crate::row::{LeaseRow, PendingPosition};
use crate::types::{Epoch, LeaseKey, StreamId, WorkerId};

/// What the member knows of a lease it holds; shared with the user's [`Lease`](crate::Lease).
pub(super) struct Hold {
    pub(super) key: LeaseKey,
    pub(super) epoch: Epoch,
    pub(super) row: LeaseRow,
    stored: Mutex<Stored>,
    /// Until when everything that arrived in the shard is done, in milliseconds since the Unix epoch; 0 where nothing is
    /// known.
    caught_up: AtomicU64,
    pub(super) pause: watch::Sender<Pause>,
    /// Checkpoints of one lease go out one after the other.
    pub(super) writing: tokio::sync::Mutex<()>,
    pub(super) lost: watch::Sender<Option<LeaseLostReason>>,
    pub(super) yielding: watch::Sender<Option<YieldRequest>>,
    /// After a hand-over that was not done in its time.
    rest: Mutex<Rest>,
}

/// How long claims on a lease are left waiting whose last hand-over was withdrawn.
#[derive(Default)]
struct Rest {
    withdrawn: u32,
    until: Option<Instant>,
}

/// The first rest after a hand-over that was withdrawn. Each further one is twice as long as the one before, up to
/// [`LONGEST_REST`]: what could not be done in its time may be done in it later, and costs a pause of reading each time.
const FIRST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What this worker knows to be on the row.
pub(super) struct Stored {
    pub(super) position: Position,
    pub(super) pending: Option<PendingPosition>,
    /// A pending position that may or may not be there: its write failed.
    pub(super) uncertain: Option<Position>,
}

/// Whether an operator stopped the reading of the shard, or of the whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pause {
    pub(super) lease: bool,
    pub(super) group: bool,
}

impl Pause {
    pub(super) fn is_on(self) -> bool {
        self.lease || self.group
    }
}

/// Who the lease is to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YieldRequest {
    pub(super) to: Option<WorkerId>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("key", &self.key).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Until when everything that arrived is done, as the row says.
fn caught_up(row: &LeaseRow) -> Option<u64> {
    match row.position {
        Position::Sequence(..) => row.metadata.record_arrival_millis.max(row.metadata.caught_up_millis),
        Position::AtTimestamp(millis) => Some(millis),
        Position::TrimHorizon | Position::ShardEnd => None,
    }
}

/// For each stream of which every lease held says so: until when everything is done.
pub(super) fn caught_up_by_stream<'a>(holds: impl Iterator<Item = &'a Arc<Hold>>) -> BTreeMap<StreamId, u64> {
    let mut until: BTreeMap<&StreamId, Option<u64>> = BTreeMap::new();
    // Of a shard that was never read a successor needs no such time.
    for hold in holds.filter(|hold| hold.caught_up().is_some() || hold.row.position != Position::TrimHorizon)
    {
        let of_all = until.entry(&hold.key.stream).or_insert(Some(u64::MAX));
        *of_all = of_all.zip(hold.caught_up()).map(|(all, one)| all.min(one));
    }
    until.into_iter().filter_map(|(stream, until)| Some((stream.clone(), until?))).collect()
}

impl Hold {
    pub(super) fn new(row: LeaseRow) -> Self {
        Self {
            key: row.key.clone(),
            epoch: row.epoch,
            stored: Mutex::new(Stored {
                position: row.position,
                pending: row.pending.clone(),
                uncertain: None,
            }),
            caught_up: AtomicU64::new(caught_up(&row).unwrap_or_default()),
            pause: watch::Sender::new(Pause { lease: row.paused, group: false }),
            row,
            writing: tokio::sync::Mutex::default(),
            lost: watch::Sender::new(None),
            yielding: watch::Sender::new(None),
            rest: Mutex::default(),
        }
    }

    pub(super) fn caught_up(&self) -> Option<u64> {
        Some(self.caught_up.load(Ordering::Relaxed)).filter(|until| *until > 0)
    }

    pub(super) fn set_caught_up(&self, until: u64) {
        self.caught_up.fetch_max(until, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> Option<LeaseLostReason> {
        *self.lost.borrow()
    }

    /// The first cause stays.
    pub(super) fn set_lost(&self, cause: LeaseLostReason) {
        self.lost.send_if_modified(|lost| lost.replace(cause).is_none_or(|first| *lost == Some(first)));
    }

    pub(super) fn request_yield(&self, to: Option<WorkerId>) {
        self.yielding.send_replace(Some(YieldRequest { to }));
    }

    /// Somebody has a claim on it. Left waiting while a hand-over is under way, and for a while after one that was
    /// withdrawn.
    pub(super) fn claimed(&self, by: WorkerId) {
        let rests = lock(&self.rest).until.is_some_and(|until| Instant::now() < until);
        if !rests && !self.is_yielding() {
            self.request_yield(Some(by));
        }
    }

    /// Ends a hand-over that was not done in its time. To whom it was to go.
    pub(super) fn withdraw(&self) -> Option<WorkerId> {
        let to = self.yielding.borrow().as_ref()?.to.clone()?;
        {
            let mut rest = lock(&self.rest);
            let length = FIRST_REST.saturating_mul(1 << rest.withdrawn.min(8)).min(LONGEST_REST);
            *rest = Rest { withdrawn: rest.withdrawn + 1, until: Some(Instant::now() + length) };
        }
        self.yielding.send_replace(None);
        Some(to)
    }

    pub(super) fn is_yielding(&self) -> bool {
        self.yielding.borrow().is_some()
    }

    pub(super) fn stored(&self) -> Position {
        self.with_stored(|stored| stored.position)
    }

    /// Whether this position reaches what is pending.
    pub(super) fn settles(&self, position: Position) -> bool {
        self.with_stored(|stored| {
            let known = stored.pending.as_ref().map(|pending| pending.position);
            known.max(stored.uncertain).is_some_and(|pending| pending <= position)
        })
    }

    pub(super) fn with_stored<T>(&self, with: impl FnOnce(&mut Stored) -> T) -> T {
        with(&mut lock(&self.stored))
    }
}

/// State behind these locks is whole after each statement, so a poisoned lock is taken over.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

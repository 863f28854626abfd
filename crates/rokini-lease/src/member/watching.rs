//! The watch: looks at worker rows, declares the silent dead, and says when somebody has to list the leases. A loop of its
//! own, so that nothing that lists or moves leases holds it up.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::calls::notify;
use super::state::MemberState;
use crate::error::StoreError;
use crate::pace::{BLOCK, STANDBYS};
use crate::row::{WorkerNotification, WorkerRow, WorkerState};
use crate::store::{LeaseStore, LeaseStoreExt, Listing, ListingQuery};
use crate::supervise::supervise;
use crate::types::WorkerId;
use crate::update::WorkerUpdate;
use crate::watch::{FleetWatch, ListingCauses, LoadWatch, Look, UnfinishedFences, WatchedBlock};
use crate::write::WriteOutcome;

/// Workers that are declared dead at once.
const FENCES_AT_ONCE: usize = 16;
/// For so many failover times after a death everybody is looked at.
const ALARM: u32 = 3;

pub(super) async fn supervised(state: Arc<MemberState>) {
    supervise(Arc::clone(&state), |state| Box::pin(run(state)), |error| state.task_panicked("watch", error))
        .await;
}

async fn run(state: &Arc<MemberState>) {
    let mut watching = Watching {
        watch: FleetWatch::new(state.config.failover),
        block: WatchedBlock::new(state.me.clone()),
        unfinished: UnfinishedFences::default(),
        loads: LoadWatch::default(),
        newcomers_loads: Vec::new(),
        idle_since: Some(Instant::now()),
        failures: 0,
        state: Arc::clone(state),
    };
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            () = state.leaving.cancelled() => return,
            () = state.look_requested() => {}
            () = sleep_until(next) => {}
        }
        let begun = Instant::now();
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            () = state.leaving.cancelled() => return,
            () = watching.turn(begun) => {}
        }
        next = watching.next_turn(begun);
    }
}

struct Watching {
    state: Arc<MemberState>,
    watch: FleetWatch,
    block: WatchedBlock,
    unfinished: UnfinishedFences,
    loads: LoadWatch,
    /// The loads of the others at the last look.
    newcomers_loads: Vec<u32>,
    /// Since when this worker has had no lease.
    idle_since: Option<Instant>,
    /// Looks that failed one after the other.
    failures: u32,
}

impl Watching {
    fn next_turn(&self, begun: Instant) -> Instant {
        let (state, pace) = (&self.state, self.state.pace());
        let resting = state.fleet.is_in_reserve() && state.fleet.reserves_before(&state.me) >= STANDBYS;
        let usual = if state.expects_leases(begun) {
            pace.look() / 3
        } else if resting {
            pace.reserve_look()
        } else {
            pace.look()
        };
        // Half as often once the store does not answer: it may have too much to do.
        let regular = begun + if self.failures > 2 { usual * 2 } else { usual };
        // A worker falls silent at its own time, not at ours. What was due before is tried again with the next
        // regular look only.
        let deadline = self.watch.next_deadline(&state.me).map(|at| at + self.block.deference(pace));
        let due = [deadline, self.unfinished.next_due()];
        due.into_iter().flatten().filter(|due| *due > begun).fold(regular, Instant::min)
    }

    async fn turn(&mut self, begun: Instant) {
        let state = Arc::clone(&self.state);
        let look = self.block.next(state.pace(), state.fleet.is_in_reserve(), begun);
        match self.look(&look).await {
            Ok(rows) => {
                self.failures = 0;
                let now = Instant::now();
                state.health.looked(now);
                self.take_in(&look, &rows, now);
                if let Err(error) = self.fence_silent_workers(now).await {
                    tracing::debug!(worker = %state.me, %error, "could not declare a silent worker dead, trying again");
                }
                self.rest_or_rise(now);
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                tracing::debug!(worker = %state.me, %error, "could not look at the fleet, trying again");
                state.health.look_failed(error.to_string());
            }
        }
    }

    async fn look(&self, look: &Look) -> Result<Vec<WorkerRow>, StoreError> {
        let (store, group) = (&self.state.store, &self.state.group);
        let view = match look {
            Look::Whole => store.list(group, Listing::Workers).await?,
            Look::Block { after, until } => {
                let part = ListingQuery::Workers { after: after.clone(), until: until.clone() };
                store.list_part(group, &part).await?.view
            }
        };
        Ok(view.workers)
    }

    fn take_in(&mut self, look: &Look, rows: &[WorkerRow], now: Instant) {
        let (state, pace, whole) = (Arc::clone(&self.state), self.state.pace(), *look == Look::Whole);
        self.block.learn(look, rows, now);
        self.watch.observe(rows, whole, now);
        state.fleet.saw(look, rows, self.watch.silences(), now);
        match rows.iter().find(|row| row.id == state.me) {
            Some(mine) if !mine.mailbox.is_empty() => {
                // Its reply brings them, and takes them out.
                state.request_heartbeat();
                if mine.mailbox.contains(&WorkerNotification::GroupChanged) {
                    self.block.look_around();
                }
            }
            Some(mine) if mine.state != WorkerState::Fenced => {}
            // Declared dead, it seems, and in reserve it would be long until a heartbeat says so.
            _ if state.fleet.is_in_reserve() => state.request_heartbeat(),
            _ => {}
        }
        self.unfinished.observe(&state.me, rows, whole, pace, now);
        if self.unfinished.is_due(now) {
            self.unfinished.begin(pace, now);
            state.request_listing(ListingCauses::UNASSIGNED);
        }
        // Newcomers that came together did not see each other at first.
        if whole && state.is_new() && (state.lists_without(rows) || self.is_more_due(rows)) {
            state.request_listing(ListingCauses::JOINED);
        }
        if whole && self.block.is_first() && self.loads.observe(rows, pace, now) {
            state.request_listing(ListingCauses::EVERYTHING);
        }
    }

    /// Whether somebody has two leases more than this worker. Said once of the same loads.
    fn is_more_due(&mut self, rows: &[WorkerRow]) -> bool {
        let mine = self.state.held_count() as u32;
        let others = rows.iter().filter(|row| row.state == WorkerState::Alive && row.id != self.state.me);
        let loads: Vec<u32> = others.map(|row| row.load.leases).collect();
        let due = loads.iter().any(|load| *load > mine + 1) && loads != self.newcomers_loads;
        self.newcomers_loads = loads;
        due
    }

    /// Declares those dead whose heartbeat counter did not move for the failover time. Only while this worker's own
    /// heartbeats arrive on time: otherwise the silence may be the store's. Whoever does it moves the leases of the dead.
    async fn fence_silent_workers(&mut self, now: Instant) -> Result<(), StoreError> {
        let (state, deference) = (Arc::clone(&self.state), self.block.deference(self.state.pace()));
        let silent: Vec<(WorkerId, u64)> = (self.watch.silent(&state.me, now).into_iter())
            .filter(|(_, _, beyond)| *beyond >= deference)
            .map(|(id, seen, _)| (id, seen))
            .collect();
        if silent.is_empty() || !state.may_testify() {
            return Ok(());
        }
        let fences = stream::iter(silent).map(|(id, seen)| fence(&state, id, seen));
        let outcomes: Vec<Result<Option<WorkerId>, StoreError>> =
            fences.buffer_unordered(FENCES_AT_ONCE).collect().await;
        let dead: Vec<WorkerId> = outcomes.iter().flatten().flatten().cloned().collect();
        if !dead.is_empty() {
            self.block.alarm(now + state.config.failover * ALARM);
            state.request_listing(ListingCauses::UNASSIGNED);
            self.appoint_sentinels(&dead).await;
        }
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
    }

    /// Where a sentinel died, the one that takes its place does not know yet.
    async fn appoint_sentinels(&self, dead: &[WorkerId]) {
        let before = self.state.fleet.rows();
        let old = WatchedBlock::sentinels(&before);
        if before.len() <= BLOCK || !dead.iter().any(|id| old.contains(id)) {
            return;
        }
        let left: Vec<WorkerRow> = before.iter().filter(|row| !dead.contains(&row.id)).cloned().collect();
        let new = WatchedBlock::sentinels(&left).into_iter().filter(|id| !old.contains(id));
        for id in new.filter(|id| *id != self.state.me) {
            notify(&self.state, &id, WorkerNotification::GroupChanged).await;
        }
    }

    /// A worker without leases sends heartbeats rarely, unless somebody may be dying: then it has to be able to tell.
    fn rest_or_rise(&mut self, now: Instant) {
        let state = &self.state;
        let idle = state.held_count() == 0 && !state.expects_leases(now);
        self.idle_since = if idle { self.idle_since.or(Some(now)) } else { None };
        let rests = self.idle_since.is_some_and(|since| now - since >= state.config.failover)
            && !self.watch.suspects(&state.me, now);
        state.set_in_reserve(rests);
    }
}

/// Declares one worker dead under the counter seen. Its id where this call did.
async fn fence(state: &MemberState, id: WorkerId, seen: u64) -> Result<Option<WorkerId>, StoreError> {
    let outcome = state.store.update_worker(&state.group, &id, &WorkerUpdate::Fence { seen }).await?;
    Ok(match outcome {
        WriteOutcome::Applied { .. } => {
            tracing::warn!(worker = %id, by = %state.me, "declared dead after its heartbeats stopped");
            Some(id)
        }
        WriteOutcome::Refused { .. } => None,
    })
}

/// Fenced, or gone: both by a consistent read.
pub(super) fn is_dead(row: Option<&WorkerRow>) -> bool {
    row.is_none_or(|row| row.state == WorkerState::Fenced)
}

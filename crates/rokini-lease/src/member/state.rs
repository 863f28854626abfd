//! What the loops of a member, and the leases it granted, share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::config::MemberConfig;
use super::control_health::HealthRecord;
use super::fleet::FleetKnowledge;
use super::heartbeat_stats::HeartbeatCounter;
use super::hold::{self, Hold};
use super::hold_table::{HoldTable, OwnRow};
use super::outbox::Outbox;
use super::pending_work::WorkQueue;
use super::shard_healths::ShardHealths;
use crate::clock::{ClockReading, WallClock};
use crate::error::{LeaseLostReason, StoreError};
use crate::pace::Pace;
use crate::row::{GroupRow, GroupView, LeaseRow, WorkerNotification, WorkerReport, WorkerRow, WorkerState};
use crate::store::{LeaseStore, LeaseStoreExt, Listing};
use crate::types::{Epoch, GroupId, LeaseKey, StreamId, WorkerId};
use crate::update::WorkerUpdate;
use crate::watch::ListingCauses;

/// So many of the leases it leaves to nobody a worker that ends tells of.
const LEFT_TOLD: usize = 4;

/// What a member tells the consumer it works for; [`MemberEvent`](crate::MemberEvent) is what the consumer sees.
#[derive(Debug)]
pub(super) enum StateEvent {
    Granted(Arc<Hold>),
    Fenced,
    SharedIncarnation,
    OutageBegan { error: String },
    OutageEnded,
    TaskPanicked { task: &'static str, error: String },
}

pub(super) struct MemberState {
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) group: GroupId,
    pub(super) me: WorkerId,
    pub(super) config: MemberConfig,
    pub(super) clock: WallClock,
    pub(super) heartbeats: HeartbeatCounter,
    /// Cancelled when the worker begins to leave.
    pub(super) leaving: CancellationToken,
    /// Cancelled when the member is over: left, or fenced.
    pub(super) stopped: CancellationToken,
    /// When the call began that wrote the last heartbeat known to be stored.
    valid_since: Mutex<ClockReading>,
    /// Wakes in the order of arrival, so that runs from one seed are equal.
    validated: Notify,
    invalidated: Notify,
    holds: Mutex<HoldTable>,
    pub(super) work: WorkQueue,
    pub(super) fleet: FleetKnowledge,
    pub(super) health: HealthRecord,
    /// Leases that this worker asked others for, and until when it waits for them.
    expected: Mutex<BTreeMap<LeaseKey, Instant>>,
    look_requested: Notify,
    /// Leases that this worker left to nobody in particular: some of them, since each makes who is told list them all.
    left_unassigned: Mutex<BTreeSet<LeaseKey>>,
    outage: AtomicBool,
    pub(super) outbox: Outbox,
    heartbeat_requested: Notify,
    pub(super) shard_healths: ShardHealths,
    view: Mutex<Arc<GroupView>>,
    successors: Mutex<Vec<WorkerRow>>,
    joined: Instant,
    streams: Mutex<Option<BTreeSet<StreamId>>>,
    /// Streams that cannot be read at present.
    unable: Mutex<BTreeSet<StreamId>>,
    /// Whether an operator stopped the whole group, as last read.
    group_paused: Mutex<bool>,
    events: mpsc::UnboundedSender<StateEvent>,
}

impl fmt::Debug for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberState").field("me", &self.me).finish_non_exhaustive()
    }
}

impl MemberState {
    pub(super) fn new(
        store: Arc<dyn LeaseStore>,
        group: GroupId,
        me: WorkerId,
        config: MemberConfig,
        clock: WallClock,
        valid_since: ClockReading,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<StateEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let streams = Mutex::new(config.streams.clone());
        let state = Self {
            store,
            group,
            me,
            config,
            clock,
            heartbeats: HeartbeatCounter::new(),
            leaving: CancellationToken::new(),
            stopped: CancellationToken::new(),
            valid_since: Mutex::new(valid_since),
            validated: Notify::new(),
            invalidated: Notify::new(),
            holds: Mutex::default(),
            work: WorkQueue::default(),
            fleet: FleetKnowledge::default(),
            health: HealthRecord::new(),
            expected: Mutex::default(),
            look_requested: Notify::new(),
            left_unassigned: Mutex::default(),
            outage: AtomicBool::default(),
            outbox: Outbox::default(),
            heartbeat_requested: Notify::new(),
            shard_healths: ShardHealths::default(),
            view: Mutex::default(),
            successors: Mutex::default(),
            joined: Instant::now(),
            streams,
            unable: Mutex::default(),
            group_paused: Mutex::default(),
            events,
        };
        (Arc::new(state), receiver)
    }

    pub(super) fn is_valid(&self) -> bool {
        let since = *lock(&self.valid_since);
        since.until(&self.clock.read()) < self.config.validity() && !self.stopped.is_cancelled()
    }

    /// Waits until heartbeats arrive again. Never ends once the member is over.
    pub(super) async fn until_valid(&self) {
        loop {
            let mut validated = pin!(self.validated.notified());
            validated.as_mut().enable();
            if self.is_valid() {
                return;
            }
            validated.await;
        }
    }

    /// Waits until this worker may not use its leases. Looks at the clocks whenever the waiting task is woken, not only
    /// when its own timer is: in a process that stood still all timers are due at once, in no order.
    pub(super) async fn until_invalid(&self) {
        loop {
            let mut invalidated = pin!(self.invalidated.notified());
            invalidated.as_mut().enable();
            if !self.is_valid() {
                return;
            }
            let until = lock(&self.valid_since).running + self.config.validity();
            tokio::select! {
                biased;
                () = poll_fn(|_| if self.is_valid() { Poll::Pending } else { Poll::Ready(()) }) => {}
                () = self.stopped.cancelled() => {}
                () = invalidated => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// A heartbeat is stored whose call began then.
    pub(super) fn extend_validity(&self, since: ClockReading) {
        {
            let mut last = lock(&self.valid_since);
            // A call that was found to have taken effect may have begun before.
            if since.running > last.running {
                *last = since;
            }
        }
        self.validated.notify_waiters();
    }

    /// Wakes whoever waits for the end of the validity, where a clock that no timer follows ended it.
    pub(super) fn look_at_the_clocks(&self) {
        if !self.is_valid() {
            self.invalidated.notify_waiters();
        }
    }

    /// The epoch a lease gets at least when this worker acquires it: above what it knows of a lease of this key that was
    /// deleted meanwhile, and not below the time.
    pub(super) fn epoch_floor(&self, key: &LeaseKey) -> Epoch {
        lock(&self.holds).next_epoch(key).max(Epoch(self.clock.millis()))
    }

    pub(super) fn outage_began(&self, error: String) {
        self.outage.store(true, Ordering::Relaxed);
        self.emit(StateEvent::OutageBegan { error });
    }

    pub(super) fn outage_ended(&self) {
        self.outage.store(false, Ordering::Relaxed);
        self.request_listing(ListingCauses::UNASSIGNED);
        self.emit(StateEvent::OutageEnded);
    }

    /// Whether heartbeats arrive as often as this worker means to send them.
    pub(super) fn is_heard(&self) -> bool {
        let patience = self.heartbeat_interval() + self.config.validity() - self.config.heartbeat;
        self.is_valid() || !self.stopped.is_cancelled() && self.heartbeats.stats().age < patience
    }

    pub(super) fn pace(&self) -> Pace {
        self.config.pace()
    }

    /// Until the next heartbeat.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        let pace = self.pace();
        if self.fleet.is_in_reserve() { pace.reserve_heartbeat() } else { pace.heartbeat }
    }

    /// Goes into reserve, or comes out of it, which the others learn at once.
    pub(super) fn set_in_reserve(&self, in_reserve: bool) {
        if self.fleet.set_in_reserve(in_reserve) {
            self.request_heartbeat();
        }
    }

    /// Comes out of reserve and waits, for a while, until leases may be used.
    pub(super) async fn rise(&self) {
        if !self.is_valid() {
            self.set_in_reserve(false);
            let limit = self.config.validity() / 3;
            let _ = tokio::time::timeout(limit, self.until_valid()).await;
        }
    }

    /// Whether this worker's own heartbeats show that the store answered of late.
    pub(super) fn may_testify(&self) -> bool {
        let pace = self.pace();
        self.is_valid() && self.heartbeats.on_time_for(pace.on_time()) >= pace.testimony()
    }

    /// Whether it joined a moment ago.
    pub(super) fn is_new(&self) -> bool {
        self.joined.elapsed() < self.pace().look() * 4
    }

    /// Whether the last listing was made without one of those that take part by these rows.
    pub(super) fn lists_without(&self, rows: &[WorkerRow]) -> bool {
        let listed: BTreeSet<WorkerId> = self.view().workers.iter().map(|row| row.id.clone()).collect();
        let takes_part = |row: &&WorkerRow| row.state == WorkerState::Alive;
        !listed.is_empty() && rows.iter().filter(takes_part).any(|row| !listed.contains(&row.id))
    }

    pub(super) fn expect(&self, key: LeaseKey) {
        lock(&self.expected).insert(key, Instant::now() + self.config.failover);
        self.look_requested.notify_one();
    }

    /// Whether leases are on their way that this worker asked others for.
    pub(super) fn expects_leases(&self, now: Instant) -> bool {
        let mut expected = lock(&self.expected);
        expected.retain(|_, until| now < *until);
        !expected.is_empty()
    }

    /// Resolves when a look is to be made at once.
    pub(super) async fn look_requested(&self) {
        self.look_requested.notified().await;
    }

    /// This lease is left to nobody in particular.
    pub(super) fn left_unassigned(&self, key: &LeaseKey) {
        let mut left = lock(&self.left_unassigned);
        if left.len() < LEFT_TOLD {
            left.insert(key.clone());
        }
    }

    /// What is held now is left behind, and what was given to this worker and not taken up.
    pub(super) fn note_leases_left(&self) {
        self.holds().iter().for_each(|hold| self.left_unassigned(&hold.key));
        for key in self.work.take().notifications.iter().filter_map(WorkerNotification::lease_entrusted) {
            self.left_unassigned(key);
        }
    }

    /// Ends this worker's row. Where leases are left behind, somebody who lives is told to see to them.
    pub(super) async fn end_row(&self) -> Result<(), StoreError> {
        if let Some(row) = self.store.worker(&self.group, &self.me).await? {
            row.mailbox
                .iter()
                .filter_map(WorkerNotification::lease_entrusted)
                .for_each(|key| self.left_unassigned(key));
        }
        self.store.delete_worker(&self.group, &self.me).await?;
        let left = lock(&self.left_unassigned).clone();
        if left.is_empty() {
            return Ok(());
        }
        let workers = self.store.list(&self.group, Listing::Workers).await?.workers;
        let others = workers.iter().filter(|row| row.state == WorkerState::Alive && row.id != self.me);
        if let Some(other) = others.min_by_key(|row| row.load.leases) {
            for key in left {
                let tell = WorkerUpdate::Notify(WorkerNotification::Changed(key));
                self.store.update_worker(&self.group, &other.id, &tell).await?;
            }
        }
        Ok(())
    }

    pub(super) fn emit(&self, event: StateEvent) {
        // Nobody listens any more once the consumer stopped: the lease is released at once.
        if let Err(mpsc::error::SendError(StateEvent::Granted(hold))) = self.events.send(event) {
            self.released(&hold);
        }
    }

    /// Leases were made or became free: somebody has to see to them.
    pub(super) fn task_panicked(&self, task: &'static str, error: String) {
        self.emit(StateEvent::TaskPanicked { task, error });
    }

    pub(super) fn request_reconcile(&self) {
        self.request_listing(ListingCauses::UNASSIGNED);
    }

    pub(super) fn request_listing(&self, causes: ListingCauses) {
        self.work.request_listing(causes);
    }

    pub(super) fn request_heartbeat(&self) {
        self.heartbeat_requested.notify_one();
    }

    /// Resolves when a heartbeat is to be made at once.
    pub(super) async fn heartbeat_requested(&self) {
        self.heartbeat_requested.notified().await;
    }

    pub(super) fn streams(&self) -> Option<BTreeSet<StreamId>> {
        lock(&self.streams).clone()
    }

    pub(super) fn reads(&self, stream: &StreamId) -> bool {
        lock(&self.streams).as_ref().is_none_or(|streams| streams.contains(stream))
    }

    pub(super) fn set_streams(&self, streams: Option<BTreeSet<StreamId>>) {
        {
            let mut current = lock(&self.streams);
            if *current == streams {
                return;
            }
            *current = streams;
        }
        self.set_successors(&self.view().workers);
        for hold in self.holds().iter().filter(|hold| !self.reads(&hold.key.stream)) {
            hold.request_yield(None);
        }
        self.request_heartbeat();
        self.request_listing(ListingCauses::JOINED);
    }

    /// Whether this worker can read the stream at present. What it has of one that it cannot read goes to those who can.
    pub(super) fn set_able(&self, stream: &StreamId, able: bool) {
        let changed = {
            let mut unable = lock(&self.unable);
            if able { unable.remove(stream) } else { unable.insert(stream.clone()) }
        };
        if !changed {
            return;
        }
        if !able {
            self.set_successors(&self.view().workers);
            for hold in self.holds().iter().filter(|hold| hold.key.stream == *stream && !hold.is_yielding()) {
                if let Some(to) = self.next_successor(stream) {
                    hold.request_yield(Some(to));
                }
            }
        }
        self.heartbeat_requested.notify_one();
        self.request_reconcile();
    }

    pub(super) fn is_able(&self, stream: &StreamId) -> bool {
        !lock(&self.unable).contains(stream)
    }

    /// Whether another worker reads the stream and is able to, as far as the last listing shows.
    pub(super) fn others_read(&self, stream: &StreamId) -> bool {
        let able =
            |row: &WorkerRow| row.state == WorkerState::Alive && row.id != self.me && row.reads(stream);
        self.view().workers.iter().any(able)
    }

    /// What the next heartbeat says of this worker.
    pub(super) fn report(&self) -> WorkerReport {
        WorkerReport {
            age: Some(Duration::from_secs(self.joined.elapsed().as_secs())),
            unable: lock(&self.unable).clone(),
            caught_up: self.caught_up(),
            interval: self.heartbeat_interval(),
            ..self.shard_healths.in_report(self.config.report())
        }
    }

    /// For each stream of which every lease held says so: until when everything is done.
    fn caught_up(&self) -> BTreeMap<StreamId, u64> {
        hold::caught_up_by_stream(lock(&self.holds).held.values())
    }

    pub(super) fn is_group_paused(&self) -> bool {
        *lock(&self.group_paused)
    }

    /// Takes in the group's own row, read consistently.
    pub(super) fn set_group(&self, row: &GroupRow) {
        let paused = row.paused_at.is_some();
        // One lock for both, so that no hold that comes meanwhile is left out.
        let holds = lock(&self.holds);
        *lock(&self.group_paused) = paused;
        for hold in holds.held.values() {
            hold.pause.send_if_modified(|pause| std::mem::replace(&mut pause.group, paused) != paused);
        }
    }

    pub(super) fn view(&self) -> Arc<GroupView> {
        Arc::clone(&lock(&self.view))
    }

    pub(super) fn set_view(&self, view: GroupView) -> Arc<GroupView> {
        let view = Arc::new(view);
        *lock(&self.view) = Arc::clone(&view);
        let keys = view.leases.iter().map(|row| &row.key).collect();
        lock(&self.holds).forget_all_but(&keys, self.config.reconcile);
        view
    }

    pub(super) fn held_count(&self) -> usize {
        lock(&self.holds).held.len()
    }

    /// Whether this worker may take another lease.
    pub(super) fn has_room(&self) -> bool {
        self.config.max_leases.is_none_or(|limit| self.held_count() < limit as usize)
    }

    pub(super) fn holds(&self) -> Vec<Arc<Hold>> {
        lock(&self.holds).held.values().cloned().collect()
    }

    pub(super) fn hold(&self, key: &LeaseKey) -> Option<Arc<Hold>> {
        lock(&self.holds).held.get(key).cloned()
    }

    /// Whether nothing became of it meanwhile.
    pub(super) fn holds_still(&self, hold: &Arc<Hold>) -> bool {
        lock(&self.holds).held.get(&hold.key).is_some_and(|held| Arc::ptr_eq(held, hold))
    }

    /// The lease was made anew, and its row begins at a low epoch.
    pub(super) fn forget_given_up(&self, key: &LeaseKey) {
        lock(&self.holds).forget_given_up(key);
    }

    /// What to do about a row, read consistently, that names this worker as owner.
    pub(super) fn own_row(&self, row: &LeaseRow) -> OwnRow {
        if self.leaving.is_cancelled() { OwnRow::InOrder } else { lock(&self.holds).own_row(row) }
    }

    /// Believes in a lease from now on and hands it to the consumer. A row whose epoch was given up meanwhile is a
    /// reply that came late: the lease has moved since.
    pub(super) fn grant(&self, row: LeaseRow) {
        let hold = Arc::new(Hold::new(row));
        {
            let mut holds = lock(&self.holds);
            if holds.gave_up(&hold.key, hold.epoch) {
                drop(holds);
                self.work.check_own(hold.key.clone());
                return;
            }
            if self.stopped.is_cancelled() || !holds.in_use.insert(hold.key.clone()) {
                return;
            }
            hold.pause.send_modify(|pause| pause.group = self.is_group_paused());
            holds.held.insert(hold.key.clone(), Arc::clone(&hold));
        }
        lock(&self.expected).remove(&hold.key);
        // Before it is used, the others learn that this worker has something to fail over.
        self.set_in_reserve(false);
        if self.leaving.is_cancelled() || !self.reads(&hold.key.stream) {
            hold.request_yield(None);
        }
        self.emit(StateEvent::Granted(hold));
    }

    /// Stops believing in a lease. To be called *before* the write that moves it.
    pub(super) fn give_up(&self, hold: &Hold) {
        lock(&self.holds).give_up(hold);
    }

    /// A lease was found to be somebody else's, or at another epoch.
    pub(super) fn lose(&self, hold: &Hold, cause: LeaseLostReason) {
        self.give_up(hold);
        hold.set_lost(cause);
    }

    /// The consumer's task ended.
    pub(super) fn released(&self, hold: &Hold) {
        let dropped_while_held = {
            let mut holds = lock(&self.holds);
            holds.in_use.remove(&hold.key);
            holds.held.contains_key(&hold.key)
        };
        if dropped_while_held {
            self.give_up(hold);
        }
        // What still names this worker, or names it again, gets a task now; one that leaves takes nothing up.
        if dropped_while_held || hold.lost().is_some() {
            self.work.check_own(hold.key.clone());
            if self.leaving.is_cancelled() {
                self.left_unassigned(&hold.key);
            }
        }
    }

    /// The end of this member: nothing it granted may be used any more.
    pub(super) fn stop(&self, cause: LeaseLostReason) {
        self.stopped.cancel();
        for hold in self.holds() {
            self.lose(&hold, cause);
        }
    }

    /// The live workers of a listing, to place leases on.
    pub(super) fn set_successors(&self, workers: &[WorkerRow]) {
        let alive = workers.iter().filter(|row| row.state == WorkerState::Alive && row.id != self.me);
        *lock(&self.successors) = alive.cloned().collect();
    }

    /// The least loaded live worker that reads the stream and has room, counting what it was given just now.
    pub(super) fn next_successor(&self, stream: &StreamId) -> Option<WorkerId> {
        let mut successors = lock(&self.successors);
        let has_room = |row: &WorkerRow| row.max_leases.is_none_or(|limit| row.load.leases < limit);
        let fit = successors.iter_mut().filter(|row| row.reads(stream) && has_room(row));
        let row = fit.min_by(|a, b| (a.load.leases, &a.id).cmp(&(b.load.leases, &b.id)))?;
        row.load.leases += 1;
        Some(row.id.clone())
    }
}

/// State behind these locks is whole after each statement, so a poisoned lock is taken over.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What the loops of a member and the leases it granted share.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::beats::Beats;
use super::outbox::Outbox;
use super::{MemberConfig, MemberEvent};
use crate::clock::WallClock;
use crate::error::LostCause;
use crate::lease::Hold;
use crate::lease::Lease;
use crate::row::{GroupRow, GroupView, LeaseRow, Notification, WorkerRow, WorkerState};
use crate::store::LeaseStore;
use crate::types::{Epoch, GroupId, LeaseKey, StreamId, WorkerId};

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) group: GroupId,
    pub(crate) me: WorkerId,
    pub(crate) config: MemberConfig,
    pub(crate) clock: WallClock,
    pub(crate) beats: Beats,
    /// Cancelled when the worker begins to leave.
    pub(crate) leaving: CancellationToken,
    /// Cancelled when the member is over: left, or fenced.
    pub(crate) stopped: CancellationToken,
    valid_until: Mutex<Instant>,
    /// Wakes in the order of arrival, so that runs from one seed are equal.
    validated: Notify,
    table: Mutex<Table>,
    inbox: Mutex<Inbox>,
    pub(crate) outbox: Outbox,
    wake: Notify,
    heartbeat: Notify,
    view: Mutex<Arc<GroupView>>,
    successors: Mutex<Vec<WorkerRow>>,
    streams: Mutex<Option<BTreeSet<StreamId>>>,
    /// Whether an operator stopped the whole group, as last read.
    group_paused: Mutex<bool>,
    events: mpsc::UnboundedSender<MemberEvent>,
}

/// The leases this worker believes in, and those it gave up.
#[derive(Default)]
struct Table {
    held: BTreeMap<LeaseKey, Arc<Hold>>,
    /// `Lease` values that user tasks still have, held or lost.
    in_use: BTreeSet<LeaseKey>,
    /// The highest epoch under which each lease was given up, and when. A stale listing still shows those.
    gave_up: BTreeMap<LeaseKey, (Epoch, Instant)>,
}

/// What the control loop is to do next.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) notes: BTreeSet<Notification>,
    /// All leases should be listed.
    pub(crate) look: bool,
    /// And once more a heartbeat later: notes were lost, and a listing may be older than what they were about.
    pub(crate) look_again: bool,
    /// Counting the silence of others starts anew.
    pub(crate) restart_watch: bool,
}

/// What to do about a row that names this worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// Nothing: held, or the task that had it has not ended yet.
    AsItShouldBe,
    /// Under a new epoch: take it up as it is.
    TakeUp,
    /// Under an epoch that was given up: acquire it anew.
    AcquireAgain,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn LeaseStore>,
        group: GroupId,
        me: WorkerId,
        config: MemberConfig,
        clock: WallClock,
        valid_until: Instant,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<MemberEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let streams = Mutex::new(config.streams.clone());
        let shared = Self {
            store,
            group,
            me,
            config,
            clock,
            beats: Beats::new(),
            leaving: CancellationToken::new(),
            stopped: CancellationToken::new(),
            valid_until: Mutex::new(valid_until),
            validated: Notify::new(),
            table: Mutex::default(),
            inbox: Mutex::new(Inbox { look: true, ..Inbox::default() }),
            outbox: Outbox::default(),
            wake: Notify::new(),
            heartbeat: Notify::new(),
            view: Mutex::default(),
            successors: Mutex::default(),
            streams,
            group_paused: Mutex::default(),
            events,
        };
        (Arc::new(shared), receiver)
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.is_valid_at(Instant::now())
    }

    pub(crate) fn is_valid_at(&self, now: Instant) -> bool {
        now < *lock(&self.valid_until) && !self.stopped.is_cancelled()
    }

    /// Waits until heartbeats arrive again. Never ends once the member is over.
    pub(crate) async fn until_valid(&self) {
        loop {
            let mut validated = pin!(self.validated.notified());
            validated.as_mut().enable();
            if self.is_valid() {
                return;
            }
            validated.await;
        }
    }

    /// Waits until this worker may not use its leases. Looks at the clock whenever the waiting task is woken, not only
    /// when its own timer is: in a process that stood still all timers are due at once, in no order.
    pub(crate) async fn until_invalid(&self) {
        while self.is_valid() {
            let until = *lock(&self.valid_until);
            tokio::select! {
                biased;
                () = poll_fn(|_| if self.is_valid() { Poll::Pending } else { Poll::Ready(()) }) => {}
                () = self.stopped.cancelled() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    pub(crate) fn extend_validity(&self, until: Instant) {
        *lock(&self.valid_until) = until;
        self.validated.notify_waiters();
    }

    pub(crate) fn outage_ended(&self) {
        lock(&self.inbox).restart_watch = true;
        self.look_now();
        self.tell(MemberEvent::OutageEnded);
    }

    pub(crate) fn tell(&self, event: MemberEvent) {
        // Nobody listens any more once the consumer stopped.
        let _ = self.events.send(event);
    }

    pub(crate) fn look_now(&self) {
        lock(&self.inbox).look = true;
        self.wake.notify_one();
    }

    /// Notes for this worker may be gone: a look at everything takes their place.
    pub(crate) fn notes_were_lost(&self) {
        lock(&self.inbox).look_again = true;
        self.look_now();
    }

    pub(crate) fn notes_arrived(&self, notes: BTreeSet<Notification>) {
        if !notes.is_empty() {
            lock(&self.inbox).notes.extend(notes);
            self.wake.notify_one();
        }
    }

    /// What could not be read yet: for the next regular look.
    pub(crate) fn again(&self, unread: Inbox) {
        let mut inbox = lock(&self.inbox);
        inbox.notes.extend(unread.notes);
        inbox.look_again |= unread.look_again;
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Resolves when a heartbeat is to be made at once.
    pub(crate) async fn beat_asked(&self) {
        self.heartbeat.notified().await;
    }

    pub(crate) fn streams(&self) -> Option<BTreeSet<StreamId>> {
        lock(&self.streams).clone()
    }

    pub(crate) fn reads(&self, stream: &StreamId) -> bool {
        lock(&self.streams).as_ref().is_none_or(|streams| streams.contains(stream))
    }

    pub(crate) fn set_streams(&self, streams: Option<BTreeSet<StreamId>>) {
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
        self.heartbeat.notify_one();
        self.look_now();
    }

    pub(crate) fn is_group_paused(&self) -> bool {
        *lock(&self.group_paused)
    }

    /// Takes in the group's own row, read consistently.
    pub(crate) fn set_group(&self, row: &GroupRow) {
        let paused = row.paused_at.is_some();
        // One lock for both, so that no hold that comes meanwhile is left out.
        let table = lock(&self.table);
        *lock(&self.group_paused) = paused;
        for hold in table.held.values() {
            hold.pause.send_if_modified(|pause| std::mem::replace(&mut pause.group, paused) != paused);
        }
    }

    pub(crate) fn take_inbox(&self) -> Inbox {
        std::mem::take(&mut *lock(&self.inbox))
    }

    pub(crate) fn view(&self) -> Arc<GroupView> {
        Arc::clone(&lock(&self.view))
    }

    pub(crate) fn set_view(&self, view: GroupView) -> Arc<GroupView> {
        let view = Arc::new(view);
        *lock(&self.view) = Arc::clone(&view);
        // Kept while the lease exists: a listing or a reply may arrive that is older than this one. So may this one be, and
        // not show a lease that is new.
        let keys: BTreeSet<&LeaseKey> = view.leases.iter().map(|row| &row.key).collect();
        let recent = |at: Instant| at.elapsed() < self.config.reconcile;
        lock(&self.table).gave_up.retain(|key, (_, at)| keys.contains(key) || recent(*at));
        view
    }

    pub(crate) fn held_count(&self) -> usize {
        lock(&self.table).held.len()
    }

    pub(crate) fn holds(&self) -> Vec<Arc<Hold>> {
        lock(&self.table).held.values().cloned().collect()
    }

    pub(crate) fn hold(&self, key: &LeaseKey) -> Option<Arc<Hold>> {
        lock(&self.table).held.get(key).cloned()
    }

    /// Whether nothing became of it meanwhile.
    pub(crate) fn holds_still(&self, hold: &Arc<Hold>) -> bool {
        lock(&self.table).held.get(&hold.key).is_some_and(|held| Arc::ptr_eq(held, hold))
    }

    /// The lease was made anew: its epochs begin anew, too.
    pub(crate) fn forget_given_up(&self, key: &LeaseKey) {
        lock(&self.table).gave_up.remove(key);
    }

    /// What to do about a row, read consistently, that names this worker as owner.
    pub(crate) fn named(&self, row: &LeaseRow) -> Named {
        let table = lock(&self.table);
        if row.position.is_shard_end()
            || table.in_use.contains(&row.key)
            || table.held.contains_key(&row.key)
            || self.leaving.is_cancelled()
        {
            return Named::AsItShouldBe;
        }
        match table.gave_up.get(&row.key) {
            Some((gave_up, _)) if row.epoch <= *gave_up => Named::AcquireAgain,
            _ => Named::TakeUp,
        }
    }

    /// Believes in a lease from now on and hands it to the consumer. A row whose epoch was given up meanwhile is a
    /// reply that came late: the lease has moved since.
    pub(crate) fn grant(self: &Arc<Self>, row: LeaseRow) {
        let hold = Arc::new(Hold::new(row));
        {
            let mut table = lock(&self.table);
            if table.gave_up.get(&hold.key).is_some_and(|(gave_up, _)| hold.epoch <= *gave_up) {
                drop(table);
                self.look_now();
                return;
            }
            if self.stopped.is_cancelled() || !table.in_use.insert(hold.key.clone()) {
                return;
            }
            hold.pause.send_modify(|pause| pause.group = self.is_group_paused());
            table.held.insert(hold.key.clone(), Arc::clone(&hold));
        }
        if self.leaving.is_cancelled() || !self.reads(&hold.key.stream) {
            hold.request_yield(None);
        }
        self.tell(MemberEvent::Granted(Lease::new(Arc::clone(self), hold)));
    }

    /// Stops believing in a lease. To be called *before* the write that moves it.
    pub(crate) fn give_up(&self, hold: &Hold) {
        let mut table = lock(&self.table);
        table.held.remove(&hold.key);
        let before = table.gave_up.get(&hold.key).map_or(hold.epoch, |(epoch, _)| *epoch);
        table.gave_up.insert(hold.key.clone(), (before.max(hold.epoch), Instant::now()));
    }

    /// A lease was found to be somebody else's, or at another epoch.
    pub(crate) fn lose(&self, hold: &Hold, cause: LostCause) {
        self.give_up(hold);
        hold.set_lost(cause);
    }

    /// The consumer's task ended.
    pub(crate) fn released(&self, hold: &Hold) {
        let dropped_while_held = {
            let mut table = lock(&self.table);
            table.in_use.remove(&hold.key);
            table.held.contains_key(&hold.key)
        };
        if dropped_while_held {
            self.give_up(hold);
        }
        // What still names this worker, or names it again, gets a task now.
        if dropped_while_held || hold.lost().is_some() {
            self.look_now();
        }
    }

    /// The end of this member: nothing it granted may be used any more.
    pub(crate) fn stop(&self, cause: LostCause) {
        self.stopped.cancel();
        for hold in self.holds() {
            self.lose(&hold, cause);
        }
    }

    /// The live workers of a listing, to place leases on.
    pub(crate) fn set_successors(&self, workers: &[WorkerRow]) {
        let alive = workers.iter().filter(|row| row.state == WorkerState::Alive && row.id != self.me);
        *lock(&self.successors) = alive.cloned().collect();
    }

    /// The least loaded live worker that reads the stream and has room, counting what it was given just now.
    pub(crate) fn next_successor(&self, stream: &StreamId) -> Option<WorkerId> {
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

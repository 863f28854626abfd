//! Looks at the fleet, fences the silent, and carries out this worker's part of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep_until, timeout};

use super::shared::{Inbox, Named, Shared};
use crate::duty::{interval_number, on_duty};
use crate::error::{LostCause, StoreError, StoreErrorKind};
use crate::lease::{Hold, send_note, settled};
use crate::plan::{Move, active, plan_or_refuse};
use crate::position::Position;
use crate::row::{GroupView, LeaseRow, Notification, UnreadableRow, WorkerRow, WorkerState};
use crate::store::LeaseStoreExt;
use crate::store::Listing;
use crate::types::{LeaseKey, WorkerId};
use crate::update::{LeaseUpdate, WorkerUpdate};
use crate::watch::FleetWatch;
use crate::write::WriteOutcome;

/// The duty of removing the rows of the dead.
const RETIRE_FENCED: &str = "retire fenced workers";
/// Store calls one worker makes at once for its part of a plan.
const CALLS_AT_ONCE: usize = 16;
/// The longest time between two full listings that the size of a group asks for.
const RAREST: Duration = Duration::from_secs(600);

pub(super) async fn run(shared: Arc<Shared>, rng: StdRng) {
    let mut control = Control {
        watch: FleetWatch::new(shared.config.failover),
        fleet: Fleet::default(),
        next_full: Instant::now(),
        urgent: false,
        earliest_full: Instant::now(),
        free_before: BTreeMap::new(),
        unreadable: Vec::new(),
        refused: None,
        rng,
        shared: Arc::clone(&shared),
    };
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            () = shared.leaving.cancelled() => break,
            () = shared.woken() => {}
            () = sleep_until(next) => {}
        }
        let begun = Instant::now();
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            () = shared.leaving.cancelled() => break,
            () = control.tick(begun) => {}
        }
        next = control.next_tick(begun);
    }
    control.leave().await;
}

/// What the last listing said about the workers: a change of it asks for a look at the leases.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fleet {
    members: BTreeSet<WorkerId>,
    loads: Vec<u32>,
}

struct Control {
    shared: Arc<Shared>,
    watch: FleetWatch,
    fleet: Fleet,
    /// When the next full listing is due in any case.
    next_full: Instant,
    /// Whether that is not to wait for the next regular look.
    urgent: bool,
    /// Before this no full listing is made, so that a task that dies at once does not turn into a storm.
    earliest_full: Instant,
    /// Free leases that fell to others at the last look.
    free_before: BTreeMap<LeaseKey, WorkerId>,
    /// Rows that could not be read at the last look, so that each is reported once.
    unreadable: Vec<UnreadableRow>,
    /// Why the last plan of the user's own policy was refused, so that each reason is reported once.
    refused: Option<String>,
    rng: StdRng,
}

impl Control {
    fn next_tick(&self, begun: Instant) -> Instant {
        let regular = begun + self.shared.config.heartbeat;
        // A worker falls silent at its own time, not at ours. What was due before is tried again with the next
        // regular tick only.
        // The next full listing takes the place of a regular look, unless it is urgent.
        let urgent = self.urgent.then_some(self.next_full);
        let due = [self.watch.next_deadline(&self.shared.me), urgent];
        due.into_iter().flatten().filter(|due| *due > begun).fold(regular, Instant::min)
    }

    async fn tick(&mut self, begun: Instant) {
        let inbox = self.shared.take_inbox();
        if inbox.restart_watch {
            self.watch.restart();
        }
        self.send_kept_notes().await;
        if let Err(error) = self.try_tick(&inbox).await {
            tracing::debug!(worker = %self.shared.me, %error, "could not look at the fleet, trying again");
            self.shared.again(inbox);
            self.next_full = begun;
        }
    }

    /// One after the other, so that a store that does not answer is asked once.
    async fn send_kept_notes(&self) {
        let mut kept = self.shared.outbox.take().into_iter();
        for (to, note) in kept.by_ref() {
            if !send_note(&self.shared, &to, note).await {
                break;
            }
        }
        kept.for_each(|(to, note)| self.shared.outbox.keep(to, note));
    }

    async fn try_tick(&mut self, inbox: &Inbox) -> Result<(), StoreError> {
        for note in &inbox.notes {
            but_for_unreadable(self.read_note(note).await)?;
        }
        let now = Instant::now();
        // A lease that fell to this worker may still name an owner who is gone: only a listing shows that.
        let told = inbox.notes.iter().any(|note| matches!(note, Notification::Changed(_)));
        let mut full = inbox.look || told || now >= self.next_full;
        if full {
            sleep_until(self.earliest_full).await;
        }
        let mut view = self.list(if full { Listing::All } else { Listing::Workers }).await?;
        let fenced = self.fence_the_silent(&view.workers).await?;
        if !full && (self.fleet_changed(&view.workers) || fenced) {
            full = true;
            view = self.list(Listing::All).await?;
        }
        if full {
            self.fleet_changed(&view.workers);
            self.rest_before_next_full(&view);
            if inbox.look_again {
                self.next_full = Instant::now() + self.shared.config.heartbeat;
            }
            self.report_unreadable(&view);
            let behind = self.believe_own_writes(&mut view);
            let view = self.shared.set_view(view);
            for key in behind {
                // As a rule the listing is, but the lease may have been deleted and made anew.
                but_for_unreadable(self.read_note(&Notification::Changed(key)).await)?;
            }
            self.look_at_leases(&view).await?;
        }
        Ok(())
    }

    async fn list(&mut self, listing: Listing) -> Result<GroupView, StoreError> {
        let view = self.shared.store.list(&self.shared.group, listing).await?;
        self.watch.observe(&view.workers, Instant::now());
        Ok(view)
    }

    /// The listing may lag behind what this worker wrote itself, or is about to. Which leases it shows as they were
    /// before this worker had them.
    fn believe_own_writes(&self, view: &mut GroupView) -> Vec<LeaseKey> {
        for row in view.workers.iter_mut().filter(|row| row.id == self.shared.me) {
            row.streams = self.shared.streams();
        }
        let mut behind = Vec::new();
        for row in &mut view.leases {
            if let Some(hold) = self.shared.hold(&row.key).filter(|hold| hold.epoch > row.epoch) {
                row.owner = Some(self.shared.me.clone());
                row.epoch = hold.epoch;
                row.claim = None;
                behind.push(row.key.clone());
            }
        }
        behind
    }

    fn report_unreadable(&mut self, view: &GroupView) {
        for row in view.unreadable.iter().filter(|row| !self.unreadable.contains(row)) {
            tracing::warn!(group = %self.shared.group, %row, "correct it or delete it; the rest of the group goes on");
        }
        self.unreadable.clone_from(&view.unreadable);
    }

    fn rest_before_next_full(&mut self, view: &GroupView) {
        let (now, config) = (Instant::now(), &self.shared.config);
        // Spread, so that a fleet started at once does not list at once for ever.
        let interval = between_listings(config.reconcile, view.workers.len(), view.leases.len());
        let interval = interval.mul_f64(self.rng.random_range(0.9..1.1));
        (self.next_full, self.urgent) = (now + interval, false);
        self.earliest_full = now + config.heartbeat / 5;
    }

    /// Whether other workers take part than before, or the loads drifted apart so that a lease may be due to
    /// this one.
    fn fleet_changed(&mut self, workers: &[WorkerRow]) -> bool {
        let taking_part = || workers.iter().filter(|row| row.state == WorkerState::Alive);
        let members: BTreeSet<WorkerId> =
            workers.iter().filter(|row| row.state != WorkerState::Fenced).map(|row| row.id.clone()).collect();
        let mine = self.shared.held_count() as u32;
        let loads: Vec<u32> =
            taking_part().map(|row| if row.id == self.shared.me { mine } else { row.load.leases }).collect();
        let due_to_me = loads.iter().any(|load| *load > mine + 1);
        let fleet = Fleet { members, loads };
        let changed = fleet.members != self.fleet.members || (due_to_me && fleet.loads != self.fleet.loads);
        self.fleet = fleet;
        changed
    }

    /// Declares those dead whose beat did not move for the failover time. Only while this worker's own
    /// heartbeats arrive: otherwise the silence may be the store's.
    async fn fence_the_silent(&mut self, workers: &[WorkerRow]) -> Result<bool, StoreError> {
        if !self.shared.is_valid() {
            return Ok(false);
        }
        let mut fenced = false;
        for (id, seen) in self.watch.silent(&self.shared.me, Instant::now()) {
            if workers.iter().any(|row| row.id == id && row.heartbeat == seen) {
                let update = WorkerUpdate::Fence { seen };
                let outcome = self.shared.store.update_worker(&self.shared.group, &id, &update).await?;
                let dead = is_dead(match &outcome {
                    WriteOutcome::Applied { after, .. } => Some(after),
                    WriteOutcome::Refused { current } => current.as_ref(),
                });
                if outcome.is_applied() {
                    tracing::warn!(worker = %id, by = %self.shared.me, "declared dead after its heartbeats stopped");
                }
                fenced |= dead;
            }
        }
        Ok(fenced)
    }

    async fn read_note(&self, note: &Notification) -> Result<(), StoreError> {
        let key = match note {
            Notification::Claimed(key) | Notification::Assigned(key) | Notification::Changed(key) => key,
            Notification::GroupChanged => {
                self.shared.set_group(&self.shared.store.group(&self.shared.group).await?);
                return Ok(());
            }
        };
        let before = self.shared.hold(key);
        let row = self.shared.store.lease(&self.shared.group, key).await?;
        if let Some(hold) = before.filter(|hold| self.shared.holds_still(hold)) {
            check_hold(&self.shared, &hold, row.as_ref(), |_| true);
        }
        match row {
            Some(row) if row.owner.as_ref() == Some(&self.shared.me) => take_up(&self.shared, row).await,
            Some(row) if row.owner.is_none() => {
                self.shared.look_now();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A free lease that falls to another worker: that one may have listed a moment earlier, seen other workers,
    /// and left the lease to this one. So this one looks again soon, and if the lease is still free, it says so.
    async fn mind_the_free(&mut self, moves: &[Move]) {
        let free: BTreeMap<LeaseKey, WorkerId> = moves
            .iter()
            .filter(|to_do| to_do.from.is_none() && to_do.to != self.shared.me)
            .map(|to_do| (to_do.key.clone(), to_do.to.clone()))
            .collect();
        let new = free.iter().any(|(key, to)| self.free_before.get(key) != Some(to));
        if new {
            (self.next_full, self.urgent) = (self.earliest_full, true);
        } else if !free.is_empty() {
            self.next_full = Instant::now() + self.shared.config.heartbeat;
        }
        for (key, to) in free.iter().filter(|(key, to)| self.free_before.get(*key) == Some(to)) {
            send_note(&self.shared, to, Notification::Changed(key.clone())).await;
        }
        self.free_before = free;
    }

    /// Compares the listing with what this worker believes, then carries out its part of the plan.
    async fn look_at_leases(&mut self, view: &GroupView) -> Result<(), StoreError> {
        self.reconcile(view).await?;
        let shared = &self.shared;
        let (moves, refused) = plan_or_refuse(view, &shared.config.policy);
        let rows: BTreeMap<&LeaseKey, &LeaseRow> = view.leases.iter().map(|row| (&row.key, row)).collect();
        let workers: BTreeMap<&WorkerId, &WorkerRow> =
            view.workers.iter().map(|row| (&row.id, row)).collect();

        if refused.is_some() && refused != self.refused {
            let why = refused.as_deref().unwrap_or_default();
            tracing::warn!(group = %shared.group, "the plan was refused, so nothing moves that somebody has: {why}");
        }
        self.refused = refused;
        self.mind_the_free(&moves).await;
        let shared = &self.shared;
        let mut steps: Vec<Step> = Vec::new();
        for to_do in &moves {
            let Some(row) = rows.get(&to_do.key) else { continue };
            match &to_do.from {
                None if to_do.to == shared.me => steps.push(Step::Acquire((*row).clone())),
                Some(from) if to_do.to == shared.me => steps.push(Step::Claim((*row).clone(), from.clone())),
                Some(from) if *from == shared.me && row.owner.as_ref() != Some(from) => {
                    steps.push(Step::Unclaim((*row).clone()));
                }
                _ => {}
            }
        }
        // What this worker has claimed and nobody can hand over any more.
        let mine_to_take = active(view).filter(|row| {
            let owner_alive = row.owner.as_ref().and_then(|id| workers.get(id));
            row.claim.as_ref() == Some(&shared.me)
                && owner_alive.is_none_or(|row| row.state == WorkerState::Fenced)
        });
        steps.extend(mine_to_take.map(|row| Step::Acquire(row.clone())));

        let mut owners = BTreeMap::new();
        for step in &steps {
            if let Step::Acquire(LeaseRow { owner: Some(owner), .. }) = step
                && !owners.contains_key(owner)
            {
                let dead = match shared.store.worker(&shared.group, owner).await {
                    Ok(row) => is_dead(row.as_ref()),
                    // Nobody can tell.
                    Err(error) if error.kind() == StoreErrorKind::InvalidRow => false,
                    Err(error) => return Err(error),
                };
                owners.insert(owner.clone(), dead);
            }
        }
        steps.retain(|step| match step {
            Step::Acquire(LeaseRow { owner: Some(owner), .. }) => owners.get(owner) == Some(&true),
            _ => true,
        });
        let results: Vec<Result<(), StoreError>> = stream::iter(steps)
            .map(|step| async move { step.carry_out(shared).await })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        results.into_iter().try_for_each(but_for_unreadable)?;
        self.retire_fenced(view).await
    }

    /// Every lease that names this worker has a task, and every task a lease that names this worker. The
    /// listing may be stale, so differences are settled by consistent reads.
    async fn reconcile(&self, view: &GroupView) -> Result<(), StoreError> {
        let shared = &self.shared;
        if view.group.paused_at.is_some() != shared.is_group_paused() {
            self.read_note(&Notification::GroupChanged).await?;
        }
        let mut doubtful: BTreeSet<&LeaseKey> = BTreeSet::new();
        let mut seen: BTreeSet<&LeaseKey> = BTreeSet::new();
        for row in &view.leases {
            let names_me = row.owner.as_ref() == Some(&shared.me);
            match shared.hold(&row.key) {
                Some(hold)
                    if names_me && row.epoch == hold.epoch && row.paused == hold.pause.borrow().lease =>
                {
                    seen.insert(&row.key);
                    // A claim left by the dead binds nobody.
                    let alive = |id: &WorkerId| {
                        view.workers.iter().any(|row| row.id == *id && row.state == WorkerState::Alive)
                    };
                    check_hold(shared, &hold, Some(row), alive);
                }
                None if !names_me || shared.named(row) == Named::AsItShouldBe => {}
                _ => {
                    doubtful.insert(&row.key);
                }
            }
        }
        let holds = shared.holds();
        doubtful.extend(holds.iter().map(|hold| &hold.key).filter(|key| !seen.contains(*key)));
        for key in doubtful {
            but_for_unreadable(self.read_note(&Notification::Changed(key.clone())).await)?;
        }
        Ok(())
    }

    /// Removes the rows of the dead that no lease names any more. One worker does it; if it dies, another.
    async fn retire_fenced(&self, view: &GroupView) -> Result<(), StoreError> {
        let alive = view.workers.iter().filter(|row| row.state == WorkerState::Alive).map(|row| &row.id);
        let interval = interval_number(self.shared.clock.millis(), self.shared.config.reconcile);
        // A lease that cannot be read may name any of them.
        if !on_duty(RETIRE_FENCED, interval, &self.shared.me, alive) || !view.unreadable.is_empty() {
            return Ok(());
        }
        // A seek back to a shard's end leaves its owner named, and nobody acquires an ended lease.
        let unfinished = view.leases.iter().filter(|row| !row.position.is_shard_end());
        let named: BTreeSet<&WorkerId> = unfinished.filter_map(|row| row.owner.as_ref()).collect();
        for row in &view.workers {
            if row.state == WorkerState::Fenced && !named.contains(&row.id) {
                self.shared.store.delete_worker(&self.shared.group, &row.id).await?;
            }
        }
        Ok(())
    }

    /// Finds successors, then asks every task to hand over.
    async fn leave(&mut self) {
        let limit = Duration::from_secs(1).min(self.shared.config.failover / 4);
        // Without an answer the leases go to nobody and are picked up at the others' next look.
        if let Ok(Ok(view)) = timeout(limit, self.list(Listing::Workers)).await {
            self.shared.set_successors(&view.workers);
        }
        for hold in self.shared.holds() {
            hold.request_yield(None);
        }
    }
}

/// How long a worker of a quiet group waits between two listings of everything. Each costs half a read unit of DynamoDB
/// for about 10 leases, and every worker makes one, so a large group makes them more rarely: it spends at most 250 read
/// units a second on them, a twelfth of what DynamoDB gives a partition key, until they are [`RAREST`].
fn between_listings(reconcile: Duration, workers: usize, leases: usize) -> Duration {
    let units_of_all = workers * leases / 20;
    reconcile.max(Duration::from_secs(units_of_all as u64 / 250).min(RAREST))
}

/// One thing this worker does for the plan.
enum Step {
    Acquire(LeaseRow),
    Claim(LeaseRow, WorkerId),
    Unclaim(LeaseRow),
}

impl Step {
    async fn carry_out(self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        let by = shared.me.clone();
        match self {
            Self::Acquire(row) => acquire(shared, &row).await,
            Self::Claim(row, owner) => {
                let update = LeaseUpdate::Claim { by, seen: row.epoch, over: row.claim };
                if settled(shared, &row.key, &update).await?.is_applied() {
                    send_note(shared, &owner, Notification::Claimed(row.key)).await;
                }
                Ok(())
            }
            Self::Unclaim(row) => settled(shared, &row.key, &LeaseUpdate::Unclaim { by }).await.map(drop),
        }
    }
}

impl Shared {
    /// Takes up the children of a finished shard that are ready: nobody else has looked at them yet.
    pub(crate) async fn children_born(self: &Arc<Self>, children: &[LeaseRow]) {
        for child in children {
            if self.leaving.is_cancelled() || self.at_limit() {
                break;
            }
            if let Err(error) = self.take_child(child).await {
                tracing::debug!(lease = %child.key, %error, "could not take up a child, leaving it to the plan");
            }
        }
        self.look_now();
    }

    fn at_limit(&self) -> bool {
        self.config.max_leases.is_some_and(|limit| self.held_count() >= limit as usize)
    }

    async fn take_child(self: &Arc<Self>, child: &LeaseRow) -> Result<(), StoreError> {
        let row = self.store.lease(&self.group, &child.key).await?;
        let Some(row) = row.filter(|row| !row.position.is_shard_end()) else { return Ok(()) };
        match &row.owner {
            None if self.reads(&row.key.stream) => acquire(self, &row).await,
            None => Ok(()),
            Some(owner) if *owner == self.me => take_up(self, row).await,
            // It may wait there for this end, where an operator set both back.
            Some(owner) => {
                send_note(self, owner, Notification::Changed(row.key.clone())).await;
                Ok(())
            }
        }
    }
}

async fn acquire(shared: &Arc<Shared>, row: &LeaseRow) -> Result<(), StoreError> {
    if !shared.is_valid() || !parents_are_done(shared, row).await? {
        return Ok(());
    }
    let update = LeaseUpdate::Acquire { by: shared.me.clone(), seen: row.epoch };
    if let WriteOutcome::Applied { after, .. } = settled(shared, &row.key, &update).await? {
        shared.grant(after);
    }
    Ok(())
}

/// Whether a shard may begin: the listing may show a child before its parents, so they are read. Past its first
/// record there is nothing to ask any more.
async fn parents_are_done(shared: &Shared, child: &LeaseRow) -> Result<bool, StoreError> {
    if matches!(child.position, Position::Sequence(..)) {
        return Ok(true);
    }
    for parent in &child.parents {
        let parent = LeaseKey::new(child.key.stream.clone(), parent.clone());
        let row = shared.store.lease(&shared.group, &parent).await?;
        if row.is_some_and(|row| !row.position.is_shard_end()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One row that cannot be read must not keep this worker from its other leases.
fn but_for_unreadable(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(error) if error.kind() == StoreErrorKind::InvalidRow => {
            tracing::debug!(%error, "left alone");
            Ok(())
        }
        other => other,
    }
}

/// A row, read consistently, that names this worker.
async fn take_up(shared: &Arc<Shared>, row: LeaseRow) -> Result<(), StoreError> {
    match shared.named(&row) {
        Named::AsItShouldBe => Ok(()),
        // An operator set both back to their starts: it waits in this worker's name.
        Named::TakeUp if !parents_are_done(shared, &row).await? => Ok(()),
        Named::TakeUp => {
            shared.grant(row);
            Ok(())
        }
        Named::AcquireAgain => acquire(shared, &row).await,
    }
}

/// Whether a hold still stands by a row that is not older than it, and whether somebody asks for it.
fn check_hold(shared: &Shared, hold: &Hold, row: Option<&LeaseRow>, alive: impl Fn(&WorkerId) -> bool) {
    let cause = match row {
        None => LostCause::Deleted,
        Some(row) if row.owner.as_ref() == Some(&shared.me) && row.epoch == hold.epoch => {
            hold.pause
                .send_if_modified(|pause| std::mem::replace(&mut pause.lease, row.paused) != row.paused);
            if let Some(claimer) = row.claim.as_ref().filter(|id| **id != shared.me && alive(id))
                && !hold.is_yielding()
            {
                hold.request_yield(Some(claimer.clone()));
            }
            return;
        }
        // Epochs only grow: this row is another one, made after the one that was held was deleted.
        Some(row) if row.epoch <= hold.epoch => {
            shared.lose(hold, LostCause::Deleted);
            return shared.forget_given_up(&hold.key);
        }
        Some(row) if row.owner.as_ref() == Some(&shared.me) => LostCause::Seek,
        Some(_) => LostCause::Taken,
    };
    shared.lose(hold, cause);
}

/// Fenced, or gone: both by a consistent read.
fn is_dead(row: Option<&WorkerRow>) -> bool {
    row.is_none_or(|row| row.state == WorkerState::Fenced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_groups_list_everything_more_rarely() {
        let seconds = |workers, leases| between_listings(Duration::from_secs(30), workers, leases).as_secs();
        assert_eq!([seconds(0, 0), seconds(10, 1_000), seconds(100, 1_500)], [30, 30, 30]);
        assert_eq!([seconds(100, 3_000), seconds(200, 10_000), seconds(1_000, 10_000)], [60, 400, 600]);
        assert_eq!(between_listings(Duration::from_secs(900), 200, 10_000).as_secs(), 900);
    }
}

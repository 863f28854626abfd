//! The control loop: lists the group, fences the silent, and carries out this worker's part of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep_until, timeout};

use self::evidence::Evidence;
use self::free_leases::FreeLeases;
use super::calls::{notify, pass_over_unreadable};
use super::state::{MemberState, PendingWork};
use crate::error::StoreError;
use crate::row::{GroupView, Notification, UnreadableRow, WorkerRow, WorkerState};
use crate::store::{LeaseStore, Listing};
use crate::types::{LeaseKey, WorkerId};
use crate::watch::FleetWatch;

mod assignment;
mod evidence;
mod fencing;
mod free_leases;
mod reconcile;

/// The longest time between two full listings that the size of a group asks for.
const RAREST: Duration = Duration::from_secs(600);

pub(super) async fn run(state: Arc<MemberState>, rng: StdRng) {
    let mut control = Control {
        watch: FleetWatch::new(state.config.failover),
        fleet: Fleet::default(),
        next_full: Instant::now(),
        urgent: false,
        earliest_full: Instant::now(),
        free_before: BTreeMap::new(),
        free_leases: FreeLeases::default(),
        evidence: Evidence::default(),
        unreadable: Vec::new(),
        refused: None,
        rng,
        state: Arc::clone(&state),
    };
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            () = state.leaving.cancelled() => break,
            () = state.work_arrived() => {}
            () = sleep_until(next) => {}
        }
        let begun = Instant::now();
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            () = state.leaving.cancelled() => break,
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
    state: Arc<MemberState>,
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
    free_leases: FreeLeases,
    evidence: Evidence,
    /// Rows that could not be read at the last look, so that each is reported once.
    unreadable: Vec<UnreadableRow>,
    /// Why the last plan of the user's own policy was refused, so that each reason is reported once.
    refused: Option<String>,
    rng: StdRng,
}

impl Control {
    fn next_tick(&self, begun: Instant) -> Instant {
        let regular = begun + self.state.config.heartbeat;
        // A worker falls silent at its own time, not at ours. What was due before is tried again with the next
        // regular tick only.
        // The next full listing takes the place of a regular look, unless it is urgent.
        let urgent = self.urgent.then_some(self.next_full);
        let due = [self.watch.next_deadline(&self.state.me), urgent];
        due.into_iter().flatten().filter(|due| *due > begun).fold(regular, Instant::min)
    }

    async fn tick(&mut self, begun: Instant) {
        let work = self.state.take_pending_work();
        if work.restart_watch {
            self.watch.restart();
        }
        self.send_outbox().await;
        if let Err(error) = self.try_tick(&work).await {
            tracing::debug!(worker = %self.state.me, %error, "could not look at the fleet, trying again");
            self.state.requeue(work);
            self.next_full = begun;
        }
    }

    /// One after the other, so that a store that does not answer is asked once.
    async fn send_outbox(&self) {
        let mut kept = self.state.outbox.take().into_iter();
        for (to, notification) in kept.by_ref() {
            if !notify(&self.state, &to, notification).await {
                break;
            }
        }
        kept.for_each(|(to, notification)| self.state.outbox.keep(to, notification));
    }

    async fn try_tick(&mut self, work: &PendingWork) -> Result<(), StoreError> {
        for notification in &work.notifications {
            pass_over_unreadable(self.check_row(notification).await)?;
        }
        let now = Instant::now();
        // A lease that fell to this worker may still name an owner who is gone: only a listing shows that.
        let told =
            work.notifications.iter().any(|notification| matches!(notification, Notification::Changed(_)));
        let mut full = work.reconcile || told || now >= self.next_full;
        if full {
            sleep_until(self.earliest_full).await;
        }
        let mut view = self.list(if full { Listing::All } else { Listing::Workers }).await?;
        let fenced = self.fence_expired_workers(&view.workers).await?;
        if !full && (self.fleet_changed(&view.workers) || fenced) {
            full = true;
            view = self.list(Listing::All).await?;
        }
        if full {
            self.fleet_changed(&view.workers);
            self.rest_before_next_full(&view);
            if work.reconcile_again {
                self.next_full = Instant::now() + self.state.config.heartbeat;
            }
            self.report_unreadable(&view);
            let behind = self.believe_own_writes(&mut view);
            let view = self.state.set_view(view);
            for key in behind {
                // As a rule the listing is, but the lease may have been deleted and made anew.
                pass_over_unreadable(self.check_row(&Notification::Changed(key)).await)?;
            }
            self.reconcile_and_assign(&view).await?;
        }
        Ok(())
    }

    async fn list(&mut self, listing: Listing) -> Result<GroupView, StoreError> {
        let view = self.state.store.list(&self.state.group, listing).await?;
        self.watch.observe(&view.workers, Instant::now());
        Ok(view)
    }

    fn report_unreadable(&mut self, view: &GroupView) {
        for row in view.unreadable.iter().filter(|row| !self.unreadable.contains(row)) {
            tracing::warn!(group = %self.state.group, %row, "correct it or delete it; the rest of the group goes on");
        }
        self.unreadable.clone_from(&view.unreadable);
    }

    fn rest_before_next_full(&mut self, view: &GroupView) {
        let (now, config) = (Instant::now(), &self.state.config);
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
        let mine = self.state.held_count() as u32;
        let loads: Vec<u32> =
            taking_part().map(|row| if row.id == self.state.me { mine } else { row.load.leases }).collect();
        let due_to_me = loads.iter().any(|load| *load > mine + 1);
        let fleet = Fleet { members, loads };
        let changed = fleet.members != self.fleet.members || (due_to_me && fleet.loads != self.fleet.loads);
        self.fleet = fleet;
        changed
    }

    /// Finds successors, then asks every task to hand over.
    async fn leave(&mut self) {
        let limit = Duration::from_secs(1).min(self.state.config.failover / 4);
        // Without an answer the leases go to nobody and are picked up at the others' next look.
        if let Ok(Ok(view)) = timeout(limit, self.list(Listing::Workers)).await {
            self.state.set_successors(&view.workers);
        }
        for hold in self.state.holds() {
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

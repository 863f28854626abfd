//! The control loop: reads what others ask about, lists the leases when there is a reason, and carries out the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep_until, timeout};

use self::evidence::Evidence;
use self::free_leases::FreeLeases;
use self::inbox::Inbox;
use super::calls::{pass_over_unreadable, send_outbox};
use super::state::MemberState;
use crate::error::StoreError;
use crate::pace::PAGE_ROWS;
use crate::row::{GroupView, UnreadableRow, WorkerNotification};
use crate::store::{LeaseStore, Listing, ListingQuery};
use crate::supervise::supervise;
use crate::types::LeaseKey;
use crate::watch::{ListingCauses, ListingSchedule};

mod assignment;
mod evidence;
mod free_leases;
mod inbox;
mod reconcile;
mod retire;

/// Between two readings of rows of one's own whose tasks ended, so that a task that dies at once does not turn into a storm.
const OWN_REST: Duration = Duration::from_millis(200);

/// Between two tries to send what could not be sent.
const OUTBOX_REST: Duration = Duration::from_millis(500);

/// After this what the last listing left open is looked at again: it may have lagged behind.
const SOON: Duration = Duration::from_millis(300);

/// What the loop knew is lost with a panic, so everything is listed anew.
pub(super) async fn supervised(state: Arc<MemberState>, rng: StdRng) {
    let panicked = |error| {
        state.task_panicked("control", error);
        state.work.notifications_lost();
    };
    supervise((Arc::clone(&state), rng), |(state, rng)| Box::pin(run(state, rng)), panicked).await;
}

async fn run(state: &Arc<MemberState>, rng: &mut StdRng) {
    let now = Instant::now();
    let mut control = Control {
        schedule: ListingSchedule::new(now),
        inbox: Inbox::default(),
        own: BTreeSet::new(),
        own_due: now,
        outbox_due: now,
        free_before: BTreeMap::new(),
        free_leases: FreeLeases::default(),
        evidence: Evidence::default(),
        unreadable: Vec::new(),
        refused: None,
        rng: StdRng::from_rng(rng),
        state: Arc::clone(state),
    };
    loop {
        let next = control.next_due();
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            () = state.leaving.cancelled() => break,
            () = state.work.arrived() => {}
            () = sleep_until(next) => {}
        }
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            () = state.leaving.cancelled() => break,
            () = control.turn() => {}
        }
    }
    control.leave().await;
    // Whoever gets a shard from it hears of it only by its notification.
    loop {
        tokio::select! {
            biased;
            () = state.stopped.cancelled() => return,
            () = state.work.arrived() => {}
            () = sleep_until(control.outbox_due), if !state.outbox.is_empty() => {}
        }
        control.send_outbox(Instant::now()).await;
    }
}

struct Control {
    state: Arc<MemberState>,
    /// When everything is listed.
    schedule: ListingSchedule,
    /// Notifications whose rows are to be read.
    inbox: Inbox,
    /// Leases of its own whose rows are to be read.
    own: BTreeSet<LeaseKey>,
    own_due: Instant,
    /// Before this no notification that could not be sent is tried again.
    outbox_due: Instant,
    /// Leases that nobody had at the last listing and that could not be given to whom they fall to.
    free_before: BTreeMap<LeaseKey, crate::types::WorkerId>,
    free_leases: FreeLeases,
    evidence: Evidence,
    /// Rows that could not be read at the last look, so that each is reported once.
    unreadable: Vec<UnreadableRow>,
    /// Why the last plan of the user's own policy was refused, so that each reason is reported once.
    refused: Option<String>,
    rng: StdRng,
}

impl Control {
    fn next_due(&self) -> Instant {
        let own = (!self.own.is_empty()).then_some(self.own_due);
        let outbox = (!self.state.outbox.is_empty()).then_some(self.outbox_due);
        let due = [self.inbox.next_due(), own, outbox];
        due.into_iter().flatten().fold(self.schedule.next_due(), Instant::min)
    }

    async fn turn(&mut self) {
        let now = Instant::now();
        let work = self.state.work.take();
        if let Some(causes) = work.listing {
            self.schedule.ask(now, causes);
        }
        if work.listing_again {
            self.schedule.ask(now + self.state.config.heartbeat, ListingCauses::JOINED);
        }
        self.inbox.add(work.notifications, now);
        self.own.extend(work.own);
        self.send_outbox(now).await;
        self.read_inbox(now).await;
        self.read_own(now).await;
        if self.schedule.next_due() <= Instant::now() {
            self.read_page().await;
        }
    }

    async fn send_outbox(&mut self, now: Instant) {
        if now < self.outbox_due || self.state.outbox.is_empty() {
            return;
        }
        self.outbox_due = now + OUTBOX_REST;
        if !send_outbox(&self.state).await {
            self.outbox_due = Instant::now() + self.state.pace().look();
        }
    }

    async fn read_inbox(&mut self, now: Instant) {
        for notification in self.inbox.due(now) {
            let settled = match pass_over_unreadable(self.check_row(&notification).await) {
                Ok(()) => self.is_settled(&notification),
                Err(error) => {
                    tracing::debug!(worker = %self.state.me, %error, "could not read a row, trying again");
                    false
                }
            };
            self.inbox.read(&notification, settled, Instant::now());
        }
    }

    /// Whoever moves a lease to this worker says so before it does.
    fn is_settled(&self, notification: &WorkerNotification) -> bool {
        match notification {
            WorkerNotification::Assigned(key) => self.state.hold(key).is_some(),
            _ => true,
        }
    }

    async fn read_own(&mut self, now: Instant) {
        if now < self.own_due || self.own.is_empty() {
            return;
        }
        self.own_due = now + OWN_REST;
        for key in std::mem::take(&mut self.own) {
            if pass_over_unreadable(self.check_row(&WorkerNotification::Changed(key.clone())).await).is_err()
            {
                self.own_due = now + self.state.pace().look();
                self.own.insert(key);
            }
        }
    }

    async fn read_page(&mut self) {
        let from = self.schedule.begin(Instant::now());
        let part = ListingQuery::Page { from, rows: PAGE_ROWS };
        let result = match self.state.store.list_part(&self.state.group, &part).await {
            Err(error) => Err(error),
            Ok(page) => match self.schedule.read(page.view, page.next, Instant::now()) {
                None => return,
                Some((view, causes)) => {
                    let result = self.listed(view, causes).await;
                    if result.is_err() {
                        self.schedule.ask(Instant::now(), causes);
                    }
                    result
                }
            },
        };
        let now = Instant::now();
        match result {
            Ok(()) => self.state.health.listed(now),
            Err(error) => {
                tracing::debug!(worker = %self.state.me, %error, "could not list the leases, trying again");
                self.schedule.failed(self.rng.random_range(0.9..1.1), now);
                self.state.health.listing_failed(error.to_string(), now);
            }
        }
    }

    /// A listing is complete.
    async fn listed(&mut self, mut view: GroupView, causes: ListingCauses) -> Result<(), StoreError> {
        if !view.workers.iter().any(|row| row.id == self.state.me) {
            // It is older than this worker's own row, and a plan by it gives this worker nothing.
            let rest = if self.state.is_new() { SOON } else { self.state.pace().look() };
            self.schedule.ask(Instant::now() + rest, causes);
        }
        let spread = self.rng.random_range(0.9..1.1);
        self.schedule.rest_regularly(&view, self.state.pace(), spread, Instant::now());
        self.report_unreadable(&view);
        let behind = self.believe_own_writes(&mut view);
        let view = self.state.set_view(view);
        for key in behind {
            // As a rule the listing is, but the lease may have been deleted and made anew.
            pass_over_unreadable(self.check_row(&WorkerNotification::Changed(key)).await)?;
        }
        self.reconcile(&view).await?;
        self.assign(&view, causes).await?;
        self.retire_fenced(&view).await
    }

    fn report_unreadable(&mut self, view: &GroupView) {
        for row in view.unreadable.iter().filter(|row| !self.unreadable.contains(row)) {
            tracing::warn!(group = %self.state.group, %row, "correct it or delete it; the rest of the group goes on");
        }
        self.unreadable.clone_from(&view.unreadable);
    }

    /// Finds successors, then asks every task to hand over.
    async fn leave(&mut self) {
        let limit = Duration::from_secs(1).min(self.state.config.failover / 4);
        // Without an answer the leases go to nobody and are picked up once the others find this worker gone.
        let listing = self.state.store.list(&self.state.group, Listing::Workers);
        if let Ok(Ok(view)) = timeout(limit, listing).await {
            self.state.set_successors(&view.workers);
        }
        self.inbox.leases_entrusted().for_each(|key| self.state.left_unassigned(key));
        for hold in self.state.holds() {
            hold.request_yield(None);
        }
    }
}

//! What the control loop is to do next.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::row::WorkerNotification;
use crate::types::LeaseKey;
use crate::watch::ListingCauses;

/// What the control loop is to do next.
#[derive(Debug, Default)]
pub(super) struct PendingWork {
    pub(super) notifications: BTreeSet<WorkerNotification>,
    /// Leases of its own whose rows are to be read: their tasks ended.
    pub(super) own: BTreeSet<LeaseKey>,
    /// All leases are to be listed, for this.
    pub(super) listing: Option<ListingCauses>,
    /// And once more a heartbeat later: notifications were lost, and a listing may be older than what they were about.
    pub(super) listing_again: bool,
}

/// Work that waits for the control loop.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    work: Mutex<PendingWork>,
    arrived: Notify,
}

impl WorkQueue {
    fn add(&self, add: impl FnOnce(&mut PendingWork)) {
        add(&mut self.work.lock().unwrap_or_else(PoisonError::into_inner));
        self.arrived.notify_one();
    }

    pub(super) fn take(&self) -> PendingWork {
        std::mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something waits elsewhere.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn request_listing(&self, causes: ListingCauses) {
        self.add(|work| work.listing = Some(work.listing.unwrap_or_default().or(causes)));
    }

    /// Notifications for this worker may be gone: listing everything takes their place.
    pub(super) fn notifications_lost(&self) {
        self.add(|work| {
            work.listing.get_or_insert_default();
            work.listing_again = true;
        });
    }

    pub(super) fn notifications_arrived(&self, notifications: BTreeSet<WorkerNotification>) {
        if !notifications.is_empty() {
            self.add(|work| work.notifications.extend(notifications));
        }
    }

    pub(super) fn check_own(&self, key: LeaseKey) {
        self.add(|work| {
            work.own.insert(key);
        });
    }
}

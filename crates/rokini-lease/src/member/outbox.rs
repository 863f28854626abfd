//! Notifications that could not be sent yet. Without them a single failed write would leave a lease unseen until somebody
//! lists all rows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::row::WorkerNotification;
use crate::types::WorkerId;

/// They say which row to read, and reading one twice does no harm: the order does not matter, and neither does a
/// notification that arrived although its reply was lost.
#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<BTreeSet<(WorkerId, WorkerNotification)>>);

impl Outbox {
    /// To be sent again at the next regular round.
    pub(super) fn keep(&self, to: WorkerId, notification: WorkerNotification) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((to, notification));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn take(&self) -> BTreeSet<(WorkerId, WorkerNotification)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

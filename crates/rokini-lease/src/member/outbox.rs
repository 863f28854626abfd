//! Notes that could not be left yet. Without them a single failed write would leave a lease unseen until somebody lists
//! all rows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::row::Notification;
use crate::types::WorkerId;

/// They say where to look, and a look twice does no harm: the order does not matter, and neither does a note that
/// arrived although its reply was lost.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<BTreeSet<(WorkerId, Notification)>>);

impl Outbox {
    /// To be tried again at the next regular look.
    pub(crate) fn keep(&self, to: WorkerId, note: Notification) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((to, note));
    }

    pub(super) fn take(&self) -> BTreeSet<(WorkerId, Notification)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

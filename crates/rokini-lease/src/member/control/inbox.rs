//! Notifications whose rows are to be read: once each, and again where that failed or where what they say is not so yet.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::row::WorkerNotification;
use crate::types::LeaseKey;

/// After these waits a row is read again; then it is given up, for listings to find.
const AGAIN: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

#[derive(Debug, Default)]
pub(super) struct Inbox(BTreeMap<WorkerNotification, Unread>);

#[derive(Debug)]
struct Unread {
    due: Instant,
    tries: usize,
}

impl Inbox {
    pub(super) fn add(&mut self, notifications: BTreeSet<WorkerNotification>, now: Instant) {
        for notification in notifications {
            self.0.insert(notification, Unread { due: now, tries: 0 });
        }
    }

    /// Leases that are left to nobody if this worker ends now.
    pub(super) fn leases_entrusted(&self) -> impl Iterator<Item = &LeaseKey> {
        self.0.keys().filter_map(WorkerNotification::lease_entrusted)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|unread| unread.due).min()
    }

    pub(super) fn due(&self, now: Instant) -> Vec<WorkerNotification> {
        self.0.iter().filter(|(_, unread)| unread.due <= now).map(|(key, _)| key.clone()).collect()
    }

    /// The row was read, or could not be.
    pub(super) fn read(&mut self, notification: &WorkerNotification, settled: bool, now: Instant) {
        let Some(unread) = self.0.get_mut(notification) else { return };
        match AGAIN.get(unread.tries).filter(|_| !settled) {
            Some(wait) => (unread.due, unread.tries) = (now + *wait, unread.tries + 1),
            None => drop(self.0.remove(notification)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn l13_a_row_is_read_until_it_says_so_and_not_for_ever() {
        let (mut inbox, mut now) = (Inbox::default(), Instant::now());
        let note = WorkerNotification::Assigned("s#1".parse().unwrap());
        inbox.add([note.clone(), WorkerNotification::GroupChanged].into(), now);
        assert_eq!(inbox.due(now).len(), 2);
        inbox.read(&WorkerNotification::GroupChanged, true, now);
        let mut reads = 0;
        while let Some(due) = inbox.next_due() {
            now = due;
            assert_eq!(inbox.due(now), std::slice::from_ref(&note));
            inbox.read(&note, false, now);
            reads += 1;
        }
        assert_eq!(reads, 6);
    }
}

//! The records of one answer, whose list is used again.
//!
//! A list of 10,000 records has a megabyte. Memory of that size goes back to the system, which clears it for the next answer, page
//! by page: that would cost more than filling it.

use std::mem::size_of;
use std::ops::Deref;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::record::Record;

/// From how many records on a list is worth keeping, and up to how many.
const LEAST: usize = (64 << 10) / size_of::<Record>();
const MOST: usize = (8 << 20) / size_of::<Record>();
/// How much all that are kept may have room for.
const ALL: usize = (16 << 20) / size_of::<Record>();
/// For how long one is kept.
const KEPT: Duration = Duration::from_secs(5);

/// Lists that nobody uses, and since when.
static SPARE: Mutex<Vec<(Vec<Record>, Instant)>> = Mutex::new(Vec::new());

/// Lets go of what was not used lately. To be called now and then.
pub(crate) fn expire() {
    let mut spare = SPARE.lock();
    if !spare.is_empty() {
        let now = Instant::now();
        spare.retain(|(_, since)| now.duration_since(*since) < KEPT);
    }
}

/// The records of one answer. Its list goes back for the next once nobody has it any more.
#[derive(Debug, Default)]
pub(crate) struct RecordList(Vec<Record>);

impl RecordList {
    /// An empty list with room for so many records.
    pub(crate) fn with_room(records: usize) -> Vec<Record> {
        if records < LEAST {
            return Vec::with_capacity(records);
        }
        // One that is much larger would be held by few records.
        let fits = |(list, _): &(Vec<Record>, Instant)| {
            (records..=records.saturating_mul(2)).contains(&list.capacity())
        };
        let kept = {
            let mut spare = SPARE.lock();
            spare.iter().rposition(fits).map(|at| spare.swap_remove(at).0)
        };
        kept.unwrap_or_else(|| Vec::with_capacity(records))
    }
}

impl From<Vec<Record>> for RecordList {
    fn from(records: Vec<Record>) -> Self {
        Self(records)
    }
}

impl Deref for RecordList {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        &self.0
    }
}

impl Drop for RecordList {
    fn drop(&mut self) {
        if !(LEAST..=MOST).contains(&self.0.capacity()) {
            return;
        }
        let mut list = std::mem::take(&mut self.0);
        list.clear();
        let mut spare = SPARE.lock();
        let kept: usize = spare.iter().map(|(list, _)| list.capacity()).sum();
        if kept + list.capacity() <= ALL {
            spare.push((list, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_lists_is_bounded_and_has_no_record() {
        let lists: Vec<RecordList> = (0..20)
            .map(|_| {
                let mut list = RecordList::with_room(10_000);
                assert!(list.is_empty() && list.capacity() >= 10_000);
                list.push(Record::new(1_u128.into(), "k", "data", 0));
                list.into()
            })
            .collect();
        drop(lists);
        let spare = SPARE.lock();
        assert!(spare.iter().map(|(list, _)| list.capacity()).sum::<usize>() <= ALL);
        assert!(!spare.is_empty() && spare.iter().all(|(list, _)| list.is_empty()));
    }
}

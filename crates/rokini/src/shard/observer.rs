//! What a shard reports of each read and each handler call, for whoever collects numbers.

use std::fmt;
use std::time::Duration;

use crate::source::stream_source::SubscriptionCounts;
use crate::types::record::Record;

/// How large a batch is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchSize {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl BatchSize {
    /// The size of these records; `None` where there are none.
    pub(crate) fn of(records: &[Record]) -> Option<Self> {
        let bytes = records.iter().map(|record| record.data().len() as u64).sum();
        (!records.is_empty()).then_some(Self { records: records.len() as u64, bytes })
    }
}

/// Takes the numbers of one shard. It is called for every batch, so it must neither wait nor allocate.
pub(crate) trait ShardObserver: fmt::Debug + Send {
    /// A read was answered.
    fn read(&mut self, took: Duration);

    /// A call of the record handler returned. `done`: what it was about, where it returned without an error.
    fn handled(&mut self, took: Duration, done: Option<BatchSize>);

    /// Subscriptions began, or could not be had.
    fn subscribed(&mut self, counts: SubscriptionCounts);

    /// Passes on what was only noted so far.
    fn flush(&mut self);
}

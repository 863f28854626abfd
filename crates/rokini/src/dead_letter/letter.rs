//! Records that were given up together.

use rokini_lease::{Epoch, GroupId, LeaseKey, ShardId, StreamId, WorkerId};

use crate::types::failure::HandlerFailure;
use crate::types::record::Record;

/// Records of one shard that were given up together, and why.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The group whose handler failed.
    pub group: GroupId,
    /// The stream the records come from.
    pub stream: StreamId,
    /// The shard the records come from.
    pub shard: ShardId,
    /// The worker whose handler failed last.
    pub worker: WorkerId,
    /// The epoch under which it had the shard.
    pub epoch: Epoch,
    /// The records, in the order of the shard. One or more.
    pub records: Vec<Record>,
    /// The last failure.
    pub failure: HandlerFailure,
    /// How often the handler was called with these records, by this worker.
    pub attempts: u32,
    /// When the handler failed with these records first, in milliseconds since the Unix epoch, by the clock of the
    /// worker; `None` where that is not known.
    pub first_failure_millis: Option<u64>,
}

impl DeadLetter {
    /// A letter about records that were tried once. The other fields can be set after.
    #[must_use]
    pub fn new(
        group: GroupId,
        lease: LeaseKey,
        worker: WorkerId,
        epoch: Epoch,
        records: Vec<Record>,
        failure: HandlerFailure,
    ) -> Self {
        let LeaseKey { stream, shard } = lease;
        Self {
            group,
            stream,
            shard,
            worker,
            epoch,
            records,
            failure,
            attempts: 1,
            first_failure_millis: None,
        }
    }

    /// Names one of its records for ever: `<group>#<stream id>#<shard id>#<sequence number>`, with `.` and the number
    /// inside an aggregated stream record behind, where there is one. The same however often and in whichever letter
    /// the record is put; different for every other record, and for each group that gives it up.
    #[must_use]
    pub fn key(&self, record: &Record) -> String {
        let Self { group, stream, shard, .. } = self;
        let sequence = record.sequence_number;
        match record.sub_sequence_number {
            Some(sub) => format!("{group}#{stream}#{shard}#{sequence}.{sub}"),
            None => format!("{group}#{stream}#{shard}#{sequence}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

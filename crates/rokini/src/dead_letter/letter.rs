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
pub(super) mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rokini_lease::{SequenceNumber, WorkerName};

    pub(in crate::dead_letter) fn letter(group: &str, attempts: u32, records: Vec<Record>) -> DeadLetter {
        let mut rng = StdRng::seed_from_u64(u64::from(attempts));
        let lease =
            LeaseKey::new(StreamId::new("orders@17").unwrap(), ShardId::new("shardId-000000000003").unwrap());
        let worker = WorkerId::start(WorkerName::new("w").unwrap(), &mut rng);
        let group = GroupId::new(group).unwrap();
        let failure = HandlerFailure::Error("no".to_owned());
        let mut letter = DeadLetter::new(group, lease, worker, Epoch::default(), records, failure);
        letter.attempts = attempts;
        letter
    }

    #[test]
    fn a_record_has_one_key_whatever_letter_it_is_in() {
        let plain = Record::new(SequenceNumber::from(7u128), "k", "data", 1);
        let mut inner = plain.clone();
        inner.sub_sequence_number = Some(0);
        let first = letter("billing", 3, vec![plain.clone()]);
        let again = letter("billing", 1, vec![plain.clone(), inner.clone()]);
        assert_eq!(first.key(&plain), "billing#orders@17#shardId-000000000003#7");
        assert_eq!(again.key(&plain), first.key(&plain));
        assert_eq!(again.key(&inner), "billing#orders@17#shardId-000000000003#7.0");
        assert_ne!(letter("other", 3, vec![]).key(&plain), first.key(&plain));
    }
}

use super::*;
use rokini_lease::{Incarnation, SequenceNumber, WorkerName};

pub(crate) fn letter(group: &str, attempts: u32, records: Vec<Record>) -> DeadLetter {
    let lease =
        LeaseKey::new(StreamId::new("orders@17").unwrap(), ShardId::new("shardId-000000000003").unwrap());
    let worker = WorkerId::new(WorkerName::new("w").unwrap(), Incarnation::new(u64::from(attempts)));
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

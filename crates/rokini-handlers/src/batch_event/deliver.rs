//! What becomes of the records of a batch whose events were answered.

use std::time::Duration;

use rokini::{Batch, HandlerError, Record};
use sha2::{Digest as _, Sha256};

use super::answer::Outcome;
use super::kinesis_event::{Event, EventSource, events};

/// What became of one event.
#[derive(Debug)]
pub(crate) enum Invoked {
    /// It was answered, or failed.
    Answered(Outcome),
    /// Nobody took it: it is to be tried again after this time, and that is no failure of its records.
    NotTaken(Duration, String),
}

/// How a delivery ended.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// As the failure policy has it: done, or a failure.
    Settled(Result<(), HandlerError>),
    /// What is left of the records is given back, to be tried again after this time.
    NotTaken(Duration, String),
}

/// Delivers the records of a batch event by event, in order, each once the one before is done.
pub(crate) async fn deliver<Fut>(
    batch: Batch,
    source: &EventSource,
    largest: usize,
    mut invoke: impl FnMut(Event) -> Fut + Send,
) -> Delivered
where
    Fut: Future<Output = Invoked> + Send,
{
    let records = batch.clone();
    let shard = batch.shard().shard_id().as_str().to_owned();
    for event in events(records.records(), &shard, source, largest) {
        let range = event.records.clone();
        match invoke(event).await {
            Invoked::Answered(Outcome::Done) => {}
            Invoked::Answered(Outcome::From(index, error)) => {
                return failed(batch, range.start + index, error);
            }
            Invoked::Answered(Outcome::Failed(error)) => return failed(batch, range.start, error),
            Invoked::NotTaken(wait, error) => {
                give_back(batch, range.start, &error);
                return Delivered::NotTaken(wait, error);
            }
        }
    }
    Delivered::Settled(Ok(()))
}

/// The first records are done, the others fail together.
pub(crate) fn failed(batch: Batch, done: usize, error: String) -> Delivered {
    if done > 0 {
        // The tokens of the others have no say: the error of the call is about them.
        batch.into_acks().take(done).for_each(|(_, token)| token.ack());
    }
    Delivered::Settled(Err(error.into()))
}

/// The first records are done, the others come again, because of this.
pub(crate) fn give_back(batch: Batch, done: usize, error: &str) {
    if done == 0 {
        return batch.ack_token().give_back_because(error);
    }
    for (index, (_, token)) in batch.into_acks().enumerate() {
        if index < done { token.ack() } else { token.give_back_because(error) }
    }
}

/// A key that is the same whenever the same records are delivered to the same group, and another one whenever any of them
/// differs: first and last alone would be the same with a record in between and without.
pub(crate) fn idempotency_key(batch: &Batch, records: &[Record]) -> String {
    let shard = batch.shard();
    format!("{}/{}/{}/{}", shard.group(), shard.stream(), shard.shard_id(), numbers(records))
}

/// First and last number, how many there are, and a digest of all of them.
fn numbers(records: &[Record]) -> String {
    let number = |record: &Record| match record.sub_sequence_number {
        Some(sub) => format!("{}.{sub}", record.sequence_number),
        None => record.sequence_number.to_string(),
    };
    let (first, last) = (records.first().map(number), records.last().map(number));
    let mut digest = Sha256::new();
    for record in records {
        digest.update(number(record));
        digest.update(b"\n");
    }
    // 96 bits: nobody makes two batches of one digest by accident, and whoever writes the numbers is Kinesis.
    let digest =
        digest.finalize().iter().take(12).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("{}-{}/{}-{digest}", first.unwrap_or_default(), last.unwrap_or_default(), records.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_records_have_another_key_and_the_same_ones_the_same() {
        let records = |numbers: &[(u128, Option<u64>)]| {
            let record = |&(number, sub): &(u128, Option<u64>)| {
                let mut record = Record::new(number.into(), "k", "d", 0);
                record.sub_sequence_number = sub;
                record
            };
            super::numbers(&numbers.iter().map(record).collect::<Vec<_>>())
        };
        let all = [
            records(&[(1, None), (2, None), (3, None)]),
            records(&[(1, None), (3, None)]),
            records(&[(1, None), (2, Some(0)), (3, None)]),
            records(&[(1, None), (2, Some(1)), (3, None)]),
            records(&[(1, None), (2, None), (2, None), (3, None)]),
            records(&[(12, None), (3, None)]),
            records(&[]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
        assert_eq!(all[0], records(&[(1, None), (2, None), (3, None)]));
        assert!(all[0].starts_with("1-3/3-"), "{}", all[0]);
    }
}

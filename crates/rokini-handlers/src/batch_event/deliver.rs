//! What becomes of the records of a batch whose events were answered.

use std::time::Duration;

use rokini::{Batch, HandlerError, Record};

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
                give_back(batch, range.start);
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

/// The first records are done, the others come again.
pub(crate) fn give_back(batch: Batch, done: usize) {
    if done == 0 {
        return batch.ack_token().give_back();
    }
    for (index, (_, token)) in batch.into_acks().enumerate() {
        if index < done { token.ack() } else { token.give_back() }
    }
}

/// A key that is the same whenever the same records are delivered.
pub(crate) fn idempotency_key(batch: &Batch, records: &[Record]) -> String {
    let number = |record: Option<&Record>| {
        record.map_or_else(String::new, |record| match record.sub_sequence_number {
            Some(sub) => format!("{}.{sub}", record.sequence_number),
            None => record.sequence_number.to_string(),
        })
    };
    let (first, last) = (number(records.first()), number(records.last()));
    format!("{}/{}/{first}-{last}", batch.shard().stream(), batch.shard().shard_id())
}

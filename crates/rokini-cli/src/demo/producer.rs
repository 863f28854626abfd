//! Puts numbered records: each key counts its own from 0, and a number follows only when the one before it is in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rokini_history::Put;
use rokini_lease::SequenceNumber;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::environment::STREAM;
use crate::error::{CliError, Status};

/// Time between two requests, as long as they are answered faster.
const TICK: Duration = Duration::from_millis(50);
/// Keys for each shard, so that hardly any shard goes without.
const KEYS_PER_SHARD: usize = 16;
/// Most keys: the records that one PutRecords takes (Kinesis limit), because a request has each key once at most.
const MOST_KEYS: usize = 500;
/// Time until records are put again that Kinesis did not take for now.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The keys and how far each has counted.
#[derive(Debug)]
struct Keys {
    names: Vec<Arc<str>>,
    /// Records handed out so far; they go round the keys.
    given: u64,
}

impl Keys {
    fn new(shards: usize) -> Self {
        let count = (shards * KEYS_PER_SHARD).clamp(64, MOST_KEYS);
        Self { names: (0..count).map(|n| format!("customer-{n:03}").into()).collect(), given: 0 }
    }

    /// The next records, each of another key.
    fn take(&mut self, wanted: u64) -> Vec<(Arc<str>, u64)> {
        let count = self.names.len() as u64;
        let take = wanted.min(count);
        let records = (self.given..self.given + take).map(|n| {
            let name = &self.names[usize::try_from(n % count).unwrap_or(0)];
            (Arc::clone(name), n / count)
        });
        let records = records.collect();
        self.given += take;
        records
    }
}

/// Text of a record; [`number`] reads it.
fn text(number: u64) -> String {
    format!("order {number}")
}

/// The number in the text of a record.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.strip_prefix("order ")?.parse().ok()
}

/// Puts `rate` records a second until `quiet`, and sends each one that Kinesis acknowledged to `puts`.
pub(crate) async fn produce(
    client: Client,
    (rate, shards): (u32, usize),
    start: Instant,
    quiet: CancellationToken,
    puts: mpsc::UnboundedSender<Put>,
) -> Result<(), CliError> {
    let mut keys = Keys::new(shards);
    let begun = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while quiet.run_until_cancelled(ticks.tick()).await.is_some() {
        // The first tick already puts a record.
        let due = 1 + (begun.elapsed().as_millis() * u128::from(rate) / 1000) as u64;
        while keys.given < due && !quiet.is_cancelled() {
            put_all(&client, keys.take(due - keys.given), start, &puts).await?;
        }
    }
    Ok(())
}

/// Puts records until Kinesis has taken every one.
async fn put_all(
    client: &Client,
    records: Vec<(Arc<str>, u64)>,
    start: Instant,
    puts: &mpsc::UnboundedSender<Put>,
) -> Result<(), CliError> {
    let failed = || CliError::new(Status::FAILED, "the demo cannot put records into its own stream");
    let mut missing: BTreeMap<Arc<str>, u64> = records.into_iter().collect();
    while !missing.is_empty() {
        let batch: Vec<_> = missing.iter().map(|(key, number)| (Arc::clone(key), *number)).collect();
        let entries: Result<Vec<_>, _> = batch
            .iter()
            .map(|(key, number)| {
                let entry = PutRecordsRequestEntry::builder().partition_key(&**key);
                entry.data(Blob::new(text(*number))).build()
            })
            .collect();
        let entries = entries.map_err(|error| failed().because(&error))?;
        let request = client.put_records().stream_name(STREAM).set_records(Some(entries));
        let answer = request.send().await.map_err(|error| failed().because(&error))?;
        let at = start.elapsed();
        for ((key, number), result) in batch.into_iter().zip(answer.records()) {
            let (Some(shard), Some(sequence)) = (result.shard_id(), result.sequence_number()) else {
                continue;
            };
            let sequence: SequenceNumber = sequence.parse().map_err(|error| failed().because(&error))?;
            missing.remove(&key);
            // Nobody listens any more only when the run is over.
            let _ = puts.send(Put { key, number, shard: shard.into(), sequence: sequence.into(), at });
        }
        if !missing.is_empty() {
            sleep(BACK_OFF).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_count_for_themselves_and_appear_once_in_a_batch() {
        let mut keys = Keys::new(1);
        let mut next = BTreeMap::new();
        for wanted in [1, 3, 64, 1000, 60, 64] {
            let batch = keys.take(wanted);
            assert_eq!(batch.len() as u64, wanted.min(64));
            let mut in_batch = std::collections::BTreeSet::new();
            for (key, number) in batch {
                assert!(in_batch.insert(Arc::clone(&key)), "{key} twice");
                let expected = next.entry(key).or_insert(0);
                assert_eq!(number, *expected);
                *expected += 1;
            }
        }
        assert_eq!(keys.given, 1 + 3 + 64 + 64 + 60 + 64);
    }

    #[test]
    fn the_text_round_trips() {
        assert_eq!(number(&text(17)), Some(17));
        for other in ["", "17", "order", "order x", "order 1 "] {
            assert_eq!(number(other), None, "{other:?}");
        }
    }

    #[test]
    fn every_key_fits_into_one_request() {
        assert_eq!(Keys::new(1000).names.len(), MOST_KEYS);
    }
}

//! What it costs to bring a record through user code, beside the barest loop that does the same: one shard, a source and a
//! store in memory, a handler that does nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rokini::lease::{MemoryStore, Position, SequenceNumber, ShardId, StreamId};
use rokini::{
    ConfigKey, Consumer, Error, HandlerError, ReadResponse, Record, ShardDescription, ShardReader,
    ShardSelection, StreamDescription, StreamSource,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::error::Result;
use crate::process::{cpu_nanos, quantile};

const RESPONSE: usize = 1_000;

/// One shard with so many records, all there at once.
#[derive(Clone)]
struct MemorySource {
    records: usize,
    /// What each response is made of.
    response: Arc<Vec<Record>>,
}

impl MemorySource {
    fn new(records: usize) -> Self {
        let record = |number: usize| {
            let sequence = SequenceNumber::from(number as u128);
            Record::new(sequence, format!("key-{}", number % 997), [0_u8; 100], 1)
        };
        Self { records, response: Arc::new((0..RESPONSE).map(record).collect()) }
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemorySource")
    }
}

#[async_trait]
impl StreamSource for MemorySource {
    async fn describe(&self) -> std::result::Result<StreamDescription, Error> {
        let id = StreamId::new("bench@1")
            .map_err(|error| Error::new(rokini::ErrorKind::Bug, error.to_string()))?;
        let retention = Duration::from_secs(86_400);
        Ok(StreamDescription::new("bench", id, 1, retention))
    }

    async fn list_shards(&self, _: ShardSelection) -> std::result::Result<Vec<ShardDescription>, Error> {
        let id =
            ShardId::new("shard-0").map_err(|error| Error::new(rokini::ErrorKind::Bug, error.to_string()))?;
        Ok(vec![ShardDescription::new(id, Vec::new())])
    }

    async fn open(&self, _: &ShardId, _: &Position) -> std::result::Result<Box<dyn ShardReader>, Error> {
        Ok(Box::new(Reader(self.clone(), 0)))
    }
}

#[derive(Debug)]
struct Reader(MemorySource, usize);

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> std::result::Result<ReadResponse, Error> {
        let left = self.0.records - self.1;
        if left == 0 {
            std::future::pending::<()>().await;
        }
        let mut records: Vec<Record> = self.0.response.iter().take(left).cloned().collect();
        for record in &mut records {
            self.1 += 1;
            record.sequence_number = SequenceNumber::from(self.1 as u128);
        }
        Ok(ReadResponse::new(records, 0))
    }
}

/// What brings the records through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// The least that does it: read, call, keep the position. One task, no lease, no failure policy.
    Loop,
    /// A consumer at default settings: one call at a time.
    Sequential,
    /// A consumer with `concurrency = 16`.
    Lanes,
}

/// Counts what was handled, and tells when it is all.
#[derive(Clone)]
struct Counter {
    all: usize,
    seen: Arc<AtomicUsize>,
    done: Arc<Notify>,
}

impl Counter {
    fn count(&self, records: usize) {
        if self.seen.fetch_add(records, Ordering::Relaxed) + records == self.all {
            self.done.notify_one();
        }
    }

    /// Nanoseconds of CPU time per record, of the whole process, from the first call to the last.
    async fn measure(&self) -> Result<f64> {
        while self.seen.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let (begun, before) = (cpu_nanos(), self.seen.load(Ordering::Relaxed));
        self.done.notified().await;
        Ok((cpu_nanos() - begun) as f64 / (self.all - before).max(1) as f64)
    }
}

async fn bare_loop(mut reader: Reader, counter: Counter, per_record: bool) -> Position {
    let mut position = Position::TrimHorizon;
    while let Ok(fetched) = reader.next().await {
        if per_record {
            for record in fetched.records {
                let (counter, at) = (counter.clone(), record.position());
                let handle = move |_record: Record| {
                    counter.count(1);
                    async { Ok::<_, HandlerError>(()) }
                };
                if handle(record).await.is_ok() {
                    position = at;
                }
            }
        } else {
            let at = fetched.records.last().map_or(position, Record::position);
            counter.count(fetched.records.len());
            position = at;
        }
    }
    position
}

async fn measure_one(source: &MemorySource, method: Method, per_record: bool) -> Result<f64> {
    let counter = Counter { all: source.records, seen: Arc::default(), done: Arc::default() };
    let counting = {
        let counter = counter.clone();
        move |records: usize| counter.count(records)
    };
    if method == Method::Loop {
        let running = tokio::spawn(bare_loop(Reader(source.clone(), 0), counter.clone(), per_record));
        let taken = counter.measure().await;
        running.abort();
        return taken;
    }
    let mut builder = Consumer::builder().group("bench").source(source.clone()).store(MemoryStore::new());
    if method == Method::Lanes {
        builder = builder.set(ConfigKey::Concurrency, "16");
    }
    let builder = if per_record {
        builder.for_each(move |_| {
            counting(1);
            async { Ok(()) }
        })
    } else {
        builder.for_each_batch(move |batch| {
            counting(batch.len());
            async { Ok(()) }
        })
    };
    let consumer = builder.build().await?;
    let handle = consumer.handle();
    let running = tokio::spawn(consumer.run());
    let taken = counter.measure().await?;
    handle.shutdown(Duration::from_secs(5)).await;
    running.await??;
    Ok(taken)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// In turns, so that other load on the machine meets all alike; medians.
pub(crate) async fn measure(records: usize, rounds: u32) -> Result<Value> {
    let source = MemorySource::new(records);
    let mut taken: BTreeMap<(bool, &str), Vec<f64>> = BTreeMap::new();
    let methods = [("loop", Method::Loop), ("sequential", Method::Sequential), ("lanes", Method::Lanes)];
    for _ in 0..rounds {
        for per_record in [false, true] {
            for (name, method) in methods {
                taken
                    .entry((per_record, name))
                    .or_default()
                    .push(measure_one(&source, method, per_record).await?);
            }
        }
    }
    let of = |per_record| {
        let median = |name| quantile(taken.get(&(per_record, name)).into_iter().flatten().copied(), 0.5);
        let (bare, sequential, lanes) = (median("loop"), median("sequential"), median("lanes"));
        json!({
            "loop": tenths(bare), "sequential": tenths(sequential), "lanes": tenths(lanes),
            "sequential_beyond_loop": tenths(sequential - bare),
            "sequential_to_lanes": (sequential / lanes * 100.0).round() / 100.0,
        })
    };
    Ok(json!({
        "bench": "delivery",
        "records": records,
        "rounds": rounds,
        "cpu_nanoseconds_per_record": { "batches": of(false), "singles": of(true) },
    }))
}

//! What it costs to bring a record through user code: one shard, a source and a store in memory, a handler that does
//! nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rokini::lease::{MemoryStore, Position, SequenceNumber, ShardId, StreamId};
use rokini::{
    ConfigKey, Consumer, Error, Fetched, Record, ShardDescription, ShardReader, ShardSelection,
    StreamDescription, StreamSource,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::Result;

const RESPONSE: usize = 1_000;

/// One shard with so many records, all there at once.
#[derive(Clone)]
struct Stock(Arc<Vec<Record>>);

impl Stock {
    fn new(records: usize) -> Self {
        let record = |number: usize| {
            let sequence = SequenceNumber::from(number as u128 + 1);
            Record::new(sequence, format!("key-{}", number % 997), vec![0_u8; 100], 1)
        };
        Self(Arc::new((0..records).map(record).collect()))
    }
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stock")
    }
}

#[async_trait]
impl StreamSource for Stock {
    async fn describe(&self) -> std::result::Result<StreamDescription, Error> {
        let id = StreamId::new("bench@1")
            .map_err(|error| Error::new(rokini::ErrorKind::Bug, error.to_string()))?;
        let retention = Duration::from_secs(86_400);
        Ok(StreamDescription { name: "bench".to_owned(), id, now_millis: 1, retention })
    }

    async fn list_shards(&self, _: ShardSelection) -> std::result::Result<Vec<ShardDescription>, Error> {
        let id =
            ShardId::new("shard-0").map_err(|error| Error::new(rokini::ErrorKind::Bug, error.to_string()))?;
        Ok(vec![ShardDescription { id, parents: Vec::new(), hash_range: None, closed: false }])
    }

    async fn open(&self, _: &ShardId, _: &Position) -> std::result::Result<Box<dyn ShardReader>, Error> {
        Ok(Box::new(Reader(self.clone(), 0)))
    }
}

#[derive(Debug)]
struct Reader(Stock, usize);

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> std::result::Result<Fetched, Error> {
        let records: Vec<Record> = self.0.0.iter().skip(self.1).take(RESPONSE).cloned().collect();
        if records.is_empty() {
            std::future::pending::<()>().await;
        }
        self.1 += records.len();
        Ok(Fetched { records, ..Fetched::default() })
    }
}

/// Nanoseconds per record from the first call to the last.
async fn through(stock: &Stock, settings: &[(ConfigKey, &str)], per_record: bool) -> Result<f64> {
    let (all, seen, done) = (stock.0.len(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut builder = Consumer::builder().group("bench").source(stock.clone()).store(MemoryStore::new());
    for (key, value) in settings {
        builder = builder.set(*key, value);
    }
    let counting = {
        let (seen, done) = (Arc::clone(&seen), Arc::clone(&done));
        move |records: usize| {
            if seen.fetch_add(records, Ordering::Relaxed) + records == all {
                done.notify_one();
            }
        }
    };
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
    while seen.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let (begun, before) = (Instant::now(), seen.load(Ordering::Relaxed));
    done.notified().await;
    let took = begun.elapsed();
    handle.shutdown(Duration::from_secs(5)).await;
    running.await??;
    Ok(took.as_secs_f64() * 1e9 / (all - before).max(1) as f64)
}

/// The best of several runs: what else the machine does only adds to it.
async fn best(stock: &Stock, settings: &[(ConfigKey, &str)], per_record: bool) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        best = best.min(through(stock, settings, per_record).await?);
    }
    Ok((best * 10.0).round() / 10.0)
}

pub(crate) async fn measure(records: usize, extra: &[(ConfigKey, &str)]) -> Result<Value> {
    let stock = Stock::new(records);
    let (batches, singles) = (best(&stock, &[], false).await?, best(&stock, &[], true).await?);
    let mut lanes = Value::Null;
    if !extra.is_empty() {
        lanes = json!({ "batches": best(&stock, extra, false).await?, "singles": best(&stock, extra, true).await? });
    }
    Ok(json!({
        "bench": "delivery",
        "records": records,
        "nanoseconds_per_record": { "batches": batches, "singles": singles, "lanes": lanes },
    }))
}

//! What metrics cost: at a great rate of records, and with very many shards. The source is in memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rokini::lease::{HashRange, MemoryStore, Position, SequenceNumber, ShardId, StreamId};
use rokini::{
    ConfigKey, Consumer, Error, Fetched, Record, ShardDescription, ShardReader, ShardSelection,
    StreamDescription, StreamSource,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Result;

/// Counts what the process allocates.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code, reason = "an allocator is unsafe; each call goes on to the system's as it is")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const BATCH: usize = 1_000;

/// Hands out batches of 1,000 records at a rate, in each shard.
#[derive(Debug, Clone)]
struct Source {
    shards: usize,
    /// Between two batches of a shard; `None` for shards without records.
    pause: Option<Duration>,
}

fn shard(number: usize) -> Result<ShardId> {
    Ok(ShardId::new(format!("shardId-{number:012}"))?)
}

#[async_trait]
impl StreamSource for Source {
    async fn describe(&self) -> std::result::Result<StreamDescription, Error> {
        let id = StreamId::new("orders@1700000000000").map_err(bug)?;
        let retention = Duration::from_secs(86_400);
        Ok(StreamDescription { name: "orders".to_owned(), id, now_millis: 1_700_000_000_000, retention })
    }

    async fn list_shards(&self, _: ShardSelection) -> std::result::Result<Vec<ShardDescription>, Error> {
        let width = u128::MAX / self.shards as u128;
        let describe = |n: usize| {
            let end = if n + 1 == self.shards { u128::MAX } else { width * (n as u128 + 1) - 1 };
            let hash_range = Some(HashRange { start: width * n as u128, end });
            Ok(ShardDescription {
                id: shard(n).map_err(bug)?,
                parents: Vec::new(),
                hash_range,
                closed: false,
            })
        };
        (0..self.shards).map(describe).collect()
    }

    async fn open(&self, _: &ShardId, _: &Position) -> std::result::Result<Box<dyn ShardReader>, Error> {
        let data = bytes::Bytes::from_static(&[b'x'; 100]);
        let key: Arc<str> = "key".into();
        let record =
            |n: usize| Record::new(SequenceNumber::from(n as u128), Arc::clone(&key), data.clone(), 0);
        let batch = (0..BATCH).map(record).collect();
        Ok(Box::new(Reader { pause: self.pause, due: Instant::now(), batch, next: 0 }))
    }
}

fn bug(error: impl std::fmt::Display) -> Error {
    Error::new(rokini::ErrorKind::Bug, error.to_string())
}

#[derive(Debug)]
struct Reader {
    pause: Option<Duration>,
    due: Instant,
    batch: Vec<Record>,
    next: u128,
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> std::result::Result<Fetched, Error> {
        let Some(pause) = self.pause else {
            sleep(Duration::from_secs(1)).await;
            return Ok(Fetched::default());
        };
        sleep_until(self.due).await;
        self.due += pause;
        let mut records = self.batch.clone();
        for record in &mut records {
            self.next += 1;
            record.sequence_number = SequenceNumber::from(self.next);
        }
        Ok(Fetched { records, took: Some(Duration::from_millis(1)), ..Fetched::default() })
    }
}

/// Nanoseconds that this process was on a CPU.
fn cpu_nanos() -> Result<u64> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(nanos)
}

struct Figures {
    cpu_nanos: u64,
    allocations: u64,
    records: u64,
}

/// Consumers with and without metrics in turns, so that both see the same machine.
pub(crate) async fn cost(rate: u64, shards: usize, rounds: u32, time: Duration) -> Result<Value> {
    let pause = Duration::from_nanos(1_000_000_000 * (BATCH * shards) as u64 / rate);
    let (mut off, mut on) = (Vec::new(), Vec::new());
    // The first is for warming up.
    run("none", shards, pause, time / 4).await?;
    for round in 0..rounds {
        let order = if round % 2 == 0 { ["none", "prometheus"] } else { ["prometheus", "none"] };
        for monitoring in order {
            let figures = run(monitoring, shards, pause, time).await?;
            if monitoring == "none" { off.push(figures) } else { on.push(figures) }
        }
    }
    let per_record = |all: &[Figures]| {
        let mut each: Vec<f64> = all.iter().map(|one| one.cpu_nanos as f64 / one.records as f64).collect();
        each.sort_by(f64::total_cmp);
        each[each.len() / 2]
    };
    let per_batch = |all: &[Figures]| {
        let allocations: u64 = all.iter().map(|one| one.allocations).sum();
        let records: u64 = all.iter().map(|one| one.records).sum();
        allocations as f64 / records as f64 * BATCH as f64
    };
    let rate = |all: &[Figures]| {
        let records: u64 = all.iter().map(|one| one.records).sum();
        records as f64 / (time.as_secs_f64() * f64::from(rounds))
    };
    let (cpu_off, cpu_on) = (per_record(&off), per_record(&on));
    Ok(json!({
        "bench": "metrics-cost",
        "shards": shards,
        "records_per_second": { "off": rate(&off), "on": rate(&on) },
        "cpu_nanos_per_record": { "off": cpu_off, "on": cpu_on },
        "difference_percent": (cpu_on / cpu_off - 1.0) * 100.0,
        "allocations_per_batch": { "off": per_batch(&off), "on": per_batch(&on) },
    }))
}

async fn run(monitoring: &str, shards: usize, pause: Duration, time: Duration) -> Result<Figures> {
    let records = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&records);
    let consumer = Consumer::builder()
        .group("bench")
        .source(Source { shards, pause: Some(pause) })
        .store(MemoryStore::new())
        .set(ConfigKey::Monitoring, monitoring)
        .for_each_batch(move |batch| {
            counted.fetch_add(batch.len() as u64, Ordering::Relaxed);
            async { Ok(()) }
        })
        .build()
        .await?;
    let handle = consumer.handle();
    let running = tokio::spawn(consumer.run());
    while handle.status().shards.len() < shards {
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let (cpu, allocations) = (cpu_nanos()?, ALLOCATIONS.load(Ordering::Relaxed));
    let before = records.load(Ordering::Relaxed);
    sleep(time).await;
    let figures = Figures {
        cpu_nanos: cpu_nanos()? - cpu,
        allocations: ALLOCATIONS.load(Ordering::Relaxed) - allocations,
        records: records.load(Ordering::Relaxed) - before,
    };
    handle.shutdown(Duration::from_secs(10)).await;
    running.await??;
    Ok(figures)
}

/// One worker with very many shards: how long `/metrics` takes, and how large it is.
pub(crate) async fn cardinality(shards: usize) -> Result<Value> {
    let mut figures = Vec::new();
    for label in ["true", "false"] {
        let consumer = Consumer::builder()
            .group("bench")
            .source(Source { shards, pause: None })
            .store(MemoryStore::new())
            .set(ConfigKey::Monitoring, "prometheus")
            .set(ConfigKey::MetricsShardLabel, label)
            .for_each_batch(|_| async { Ok(()) })
            .build()
            .await?;
        let handle = consumer.handle();
        let running = tokio::spawn(consumer.run());
        while handle.status().shards.len() < shards {
            sleep(Duration::from_millis(100)).await;
        }
        // Gauges are set once a second.
        sleep(Duration::from_secs(3)).await;
        let begun = Instant::now();
        let text = handle.prometheus().ok_or("no metrics")?;
        let took = begun.elapsed();
        figures.push(json!({
            "metrics_shard_label": label,
            "seconds": took.as_secs_f64(),
            "megabytes": text.len() as f64 / 1e6,
            "series": text.lines().filter(|line| !line.starts_with('#')).count(),
        }));
        handle.shutdown(Duration::from_secs(30)).await;
        running.await??;
    }
    Ok(json!({ "bench": "metrics-cardinality", "shards": shards, "scrapes": figures }))
}

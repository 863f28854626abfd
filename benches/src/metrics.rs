//! What metrics cost: at a great rate of records, and with very many shards. The source is in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rokini::lease::{HashRange, MemoryStore, Position, SequenceNumber, ShardId, StreamId};
use rokini::{
    ConfigKey, Consumer, Error, Handle, ReadResponse, Record, ShardDescription, ShardReader, ShardSelection,
    ShutdownReport, StreamDescription, StreamSource,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Result;
use crate::process::{allocations, cpu_nanos, quantile};

const BATCH: usize = 1_000;

/// Between the end of a turn and the beginning of the next: what was under way ends.
const REST: Duration = Duration::from_millis(20);

/// Hands out batches of 1,000 records at a rate, in each shard, while it is its consumer's turn.
#[derive(Debug, Clone)]
struct Source {
    shards: usize,
    turns: Option<Turns>,
}

/// When records flow: none ever where there is no such thing.
#[derive(Debug, Clone)]
struct Turns {
    on: watch::Receiver<bool>,
    /// Between two batches of a shard.
    pause: Duration,
}

fn shard(number: usize) -> Result<ShardId> {
    Ok(ShardId::new(format!("shardId-{number:012}"))?)
}

#[async_trait]
impl StreamSource for Source {
    async fn describe(&self) -> std::result::Result<StreamDescription, Error> {
        let id = StreamId::new("orders@1700000000000").map_err(bug)?;
        let retention = Duration::from_secs(86_400);
        Ok(StreamDescription::new("orders", id, 1_700_000_000_000, retention))
    }

    async fn list_shards(&self, _: ShardSelection) -> std::result::Result<Vec<ShardDescription>, Error> {
        let width = u128::MAX / self.shards as u128;
        let describe = |n: usize| {
            let end = if n + 1 == self.shards { u128::MAX } else { width * (n as u128 + 1) - 1 };
            let range = HashRange { start: width * n as u128, end };
            Ok(ShardDescription::new(shard(n).map_err(bug)?, Vec::new()).hash_range(range))
        };
        (0..self.shards).map(describe).collect()
    }

    async fn open(&self, shard: &ShardId, _: &Position) -> std::result::Result<Box<dyn ShardReader>, Error> {
        let data = bytes::Bytes::from_static(&[b'x'; 100]);
        let key: Arc<str> = "key".into();
        let record =
            |n: usize| Record::new(SequenceNumber::from(n as u128), Arc::clone(&key), data.clone(), 0);
        let batch = (0..BATCH).map(record).collect();
        let number: usize = shard.as_str().trim_start_matches("shardId-").parse().map_err(bug)?;
        let part = number as f64 / self.shards as f64;
        Ok(Box::new(Reader { turns: self.turns.clone(), part, due: None, batch, next: 0 }))
    }
}

fn bug(error: impl std::fmt::Display) -> Error {
    Error::new(rokini::ErrorKind::Bug, error.to_string())
}

#[derive(Debug)]
struct Reader {
    turns: Option<Turns>,
    /// Where in the pause this shard's batches come, so that they do not come at once.
    part: f64,
    /// When the next batch comes; `None` in between turns.
    due: Option<Instant>,
    batch: Vec<Record>,
    next: u128,
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> std::result::Result<ReadResponse, Error> {
        let Some(turns) = &mut self.turns else {
            sleep(Duration::from_secs(1)).await;
            return Ok(ReadResponse::default());
        };
        loop {
            if let Some(due) = self.due {
                sleep_until(due).await;
            }
            if *turns.on.borrow() && self.due.is_some() {
                break;
            }
            turns.on.wait_for(|on| *on).await.map_err(bug)?;
            self.due = Some(Instant::now() + turns.pause.mul_f64(self.part));
        }
        self.due = self.due.map(|due| due + turns.pause);
        let mut records = self.batch.clone();
        for record in &mut records {
            self.next += 1;
            record.sequence_number = SequenceNumber::from(self.next);
        }
        let mut response = ReadResponse::new(records, 0);
        response.took = Some(Duration::from_millis(1));
        Ok(response)
    }
}

/// A consumer that works in its turns.
struct Subject {
    on: watch::Sender<bool>,
    records: Arc<AtomicU64>,
    handle: Handle,
    running: JoinHandle<std::result::Result<ShutdownReport, Error>>,
}

/// What one turn took.
#[derive(Debug, Clone, Copy)]
struct Figures {
    cpu_nanos: u64,
    allocations: u64,
    records: u64,
}

impl Figures {
    fn nanos_per_record(self) -> f64 {
        self.cpu_nanos as f64 / self.records as f64
    }
}

impl Subject {
    async fn start(monitoring: &str, shards: usize, pause: Duration) -> Result<Self> {
        let records = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&records);
        let (on, turns) = watch::channel(false);
        let consumer = Consumer::builder()
            .group("bench")
            .source(Source { shards, turns: Some(Turns { on: turns, pause }) })
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
        Ok(Self { on, records, handle, running })
    }

    async fn turn(&self, time: Duration) -> Figures {
        let (cpu, allocated) = (cpu_nanos(), allocations());
        let before = self.records.load(Ordering::Relaxed);
        self.on.send_replace(true);
        sleep(time).await;
        self.on.send_replace(false);
        sleep(REST).await;
        Figures {
            cpu_nanos: cpu_nanos() - cpu,
            allocations: allocations() - allocated,
            records: self.records.load(Ordering::Relaxed) - before,
        }
    }

    async fn stop(self) -> Result<()> {
        self.handle.shutdown(Duration::from_secs(10)).await;
        self.running.await??;
        Ok(())
    }
}

/// The median of what differs in percent of `all`, and where the median of endless turns is with a probability of 95 %,
/// by the order of the differences.
fn judged(differences: &[f64], all: f64) -> Value {
    let at = |part| quantile(differences.iter().copied(), part) / all * 100.0;
    let margin = 0.98 / (differences.len() as f64).sqrt();
    json!({ "median": at(0.5), "from": at(0.5 - margin), "to": at(0.5 + margin) })
}

/// What one round measures: without metrics, with them, and without them again as the control.
const SUBJECTS: [&str; 3] = ["none", "prometheus", "none"];

/// Three consumers in one process work in short turns, in an order that changes: the turns next to each other see the
/// same machine. What counts is the median of the differences. Each round has consumers made anew, in another order,
/// because where their memory lies makes a difference too. The control says how large a difference is by chance.
pub(crate) async fn cost(
    rate: u64,
    shards: usize,
    rounds: usize,
    turns: usize,
    time: Duration,
) -> Result<Value> {
    let pause = Duration::from_nanos(1_000_000_000 * (BATCH * shards) as u64 / rate);
    let mut figures: [Vec<Figures>; 3] = Default::default();
    for round in 0..rounds {
        let mut subjects = Vec::new();
        for place in 0..3 {
            let number = (place + round) % 3;
            subjects.push((number, Subject::start(SUBJECTS[number], shards, pause).await?));
        }
        // Warm up: the last buffers grow.
        for (_, subject) in &subjects {
            subject.turn(time * 2).await;
        }
        for turn in 0..turns {
            for place in 0..3 {
                // Every order comes equally often.
                let place = if turn % 2 == 0 { place } else { 2 - place };
                let (number, subject) = &subjects[(place + turn / 2) % 3];
                figures[*number].push(subject.turn(time).await);
            }
        }
        for (_, subject) in subjects {
            subject.stop().await?;
        }
    }
    let [off, on, control] = figures;
    let nanos = |all: &[Figures]| quantile(all.iter().map(|one| one.nanos_per_record()), 0.5);
    let per_batch = |all: &[Figures]| {
        let each = all.iter().map(|one| one.allocations as f64 / one.records as f64);
        quantile(each, 0.5) * BATCH as f64
    };
    let rate = |all: &[Figures]| quantile(all.iter().map(|one| one.records as f64 / time.as_secs_f64()), 0.5);
    let differences = |all: &[Figures], others: &[Figures]| -> Vec<f64> {
        let pairs = all.iter().zip(others);
        pairs.map(|(one, other)| one.nanos_per_record() - other.nanos_per_record()).collect()
    };
    // Against both without: half the noise.
    let mut with = differences(&on, &off);
    with.extend(differences(&on, &control));
    Ok(json!({
        "bench": "metrics-cost",
        "shards": shards,
        "turns": rounds * turns,
        "records_per_second": { "off": rate(&off), "on": rate(&on) },
        "cpu_nanos_per_record": { "off": nanos(&off), "on": nanos(&on) },
        "difference_percent": judged(&with, nanos(&off)),
        "control_percent": judged(&differences(&control, &off), nanos(&off)),
        "allocations_per_batch": { "off": per_batch(&off), "on": per_batch(&on) },
    }))
}

/// One worker with very many shards: how long `/metrics` takes, and how large it is.
pub(crate) async fn cardinality(shards: usize) -> Result<Value> {
    let mut figures = Vec::new();
    for label in ["true", "false"] {
        let consumer = Consumer::builder()
            // As long as such names are.
            .group("billing-production")
            .worker("billing-7d9f8b6c5d-x2x9z")
            .source(Source { shards, turns: None })
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

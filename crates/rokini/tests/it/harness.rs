//! Consumers under test, and what reached their handlers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rokini::lease::{
    GroupId, LeaseRow, LeaseStore, Listing, Position, SequenceNumber, ShardId, StreamId, WallClock,
};
use rokini::{Batch, Consumer, ConsumerBuilder, Error, Event, Handle, HandlerError, Record, ShutdownReport};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::stream::{Stream, shard_id};

/// Longer than anything a test waits for; the paused clock makes it free.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Whether an event is about this shard.
pub fn about_shard(event: &Event, stream: &Stream, shard: usize) -> bool {
    event.stream == Some(stream.id()) && event.shard == Some(shard_id(shard))
}

/// One record in one handler call.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub stream: StreamId,
    pub shard: ShardId,
    pub text: String,
    pub sequence: SequenceNumber,
    pub worker: String,
    pub at: Instant,
}

/// What reached handlers, in the order of the calls.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<Vec<Seen>>,
    changed: Notify,
}

impl Log {
    pub fn add(&self, batch: &Batch) {
        for record in batch {
            self.add_record(batch, record);
        }
    }

    pub fn add_record(&self, batch: &Batch, record: &Record) {
        self.0.seen.lock().unwrap().push(Seen {
            stream: batch.shard().stream().clone(),
            shard: batch.shard().shard_id().clone(),
            text: String::from_utf8(record.data().to_vec()).unwrap(),
            sequence: record.sequence_number,
            worker: batch.shard().worker().name.to_string(),
            at: Instant::now(),
        });
        self.0.changed.notify_waiters();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
    }

    pub fn texts(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.text).collect()
    }

    pub fn clear(&self) {
        self.0.seen.lock().unwrap().clear();
    }

    /// Waits until what was seen is as wanted.
    pub async fn until(&self, wanted: impl Fn(&[Seen]) -> bool + Sync) -> Vec<Seen> {
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                let seen = self.seen();
                if wanted(&seen) {
                    return seen;
                }
                changed.await;
            }
        };
        timeout(LONGEST_WAIT, wait).await.unwrap_or_else(|_| panic!("never came: {:?}", self.texts()))
    }

    pub async fn until_count(&self, count: usize) -> Vec<Seen> {
        self.until(|seen| seen.len() >= count).await
    }
}

/// A wall clock that differs from the stream's by so much.
pub fn clock_off_by(stream: &Stream, millis: i64) -> WallClock {
    let stream = stream.clone();
    WallClock::from_fn(move || stream.now().saturating_add_signed(millis))
}

pub fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

/// A consumer of the stream without a handler.
pub fn builder(stream: &Stream, store: impl LeaseStore, name: &str) -> ConsumerBuilder {
    let seed = name.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
    Consumer::builder()
        .group("g")
        .worker(name)
        .source(stream.clone())
        .store(store)
        .seed(seed)
        .wall_clock(clock_off_by(stream, 0))
}

/// A consumer that runs.
pub struct Running {
    pub handle: Handle,
    pub run: JoinHandle<Result<ShutdownReport, Error>>,
}

/// Ends a builder with a handler that logs.
pub trait BuildLogging {
    async fn build_logging(self, log: &Log) -> Running;
}

impl BuildLogging for ConsumerBuilder {
    async fn build_logging(self, log: &Log) -> Running {
        Running::logging(self, log).await
    }
}

impl Running {
    pub async fn start(builder: ConsumerBuilder) -> Self {
        let consumer = builder.build().await.unwrap();
        let handle = consumer.handle();
        Self { handle, run: tokio::spawn(consumer.run()) }
    }

    /// One that logs its records.
    pub async fn logging(builder: ConsumerBuilder, log: &Log) -> Self {
        let log = log.clone();
        Self::start(builder.for_each_batch(move |batch| {
            log.add(&batch);
            async { Ok(()) }
        }))
        .await
    }

    /// One that logs its records one by one, each stored, until one with this text comes, for which it takes for ever.
    pub async fn until_text(builder: ConsumerBuilder, log: &Log, text: &str) -> Self {
        let (log, text) = (log.clone(), text.to_owned());
        let builder = builder.checkpoint_interval(Duration::ZERO).batch_max_records(1);
        Self::start(builder.for_each_batch(move |batch: Batch| {
            let (log, hangs) = (log.clone(), batch.records()[0].data() == text.as_bytes());
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                log.add(&batch);
                Ok(())
            }
        }))
        .await
    }

    pub async fn stop(self) -> ShutdownReport {
        let report = self.handle.shutdown(Duration::from_secs(20)).await;
        let returned = self.run.await.unwrap().unwrap();
        assert_eq!(returned, report);
        report
    }

    /// As SIGKILL does: nothing more is written, in the middle of whatever it was.
    pub async fn kill(self) {
        self.run.abort();
        assert!(self.run.await.unwrap_err().is_cancelled());
    }
}

pub async fn leases(store: &impl LeaseStore) -> Vec<LeaseRow> {
    store.list(&group(), Listing::All).await.unwrap().leases
}

pub async fn position(store: &impl LeaseStore, shard: &ShardId) -> Position {
    leases(store).await.into_iter().find(|row| row.key.shard == *shard).unwrap().position
}

/// The position once the record with this sequence number is done.
pub fn after(sequence: u128) -> Position {
    Position::after(SequenceNumber::from(sequence))
}

/// Waits until the first shard is stored up to here.
pub async fn until_position(store: &impl LeaseStore, wanted: Position) {
    until_leases(store, |rows| rows.first().is_some_and(|row| row.position == wanted)).await;
}

/// Waits until something about the store holds; looks again every 50 ms of the paused clock.
pub async fn until_leases(
    store: &impl LeaseStore,
    wanted: impl Fn(&[LeaseRow]) -> bool + Sync,
) -> Vec<LeaseRow> {
    let wait = async {
        loop {
            let rows = leases(store).await;
            if wanted(&rows) {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match timeout(LONGEST_WAIT, wait).await {
        Ok(rows) => rows,
        Err(_) => panic!("never came: {:?}", leases(store).await),
    }
}

pub fn failure(text: &str) -> Result<(), HandlerError> {
    Err(text.into())
}

use std::time::Duration;

use rokini::lease::{GroupId, LeaseStore, Listing, MemoryStore, Position};
use rokini::{
    ConfigKey, Consumer, ConsumerBuilder, ConsumerConfig, DeadLetterEntry, DeadLetterFile, ErrorKind, Event,
    EventCode, Handle, KinesisSource, OnFailure,
};
use rokini_local::wire::ErrorCode;
use rokini_local::wire::shapes::record::{PutRecordsRequest, PutRecordsRequestEntry};
use rokini_local::{Fault, FaultRule, LocalKinesis};
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{aws, queue, stream};

const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Ten records, of which the fifth is poison; their positions.
async fn orders() -> (LocalKinesis, Vec<Position>) {
    let kinesis = LocalKinesis::builder().stream("orders", 1).stream("dead", 1).start().await.unwrap();
    let entry = |number: u32| {
        PutRecordsRequestEntry::new(if number == 4 { "poison" } else { "good" })
            .partition_key(format!("key {number}"))
    };
    let request = PutRecordsRequest::new((0..10).map(entry).collect::<Vec<_>>()).stream_name("orders");
    let answer = kinesis.model().call(&request).unwrap();
    let numbers = answer.records.iter().map(|put| put.sequence_number.unwrap().to_string());
    (kinesis, numbers.map(|number| Position::after(number.parse().unwrap())).collect())
}

/// A consumer whose handler fails with the poison, and gives up after two tries.
async fn builder(kinesis: &LocalKinesis, store: &MemoryStore) -> ConsumerBuilder {
    Consumer::builder()
        .group("g")
        .stream("orders")
        .aws(&aws(&kinesis.endpoint_url()).await)
        .store(store.clone())
        .failover(Duration::from_secs(1))
        .heartbeat(Duration::from_millis(200))
        .checkpoint_interval(Duration::ZERO)
        .set(ConfigKey::OnFailure, OnFailure::DeadLetter.to_string())
        .set(ConfigKey::MaxAttempts, "2")
        .for_each_batch(|batch| async move {
            match batch.iter().any(|record| record.data() == b"poison") {
                true => Err("poison".into()),
                false => Ok(()),
            }
        })
}

struct Running {
    handle: Handle,
    events: Receiver<Event>,
    run: JoinHandle<Result<rokini::ShutdownReport, rokini::Error>>,
}

impl Running {
    async fn start(builder: ConsumerBuilder) -> Self {
        let consumer = builder.build().await.unwrap();
        let handle = consumer.handle();
        let events = handle.events();
        Self { handle, events, run: tokio::spawn(consumer.run()) }
    }

    async fn until(&mut self, code: EventCode) {
        let found = async { while self.events.recv().await.unwrap().code() != code {} };
        timeout(LONGEST_WAIT, found).await.unwrap_or_else(|_| panic!("never came: {code:?}"));
    }

    async fn stop(self) {
        assert!(self.handle.stop().await.is_clean());
        self.run.await.unwrap().unwrap();
    }
}

async fn position(store: &MemoryStore) -> Position {
    store.list(&GroupId::new("g").unwrap(), Listing::All).await.unwrap().leases[0].position
}

async fn until_position(store: &MemoryStore, wanted: Position) {
    let reached = async {
        while position(store).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONGEST_WAIT, reached).await.unwrap();
}

fn is_the_poison(entry: &DeadLetterEntry, positions: &[Position]) {
    assert_eq!(Position::after(entry.sequence_number.parse().unwrap()), positions[4]);
    assert_eq!((&entry.data().unwrap()[..], entry.partition_key.as_deref()), (&b"poison"[..], Some("key 4")));
    assert_eq!((entry.failure.as_str(), entry.attempts), ("poison", 2));
    assert!(entry.first_failure_millis.is_some());
}

/// The place refuses, then takes.
#[tokio::test]
async fn a1_no_position_passes_a_record_before_its_dead_letter_is_confirmed() {
    let (kinesis, positions) = orders().await;
    let store = MemoryStore::new();
    let internal = Fault::Error { code: ErrorCode::InternalFailure, message: String::new(), status: None };
    let refused = kinesis.faults().add(FaultRule::on("PutRecords", internal).stream("dead"));
    let mut running =
        Running::start(builder(&kinesis, &store).await.set(ConfigKey::DeadLetter, "kinesis:dead")).await;
    for _ in 0..2 {
        running.until(EventCode::DeadLetterFailed).await;
        assert_eq!(position(&store).await, positions[3], "as far as the record before it");
    }
    assert!(stream::kept(&kinesis).is_empty());
    kinesis.faults().remove(refused);
    running.until(EventCode::DeadLettered).await;
    let kept = stream::kept(&kinesis);
    is_the_poison(&DeadLetterEntry::parse(&kept[0].data).unwrap(), &positions);
    until_position(&store, positions[9]).await;
    running.stop().await;
}

#[tokio::test]
async fn a1_a_letter_confirmed_by_a_worker_that_dies_is_put_again_under_the_same_key() {
    let (kinesis, positions) = orders().await;
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("dead.jsonl");
    let target = format!("file:{}", path.display());
    let kept = || -> Vec<_> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| DeadLetterEntry::parse(line.as_bytes()).unwrap()).collect()
    };
    let first = builder(&kinesis, &store).await.set(ConfigKey::DeadLetter, &target);
    // Nothing is stored before the worker dies.
    let mut first = Running::start(first.checkpoint_interval(Duration::from_secs(3600))).await;
    first.until(EventCode::DeadLettered).await;
    first.run.abort();
    assert!(first.run.await.unwrap_err().is_cancelled());
    assert_eq!(kept().len(), 1);
    assert!(position(&store).await < positions[4]);

    let sink = DeadLetterFile::new(&path);
    let second = Running::start(builder(&kinesis, &store).await.dead_letter_sink(sink)).await;
    until_position(&store, positions[9]).await;
    second.stop().await;
    let entries = kept();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].key, entries[1].key);
    assert_ne!(entries[0].worker, entries[1].worker);
    entries.iter().for_each(|entry| is_the_poison(entry, &positions));
}

#[tokio::test]
async fn a1_a_queue_that_does_not_answer_holds_the_position_and_then_lets_it_pass() {
    let (kinesis, positions) = orders().await;
    let store = MemoryStore::new();
    // Each letter is tried three times by the SDK.
    let (address, dead) =
        queue::serve(std::iter::repeat_n(queue::Answer::Error(503, "ServiceUnavailable"), 3)).await;
    let sink = queue::sink(address, "dead").await;
    let mut running = Running::start(builder(&kinesis, &store).await.dead_letter_sink(sink)).await;
    running.until(EventCode::DeadLetterFailed).await;
    assert_eq!(position(&store).await, positions[3]);
    running.until(EventCode::DeadLettered).await;
    until_position(&store, positions[9]).await;
    running.stop().await;
    let entries = dead.lock().unwrap().entries();
    assert_eq!(entries.len(), 1);
    is_the_poison(&entries[0], &positions);
}

#[tokio::test]
async fn a_stream_of_dead_letters_is_not_read_by_those_who_write_it() {
    const DEAD: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/dead";
    let refused = |error: rokini::Error| {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let said = error.to_string();
        assert!(
            said.contains("`dead_letter = kinesis:dead`") && said.contains("a stream that is read"),
            "{said}"
        );
    };
    let (kinesis, _) = orders().await;
    let aws = aws(&kinesis.endpoint_url()).await;
    let store = MemoryStore::new();
    let source = |stream: &str| {
        KinesisSource::new(&aws, stream.parse().unwrap(), &ConsumerConfig::default(), 1).unwrap()
    };
    let building = builder(&kinesis, &store).await.set(ConfigKey::DeadLetter, "kinesis:dead");
    refused(building.source(source(DEAD)).build().await.map(drop).unwrap_err());
    let building = builder(&kinesis, &store).await.set(ConfigKey::DeadLetter, "kinesis:dead");
    let consumer = building.build().await.unwrap();
    let handle = consumer.handle();
    refused(handle.add_source(source("dead")).await.unwrap_err());
    let run = tokio::spawn(consumer.run());
    for stream in ["dead", DEAD] {
        refused(handle.add_stream(stream).await.unwrap_err());
    }
    assert!(handle.stop().await.is_clean());
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn t3_a_file_that_cannot_be_opened_is_refused_before_the_first_letter() {
    let ((kinesis, _), folder) = (orders().await, tempfile::tempdir().unwrap());
    let store = MemoryStore::new();
    let path = folder.path().join("missing/dead.jsonl");
    let setting =
        builder(&kinesis, &store).await.set(ConfigKey::DeadLetter, format!("file:{}", path.display()));
    let sink = builder(&kinesis, &store).await.dead_letter_sink(DeadLetterFile::new(folder.path()));
    for (building, expected) in [(setting, "make its folder"), (sink, "is a folder")] {
        let error = building.build().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

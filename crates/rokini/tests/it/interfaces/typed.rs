//! Records as values: what cannot be decoded goes the way of every failure.

use std::sync::{Arc, Mutex};

use rokini::lease::{MemoryStore, SequenceNumber};
use rokini::{DecodeError, Event, EventKind, HandlerCall, HandlerFailure, Record};
use serde::Deserialize;

use crate::harness::{Running, after, builder, position, until_leases};
use crate::stream::{Stream, shard_id};

#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    id: u64,
}

#[test]
fn values_may_borrow_and_errors_name_the_record() {
    #[derive(Deserialize)]
    struct Name<'a> {
        name: &'a str,
    }
    let record = Record::new(SequenceNumber::from(7), "ann", r#"{"name":"x"}"#, 1);
    assert_eq!(record.json::<Name<'_>>().unwrap().name, "x");
    let error: DecodeError = record.json::<Order>().unwrap_err();
    assert_eq!(error.sequence_number(), SequenceNumber::from(7));
    assert_eq!(error.to_string(), "record 7 with partition key `ann` (12 bytes) cannot be decoded");
    let decoder = |record: &Record| Ok(std::str::from_utf8(record.data())?.len());
    assert_eq!(record.decode(&decoder).unwrap(), 12);
}

/// What a failing call says.
async fn failure(running: &Running) -> (HandlerFailure, Option<SequenceNumber>) {
    let mut events = running.handle.events();
    loop {
        if let Event {
            kind: EventKind::HandlerFailed { call: HandlerCall::Process, failure, first, .. },
            ..
        } = events.recv().await.unwrap()
        {
            return (failure, first);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c1_a_record_that_is_not_the_value_is_a_failure_and_not_passed() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let running =
        Running::start(builder(&stream, store.clone(), "w").for_each_json(move |order: Order, record| {
            log.lock().unwrap().push((order.id, record.sequence_number));
            async { Ok(()) }
        }))
        .await;
    stream.put_all(0, &[r#"{"id":1}"#, r#"{"id":"#, r#"{"id":3}"#]);
    let (failure, first) = failure(&running).await;
    let HandlerFailure::Error(text) = failure else { panic!("{failure:?}") };
    let named =
        "record 2 with partition key `{\"id\":` (6 bytes) cannot be decoded: EOF while parsing a value";
    assert!(text.starts_with(named), "{text}");
    assert_eq!(first, Some(SequenceNumber::from(2)));
    let before_it = after(1);
    until_leases(&store, |rows| rows[0].position == before_it).await;
    running.stop().await;
    assert_eq!(*seen.lock().unwrap(), [(1, SequenceNumber::from(1))], "nothing after it was handled");
    assert_eq!(position(&store, &shard_id(0)).await, before_it);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_decoded_whole_or_names_the_record() {
    let (stream, store) = (Stream::new(1), MemoryStore::new());
    stream.put_all(0, &["1", "2", "x", "4"]);
    let running = Running::start(builder(&stream, store, "w").for_each_batch(|batch| async move {
        batch.json::<u32>()?;
        Ok(())
    }))
    .await;
    let (failure, first) = failure(&running).await;
    assert_eq!(first, Some(SequenceNumber::from(1)), "the batch begins there");
    assert!(failure.to_string().starts_with("record 3 with partition key `x` (1 bytes)"), "{failure}");
    running.stop().await;
}

//! The span of each batch. Each test in a process of its own: whether a span is on is kept for the whole process, and a
//! subscriber that comes while it is worked out elsewhere may be left out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use rokini::lease::MemoryStore;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::child;
use crate::harness::{Log, Running, builder, failure};
use crate::stream::Stream;

type Fields = BTreeMap<&'static str, String>;

/// Collects spans, and messages with the span they are in.
#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    spans: Vec<Fields>,
    entered: Vec<u64>,
    messages: Vec<(Level, String, Option<u64>)>,
}

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Collected {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rokini") || metadata.target().starts_with("it::spans")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        attributes.record(&mut Visitor(&mut fields));
        let mut state = self.0.lock().unwrap();
        state.spans.push(fields);
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let index = usize::try_from(span.into_u64()).unwrap() - 1;
        values.record(&mut Visitor(&mut self.0.lock().unwrap().spans[index]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Visitor(&mut fields));
        let mut state = self.0.lock().unwrap();
        let inside = state.entered.last().copied();
        let message = fields.remove("message").unwrap_or_default();
        state.messages.push((*event.metadata().level(), message, inside));
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }
}

#[test]
fn each_batch_has_a_span_in_which_its_handler_runs() {
    child::passes("spans::child_collects_spans");
}

#[test]
#[ignore = "run by the other as a child"]
fn child_collects_spans() {
    let collected = Collected::default();
    let _guard = tracing::subscriber::set_default(collected.clone());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let epoch = Arc::new(OnceLock::new());
    runtime.block_on(async {
        let (stream, log) = (Stream::new(1), Log::default());
        stream.put_all(0, &["a", "b", "c"]);
        let builder = builder(&stream, MemoryStore::new(), "w").for_each_batch({
            let (log, epoch) = (log.clone(), Arc::clone(&epoch));
            move |batch| {
                log.add(&batch);
                assert_eq!(*epoch.get_or_init(|| batch.epoch()), batch.epoch());
                async move {
                    assert!(!batch.span().is_disabled());
                    tracing::info!("in the handler");
                    if batch.attempt() == 1 { failure("no") } else { Ok(()) }
                }
            }
        });
        let running = Running::start(builder).await;
        log.until_count(6).await;
        running.stop().await;
    });
    let state = collected.0.lock().unwrap();
    assert_eq!(state.spans.len(), 2, "{:?}", state.spans);
    let mut expected: Fields = [
        ("otel.name", "process orders"),
        ("otel.kind", "consumer"),
        ("otel.status_code", "ERROR"),
        ("messaging.system", "aws_kinesis"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "orders"),
        ("messaging.destination.partition.id", "shard-0"),
        ("messaging.consumer.group.name", "g"),
        ("messaging.client.id", "w"),
        ("messaging.batch.message_count", "3"),
        ("rokini.epoch", &epoch.get().unwrap().to_string()),
        ("rokini.attempt", "1"),
        ("rokini.sequence.first", "1"),
        ("rokini.sequence.last", "3"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    assert_eq!(state.spans[0], expected);
    expected.remove("otel.status_code");
    expected.insert("rokini.attempt", "2".to_owned());
    assert_eq!(state.spans[1], expected);
    let said: Vec<_> = state.messages.iter().filter(|(_, text, _)| text == "in the handler").collect();
    assert_eq!(said.iter().map(|(.., span)| *span).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn each_record_has_a_span_where_user_code_sees_records_one_by_one() {
    child::passes("spans::child_collects_spans_of_records");
}

#[test]
#[ignore = "run by the other as a child"]
fn child_collects_spans_of_records() {
    let collected = Collected::default();
    let _guard = tracing::subscriber::set_default(collected.clone());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stream = Stream::new(1);
        stream.put_all(0, &["a", "b", "c"]);
        let (calls, mut called) = tokio::sync::watch::channel(0);
        let builder = builder(&stream, MemoryStore::new(), "w").for_each(move |record| {
            tracing::info!("the handler begins");
            calls.send_modify(|calls| *calls += 1);
            let calls = *calls.borrow();
            async move {
                tracing::info!("in the handler");
                if calls == 2 { failure(&format!("no {:?}", record.data())) } else { Ok(()) }
            }
        });
        let running = Running::start(builder).await;
        called.wait_for(|calls| *calls == 4).await.unwrap();
        running.stop().await;
    });
    let state = collected.0.lock().unwrap();
    let of = |name| state.spans.iter().map(|span| span.get(name).map(String::as_str)).collect::<Vec<_>>();
    assert_eq!(of("rokini.sequence.first"), [Some("1"), Some("2"), Some("2"), Some("3")]);
    assert_eq!(of("rokini.sequence.last"), of("rokini.sequence.first"));
    assert_eq!(of("rokini.attempt"), [Some("1"), Some("1"), Some("2"), Some("1")]);
    assert_eq!(of("otel.status_code"), [None, Some("ERROR"), None, None]);
    for words in ["the handler begins", "in the handler"] {
        let said = state.messages.iter().filter(|(_, text, _)| text == words);
        let spans: Vec<_> = said.map(|(.., span)| *span).collect();
        assert_eq!(spans, [Some(1), Some(2), Some(3), Some(4)], "{words}");
    }
}

#[test]
fn o5_steady_state_is_silent_at_info_and_spans_are_off_where_nobody_collects_them() {
    child::passes("spans::child_collects_late");
}

#[test]
#[ignore = "run by the other as a child"]
fn child_collects_late() {
    let collected = Collected::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (stream, log) = (Stream::new(2), Log::default());
        let builder = builder(&stream, MemoryStore::new(), "w").for_each_batch({
            let log = log.clone();
            move |batch| {
                log.add(&batch);
                async { Ok(()) }
            }
        });
        let running = Running::start(builder).await;
        stream.put_each(2, "before");
        log.until_count(2).await;
        let guard = tracing::subscriber::set_default(collected.clone());
        for round in 0..60 {
            stream.put_each(2, &round.to_string());
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        drop(guard);
        assert_eq!(log.seen().len(), 122);
        running.stop().await;
    });
    let state = collected.0.lock().unwrap();
    let loud: Vec<_> = state.messages.iter().filter(|(level, ..)| *level <= Level::INFO).collect();
    assert!(loud.is_empty(), "{loud:?}");
    assert_eq!(state.spans.len(), 120);
}

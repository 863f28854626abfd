//! Where events arise.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use rokini_lease::{LeaseKey, ShardId, StreamId, WallClock, supervise};

use super::event::Event;
use super::table::EventKind;

/// Takes every event of a consumer, in the order in which they happen. It is called where they happen, so it must not
/// wait.
pub(crate) trait EventSink: fmt::Debug + Send + Sync {
    fn event(&self, event: &Event);
}

/// Gives events to the sinks, one after the other. Clones give to the same.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    clock: WallClock,
    sinks: Arc<[Arc<dyn EventSink>]>,
}

impl Events {
    pub(crate) fn new(clock: WallClock, sinks: impl IntoIterator<Item = Arc<dyn EventSink>>) -> Self {
        Self { clock, sinks: sinks.into_iter().collect() }
    }

    /// Emits what is about the whole worker.
    pub(crate) fn emit(&self, kind: EventKind) {
        self.send(None, None, kind);
    }

    pub(crate) fn emit_for_stream(&self, stream: &StreamId, kind: EventKind) {
        self.send(Some(stream), None, kind);
    }

    pub(crate) fn emit_for_shard(&self, key: &LeaseKey, kind: EventKind) {
        self.send(Some(&key.stream), Some(&key.shard), kind);
    }

    fn send(&self, stream: Option<&StreamId>, shard: Option<&ShardId>, kind: EventKind) {
        let (stream, shard) = (stream.cloned(), shard.cloned());
        let event = Event { at_millis: self.clock.millis(), stream, shard, kind };
        self.sinks.iter().for_each(|sink| sink.event(&event));
    }

    /// Runs a background task until it ends, and anew after each panic, which is an event.
    pub(crate) async fn supervise<K, T>(
        self,
        task: &'static str,
        kept: K,
        run: impl for<'a> Fn(&'a mut K) -> BoxFuture<'a, T>,
    ) -> T {
        supervise(kept, run, |error| self.emit(EventKind::TaskRestarted { task, error })).await
    }

    /// The same for what is about one shard.
    pub(crate) fn of_shard(&self, key: LeaseKey) -> ShardEvents {
        ShardEvents { events: self.clone(), key }
    }
}

/// Emits what is about one shard.
#[derive(Debug, Clone)]
pub(crate) struct ShardEvents {
    events: Events,
    key: LeaseKey,
}

impl ShardEvents {
    /// As [`Events::supervise`].
    pub(crate) async fn supervise<K, T>(
        self,
        task: &'static str,
        kept: K,
        run: impl for<'a> Fn(&'a mut K) -> BoxFuture<'a, T>,
    ) -> T {
        self.events.supervise(task, kept, run).await
    }

    pub(crate) fn emit(&self, kind: EventKind) {
        self.events.emit_for_shard(&self.key, kind);
    }
}

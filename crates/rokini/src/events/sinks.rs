//! Where every event goes: the log and whoever subscribed.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rokini_lease::{ShardId, StreamId};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::emitter::EventSink;
use super::event::Event;
use super::table::{EventCode, EventKind, write_line};
use crate::config::Monitoring;
use crate::types::log_limiter::LogLimiter;
use crate::types::stall::StallCause;

/// Events a slow subscriber may be behind before it misses some.
const KEPT: usize = 1024;

/// What a limited line is about.
type Subject = (EventCode, Option<StreamId>, Option<ShardId>, Option<Detail>);

/// What else tells one line from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Service(Monitoring),
    Cause(StallCause),
}

impl Detail {
    fn of(kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::ExportFailed { service, .. } => Some(Self::Service(*service)),
            EventKind::ShardStalled { cause, .. } => Some(Self::Cause(*cause)),
            _ => None,
        }
    }
}

/// Writes a line for each event: the normal course at DEBUG, what needs attention as WARN. A failure that
/// is retried gets one line in a while, with the number of those held back.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Those of a shard are dropped when it leaves this worker.
    limits: Mutex<BTreeMap<Subject, LogLimiter>>,
}

impl EventSink for Log {
    fn event(&self, event: &Event) {
        let code = event.kind.code();
        let mut limits = self.limits.lock();
        if matches!(code, EventCode::HandedOver | EventCode::LeaseLost | EventCode::ShardEnded) {
            limits.retain(|(_, stream, shard, _), _| (stream, shard) != (&event.stream, &event.shard));
        }
        if !code.is_limited() {
            drop(limits);
            return write_line(&event.kind, event.stream.as_ref(), event.shard.as_ref(), None);
        }
        let subject = (code, event.stream.clone(), event.shard.clone(), Detail::of(&event.kind));
        let more = limits.entry(subject).or_default().allow(Instant::now());
        drop(limits);
        if more.is_some() {
            write_line(&event.kind, event.stream.as_ref(), event.shard.as_ref(), more);
        }
    }
}

/// Those who subscribed.
#[derive(Debug)]
pub(crate) struct Subscribers(broadcast::Sender<Event>);

impl Default for Subscribers {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Subscribers {
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}

impl EventSink for Subscribers {
    fn event(&self, event: &Event) {
        if self.0.receiver_count() > 0 {
            // Whoever listened may be gone meanwhile.
            let _ = self.0.send(event.clone());
        }
    }
}

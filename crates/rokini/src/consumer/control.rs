//! What a consumer and its handles share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::shutdown_report::{ShardReport, ShutdownReport};
use super::sources::Sources;
use crate::catalog::leases::Catalog;
use crate::catalog::streams::Streams;
use crate::config::ConsumerConfig;
use crate::events::emitter::Events;
use crate::events::sinks::Subscribers;
use crate::events::table::EventKind;
use crate::shard::worker_state::WorkerState;
use crate::telemetry::monitor::Monitor;
use crate::types::phase::ConsumerPhase;

/// When a consumer is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
}

pub(crate) struct Control {
    pub(super) config: ConsumerConfig,
    pub(super) sources: Sources,
    pub(super) catalog: Arc<Catalog>,
    pub(super) streams: Arc<Streams>,
    pub(super) worker: Arc<WorkerState>,
    pub(super) events: Events,
    pub(super) subscribers: Arc<Subscribers>,
    pub(super) monitor: Arc<Monitor>,
    /// Whether this worker is paused.
    pub(super) paused: watch::Sender<bool>,
    pub(super) stop: watch::Sender<Option<Stop>>,
    pub(super) report: watch::Sender<Option<ShutdownReport>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("phase", &self.worker.phase()).finish_non_exhaustive()
    }
}

impl Control {
    /// Waits for a first or an earlier order to stop.
    pub(super) async fn stop_after(&self, known: Option<Stop>) -> Stop {
        let mut stop = self.stop.subscribe();
        let changed = stop.wait_for(|stop| stop.is_some() && *stop != known).await.map(|stop| *stop);
        match changed {
            Ok(Some(stop)) => stop,
            // The sender lives in `self`.
            _ => std::future::pending().await,
        }
    }

    /// The consumer is over. The first report stays.
    pub(super) fn finished(&self, report: ShutdownReport) {
        self.worker.set_phase(ConsumerPhase::Stopped);
        let first = self.report.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(report);
            is_first
        });
        if first {
            self.events.emit(EventKind::Stopped);
        }
    }

    pub(super) fn unfinished(&self) -> ShutdownReport {
        let shards = self.worker.shards().values().map(|shard| ShardReport::unfinished(shard)).collect();
        let took = self.stop.borrow().map_or(Duration::ZERO, |stop| stop.begun.elapsed());
        ShutdownReport { shards, took }
    }
}

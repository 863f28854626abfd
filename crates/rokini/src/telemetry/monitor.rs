//! What is known of a worker as it was sampled last: for its handle, its probes and its scrapers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::consumer_metrics::ConsumerMetrics;
use super::health::{Health, HealthFacts};
use super::scale::Scale;
use crate::config::Settings;
use crate::shard::worker_state::WorkerState;
use crate::types::phase::Phase;

#[derive(Debug)]
pub(crate) struct Monitor {
    worker: Arc<WorkerState>,
    metrics: Arc<ConsumerMetrics>,
    /// Whether the metrics may be scraped.
    scraped: bool,
    last: Mutex<WorkerSnapshot>,
}

/// A worker at one time.
#[derive(Debug, Clone)]
pub(super) struct WorkerSnapshot {
    pub(super) at: Instant,
    pub(super) facts: HealthFacts,
    pub(super) scale: Scale,
}

impl Monitor {
    pub(crate) fn new(worker: Arc<WorkerState>, metrics: Arc<ConsumerMetrics>, settings: &Settings) -> Self {
        let (at, facts, scale) = (Instant::now(), HealthFacts::default(), Scale::default());
        let last = Mutex::new(WorkerSnapshot { at, facts, scale });
        let scraped = settings.monitoring.iter().any(|service| service.name() == "prometheus");
        Self { worker, metrics, scraped, last }
    }

    fn last(&self) -> WorkerSnapshot {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, snapshot: WorkerSnapshot) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// The health by the last sample, and by how long ago that was.
    pub(crate) fn health(&self) -> Health {
        let (last, phase) = (self.last(), self.worker.phase());
        let unseen = match phase {
            Phase::Created | Phase::Stopped => Duration::ZERO,
            _ => last.at.elapsed(),
        };
        Health::judge(&HealthFacts { phase, unseen, ..last.facts })
    }

    pub(crate) fn scale(&self) -> Scale {
        self.last().scale
    }

    /// The metrics as Prometheus scrapes them; `None` unless that is wanted.
    #[cfg(feature = "prometheus")]
    pub(crate) fn prometheus(&self) -> Option<String> {
        let registry = self.metrics.registry().filter(|_| self.scraped)?;
        self.worker.flush_observers();
        Some(super::prometheus::render(registry))
    }
}

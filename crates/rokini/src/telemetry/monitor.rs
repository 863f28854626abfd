//! What is known of a worker as it was sampled last: for its handle, its probes and its scrapers.

#[cfg(feature = "page")]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
#[cfg(feature = "page")]
use rokini_lease::LeaseKey;
use tokio::time::Instant;

use super::consumer_metrics::ConsumerMetrics;
use super::health::{Health, HealthFacts};
use super::scale::ScalingRecommendation;
use crate::config::{Monitoring, Settings};
use crate::shard::worker_state::WorkerState;
use crate::types::phase::ConsumerPhase;
#[cfg(feature = "page")]
use crate::types::stall::StallCause;

#[derive(Debug)]
pub(crate) struct Monitor {
    worker: Arc<WorkerState>,
    /// The metrics, where they may be scraped.
    #[cfg_attr(not(feature = "prometheus"), expect(dead_code, reason = "nothing can be scraped"))]
    scraped: Option<Arc<ConsumerMetrics>>,
    last: Mutex<WorkerSnapshot>,
}

/// A worker at one time.
#[derive(Debug, Clone)]
pub(super) struct WorkerSnapshot {
    pub(super) at: Instant,
    pub(super) facts: HealthFacts,
    pub(super) scale: ScalingRecommendation,
}

impl Monitor {
    pub(crate) fn new(worker: Arc<WorkerState>, metrics: Arc<ConsumerMetrics>, settings: &Settings) -> Self {
        let (at, facts, scale) = (Instant::now(), HealthFacts::default(), ScalingRecommendation::default());
        let last = Mutex::new(WorkerSnapshot { at, facts, scale });
        let is_scraped = settings.monitoring.contains(&Monitoring::Prometheus);
        Self { worker, scraped: is_scraped.then_some(metrics), last }
    }

    pub(super) fn set(&self, snapshot: WorkerSnapshot) {
        *self.last.lock() = snapshot;
    }

    /// The health by the last sample, and by how long ago that was.
    pub(crate) fn health(&self) -> Health {
        let (last, phase) = (self.last.lock().clone(), self.worker.phase());
        let unseen = match phase {
            ConsumerPhase::Created | ConsumerPhase::Stopped => Duration::ZERO,
            _ => last.at.elapsed(),
        };
        Health::judge(&HealthFacts { phase, unseen, ..last.facts })
    }

    /// The shards of this worker that make no progress, and why, as sampled last.
    #[cfg(feature = "page")]
    pub(super) fn stalled(&self) -> BTreeMap<LeaseKey, (StallCause, Duration)> {
        let last = self.last.lock();
        last.facts.stalled.iter().map(|shard| (shard.key.clone(), (shard.cause, shard.lasting))).collect()
    }

    pub(crate) fn scale(&self) -> ScalingRecommendation {
        self.last.lock().clone().scale
    }

    /// The metrics as Prometheus scrapes them; `None` unless that is wanted.
    #[cfg(feature = "prometheus")]
    pub(crate) fn prometheus(&self) -> Option<String> {
        let registry = self.scraped.as_ref()?.registry()?;
        self.worker.flush_observers();
        Some(super::prometheus::render(registry))
    }
}

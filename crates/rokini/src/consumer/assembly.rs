//! Puts the rooms of a consumer together.

use std::sync::Arc;

use rand::rngs::StdRng;
use rokini_lease::{GroupId, LeaseStore, WallClock};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::control::Control;
use super::run::Runner;
use super::sources::Sources;
use crate::aws::{HttpOptions, SdkConfig};
use crate::catalog::leases::Catalog;
use crate::catalog::registration::Registration;
use crate::catalog::streams::Streams;
use crate::config::ConsumerConfig;
use crate::dead_letter::DeadLetterSink;
use crate::events::emitter::Events;
use crate::events::sinks::{Log, Subscribers};
use crate::processor::factory::Factory;
use crate::shard::budget::ByteBudget;
use crate::shard::resources::{ShardResources, ShardSettings};
use crate::shard::worker_state::WorkerState;
use crate::telemetry::consumer_metrics::ConsumerMetrics;
use crate::telemetry::exporters::exporters;
use crate::telemetry::handler_stats::{HandlerMetrics, HandlerStatsSource};
use crate::telemetry::monitor::Monitor;
use crate::telemetry::page::{Page, RecentEvents};
use crate::telemetry::recorders::Recorders;
use crate::telemetry::registry::Registry;
use crate::telemetry::sampler::{Observed, Sampler};
use crate::telemetry::unowned_lag::{UnownedLags, UnownedReader};
use crate::types::error::Error;

/// What a builder has found complete.
pub(super) struct Parts {
    pub(super) config: ConsumerConfig,
    pub(super) group: GroupId,
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) sources: Sources,
    pub(super) factory: Factory,
    pub(super) dead_letter: Option<Arc<dyn DeadLetterSink>>,
    /// How the group spreads its leases.
    pub(super) policy: rokini_lease::AssignmentPolicy,
    pub(super) recorders: Recorders,
    pub(super) handler_stats: Option<HandlerStatsSource>,
    pub(super) aws: Option<SdkConfig>,
    pub(super) http: HttpOptions,
    pub(super) clock: WallClock,
    pub(super) rng: StdRng,
}

/// To be called in a runtime.
pub(super) fn assemble(parts: Parts) -> Result<Runner, Error> {
    let Parts {
        config,
        group,
        store,
        sources,
        factory,
        dead_letter,
        policy,
        recorders,
        handler_stats,
        aws,
        http,
        clock,
        rng,
    } = parts;
    let registry = (!config.monitoring.is_empty()).then(Arc::<Registry>::default);
    let exporters = exporters(&config, registry.as_ref(), aws.as_ref(), &http, &group, clock.millis())?;
    let metrics = ConsumerMetrics::new(&group, registry, recorders, config.metrics_shard_label);
    let (metrics, subscribers) = (Arc::new(metrics), Arc::<Subscribers>::default());
    // Subscribers last: what they see is logged and counted already.
    let mut sinks = vec![Arc::new(Log::default()) as _, Arc::clone(&metrics) as _];
    let page = RecentEvents::wanted(&config)?;
    sinks.extend(page.clone().map(|recent| recent as _));
    sinks.push(Arc::clone(&subscribers) as _);
    let events = Events::new(clock.clone(), sinks);
    let (start, ignore_order) = (config.start, config.ignore_shard_order);
    let registration = Registration::new(&config);
    let catalog =
        Arc::new(Catalog { store, group, events: events.clone(), start, registration, ignore_order });
    let (streams, worker) = (Arc::<Streams>::default(), Arc::<WorkerState>::default());
    let monitor = Arc::new(Monitor::new(Arc::clone(&worker), Arc::clone(&metrics), &config));
    let page = page.map(|recent| {
        let (worker, monitor) = (Arc::clone(&worker), Arc::clone(&monitor));
        let group = (catalog.group.clone(), Arc::clone(&catalog.store));
        Arc::new(Page::new(group, worker, monitor, clock.clone(), recent))
    });
    let paused = watch::Sender::new(false);
    let budget = ByteBudget::new(config.memory_budget.get());
    let resources = Arc::new(ShardResources {
        settings: ShardSettings::new(&config, factory.one_by_one),
        catalog: Arc::clone(&catalog),
        factory,
        dead_letter,
        budget: Arc::clone(&budget),
        clock: clock.clone(),
        tracker: TaskTracker::new(),
        paused: paused.subscribe(),
    });
    let unowned = UnownedReader {
        lags: Arc::<UnownedLags>::default(),
        catalog: Arc::clone(&catalog),
        streams: Arc::clone(&streams),
        worker: Arc::clone(&worker),
    };
    let sampler = Sampler::new(Observed {
        settings: (*config).clone(),
        clock,
        worker: Arc::clone(&worker),
        streams: Arc::clone(&streams),
        unowned: Arc::clone(&unowned.lags),
        budget,
        events: events.clone(),
        metrics: Arc::clone(&metrics),
        monitor: Arc::clone(&monitor),
        handler: handler_stats.map(HandlerMetrics::new),
    });
    let control = Arc::new(Control {
        config,
        sources,
        catalog,
        streams,
        worker,
        events,
        subscribers,
        monitor,
        paused,
        stop: watch::Sender::new(None),
        report: watch::Sender::new(None),
    });
    Ok(Runner { control, resources, metrics, policy, sampler, unowned, exporters, page, rng })
}

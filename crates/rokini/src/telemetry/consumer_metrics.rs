//! The metrics of one consumer: the series of its shards, streams and codes, counted from events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Label, SharedString};
use parking_lot::Mutex;
use rokini_lease::{GroupId, LeaseKey, ShardId, StreamId, WorkerName};
use tokio::time::Instant;

use super::buffered_metrics::BufferedMetrics;
use super::meter::{Series, ShardValues};
use super::metric::{Metric, MetricKind, MetricScope};
use super::recorders::Recorders;
use super::registry::Registry;
use crate::events::emitter::EventSink;
use crate::events::event::Event;
use crate::events::table::{EventCode, EventKind};
use crate::shard::observer::ShardObserver;
use crate::types::error::ErrorKind;

/// How long the counts of a shard that left are kept, so that whoever collects them sees the last of them.
const KEPT_AFTER_LEAVING: Duration = Duration::from_secs(5 * 60);

/// The metrics of one consumer. Costs next to nothing where nobody wants any.
#[derive(Debug)]
pub(crate) struct ConsumerMetrics {
    group: SharedString,
    registry: Option<Arc<Registry>>,
    recorders: Recorders,
    shard_label: bool,
    meters: Mutex<Meters>,
}

#[derive(Debug, Default)]
struct Meters {
    worker: Option<(SharedString, Arc<Series>)>,
    /// Events before the worker had a name.
    early: Vec<EventCode>,
    codes: BTreeMap<EventCode, Series>,
    streams: BTreeMap<StreamId, Arc<Series>>,
    shards: BTreeMap<LeaseKey, Shard>,
    /// Gauges by shard, or by stream where shards have no label.
    gauges: BTreeMap<Place, Series>,
}

type Place = (StreamId, Option<ShardId>);

#[derive(Debug)]
struct Shard {
    /// What is counted for it.
    counts: Arc<Series>,
    left: Option<Instant>,
}

impl ConsumerMetrics {
    pub(crate) fn new(
        group: &GroupId,
        registry: Option<Arc<Registry>>,
        mut recorders: Recorders,
        shard_label: bool,
    ) -> Self {
        if let Some(registry) = &registry {
            recorders.add(Arc::clone(registry) as _);
        }
        let group = SharedString::from(group.as_str().to_owned());
        Self { group, registry, recorders, shard_label, meters: Mutex::default() }
    }

    /// The numbers, where a service of this library collects them.
    #[cfg(feature = "prometheus")]
    pub(crate) fn registry(&self) -> Option<&Arc<Registry>> {
        self.registry.as_ref()
    }

    /// The labels of a series, in the order of [`Metric::labels`].
    fn labels(
        &self,
        worker: &SharedString,
        stream: Option<&StreamId>,
        shard: Option<&ShardId>,
    ) -> Vec<Label> {
        let mut labels = Vec::with_capacity(4);
        labels.push(Label::new("group", self.group.clone()));
        if let Some(stream) = stream {
            labels.push(Label::new("stream", stream_label(stream).to_owned()));
        }
        if let Some(shard) = shard.filter(|_| self.shard_label) {
            labels.push(Label::new("shard", shard.as_str().to_owned()));
        }
        labels.push(Label::new("worker", worker.clone()));
        labels
    }

    /// The worker has a name, and with it its series.
    fn joined(&self, meters: &mut Meters, name: &WorkerName) {
        if meters.worker.as_ref().is_some_and(|(known, _)| **known == *name.as_str()) {
            return;
        }
        // A name made up anew: what was counted under the old one has ended.
        if meters.worker.is_some()
            && let Some(registry) = &self.registry
        {
            registry.clear();
        }
        let early = std::mem::take(&mut meters.early);
        let name = SharedString::from(name.as_str().to_owned());
        let labels = self.labels(&name, None, None);
        let worker = Series::new(&self.recorders, MetricScope::Worker, labels, |_| true);
        *meters = Meters { worker: Some((name, Arc::new(worker))), ..Meters::default() };
        for code in early {
            self.count(meters, code);
        }
    }

    fn count(&self, meters: &mut Meters, code: EventCode) {
        let Some((worker, _)) = &meters.worker else {
            // A start that does not succeed emits few.
            if meters.early.len() < 1_000 {
                meters.early.push(code);
            }
            return;
        };
        let series = meters.codes.entry(code).or_insert_with(|| {
            let mut labels = self.labels(worker, None, None);
            labels.push(Label::new("code", code.as_str()));
            Series::new(&self.recorders, MetricScope::Code, labels, |_| true)
        });
        series.count(Metric::Events, 1);
    }

    pub(crate) fn worker(&self) -> Option<Arc<Series>> {
        self.meters.lock().worker.as_ref().map(|(_, series)| Arc::clone(series))
    }

    fn stream_of(&self, meters: &mut Meters, stream: &StreamId) -> Option<Arc<Series>> {
        let (worker, _) = meters.worker.as_ref()?;
        let series = meters.streams.entry(stream.clone()).or_insert_with(|| {
            let labels = self.labels(worker, Some(stream), None);
            Arc::new(Series::new(&self.recorders, MetricScope::Stream, labels, |_| true))
        });
        Some(Arc::clone(series))
    }

    /// The series of a stream; `None` before the worker has a name.
    pub(crate) fn stream(&self, stream: &StreamId) -> Option<Arc<Series>> {
        self.stream_of(&mut self.meters.lock(), stream)
    }

    /// Forgets the streams that are not among these.
    pub(crate) fn keep_streams(&self, stays: impl Fn(&StreamId) -> bool) {
        let forget = |series: &Arc<Series>| {
            for gauge in [Metric::LeasesHeld, Metric::Unheld, Metric::Holes, Metric::GroupLag] {
                series.set(gauge, 0.0);
            }
            series.forget(self.registry.as_deref());
        };
        keep(&mut self.meters.lock().streams, |stream, _| stays(stream), |series| series.labels(), forget);
    }

    /// Takes the numbers of a shard that this worker has from now on.
    pub(crate) fn observer(&self, key: &LeaseKey) -> Box<dyn ShardObserver> {
        Box::new(BufferedMetrics::new(!self.recorders.is_empty(), self.shard(key)))
    }

    fn shard(&self, key: &LeaseKey) -> Arc<Series> {
        let mut meters = self.meters.lock();
        let Meters { worker, shards, .. } = &mut *meters;
        let shard = shards.entry(key.clone()).or_insert_with(|| {
            let worker = worker.as_ref().map_or(SharedString::const_str(""), |(name, _)| name.clone());
            let labels = self.labels(&worker, Some(&key.stream), Some(&key.shard));
            let is_count = |kind| kind != MetricKind::Gauge;
            let counts = Series::new(&self.recorders, MetricScope::Shard, labels, is_count);
            Shard { counts: Arc::new(counts), left: None }
        });
        shard.left = None;
        Arc::clone(&shard.counts)
    }

    /// This worker does not have the shard any more.
    pub(crate) fn left(&self, key: &LeaseKey) {
        if let Some(shard) = self.meters.lock().shards.get_mut(key) {
            shard.left = Some(Instant::now());
        }
    }

    /// Sets the gauges of the shards held, and forgets those of others.
    pub(crate) fn set_shards(&self, values: impl Iterator<Item = (LeaseKey, ShardValues)>) {
        let mut folded: BTreeMap<Place, ShardValues> = BTreeMap::new();
        for (LeaseKey { stream, shard }, values) in values {
            let place = (stream, self.shard_label.then_some(shard));
            folded.entry(place).and_modify(|known| *known = known.and(values)).or_insert(values);
        }
        let mut meters = self.meters.lock();
        let meters = &mut *meters;
        let Some((worker, _)) = &meters.worker else { return };
        for (place, values) in &folded {
            let gauges = meters.gauges.entry(place.clone()).or_insert_with(|| {
                let labels = self.labels(worker, Some(&place.0), place.1.as_ref());
                let is_gauge = |kind| kind == MetricKind::Gauge;
                Series::new(&self.recorders, MetricScope::Shard, labels, is_gauge)
            });
            values.set(gauges);
        }
        let registry = self.registry.as_deref();
        let forget = |gauges: &Series| {
            // Where a series cannot be forgotten.
            ShardValues::departed().set(gauges);
            gauges.forget(registry);
        };
        keep(&mut meters.gauges, |place, _| folded.contains_key(place), Series::labels, forget);
        let long_ago = |left: Instant| left.elapsed() >= KEPT_AFTER_LEAVING;
        let forget = |shard: &Shard| {
            if self.shard_label {
                shard.counts.forget(registry);
            }
        };
        let stays = |_: &LeaseKey, shard: &Shard| !shard.left.is_some_and(long_ago);
        keep(&mut meters.shards, stays, |shard| shard.counts.labels(), forget);
    }
}

impl EventSink for ConsumerMetrics {
    fn event(&self, event: &Event) {
        let mut meters = self.meters.lock();
        let meters = &mut *meters;
        if let EventKind::Joined { worker } = &event.kind {
            self.joined(meters, &worker.name);
        }
        self.count(meters, event.code());
        let Some(stream) = &event.stream else { return };
        if let Some(shard) = &event.shard
            && let Some(found) = meters.shards.get(&LeaseKey::new(stream.clone(), shard.clone()))
        {
            count_for_shard(&found.counts, &event.kind);
        }
        if let Some(metric) = stream_counter(&event.kind)
            && let Some(series) = self.stream_of(meters, stream)
        {
            series.count(metric, 1);
        }
    }
}

fn count_for_shard(series: &Series, kind: &EventKind) {
    let (metric, more) = match kind {
        EventKind::Checkpointed { .. } => (Metric::Checkpoints, 1),
        EventKind::CheckpointFailed { .. } => (Metric::CheckpointFailures, 1),
        EventKind::DataLoss { .. } => (Metric::DataLoss, 1),
        EventKind::AggregatesMalformed { records, .. } => (Metric::MalformedAggregates, *records),
        EventKind::ForeignUserRecords { user_records } => (Metric::ForeignUserRecords, *user_records),
        EventKind::AggregatesDropped { user_records, .. } => (Metric::DroppedUserRecords, *user_records),
        EventKind::Skipped { records, .. } => (Metric::Skipped, records.len() as u64),
        EventKind::DeadLettered { records, .. } => (Metric::DeadLettered, records.len() as u64),
        EventKind::DeadLetterFailed { .. } => (Metric::DeadLetterFailures, 1),
        EventKind::HandlerFailed { .. } => (Metric::HandlerFailures, 1),
        EventKind::ReadFailed { kind, .. } => {
            if *kind == ErrorKind::Throttled {
                series.count(Metric::Throttled, 1);
            }
            (Metric::ReadFailures, 1)
        }
        _ => return,
    };
    series.count(metric, more);
}

/// What counts such events of a stream.
fn stream_counter(kind: &EventKind) -> Option<Metric> {
    match kind {
        EventKind::ShardStarted { .. } => Some(Metric::LeasesGained),
        EventKind::HandedOver { .. } => Some(Metric::LeasesHandedOver),
        EventKind::LeaseLost { .. } => Some(Metric::LeasesLost),
        EventKind::ShardEnded { .. } => Some(Metric::ShardsEnded),
        _ => None,
    }
}

/// Keeps what stays, and forgets the series of what does not. A stream that was made again has the labels of the one
/// before it: series that others still have are left alone.
fn keep<K: Ord, M>(
    meters: &mut BTreeMap<K, M>,
    stays: impl Fn(&K, &M) -> bool,
    labels: impl Fn(&M) -> &[Label],
    forget: impl Fn(&M),
) {
    let gone: Vec<(K, M)> = meters.extract_if(.., |key, meter| !stays(key, meter)).collect();
    if gone.is_empty() {
        return;
    }
    let shared: BTreeSet<&[Label]> = meters.values().map(&labels).collect();
    gone.iter().filter(|(_, meter)| !shared.contains(labels(meter))).for_each(|(_, meter)| forget(meter));
}

/// The stream without the time of its creation.
fn stream_label(stream: &StreamId) -> &str {
    let text = stream.as_str();
    text.rsplit_once('@').map_or(text, |(name, _)| name)
}

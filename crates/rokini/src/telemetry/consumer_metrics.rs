//! The metrics of one consumer: the series of its shards, streams and codes, counted from events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Label, SharedString};
use parking_lot::Mutex;
use rokini_lease::{GroupId, LeaseKey, ShardId, StreamId, WorkerName};
use tokio::time::Instant;

use super::buffered_metrics::BufferedMetrics;
use super::metric::{Metric, MetricKind, MetricScope};
use super::recorders::Recorders;
use super::registry::Registry;
use super::series::{Series, ShardValues};
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
    handler: Option<Arc<Series>>,
    /// Events before the worker had a name.
    early: Vec<EventCode>,
    codes: BTreeMap<EventCode, Arc<Series>>,
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

    /// The worker has a name, and with it its series. Gives back the codes of the events that came before, to be counted.
    fn joined(&self, meters: &mut Meters, name: &WorkerName) -> Vec<EventCode> {
        if meters.worker.as_ref().is_some_and(|(known, _)| **known == *name.as_str()) {
            return Vec::new();
        }
        // A name made up anew: what was counted under the old one has ended.
        if let Some((_, worker)) = &meters.worker {
            worker.clear_gauges();
            meters.handler.iter().for_each(|series| series.clear_gauges());
            meters.streams.values().for_each(|series| series.clear_gauges());
            meters.gauges.values().for_each(|series| ShardValues::departed().set(series));
            if let Some(registry) = &self.registry {
                registry.clear();
            }
        }
        let early = std::mem::take(&mut meters.early);
        let name = SharedString::from(name.as_str().to_owned());
        let labels = self.labels(&name, None, None);
        let worker = Series::new(&self.recorders, MetricScope::Worker, labels, |_| true);
        *meters = Meters { worker: Some((name, Arc::new(worker))), ..Meters::default() };
        early
    }

    /// The series of a code; `None` before the worker has a name.
    fn code_of(&self, meters: &mut Meters, code: EventCode) -> Option<Arc<Series>> {
        let Some((worker, _)) = &meters.worker else {
            // A start that does not succeed emits few.
            if meters.early.len() < 1_000 {
                meters.early.push(code);
            }
            return None;
        };
        let series = meters.codes.entry(code).or_insert_with(|| {
            let mut labels = self.labels(worker, None, None);
            labels.push(Label::new("code", code.as_str()));
            Arc::new(Series::new(&self.recorders, MetricScope::Code, labels, |_| true))
        });
        Some(Arc::clone(series))
    }

    pub(crate) fn worker(&self) -> Option<Arc<Series>> {
        self.meters.lock().worker.as_ref().map(|(_, series)| Arc::clone(series))
    }

    /// The series of the processes of a handler; `None` before the worker has a name.
    pub(crate) fn handler(&self) -> Option<Arc<Series>> {
        let mut meters = self.meters.lock();
        let Meters { worker, handler, .. } = &mut *meters;
        let (worker, _) = worker.as_ref()?;
        let series = handler.get_or_insert_with(|| {
            let labels = self.labels(worker, None, None);
            Arc::new(Series::new(&self.recorders, MetricScope::Handler, labels, |_| true))
        });
        Some(Arc::clone(series))
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
            series.clear_gauges();
            series.forget(self.registry.as_deref());
        };
        keep(&mut self.meters.lock().streams, |stream, _| stays(stream), |series| series.labels(), forget);
    }

    /// Takes the numbers of a shard that this worker has from now on.
    pub(crate) fn observer(&self, key: &LeaseKey) -> Box<dyn ShardObserver> {
        let (shard, stream) = (self.shard(key), self.stream(&key.stream));
        Box::new(BufferedMetrics::new(!self.recorders.is_empty(), shard, stream))
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
        let early = match &event.kind {
            EventKind::Joined { worker } => self.joined(&mut meters, &worker.name),
            _ => Vec::new(),
        };
        let codes = early.into_iter().chain([event.code()]);
        let of_codes: Vec<_> = codes.filter_map(|code| self.code_of(&mut meters, code)).collect();
        let key = event.stream.clone().zip(event.shard.clone());
        let shard = key.and_then(|(stream, shard)| meters.shards.get(&LeaseKey::new(stream, shard)));
        let of_shard = shard.map(|shard| Arc::clone(&shard.counts));
        let counted = event.stream.as_ref().zip(stream_counter(&event.kind));
        let of_stream =
            counted.and_then(|(stream, metric)| Some((metric, self.stream_of(&mut meters, stream)?)));
        // What recorders of the application do with a number is not done under our lock.
        drop(meters);
        of_codes.iter().for_each(|series| series.count(Metric::Events, 1));
        if let Some(series) = of_shard {
            count_for_shard(&series, &event.kind);
        }
        if let Some((metric, series)) = of_stream {
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

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, Unit};

    use super::*;
    use crate::telemetry::registry::Cell;

    fn event(kind: EventKind) -> Event {
        Event { at_millis: 0, stream: None, shard: None, kind }
    }

    fn joined(name: &str) -> Event {
        event(EventKind::Joined { worker: format!("{name}#1").parse().unwrap() })
    }

    fn group() -> GroupId {
        GroupId::new("g").unwrap()
    }

    /// The last value of each gauge by its worker, and what is left in the registry.
    fn gauges(registry: &Registry) -> BTreeMap<(Metric, String), f64> {
        let of = |(metric, series): (Metric, Vec<(Key, Cell)>)| {
            series.into_iter().filter_map(move |(key, cell)| match cell {
                Cell::Gauge(bits) => {
                    let worker = key.labels().find(|label| label.key() == "worker").unwrap();
                    let value = f64::from_bits(bits.load(std::sync::atomic::Ordering::Relaxed));
                    Some(((metric, worker.value().to_owned()), value))
                }
                _ => None,
            })
        };
        registry.snapshot().into_iter().flat_map(of).collect()
    }

    #[test]
    fn series_of_a_name_that_was_made_up_end_with_it() {
        let (own, of_application) = (Arc::new(Registry::default()), Arc::new(Registry::default()));
        let mut recorders = Recorders::default();
        recorders.add(Arc::clone(&of_application) as _);
        let metrics = ConsumerMetrics::new(&group(), Some(Arc::clone(&own)), recorders, true);
        let key: LeaseKey = "orders@1#shardId-000000000000".parse().unwrap();
        let set = |name: &str| {
            metrics.event(&joined(name));
            metrics.worker().unwrap().set(Metric::Ready, 1.0);
            metrics.stream(&key.stream).unwrap().set(Metric::GroupLag, 7.0);
            let values = ShardValues { lag: 7.0, stalled: 1.0, ..ShardValues::default() };
            metrics.set_shards([(key.clone(), values)].into_iter());
        };
        set("first");
        set("second");
        let of = |name: &str, metric| (metric, name.to_owned());
        let own = gauges(&own);
        assert!(own.keys().all(|(_, worker)| worker == "second"), "{own:?}");
        let kept = gauges(&of_application);
        for metric in [Metric::Ready, Metric::GroupLag, Metric::Lag, Metric::Stalled] {
            assert_eq!(kept[&of("first", metric)], 0.0, "{metric:?}: nobody of that name is there");
            assert!(kept[&of("second", metric)] > 0.0, "{metric:?}");
        }
    }

    /// A recorder that asks the consumer something whenever it gets a number.
    #[derive(Default)]
    struct Curious(Arc<OnceLock<Arc<ConsumerMetrics>>>);

    impl CounterFn for Curious {
        fn increment(&self, _: u64) {
            let metrics = self.0.get().unwrap();
            assert!(metrics.meters.try_lock().is_some(), "called under a lock");
        }

        fn absolute(&self, _: u64) {}
    }

    impl Recorder for Curious {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Self(Arc::clone(&self.0))))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn events_are_counted_without_a_lock() {
        let curious = Curious::default();
        let known = Arc::clone(&curious.0);
        let mut recorders = Recorders::default();
        recorders.add(Arc::new(curious) as _);
        let metrics = Arc::new(ConsumerMetrics::new(&group(), None, recorders, true));
        known.set(Arc::clone(&metrics)).unwrap();
        let key: LeaseKey = "orders@1#shardId-000000000000".parse().unwrap();
        metrics.event(&joined("w"));
        let _observer = metrics.observer(&key);
        let ended = EventKind::Checkpointed { position: rokini_lease::Position::ShardEnd };
        let of_shard =
            |kind| Event { stream: Some(key.stream.clone()), shard: Some(key.shard.clone()), ..event(kind) };
        metrics.event(&of_shard(ended));
        metrics.event(&of_shard(EventKind::ShardEnded { children: Vec::new() }));
    }
}

//! The metrics of one consumer: the series of its shards, streams and codes, counted from events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Label, SharedString};
use rokini_lease::{GroupId, LeaseKey, ShardId, StreamId, WorkerName};
use tokio::time::Instant;

use super::buffered_metrics::BufferedMetrics;
use super::meter::{ShardGauges, ShardMeter, ShardValues, StreamMeter, WorkerMeter};
use super::metric::Metric;
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
    worker: Option<(SharedString, Arc<WorkerMeter>)>,
    /// Events before the worker had a name.
    early: Vec<EventCode>,
    codes: BTreeMap<EventCode, Counter>,
    streams: BTreeMap<StreamId, Arc<StreamMeter>>,
    shards: BTreeMap<LeaseKey, Shard>,
    /// By shard, or by stream where shards have no label.
    gauges: BTreeMap<Place, ShardGauges>,
}

type Place = (StreamId, Option<ShardId>);

#[derive(Debug)]
struct Shard {
    meter: Arc<ShardMeter>,
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

    fn meters(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
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
        let worker = WorkerMeter::new(&self.recorders, &labels);
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
        let counter = meters.codes.entry(code).or_insert_with(|| {
            let mut labels = self.labels(worker, None, None);
            labels.push(Label::new("code", code.as_str()));
            self.recorders.counter(Metric::Events, &labels)
        });
        counter.increment(1);
    }

    pub(crate) fn worker(&self) -> Option<Arc<WorkerMeter>> {
        self.meters().worker.as_ref().map(|(_, meter)| Arc::clone(meter))
    }

    fn stream_of(&self, meters: &mut Meters, stream: &StreamId) -> Option<Arc<StreamMeter>> {
        let (worker, _) = meters.worker.as_ref()?;
        if let Some(meter) = meters.streams.get(stream) {
            return Some(Arc::clone(meter));
        }
        let meter = Arc::new(StreamMeter::new(&self.recorders, self.labels(worker, Some(stream), None)));
        meters.streams.insert(stream.clone(), Arc::clone(&meter));
        Some(meter)
    }

    /// The handles of a stream; `None` before the worker has a name.
    pub(crate) fn stream(&self, stream: &StreamId) -> Option<Arc<StreamMeter>> {
        self.stream_of(&mut self.meters(), stream)
    }

    /// Forgets the streams that are not among these.
    pub(crate) fn keep_streams(&self, stays: impl Fn(&StreamId) -> bool) {
        let forget = |meter: &Arc<StreamMeter>| meter.forget(self.registry.as_deref());
        keep(&mut self.meters().streams, |stream, _| stays(stream), |meter| meter.labels(), forget);
    }

    /// Takes the numbers of a shard that this worker has from now on.
    pub(crate) fn observer(&self, key: &LeaseKey) -> Box<dyn ShardObserver> {
        Box::new(BufferedMetrics::new(self.shard(key)))
    }

    fn shard(&self, key: &LeaseKey) -> Arc<ShardMeter> {
        let mut meters = self.meters();
        if let Some(shard) = meters.shards.get_mut(key) {
            shard.left = None;
            return Arc::clone(&shard.meter);
        }
        let worker = meters.worker.as_ref().map_or(SharedString::const_str(""), |(name, _)| name.clone());
        let labels = self.labels(&worker, Some(&key.stream), Some(&key.shard));
        let meter = Arc::new(ShardMeter::new(&self.recorders, labels));
        meters.shards.insert(key.clone(), Shard { meter: Arc::clone(&meter), left: None });
        meter
    }

    /// This worker does not have the shard any more.
    pub(crate) fn left(&self, key: &LeaseKey) {
        if let Some(shard) = self.meters().shards.get_mut(key) {
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
        let mut meters = self.meters();
        let meters = &mut *meters;
        let Some((worker, _)) = &meters.worker else { return };
        for (place, values) in &folded {
            if let Some(gauges) = meters.gauges.get(place) {
                gauges.set(*values);
            } else {
                let labels = self.labels(worker, Some(&place.0), place.1.as_ref());
                let gauges = ShardGauges::new(&self.recorders, labels);
                gauges.set(*values);
                meters.gauges.insert(place.clone(), gauges);
            }
        }
        let registry = self.registry.as_deref();
        let stays = |place: &Place, _: &ShardGauges| folded.contains_key(place);
        keep(&mut meters.gauges, stays, ShardGauges::labels, |gauges| gauges.forget(registry));
        let long_ago = |left: Instant| left.elapsed() >= KEPT_AFTER_LEAVING;
        let stays = |_: &LeaseKey, shard: &Shard| !shard.left.is_some_and(long_ago);
        let forget = |shard: &Shard| {
            if self.shard_label {
                shard.meter.forget(registry);
            }
        };
        keep(&mut meters.shards, stays, |shard| shard.meter.labels(), forget);
    }
}

impl EventSink for ConsumerMetrics {
    fn event(&self, event: &Event) {
        let mut meters = self.meters();
        let meters = &mut *meters;
        if let EventKind::Joined { worker } = &event.kind {
            self.joined(meters, &worker.name);
        }
        self.count(meters, event.code());
        let Some(stream) = &event.stream else { return };
        if let Some(shard) = &event.shard
            && let Some(found) = meters.shards.get(&LeaseKey::new(stream.clone(), shard.clone()))
        {
            count_for_shard(&found.meter, &event.kind);
        }
        if let Some(counter) = stream_counter(&event.kind)
            && let Some(meter) = self.stream_of(meters, stream)
        {
            counter(&meter).increment(1);
        }
    }
}

fn count_for_shard(meter: &ShardMeter, kind: &EventKind) {
    match kind {
        EventKind::Checkpointed { .. } => meter.checkpoints.increment(1),
        EventKind::CheckpointFailed { .. } => meter.checkpoint_failures.increment(1),
        EventKind::DataLoss { .. } => meter.data_losses.increment(1),
        EventKind::Skipped { records, .. } => meter.skipped.increment(records.len() as u64),
        EventKind::DeadLettered { records, .. } => meter.dead_lettered.increment(records.len() as u64),
        EventKind::DeadLetterFailed { .. } => meter.dead_letter_failures.increment(1),
        EventKind::HandlerFailed { .. } => meter.handler_failures.increment(1),
        EventKind::ReadFailed { kind, .. } => {
            meter.read_failures.increment(1);
            if *kind == ErrorKind::Throttled {
                meter.throttled.increment(1);
            }
        }
        _ => {}
    }
}

/// What counts such events of a stream.
fn stream_counter(kind: &EventKind) -> Option<fn(&StreamMeter) -> &Counter> {
    match kind {
        EventKind::ShardStarted { .. } => Some(|meter| &meter.gained),
        EventKind::HandedOver { .. } => Some(|meter| &meter.handed_over),
        EventKind::LeaseLost { .. } => Some(|meter| &meter.lost),
        EventKind::ShardEnded { .. } => Some(|meter| &meter.ended),
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

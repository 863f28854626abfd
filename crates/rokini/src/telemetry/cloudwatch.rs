//! Metrics to Amazon CloudWatch: statistic sets by PutMetricData, with the KCL's names where the meaning is the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{MetricDatum, StatisticSet};
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use metrics::Key;

use super::export::Exporter;
use super::metric::Metric;
use super::registry::{Cell, Registry};
use crate::config::{Monitoring, Settings};
use crate::types::error::{Error, ErrorKind, with_causes};

mod map;

use map::{Dimension, MAPPINGS, Mapping};

/// Datums of one call (CloudWatch limit).
const DATUMS: usize = 1_000;
/// Bytes of one call before compression. CloudWatch takes 1 MB.
const BYTES: usize = 900_000;
/// Statistic sets kept while CloudWatch does not take them; beyond, the rest is dropped.
const KEPT: usize = 10_000;
const ATTEMPT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(15);
const TRIES: u32 = 3;

/// What one statistic set is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    /// The place in [`MAPPINGS`].
    mapping: usize,
    dimensions: Vec<(Dimension, String)>,
}

/// A statistic set.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    count: f64,
    sum: f64,
    least: f64,
    greatest: f64,
}

impl Stat {
    fn one(value: f64) -> Self {
        Self { count: 1.0, sum: value, least: value, greatest: value }
    }

    fn times(self, factor: f64) -> Self {
        let Self { count, sum, least, greatest } = self;
        Self { count, sum: sum * factor, least: least * factor, greatest: greatest * factor }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }
}

/// What each series had at the last collection.
#[derive(Debug, Default)]
struct Seen(BTreeMap<(Metric, Key), Last>);

/// A series as it was, with its values or their number, and their sum.
#[derive(Debug)]
struct Last {
    cell: Cell,
    count: u64,
    sum: f64,
}

impl Seen {
    /// What was recorded since the last collection. What is in the registry no more is forgotten: a series that is there
    /// again counts from 0.
    fn news(&mut self, snapshot: Vec<(Metric, Vec<(Key, Cell)>)>) -> Vec<(Metric, Key, Stat)> {
        let mut before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for (metric, series) in snapshot {
            for (key, cell) in series {
                let place = (metric, key);
                let last = before.remove(&place).filter(|last| last.cell.is(&cell));
                let (stat, last) = since(last.as_ref(), cell);
                news.extend(stat.map(|stat| (metric, place.1.clone(), stat)));
                self.0.extend(last.map(|last| (place, last)));
            }
        }
        news
    }
}

/// How many metrics, as CloudWatch bills them, a group of this shape sends at most: a name with each value of its dimensions is
/// one.
#[must_use]
pub fn cloudwatch_metrics(settings: &Settings, workers: u64, streams: u64, shards: u64) -> u64 {
    let of = |mapping: &Mapping| {
        let wanted =
            mapping.dimensions.iter().filter(|dimension| settings.cloudwatch_dimensions.contains(dimension));
        let has_shards = wanted.clone().any(|dimension| *dimension == Dimension::Shard);
        let values = wanted.map(|dimension| match dimension {
            Dimension::Operation => 1,
            Dimension::Shard => shards,
            // A shard is of one stream.
            Dimension::Stream if has_shards => 1,
            Dimension::Stream => streams,
            Dimension::Worker => workers,
        });
        values.product::<u64>()
    };
    MAPPINGS.iter().filter(|mapping| mapping.level <= settings.cloudwatch_level).map(of).sum()
}

/// What is new, and what to remember.
fn since(last: Option<&Last>, cell: Cell) -> (Option<Stat>, Option<Last>) {
    let (before, sum_before) = last.map_or((0, 0.0), |last| (last.count, last.sum));
    match &cell {
        Cell::Gauge(bits) => (Some(Stat::one(f64::from_bits(bits.load(Ordering::Relaxed)))), None),
        Cell::Counter(value) => {
            let count = value.load(Ordering::Relaxed);
            let new = count.saturating_sub(before);
            ((new > 0).then(|| Stat::one(new as f64)), Some(Last { cell, count, sum: 0.0 }))
        }
        Cell::Histogram(buckets) => {
            let (extremes, now) = (buckets.take_extremes(), buckets.read());
            let (count, sum) = (now.count(), now.sum);
            let (new, added) = (count.saturating_sub(before), sum - sum_before);
            let mean = added / new as f64;
            // A value may come between the two reads.
            let (least, greatest) = extremes.unwrap_or((mean, mean));
            let stat = (new > 0).then_some(Stat { count: new as f64, sum: added, least, greatest });
            (stat, Some(Last { cell, count, sum }))
        }
    }
}

/// Sends to one namespace.
pub(crate) struct CloudWatch {
    client: Client,
    registry: Arc<Registry>,
    namespace: String,
    settings: Settings,
    seen: Seen,
    /// To be sent.
    pending: BTreeMap<Id, Stat>,
}

impl fmt::Debug for CloudWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatch").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl CloudWatch {
    pub(crate) fn new(
        aws: &SdkConfig,
        registry: Arc<Registry>,
        group: &str,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let client = Client::new(&crate::aws::bounded(aws, ATTEMPT, TOTAL, TRIES)?);
        let namespace = settings.cloudwatch_namespace.clone().unwrap_or_else(|| group.to_owned());
        let settings = settings.clone();
        let (seen, pending) = (Seen::default(), BTreeMap::new());
        Ok(Self { client, registry, namespace, settings, seen, pending })
    }

    /// Adds what was recorded since the last collection.
    fn collect(&mut self) {
        let news = self.seen.news(self.registry.snapshot());
        for (id, stat) in statistics(news, &self.settings) {
            if let Some(known) = self.pending.get_mut(&id) {
                known.add(stat);
            } else if self.pending.len() < KEPT.max(self.seen.0.len() * 2) {
                self.pending.insert(id, stat);
            }
        }
    }

    fn datum(&self, id: &Id, stat: Stat, now_millis: u64) -> MetricDatum {
        let mapping = &MAPPINGS[id.mapping];
        let set = StatisticSet::builder()
            .sample_count(stat.count)
            .sum(stat.sum)
            .minimum(stat.least)
            .maximum(stat.greatest);
        let mut datum = MetricDatum::builder()
            .metric_name(mapping.name)
            .unit(mapping.unit())
            .timestamp(DateTime::from_millis(i64::try_from(now_millis).unwrap_or(i64::MAX)))
            .statistic_values(set.build());
        if self.settings.cloudwatch_resolution < Duration::from_secs(60) {
            datum = datum.storage_resolution(1);
        }
        for (dimension, value) in &id.dimensions {
            let dimension =
                aws_sdk_cloudwatch::types::Dimension::builder().name(dimension.kcl()).value(value);
            datum = datum.dimensions(dimension.build());
        }
        datum.build()
    }
}

/// One collection as statistic sets.
fn statistics(news: Vec<(Metric, Key, Stat)>, settings: &Settings) -> BTreeMap<Id, Stat> {
    let mut statistics: BTreeMap<Id, Stat> = BTreeMap::new();
    for (metric, key, stat) in news {
        for (place, mapping) in MAPPINGS.iter().enumerate() {
            if mapping.metric != metric || mapping.level > settings.cloudwatch_level {
                continue;
            }
            let (id, stat) = (id(place, mapping, &key, settings), stat.times(mapping.factor));
            match statistics.get_mut(&id) {
                // How many there are now: one number, of however many streams or shards.
                Some(known) if mapping.sums() => *known = Stat::one(known.sum + stat.sum),
                Some(known) => known.add(stat),
                None => _ = statistics.insert(id, stat),
            }
        }
    }
    statistics
}

fn id(place: usize, mapping: &Mapping, key: &Key, settings: &Settings) -> Id {
    let wanted = |dimension: &Dimension| settings.cloudwatch_dimensions.contains(dimension);
    let mut dimensions = Vec::new();
    for dimension in mapping.dimensions.iter().copied().filter(wanted) {
        let value = match dimension {
            Dimension::Operation => Some(mapping.operation),
            Dimension::Shard => label(key, "shard"),
            Dimension::Stream => label(key, "stream"),
            Dimension::Worker => label(key, "worker"),
        };
        dimensions.extend(value.map(|value| (dimension, value.to_owned())));
    }
    Id { mapping: place, dimensions }
}

fn label<'k>(key: &'k Key, name: &str) -> Option<&'k str> {
    key.labels().find(|label| label.key() == name).map(metrics::Label::value)
}

/// What goes into one call: whole statistic sets, within the limits.
fn batches(pending: BTreeMap<Id, Stat>) -> Vec<Vec<(Id, Stat)>> {
    let mut batches = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (id, stat) in pending {
        // Names, four numbers, a time and their frames; generous.
        let names: usize =
            id.dimensions.iter().map(|(name, value)| name.kcl().len() + value.len() + 32).sum();
        let size = 256 + names;
        if batch.len() == DATUMS || bytes + size > BYTES {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push((id, stat));
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[async_trait]
impl Exporter for CloudWatch {
    fn service(&self) -> Monitoring {
        Monitoring::CloudWatch
    }

    fn interval(&self) -> Duration {
        self.settings.cloudwatch_interval
    }

    async fn flush(&mut self, now_millis: u64) -> Result<(), Error> {
        self.collect();
        let mut failed = None;
        for batch in batches(std::mem::take(&mut self.pending)) {
            let data = batch.iter().map(|(id, stat)| self.datum(id, *stat, now_millis)).collect();
            let call = self.client.put_metric_data().namespace(&self.namespace).set_metric_data(Some(data));
            if let Err(error) = Box::pin(call.send()).await {
                let kept = batch.into_iter().filter(|(id, _)| !MAPPINGS[id.mapping].is_gauge());
                self.pending.extend(kept);
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), |error| {
            let message = format!("metrics were not sent to CloudWatch: {}", with_causes(&error));
            Err(Error::new(ErrorKind::Retry, message))
        })
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Label, Recorder};

    use super::*;

    /// How much was sent of each counter of a shard.
    fn counted(seen: &mut Seen, registry: &Registry) -> Vec<(String, f64)> {
        let news = seen.news(registry.snapshot()).into_iter();
        news.map(|(_, key, stat)| (label(&key, "shard").unwrap().to_owned(), stat.sum)).collect()
    }

    #[test]
    fn metrics_are_counted_as_they_are_billed() {
        use crate::config::{CloudWatchDimension, CloudWatchLevel};
        let mut settings = Settings::default();
        let of = |settings: &Settings, dimension: &[Dimension]| {
            let level = settings.cloudwatch_level;
            let is_one = |mapping: &&Mapping| mapping.level <= level && mapping.dimensions == dimension;
            MAPPINGS.iter().filter(is_one).count() as u64
        };
        let (shard, worker) = (of(&settings, map::SHARD), of(&settings, map::WORKER));
        let others = of(&settings, map::STREAM) + of(&settings, map::GROUP);
        assert_eq!(cloudwatch_metrics(&settings, 3, 2, 100), shard * 100 + worker * 3 + others);
        settings.cloudwatch_dimensions = [CloudWatchDimension::Operation, CloudWatchDimension::Stream].into();
        let streams = of(&settings, map::SHARD) + of(&settings, map::STREAM);
        assert_eq!(
            cloudwatch_metrics(&settings, 3, 2, 100),
            streams * 2 + of(&settings, map::WORKER) + of(&settings, map::GROUP)
        );
        settings.cloudwatch_level = CloudWatchLevel::None;
        assert_eq!(cloudwatch_metrics(&settings, 3, 2, 100), 0);
    }

    #[test]
    fn a_series_that_left_is_forgotten_and_counts_in_full_when_it_is_back() {
        let (registry, mut seen) = (Registry::default(), Seen::default());
        let metadata = metrics::Metadata::new("rokini", metrics::Level::INFO, None);
        let labels = |shard: usize| vec![Label::new("shard", shard.to_string())];
        let counter = |shard| {
            let key = Key::from_parts(Metric::RecordsProcessed.name(), labels(shard));
            registry.register_counter(&key, &metadata)
        };
        let sent = |shard: usize, count: f64| vec![(shard.to_string(), count)];
        counter(0).increment(5);
        assert_eq!(counted(&mut seen, &registry), sent(0, 5.0));
        counter(0).increment(1);
        assert_eq!(counted(&mut seen, &registry), sent(0, 1.0));
        // Back before the next collection, and with more than it had.
        registry.remove(Metric::RecordsProcessed, &labels(0));
        counter(0).increment(8);
        assert_eq!(counted(&mut seen, &registry), sent(0, 8.0));
        // Reshards go on for ever.
        for shard in 1..100 {
            registry.remove(Metric::RecordsProcessed, &labels(shard - 1));
            counter(shard).increment(1);
            assert_eq!(counted(&mut seen, &registry), sent(shard, 1.0));
            assert_eq!(seen.0.len(), 1);
        }
        // Back after a collection without it.
        registry.remove(Metric::RecordsProcessed, &labels(99));
        assert_eq!(counted(&mut seen, &registry), []);
        counter(99).increment(7);
        assert_eq!(counted(&mut seen, &registry), sent(99, 7.0));
    }

    #[test]
    fn what_a_worker_has_of_several_streams_is_one_number() {
        let (registry, mut seen) = (Registry::default(), Seen::default());
        let metadata = metrics::Metadata::new("rokini", metrics::Level::INFO, None);
        let gauge = |metric: Metric, of: [(&'static str, &'static str); 2], value: f64| {
            let labels = of.map(|(name, value)| Label::new(name, value)).to_vec();
            registry.register_gauge(&Key::from_parts(metric.name(), labels), &metadata).set(value);
        };
        for (stream, held, behind) in [("orders", 3.0, 2.0), ("returns", 4.0, 9.0)] {
            gauge(Metric::LeasesHeld, [("stream", stream), ("worker", "w")], held);
            gauge(Metric::Behind, [("stream", stream), ("shard", "0")], behind);
        }
        let mut settings = Settings::default();
        let named = |statistics: &BTreeMap<Id, Stat>, operation: &str, name: &str| -> Vec<Stat> {
            let is =
                |id: &Id| MAPPINGS[id.mapping].name == name && MAPPINGS[id.mapping].operation == operation;
            statistics.iter().filter(|(id, _)| is(id)).map(|(_, stat)| *stat).collect()
        };
        for _ in 0..2 {
            let sent = statistics(seen.news(registry.snapshot()), &settings);
            assert_eq!(named(&sent, "RenewAllLeases", "CurrentLeases"), [Stat::one(7.0)]);
            // How far each shard is behind stays what it is.
            let behind = Stat { count: 2.0, sum: 11_000.0, least: 2_000.0, greatest: 9_000.0 };
            assert_eq!(named(&sent, "ApplicationTracker", "MillisBehindLatest"), [behind]);
            settings.cloudwatch_dimensions = [Dimension::Operation].into();
        }
    }

    #[test]
    fn calls_keep_to_the_limits_and_lose_nothing() {
        for (count, length) in [(1, 10), (1_000, 10), (1_001, 10), (2_500, 400), (0, 0)] {
            let id = |n: usize| {
                let value = format!("{n:0length$}");
                Id { mapping: 0, dimensions: vec![(Dimension::Shard, value)] }
            };
            let pending: BTreeMap<Id, Stat> = (0..count).map(|n| (id(n), Stat::one(n as f64))).collect();
            let batches = batches(pending.clone());
            assert!(batches.iter().all(|batch| !batch.is_empty() && batch.len() <= DATUMS));
            let bytes = |batch: &Vec<(Id, Stat)>| batch.len() * (256 + length);
            assert!(batches.iter().all(|batch| bytes(batch) <= BYTES));
            assert_eq!(batches.into_iter().flatten().collect::<BTreeMap<_, _>>(), pending);
        }
    }
}

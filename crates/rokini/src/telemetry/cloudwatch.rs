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

use super::defs::Metric;
use super::export::Exporter;
use super::registry::{Cell, Registry};
use crate::processor::with_causes;
use crate::{Error, ErrorKind, Monitoring, Settings};

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

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }
}

/// Sends to one namespace.
pub(crate) struct CloudWatch {
    client: Client,
    registry: Arc<Registry>,
    namespace: String,
    settings: Settings,
    /// What each series had at the last look: values or their number, and their sum.
    seen: BTreeMap<(Metric, Key), (u64, f64)>,
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
        let (seen, pending) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { client, registry, namespace, settings, seen, pending })
    }

    /// Adds what was recorded since the last look.
    fn collect(&mut self) {
        for (metric, series) in self.registry.snapshot() {
            for (key, cell) in series {
                let Some(stat) = self.since(metric, &key, &cell) else { continue };
                for (place, mapping) in MAPPINGS.iter().enumerate() {
                    if mapping.metric == metric && mapping.level <= self.settings.cloudwatch_level {
                        self.put(place, mapping, &key, stat);
                    }
                }
            }
        }
    }

    fn since(&mut self, metric: Metric, key: &Key, cell: &Cell) -> Option<Stat> {
        match cell {
            Cell::Gauge(bits) => Some(Stat::one(f64::from_bits(bits.load(Ordering::Relaxed)))),
            Cell::Counter(value) => {
                let value = value.load(Ordering::Relaxed);
                let (before, _) = self.seen.insert((metric, key.clone()), (value, 0.0)).unwrap_or_default();
                // A series that was forgotten and is there again counts from 0.
                let new = if value < before { value } else { value - before };
                (new > 0).then(|| Stat::one(new as f64))
            }
            Cell::Histogram(buckets) => {
                let (extremes, now) = (buckets.take_extremes(), buckets.read());
                let (count, sum) = (now.count(), now.sum);
                let before = self.seen.insert((metric, key.clone()), (count, sum)).unwrap_or_default();
                let (new, sum) =
                    if count < before.0 { (count, sum) } else { (count - before.0, sum - before.1) };
                let mean = sum / new as f64;
                // A value may come between the two looks.
                let (least, greatest) = extremes.unwrap_or((mean, mean));
                (new > 0).then_some(Stat { count: new as f64, sum, least, greatest })
            }
        }
    }

    fn put(&mut self, place: usize, mapping: &Mapping, key: &Key, stat: Stat) {
        let wanted = |dimension: &Dimension| self.settings.cloudwatch_dimensions.contains(dimension);
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
        let factor = mapping.factor;
        let stat = Stat {
            count: stat.count,
            sum: stat.sum * factor,
            least: stat.least * factor,
            greatest: stat.greatest * factor,
        };
        let id = Id { mapping: place, dimensions };
        if let Some(known) = self.pending.get_mut(&id) {
            known.add(stat);
        } else if self.pending.len() < KEPT.max(self.seen.len() * 2) {
            self.pending.insert(id, stat);
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
    use super::*;

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

//! Which metric is which in CloudWatch.

use aws_sdk_cloudwatch::types::StandardUnit;

pub(super) use crate::config::choices::{CloudWatchDimension as Dimension, CloudWatchLevel as Level};
use crate::telemetry::metric::{Metric, MetricKind, MetricScope, MetricUnit};

/// A metric in CloudWatch.
pub(super) struct Mapping {
    pub(super) metric: Metric,
    pub(super) operation: &'static str,
    pub(super) name: &'static str,
    /// Of a value here, to one there.
    pub(super) factor: f64,
    pub(super) level: Level,
    pub(super) dimensions: &'static [Dimension],
}

pub(super) const SHARD: &[Dimension] = &[Dimension::Operation, Dimension::Shard, Dimension::Stream];
pub(super) const WORKER: &[Dimension] = &[Dimension::Operation, Dimension::Worker];
pub(super) const STREAM: &[Dimension] = &[Dimension::Operation, Dimension::Stream];
pub(super) const GROUP: &[Dimension] = &[Dimension::Operation];

/// The operation of metrics that the KCL does not have.
const OWN: &str = "Rokini";
const MILLIS: f64 = 1_000.0;

const fn map(
    metric: Metric,
    operation: &'static str,
    name: &'static str,
    factor: f64,
    level: Level,
    dimensions: &'static [Dimension],
) -> Mapping {
    Mapping { metric, operation, name, factor, level, dimensions }
}

/// Those of the KCL first, under its names and with its dimensions and units.
pub(super) const MAPPINGS: &[Mapping] = &[
    map(Metric::RecordsProcessed, "ProcessTask", "RecordsProcessed", 1.0, Level::Summary, SHARD),
    map(Metric::BytesProcessed, "ProcessTask", "DataBytesProcessed", 1.0, Level::Summary, SHARD),
    map(Metric::Behind, "ProcessTask", "MillisBehindLatest", MILLIS, Level::Summary, SHARD),
    map(
        Metric::HandlerTime,
        "ProcessTask",
        "RecordProcessor.processRecords.Time",
        MILLIS,
        Level::Summary,
        SHARD,
    ),
    map(
        Metric::FetchTime,
        "ProcessTask",
        "KinesisDataFetcher.getRecords.Time",
        MILLIS,
        Level::Detailed,
        SHARD,
    ),
    map(Metric::Checkpoints, "ProcessTask", "UpdateLease.Success", 1.0, Level::Detailed, SHARD),
    map(Metric::Behind, "ApplicationTracker", "MillisBehindLatest", MILLIS, Level::Summary, GROUP),
    map(Metric::LeasesHeld, "RenewAllLeases", "CurrentLeases", 1.0, Level::Summary, WORKER),
    map(Metric::LeasesLost, "RenewAllLeases", "LostLeases", 1.0, Level::Summary, WORKER),
    map(Metric::LeasesGained, "TakeLeases", "TakenLeases", 1.0, Level::Summary, WORKER),
    map(Metric::Workers, "TakeLeases", "NumWorkers", 1.0, Level::Summary, WORKER),
    map(Metric::GroupLag, OWN, "GroupLag", MILLIS, Level::Summary, STREAM),
    map(Metric::Holes, OWN, "HashRangeHoles", 1.0, Level::Summary, STREAM),
    map(Metric::Unheld, OWN, "UnheldShards", 1.0, Level::Summary, STREAM),
    map(Metric::Ready, OWN, "Ready", 1.0, Level::Summary, WORKER),
    map(Metric::DesiredWorkers, OWN, "DesiredWorkers", 1.0, Level::Summary, GROUP),
    map(Metric::HeartbeatFailures, OWN, "HeartbeatFailures", 1.0, Level::Summary, WORKER),
    map(Metric::HandlerFailures, OWN, "HandlerFailures", 1.0, Level::Summary, SHARD),
    map(Metric::Skipped, OWN, "SkippedRecords", 1.0, Level::Summary, SHARD),
    map(Metric::DeadLettered, OWN, "DeadLetteredRecords", 1.0, Level::Summary, SHARD),
    map(Metric::ReadFailures, OWN, "ReadFailures", 1.0, Level::Summary, SHARD),
    map(Metric::Throttled, OWN, "Throttled", 1.0, Level::Summary, SHARD),
    map(Metric::Lag, OWN, "Lag", MILLIS, Level::Detailed, SHARD),
    map(Metric::UntilDataLoss, OWN, "UntilDataLoss", 1.0, Level::Detailed, SHARD),
    map(Metric::Stalled, OWN, "Stalled", 1.0, Level::Detailed, SHARD),
    map(Metric::Heartbeats, OWN, "Heartbeats", 1.0, Level::Detailed, WORKER),
];

impl Mapping {
    pub(super) fn unit(&self) -> StandardUnit {
        match self.metric.unit() {
            MetricUnit::Seconds if self.factor == MILLIS => StandardUnit::Milliseconds,
            MetricUnit::Seconds => StandardUnit::Seconds,
            MetricUnit::Bytes => StandardUnit::Bytes,
            MetricUnit::Count => StandardUnit::Count,
        }
    }

    /// Whether values of several streams or shards make one together: those that say how many there are.
    pub(super) fn sums(&self) -> bool {
        let metric = self.metric;
        self.is_gauge() && metric.unit() == MetricUnit::Count && metric.scope() != MetricScope::Worker
    }

    pub(super) fn is_gauge(&self) -> bool {
        self.metric.kind() == MetricKind::Gauge
    }
}

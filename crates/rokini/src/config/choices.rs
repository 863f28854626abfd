//! The settings that are a choice out of a few.

use crate::types::named::named;

named! {
    /// What to do when records may have been trimmed before they were read.
    #[derive(Default)]
    pub enum OnDataLoss {
        /// Go on with the oldest record kept.
        #[default]
        Continue = "continue",
        /// Stand still until the shard is told to go on.
        Halt = "halt",
    }
}

named! {
    /// The encoding in which records are asked for.
    #[derive(Default)]
    pub enum Wire {
        /// CBOR, and JSON where an endpoint does not take that.
        #[default]
        Auto = "auto",
        /// CBOR.
        Cbor = "cbor",
        /// JSON.
        Json = "json",
    }
}

named! {
    /// What becomes of user records of KPL aggregates whose keys do not hash into the shard that they came in.
    #[derive(Default)]
    pub enum KplHashRange {
        /// They are delivered as all others, and counted.
        #[default]
        Deliver = "deliver",
        /// The whole aggregate is left out, as the KCL does it, with an event, and counted.
        Drop = "drop",
    }
}

named! {
    /// How shards are read.
    #[derive(Default)]
    pub enum Retrieval {
        /// By GetRecords.
        #[default]
        Polling = "polling",
        /// By SubscribeToShard, for a registered consumer.
        FanOut = "fan_out",
        /// By whichever of the two a shard needs.
        Auto = "auto",
    }
}

named! {
    /// How shards are spread over workers.
    #[derive(Default)]
    pub enum Balance {
        /// As many shards for one worker as for another.
        #[default]
        Even = "even",
        /// As many bytes a second for one worker as for another.
        Throughput = "throughput",
    }
}

named! {
    /// A service that shows metrics.
    pub enum Monitoring {
        /// Prometheus, which scrapes. Feature `prometheus` (default).
        Prometheus = "prometheus",
        /// Amazon CloudWatch. Feature `cloudwatch`.
        CloudWatch = "cloudwatch",
        /// An OpenTelemetry collector. Feature `otlp`.
        Otlp = "otlp",
    }
}

named! {
    /// How much is sent to CloudWatch.
    pub enum CloudWatchLevel {
        /// Nothing.
        None = "none",
        /// What dashboards and alarms need.
        Summary = "summary",
        /// Everything that has a name there.
        Detailed = "detailed",
    }
}

named! {
    /// A dimension of metrics in CloudWatch.
    pub enum CloudWatchDimension {
        /// `Operation`, as in the KCL; `Rokini` where the KCL has no such metric.
        Operation = "operation",
        /// `ShardId`
        Shard = "shard",
        /// `StreamId`, which the KCL has for several streams only.
        Stream = "stream",
        /// `WorkerIdentifier`
        Worker = "worker",
    }
}

impl CloudWatchDimension {
    /// As the KCL has them for one stream.
    pub(super) const DEFAULT: [Self; 3] = [Self::Operation, Self::Shard, Self::Worker];

    /// The name in CloudWatch.
    #[must_use]
    pub const fn kcl(self) -> &'static str {
        match self {
            Self::Operation => "Operation",
            Self::Shard => "ShardId",
            Self::Stream => "StreamId",
            Self::Worker => "WorkerIdentifier",
        }
    }
}

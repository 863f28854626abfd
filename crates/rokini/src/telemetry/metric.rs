//! Every metric, once: `docs/METRICS.md` is generated from here, and nothing else names a metric.

/// What a metric is a number of, and how it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// What its values are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricUnit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// What there is one series for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricScope {
    /// Each shard that the worker has. Labels `group`, `stream`, `shard`, `worker`.
    Shard,
    /// Each stream that the worker reads. Labels `group`, `stream`, `worker`.
    Stream,
    /// The worker. Labels `group`, `worker`.
    Worker,
    /// The processes of a handler, or the service that it is: [`HandlerStats`](crate::HandlerStats). Labels `group`, `worker`.
    Handler,
    /// Each [`EventCode`](crate::EventCode). Labels `group`, `worker`, `code`.
    Code,
}

/// What may change about a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricStability {
    /// Name, labels, unit and meaning stay.
    Stable,
    /// May change with a minor version, which the changelog says.
    Evolving,
}

macro_rules! metrics {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident = $name:literal: $kind:ident, $scope:ident, $unit:ident, $stability:ident;
    )+) => {
        /// A metric of a consumer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Metric {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Metric {
            /// Every metric, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name, as Prometheus has it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it is.
            #[must_use]
            pub const fn kind(self) -> MetricKind {
                match self { $(Self::$variant => MetricKind::$kind),+ }
            }

            /// What there is one series for.
            #[must_use]
            pub const fn scope(self) -> MetricScope {
                match self { $(Self::$variant => MetricScope::$scope),+ }
            }

            /// The unit.
            #[must_use]
            pub const fn unit(self) -> MetricUnit {
                match self { $(Self::$variant => MetricUnit::$unit),+ }
            }

            /// What may change about it.
            #[must_use]
            pub const fn stability(self) -> MetricStability {
                match self { $(Self::$variant => MetricStability::$stability),+ }
            }

            const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc, "\n"),+)),+ }
            }
        }
    };
}

metrics! {
    /// Records whose handler call returned without an error. A record that is delivered again counts again.
    RecordsProcessed = "rokini_records_processed_total": Counter, Shard, Count, Stable;
    /// Bytes of their data.
    BytesProcessed = "rokini_bytes_processed_total": Counter, Shard, Bytes, Stable;
    /// How long one call of the record handler took, failed calls included. Where `for_each` waits for nothing, what follows
    /// within 0.1 ms counts as one call.
    HandlerTime = "rokini_handler_duration_seconds": Histogram, Shard, Seconds, Stable;
    /// How long one read of the stream took that was answered, without the pause before it.
    FetchTime = "rokini_fetch_duration_seconds": Histogram, Shard, Seconds, Stable;
    /// The age of the oldest record that is not done; 0 where everything is done. Rises while a handler or the
    /// reading is stuck. Once nothing has been heard of the stream for longer than the slowest regular poll, the time
    /// since then counts.
    Lag = "rokini_lag_seconds": Gauge, Shard, Seconds, Stable;
    /// How far the last read was behind the tip of the shard (`MillisBehindLatest` of Kinesis and the KCL). Stands
    /// still while the reading is stuck: alert on the lag.
    Behind = "rokini_behind_latest_seconds": Gauge, Shard, Seconds, Stable;
    /// The retention of the stream minus the lag: when the oldest record that is not done is lost.
    UntilDataLoss = "rokini_until_data_loss_seconds": Gauge, Shard, Seconds, Stable;
    /// 1 while the shard makes no progress: an event `shard-stalled` was emitted, and no `shard-recovered` since. Without
    /// the shard label the number of such shards.
    Stalled = "rokini_shard_stalled": Gauge, Shard, Count, Stable;
    /// Failed calls of user code: each is tried again, as the failure policy says.
    HandlerFailures = "rokini_handler_failures_total": Counter, Shard, Count, Stable;
    /// Failed reads, throttled ones included: each is tried again.
    ReadFailures = "rokini_read_failures_total": Counter, Shard, Count, Stable;
    /// Reads that the stream refused because its limits were exceeded.
    Throttled = "rokini_throttled_total": Counter, Shard, Count, Stable;
    /// Records that were given up and passed over, as the failure policy says.
    Skipped = "rokini_skipped_records_total": Counter, Shard, Count, Stable;
    /// Records that were given up and confirmed by the dead-letter sink.
    DeadLettered = "rokini_dead_lettered_records_total": Counter, Shard, Count, Stable;
    /// Failed tries to give records to the dead-letter sink: each is tried again.
    DeadLetterFailures = "rokini_dead_letter_failures_total": Counter, Shard, Count, Stable;
    /// Times that records may have been trimmed before they were read. The event says which.
    DataLoss = "rokini_data_losses_total": Counter, Shard, Count, Stable;
    /// Stream records that begin as KPL aggregates do and cannot be unpacked: they are delivered as they came. The event says
    /// what is wrong.
    MalformedAggregates = "rokini_malformed_aggregates_total": Counter, Shard, Count, Stable;
    /// User records of KPL aggregates whose keys hash into another shard than the one they came in, delivered all the same.
    ForeignUserRecords = "rokini_foreign_user_records_total": Counter, Shard, Count, Stable;
    /// User records of KPL aggregates that were left out because one of them hashes into another shard; only with
    /// `kpl_hash_range = drop`.
    DroppedUserRecords = "rokini_dropped_user_records_total": Counter, Shard, Count, Stable;
    /// Positions stored.
    Checkpoints = "rokini_checkpoints_total": Counter, Shard, Count, Stable;
    /// Failed tries to store a position: each is tried again.
    CheckpointFailures = "rokini_checkpoint_failures_total": Counter, Shard, Count, Stable;
    /// Shards of the stream that this worker has.
    LeasesHeld = "rokini_leases_held": Gauge, Stream, Count, Stable;
    /// Shards taken up: acquired, handed over by others, or begun anew.
    LeasesGained = "rokini_leases_gained_total": Counter, Stream, Count, Stable;
    /// Shards handed over to another worker, or set free: the moves.
    LeasesHandedOver = "rokini_leases_handed_over_total": Counter, Stream, Count, Stable;
    /// Shards lost, whatever the cause. The event says which.
    LeasesLost = "rokini_leases_lost_total": Counter, Stream, Count, Stable;
    /// Shards read to their end.
    ShardsEnded = "rokini_shards_ended_total": Counter, Stream, Count, Stable;
    /// Shards that no worker has although they could be worked on, as this worker saw the lease table last.
    Unheld = "rokini_unheld_shards": Gauge, Stream, Count, Stable;
    /// Parts of the partition-key hash range that no unfinished lease covers. 0, except for a moment after somebody
    /// deleted a lease: the audit mends it.
    Holes = "rokini_hash_range_holes": Gauge, Stream, Count, Stable;
    /// The greatest lag of the stream that this worker knows of: that of its own shards and that of shards nobody
    /// has. The maximum over the workers is the lag of the group.
    GroupLag = "rokini_group_lag_seconds": Gauge, Stream, Seconds, Stable;
    /// Shards of the stream that this worker has and whose records are pushed at present, by fan-out.
    FanOutShards = "rokini_fan_out_shards": Gauge, Stream, Count, Stable;
    /// Subscriptions of fan-out that began: one for each shard every five minutes, and one more after each that broke off.
    Subscriptions = "rokini_subscriptions_total": Counter, Stream, Count, Stable;
    /// Times that a shard could not be subscribed to because there was another subscription of the same consumer
    /// (`ResourceInUse`). Once or twice after a shard has moved; more where two groups use one consumer.
    SubscriptionsInUse = "rokini_subscriptions_in_use_total": Counter, Stream, Count, Stable;
    /// Heartbeats that were stored.
    Heartbeats = "rokini_heartbeats_total": Counter, Worker, Count, Stable;
    /// Heartbeats that failed: each is tried again.
    HeartbeatFailures = "rokini_heartbeat_failures_total": Counter, Worker, Count, Stable;
    /// The time since the last heartbeat that was stored. At three quarters of `failover` handlers pause.
    HeartbeatAge = "rokini_heartbeat_age_seconds": Gauge, Worker, Seconds, Stable;
    /// The time since worker rows were read last. From `failover` on `/readyz` says so.
    LookAge = "rokini_look_age_seconds": Gauge, Worker, Seconds, Stable;
    /// The time since the leases were listed last and the plan carried out: less than 40 s, or 2.2 s for each worker of the
    /// group.
    ListingAge = "rokini_listing_age_seconds": Gauge, Worker, Seconds, Stable;
    /// Looks at worker rows, and listings of leases, that failed: each is tried again.
    CoordinationFailures = "rokini_coordination_failures_total": Counter, Worker, Count, Stable;
    /// 1 while the worker may work: heartbeats arrive.
    Valid = "rokini_worker_valid": Gauge, Worker, Count, Stable;
    /// 1 while `/healthz` says that nothing asks for a restart.
    Live = "rokini_live": Gauge, Worker, Count, Stable;
    /// 1 while `/readyz` says that the worker does its part.
    Ready = "rokini_ready": Gauge, Worker, Count, Stable;
    /// Live workers of the group, as this worker saw them last.
    Workers = "rokini_workers": Gauge, Worker, Count, Stable;
    /// How many workers the group should have by its lag; for autoscalers, which take the maximum over the workers.
    DesiredWorkers = "rokini_desired_workers": Gauge, Worker, Count, Evolving;
    /// Bytes that are read and not done, as they count for `memory_budget`.
    BufferedBytes = "rokini_buffered_bytes": Gauge, Worker, Bytes, Stable;
    /// Shards that have records to do and whose next read waits until there is room in `memory_budget`.
    ReadsWaiting = "rokini_reads_waiting": Gauge, Worker, Count, Evolving;
    /// Processes that run, those that wait for a shard among them.
    HandlerProcesses = "rokini_handler_processes": Gauge, Handler, Count, Stable;
    /// Processes that were started.
    HandlerStarts = "rokini_handler_starts_total": Counter, Handler, Count, Stable;
    /// Tries to start a process that failed, or that was not ready in time: each is tried again.
    HandlerStartFailures = "rokini_handler_start_failures_total": Counter, Handler, Count, Stable;
    /// Processes that ended by themselves although nobody had asked them to.
    HandlerExits = "rokini_handler_exits_total": Counter, Handler, Count, Stable;
    /// Processes that were ended by force: they took too long, broke the protocol, or worked on what left this worker.
    HandlerKills = "rokini_handler_kills_total": Counter, Handler, Count, Stable;
    /// Lines of output of processes that were held back, and not shown.
    HandlerSuppressedLines = "rokini_handler_suppressed_lines_total": Counter, Handler, Count, Stable;
    /// Times that the service took no records: they wait.
    HandlerUnavailable = "rokini_handler_unavailable_total": Counter, Handler, Count, Stable;
    /// Resident memory of the processes and of all in their process groups. Linux only, every 5 s.
    HandlerMemory = "rokini_handler_resident_bytes": Gauge, Handler, Bytes, Stable;
    /// CPU time that they used since the worker began, of those that ended too up to when they were looked at last. Linux only,
    /// every 5 s.
    HandlerCpu = "rokini_handler_cpu_seconds": Gauge, Handler, Seconds, Stable;
    /// Events, by their code.
    Events = "rokini_events_total": Counter, Code, Count, Stable;
}

impl Metric {
    /// What it means, in a few sentences.
    #[must_use]
    pub fn help(self) -> String {
        self.doc().lines().map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// The labels of its series.
    #[must_use]
    pub const fn labels(self) -> &'static [&'static str] {
        match self.scope() {
            MetricScope::Shard => &["group", "stream", "shard", "worker"],
            MetricScope::Stream => &["group", "stream", "worker"],
            MetricScope::Worker | MetricScope::Handler => &["group", "worker"],
            MetricScope::Code => &["group", "worker", "code"],
        }
    }

    /// The upper bounds of a histogram's buckets, in its unit; a last bucket has none.
    #[must_use]
    pub const fn buckets(self) -> &'static [f64] {
        match self.kind() {
            // Few, because each is a series of each shard.
            MetricKind::Histogram => &[0.02, 0.1, 0.5, 2.0, 10.0],
            MetricKind::Counter | MetricKind::Gauge => &[],
        }
    }

    /// The name as OpenTelemetry has it: a Prometheus behind a collector makes [`Metric::name`] of it again.
    #[must_use]
    pub fn otlp_name(self) -> String {
        let name = self.name();
        let name = name.strip_suffix("_total").unwrap_or(name);
        let name = match self.unit() {
            MetricUnit::Seconds => name.strip_suffix("_seconds").unwrap_or(name),
            _ => name,
        };
        name.replacen("rokini_", "rokini.", 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut seen = BTreeSet::new();
        for metric in Metric::ALL.iter().copied() {
            let name = metric.name();
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("rokini_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(metric.kind() == MetricKind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(metric.unit() == MetricUnit::Seconds, name.ends_with("_seconds"), "{name}");
            assert!(metric.buckets().is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn otlp_names_have_neither_unit_nor_suffix() {
        assert_eq!(Metric::RecordsProcessed.otlp_name(), "rokini.records_processed");
        assert_eq!(Metric::HandlerTime.otlp_name(), "rokini.handler_duration");
        assert_eq!(Metric::Lag.otlp_name(), "rokini.lag");
    }
}

//! The table of settings: for each its key, what it does, its type, its default, and the form in which it is written.
//!
//! Everything else comes from it: [`ConfigKey`](super::key::ConfigKey), [`Settings`](super::settings::Settings), the
//! setters of [`ConsumerConfig`](super::consumer_config::ConsumerConfig) and of the builder, the environment variables
//! and `docs/CONFIGURATION.md`. A new setting is one entry here (and a sample in `config/tests.rs`).

/// Gives the whole table to the macro `$with`. An entry is
///
/// ```text
/// /// What it does, its unit and its default.
/// Key = "key": field: Type = default, form, set(Argument of its setter);
/// ```
///
/// The form is made by one of the functions of [`form`](super::form): it parses, prints and checks values. An entry without
/// `set` has setters written by hand.
macro_rules! settings_table {
    ($with:ident) => {
        $with! {
            /// The stream: its name, or its ARN where it belongs to another account. Several with commas between them (in a
            /// file also as an array). No default.
            Stream = "stream": streams: Vec<StreamRef> = Vec::new(), streams();
            /// The group (KCL: application) whose workers share the shards. No default.
            Group = "group": group: Option<GroupId> = None, optional(name(|text| GroupId::new(text).ok())), set(impl Into<String>);
            /// The stable name of this worker, different for each worker of the group. Default: made up for this run (by
            /// the binary out of the host's name and the process id), so that a restart is a new worker.
            Worker = "worker": worker: Option<WorkerName> = None, optional(name(|text| WorkerName::new(text).ok())), set(impl Into<String>);
            /// The DynamoDB table that keeps leases and positions of any number of groups. Default `rokini`.
            Table = "table": table: String = "rokini".to_owned(), table_name(), set(impl Into<String>);
            /// Whether to make the table where it is missing: `true` or `false`. Default `false`.
            CreateTable = "create_table": create_table: bool = false, truth_value(), set(bool);
            /// How a table that is made is paid for: `pay_per_request` or `provisioned`. Default `pay_per_request`.
            /// Only with `create_table`.
            BillingMode = "billing_mode": billing_mode: BillingMode = BillingMode::PayPerRequest, billing_mode();
            /// Read units of a provisioned table that is made, 1 or more. Default 10, as in the KCL. Only with
            /// `billing_mode = provisioned`.
            ReadCapacityUnits = "read_capacity_units": read_capacity_units: NonZeroU32 = DEFAULT_UNITS,
                count(), set(u32);
            /// Write units of a provisioned table that is made, 1 or more. Default 10, as in the KCL. Only with
            /// `billing_mode = provisioned`.
            WriteCapacityUnits = "write_capacity_units": write_capacity_units: NonZeroU32 = DEFAULT_UNITS,
                count(), set(u32);
            /// Over how many partition keys of the table the leases of a new group are spread, 1 to 65535, or `stored`. Default
            /// `stored`: as the group's rows say, and 1 for a new one. More than 1 is for groups of over 4,000 shards or so that
            /// store a position every 5 s: DynamoDB gives a partition key 1,000 write units and 3,000 read units a second.
            /// `rokini group repartition` changes the number of a group while it runs; what is set here says nothing of such a
            /// group. Of any other it must be the number it began with.
            TablePartitions = "table_partitions": table_partitions: Option<NonZeroU16> = None, word_or("stored",
                count()), set(impl Into<Option<u16>>);
            /// Where a group starts that has no position yet: `trim_horizon` (the oldest record kept), `latest` (what
            /// is put from now on), a time (RFC 3339 such as `2026-01-31T12:00:00Z`, or a Unix time in seconds or
            /// milliseconds), a time ago (`-10m`), `at:<sequence number>` or
            /// `after:<sequence number>[:<sub-sequence number>]`. Default
            /// `trim_horizon`. A group that has positions goes on from those.
            Start = "start": start: StartPosition = StartPosition::TrimHorizon,
                own_text(start_position::ACCEPTED), set(StartPosition);
            /// After how long without a heartbeat a worker counts as dead and its shards move, as a duration. Default
            /// `10s`. At least two and a half heartbeats and at least `1s`.
            Failover = "failover": failover: Duration = Duration::from_secs(10), duration_from(SECOND), set(Duration);
            /// How often a worker that has shards says that it is alive, as a duration from `100ms` on, or `auto`: one write
            /// each. Default `auto`: two fifths of `failover`, which is the most. One without shards does so every 12
            /// failover times. What others ask of a worker it sees within 1.5 s whatever this is, or with every heartbeat.
            Heartbeat = "heartbeat": heartbeat: Option<Duration> = None, word_or("auto",
                duration_from(100 * MILLISECOND)), set(impl Into<Option<Duration>>);
            /// How often the position of a shard is stored at most, as a duration; also stored at hand-over, at the end
            /// of a shard and at shutdown. Default `5s`; `0s` stores after every batch.
            CheckpointInterval = "checkpoint_interval": checkpoint_interval: Duration = Duration::from_secs(5),
                any_duration(), set(Duration);
            /// Time between two reads of a shard that gets records, as a duration. Default and least `200ms`: a shard
            /// takes 5 reads a second (Kinesis limit), shared by all groups that poll it. A shard that is behind is
            /// read at once again.
            PollFloor = "poll_floor": poll_floor: Duration = Duration::from_millis(200), duration_from(200 * MILLISECOND), set(Duration);
            /// Time between two reads of a shard that has been quiet for long, as a duration. Default `1s`; from
            /// `poll_floor` to `1m`. Higher costs fewer calls, and latency on the first record after a silence.
            PollCeiling = "poll_ceiling": poll_ceiling: Duration = Duration::from_secs(1),
                duration_within(200 * MILLISECOND, 60 * SECOND), set(Duration);
            /// Records asked for in one read, 1 to 10000 (Kinesis limit). Default 10000.
            MaxRecords = "max_records": max_records: u16 = 10_000, count_up_to(10_000), set(u16);
            /// The encoding in which records are asked for: `auto` (CBOR, which takes about 0.6 of the processor time, and JSON
            /// where an endpoint does not take it, which is found out once, kept, and tried again after an hour), `cbor` or
            /// `json`. Default `auto`. An event tells when it changes.
            Wire = "wire": wire: Wire = Wire::Auto,
                choice(), set(Wire);
            /// Whether the aggregates of the Kinesis Producer Library (KPL) are unpacked, so that the handler gets their user
            /// records: `true` or `false`. Default `true`. Batches and limits count user records. What begins as an aggregate
            /// and is none is delivered as it came, with an event.
            Deaggregate = "deaggregate": deaggregate: bool = true, truth_value(), set(bool);
            /// What becomes of user records of aggregates whose keys do not hash into the shard that they came in, as after a
            /// split: `deliver` (they are delivered and counted) or `drop` (the whole aggregate is left out, with an event, as
            /// the KCL does without a word; for those whose producers put such records again, as the KPL does). Default
            /// `deliver`. Of no effect on a stream that places records by itself (`AUTO`): their keys say nothing there. Only
            /// with `deaggregate`.
            KplHashRange = "kpl_hash_range": kpl_hash_range: KplHashRange = KplHashRange::Deliver, choice(), set(KplHashRange);
            /// How shards are read: `polling` (GetRecords: nothing to pay by the hour, 5 reads and 2 MB a second of a shard for
            /// all groups together), `fan_out` (SubscribeToShard: 2 MB a second for this group alone, records within
            /// milliseconds; AWS bills each shard by the hour and each GB) or `auto` (polling, and fan-out for shards whose lag
            /// or whose other readers demand it; needs `allow_fan_out`). Default `polling`. Until a subscription can be had, a
            /// shard is polled. The same for all workers of a group.
            Retrieval = "retrieval": retrieval: Retrieval = Retrieval::Polling, choice(), set(Retrieval);
            /// Whether `retrieval = auto` may use fan-out, which AWS bills: `true` or `false`. Default `false`. Only with
            /// `retrieval = auto`, which needs it.
            AllowFanOut = "allow_fan_out": allow_fan_out: bool = false, truth_value(), set(bool);
            /// The name under which the group is registered with the stream for fan-out: 1 to 128 letters, digits, `_`, `.`,
            /// `-`. Default: the group. A registration that exists is used and never taken back; one that the group makes
            /// goes with `rokini group delete`. No two groups may have the same. Only with `retrieval = fan_out` or `auto`.
            FanOutConsumer = "fan_out_consumer": fan_out_consumer: Option<String> = None,
                optional(consumer_name()), set(impl Into<String>);
            /// Tags of a registration that the group makes, as `key=value` with commas between them, or `none`. Default `none`.
            /// With tags the credentials need `kinesis:TagResource` too. Only with `retrieval = fan_out` or `auto`.
            FanOutTags = "fan_out_tags": fan_out_tags: Vec<(String, String)> = Vec::new(),
                tags(), set(impl Into<Vec<(String, String)>>);
            /// Shards this worker takes at most, 1 or more, or `unlimited`. Default `unlimited`.
            MaxLeases = "max_leases": max_leases: Option<NonZeroU32> = None, word_or(UNLIMITED, count()), set(impl Into<Option<u32>>);
            /// How shards are spread over the workers that read their stream: `even`, by their number, or `throughput`, by the
            /// bytes a second that each brought in the last minutes. Default `even`. The same for all workers of a group. A
            /// function of your own goes to the builder's `balance_policy`.
            Balance = "balance": balance: Balance = Balance::Even, choice(), set(Balance);
            /// How long a shutdown waits for handlers before it abandons them, as a duration. Default `25s`, which fits
            /// into the 30 s that Kubernetes grants.
            ShutdownDeadline = "shutdown_deadline": shutdown_deadline: Duration = Duration::from_secs(25),
                any_duration(), set(Duration);
            /// Whether a batch counts as done when the handler returns without an error: `true` or `false`. Default
            /// `true`. With `false` user code checkpoints.
            AutoCheckpoint = "auto_checkpoint": auto_checkpoint: bool = true, truth_value(), set(bool);
            /// How long one handler call may take, and one ack token may be kept, before that counts as failed, as a duration,
            /// or `unlimited`. Default `unlimited`: a slow handler keeps its shard. Not for a stream of records (`into_stream`).
            HandlerTimeout = "handler_timeout": handler_timeout: Option<Duration> = None, word_or(UNLIMITED,
                duration_from(MILLISECOND)), set(impl Into<Option<Duration>>);
            /// Records of one handler call, at most: 1 or more, or `unlimited`. Default `unlimited`: as many as one read
            /// brought.
            BatchMaxRecords = "batch_max_records": batch_max_records: Option<NonZeroUsize> = None,
                word_or(UNLIMITED, count()), set(impl Into<Option<usize>>);
            /// Bytes of data of one handler call, at most: 1 or more, or `unlimited`. Default `unlimited`. A single larger
            /// record is a batch of its own.
            BatchMaxBytes = "batch_max_bytes": batch_max_bytes: Option<NonZeroUsize> = None,
                word_or(UNLIMITED, count()), set(impl Into<Option<usize>>);
            /// How long records wait to go to the handler in a larger batch, as a duration. Default `0s`: not at all. With
            /// more, a batch can have the records of several reads. It never delays the end of a shard, a hand-over or a
            /// shutdown.
            BatchMaxWait = "batch_max_wait": batch_max_wait: Duration = Duration::ZERO, any_duration(), set(Duration);
            /// Handler calls of one shard at the same time, 1 to 1000. Default 1. With more, each of so many processors gets
            /// the records of its own partition keys, in order, and reading goes on up to `max_outstanding_records` ahead of
            /// the oldest record that is not done.
            Concurrency = "concurrency": concurrency: NonZeroUsize = NonZeroUsize::MIN,
                count_up_to(1_000), set(usize);
            /// Records of a shard from the oldest that is not done to the newest that was taken up, from which on no more are
            /// taken up: 1 or more. Default 10000, the most that one read brings. Matters with `concurrency`, ack tokens and
            /// `park`; the last read may go beyond it.
            MaxOutstandingRecords = "max_outstanding_records": max_outstanding_records: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999),
                count(), set(usize);
            /// The same in bytes of data. Default 33554432 (32 MiB; one read brings at most 10 MB).
            MaxOutstandingBytes = "max_outstanding_bytes": max_outstanding_bytes: NonZeroUsize = NonZeroUsize::MIN.saturating_add((32 << 20) - 1),
                count(), set(usize);
            /// Bytes of memory for what all shards of this worker have read and not done: 1 or more. Default 268435456 (256 MiB).
            /// Half of it is divided evenly between the shards that the worker has, the other half is common. A read takes room
            /// by the size of the last answer before it begins, and waits while there is none; a shard that has nothing to do
            /// never waits, and asks for no more records than fit into its part. Beyond the budget go only single records that
            /// are larger than their shard's part. The process takes: the budget, the answers on their way (at most 64 at once),
            /// about 64 MB, of which up to 16 MiB are large buffers to be used again, and up to 80 KiB for each shard that is
            /// read by fan-out. Where sizes of answers vary, a buffer that is used again can be up to half larger than what it
            /// has. A container with less than 512 MiB should have half of its limit here.
            MemoryBudget = "memory_budget": memory_budget: NonZeroUsize = NonZeroUsize::MIN.saturating_add((256 << 20) - 1),
                count(), set(usize);
            /// What becomes of records that fail `max_attempts` times or for `max_failure_age`: `retry` (they are tried again
            /// for ever), `halt` (their shard stands still until it is told to go on), `skip` (they are passed over; a note
            /// stays on the lease), `dead_letter` (they go to the dead-letter sink and are passed once it has them). Default
            /// `retry`.
            OnFailure = "on_failure": on_failure: OnFailure = OnFailure::Retry, choice(), set(OnFailure);
            /// How often the handler is called with the same failing records before `on_failure` applies, 1 or more, or
            /// `unlimited`. Default `unlimited`.
            MaxAttempts = "max_attempts": max_attempts: Option<NonZeroU32> = None, word_or(UNLIMITED, count()), set(impl Into<Option<u32>>);
            /// For how long the same records may fail before `on_failure` applies, as a duration from their first failure, or
            /// `unlimited`. Default `unlimited`.
            MaxFailureAge = "max_failure_age": max_failure_age: Option<Duration> = None, word_or(UNLIMITED,
                duration_from(MILLISECOND)), set(impl Into<Option<Duration>>);
            /// Whether the failing one of several records is searched for, so that `on_failure` applies to it alone: `true` or
            /// `false`. Default `true`. With `false` it applies to the whole batch.
            Bisect = "bisect": bisect: bool = true, truth_value(), set(bool);
            /// Whether a failing record holds up the records of its own partition key only: `true` or `false`. Default `false`:
            /// it holds up its shard (its lane, with `concurrency`). With `true` the failing one of several records is searched
            /// for at once.
            Park = "park": park: bool = false, truth_value(), set(bool);
            /// Whether something outside (a StatefulSet, for example) vouches that no two live processes have the same
            /// worker name: `true` or `false`. Default `false`. With `true` a restarted worker gets its shards back
            /// after two silent heartbeats in place of `failover`.
            UniqueWorkerNames = "unique_worker_names": unique_worker_names: bool = false, truth_value(), set(bool);
            /// How long a shard may be asked for records without an answer, as a duration, beyond `poll_ceiling`. Default
            /// `1m`, at least `1s`. Then another reader is tried; the second time the shard goes to another worker, where
            /// there is one.
            StallTimeout = "stall_timeout": stall_timeout: Duration = Duration::from_secs(60),
                duration_from(SECOND), set(Duration);
            /// What to do when records may have been trimmed before they were read: `continue` with the oldest record kept,
            /// or `halt` the shard until `Handle::retry_halted` or a seek to the oldest record; a restart halts again. Default
            /// `continue`. An event tells in either case.
            OnDataLoss = "on_data_loss": on_data_loss: OnDataLoss = OnDataLoss::Continue,
                choice(), set(OnDataLoss);
            /// From which share of the retention on an event warns that records that are not done will be trimmed: a whole
            /// number of percent, 1 to 100. Default 50.
            DataLossWarning = "data_loss_warning": data_loss_warning: u8 = 50, count_up_to(100), set(u8);
            /// Whether the children of a split or a merge start without waiting until their parents are done: `true` or
            /// `false`. Default `false`, which keeps the order per partition key. The same for all workers of a group.
            /// Called `IgnoreShardOrdering` in gokini.
            IgnoreShardOrder = "ignore_shard_order": ignore_shard_order: bool = false, truth_value(), set(bool);
            /// How often the group compares its shards with the stream's listing and mends holes, as a duration: one
            /// listing per stream, whatever the number of workers. Default `1m`, at least `1s`.
            AuditInterval = "audit_interval": audit_interval: Duration = Duration::from_secs(60),
                duration_from(SECOND), set(Duration);
            /// Whether this worker reads every shard by itself, from now on, with nothing shared and nothing stored: `true` or
            /// `false`. Default `false`. With `true` there is no table, `start` is `latest`, `group` is only a name (default
            /// `broadcast`), and the settings of leases, positions and the table are refused.
            Broadcast = "broadcast": broadcast: bool = false, truth_value(), set(bool);
            /// Where records go that the failure policy gives up, kept there before their position passes: `file:<path>`
            /// (JSON lines, fsync after each letter), `kinesis:<name or ARN>` (another stream, the same partition keys) or
            /// `sqs:<URL>` (a queue). What is too large for one message there comes in several, nothing is cut. No default.
            DeadLetter = "dead_letter": dead_letter: Option<DeadLetterTarget> = None,
                optional(own_text(dead_letter_target::ACCEPTED)), set(DeadLetterTarget);
            /// How long a shard may make no progress before it counts as stalled, as a duration: a handler call that does not
            /// return, a stream that does not answer (on top of `poll_ceiling`), a lag that is greater and grows. Then an event
            /// says so, and the worker is not ready. Default `5s`, at least `1s`. Raise it where handler calls take longer.
            StallAfter = "stall_after": stall_after: Duration = Duration::from_secs(5), duration_from(SECOND), set(Duration);
            /// The lag above which the group should have more workers, as a duration: at most twice as many at once, in
            /// proportion. Below a tenth of it one worker is too many. Only for what autoscalers read. Default `1m`, at least
            /// `1s`.
            TargetLag = "target_lag": target_lag: Duration = Duration::from_secs(60), duration_from(SECOND), set(Duration);
            /// How many shards a worker should have at most, 1 or more, or `unlimited`. Only for what autoscalers read. Default
            /// `unlimited`.
            ShardsPerWorker = "shards_per_worker": shards_per_worker: Option<NonZeroU32> = None, word_or(UNLIMITED, count()), set(impl Into<Option<u32>>);
            /// Where metrics go, besides to recorders of the application: `none`, or a list out of `prometheus`,
            /// `cloudwatch`, `otlp`, such as `prometheus,otlp`. Default `none`. The features of the same names have to be
            /// compiled in (`prometheus` is by default, and the binary has all).
            Monitoring = "monitoring": monitoring: BTreeSet<Monitoring> = BTreeSet::new(),
                choices(), set(impl Into<BTreeSet<Monitoring>>);
            /// The address at which the worker answers probes and scrapers, such as `0.0.0.0:9464`; port 0 is any that is free;
            /// `none` for no listener. Default `none`. `GET /healthz` (restart me), `/readyz` (I do my part), `/scale` (for
            /// autoscalers) and, with `monitoring = prometheus`, `/metrics`. Without encryption and credentials: for a network
            /// that is trusted.
            MonitoringListen = "monitoring_listen": monitoring_listen: Option<SocketAddr> = None, word_or(NONE,
                own_text("an IP address with a port such as `0.0.0.0:9464`")), set(impl Into<Option<SocketAddr>>);
            /// Whether a page for people is served beside the probes, at `/`: `true` or `false`. Default `false`. It shows the
            /// whole group as this worker sees it, is read only, and listens at `127.0.0.1:9464` where `monitoring_listen` names
            /// no other address. Without credentials: whoever reaches the address sees names, positions and errors. While somebody looks,
            /// the group is listed every 5 seconds, with more than 1,000 shards every minute, for all pages of this worker together.
            MonitoringPage = "monitoring_page": monitoring_page: bool = false, truth_value(), set(bool);
            /// Whether the metrics of shards have a label `shard`: `true` or `false`. Default `true`. With `false` the shards
            /// of a stream are one series in each worker (the greatest lag, the sum of the records), for streams with many
            /// thousands of shards. Only with `monitoring` or a recorder of the application.
            MetricsShardLabel = "metrics_shard_label": metrics_shard_label: bool = true, truth_value(), set(bool);
            /// The namespace in CloudWatch. Default: the group, as the KCL has it. Only with `monitoring = cloudwatch`.
            CloudWatchNamespace = "cloudwatch_namespace": cloudwatch_namespace: Option<String> = None,
                optional(cloudwatch_namespace()), set(impl Into<String>);
            /// How much is sent to CloudWatch: `none`, `summary` or `detailed`. Default `summary`. CloudWatch charges for each
            /// combination of name and dimensions: with the dimension `shard`, `summary` has 4 to 9 for each shard, `detailed` 5
            /// more. Only with `monitoring = cloudwatch`.
            CloudWatchLevel = "cloudwatch_level": cloudwatch_level: CloudWatchLevel = CloudWatchLevel::Summary,
                choice(), set(CloudWatchLevel);
            /// The dimensions of metrics in CloudWatch: `none`, or a list out of `operation`, `shard`, `stream`, `worker`. Each
            /// metric has those of them that the KCL gives it; without a dimension its values become one. Default
            /// `operation,shard,worker`, as the KCL has them for one stream. Only with `monitoring = cloudwatch`.
            CloudWatchDimensions = "cloudwatch_dimensions": cloudwatch_dimensions: BTreeSet<CloudWatchDimension> = CloudWatchDimension::DEFAULT.into(),
                choices(), set(impl Into<BTreeSet<CloudWatchDimension>>);
            /// How often metrics are sent to CloudWatch, as a duration: one call per 1,000 metrics each. Default `1m`, at least
            /// `1s`. Only with `monitoring = cloudwatch`.
            CloudWatchInterval = "cloudwatch_interval": cloudwatch_interval: Duration = Duration::from_secs(60),
                duration_from(SECOND), set(Duration);
            /// The resolution at which CloudWatch keeps metrics: `1m`, or `1s` (high resolution, to be useful with a shorter
            /// `cloudwatch_interval`). Default `1m`. Only with `monitoring = cloudwatch`.
            CloudWatchResolution = "cloudwatch_resolution": cloudwatch_resolution: Duration = Duration::from_secs(60),
                cloudwatch_resolution(), set(Duration);
            /// The OpenTelemetry collector, which takes protobuf over HTTP: the URL in front of `/v1/metrics` and `/v1/traces`.
            /// Default `http://127.0.0.1:4318`. Only with `monitoring = otlp`.
            OtlpEndpoint = "otlp_endpoint": otlp_endpoint: String = "http://127.0.0.1:4318".to_owned(),
                collector_url(), set(impl Into<String>);
            /// Headers for the collector, as `name=value` with commas between them, or `none`. Default `none`. Only with
            /// `monitoring = otlp`. Their values are never shown.
            OtlpHeaders = "otlp_headers": otlp_headers: Vec<(String, String)> = Vec::new(),
                headers(), set(impl Into<Vec<(String, String)>>);
            /// How often metrics are sent to the collector, as a duration. Default `10s`, at least `1s`. Only with
            /// `monitoring = otlp`.
            OtlpInterval = "otlp_interval": otlp_interval: Duration = Duration::from_secs(10),
                duration_from(SECOND), set(Duration);
        }
    };
}
pub(crate) use settings_table;

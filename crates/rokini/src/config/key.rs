//! The keys: one list for the builder, the environment and the configuration file.

use std::fmt;
use std::str::FromStr;

use crate::types::error::{Error, ErrorKind};

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A setting of a consumer.
        ///
        /// The text form is the key of the configuration file; with `ROKINI_` in front and in capitals it is
        /// the environment variable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ConfigKey {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ConfigKey {
            /// Every key, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The key as the configuration file has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc, "\n"),+)),+ }
            }
        }
    };
}

keys! {
    /// The stream: its name, or its ARN where it belongs to another account. Several with commas between them (in a
    /// file also as an array). No default.
    Stream = "stream",
    /// The group (KCL: application) whose workers share the shards. No default.
    Group = "group",
    /// The stable name of this worker, different for each worker of the group. Default: made up for this run (by
    /// the binary out of the host's name and the process id), so that a restart is a new worker.
    Worker = "worker",
    /// The DynamoDB table that keeps leases and positions of any number of groups. Default `rokini`.
    Table = "table",
    /// Whether to make the table where it is missing: `true` or `false`. Default `false`.
    CreateTable = "create_table",
    /// How a table that is made is paid for: `pay_per_request` or `provisioned`. Default `pay_per_request`.
    /// Only with `create_table`.
    BillingMode = "billing_mode",
    /// Read units of a provisioned table that is made, 1 or more. Default 10, as in the KCL. Only with
    /// `billing_mode = provisioned`.
    ReadCapacityUnits = "read_capacity_units",
    /// Write units of a provisioned table that is made, 1 or more. Default 10, as in the KCL. Only with
    /// `billing_mode = provisioned`.
    WriteCapacityUnits = "write_capacity_units",
    /// Over how many partition keys of the table the rows of a new group are spread, 1 to 65535, or `stored`. Default
    /// `stored`: as the group began, and 1 for a new one. More than 1 is for groups of over 250 workers or so: DynamoDB
    /// gives a partition key 1,000 write units and 3,000 read units a second. A group keeps the number it began with.
    TablePartitions = "table_partitions",
    /// Where a group starts that has no position yet: `trim_horizon` (the oldest record kept), `latest` (what
    /// is put from now on), a time (RFC 3339 such as `2026-01-31T12:00:00Z`, or milliseconds since the Unix
    /// epoch), `at:<sequence number>` or `after:<sequence number>`. Default `trim_horizon`. A group that has
    /// positions goes on from those.
    Start = "start",
    /// After how long without a heartbeat a worker counts as dead and its shards move, as a duration. Default
    /// `10s`. At least four heartbeats and at least `1s`.
    Failover = "failover",
    /// How often a worker says that it is alive, as a duration: one write each. Default `1s`. At most a quarter
    /// of `failover`, at least `100ms`.
    Heartbeat = "heartbeat",
    /// How often the position of a shard is stored at most, as a duration; also stored at hand-over, at the end
    /// of a shard and at shutdown. Default `5s`; `0s` stores after every batch.
    CheckpointInterval = "checkpoint_interval",
    /// Time between two reads of a shard that gets records, as a duration. Default and least `200ms`: a shard
    /// takes 5 reads a second (Kinesis limit), shared by all groups that poll it. A shard that is behind is
    /// read at once again.
    PollFloor = "poll_floor",
    /// Time between two reads of a shard that has been quiet for long, as a duration. Default `1s`; from
    /// `poll_floor` to `1m`. Higher costs fewer calls, and latency on the first record after a silence.
    PollCeiling = "poll_ceiling",
    /// Records asked for in one read, 1 to 10000 (Kinesis limit). Default 10000.
    MaxRecords = "max_records",
    /// Shards this worker takes at most, 1 or more, or `unlimited`. Default `unlimited`.
    MaxLeases = "max_leases",
    /// How shards are spread over the workers that read their stream: `even`, by their number, or `throughput`, by the
    /// bytes a second that each brought in the last minutes. Default `even`. The same for all workers of a group. A
    /// function of your own goes to the builder's `balance_policy`.
    Balance = "balance",
    /// How long a shutdown waits for handlers before it abandons them, as a duration. Default `25s`, which fits
    /// into the 30 s that Kubernetes grants.
    ShutdownDeadline = "shutdown_deadline",
    /// Whether a batch counts as done when the handler returns without an error: `true` or `false`. Default
    /// `true`. With `false` user code checkpoints.
    AutoCheckpoint = "auto_checkpoint",
    /// How long one handler call may take, and one ack token may be kept, before that counts as failed, as a duration,
    /// or `unlimited`. Default `unlimited`: a slow handler keeps its shard. Not for a stream of records (`into_stream`).
    HandlerTimeout = "handler_timeout",
    /// Records of one handler call, at most: 1 or more, or `unlimited`. Default `unlimited`: as many as one read
    /// brought.
    BatchMaxRecords = "batch_max_records",
    /// Bytes of data of one handler call, at most: 1 or more, or `unlimited`. Default `unlimited`. A single larger
    /// record is a batch of its own.
    BatchMaxBytes = "batch_max_bytes",
    /// How long records wait to go to the handler in a larger batch, as a duration. Default `0s`: not at all. With
    /// more, a batch can have the records of several reads. It never delays the end of a shard, a hand-over or a
    /// shutdown.
    BatchMaxWait = "batch_max_wait",
    /// Handler calls of one shard at the same time, 1 to 1000. Default 1. With more, each of so many processors gets
    /// the records of its own partition keys, in order, and reading goes on up to `max_outstanding_records` ahead of
    /// the oldest record that is not done.
    Concurrency = "concurrency",
    /// Records of a shard from the oldest that is not done to the newest that was taken up, from which on no more are
    /// taken up: 1 or more. Default 10000, the most that one read brings. Matters with `concurrency`, ack tokens and
    /// `park`; the last read may go beyond it.
    MaxOutstandingRecords = "max_outstanding_records",
    /// The same in bytes of data. Default 33554432 (32 MiB; one read brings at most 10 MB).
    MaxOutstandingBytes = "max_outstanding_bytes",
    /// What becomes of records that fail `max_attempts` times or for `max_failure_age`: `retry` (they are tried again
    /// for ever), `halt` (their shard stands still until it is told to go on), `skip` (they are passed over; a note
    /// stays on the lease), `dead_letter` (they go to the dead-letter sink and are passed once it has them). Default
    /// `retry`.
    OnFailure = "on_failure",
    /// How often the handler is called with the same failing records before `on_failure` applies, 1 or more, or
    /// `unlimited`. Default `unlimited`.
    MaxAttempts = "max_attempts",
    /// For how long the same records may fail before `on_failure` applies, as a duration from their first failure, or
    /// `unlimited`. Default `unlimited`.
    MaxFailureAge = "max_failure_age",
    /// Whether the failing one of several records is searched for, so that `on_failure` applies to it alone: `true` or
    /// `false`. Default `true`. With `false` it applies to the whole batch.
    Bisect = "bisect",
    /// Whether a failing record holds up the records of its own partition key only: `true` or `false`. Default `false`:
    /// it holds up its shard (its lane, with `concurrency`). With `true` the failing one of several records is searched
    /// for at once.
    Park = "park",
    /// Whether something outside (a StatefulSet, for example) vouches that no two live processes have the same
    /// worker name: `true` or `false`. Default `false`. With `true` a restarted worker gets its shards back
    /// after two silent heartbeats in place of `failover`.
    UniqueWorkerNames = "unique_worker_names",
    /// How long a shard may be asked for records without an answer, as a duration, beyond `poll_ceiling`. Default
    /// `1m`, at least `1s`. Then another reader is tried; the second time the shard goes to another worker, where
    /// there is one.
    StallTimeout = "stall_timeout",
    /// What to do when records may have been trimmed before they were read: `continue` with the oldest record kept,
    /// or `halt` the shard until `Handle::retry_halted` or a seek to the oldest record; a restart halts again. Default
    /// `continue`. An event tells in either case.
    OnDataLoss = "on_data_loss",
    /// From which share of the retention on an event warns that records that are not done will be trimmed: a whole
    /// number of percent, 1 to 100. Default 50.
    DataLossWarning = "data_loss_warning",
    /// Whether the children of a split or a merge start without waiting until their parents are done: `true` or
    /// `false`. Default `false`, which keeps the order per partition key. The same for all workers of a group.
    /// Called `IgnoreShardOrdering` in gokini.
    IgnoreShardOrder = "ignore_shard_order",
    /// How often the group compares its shards with the stream's listing and mends holes, as a duration: one
    /// listing per stream, whatever the number of workers. Default `1m`, at least `1s`.
    AuditInterval = "audit_interval",
    /// Whether this worker reads every shard by itself, from now on, with nothing shared and nothing stored: `true` or
    /// `false`. Default `false`. With `true` there is no table, `start` is `latest`, `group` is only a name (default
    /// `broadcast`), and the settings of leases, positions and the table are refused.
    Broadcast = "broadcast",
    /// Where records go that the failure policy gives up, kept there before their position passes: `file:<path>`
    /// (JSON lines, fsync after each letter), `kinesis:<name or ARN>` (another stream, the same partition keys) or
    /// `sqs:<URL>` (a queue). What is too large for one message there comes in several, nothing is cut. No default.
    DeadLetter = "dead_letter",
    /// How long a shard may make no progress before it counts as stalled, as a duration: a handler call that does not
    /// return, a stream that does not answer (on top of `poll_ceiling`), a lag that is greater and grows. Then an event
    /// says so, and the worker is not ready. Default `5s`, at least `1s`. Raise it where handler calls take longer.
    StallAfter = "stall_after",
    /// The lag above which the group should have more workers, as a duration: at most twice as many at once, in
    /// proportion. Below a tenth of it one worker is too many. Only for what autoscalers read. Default `1m`, at least
    /// `1s`.
    TargetLag = "target_lag",
    /// How many shards a worker should have at most, 1 or more, or `unlimited`. Only for what autoscalers read. Default
    /// `unlimited`.
    ShardsPerWorker = "shards_per_worker",
    /// Where metrics go, besides to recorders of the application: `none`, or a list out of `prometheus`,
    /// `cloudwatch`, `otlp`, such as `prometheus,otlp`. Default `none`. The features of the same names have to be
    /// compiled in (`prometheus` is by default, and the binary has all).
    Monitoring = "monitoring",
    /// The address at which the worker answers probes and scrapers, such as `0.0.0.0:9464`; port 0 is any that is free;
    /// `none` for no listener. Default `none`. `GET /healthz` (restart me), `/readyz` (I do my part), `/scale` (for
    /// autoscalers) and, with `monitoring = prometheus`, `/metrics`. Without encryption and credentials: for a network
    /// that is trusted.
    MonitoringListen = "monitoring_listen",
    /// Whether the metrics of shards have a label `shard`: `true` or `false`. Default `true`. With `false` the shards
    /// of a stream are one series in each worker (the greatest lag, the sum of the records), for streams with many
    /// thousands of shards. Only with `monitoring`.
    MetricsShardLabel = "metrics_shard_label",
    /// The namespace in CloudWatch. Default: the group, as the KCL has it. Only with `monitoring = cloudwatch`.
    CloudWatchNamespace = "cloudwatch_namespace",
    /// How much is sent to CloudWatch: `none`, `summary` or `detailed`. Default `summary`. CloudWatch charges for each
    /// combination of name and dimensions: with the dimension `shard`, `summary` has 4 to 9 for each shard, `detailed` 5
    /// more. Only with `monitoring = cloudwatch`.
    CloudWatchLevel = "cloudwatch_level",
    /// The dimensions of metrics in CloudWatch: `none`, or a list out of `operation`, `shard`, `stream`, `worker`. Each
    /// metric has those of them that the KCL gives it; without a dimension its values become one. Default
    /// `operation,shard,worker`, as the KCL has them for one stream. Only with `monitoring = cloudwatch`.
    CloudWatchDimensions = "cloudwatch_dimensions",
    /// How often metrics are sent to CloudWatch, as a duration: one call per 1,000 metrics each. Default `1m`, at least
    /// `1s`. Only with `monitoring = cloudwatch`.
    CloudWatchInterval = "cloudwatch_interval",
    /// The resolution at which CloudWatch keeps metrics: `1m`, or `1s` (high resolution, to be useful with a shorter
    /// `cloudwatch_interval`). Default `1m`. Only with `monitoring = cloudwatch`.
    CloudWatchResolution = "cloudwatch_resolution",
    /// The OpenTelemetry collector, which takes protobuf over HTTP: the URL in front of `/v1/metrics` and `/v1/traces`.
    /// Default `http://127.0.0.1:4318`. Only with `monitoring = otlp`.
    OtlpEndpoint = "otlp_endpoint",
    /// Headers for the collector, as `name=value` with commas between them, or `none`. Default `none`. Only with
    /// `monitoring = otlp`. Their values are never shown.
    OtlpHeaders = "otlp_headers",
    /// How often metrics are sent to the collector, as a duration. Default `10s`, at least `1s`. Only with
    /// `monitoring = otlp`.
    OtlpInterval = "otlp_interval",
}

impl ConfigKey {
    /// What the setting does, its unit and its default, in a few sentences.
    #[must_use]
    pub fn help(self) -> String {
        self.doc().lines().map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// The environment variable: `ROKINI_` and the name in capitals.
    #[must_use]
    pub fn env_name(self) -> String {
        format!("{ENV_PREFIX}{}", self.name().to_ascii_uppercase())
    }
}

/// What every environment variable of the library starts with.
pub(super) const ENV_PREFIX: &str = "ROKINI_";

/// Whether Kubernetes sets a variable of this name in every pod beside a service called `rokini` or `rokini-<more>`
/// ("service links", in the form of Docker's links).
pub(super) fn is_service_link(name: &str) -> bool {
    let ends = name.ends_with("_SERVICE_HOST") || name.ends_with("_PORT");
    // Overlapping too: a service can be called `rokini-port`.
    let mut ports = name.char_indices().filter_map(|(at, _)| name[at..].strip_prefix("_PORT_"));
    ends || name.contains("_SERVICE_PORT_") || ports.any(is_port_of_a_link)
}

/// `<digits>_<protocol>`, and what is said about it.
fn is_port_of_a_link(text: &str) -> bool {
    let mut parts = text.split('_');
    let is_number = parts
        .next()
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    is_number
        && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
        && parts.next().is_none_or(|what| ["ADDR", "PORT", "PROTO"].contains(&what))
        && parts.next().is_none()
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ConfigKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|key| key.name() == text);
        known.ok_or_else(|| unknown("setting", text, |key| key.name().to_owned()))
    }
}

/// The error for a name that is no key, with the key that was probably meant, as `spell` writes it.
pub(super) fn unknown(what: &str, given: &str, spell: impl Fn(ConfigKey) -> String) -> Error {
    let shown: String = given.chars().take(80).collect();
    let hint = match nearest(&shown, &spell) {
        Some(key) => format!("did you mean `{}`?", spell(key)),
        None => {
            let known: Vec<_> = ConfigKey::ALL.iter().map(|key| spell(*key)).collect();
            format!("known are {}", known.join(", "))
        }
    };
    Error::new(ErrorKind::Configuration, format!("unknown {what} `{shown}`: {hint}"))
}

/// The key with the fewest differences, if they are few enough for a slip.
fn nearest(given: &str, spell: impl Fn(ConfigKey) -> String) -> Option<ConfigKey> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let given = plain(given);
    ConfigKey::ALL
        .iter()
        .map(|key| (distance(&given, &plain(&spell(*key))), *key))
        .min()
        .filter(|(differences, key)| *differences <= 1 + key.name().len() / 4)
        .map(|(_, key)| key)
}

/// How many letters must be added, removed or changed to turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_round_trip() {
        for key in ConfigKey::ALL {
            assert_eq!(key.to_string().parse::<ConfigKey>().unwrap(), *key);
        }
    }

    #[test]
    fn no_key_looks_like_what_kubernetes_sets_for_services() {
        for key in ConfigKey::ALL {
            assert!(!is_service_link(&key.env_name()), "{key}");
        }
    }

    #[test]
    fn every_key_says_its_default() {
        for key in ConfigKey::ALL {
            assert!(key.help().to_lowercase().contains("default"), "{key}: {}", key.help());
        }
    }

    #[test]
    fn t3_unknown_setting_names_the_nearest_known_one() {
        for (given, meant) in [
            ("failver", "failover"),
            ("Failover", "failover"),
            ("heart_beat", "heartbeat"),
            ("create-table", "create_table"),
            ("max_record", "max_records"),
            ("pol_floor", "poll_floor"),
        ] {
            let error = given.parse::<ConfigKey>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert_eq!(error.to_string(), format!("unknown setting `{given}`: did you mean `{meant}`?"));
        }
    }

    #[test]
    fn a_setting_like_no_other_lists_the_known_ones() {
        let error = "retries_of_something".parse::<ConfigKey>().unwrap_err().to_string();
        assert!(error.contains("known are stream, group, worker"), "{error}");
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ac", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}

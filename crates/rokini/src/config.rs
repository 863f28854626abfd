//! The settings of a consumer, by one set of keys from the builder, the environment and a TOML file.

mod key;
pub(crate) mod monitoring;
mod secret;
mod text;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::Deref;
use std::time::Duration;

use rokini_lease::{GroupId, WorkerName};

pub use key::ConfigKey;
pub use monitoring::{CloudWatchDimension, CloudWatchLevel, Monitoring};

use crate::types::dead_letter_target::{self, DeadLetterTarget};
use crate::types::error::{Error, ErrorKind};
use crate::types::failure::OnFailure;
use crate::types::start_position::{self, StartPosition};
use crate::types::stream_ref::StreamRef;

/// How a DynamoDB table is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Billing {
    /// For each request.
    #[default]
    PayPerRequest,
    /// For capacity set beforehand.
    Provisioned,
}

/// What to do when records may have been trimmed before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDataLoss {
    /// Go on with the oldest record kept.
    #[default]
    Continue,
    /// Stand still until the shard is told to go on.
    Halt,
}

/// How shards are spread over workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// As many shards for one worker as for another.
    #[default]
    Even,
    /// As many bytes a second for one worker as for another.
    Throughput,
}

impl Balance {
    fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::Throughput => "throughput",
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where the value of a setting comes from. The later of two wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigOrigin {
    /// Not set anywhere.
    Default,
    /// A configuration file.
    File,
    /// The environment.
    Environment,
    /// The program.
    Builder,
}

impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Builder => "builder",
        })
    }
}

/// The values of all settings. What each one does, its unit and its default is written at its [`ConfigKey`].
///
/// `Debug` shows them as texts, and secrets as `***`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// [`ConfigKey::Stream`]
    pub streams: Vec<StreamRef>,
    /// [`ConfigKey::Group`]
    pub group: Option<GroupId>,
    /// [`ConfigKey::Worker`]
    pub worker: Option<WorkerName>,
    /// [`ConfigKey::Table`]
    pub table: String,
    /// [`ConfigKey::CreateTable`]
    pub create_table: bool,
    /// [`ConfigKey::TablePartitions`]; `None` is as stored.
    pub table_partitions: Option<NonZeroU16>,
    /// [`ConfigKey::BillingMode`]
    pub billing_mode: Billing,
    /// [`ConfigKey::ReadCapacityUnits`]
    pub read_capacity_units: NonZeroU64,
    /// [`ConfigKey::WriteCapacityUnits`]
    pub write_capacity_units: NonZeroU64,
    /// [`ConfigKey::Start`]
    pub start: StartPosition,
    /// [`ConfigKey::Failover`]
    pub failover: Duration,
    /// [`ConfigKey::Heartbeat`]
    pub heartbeat: Duration,
    /// [`ConfigKey::CheckpointInterval`]
    pub checkpoint_interval: Duration,
    /// [`ConfigKey::PollFloor`]
    pub poll_floor: Duration,
    /// [`ConfigKey::PollCeiling`]
    pub poll_ceiling: Duration,
    /// [`ConfigKey::MaxRecords`]
    pub max_records: u16,
    /// [`ConfigKey::MaxLeases`]; `None` is unlimited.
    pub max_leases: Option<NonZeroU32>,
    /// [`ConfigKey::Balance`]
    pub balance: Balance,
    /// [`ConfigKey::ShutdownDeadline`]
    pub shutdown_deadline: Duration,
    /// [`ConfigKey::AutoCheckpoint`]
    pub auto_checkpoint: bool,
    /// [`ConfigKey::HandlerTimeout`]; `None` is unlimited.
    pub handler_timeout: Option<Duration>,
    /// [`ConfigKey::BatchMaxRecords`]; unlimited is the largest number.
    pub batch_max_records: NonZeroUsize,
    /// [`ConfigKey::BatchMaxBytes`]; unlimited is the largest number.
    pub batch_max_bytes: NonZeroUsize,
    /// [`ConfigKey::BatchMaxWait`]
    pub batch_max_wait: Duration,
    /// [`ConfigKey::Concurrency`]
    pub concurrency: NonZeroUsize,
    /// [`ConfigKey::MaxOutstandingRecords`]
    pub max_outstanding_records: NonZeroUsize,
    /// [`ConfigKey::MaxOutstandingBytes`]
    pub max_outstanding_bytes: NonZeroUsize,
    /// [`ConfigKey::OnFailure`]
    pub on_failure: OnFailure,
    /// [`ConfigKey::MaxAttempts`]; `None` is unlimited.
    pub max_attempts: Option<NonZeroU32>,
    /// [`ConfigKey::MaxFailureAge`]; `None` is unlimited.
    pub max_failure_age: Option<Duration>,
    /// [`ConfigKey::Bisect`]
    pub bisect: bool,
    /// [`ConfigKey::Park`]
    pub park: bool,
    /// [`ConfigKey::UniqueWorkerNames`]
    pub unique_worker_names: bool,
    /// [`ConfigKey::StallTimeout`]
    pub stall_timeout: Duration,
    /// [`ConfigKey::OnDataLoss`]
    pub on_data_loss: OnDataLoss,
    /// [`ConfigKey::DataLossWarning`], in percent.
    pub data_loss_warning: u8,
    /// [`ConfigKey::IgnoreShardOrder`]
    pub ignore_shard_order: bool,
    /// [`ConfigKey::AuditInterval`]
    pub audit_interval: Duration,
    /// [`ConfigKey::Broadcast`]
    pub broadcast: bool,
    /// [`ConfigKey::DeadLetter`]
    pub dead_letter: Option<DeadLetterTarget>,
    /// [`ConfigKey::StallAfter`]
    pub stall_after: Duration,
    /// [`ConfigKey::TargetLag`]
    pub target_lag: Duration,
    /// [`ConfigKey::ShardsPerWorker`]; `None` is unlimited.
    pub shards_per_worker: Option<NonZeroU32>,
    /// [`ConfigKey::Monitoring`]; empty is `none`.
    pub monitoring: BTreeSet<Monitoring>,
    /// [`ConfigKey::MonitoringListen`]; `None` is `none`.
    pub monitoring_listen: Option<SocketAddr>,
    /// [`ConfigKey::MetricsShardLabel`]
    pub metrics_shard_label: bool,
    /// [`ConfigKey::CloudWatchNamespace`]
    pub cloudwatch_namespace: Option<String>,
    /// [`ConfigKey::CloudWatchLevel`]
    pub cloudwatch_level: CloudWatchLevel,
    /// [`ConfigKey::CloudWatchDimensions`]; empty is `none`.
    pub cloudwatch_dimensions: BTreeSet<CloudWatchDimension>,
    /// [`ConfigKey::CloudWatchInterval`]
    pub cloudwatch_interval: Duration,
    /// [`ConfigKey::CloudWatchResolution`]
    pub cloudwatch_resolution: Duration,
    /// [`ConfigKey::OtlpEndpoint`]
    pub otlp_endpoint: String,
    /// [`ConfigKey::OtlpHeaders`]; empty is `none`.
    pub otlp_headers: Vec<(String, String)>,
    /// [`ConfigKey::OtlpInterval`]
    pub otlp_interval: Duration,
}

const TEN_UNITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(9);

/// As many as one read brings (Kinesis limit).
const MAX_OUTSTANDING_RECORDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// Three times what one read brings at most.
const MAX_OUTSTANDING_BYTES: NonZeroUsize = NonZeroUsize::MIN.saturating_add((32 << 20) - 1);

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            group: None,
            worker: None,
            table: "rokini".to_owned(),
            create_table: false,
            table_partitions: None,
            billing_mode: Billing::PayPerRequest,
            read_capacity_units: TEN_UNITS,
            write_capacity_units: TEN_UNITS,
            start: StartPosition::TrimHorizon,
            failover: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(5),
            poll_floor: POLL_FLOOR,
            poll_ceiling: Duration::from_secs(1),
            max_records: 10_000,
            max_leases: None,
            balance: Balance::Even,
            shutdown_deadline: Duration::from_secs(25),
            auto_checkpoint: true,
            handler_timeout: None,
            batch_max_records: NonZeroUsize::MAX,
            batch_max_bytes: NonZeroUsize::MAX,
            batch_max_wait: Duration::ZERO,
            concurrency: NonZeroUsize::MIN,
            max_outstanding_records: MAX_OUTSTANDING_RECORDS,
            max_outstanding_bytes: MAX_OUTSTANDING_BYTES,
            on_failure: OnFailure::Retry,
            max_attempts: None,
            max_failure_age: None,
            bisect: true,
            park: false,
            unique_worker_names: false,
            stall_timeout: Duration::from_secs(60),
            on_data_loss: OnDataLoss::Continue,
            data_loss_warning: 50,
            ignore_shard_order: false,
            audit_interval: Duration::from_secs(60),
            broadcast: false,
            dead_letter: None,
            stall_after: Duration::from_secs(5),
            target_lag: Duration::from_secs(60),
            shards_per_worker: None,
            monitoring: BTreeSet::new(),
            monitoring_listen: None,
            metrics_shard_label: true,
            cloudwatch_namespace: None,
            cloudwatch_level: CloudWatchLevel::Summary,
            cloudwatch_dimensions: [
                CloudWatchDimension::Operation,
                CloudWatchDimension::Shard,
                CloudWatchDimension::Worker,
            ]
            .into(),
            cloudwatch_interval: Duration::from_secs(60),
            cloudwatch_resolution: Duration::from_secs(60),
            otlp_endpoint: "http://127.0.0.1:4318".to_owned(),
            otlp_headers: Vec::new(),
            otlp_interval: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Settings");
        for key in ConfigKey::ALL {
            shown.field(key.name(), &self.shown(*key));
        }
        shown.finish()
    }
}

/// 5 reads a second and shard (Kinesis limit).
const POLL_FLOOR: Duration = Duration::from_millis(200);

impl Settings {
    /// Reads one value. `Err` says what would be accepted.
    fn assign(&mut self, key: ConfigKey, text: &str) -> Result<(), &'static str> {
        match key {
            ConfigKey::Stream => {
                self.streams = value::streams(text)?;
            }
            ConfigKey::Group => self.group = Some(GroupId::new(text).map_err(|_| NAME)?),
            ConfigKey::Worker => self.worker = Some(WorkerName::new(text).map_err(|_| NAME)?),
            ConfigKey::Table => self.table = value::table(text)?,
            ConfigKey::CreateTable => self.create_table = value::flag(text)?,
            ConfigKey::BillingMode => {
                self.billing_mode = match text {
                    "pay_per_request" => Billing::PayPerRequest,
                    "provisioned" => Billing::Provisioned,
                    _ => return Err("`pay_per_request` or `provisioned`"),
                };
            }
            ConfigKey::ReadCapacityUnits => self.read_capacity_units = value::units(text)?,
            ConfigKey::WriteCapacityUnits => self.write_capacity_units = value::units(text)?,
            ConfigKey::Start => self.start = start_position::parse(text).ok_or(start_position::ACCEPTED)?,
            ConfigKey::Failover => self.failover = value::duration(text)?,
            ConfigKey::Heartbeat => self.heartbeat = value::duration(text)?,
            ConfigKey::CheckpointInterval => self.checkpoint_interval = value::duration(text)?,
            ConfigKey::PollFloor => self.poll_floor = value::duration(text)?,
            ConfigKey::PollCeiling => self.poll_ceiling = value::duration(text)?,
            ConfigKey::MaxRecords => self.max_records = value::max_records(text)?,
            ConfigKey::TablePartitions => self.table_partitions = value::partitions(text)?,
            ConfigKey::MaxLeases => self.max_leases = value::max_leases(text)?,
            ConfigKey::Balance => {
                self.balance = match text {
                    "even" => Balance::Even,
                    "throughput" => Balance::Throughput,
                    _ => return Err("`even` or `throughput`"),
                };
            }
            ConfigKey::ShutdownDeadline => self.shutdown_deadline = value::duration(text)?,
            ConfigKey::AutoCheckpoint => self.auto_checkpoint = value::flag(text)?,
            ConfigKey::HandlerTimeout => self.handler_timeout = value::timeout(text)?,
            ConfigKey::BatchMaxRecords => self.batch_max_records = value::most(text)?,
            ConfigKey::BatchMaxBytes => self.batch_max_bytes = value::most(text)?,
            ConfigKey::BatchMaxWait => self.batch_max_wait = value::duration(text)?,
            ConfigKey::Concurrency => self.concurrency = value::concurrency(text)?,
            ConfigKey::MaxOutstandingRecords => self.max_outstanding_records = value::count(text)?,
            ConfigKey::MaxOutstandingBytes => self.max_outstanding_bytes = value::count(text)?,
            ConfigKey::OnFailure => self.on_failure = value::on_failure(text)?,
            ConfigKey::MaxAttempts => self.max_attempts = value::max_attempts(text)?,
            ConfigKey::MaxFailureAge => self.max_failure_age = value::timeout(text)?,
            ConfigKey::Bisect => self.bisect = value::flag(text)?,
            ConfigKey::Park => self.park = value::flag(text)?,
            ConfigKey::UniqueWorkerNames => self.unique_worker_names = value::flag(text)?,
            ConfigKey::StallTimeout => self.stall_timeout = value::duration(text)?,
            ConfigKey::OnDataLoss => {
                self.on_data_loss = match text {
                    "continue" => OnDataLoss::Continue,
                    "halt" => OnDataLoss::Halt,
                    _ => return Err("`continue` or `halt`"),
                };
            }
            ConfigKey::DataLossWarning => self.data_loss_warning = value::percent(text)?,
            ConfigKey::IgnoreShardOrder => self.ignore_shard_order = value::flag(text)?,
            ConfigKey::AuditInterval => self.audit_interval = value::duration(text)?,
            ConfigKey::Broadcast => self.broadcast = value::flag(text)?,
            ConfigKey::DeadLetter => {
                self.dead_letter = Some(dead_letter_target::parse(text).ok_or(dead_letter_target::ACCEPTED)?);
            }
            ConfigKey::StallAfter => self.stall_after = value::duration(text)?,
            ConfigKey::TargetLag => self.target_lag = value::duration(text)?,
            ConfigKey::ShardsPerWorker => self.shards_per_worker = value::max_leases(text)?,
            ConfigKey::Monitoring => self.monitoring = monitoring::parse(text)?,
            ConfigKey::MonitoringListen => self.monitoring_listen = monitoring::parse_listen(text)?,
            ConfigKey::MetricsShardLabel => self.metrics_shard_label = value::flag(text)?,
            ConfigKey::CloudWatchNamespace => self.cloudwatch_namespace = Some(monitoring::namespace(text)?),
            ConfigKey::CloudWatchLevel => self.cloudwatch_level = monitoring::level(text)?,
            ConfigKey::CloudWatchDimensions => self.cloudwatch_dimensions = monitoring::dimensions(text)?,
            ConfigKey::CloudWatchInterval => self.cloudwatch_interval = value::duration(text)?,
            ConfigKey::CloudWatchResolution => self.cloudwatch_resolution = monitoring::resolution(text)?,
            ConfigKey::OtlpEndpoint => self.otlp_endpoint = monitoring::endpoint(text)?,
            ConfigKey::OtlpHeaders => self.otlp_headers = monitoring::headers(text)?,
            ConfigKey::OtlpInterval => self.otlp_interval = value::duration(text)?,
        }
        Ok(())
    }

    /// The value as people may see it; `None` where there is none.
    pub(crate) fn shown(&self, key: ConfigKey) -> Option<String> {
        self.text(key).map(|text| secret::shown(key, &text))
    }

    /// The value as [`Settings::assign`] takes it; `None` where there is none.
    fn text(&self, key: ConfigKey) -> Option<String> {
        let unlimited = || value::UNLIMITED.to_owned();
        Some(match key {
            ConfigKey::Stream if self.streams.is_empty() => return None,
            ConfigKey::Stream => value::streams_text(&self.streams),
            ConfigKey::Group => self.group.as_ref()?.to_string(),
            ConfigKey::Worker => self.worker.as_ref()?.to_string(),
            ConfigKey::Table => self.table.clone(),
            ConfigKey::CreateTable => self.create_table.to_string(),
            ConfigKey::BillingMode => match self.billing_mode {
                Billing::PayPerRequest => "pay_per_request".to_owned(),
                Billing::Provisioned => "provisioned".to_owned(),
            },
            ConfigKey::ReadCapacityUnits => self.read_capacity_units.to_string(),
            ConfigKey::WriteCapacityUnits => self.write_capacity_units.to_string(),
            ConfigKey::Start => self.start.to_string(),
            ConfigKey::Failover => value::duration_text(self.failover),
            ConfigKey::Heartbeat => value::duration_text(self.heartbeat),
            ConfigKey::CheckpointInterval => value::duration_text(self.checkpoint_interval),
            ConfigKey::PollFloor => value::duration_text(self.poll_floor),
            ConfigKey::PollCeiling => value::duration_text(self.poll_ceiling),
            ConfigKey::MaxRecords => self.max_records.to_string(),
            ConfigKey::TablePartitions => {
                self.table_partitions.map_or_else(|| value::STORED.to_owned(), |count| count.to_string())
            }
            ConfigKey::MaxLeases => self.max_leases.map_or_else(unlimited, |count| count.to_string()),
            ConfigKey::Balance => self.balance.to_string(),
            ConfigKey::ShutdownDeadline => value::duration_text(self.shutdown_deadline),
            ConfigKey::AutoCheckpoint => self.auto_checkpoint.to_string(),
            ConfigKey::HandlerTimeout => self.handler_timeout.map_or_else(unlimited, value::duration_text),
            ConfigKey::BatchMaxRecords => value::most_text(self.batch_max_records),
            ConfigKey::BatchMaxBytes => value::most_text(self.batch_max_bytes),
            ConfigKey::BatchMaxWait => value::duration_text(self.batch_max_wait),
            ConfigKey::Concurrency => self.concurrency.to_string(),
            ConfigKey::MaxOutstandingRecords => self.max_outstanding_records.to_string(),
            ConfigKey::MaxOutstandingBytes => self.max_outstanding_bytes.to_string(),
            ConfigKey::OnFailure => self.on_failure.to_string(),
            ConfigKey::MaxAttempts => self.max_attempts.map_or_else(unlimited, |count| count.to_string()),
            ConfigKey::MaxFailureAge => self.max_failure_age.map_or_else(unlimited, value::duration_text),
            ConfigKey::Bisect => self.bisect.to_string(),
            ConfigKey::Park => self.park.to_string(),
            ConfigKey::UniqueWorkerNames => self.unique_worker_names.to_string(),
            ConfigKey::StallTimeout => value::duration_text(self.stall_timeout),
            ConfigKey::OnDataLoss => match self.on_data_loss {
                OnDataLoss::Continue => "continue".to_owned(),
                OnDataLoss::Halt => "halt".to_owned(),
            },
            ConfigKey::DataLossWarning => self.data_loss_warning.to_string(),
            ConfigKey::IgnoreShardOrder => self.ignore_shard_order.to_string(),
            ConfigKey::AuditInterval => value::duration_text(self.audit_interval),
            ConfigKey::Broadcast => self.broadcast.to_string(),
            ConfigKey::DeadLetter => self.dead_letter.as_ref()?.to_string(),
            ConfigKey::StallAfter => value::duration_text(self.stall_after),
            ConfigKey::TargetLag => value::duration_text(self.target_lag),
            ConfigKey::ShardsPerWorker => {
                self.shards_per_worker.map_or_else(unlimited, |count| count.to_string())
            }
            ConfigKey::Monitoring => monitoring::text(&self.monitoring),
            ConfigKey::MonitoringListen => monitoring::listen_text(self.monitoring_listen),
            ConfigKey::MetricsShardLabel => self.metrics_shard_label.to_string(),
            ConfigKey::CloudWatchNamespace => self.cloudwatch_namespace.clone()?,
            ConfigKey::CloudWatchLevel => self.cloudwatch_level.name().to_owned(),
            ConfigKey::CloudWatchDimensions => monitoring::dimensions_text(&self.cloudwatch_dimensions),
            ConfigKey::CloudWatchInterval => value::duration_text(self.cloudwatch_interval),
            ConfigKey::CloudWatchResolution => value::duration_text(self.cloudwatch_resolution),
            ConfigKey::OtlpEndpoint => self.otlp_endpoint.clone(),
            ConfigKey::OtlpHeaders => monitoring::headers_text(&self.otlp_headers),
            ConfigKey::OtlpInterval => value::duration_text(self.otlp_interval),
        })
    }
}

const NAME: &str = "1 to 255 characters out of letters, digits, `.`, `_`, `-`, `@` and `/`";

/// The settings of a consumer and where each comes from. Reads like [`Settings`].
///
/// The program wins over the environment, the environment over the file, the file over the default. The library
/// reads no environment and no file by itself: hand them in.
///
/// ```
/// use std::time::Duration;
/// use rokini::{ConfigKey, ConsumerConfig};
///
/// let file = ConsumerConfig::from_toml_str("group = 'billing'\nfailover = '20s'")?;
/// let environment = ConsumerConfig::from_env([("ROKINI_FAILOVER".to_owned(), "15s".to_owned())])?;
/// let mut config = file.merge(environment);
/// config.set(ConfigKey::Heartbeat, "2s")?;
///
/// assert_eq!(config.failover, Duration::from_secs(15));
/// assert!(config.effective().contains("failover = \"15s\" # environment"));
/// # Ok::<(), rokini::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerConfig {
    settings: Settings,
    origins: BTreeMap<ConfigKey, ConfigOrigin>,
}

impl Deref for ConsumerConfig {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl ConsumerConfig {
    /// Sets one value for the program.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the text is no value of this key; it says what is accepted.
    pub fn set(&mut self, key: ConfigKey, text: &str) -> Result<&mut Self, Error> {
        self.put(key, text, ConfigOrigin::Builder)?;
        Ok(self)
    }

    /// Takes over each setting for which `other` has the stronger origin (or the same).
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (key, origin) in other.origins {
            if origin >= self.origin(key) {
                // A text that was printed from a value is a value.
                let taken = other.settings.text(key).map(|text| self.settings.assign(key, &text));
                debug_assert_eq!(taken, Some(Ok(())));
                self.origins.insert(key, origin);
            }
        }
        self
    }

    /// Where the value of a setting comes from.
    #[must_use]
    pub fn origin(&self, key: ConfigKey) -> ConfigOrigin {
        self.origins.get(&key).copied().unwrap_or(ConfigOrigin::Default)
    }

    /// The value of a setting as text, as [`ConsumerConfig::set`] takes it; `None` where there is none. With `***` in
    /// place of the values of [`ConfigKey::OtlpHeaders`] and of user and password in [`ConfigKey::OtlpEndpoint`],
    /// since texts are shown: [`Settings`] has the values.
    #[must_use]
    pub fn text(&self, key: ConfigKey) -> Option<String> {
        self.settings.shown(key)
    }

    fn put(&mut self, key: ConfigKey, text: &str, origin: ConfigOrigin) -> Result<(), Error> {
        self.settings.assign(key, text).map_err(|accepted| {
            let name = match origin {
                ConfigOrigin::Environment => key.env_name(),
                _ => key.name().to_owned(),
            };
            let shown: String = secret::shown(key, text).chars().take(160).collect();
            Error::new(
                ErrorKind::Configuration,
                format!("setting `{name}` cannot be `{shown}`: expected {accepted}"),
            )
        })?;
        self.origins.insert(key, origin);
        Ok(())
    }

    /// Checks what no single setting can tell: values that contradict each other, settings that would have no
    /// effect, a start in the future. A consumer does this at its start.
    ///
    /// `now_millis` is the time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`]; it names the settings and what to change.
    pub fn check(&self, now_millis: u64) -> Result<(), Error> {
        self.start.check(now_millis)?;
        let wrong = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        let shown = |key: ConfigKey| format!("`{key} = {}`", self.text(key).unwrap_or_default());
        let at_least = [
            (ConfigKey::Failover, self.failover, Duration::from_secs(1)),
            (ConfigKey::Heartbeat, self.heartbeat, Duration::from_millis(100)),
            (ConfigKey::PollFloor, self.poll_floor, POLL_FLOOR),
            (ConfigKey::PollCeiling, self.poll_ceiling, self.poll_floor),
            (ConfigKey::StallTimeout, self.stall_timeout, Duration::from_secs(1)),
            (ConfigKey::AuditInterval, self.audit_interval, Duration::from_secs(1)),
            (ConfigKey::StallAfter, self.stall_after, Duration::from_secs(1)),
            (ConfigKey::TargetLag, self.target_lag, Duration::from_secs(1)),
            (ConfigKey::CloudWatchInterval, self.cloudwatch_interval, Duration::from_secs(1)),
            (ConfigKey::OtlpInterval, self.otlp_interval, Duration::from_secs(1)),
        ];
        for (key, value, least) in at_least {
            if value < least {
                return wrong(format!(
                    "{} is too short: set it to at least `{}`",
                    shown(key),
                    value::duration_text(least)
                ));
            }
        }
        if self.poll_ceiling > POLL_CEILING_MOST {
            return wrong(format!("{} is too long: set it to at most `1m`", shown(ConfigKey::PollCeiling)));
        }
        // Three heartbeats may fail within the three quarters of the failover time for which one is good.
        if self.heartbeat * 4 > self.failover {
            return wrong(format!(
                "{} does not fit into {}: set `heartbeat` to at most a quarter of `failover`, which is `{}`",
                shown(ConfigKey::Heartbeat),
                shown(ConfigKey::Failover),
                value::duration_text(self.failover / 4)
            ));
        }
        let is_set = |key: &ConfigKey| self.origin(*key) != ConfigOrigin::Default;
        let cloudwatch = [
            ConfigKey::CloudWatchNamespace,
            ConfigKey::CloudWatchLevel,
            ConfigKey::CloudWatchDimensions,
            ConfigKey::CloudWatchInterval,
            ConfigKey::CloudWatchResolution,
        ];
        let otlp = [ConfigKey::OtlpEndpoint, ConfigKey::OtlpHeaders, ConfigKey::OtlpInterval];
        for (service, keys) in [(Monitoring::CloudWatch, &cloudwatch[..]), (Monitoring::Otlp, &otlp[..])] {
            if let Some(key) = keys.iter().find(|key| is_set(key))
                && !self.monitoring.contains(&service)
            {
                return wrong(format!(
                    "{} has no effect with {}: add `{}` to `monitoring` or remove it",
                    shown(*key),
                    shown(ConfigKey::Monitoring),
                    service.name()
                ));
            }
        }
        let capacity = [ConfigKey::ReadCapacityUnits, ConfigKey::WriteCapacityUnits];
        if let Some(key) = capacity.iter().find(|key| is_set(key))
            && self.billing_mode != Billing::Provisioned
        {
            return wrong(format!(
                "{} has no effect with {}: set `billing_mode = provisioned` or remove it",
                shown(*key),
                shown(ConfigKey::BillingMode)
            ));
        }
        let limits = [ConfigKey::MaxAttempts, ConfigKey::MaxFailureAge, ConfigKey::Bisect];
        if let Some(key) = limits.iter().find(|key| is_set(key))
            && self.on_failure == OnFailure::Retry
        {
            return wrong(format!(
                "{} has no effect with {}: set `on_failure` to `halt`, `skip` or `dead_letter`, or remove it",
                shown(*key),
                shown(ConfigKey::OnFailure)
            ));
        }
        if self.on_failure != OnFailure::Retry
            && self.max_attempts.is_none()
            && self.max_failure_age.is_none()
        {
            return wrong(format!(
                "{} never comes into effect: set `max_attempts` or `max_failure_age`",
                shown(ConfigKey::OnFailure)
            ));
        }
        let apart = [(ConfigKey::Concurrency, self.concurrency.get() > 1), (ConfigKey::Park, self.park)];
        if let Some((key, _)) = apart.iter().find(|(_, is_apart)| *is_apart)
            && !self.auto_checkpoint
        {
            return wrong(format!(
                "{} does not go with {}: a checkpoint says that all records before are done, which no single call \
                 knows then; use ack tokens, or remove one of the two",
                shown(ConfigKey::AutoCheckpoint),
                shown(*key)
            ));
        }
        if is_set(&ConfigKey::BillingMode) && !self.create_table {
            return wrong(format!(
                "{} has no effect on a table that exists: set `create_table = true` or remove it",
                shown(ConfigKey::BillingMode)
            ));
        }
        Ok(())
    }

    /// The error for a setting that has to be there and is not.
    pub(crate) fn missing(key: ConfigKey) -> Error {
        Error::new(
            ErrorKind::Configuration,
            format!(
                "`{key}` is not set: give it to the builder, as `{}` in the environment or in the configuration file",
                key.env_name()
            ),
        )
    }
}

/// Well inside the 5 minutes that a shard iterator lives (Kinesis limit).
const POLL_CEILING_MOST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;

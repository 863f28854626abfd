//! The settings of a consumer, where each comes from, and what does not go together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use rokini_lease::BillingMode;

use crate::config::choices::{
    Balance, CloudWatchDimension, CloudWatchLevel, KplHashRange, Monitoring, OnDataLoss, Retrieval, Wire,
};
use crate::config::form::each_once;
use crate::config::key::ConfigKey;
use crate::config::secret;
use crate::config::settings::Settings;
use crate::config::table::settings_table;
use crate::types::dead_letter_target::DeadLetterTarget;
use crate::types::duration;
use crate::types::error::{Error, ErrorKind};
use crate::types::failure::OnFailure;
use crate::types::start_position::StartPosition;
use crate::types::stream_ref::StreamRef;

/// Where the value of a setting comes from. The later of two wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
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

/// The settings of a consumer and where each comes from. Reads like [`Settings`].
///
/// The program wins over the environment, the environment over the file, the file over the default. The library
/// reads no environment and no file by itself: hand them in.
///
/// ```
/// use std::time::Duration;
/// use rokini::ConsumerConfig;
///
/// let file = ConsumerConfig::from_toml_str("group = 'billing'\nfailover = '20s'")?;
/// let environment = ConsumerConfig::from_env([("ROKINI_FAILOVER".to_owned(), "15s".to_owned())])?;
/// let mut config = file.merge(environment);
/// config.heartbeat(Duration::from_secs(2))?;
///
/// assert_eq!(config.failover, Duration::from_secs(15));
/// assert!(config.effective().contains("failover = \"15s\" # environment"));
/// # Ok::<(), rokini::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerConfig {
    settings: Settings,
    pub(super) origins: BTreeMap<ConfigKey, ConfigOrigin>,
}

impl Deref for ConsumerConfig {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])+ $key:ident = $name:literal: $field:ident: $type:ty = $default:expr, $form:expr $(, set($given:ty))?;)+) => {
        /// The setters of the program, one for each key.
        impl ConsumerConfig {
            $($(
                #[doc = concat!("Sets [`ConfigKey::", stringify!($key), "`] for the program.")]
                ///
                /// # Errors
                /// [`ErrorKind::Configuration`] when the value is out of bounds; it says what is accepted.
                pub fn $field(&mut self, value: $given) -> Result<&mut Self, Error> {
                    let set = self.settings.$field(value);
                    set.map_err(|(shown, accepted)| refused(ConfigKey::$key, $name, &shown, &accepted))?;
                    self.origins.insert(ConfigKey::$key, ConfigOrigin::Builder);
                    Ok(self)
                }
            )?)+
        }
    };
}
settings_table!(setters);

fn refused(key: ConfigKey, name: &str, given: &str, accepted: &str) -> Error {
    let shown: String = secret::shown(key, given).chars().take(160).collect();
    let message = format!("setting `{name}` cannot be `{shown}`: expected {accepted}");
    Error::new(ErrorKind::Configuration, message)
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

    /// Sets [`ConfigKey::Stream`] for the program: all streams, in place of those that were set before.
    pub fn streams(&mut self, streams: impl IntoIterator<Item = StreamRef>) -> &mut Self {
        self.settings.streams = each_once(streams);
        self.origins.insert(ConfigKey::Stream, ConfigOrigin::Builder);
        self
    }

    /// Sets [`ConfigKey::BillingMode`] for the program, and with [`BillingMode::Provisioned`] the two settings of the
    /// units too.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when a number of units is 0.
    pub fn billing_mode(&mut self, mode: BillingMode) -> Result<&mut Self, Error> {
        if let BillingMode::Provisioned { read_units, write_units } = mode {
            self.read_capacity_units(read_units)?.write_capacity_units(write_units)?;
        }
        self.settings.billing_mode = mode;
        self.origins.insert(ConfigKey::BillingMode, ConfigOrigin::Builder);
        Ok(self)
    }

    /// Takes over each setting for which `other` has the stronger origin (or the same).
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (key, origin) in other.origins {
            if origin >= self.origin(key) {
                self.settings.take(key, &other.settings);
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

    pub(super) fn put(&mut self, key: ConfigKey, text: &str, origin: ConfigOrigin) -> Result<(), Error> {
        self.settings.parse(key, text).map_err(|accepted| match origin {
            ConfigOrigin::Environment => refused(key, &key.env_name(), text, &accepted),
            _ => refused(key, key.name(), text, &accepted),
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
        if self.poll_ceiling < self.poll_floor {
            return wrong(format!(
                "{} is too short: set it to at least `{}`",
                self.line(ConfigKey::PollCeiling),
                duration::text(self.poll_floor)
            ));
        }
        // Within the three quarters of the failover time for which one is good, another one has time for its tries.
        if self.heartbeat.is_some_and(|heartbeat| heartbeat > self.failover * 2 / 5) {
            return wrong(format!(
                "{} does not fit into {}: set `heartbeat` to at most two fifths of `failover`, which is `{}`",
                self.line(ConfigKey::Heartbeat),
                self.line(ConfigKey::Failover),
                duration::text(self.failover * 2 / 5)
            ));
        }
        self.check_effects()?;
        if self.retrieval == Retrieval::Auto && !self.allow_fan_out {
            return wrong(format!(
                "{} never uses fan-out with {}: set `allow_fan_out = true` (AWS bills fan-out), or remove `retrieval`",
                self.line(ConfigKey::Retrieval),
                self.line(ConfigKey::AllowFanOut)
            ));
        }
        if self.on_failure != OnFailure::Retry
            && self.max_attempts.is_none()
            && self.max_failure_age.is_none()
        {
            return wrong(format!(
                "{} never comes into effect: set `max_attempts` or `max_failure_age`",
                self.line(ConfigKey::OnFailure)
            ));
        }
        let apart = [(ConfigKey::Concurrency, self.concurrency.get() > 1), (ConfigKey::Park, self.park)];
        if let Some((key, _)) = apart.iter().find(|(_, is_apart)| *is_apart)
            && !self.auto_checkpoint
        {
            return wrong(format!(
                "{} does not go with {}: a checkpoint says that all records before are done, which no single call \
                 knows then; use ack tokens, or remove one of the two",
                self.line(ConfigKey::AutoCheckpoint),
                self.line(*key)
            ));
        }
        Ok(())
    }

    /// Refuses a setting that another one keeps from having an effect.
    fn check_effects(&self) -> Result<(), Error> {
        use ConfigKey as Key;
        let cloudwatch = [
            Key::CloudWatchNamespace,
            Key::CloudWatchLevel,
            Key::CloudWatchDimensions,
            Key::CloudWatchInterval,
            Key::CloudWatchResolution,
        ];
        let otlp = [Key::OtlpEndpoint, Key::OtlpHeaders, Key::OtlpInterval];
        let units = [Key::ReadCapacityUnits, Key::WriteCapacityUnits];
        let registration = [Key::FanOutConsumer, Key::FanOutTags];
        let (fan_out, auto) = (self.retrieval != Retrieval::Polling, self.retrieval == Retrieval::Auto);
        let limits = [Key::MaxAttempts, Key::MaxFailureAge, Key::Bisect];
        let has = |service| self.monitoring.contains(&service);
        let is_provisioned = self.billing_mode != BillingMode::PayPerRequest;
        let gives_up = self.on_failure != OnFailure::Retry;
        let give_up = "set `on_failure` to `halt`, `skip` or `dead_letter`,";
        let rules = [
            (
                &cloudwatch[..],
                has(Monitoring::CloudWatch),
                Key::Monitoring,
                "add `cloudwatch` to `monitoring`",
            ),
            (&otlp, has(Monitoring::Otlp), Key::Monitoring, "add `otlp` to `monitoring`"),
            (&units, is_provisioned, Key::BillingMode, "set `billing_mode = provisioned`"),
            (&limits, gives_up, Key::OnFailure, give_up),
            (&[Key::KplHashRange], self.deaggregate, Key::Deaggregate, "set `deaggregate = true`"),
            (&registration, fan_out, Key::Retrieval, "set `retrieval` to `fan_out` or `auto`,"),
            (&[Key::AllowFanOut], auto, Key::Retrieval, "set `retrieval = auto`"),
            (&[Key::BillingMode], self.create_table, Key::CreateTable, "set `create_table = true`"),
        ];
        for (keys, acts, beside, how) in rules {
            if let Some(key) = keys.iter().find(|key| !acts && self.is_set(**key)) {
                let (key, beside) = (self.line(*key), self.line(beside));
                let message = format!("{key} has no effect with {beside}: {how} or remove it");
                return Err(Error::new(ErrorKind::Configuration, message));
            }
        }
        Ok(())
    }

    pub(super) fn is_set(&self, key: ConfigKey) -> bool {
        self.origin(key) != ConfigOrigin::Default
    }

    /// As the file has it.
    fn line(&self, key: ConfigKey) -> String {
        format!("`{key} = {}`", self.text(key).unwrap_or_default())
    }

    /// Refuses settings that would do nothing, because of `why`: each is a mistake of whoever set it.
    pub(crate) fn refuse(&self, keys: &[ConfigKey], why: &str) -> Result<(), Error> {
        let Some(key) = keys.iter().copied().find(|key| self.is_set(*key)) else { return Ok(()) };
        let (line, origin) = (self.line(key), self.origin(key));
        let message = format!("{line} (from the {origin}) has no effect {why}: remove it");
        Err(Error::new(ErrorKind::Configuration, message))
    }

    /// The error for a setting that has to be there and is not.
    pub(crate) fn missing(key: ConfigKey) -> Error {
        let message = format!(
            "`{key}` is not set: give it to the builder, as `{}` in the environment or in the configuration file",
            key.env_name()
        );
        Error::new(ErrorKind::Configuration, message)
    }
}

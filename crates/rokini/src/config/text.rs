//! Settings from a TOML file and from environment variables, and back to TOML.

use toml::Value;

use crate::config::consumer_config::{ConfigOrigin, ConsumerConfig};
use crate::config::key::{ConfigKey, ENV_PREFIX, is_service_link, unknown};
use crate::config::settings::Settings;
use crate::types::error::{Error, ErrorKind};

impl ConsumerConfig {
    /// Reads a configuration file: `key = value` lines of TOML, no tables.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for text that is not TOML, for an unknown key (with the nearest known one)
    /// and for a value that the key does not take.
    pub fn from_toml_str(text: &str) -> Result<Self, Error> {
        let file: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            Error::new(
                ErrorKind::Configuration,
                format!("the configuration file is not TOML at line {line}: {}", error.message()),
            )
        })?;
        let mut config = Self::default();
        for (name, value) in file {
            let key: ConfigKey = name.parse()?;
            let text = match value {
                Value::String(text) => text,
                Value::Integer(number) => number.to_string(),
                Value::Boolean(flag) => flag.to_string(),
                Value::Datetime(time) => time.to_string(),
                Value::Array(texts) if key == ConfigKey::Stream && texts.iter().all(Value::is_str) => {
                    texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
                }
                Value::Float(_) | Value::Array(_) | Value::Table(_) => {
                    return Err(Error::new(
                        ErrorKind::Configuration,
                        format!(
                            "setting `{key}` in the configuration file is neither a text, a whole number, a \
                             truth value nor a time: write `{key} = \"...\"`"
                        ),
                    ));
                }
            };
            config.put(key, &text, ConfigOrigin::File)?;
        }
        Ok(config)
    }

    /// Reads environment variables: those that start with `ROKINI_`; others are passed over, as are those that
    /// Kubernetes sets for a service whose name starts so (`ROKINI_SERVICE_HOST`, `ROKINI_METRICS_PORT`, ...). The
    /// library does not read the environment by itself: hand in `std::env::vars()`, without variables of your own
    /// that start so.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for an unknown variable that starts with `ROKINI_` (with the nearest known
    /// one) and for a value that the key does not take.
    pub fn from_env(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let mut config = Self::default();
        for (name, text) in variables {
            if !name.starts_with(ENV_PREFIX) || is_service_link(&name) {
                continue;
            }
            let known = ConfigKey::ALL.iter().copied().find(|key| key.env_name() == name);
            let key = known.ok_or_else(|| unknown("environment variable", &name, ConfigKey::env_name))?;
            config.put(key, &text, ConfigOrigin::Environment)?;
        }
        Ok(config)
    }

    /// Whether a setting may be written down beside the others: one that would change nothing is refused.
    fn has_effect(&self, key: ConfigKey) -> bool {
        if key == ConfigKey::MetricsShardLabel && self.monitoring.is_empty() && !self.is_set(key) {
            return false;
        }
        // No start is in the future of the end of time.
        let accepted = |config: &Self| config.check(u64::MAX).is_ok();
        let mut written = self.clone();
        written.origins.entry(key).or_insert(ConfigOrigin::Builder);
        accepted(&written) || !accepted(self)
    }

    /// Every setting in effect, as TOML that [`ConsumerConfig::from_toml_str`] reads, each with where it comes
    /// from as a comment. Settings without a value, those that have no effect beside the others, and those with a secret
    /// (shown as `***`) are comments.
    #[must_use]
    pub fn effective(&self) -> String {
        let line = |key: &ConfigKey| match self.text(*key) {
            Some(text) => {
                let is_whole = Settings::text(self, *key).as_ref() == Some(&text);
                // A name such as `007` stays a text.
                let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
                let value = match number {
                    Some(number) => Value::Integer(number),
                    None => text.parse().map_or(Value::String(text), Value::Boolean),
                };
                let comment = if is_whole && self.has_effect(*key) { "" } else { "# " };
                format!("{comment}{key} = {value} # {}\n", self.origin(*key))
            }
            None => format!("# {key} is not set\n"),
        };
        ConfigKey::ALL.iter().map(line).collect()
    }
}

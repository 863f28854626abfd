//! The keys: one list for the builder, the environment and the configuration file.

use std::fmt;
use std::str::FromStr;

use crate::config::table::settings_table;
use crate::types::error::Error;

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $key:ident = $name:literal: $field:ident: $type:ty = $default:expr, $form:expr $(, set($given:ty))?;)+) => {
        /// A setting of a consumer.
        ///
        /// The text form is the key of the configuration file; with `ROKINI_` in front and in capitals it is
        /// the environment variable. The builder and [`ConsumerConfig`](crate::ConsumerConfig) have a setter of the
        /// same name for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ConfigKey {
            $($(#[doc = $doc])+ $key,)+
        }

        impl ConfigKey {
            /// Every key, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$key),+];

            /// The key as the configuration file has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$key => $name),+ }
            }

            fn doc(self) -> &'static str {
                match self { $(Self::$key => concat!($($doc, "\n"),+)),+ }
            }
        }
    };
}
settings_table!(keys);

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
    Error::configuration(format!("unknown {what} `{shown}`: {hint}"))
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
    use crate::types::error::ErrorKind;

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

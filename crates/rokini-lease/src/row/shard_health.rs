//! What a worker says of its shards, with its heartbeat.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rokini_types::SequenceNumber;

use crate::text::serde_as_text;
use crate::types::{InvalidKey, LeaseKey};

/// The most characters of an error's text that a report has.
const ERROR_CHARACTERS: usize = 160;
/// The most characters of an error's code: the longest of Kinesis and DynamoDB have 40.
const CODE_CHARACTERS: usize = 64;

/// What a worker says of a shard that is behind or makes no progress.
///
/// Its text form is words behind the lease's key: `orders@1#shardId-3 state=handling stalled=handler lasting=12000
/// lag=13000 record=7 failures=2 error_age=900 error_code=AccessDeniedException error=...`. Words that a reader does not know are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ShardHealth {
    /// The lease of the shard.
    pub key: LeaseKey,
    /// What the worker is doing with it: a word without spaces.
    pub state: String,
    /// Why it makes no progress: a word without spaces. `None` where it makes progress.
    pub stalled: Option<String>,
    /// For how long it has made none.
    pub lasting: Duration,
    /// The age of its oldest record that is not done.
    pub lag: Duration,
    /// The first record of those that are being handled, or wait to be handled again.
    pub record: Option<SequenceNumber>,
    /// Failures of user code in a row.
    pub failures: u32,
    /// The last failure that no success followed, and how long ago it was.
    pub error: Option<(String, Duration)>,
    /// The code by which a service refused, such as `AccessDeniedException`, where that was the failure.
    pub error_code: Option<String>,
}

impl ShardHealth {
    /// A shard that makes progress. `state` is a word without spaces.
    #[must_use]
    pub fn new(key: LeaseKey, state: &str, lag: Duration) -> Self {
        let state = state.to_owned();
        Self {
            key,
            state,
            stalled: None,
            lasting: Duration::ZERO,
            lag,
            record: None,
            failures: 0,
            error: None,
            error_code: None,
        }
    }

    /// The same with its last failure, cut to the 160 characters that a row has room for, in one line.
    #[must_use]
    pub fn with_error(mut self, error: &str, age: Duration) -> Self {
        let one_line = error.split_whitespace().collect::<Vec<_>>().join(" ");
        self.error = Some((one_line.chars().take(ERROR_CHARACTERS).collect(), age));
        self
    }

    /// The same with the code by which a service refused: at most 64 letters, digits, `_`, `-` and `.`; another one is left out.
    #[must_use]
    pub fn with_error_code(mut self, code: &str) -> Self {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_code = (1..=CODE_CHARACTERS).contains(&code.len()) && code.bytes().all(is_word);
        self.error_code = is_code.then(|| code.to_owned());
        self
    }
}

serde_as_text!(ShardHealth);

impl fmt::Display for ShardHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} state={} lag={}", self.key, self.state, self.lag.as_millis())?;
        if let Some(cause) = &self.stalled {
            write!(f, " stalled={cause} lasting={}", self.lasting.as_millis())?;
        }
        if let Some(record) = &self.record {
            write!(f, " record={record}")?;
        }
        if self.failures > 0 {
            write!(f, " failures={}", self.failures)?;
        }
        match &self.error {
            Some((error, age)) => {
                write!(f, " error_age={}", age.as_millis())?;
                if let Some(code) = &self.error_code {
                    write!(f, " error_code={code}")?;
                }
                write!(f, " error={error}")
            }
            None => Ok(()),
        }
    }
}

impl FromStr for ShardHealth {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("a shard health", text);
        // The error is the rest of the text, whatever it says.
        let (words, error) = match text.split_once(" error=") {
            Some((words, error)) => (words, Some(error)),
            None => (text, None),
        };
        let mut words = words.split(' ');
        let key = words.next().unwrap_or_default().parse()?;
        let mut report = Self::new(key, "", Duration::ZERO);
        let millis = |value: &str| value.parse().map(Duration::from_millis).map_err(|_| invalid());
        let mut age = Duration::ZERO;
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "state" => value.clone_into(&mut report.state),
                "stalled" => report.stalled = Some(value.to_owned()),
                "lasting" => report.lasting = millis(value)?,
                "lag" => report.lag = millis(value)?,
                "record" => report.record = Some(value.parse().map_err(|_| invalid())?),
                "failures" => report.failures = value.parse().map_err(|_| invalid())?,
                "error_age" => age = millis(value)?,
                "error_code" => report.error_code = Some(value.to_owned()),
                _ => {}
            }
        }
        report.error = error.map(|error| (error.to_owned(), age));
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_have_a_text_form() {
        let key: LeaseKey = "orders@1#shardId-3".parse().unwrap();
        let bare = ShardHealth::new(key, "reading", Duration::from_millis(7));
        let mut full = bare.clone().with_error("a\n  bad = thing error=x", Duration::from_millis(9));
        full.stalled = Some("failing".to_owned());
        full.lasting = Duration::from_secs(12);
        full.record = Some("495".parse().unwrap());
        full.failures = 3;
        let refused = full.clone().with_error_code("AccessDeniedException");
        for report in [bare, full, refused] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        let newer: ShardHealth = "s@1#a state=x lag=1 other=2".parse().unwrap();
        assert_eq!(newer.lag, Duration::from_millis(1));
        for bad in ["", "s", "s@1#a lag=x", "s@1#a record=x"] {
            assert!(bad.parse::<ShardHealth>().is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_are_cut() {
        let key: LeaseKey = "orders@1#shardId-3".parse().unwrap();
        let long =
            ShardHealth::new(key, "reading", Duration::ZERO).with_error(&"ä".repeat(999), Duration::ZERO);
        assert_eq!(long.error.clone().unwrap().0.chars().count(), ERROR_CHARACTERS);
        for bad in ["", "two words", "a=b", &"A".repeat(65)] {
            assert_eq!(long.clone().with_error_code(bad).error_code, None, "{bad}");
        }
    }
}

//! Where a group starts that has no position yet.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rokini_lease::SequenceNumber;

use crate::types::error::{Error, ErrorKind};
use crate::types::{duration, rfc3339};

/// How far ahead of the stream's clock a time may be before it counts as the future: clocks differ, and the
/// stream says its time in whole seconds.
const CLOCK_SLACK_MILLIS: u64 = 5_000;

/// Numbers below this one are Unix times in seconds, others in milliseconds: as seconds it is in the year 5138, as
/// milliseconds in 1973.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// Digits from which on a number is a sequence number, not a time.
const SEQUENCE_DIGITS: usize = 20;

/// Where a group starts that has no position yet. A group that has positions goes on from those.
///
/// [`FromStr`] reads it wherever a start is asked for, in the settings and on the command line:
///
/// - `trim_horizon`, or `horizon`; `latest`. In any case: `TRIM_HORIZON` too.
/// - a time: RFC 3339 such as `2026-01-31T12:00:00Z`, or a Unix time in seconds or milliseconds (also behind
///   `AT_TIMESTAMP:`).
/// - a time ago: `-10m` or `10m ago`, as [`parse_duration`](crate::parse_duration) reads it, with a unit.
/// - a record: `at:<sequence number>` (also `sequence:`, `AT_SEQUENCE_NUMBER:`, or the number alone), or
///   `after:<sequence number>` (also `AFTER_SEQUENCE_NUMBER:`).
/// - a user record of an aggregate: `after:<sequence number>:<sub-sequence number>` (also with `/` between the two, as
///   positions have it).
///
/// ```
/// use std::time::Duration;
/// use rokini::StartPosition;
///
/// let start: StartPosition = "-10m".parse()?;
/// assert_eq!(start, StartPosition::Ago(Duration::from_secs(600)));
/// // What it means at a time, in milliseconds since the Unix epoch.
/// assert_eq!(start.resolve(1_700_000_600_000), StartPosition::AtTimestamp(1_700_000_000_000));
/// # Ok::<(), rokini::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartPosition {
    /// At the oldest record the stream still keeps.
    #[default]
    TrimHorizon,
    /// With the first record put after the group was made.
    Latest,
    /// With the first record that arrived at or after this time, in milliseconds since the Unix epoch.
    AtTimestamp(u64),
    /// With the first record that arrived at or after this long before the group was made, by the stream's clock.
    Ago(Duration),
    /// With this record, in the shard that has it; other shards start at the same time.
    AtSequence(SequenceNumber),
    /// With the record after this one, in the shard that has it; other shards start at the same time.
    AfterSequence(SequenceNumber),
    /// With the user record after the one with this sub-sequence number in this stream record, in the shard that has it;
    /// other shards start at the same time.
    AfterUserRecord(SequenceNumber, u64),
}

pub(crate) const ACCEPTED: &str = "`trim_horizon`, `latest`, a time such as `2026-01-31T12:00:00Z` or a Unix time in \
     seconds or milliseconds, a time ago such as `-10m`, `at:<sequence number>` or `after:<sequence number>[:<sub-sequence number>]`";

impl StartPosition {
    /// With the time put in: [`StartPosition::Ago`] becomes [`StartPosition::AtTimestamp`], others stay what they are.
    /// `now_millis` is the time, the stream's where it is known, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn resolve(self, now_millis: u64) -> Self {
        match self {
            Self::Ago(ago) => {
                let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                Self::AtTimestamp(now_millis.saturating_sub(ago))
            }
            other => other,
        }
    }

    /// Refuses a time in the future. `now_millis` is the stream's time.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the time is more than 5 s ahead of `now_millis`.
    pub fn check(&self, now_millis: u64) -> Result<(), Error> {
        match self {
            Self::AtTimestamp(millis) if *millis > now_millis.saturating_add(CLOCK_SLACK_MILLIS) => {
                Err(Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "the start position {self} is in the future (now {}): give a time that has passed, or \
                         `latest` for what is put from now on",
                        rfc3339::text(now_millis)
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for StartPosition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::new(
                ErrorKind::Configuration,
                format!("not a start position: expected {ACCEPTED}, got `{shown}`"),
            )
        })
    }
}

pub(crate) fn parse(text: &str) -> Option<StartPosition> {
    let lower = text.to_ascii_lowercase();
    if let Some(ago) = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago")) {
        // Without a unit it could be anything.
        return duration::parse_any(ago).filter(|_| number(ago).is_none()).map(StartPosition::Ago);
    }
    match lower.split_once(':') {
        None if matches!(&*lower, "trim_horizon" | "trim-horizon" | "horizon") => {
            Some(StartPosition::TrimHorizon)
        }
        None if lower == "latest" => Some(StartPosition::Latest),
        None if lower.len() >= SEQUENCE_DIGITS => lower.parse().ok().map(StartPosition::AtSequence),
        None => number(text).map(StartPosition::AtTimestamp),
        Some(("at" | "sequence" | "at_sequence_number", sequence)) => {
            sequence.parse().ok().map(StartPosition::AtSequence)
        }
        Some(("after" | "after_sequence_number", sequence)) => match sequence.split_once([':', '/']) {
            None => sequence.parse().ok().map(StartPosition::AfterSequence),
            Some((sequence, sub)) => {
                Some(StartPosition::AfterUserRecord(sequence.parse().ok()?, sub.parse().ok()?))
            }
        },
        Some(("at_timestamp", time)) => {
            number(time).or_else(|| rfc3339::parse(time)).map(StartPosition::AtTimestamp)
        }
        Some(_) => rfc3339::parse(text).map(StartPosition::AtTimestamp),
    }
}

/// A Unix time, as milliseconds.
fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = text.parse().ok().filter(|_| plain)?;
    Some(if number < SECONDS_BELOW { number * 1_000 } else { number })
}

impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("trim_horizon"),
            Self::Latest => f.write_str("latest"),
            Self::AtTimestamp(millis) => f.write_str(&rfc3339::text(*millis)),
            Self::Ago(ago) => write!(f, "-{}", duration::text(*ago)),
            Self::AtSequence(number) => write!(f, "at:{number}"),
            Self::AfterSequence(number) => write!(f, "after:{number}"),
            Self::AfterUserRecord(number, sub) => write!(f, "after:{number}:{sub}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let sequence: SequenceNumber =
            "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
        for (text, expected) in [
            ("trim_horizon", StartPosition::TrimHorizon),
            ("horizon", StartPosition::TrimHorizon),
            ("TRIM_HORIZON", StartPosition::TrimHorizon),
            ("latest", StartPosition::Latest),
            ("LATEST", StartPosition::Latest),
            ("-10m", StartPosition::Ago(Duration::from_secs(600))),
            ("-1h30m", StartPosition::Ago(Duration::from_secs(5_400))),
            ("10m ago", StartPosition::Ago(Duration::from_secs(600))),
            ("-250ms", StartPosition::Ago(Duration::from_millis(250))),
            ("AT_TIMESTAMP:1700000000000", StartPosition::AtTimestamp(1_700_000_000_000)),
            ("1700000000", StartPosition::AtTimestamp(1_700_000_000_000)),
            ("1700000000123", StartPosition::AtTimestamp(1_700_000_000_123)),
            ("2023-11-14T22:13:20.123Z", StartPosition::AtTimestamp(1_700_000_000_123)),
            ("2023-11-14T23:13:20+01:00", StartPosition::AtTimestamp(1_700_000_000_000)),
            (&format!("at:{sequence}"), StartPosition::AtSequence(sequence)),
            (&sequence.to_string(), StartPosition::AtSequence(sequence)),
            (&format!("sequence:{sequence}"), StartPosition::AtSequence(sequence)),
            (&format!("AT_SEQUENCE_NUMBER:{sequence}"), StartPosition::AtSequence(sequence)),
            (&format!("after:{sequence}"), StartPosition::AfterSequence(sequence)),
            (&format!("after:{sequence}:17"), StartPosition::AfterUserRecord(sequence, 17)),
            (&format!("AFTER:{sequence}/17"), StartPosition::AfterUserRecord(sequence, 17)),
            (&format!("AFTER_SEQUENCE_NUMBER:{sequence}"), StartPosition::AfterSequence(sequence)),
        ] {
            assert_eq!(text.parse::<StartPosition>().unwrap(), expected, "{text}");
            assert_eq!(expected.to_string().parse::<StartPosition>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_other_text_with_what_is_accepted() {
        for text in [
            "",
            "TRIM HORIZON",
            "yesterday",
            "at:",
            "after:x",
            "-",
            "-1",
            "10m",
            "2023-11-14",
            "1969-12-31T23:59:59Z",
        ] {
            let error = text.parse::<StartPosition>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
            assert!(error.to_string().contains("`trim_horizon`, `latest`, a time"), "{error}");
        }
    }

    #[test]
    fn a_time_ago_is_counted_from_the_time_put_in() {
        let now = 1_700_000_000_000;
        for (text, millis) in [("-10m", now - 600_000), ("-2d", now - 172_800_000), ("-99999999d", 0)] {
            let start: StartPosition = text.parse().unwrap();
            assert_eq!(start.resolve(now), StartPosition::AtTimestamp(millis), "{text}");
        }
        assert_eq!(StartPosition::Latest.resolve(now), StartPosition::Latest);
    }

    #[test]
    fn a_start_in_the_future_is_an_error() {
        let now = 1_700_000_000_000;
        let future = StartPosition::AtTimestamp(now + CLOCK_SLACK_MILLIS + 1);
        let error = future.check(now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(
            error.to_string(),
            "the start position 2023-11-14T22:13:25.001Z is in the future (now 2023-11-14T22:13:20Z): give a \
             time that has passed, or `latest` for what is put from now on"
        );
        assert!(StartPosition::AtTimestamp(now + CLOCK_SLACK_MILLIS).check(now).is_ok());
        assert!(StartPosition::AtTimestamp(0).check(now).is_ok());
        assert!(StartPosition::Latest.check(now).is_ok());
    }
}

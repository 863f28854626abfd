//! Where a group starts that has no position yet.

use std::fmt;
use std::str::FromStr;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use rokini_lease::SequenceNumber;

use crate::types::error::{Error, ErrorKind};

/// How far ahead of the stream's clock a time may be before it counts as the future: clocks differ, and the
/// stream says its time in whole seconds.
const CLOCK_SLACK_MILLIS: u64 = 5_000;

/// Where a group starts that has no position yet. A group that has positions goes on from those.
///
/// The text form is `trim_horizon`, `latest`, an RFC 3339 time, `at:<sequence number>` or
/// `after:<sequence number>`; a time may also be given as milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartPosition {
    /// At the oldest record the stream still keeps.
    #[default]
    TrimHorizon,
    /// With the first record put after the group was made.
    Latest,
    /// With the first record that arrived at or after this time, in milliseconds since the Unix epoch.
    AtTimestamp(u64),
    /// With this record, in the shard that has it; other shards start at the same time.
    AtSequence(SequenceNumber),
    /// With the record after this one, in the shard that has it; other shards start at the same time.
    AfterSequence(SequenceNumber),
}

pub(crate) const ACCEPTED: &str = "`trim_horizon`, `latest`, a time such as `2026-01-31T12:00:00Z` or \
     milliseconds since the Unix epoch, `at:<sequence number>` or `after:<sequence number>`";

impl StartPosition {
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
                        rfc3339(now_millis)
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
    match text.split_once(':') {
        None if text == "trim_horizon" => Some(StartPosition::TrimHorizon),
        None if text == "latest" => Some(StartPosition::Latest),
        Some(("at", number)) => number.parse().ok().map(StartPosition::AtSequence),
        Some(("after", number)) => number.parse().ok().map(StartPosition::AfterSequence),
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok().map(StartPosition::AtTimestamp)
        }
        _ => DateTime::from_str(text, Format::DateTimeWithOffset)
            .ok()
            .and_then(|time| time.to_millis().ok())
            .and_then(|millis| u64::try_from(millis).ok())
            .map(StartPosition::AtTimestamp),
    }
}

/// A time for people. Falls back to the bare number beyond the year 9999.
fn rfc3339(millis: u64) -> String {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| DateTime::from_millis(millis).fmt(Format::DateTime).ok())
        .unwrap_or_else(|| millis.to_string())
}

impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("trim_horizon"),
            Self::Latest => f.write_str("latest"),
            Self::AtTimestamp(millis) => f.write_str(&rfc3339(*millis)),
            Self::AtSequence(number) => write!(f, "at:{number}"),
            Self::AfterSequence(number) => write!(f, "after:{number}"),
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
            ("latest", StartPosition::Latest),
            ("1700000000123", StartPosition::AtTimestamp(1_700_000_000_123)),
            ("2023-11-14T22:13:20.123Z", StartPosition::AtTimestamp(1_700_000_000_123)),
            ("2023-11-14T23:13:20+01:00", StartPosition::AtTimestamp(1_700_000_000_000)),
            (&format!("at:{sequence}"), StartPosition::AtSequence(sequence)),
            (&format!("after:{sequence}"), StartPosition::AfterSequence(sequence)),
        ] {
            assert_eq!(text.parse::<StartPosition>().unwrap(), expected, "{text}");
            assert_eq!(expected.to_string().parse::<StartPosition>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_other_text_with_what_is_accepted() {
        for text in
            ["", "TRIM_HORIZON", "yesterday", "at:", "after:x", "-1", "2023-11-14", "1969-12-31T23:59:59Z"]
        {
            let error = text.parse::<StartPosition>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
            assert!(error.to_string().contains("`trim_horizon`, `latest`, a time"), "{error}");
        }
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

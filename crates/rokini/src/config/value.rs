//! Texts to values and back. Each reader says what it accepts, for the error.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::types::duration;
pub(super) use crate::types::duration::text as duration_text;
use crate::types::failure::OnFailure;
use crate::types::named::Named;
use crate::types::stream_ref::{self, StreamRef};

/// A reader's refusal: what it would have accepted.
pub(super) type Accepted = &'static str;

pub(super) const UNLIMITED: &str = "unlimited";

/// Names and ARNs, with commas between them. One that is named twice counts once.
pub(super) fn streams(text: &str) -> Result<Vec<StreamRef>, Accepted> {
    let mut streams = Vec::new();
    for part in text.split(',') {
        let stream = stream_ref::parse(part.trim()).ok_or(stream_ref::ACCEPTED)?;
        if !streams.contains(&stream) {
            streams.push(stream);
        }
    }
    Ok(streams)
}

pub(super) fn streams_text(streams: &[StreamRef]) -> String {
    streams.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn flag(text: &str) -> Result<bool, Accepted> {
    text.parse().map_err(|_| "`true` or `false`")
}

/// What DynamoDB allows as the name of a table.
pub(super) fn table(text: &str) -> Result<String, Accepted> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    ((3..=255).contains(&text.len()) && text.bytes().all(allowed))
        .then(|| text.to_owned())
        .ok_or("a table name: 3 to 255 letters, digits, `_`, `.`, `-`")
}

pub(super) fn percent(text: &str) -> Result<u8, Accepted> {
    text.parse()
        .ok()
        .filter(|share| (1..=100).contains(share))
        .ok_or("a whole number of percent from 1 to 100")
}

pub(super) fn units(text: &str) -> Result<NonZeroU64, Accepted> {
    // DynamoDB counts capacity in a signed 64-bit integer.
    text.parse()
        .ok()
        .filter(|units: &NonZeroU64| i64::try_from(units.get()).is_ok())
        .ok_or("a whole number of capacity units, 1 or more")
}

pub(super) fn max_records(text: &str) -> Result<u16, Accepted> {
    text.parse().ok().filter(|count| (1..=10_000).contains(count)).ok_or("a whole number from 1 to 10000")
}

pub(super) fn max_leases(text: &str) -> Result<Option<NonZeroU32>, Accepted> {
    match text {
        UNLIMITED => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "a whole number of shards, 1 or more, or `unlimited`"),
    }
}

/// The number that the group began with.
pub(super) const STORED: &str = "stored";

pub(super) fn partitions(text: &str) -> Result<Option<NonZeroU16>, Accepted> {
    match text {
        STORED => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "a whole number from 1 to 65535, or `stored`"),
    }
}

pub(super) fn count(text: &str) -> Result<NonZeroUsize, Accepted> {
    text.parse().map_err(|_| "a whole number, 1 or more")
}

/// A limit; without one the largest number.
pub(super) fn most(text: &str) -> Result<NonZeroUsize, Accepted> {
    match text {
        UNLIMITED => Ok(NonZeroUsize::MAX),
        _ => count(text).map_err(|_| "a whole number, 1 or more, or `unlimited`"),
    }
}

pub(super) fn most_text(most: NonZeroUsize) -> String {
    if most == NonZeroUsize::MAX { UNLIMITED.to_owned() } else { most.to_string() }
}

pub(super) fn concurrency(text: &str) -> Result<NonZeroUsize, Accepted> {
    let accepted = |count: &NonZeroUsize| count.get() <= 1_000;
    text.parse().ok().filter(accepted).ok_or("a whole number from 1 to 1000")
}

pub(super) fn max_attempts(text: &str) -> Result<Option<NonZeroU32>, Accepted> {
    match text {
        UNLIMITED => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "a whole number of calls, 1 or more, or `unlimited`"),
    }
}

pub(super) fn on_failure(text: &str) -> Result<OnFailure, Accepted> {
    OnFailure::named(text).ok_or("`retry`, `halt`, `skip` or `dead_letter`")
}

pub(super) fn duration(text: &str) -> Result<Duration, Accepted> {
    duration::parse(text).ok_or(duration::ACCEPTED)
}

pub(super) fn timeout(text: &str) -> Result<Option<Duration>, Accepted> {
    match text {
        UNLIMITED => Ok(None),
        _ => match duration(text) {
            Ok(limit) if !limit.is_zero() => Ok(Some(limit)),
            _ => Err("a duration above zero such as `30s`, or `unlimited`"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_bounds() {
        assert_eq!((max_records("1"), max_records("10000")), (Ok(1), Ok(10_000)));
        for text in ["0", "10001", "-1", "ten", ""] {
            assert!(max_records(text).is_err(), "{text}");
        }
        assert!(units("0").is_err() && units("9223372036854775808").is_err() && units("1").is_ok());
        assert!(max_leases("0").is_err() && max_leases(UNLIMITED) == Ok(None));
        assert!(timeout("0s").is_err() && timeout(UNLIMITED) == Ok(None));
        assert!(flag("yes").is_err() && flag("true") == Ok(true));
    }
}

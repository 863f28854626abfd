//! Durations as people write them.

use std::time::Duration;

use crate::types::error::{Error, ErrorKind};

/// A year. A longer setting is a slip, and adding it to an instant could overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// From long to short, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

pub(crate) const ACCEPTED: &str = "a duration of at most a year: whole numbers with units out of `d`, `h`, `m`, `s` and \
     `ms`, such as `250ms`, `10s` or `1h30m`, or a number of seconds";

/// Reads a duration: `250ms`, `10s`, `5m`, `1h`, `1d`, several of them from long to short (`1h30m`), or a bare whole
/// number, which is seconds. `us` and `ns` are units too. At most a year.
///
/// The configuration file, the environment and the command line read their durations by this function.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(rokini::parse_duration("1h30m")?, Duration::from_secs(5_400));
/// assert_eq!(rokini::parse_duration("90")?, Duration::from_secs(90));
/// # Ok::<(), rokini::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Configuration`] for any other text; it says what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Error::new(ErrorKind::Configuration, format!("`{shown}` is not a duration: expected {ACCEPTED}"))
    })
}

pub(crate) fn parse(text: &str) -> Option<Duration> {
    parse_any(text).filter(|duration| *duration <= LONGEST)
}

/// As [`parse`], however long.
pub(crate) fn parse_any(text: &str) -> Option<Duration> {
    if let Ok(seconds) = number(text) {
        return Some(Duration::from_secs(seconds));
    }
    let (mut rest, mut longer, mut total) = (text, u64::MAX, Duration::ZERO);
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if *nanos >= longer {
            return None;
        }
        let nanos_in_all = u128::from(number(digits).ok()?) * u128::from(*nanos);
        let seconds = u64::try_from(nanos_in_all / 1_000_000_000).ok()?;
        total = total.checked_add(Duration::new(seconds, (nanos_in_all % 1_000_000_000) as u32))?;
        (rest, longer) = (tail, *nanos);
    }
    (longer != u64::MAX).then_some(total)
}

/// Digits and nothing else: no sign.
fn number(digits: &str) -> Result<u64, ()> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).ok_or(())
}

/// The shortest exact text of a duration in one unit up to hours.
pub(crate) fn text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let whole = |(_, unit): &&(&str, u64)| nanos != 0 && nanos.is_multiple_of(u128::from(*unit));
    match UNITS[1..].iter().find(whole) {
        Some((name, unit)) => format!("{}{name}", nanos / u128::from(*unit)),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_form() {
        for (text, nanos) in [
            ("0s", 0),
            ("0", 0),
            ("250ms", 250_000_000),
            ("10s", 10_000_000_000),
            ("10", 10_000_000_000),
            ("5m", 300_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1d", 86_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m1s1ms", 61_001_000_000),
            ("500us", 500_000),
            ("7ns", 7),
            ("365d", 31_536_000_000_000_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_nanos(nanos), "{text}");
        }
    }

    #[test]
    fn refuses_other_text_with_what_is_accepted() {
        for text in [
            "",
            "s",
            "1.5s",
            "-1s",
            "+1s",
            "+1",
            "10 s",
            "10S",
            "1w",
            "1h30",
            "30m1h",
            "1m1m",
            "366d",
            "8761h",
            "99999999999999999999s",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
            assert!(error.to_string().contains("`1h30m`"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn texts_round_trip_exactly(nanos in 0u64..=31_536_000_000_000_000) {
            let value = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&text(value)), Some(value));
            let millis = Duration::from_millis(nanos / 1_000_000);
            prop_assert_eq!(parse(&text(millis)), Some(millis));
        }
    }
}

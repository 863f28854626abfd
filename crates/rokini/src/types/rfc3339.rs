//! Times as RFC 3339 writes them, to the millisecond.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const NANOS_PER_MILLI: i128 = 1_000_000;

/// Milliseconds since the Unix epoch of a time such as `2026-01-31T12:00:00.250Z` or `2026-01-31T13:00:00+01:00`; `None`
/// for other text and for times before 1970. A leap second counts as the end of the second before.
pub(crate) fn parse(text: &str) -> Option<u64> {
    // The library takes any sign between date and time.
    let has_separator = text.contains(['T', 't']);
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| has_separator)?;
    u64::try_from(time.unix_timestamp_nanos().div_euclid(NANOS_PER_MILLI)).ok()
}

/// Milliseconds since the Unix epoch as RFC 3339 in UTC with all digits, such as `2026-01-31T12:00:00.000Z`, so that times
/// line up. Beyond the year 9999 the bare number of milliseconds.
#[must_use]
pub fn format_time(millis: u64) -> String {
    let text = text(millis);
    let Some(time) = text.strip_suffix('Z') else { return text };
    let (second, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{second}.{fraction:0<3}Z")
}

/// A time for people. Beyond the year 9999 the bare number of milliseconds.
pub(crate) fn text(millis: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * NANOS_PER_MILLI);
    let Some(time) = time.ok().filter(|time| time.year() <= 9_999) else { return millis.to_string() };
    let (date, (hour, minute, second)) = (time.date(), time.to_hms());
    let fraction = match time.millisecond() {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    // `time::Date` displays as RFC 3339 has it.
    format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(all(test, feature = "aws"))]
mod tests {
    use super::*;
    use aws_smithy_types::DateTime;
    use aws_smithy_types::date_time::Format;
    use proptest::prelude::*;

    #[test]
    fn reads_every_form() {
        for (written, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-11-14T22:13:20.123Z", 1_700_000_000_123),
            ("2023-11-14T22:13:20.1239999Z", 1_700_000_000_123),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000_500),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
            ("2023-11-14T17:43:20-04:30", 1_700_000_000_000),
            ("2024-02-29t00:00:00z", 1_709_164_800_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_999),
        ] {
            assert_eq!(parse(written), Some(millis), "{written}");
        }
    }

    #[test]
    fn refuses_other_text() {
        for written in [
            "",
            "T",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14 22:13:20Z",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01T00:00:61Z",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00+1:00",
            "2023-01-01T00:00:00+01:00:00",
            "2023-01-01T00:00Z",
            "+023-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse(written), None, "{written}");
        }
    }

    proptest! {
        #[test]
        fn texts_are_those_of_the_sdk_and_round_trip(millis in 0u64..253_402_300_800_000) {
            let sdk = DateTime::from_millis(millis as i64).fmt(Format::DateTime).unwrap();
            prop_assert_eq!(&text(millis), &sdk);
            prop_assert_eq!(parse(&sdk), Some(millis));
        }
    }

    #[test]
    fn beyond_the_year_9999_the_number_is_shown() {
        assert_eq!(text(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(253_402_300_800_000), "253402300800000");
        assert_eq!(text(u64::MAX), u64::MAX.to_string());
    }
}

#[cfg(test)]
mod format_tests {
    use super::*;

    #[test]
    fn times_have_all_their_digits() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_120, "2023-11-14T22:13:20.120Z"),
            (4_102_444_799_001, "2099-12-31T23:59:59.001Z"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(format_time(millis), text);
        }
    }
}

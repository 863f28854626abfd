//! Times as RFC 3339 writes them, to the millisecond.

const DAY_MILLIS: i64 = 86_400_000;

/// Milliseconds since the Unix epoch of a time such as `2026-01-31T12:00:00.250Z` or `2026-01-31T13:00:00+01:00`; `None`
/// for other text and for times before 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(&zone[1..], ':', [2, 2])?;
            let ahead = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
            if zone.starts_with('-') { -ahead } else { ahead }
        }
    };
    // A leap second counts as the first one of the next minute.
    let valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok().filter(|_| valid)?;
    let seconds = (hour * 60 + minute - offset_minutes) * 60 + second;
    u64::try_from(days_since_epoch(year, month, day) * DAY_MILLIS + seconds * 1_000 + millis).ok()
}

/// Numbers with exactly so many digits each, and `separator` between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| plain)?;
    }
    parts.next().is_none().then_some(found)
}

/// A time for people. Beyond the year 9999 the bare number of milliseconds.
pub(crate) fn text(millis: u64) -> String {
    let days = (millis / DAY_MILLIS as u64) as i64;
    // From the year 0 on, in years that begin with March, so that the leap day is the last one.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if year > 9_999 {
        return millis.to_string();
    }
    let of_day = millis % DAY_MILLIS as u64;
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    let fraction = match of_day % 1_000 {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
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
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
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

//! Positions for people. JSON has them whole.

use rokini::format_time;
use rokini::lease::SequenceNumber;

use crate::text::span;

/// Digits of a sequence number that are shown: the last ones, which differ.
const DIGITS: usize = 8;

/// A position by its text form: what is done, in few words. A record by when it arrived, where its number says that, and by the
/// last digits otherwise.
pub(crate) fn of(position: &str, now_millis: u64) -> String {
    let (kind, rest) = position.split_once(':').unwrap_or((position, ""));
    match kind {
        "TRIM_HORIZON" => "at the oldest".to_owned(),
        "SHARD_END" => "done".to_owned(),
        "AT_TIMESTAMP" => rest.parse().map_or_else(|_| position.to_owned(), |at| time(at, now_millis)),
        "AT" => format!("at {}", record(rest, now_millis)),
        "AFTER" => format!("after {}", record(rest, now_millis)),
        _ => record(position, now_millis),
    }
}

/// A record by its sequence number, with what stands behind it.
pub(crate) fn record(number: &str, now_millis: u64) -> String {
    let (digits, sub) = number.split_at(number.find('/').unwrap_or(number.len()));
    let second = digits.parse::<SequenceNumber>().ok().and_then(SequenceNumber::arrival_second);
    match second {
        Some(second) => {
            let sub = sub.strip_prefix('/').map(|sub| format!(" user record {sub}")).unwrap_or_default();
            format!("{}{sub}", time(second * 1000, now_millis))
        }
        None => tail(number),
    }
}

/// A time for whoever reads it now, in UTC: `12:03:41Z (2m ago)`, with its day where it is another one.
pub(crate) fn time(millis: u64, now_millis: u64) -> String {
    const DAY: u64 = 86_400_000;
    let text = format_time(millis);
    // Beyond the year 9999 there is only the number.
    let Some((date, clock)) = text.split_once('T') else { return text };
    let clock = clock.split('.').next().unwrap_or(clock);
    let shown = match millis / DAY == now_millis / DAY {
        true => format!("{clock}Z"),
        false => format!("{date} {clock}Z"),
    };
    match now_millis.checked_sub(millis) {
        Some(ago) => format!("{shown} ({} ago)", span(ago)),
        None => format!("{shown} (in {})", span(millis - now_millis)),
    }
}

/// The positions in a sentence, for people: times as such, and sequence numbers by their last digits. An order in words as it
/// was given stays.
pub(crate) fn in_words(sentence: &str, now_millis: u64) -> String {
    let word = |word: &str| match word.split_once(':') {
        Some(("AT_TIMESTAMP" | "AT" | "AFTER", _)) => of(word, now_millis),
        _ => word.to_owned(),
    };
    sentence.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A sequence number, with what stands behind it, by its last digits.
fn tail(number: &str) -> String {
    let (digits, sub) = number.split_at(number.find('/').unwrap_or(number.len()));
    match digits.len().checked_sub(DIGITS) {
        Some(cut @ 1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("..{}{sub}", &digits[cut..])
        }
        _ => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_short_and_say_what_they_mean() {
        const NOW: u64 = 1_700_000_120_000;
        for (position, shown) in [
            ("TRIM_HORIZON", "at the oldest"),
            ("SHARD_END", "done"),
            ("AT_TIMESTAMP:1700000000000", "22:13:20Z (2m ago)"),
            ("AT_TIMESTAMP:1699900000000", "2023-11-13 18:26:40Z (27h ago)"),
            ("AT_TIMESTAMP:1700000130000", "22:15:30Z (in 10s)"),
            (
                "AFTER:49590338271490256608559692538361571095921575989136588898",
                "after 2018-12-17 22:10:50Z (1793d ago)",
            ),
            (
                "AT:49590338271490256608559692538361571095921575989136588898/7",
                "at 2018-12-17 22:10:50Z (1793d ago) user record 7",
            ),
            ("AFTER:123", "after 123"),
            ("AFTER:123456789012/7", "after ..56789012/7"),
            (
                "AFTER:49680485925276037467835448941947785701109885697267859458",
                "after 2026-11-23 08:49:57Z (in 1104d)",
            ),
            (
                "AT:49680485925276037467835448941947785701109885697267859458",
                "at 2026-11-23 08:49:57Z (in 1104d)",
            ),
            (
                "AFTER:49680485925276037467835448941947785701109885697267859458/7",
                "after 2026-11-23 08:49:57Z (in 1104d) user record 7",
            ),
        ] {
            assert_eq!(of(position, NOW), shown);
        }
        assert_eq!(tail("AT_TIMESTAMP"), "AT_TIMESTAMP");
        assert_eq!(
            in_words("takes back to AT_TIMESTAMP:1700000000000", NOW),
            "takes back to 22:13:20Z (2m ago)"
        );
        assert_eq!(in_words("to AFTER:123456789 at 12:30", NOW), "to after ..23456789 at 12:30");
        assert_eq!(in_words("to TRIM_HORIZON", NOW), "to TRIM_HORIZON");
    }
}

//! Positions for people. JSON has them whole.

use rokini::format_time;

/// Digits of a sequence number that are shown: the last ones, which differ.
const DIGITS: usize = 8;

/// A position by its text form: what is done, in few words.
pub(crate) fn of(position: &str) -> String {
    let (kind, rest) = position.split_once(':').unwrap_or((position, ""));
    match kind {
        "TRIM_HORIZON" => "at the oldest".to_owned(),
        "SHARD_END" => "done".to_owned(),
        "AT_TIMESTAMP" => rest.parse().map_or_else(|_| position.to_owned(), format_time),
        "AT" => format!("at {}", tail(rest)),
        "AFTER" => format!("after {}", tail(rest)),
        _ => tail(position),
    }
}

/// The positions in a sentence, for people: times as such, and sequence numbers by their last digits. An order in words as it
/// was given stays.
pub(crate) fn in_words(sentence: &str) -> String {
    let word = |word: &str| match word.split_once(':') {
        Some(("AT_TIMESTAMP" | "AT" | "AFTER", _)) => of(word),
        _ => word.to_owned(),
    };
    sentence.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A sequence number, with what stands behind it, by its last digits.
pub(crate) fn tail(number: &str) -> String {
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
        for (position, shown) in [
            ("TRIM_HORIZON", "at the oldest"),
            ("SHARD_END", "done"),
            ("AT_TIMESTAMP:1700000000000", "2023-11-14T22:13:20.000Z"),
            ("AFTER:123", "after 123"),
            ("AFTER:49680485925276037467835448941947785701109885697267859458", "after ..67859458"),
            ("AT:49680485925276037467835448941947785701109885697267859458", "at ..67859458"),
            ("AFTER:49680485925276037467835448941947785701109885697267859458/7", "after ..67859458/7"),
        ] {
            assert_eq!(of(position), shown);
        }
        assert_eq!(tail("AT_TIMESTAMP"), "AT_TIMESTAMP");
        assert_eq!(
            in_words("takes back to AT_TIMESTAMP:1700000000000"),
            "takes back to 2023-11-14T22:13:20.000Z"
        );
        assert_eq!(in_words("to AFTER:123456789 at 12:30"), "to after ..23456789 at 12:30");
        assert_eq!(in_words("to TRIM_HORIZON"), "to TRIM_HORIZON");
    }
}

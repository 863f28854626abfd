//! Words, lists and spans of time in sentences.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

/// A number of things with its noun: `1 shard`, `2 shards`.
pub(crate) fn count(number: impl Display, noun: &str) -> String {
    match number.to_string().as_str() {
        "1" => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// The first ten of some names, sorted, and how many more there are.
pub(crate) fn first_names(names: impl Iterator<Item = impl Display>) -> String {
    const SHOWN: usize = 10;
    let names: BTreeSet<String> = names.map(|name| name.to_string()).collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    match more {
        0 if shown.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A length of time in seconds, to the millisecond: for JSON.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A length of time for people.
pub(crate) fn span(millis: u64) -> String {
    match millis {
        0 => "0".to_owned(),
        1..10_000 => format!("{}.{}s", millis / 1000, millis % 1000 / 100),
        _ => match millis / 1000 {
            seconds @ ..120 => format!("{seconds}s"),
            seconds @ ..7200 => format!("{}m", seconds / 60),
            seconds @ ..172_800 => format!("{}h", seconds / 3600),
            seconds => format!("{}d", seconds / 86_400),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_plural() {
        for (number, text) in [(0, "0 shards"), (1, "1 shard"), (2, "2 shards"), (11, "11 shards")] {
            assert_eq!(count(number, "shard"), text);
        }
    }

    #[test]
    fn lists_are_cut() {
        assert_eq!(first_names((0..0).map(|n: u32| n)), "none");
        assert_eq!(first_names([2, 1].iter()), "1, 2");
        assert!(first_names(10..25).ends_with("19 and 5 more"));
    }

    #[test]
    fn spans() {
        for (millis, shown) in [
            (0, "0"),
            (1, "0.0s"),
            (1234, "1.2s"),
            (119_999, "119s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
            (900_000_000, "10d"),
        ] {
            assert_eq!(span(millis), shown);
        }
    }
}

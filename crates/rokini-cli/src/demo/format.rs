//! How the demo writes shards, times and counts.

use std::fmt;
use std::time::Duration;

use serde::Serializer;

/// As whole milliseconds.
pub(crate) fn millis<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A shard's id as people say it: its number.
pub(crate) fn shard_number(shard: &str) -> &str {
    let digits = shard.rsplit_once('-').map_or(shard, |(_, digits)| digits);
    match digits.trim_start_matches('0') {
        "" if digits.is_empty() => shard,
        "" => "0",
        number => number,
    }
}

/// Minutes and seconds of a run.
pub(crate) struct Clock(pub(crate) Duration);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        f.pad(&format!("{}:{:02}", seconds / 60, seconds % 60))
    }
}

/// A duration in seconds, two digits after the point below ten.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0 < Duration::from_secs(10) { 2 } else { 1 };
        f.pad(&format!("{:.digits$} s", self.0.as_secs_f64()))
    }
}

/// A count with its thousands set off.
pub(crate) struct Count(pub(crate) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        assert_eq!(
            ["shardId-000000000000", "shardId-000000000120", "other", "-"].map(shard_number),
            ["0", "120", "other", "-"]
        );
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(|n| Count(n).to_string()),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(Clock(Duration::from_secs(65)).to_string(), "1:05");
        assert_eq!(Seconds(Duration::from_millis(9_876)).to_string(), "9.88 s");
        assert_eq!(Seconds(Duration::from_millis(12_340)).to_string(), "12.3 s");
    }
}

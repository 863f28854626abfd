//! What a worker says in short of the shards that its row has no room to tell of one by one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::lease_set::LeaseSet;
use super::shard_health::ShardHealth;
use crate::text::serde_as_text;
use crate::types::{InvalidKey, LeaseKey};

/// The most bytes that the summaries of one row have together: a row stays below the 4 KB that one consistent read covers.
pub(crate) const SUMMARIES_LIMIT: usize = 1024;

/// The state of a shard of which only a summary speaks.
const STATE: &str = "summarized";

/// What a worker says of several of its shards at once: they make no progress for the same cause, or none of them stalls, and
/// they are behind by about the same.
///
/// Its text form is words: `stalled=handler lasting=12000 lag=13000 leases=orders@1#8-19`. Words that a reader does not know
/// are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HealthSummary {
    /// Why they make no progress: a word without spaces. `None` where they make progress.
    pub stalled: Option<String>,
    /// For how long the one has made none that has made none for longest.
    pub lasting: Duration,
    /// The greatest of their lags; none is below half of it.
    pub lag: Duration,
    /// The leases of the shards.
    pub leases: LeaseSet,
}

impl HealthSummary {
    /// Of these shards, the worst first, as far as [`SUMMARIES_LIMIT`] has room.
    pub(crate) fn of(healths: &[ShardHealth]) -> Vec<Self> {
        let mut summaries: Vec<Self> = Vec::new();
        for health in healths {
            let same = |summary: &&mut Self| {
                summary.stalled == health.stalled && magnitude(summary.lag) == magnitude(health.lag)
            };
            if let Some(summary) = summaries.iter_mut().find(same) {
                summary.lasting = summary.lasting.max(health.lasting);
                summary.lag = summary.lag.max(health.lag);
                summary.leases.insert(health.key.clone());
            } else {
                summaries.push(Self {
                    stalled: health.stalled.clone(),
                    lasting: health.lasting,
                    lag: health.lag,
                    leases: [health.key.clone()].into_iter().collect(),
                });
            }
        }
        let mut room = SUMMARIES_LIMIT;
        for summary in &mut summaries {
            let words = Self { leases: LeaseSet::default(), ..summary.clone() }.to_string().len();
            summary.leases = summary.leases.within(room.saturating_sub(words));
            room = room.saturating_sub(words + summary.leases.to_string().len());
        }
        summaries.retain(|summary| !summary.leases.is_empty());
        summaries
    }

    /// What it says of one of its shards; `None` of others.
    pub(crate) fn of_shard(&self, key: &LeaseKey) -> Option<ShardHealth> {
        self.leases.contains(key).then(|| {
            let mut health = ShardHealth::new(key.clone(), STATE, self.lag);
            health.stalled.clone_from(&self.stalled);
            health.lasting = self.lasting;
            health
        })
    }
}

/// Which power of two of milliseconds it is below.
fn magnitude(lag: Duration) -> u32 {
    u128::BITS - lag.as_millis().leading_zeros()
}

serde_as_text!(HealthSummary);

impl fmt::Display for HealthSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cause) = &self.stalled {
            write!(f, "stalled={cause} lasting={} ", self.lasting.as_millis())?;
        }
        write!(f, "lag={} leases={}", self.lag.as_millis(), self.leases)
    }
}

impl FromStr for HealthSummary {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("a summary of shards", text);
        let millis = |value: &str| value.parse().map(Duration::from_millis).map_err(|_| invalid());
        let mut summary =
            Self { stalled: None, lasting: Duration::ZERO, lag: Duration::ZERO, leases: LeaseSet::default() };
        for (name, value) in text.split(' ').filter_map(|word| word.split_once('=')) {
            match name {
                "stalled" => summary.stalled = Some(value.to_owned()),
                "lasting" => summary.lasting = millis(value)?,
                "lag" => summary.lag = millis(value)?,
                "leases" => summary.leases = value.parse()?,
                _ => {}
            }
        }
        if summary.leases.is_empty() { Err(invalid()) } else { Ok(summary) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(shard: u64, stalled: Option<&str>, lag: u64) -> ShardHealth {
        let key = format!("orders@1#shardId-{shard:012}").parse().unwrap();
        let mut health = ShardHealth::new(key, "handling", Duration::from_millis(lag));
        health.stalled = stalled.map(str::to_owned);
        health.lasting = Duration::from_millis(stalled.map_or(0, |_| lag - 1_000));
        health
    }

    #[test]
    fn shards_of_one_cause_and_about_one_lag_are_told_together() {
        let healths = [
            health(8, Some("handler"), 13_000),
            health(9, Some("handler"), 12_000),
            health(11, Some("handler"), 12_500),
            health(3, Some("denied"), 12_000),
            health(4, None, 12_000),
            health(5, None, 3_000),
        ];
        let summaries = HealthSummary::of(&healths);
        let texts: Vec<String> = summaries.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "stalled=handler lasting=12000 lag=13000 leases=orders@1#8-9,11",
                "stalled=denied lasting=11000 lag=12000 leases=orders@1#3",
                "lag=12000 leases=orders@1#4",
                "lag=3000 leases=orders@1#5",
            ]
        );
        for summary in &summaries {
            assert_eq!(summary.to_string().parse().as_ref(), Ok(summary));
        }
        let one = summaries[0].of_shard(&healths[2].key).unwrap();
        assert_eq!((one.stalled.as_deref(), one.lag), (Some("handler"), Duration::from_millis(13_000)));
        assert_eq!(summaries[0].of_shard(&healths[3].key), None);
        for bad in ["", "lag=1", "lag=x leases=s#1", "leases=s", "lag=1 leases="] {
            assert!(bad.parse::<HealthSummary>().is_err(), "{bad}");
        }
    }

    #[test]
    fn they_keep_to_their_bytes() {
        // None next to another.
        let healths: Vec<ShardHealth> =
            (0..2_000).map(|n| health(n * 2, Some("handler"), 2_000 << (n % 9))).collect();
        let summaries = HealthSummary::of(&healths);
        let bytes: usize = summaries.iter().map(|summary| summary.to_string().len()).sum();
        assert!(bytes <= SUMMARIES_LIMIT && bytes > SUMMARIES_LIMIT / 2, "{bytes}");
        let in_a_row: Vec<ShardHealth> = (0..2_000).map(|n| health(n, Some("handler"), 9_000)).collect();
        assert_eq!(HealthSummary::of(&in_a_row)[0].leases.len(), 2_000);
    }
}

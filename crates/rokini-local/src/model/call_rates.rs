//! The rates at which operations may be called.

use std::collections::BTreeMap;

use rokini_wire::Timestamp;

use crate::model::rate_limiter::{Rate, RateLimiter};
use crate::model::scope::StreamKey;

/// Who shares a rate of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateScope {
    Account,
    Stream,
}

/// How many times a second an operation may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallRate {
    pub(crate) scope: RateScope,
    pub(crate) per_second: u64,
}

pub(crate) const fn per_account(per_second: u64) -> Option<CallRate> {
    Some(CallRate { scope: RateScope::Account, per_second })
}

pub(crate) const fn per_stream(per_second: u64) -> Option<CallRate> {
    Some(CallRate { scope: RateScope::Stream, per_second })
}

/// Most counts held. With more, those of seconds that are over are forgotten, which changes nothing; then the first, so that accounts
/// made up by a caller do not fill the memory.
const MAX_COUNTS: usize = 10_000;

/// Calls counted by operation, account and region and, where the rate is a stream's, by its name; an account's have no name.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallRates(BTreeMap<(&'static str, StreamKey), RateLimiter>);

impl CallRates {
    /// Counts a call, or says no.
    pub(crate) fn allow(
        &mut self,
        now: Timestamp,
        operation: &'static str,
        stream: &StreamKey,
        rate: CallRate,
    ) -> bool {
        let key = (operation, stream.clone());
        if self.0.len() >= MAX_COUNTS && !self.0.contains_key(&key) {
            self.0.retain(|_, limiter| !limiter.is_over(now));
            if self.0.len() >= MAX_COUNTS {
                self.0.pop_first();
            }
        }
        let limiter = self.0.entry(key).or_default();
        let allowed = limiter.is_open(now, Rate { calls: rate.per_second, bytes: u64::MAX });
        if allowed {
            limiter.charge(0);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::scope::Scope;

    #[test]
    fn counts_are_bounded_and_those_of_this_second_stay() {
        let mut rates = CallRates::default();
        let rate = CallRate { scope: RateScope::Account, per_second: 1 };
        let start = Timestamp::from_secs(1_700_000_000);
        let later = start.plus(Duration::from_secs(1));
        let key = |account: usize| StreamKey {
            scope: Scope::new(&format!("{account:012}"), "us-east-1"),
            name: String::new(),
        };
        for account in 0..MAX_COUNTS {
            assert!(rates.allow(start, "ListStreams", &key(account), rate));
        }
        assert!(!rates.allow(start, "ListStreams", &key(17), rate));
        assert!(rates.allow(later, "ListStreams", &key(17), rate));
        assert!(rates.allow(later, "ListStreams", &key(MAX_COUNTS), rate), "a new one");
        assert_eq!(rates.0.len(), 2, "those of the second before are forgotten");
        assert!(!rates.allow(later, "ListStreams", &key(17), rate), "it is counted still");
        for account in 0..=2 * MAX_COUNTS {
            rates.allow(later, "ListStreams", &key(account), rate);
        }
        assert_eq!(rates.0.len(), MAX_COUNTS);
    }
}

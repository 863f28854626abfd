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

/// Calls counted by operation, account and region and, where the rate is a stream's, by its name; an account's have no name.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallRates(BTreeMap<(&'static str, StreamKey), RateLimiter>);

impl CallRates {
    /// Counts a call, or says no.
    pub(crate) fn allow(
        &mut self,
        now: Timestamp,
        operation: &'static str,
        stream: StreamKey,
        rate: CallRate,
    ) -> bool {
        let limiter = self.0.entry((operation, stream)).or_default();
        let allowed = limiter.is_open(now, Rate { calls: rate.per_second, bytes: u64::MAX });
        if allowed {
            limiter.charge(0);
        }
        allowed
    }
}

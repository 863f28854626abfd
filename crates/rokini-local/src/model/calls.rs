//! The rates at which operations may be called.

use std::collections::BTreeMap;

use rokini_wire::{Operation, ServiceError, Timestamp};

use super::Model;
use super::errors::limit;
use super::meter::{Meter, Rate};
use super::subject::Subject;

/// What a rate is shared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Account,
    Stream,
}

/// Calls a second, as AWS documents them: most on the operations' own pages of the API reference, the retention and
/// monitoring ones on the developer guide's page of quotas. Operations of a shard or a subscription have rates of their own.
fn rate(operation: &str) -> Option<(Per, u64)> {
    Some(match operation {
        "AddTagsToStream"
        | "CreateStream"
        | "DeleteStream"
        | "ListStreams"
        | "ListTagsForStream"
        | "MergeShards"
        | "RemoveTagsFromStream"
        | "SplitShard" => (Per::Account, 5),
        "DescribeLimits" => (Per::Account, 1),
        "DescribeStream" => (Per::Account, 10),
        "DescribeStreamSummary" => (Per::Account, 20),
        "DecreaseStreamRetentionPeriod"
        | "DeregisterStreamConsumer"
        | "DisableEnhancedMonitoring"
        | "EnableEnhancedMonitoring"
        | "IncreaseStreamRetentionPeriod"
        | "ListStreamConsumers"
        | "RegisterStreamConsumer" => (Per::Stream, 5),
        "DescribeStreamConsumer" => (Per::Stream, 20),
        "ListShards" => (Per::Stream, 1000),
        _ => return None,
    })
}

/// Calls counted by operation and, where the rate is a stream's, by its name; an account's have no name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(BTreeMap<(&'static str, String), Meter>);

impl Model {
    /// Counts a call. One that is refused for another reason counts too.
    pub(super) fn admit<R: Operation + Subject>(
        &mut self,
        now: Timestamp,
        request: &R,
    ) -> Result<(), ServiceError> {
        let Some((per, calls)) = rate(R::NAME).filter(|_| self.settings.limits_calls()) else {
            return Ok(());
        };
        let of = match per {
            Per::Account => String::new(),
            // What names no stream that is there has nothing to share.
            Per::Stream => match self.place_of(request).stream {
                Some(name) if self.streams.contains(now, &name) => name,
                _ => return Ok(()),
            },
        };
        let rate = Rate { calls, bytes: u64::MAX };
        let meter = self.calls.0.entry((R::NAME, of.clone())).or_default();
        if meter.open(now, rate) {
            meter.charge(0);
            return Ok(());
        }
        let account = &self.streams.account;
        Err(limit(match per {
            Per::Account => format!("Rate exceeded for account {account}."),
            Per::Stream => format!("Rate exceeded for stream {of} under account {account}."),
        }))
    }
}

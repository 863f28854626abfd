//! Differences that are known, and why ours is the documented answer.

use super::facts::{Facts, listed};
use super::operation::{Filter, Kind, Operation};

const INVALID: &str = "InvalidArgumentException";
const NOT_FOUND: &str = "ResourceNotFoundException";
const IN_USE: &str = "ResourceInUseException";

const BAD_ITERATOR: &str = "GetRecords, InvalidArgumentException: \"A specified parameter exceeds its restrictions, is not \
    supported, or can't be used.\" The other server fails with status 500.";
const EITHER_ORDER: &str = "MergeShards: \"Two shards are considered adjacent if the union of the hash key ranges for the two \
    shards form a contiguous set with no gaps.\" The other server wants the lower one first.";
const TWO_MISTAKES: &str = "A request with two mistakes. The reference does not say which is reported.";
const FOREIGN_NUMBER: &str = "GetShardIterator: \"The sequence number of the data record in the shard from which to start \
    reading.\" This one is of another shard.";
const NO_NUMBER: &str = "GetShardIterator: \"The sequence number of the data record in the shard from which to start reading.\" \
    12345 is the number of no record and no shard.";
const FUTURE: &str = "GetShardIterator: AT_TIMESTAMP reads \"from the position denoted by a specific time stamp\", which the \
    future does not have. The other server does not look at the time where a shard has no records.";
const CLOSED: &str = "SplitShard, MergeShards, ResourceInUseException: \"For successful operation, the resource must be in the \
    ACTIVE state.\" The stream is ACTIVE; it is the shard that is closed or the argument that is wrong.";
const SPLIT_AT_THE_EDGE: &str = "SplitShard: \"The value for NewStartingHashKey must be in the range of hash keys being mapped \
    into the shard.\" At or next to its start and at its end the service refuses: \"not both greater than one plus the shard's \
    StartingHashKey and less than the shard's EndingHashKey\".";
const BELOW_HALF: &str = "UpdateShardCount: you cannot \"Scale down below half your current shard count for a stream\". The other \
    server rounds the half down.";
const SAME_RETENTION: &str = "RetentionPeriodHours: \"Must be more than the current retention period.\" and \"Must be less than \
    the current retention period.\" The other server accepts the same.";
const AFTER_UNKNOWN: &str = "ShardFilter AFTER_SHARD_ID: \"starting with the shard whose ID immediately follows the ShardId that \
    you provided\". After an id that is not there the other server starts from the first.";
const MILLISECONDS: &str = "ShardFilter AT_TIMESTAMP, FROM_TIMESTAMP: \"A timestamp is a Unix epoch date with precision in \
    milliseconds.\" The other server knows when a shard began and ended to the second only.";
const AT_HORIZON: &str = "ShardFilter AT_TRIM_HORIZON: \"all the shards that were open at TRIM_HORIZON\". The other server lists \
    every shard.";

/// The reason why the two answers may differ, where the case is the one the reason speaks of.
pub(crate) fn by(operation: &Operation, facts: &Facts, here: &str, there: &str) -> Option<&'static str> {
    let said = |ours: &str, theirs: &str| here.starts_with(ours) && there.starts_with(theirs);
    let unknown = |shard: usize| facts.shard(shard).is_none();
    match *operation {
        Operation::BadIterator if said(INVALID, "no") => Some(BAD_ITERATOR),
        Operation::Iterator { foreign: true, .. } if said(INVALID, NOT_FOUND) || said(INVALID, "ok") => {
            Some(FOREIGN_NUMBER)
        }
        Operation::Iterator { kind: Kind::Garbage, .. }
            if said(INVALID, NOT_FOUND) || said(INVALID, "ok") =>
        {
            Some(NO_NUMBER)
        }
        Operation::Iterator { kind: Kind::Future, shard, .. } if said(INVALID, "ok") => {
            (!facts.written(shard)).then_some(FUTURE)
        }
        Operation::Iterator { kind, shard, .. } if said(NOT_FOUND, INVALID) => {
            let wrong = !matches!(kind, Kind::TrimHorizon | Kind::Latest | Kind::Past);
            (unknown(shard) && wrong).then_some(TWO_MISTAKES)
        }
        Operation::Merge { one, two } if said(NOT_FOUND, IN_USE) => {
            let (is_unknown, is_closed) =
                (unknown(one) || unknown(two), facts.closed(one) || facts.closed(two));
            (is_unknown && (is_closed || one == two)).then_some(TWO_MISTAKES)
        }
        Operation::Merge { one, two } if said("ok", INVALID) => {
            let lower_last = facts.shard(one).zip(facts.shard(two)).is_some_and(|(o, t)| o.first > t.first);
            lower_last.then_some(EITHER_ORDER)
        }
        Operation::Merge { one, two } if said(INVALID, IN_USE) => {
            let wrong = facts.closed(one) || facts.closed(two) || !facts.adjacent(one, two);
            wrong.then_some(CLOSED)
        }
        Operation::Split { shard, at } if said(INVALID, IN_USE) => {
            let outside = facts.shard(shard).is_some_and(|shard| at < shard.first || at > shard.last);
            (outside || facts.closed(shard)).then_some(CLOSED)
        }
        Operation::Split { shard, at } if said(INVALID, "ok") => {
            let edge = facts.shard(shard).is_some_and(|shard| at <= shard.first + 1 || at == shard.last);
            edge.then_some(SPLIT_AT_THE_EDGE)
        }
        Operation::Scale { target } if said(INVALID, "ok") => {
            let open = facts.open();
            let rounded_down = open % 2 == 1 && usize::try_from(target) == Ok(open / 2);
            rounded_down.then_some(BELOW_HALF)
        }
        Operation::Retention { hours, .. } if said(INVALID, "ok") => {
            (hours == facts.retention_hours).then_some(SAME_RETENTION)
        }
        Operation::List { filter } if said("ok", "ok") => list(filter, facts, here, there),
        _ => None,
    }
}

fn list(filter: Filter, facts: &Facts, here: &str, there: &str) -> Option<&'static str> {
    let (ours, theirs) = (listed(here), listed(there));
    match filter {
        Filter::AfterShard(shard) => {
            let all = theirs.len() == facts.count();
            (facts.shard(shard).is_none() && ours.is_empty() && all).then_some(AFTER_UNKNOWN)
        }
        Filter::AtTime | Filter::FromTime => {
            let mut numbers = ours.keys().chain(theirs.keys());
            let same = |number: &usize| ours.get(number) == theirs.get(number);
            let listed_once = |number: &usize| ours.contains_key(number) != theirs.contains_key(number);
            let excused = |number: &usize| listed_once(number) && facts.turned_when_asked(*number);
            numbers.all(|number| same(number) || excused(number)).then_some(MILLISECONDS)
        }
        Filter::AtTrimHorizon => {
            let mut roots = theirs.clone();
            roots.retain(|_, shard| shard.contains(" of None+None"));
            (theirs.len() == facts.count() && ours == roots).then_some(AT_HORIZON)
        }
        Filter::None | Filter::AtLatest | Filter::FromTrimHorizon => None,
    }
}

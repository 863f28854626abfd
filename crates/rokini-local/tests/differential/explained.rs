//! Differences that are known, and why ours is the documented answer.

use crate::operation::{Filter, Kind, Operation};

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
    future does not have. The other server refuses it only for open shards.";
const CLOSED: &str = "SplitShard, MergeShards, ResourceInUseException: \"For successful operation, the resource must be in the \
    ACTIVE state.\" The stream is ACTIVE; it is the shard that is closed or the argument that is wrong.";
const SPLIT_AT_THE_EDGE: &str = "SplitShard: \"The value for NewStartingHashKey must be in the range of hash keys being mapped \
    into the shard.\" At or next to its start the service refuses: \"not both greater than one plus the shard's \
    StartingHashKey\".";
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

/// The reason why the two answers may differ.
pub(crate) fn by(operation: &Operation, here: &str, there: &str) -> Option<&'static str> {
    let said = |ours: &str, theirs: &str| here.starts_with(ours) && there.starts_with(theirs);
    match operation {
        Operation::BadIterator if said(INVALID, "no") => Some(BAD_ITERATOR),
        Operation::Iterator { foreign: true, .. } if said(INVALID, NOT_FOUND) || said(INVALID, "ok") => {
            Some(FOREIGN_NUMBER)
        }
        Operation::Iterator { kind: Kind::Garbage, .. }
            if said(INVALID, NOT_FOUND) || said(INVALID, "ok") =>
        {
            Some(NO_NUMBER)
        }
        Operation::Iterator { kind: Kind::Future, .. } if said(INVALID, "ok") => Some(FUTURE),
        Operation::Iterator { .. } if said(NOT_FOUND, INVALID) => Some(TWO_MISTAKES),
        Operation::Merge { .. } if said(NOT_FOUND, IN_USE) => Some(TWO_MISTAKES),
        Operation::Merge { .. } if said("ok", INVALID) => Some(EITHER_ORDER),
        Operation::Split { .. } | Operation::Merge { .. } if said(INVALID, IN_USE) => Some(CLOSED),
        Operation::Split { at, .. } if *at < 10 && said(INVALID, "ok") => Some(SPLIT_AT_THE_EDGE),
        Operation::Scale { .. } if said(INVALID, "ok") => Some(BELOW_HALF),
        Operation::Retention { .. } if said(INVALID, "ok") => Some(SAME_RETENTION),
        Operation::List { filter } if said("ok", "ok") => match filter {
            Filter::AfterShard(_) => Some(AFTER_UNKNOWN),
            Filter::AtTime | Filter::FromTime => Some(MILLISECONDS),
            Filter::AtTrimHorizon => Some(AT_HORIZON),
            _ => None,
        },
        _ => None,
    }
}

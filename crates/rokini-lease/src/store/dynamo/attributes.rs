//! The attributes of the table: their names, and values in the forms of DynamoDB.
//!
//! Attribute names are full words and values are text that people can read in a console.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::{Blob, DateTime, DateTimeFormat};
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use crate::types::GroupId;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key.
pub(super) const GROUP: &str = "group";
/// The sort key.
pub(super) const ROW: &str = "row";

pub(super) const HEARTBEAT: &str = "beat";
pub(super) const STATE: &str = "state";
pub(super) const LEASES: &str = "leases";
pub(super) const MAILBOX: &str = "mailbox";
pub(super) const STREAMS: &str = "streams";
pub(super) const MAX_LEASES: &str = "max_leases";
pub(super) const HOST: &str = "host";
pub(super) const HOST_NAME: &str = "host_name";
pub(super) const PROCESS_ID: &str = "process_id";
pub(super) const PROCESS_STARTED: &str = "process_started";
pub(super) const VERSION: &str = "version";
pub(super) const CALL: &str = "call";
pub(super) const FORMAT: &str = "format";
/// In milliseconds.
pub(super) const INTERVAL: &str = "interval";
/// In milliseconds.
pub(super) const FAILOVER: &str = "failover";
pub(super) const PLAN: &str = "plan";
/// In seconds.
pub(super) const AGE: &str = "age";
pub(super) const UNABLE: &str = "unable";
/// A map from the names of streams to times in milliseconds since the Unix epoch: read at every look, so it is short.
pub(super) const CAUGHT_UP: &str = "caught_up";

/// Texts, see [`ShardHealth`](crate::row::ShardHealth).
pub(super) const SHARDS: &str = "shards";
pub(super) const UNTOLD: &str = "shards_untold";
/// Texts, see [`HealthSummary`](crate::row::HealthSummary).
pub(super) const SUMMARIES: &str = "shards_summarized";
/// Texts, see [`WorkerTrouble`](crate::row::WorkerTrouble).
pub(super) const TROUBLES: &str = "troubles";

pub(super) const OWNER: &str = "owner";
pub(super) const EPOCH: &str = "epoch";
pub(super) const POSITION: &str = "position";
/// The position once more, as a text that sorts: what conditions compare.
pub(super) const RANK: &str = "rank";
pub(super) const PREVIOUS: &str = "previous_position";
pub(super) const ORDER: &str = "order";
pub(super) const PARENTS: &str = "parents";
pub(super) const CHILDREN: &str = "children";
// 128-bit hashes have up to 39 digits, DynamoDB numbers 38: they are text.
pub(super) const HASH_START: &str = "hash_start";
pub(super) const HASH_END: &str = "hash_end";
pub(super) const CLAIM: &str = "claim";
pub(super) const CONSUMER: &str = "consumer";
pub(super) const CHECKPOINTED_AT: &str = "checkpointed_at";
pub(super) const RECORD_ARRIVED_AT: &str = "record_arrived_at";
pub(super) const CAUGHT_UP_AT: &str = "caught_up_at";
pub(super) const FAN_OUT: &str = "fan_out";
pub(super) const BYTES_PER_SECOND: &str = "bytes_per_second";
pub(super) const RECORD_BYTES: &str = "record_bytes";
pub(super) const SKIPPED: &str = "skipped";
pub(super) const PENDING_POSITION: &str = "pending_position";
pub(super) const PENDING_STATE: &str = "pending_state";
pub(super) const PAUSED: &str = "paused";
pub(super) const PAUSE_ORDER: &str = "pause_order";
pub(super) const PINNED_TO: &str = "pinned_to";

pub(super) const PAUSED_AT: &str = "paused_at";
pub(super) const ORDERS: &str = "orders";
/// The id of the last of them: what conditions compare.
pub(super) const LAST_ORDER: &str = "last_order";

pub(super) const NAME: &str = "name";
pub(super) const START: &str = "start";

/// Sort keys, as a [`RowKey`](crate::row::RowKey) writes them, begin with these.
pub(super) const WORKER_PREFIX: &str = "worker#";
pub(super) const LEASE_PREFIX: &str = "lease#";
pub(super) const STREAM_PREFIX: &str = "stream#";
/// The sort key of the group's own row.
pub(super) const GROUP_ROW: &str = "group";
/// The sort key of the row that says under which partition keys the group's rows are.
pub(super) const LAYOUT_ROW: &str = "layout";
pub(super) const GENERATION: &str = "generation";
pub(super) const LEASE_KEYS: &str = "lease_keys";
pub(super) const NEXT_GENERATION: &str = "next_generation";
pub(super) const NEXT_LEASE_KEYS: &str = "next_lease_keys";
pub(super) const CLEARED_GENERATION: &str = "cleared_generation";
pub(super) const CLEARED_LEASE_KEYS: &str = "cleared_lease_keys";
/// Only forwarding rows have it: in place of a row that went on to another partition key.
pub(super) const MOVED: &str = "moved";

/// Every attribute of a lease's row beside its key. A row that is compared whole has to have the same of them.
pub(super) const LEASE_ATTRIBUTES: &[&str] = &[
    OWNER,
    EPOCH,
    POSITION,
    RANK,
    PREVIOUS,
    ORDER,
    PARENTS,
    CHILDREN,
    HASH_START,
    HASH_END,
    CLAIM,
    CHECKPOINTED_AT,
    RECORD_ARRIVED_AT,
    CAUGHT_UP_AT,
    FAN_OUT,
    BYTES_PER_SECOND,
    RECORD_BYTES,
    SKIPPED,
    PENDING_POSITION,
    PENDING_STATE,
    PAUSED,
    PAUSE_ORDER,
    PINNED_TO,
];
/// The same of a layout row.
pub(super) const LAYOUT_ATTRIBUTES: &[&str] =
    &[GENERATION, LEASE_KEYS, NEXT_GENERATION, NEXT_LEASE_KEYS, CLEARED_GENERATION, CLEARED_LEASE_KEYS];
/// The same of a worker's row.
pub(super) const WORKER_ATTRIBUTES: &[&str] = &[
    HEARTBEAT,
    CALL,
    STATE,
    LEASES,
    VERSION,
    FORMAT,
    INTERVAL,
    FAILOVER,
    PLAN,
    AGE,
    UNABLE,
    CAUGHT_UP,
    SHARDS,
    UNTOLD,
    SUMMARIES,
    TROUBLES,
    STREAMS,
    MAX_LEASES,
    MAILBOX,
    HOST,
    HOST_NAME,
    PROCESS_ID,
    PROCESS_STARTED,
];

/// The value of the partition key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Partition(pub(super) String);

impl From<&GroupId> for Partition {
    fn from(group: &GroupId) -> Self {
        Self(group.to_string())
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether it stands in place of a row that went on to another partition key.
pub(super) fn is_forwarding(item: &Item) -> bool {
    item.contains_key(MOVED)
}

/// The primary key of a row.
pub(super) fn key(group: &Partition, row: &str) -> Item {
    HashMap::from([(GROUP.to_owned(), text(group)), (ROW.to_owned(), text(row))])
}

pub(super) fn text(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(super) fn number(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn list(names: impl IntoIterator<Item = impl fmt::Display>) -> AttributeValue {
    AttributeValue::L(names.into_iter().map(text).collect())
}

pub(super) fn map<'a>(entries: impl IntoIterator<Item = (impl fmt::Display, &'a u64)>) -> AttributeValue {
    let entries = entries.into_iter().map(|(name, value)| (name.to_string(), number(value)));
    AttributeValue::M(entries.collect())
}

pub(super) fn millis(duration: Duration) -> AttributeValue {
    number(duration.as_millis())
}

pub(super) fn blob(bytes: &Bytes) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes.to_vec()))
}

/// The last millisecond of the year 9999: where RFC 3339 ends.
pub(super) const LAST_DATE: u64 = 253_402_300_799_999;

/// A wall-clock time as RFC 3339 in UTC.
pub(super) fn time(millis: u64) -> AttributeValue {
    let date = (millis <= LAST_DATE)
        .then(|| DateTime::from_millis(millis as i64).fmt(DateTimeFormat::DateTime).ok())
        .flatten();
    AttributeValue::S(date.unwrap_or_else(|| millis.to_string()))
}

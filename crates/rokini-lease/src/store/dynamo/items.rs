//! Rows to items and back: the one place that knows the attributes of the table.
//!
//! Attribute names are full words and values are text that people can read in a console. Attributes that this
//! version does not know are passed over and survive every update.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::{Blob, DateTime, DateTimeFormat};
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use crate::{
    CheckpointMetadata, Epoch, GroupRow, HashRange, LeaseKey, LeaseRow, Notification, PendingPosition,
    Position, ProcessIdentity, StreamId, StreamRow, UnreadableRow, WorkerId, WorkerLoad, WorkerRow,
};

use super::partition::Partition;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key.
pub(super) const GROUP: &str = "group";
/// The sort key.
pub(super) const ROW: &str = "row";

pub(super) const BEAT: &str = "beat";
pub(super) const STATE: &str = "state";
pub(super) const LEASES: &str = "leases";
pub(super) const MAILBOX: &str = "mailbox";
pub(super) const STREAMS: &str = "streams";
const MAX_LEASES: &str = "max_leases";
const HOST: &str = "host";
const PROCESS_ID: &str = "process_id";
const PROCESS_STARTED: &str = "process_started";
const VERSION: &str = "version";

pub(super) const OWNER: &str = "owner";
pub(super) const EPOCH: &str = "epoch";
pub(super) const POSITION: &str = "position";
/// The position once more, as a text that sorts: what conditions compare.
pub(super) const RANK: &str = "rank";
pub(super) const PREVIOUS: &str = "previous_position";
const PARENTS: &str = "parents";
pub(super) const CHILDREN: &str = "children";
// 128-bit hashes have up to 39 digits, DynamoDB numbers 38: they are text.
const HASH_START: &str = "hash_start";
const HASH_END: &str = "hash_end";
pub(super) const CLAIM: &str = "claim";
pub(super) const CHECKPOINTED_AT: &str = "checkpointed_at";
pub(super) const RECORD_ARRIVED_AT: &str = "record_arrived_at";
pub(super) const CAUGHT_UP_AT: &str = "caught_up_at";
pub(super) const BYTES_PER_SECOND: &str = "bytes_per_second";
pub(super) const SKIPPED: &str = "skipped";
pub(super) const PENDING_POSITION: &str = "pending_position";
pub(super) const PENDING_STATE: &str = "pending_state";
pub(super) const PAUSED: &str = "paused";

pub(super) const PAUSED_AT: &str = "paused_at";

const NAME: &str = "name";
const START: &str = "start";

/// Sort keys of workers begin with this.
pub(super) const WORKER_PREFIX: &str = "worker#";
pub(super) const LEASE_PREFIX: &str = "lease#";
const STREAM_PREFIX: &str = "stream#";
/// The sort key of the group's own row.
pub(super) const GROUP_ROW: &str = "group";
/// The sort key of the row that says over how many partition keys a group is spread.
pub(super) const LAYOUT_ROW: &str = "layout";
pub(super) const PARTITIONS: &str = "partitions";

pub(super) fn worker_key(id: &WorkerId) -> String {
    format!("{WORKER_PREFIX}{id}")
}

pub(super) fn lease_key(key: &LeaseKey) -> String {
    format!("{LEASE_PREFIX}{key}")
}

pub(super) fn stream_key(id: &StreamId) -> String {
    format!("{STREAM_PREFIX}{id}")
}

/// The primary key of a row.
pub(super) fn key(group: &Partition, row: &str) -> Item {
    HashMap::from([(GROUP.to_owned(), text(group)), (ROW.to_owned(), text(row))])
}

/// The name and value of the partition key, once more in every item.
pub(super) fn text(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(super) fn number(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn list(names: impl IntoIterator<Item = impl fmt::Display>) -> AttributeValue {
    AttributeValue::L(names.into_iter().map(text).collect())
}

pub(super) fn blob(bytes: &Bytes) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes.to_vec()))
}

/// The last millisecond of the year 9999: where RFC 3339 ends.
const LAST_DATE: u64 = 253_402_300_799_999;

/// A wall-clock time as RFC 3339 in UTC.
pub(super) fn time(millis: u64) -> AttributeValue {
    let date = (millis <= LAST_DATE)
        .then(|| DateTime::from_millis(millis as i64).fmt(DateTimeFormat::DateTime).ok())
        .flatten();
    AttributeValue::S(date.unwrap_or_else(|| millis.to_string()))
}

/// A stored row that this version cannot read.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("attribute `{attribute}` of row `{row}` is {found}: {problem}")]
pub(in crate::store) struct Unreadable {
    row: String,
    attribute: &'static str,
    found: String,
    problem: String,
}

impl From<Unreadable> for UnreadableRow {
    fn from(unreadable: Unreadable) -> Self {
        let Unreadable { row, attribute, found, problem } = unreadable;
        Self { row, problem: format!("attribute `{attribute}` is {found}: {problem}") }
    }
}

/// A kind of row.
pub(in crate::store) trait Row: Clone + PartialEq + Send + Sync {
    /// The sort key.
    fn sort_key(&self) -> String;

    /// Adds every attribute but the primary key.
    fn write(&self, item: &mut Item);

    fn read(item: &Item) -> Result<Self, Unreadable>;

    /// Whether `stored` is what an insert of this row left behind.
    fn is_insert_of(&self, stored: &Self) -> bool {
        self == stored
    }

    fn item(&self, group: &Partition) -> Item {
        let mut item = key(group, &self.sort_key());
        self.write(&mut item);
        item
    }
}

impl Row for WorkerRow {
    fn sort_key(&self) -> String {
        worker_key(&self.id)
    }

    fn write(&self, item: &mut Item) {
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        put(BEAT, number(self.heartbeat));
        put(STATE, text(self.state));
        put(LEASES, number(self.load.leases));
        put(VERSION, text(&self.version));
        if let Some(streams) = &self.streams {
            put(STREAMS, list(streams));
        }
        if let Some(limit) = self.max_leases {
            put(MAX_LEASES, number(limit));
        }
        if !self.mailbox.is_empty() {
            put(MAILBOX, AttributeValue::Ss(self.mailbox.iter().map(Notification::to_string).collect()));
        }
        if let Some(process) = &self.process {
            put(HOST, text(&process.host));
            put(PROCESS_ID, number(process.pid));
            put(PROCESS_STARTED, number(process.started));
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        let fields = Fields::of(item)?;
        let process = match fields.optional_text(HOST)? {
            None => None,
            Some(host) => Some(ProcessIdentity {
                host: host.to_owned(),
                pid: fields.number(PROCESS_ID)?,
                started: fields.number(PROCESS_STARTED)?,
            }),
        };
        Ok(Self {
            id: fields.key(WORKER_PREFIX)?,
            heartbeat: fields.number(BEAT)?,
            state: fields.parsed(STATE)?,
            load: WorkerLoad { leases: fields.number(LEASES)? },
            mailbox: fields.notes()?,
            streams: fields.list(STREAMS)?.map(BTreeSet::from_iter),
            max_leases: fields.optional_number(MAX_LEASES)?,
            process,
            version: fields.text(VERSION)?.to_owned(),
        })
    }

    // A note may have arrived since.
    fn is_insert_of(&self, stored: &Self) -> bool {
        let mailbox = BTreeSet::new();
        Self { mailbox: mailbox.clone(), ..self.clone() } == Self { mailbox, ..stored.clone() }
    }
}

impl Row for LeaseRow {
    fn sort_key(&self) -> String {
        lease_key(&self.key)
    }

    fn write(&self, item: &mut Item) {
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        put(EPOCH, number(self.epoch));
        put(POSITION, text(self.position));
        put(RANK, text(self.position.rank()));
        if let Some(owner) = &self.owner {
            put(OWNER, text(owner));
        }
        if let Some(previous) = &self.previous {
            put(PREVIOUS, text(previous));
        }
        if !self.parents.is_empty() {
            put(PARENTS, list(&self.parents));
        }
        if !self.children.is_empty() {
            put(CHILDREN, list(&self.children));
        }
        if let Some(range) = &self.hash_range {
            put(HASH_START, text(range.start));
            put(HASH_END, text(range.end));
        }
        if let Some(claim) = &self.claim {
            put(CLAIM, text(claim));
        }
        if let Some(at) = self.checkpointed_at {
            put(CHECKPOINTED_AT, time(at));
        }
        if let Some(at) = self.metadata.record_arrival_millis {
            put(RECORD_ARRIVED_AT, time(at));
        }
        if let Some(at) = self.metadata.caught_up_millis {
            put(CAUGHT_UP_AT, time(at));
        }
        if let Some(rate) = self.metadata.bytes_per_second {
            put(BYTES_PER_SECOND, number(rate));
        }
        if let Some(skipped) = self.metadata.skipped {
            put(SKIPPED, text(skipped));
        }
        if let Some(pending) = &self.pending {
            put(PENDING_POSITION, text(pending.position));
            put(PENDING_STATE, blob(&pending.state));
        }
        if self.paused {
            put(PAUSED, AttributeValue::Bool(true));
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        let fields = Fields::of(item)?;
        let position: Position = fields.parsed(POSITION)?;
        let rank = fields.text(RANK)?;
        if rank != position.rank() {
            // Conditions compare the rank, so a position edited by hand would not count.
            return Err(fields.unreadable(
                RANK,
                format!("`{rank}`"),
                format!("expected `{}` for this position", position.rank()),
            ));
        }
        let hash_range = match fields.optional::<u128>(HASH_START)? {
            None => None,
            Some(start) => Some(HashRange { start, end: fields.parsed(HASH_END)? }),
        };
        let pending = match fields.optional(PENDING_POSITION)? {
            None => None,
            Some(position) => Some(PendingPosition { position, state: fields.bytes(PENDING_STATE)? }),
        };
        Ok(Self {
            key: fields.key(LEASE_PREFIX)?,
            owner: fields.optional(OWNER)?,
            epoch: Epoch(fields.number(EPOCH)?),
            position,
            previous: fields.optional(PREVIOUS)?,
            parents: fields.list(PARENTS)?.unwrap_or_default(),
            children: fields.list(CHILDREN)?.unwrap_or_default(),
            hash_range,
            claim: fields.optional(CLAIM)?,
            checkpointed_at: fields.time(CHECKPOINTED_AT)?,
            metadata: CheckpointMetadata {
                record_arrival_millis: fields.time(RECORD_ARRIVED_AT)?,
                caught_up_millis: fields.time(CAUGHT_UP_AT)?,
                bytes_per_second: fields.optional_number(BYTES_PER_SECOND)?,
                skipped: fields.optional(SKIPPED)?,
            },
            pending,
            paused: fields.flag(PAUSED)?,
        })
    }
}

impl Row for StreamRow {
    fn sort_key(&self) -> String {
        stream_key(&self.id)
    }

    fn write(&self, item: &mut Item) {
        item.insert(NAME.to_owned(), text(&self.name));
        item.insert(START.to_owned(), text(self.start));
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        let fields = Fields::of(item)?;
        Ok(Self {
            id: fields.key(STREAM_PREFIX)?,
            name: fields.text(NAME)?.to_owned(),
            start: fields.parsed(START)?,
        })
    }
}

impl Row for GroupRow {
    fn sort_key(&self) -> String {
        GROUP_ROW.to_owned()
    }

    fn write(&self, item: &mut Item) {
        if let Some(at) = self.paused_at {
            item.insert(PAUSED_AT.to_owned(), time(at));
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        Ok(Self { paused_at: Fields::of(item)?.time(PAUSED_AT)? })
    }
}

/// Over how many partition keys a group is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct LayoutRow {
    pub(super) partitions: NonZeroU16,
}

pub(super) fn read_layout(item: &Item) -> Result<LayoutRow, Unreadable> {
    Ok(LayoutRow { partitions: Fields::of(item)?.number(PARTITIONS)? })
}

/// One item of a listing.
#[derive(Debug, PartialEq)]
pub(super) enum Listed {
    Worker(WorkerRow),
    Lease(Box<LeaseRow>),
    Stream(StreamRow),
    Group(GroupRow),
    Layout(LayoutRow),
    /// A kind of row that this version does not know.
    Other,
}

impl Listed {
    pub(super) fn read(item: &Item) -> Result<Self, Unreadable> {
        let row = Fields::of(item)?.row;
        Ok(if row.starts_with(WORKER_PREFIX) {
            Self::Worker(WorkerRow::read(item)?)
        } else if row.starts_with(LEASE_PREFIX) {
            Self::Lease(Box::new(LeaseRow::read(item)?))
        } else if row.starts_with(STREAM_PREFIX) {
            Self::Stream(StreamRow::read(item)?)
        } else if row == GROUP_ROW {
            Self::Group(GroupRow::read(item)?)
        } else if row == LAYOUT_ROW {
            Self::Layout(read_layout(item)?)
        } else {
            Self::Other
        })
    }
}

/// Reads the attributes of one item and remembers which row they are of.
struct Fields<'a> {
    item: &'a Item,
    row: &'a str,
}

impl<'a> Fields<'a> {
    fn of(item: &'a Item) -> Result<Self, Unreadable> {
        let fields = Self { item, row: "?" };
        Ok(Self { row: fields.text(ROW)?, ..fields })
    }

    fn unreadable(&self, attribute: &'static str, found: String, problem: impl fmt::Display) -> Unreadable {
        let row = self.row.to_owned();
        Unreadable { row, attribute, found, problem: problem.to_string() }
    }

    fn wrong(&self, attribute: &'static str, problem: impl fmt::Display) -> Unreadable {
        let found = match self.item.get(attribute) {
            None => "missing".to_owned(),
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => {
                format!("`{}`", text.chars().take(80).collect::<String>())
            }
            Some(_) => "of another type".to_owned(),
        };
        self.unreadable(attribute, found, problem)
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<&'a str>, Unreadable> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "expected a string")),
        }
    }

    fn text(&self, name: &'static str) -> Result<&'a str, Unreadable> {
        self.optional_text(name)?.ok_or_else(|| self.wrong(name, "expected a string"))
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<T, Unreadable> {
        let read = |value: &AttributeValue| value.as_n().ok()?.parse().ok();
        self.item.get(name).and_then(read).ok_or_else(|| self.wrong(name, "expected a whole number"))
    }

    fn optional<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<Option<T>, Unreadable> {
        let read = |text: &str| text.parse().map_err(|error| self.wrong(name, error));
        self.optional_text(name)?.map(read).transpose()
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<T, Unreadable> {
        self.optional(name)?.ok_or_else(|| self.wrong(name, "expected a string"))
    }

    /// The part of the sort key behind its prefix.
    fn key<T: FromStr<Err: fmt::Display>>(&self, prefix: &str) -> Result<T, Unreadable> {
        let rest = self.row.strip_prefix(prefix).unwrap_or(self.row);
        rest.parse().map_err(|error| self.wrong(ROW, error))
    }

    /// A list of names.
    fn list<T: FromStr>(&self, name: &'static str) -> Result<Option<Vec<T>>, Unreadable> {
        let wrong = || self.wrong(name, "expected a list of names");
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::L(values)) => values
                .iter()
                .map(|value| value.as_s().map_err(|_| wrong())?.parse().map_err(|_| wrong()))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(wrong()),
        }
    }

    fn optional_number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Unreadable> {
        self.item.contains_key(name).then(|| self.number(name)).transpose()
    }

    fn bytes(&self, name: &'static str) -> Result<Bytes, Unreadable> {
        match self.item.get(name) {
            Some(AttributeValue::B(blob)) => Ok(Bytes::copy_from_slice(blob.as_ref())),
            _ => Err(self.wrong(name, "expected binary")),
        }
    }

    fn flag(&self, name: &'static str) -> Result<bool, Unreadable> {
        match self.item.get(name) {
            None => Ok(false),
            Some(AttributeValue::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name, "expected true or false")),
        }
    }

    /// The mailbox. A note that cannot be read is from a newer version: notes are only hints.
    fn notes(&self) -> Result<BTreeSet<Notification>, Unreadable> {
        match self.item.get(MAILBOX) {
            None => Ok(BTreeSet::new()),
            Some(AttributeValue::Ss(notes)) => {
                Ok(notes.iter().filter_map(|note| note.parse().ok()).collect())
            }
            Some(_) => Err(self.wrong(MAILBOX, "expected a set of strings")),
        }
    }

    fn time(&self, name: &'static str) -> Result<Option<u64>, Unreadable> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let date = DateTime::from_str(text, DateTimeFormat::DateTime).ok();
        date.and_then(|date| u64::try_from(date.to_millis().ok()?).ok())
            .or_else(|| text.parse().ok())
            .map(Some)
            .ok_or_else(|| self.wrong(name, "expected a time such as 2026-01-31T12:00:00Z"))
    }
}

#[cfg(test)]
mod tests;

//! Rows to items and back. Attributes that this version does not know are passed over and survive every update.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::{
    AGE, BYTES_PER_SECOND, CALL, CAUGHT_UP, CAUGHT_UP_AT, CHECKPOINTED_AT, CHILDREN, CLAIM,
    CLEARED_GENERATION, CLEARED_LEASE_KEYS, CONSUMER, EPOCH, FAILOVER, FAN_OUT, FORMAT, GENERATION,
    GROUP_ROW, HASH_END, HASH_START, HEARTBEAT, HOST, HOST_NAME, INTERVAL, Item, LAST_ORDER, LAYOUT_ROW,
    LEASE_KEYS, LEASE_PREFIX, LEASES, MAILBOX, MAX_LEASES, NAME, NEXT_GENERATION, NEXT_LEASE_KEYS, ORDER,
    ORDERS, OWNER, PARENTS, PAUSE_ORDER, PAUSED, PAUSED_AT, PENDING_POSITION, PENDING_STATE, PINNED_TO, PLAN,
    POSITION, PREVIOUS, PROCESS_ID, PROCESS_STARTED, Partition, RANK, RECORD_ARRIVED_AT, RECORD_BYTES, ROW,
    SHARDS, SKIPPED, START, STATE, STREAM_PREFIX, STREAMS, SUMMARIES, TROUBLES, UNABLE, UNTOLD, VERSION,
    WORKER_PREFIX, blob, is_forwarding, key, list, map, millis, number, text, time,
};
use super::fields::{Fields, Unreadable};
use super::layout::{Layout, LayoutRow};
use crate::position::Position;
use crate::process::ProcessIdentity;
use crate::row::{
    CheckpointMetadata, GroupRow, LeaseRow, ORDERS_LIMIT, OperatorOrder, PendingPosition, Row, RowKey,
    ShardHealth, StreamRow, WorkerLoad, WorkerNotification, WorkerReport, WorkerRow, WorkerState,
};
use crate::types::{Epoch, HashRange};

/// A row as an item.
pub(crate) trait StoredRow: Clone + PartialEq + Send + Sync {
    /// The sort key.
    fn sort_key(&self) -> String;

    /// Adds every attribute but the primary key.
    fn write(&self, item: &mut Item);

    fn read(item: &Item) -> Result<Self, Unreadable>;

    fn item(&self, group: &Partition) -> Item {
        let mut item = key(group, &self.sort_key());
        self.write(&mut item);
        item
    }
}

impl StoredRow for WorkerRow {
    fn sort_key(&self) -> String {
        RowKey::Worker(self.id.clone()).to_string()
    }

    fn write(&self, item: &mut Item) {
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        put(HEARTBEAT, number(self.heartbeat));
        put(CALL, number(self.call));
        put(STATE, text(self.state));
        put(LEASES, number(self.load.leases));
        put(VERSION, text(&self.version));
        for (name, value) in report(&self.report) {
            if let Some(value) = value {
                put(name, value);
            }
        }
        if let Some(streams) = &self.streams {
            put(STREAMS, list(streams));
        }
        if let Some(limit) = self.max_leases {
            put(MAX_LEASES, number(limit));
        }
        if !self.mailbox.is_empty() {
            put(
                MAILBOX,
                AttributeValue::Ss(self.mailbox.iter().map(WorkerNotification::to_string).collect()),
            );
        }
        if let Some(process) = &self.process {
            put(HOST, text(&process.host));
            put(PROCESS_ID, number(process.pid));
            put(PROCESS_STARTED, number(process.started));
            if let Some(name) = &process.host_name {
                put(HOST_NAME, text(name));
            }
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        let fields = Fields::of(item)?;
        // Whoever has a counter lives. What else a newer version says may stay unknown: of a state that this one does not
        // know, only that the worker gets nothing.
        let state = fields.optional(STATE).ok().flatten().unwrap_or(WorkerState::Leaving);
        Ok(Self {
            id: fields.key(WORKER_PREFIX)?,
            heartbeat: fields.number(HEARTBEAT)?,
            state,
            load: WorkerLoad { leases: fields.lenient(fields.optional_number(LEASES)).unwrap_or_default() },
            mailbox: fields.lenient(fields.notifications()),
            streams: fields.list(STREAMS)?.map(BTreeSet::from_iter),
            max_leases: fields.lenient(fields.optional_number(MAX_LEASES)),
            process: fields.lenient(process(&fields)),
            version: fields.lenient(fields.optional_text(VERSION)).unwrap_or_default().to_owned(),
            call: fields.lenient(fields.optional_number(CALL)).unwrap_or_default(),
            report: read_report(&fields),
        })
    }
}

/// The attributes of what a worker says of itself, with `None` for those that are left out.
pub(super) fn report(report: &WorkerReport) -> [(&'static str, Option<AttributeValue>); 11] {
    [
        (FORMAT, Some(number(report.format))),
        (INTERVAL, Some(millis(report.interval))),
        (FAILOVER, Some(millis(report.failover))),
        (PLAN, Some(text(&report.plan))),
        (AGE, report.age.map(|age| number(age.as_secs()))),
        (UNABLE, (!report.unable.is_empty()).then(|| list(&report.unable))),
        (CAUGHT_UP, (!report.caught_up.is_empty()).then(|| map(&report.caught_up))),
        (SHARDS, (!report.shards.is_empty()).then(|| list(&report.shards))),
        (UNTOLD, (report.untold > 0).then(|| number(report.untold))),
        (SUMMARIES, (!report.summaries.is_empty()).then(|| list(&report.summaries))),
        (TROUBLES, (!report.troubles.is_empty()).then(|| list(&report.troubles))),
    ]
}

fn process(fields: &Fields<'_>) -> Result<Option<ProcessIdentity>, Unreadable> {
    let Some(host) = fields.optional_text(HOST)? else { return Ok(None) };
    let (pid, started) = (fields.number(PROCESS_ID)?, fields.number(PROCESS_STARTED)?);
    let host_name = fields.lenient(fields.optional_text(HOST_NAME)).map(str::to_owned);
    Ok(Some(ProcessIdentity { host: host.to_owned(), pid, started, host_name }))
}

/// A row of version 1 has none of it.
fn read_report(fields: &Fields<'_>) -> WorkerReport {
    let old = WorkerReport::default();
    let (shards, untold) = (fields.list::<ShardHealth>(SHARDS), fields.optional_number(UNTOLD));
    // What cannot be read is not told, and then the rest says nothing of the others.
    let is_told = shards.is_ok() && untold.is_ok();
    WorkerReport {
        format: fields.lenient(fields.optional_number(FORMAT)).unwrap_or(old.format),
        interval: fields.lenient(fields.millis(INTERVAL)).unwrap_or(old.interval),
        failover: fields.lenient(fields.millis(FAILOVER)).unwrap_or(old.failover),
        plan: fields.lenient(fields.optional(PLAN)).unwrap_or(old.plan),
        age: fields.lenient(fields.optional_number(AGE)).map(Duration::from_secs),
        unable: fields.lenient(fields.list(UNABLE)).map(BTreeSet::from_iter).unwrap_or_default(),
        caught_up: fields.lenient(fields.map(CAUGHT_UP)),
        shards: fields.lenient(shards).unwrap_or_default(),
        untold: if is_told { fields.lenient(untold).unwrap_or_default() } else { 1 },
        summaries: fields.lenient(fields.list(SUMMARIES)).filter(|_| is_told).unwrap_or_default(),
        troubles: fields.lenient(fields.list(TROUBLES)).unwrap_or_default(),
    }
}

impl StoredRow for LeaseRow {
    fn sort_key(&self) -> String {
        RowKey::Lease(self.key.clone()).to_string()
    }

    fn write(&self, item: &mut Item) {
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        put(EPOCH, number(self.epoch));
        put(POSITION, text(self.position));
        put(RANK, text(self.position.rank()));
        if let Some(owner) = &self.owner {
            put(OWNER, text(owner));
        }
        if let Some(order) = &self.order {
            put(ORDER, text(order));
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
        if let Some(fan_out) = self.metadata.fan_out {
            put(FAN_OUT, AttributeValue::Bool(fan_out));
        }
        if let Some(rate) = self.metadata.bytes_per_second {
            put(BYTES_PER_SECOND, number(rate));
        }
        if let Some(bytes) = self.metadata.record_bytes {
            put(RECORD_BYTES, number(bytes));
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
        if let Some(order) = &self.pause_order {
            put(PAUSE_ORDER, text(order));
        }
        if let Some(pin) = &self.pin {
            put(PINNED_TO, text(pin));
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
            previous: fields.lenient(fields.optional(PREVIOUS)),
            order: fields.lenient(fields.optional(ORDER)),
            parents: fields.list(PARENTS)?.unwrap_or_default(),
            children: fields.list(CHILDREN)?.unwrap_or_default(),
            hash_range,
            claim: fields.optional(CLAIM)?,
            checkpointed_at: fields.lenient(fields.time(CHECKPOINTED_AT)),
            metadata: CheckpointMetadata {
                record_arrival_millis: fields.lenient(fields.time(RECORD_ARRIVED_AT)),
                caught_up_millis: fields.lenient(fields.time(CAUGHT_UP_AT)),
                bytes_per_second: fields.lenient(fields.optional_number(BYTES_PER_SECOND)),
                record_bytes: fields.lenient(fields.optional_number(RECORD_BYTES)),
                skipped: fields.lenient(fields.optional(SKIPPED)),
                fan_out: fields.lenient(fields.optional_flag(FAN_OUT)),
            },
            pending,
            paused: fields.flag(PAUSED)?,
            pause_order: fields.lenient(fields.optional(PAUSE_ORDER)),
            pin: fields.lenient(fields.optional(PINNED_TO)),
        })
    }
}

impl StoredRow for StreamRow {
    fn sort_key(&self) -> String {
        RowKey::Stream(self.id.clone()).to_string()
    }

    fn write(&self, item: &mut Item) {
        item.insert(NAME.to_owned(), text(&self.name));
        item.insert(START.to_owned(), text(self.start));
        if let Some(consumer) = &self.consumer {
            item.insert(CONSUMER.to_owned(), text(consumer));
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        let fields = Fields::of(item)?;
        Ok(Self {
            id: fields.key(STREAM_PREFIX)?,
            name: fields.text(NAME)?.to_owned(),
            start: fields.parsed(START)?,
            consumer: fields.lenient(fields.optional(CONSUMER)),
        })
    }
}

impl StoredRow for GroupRow {
    fn sort_key(&self) -> String {
        GROUP_ROW.to_owned()
    }

    fn write(&self, item: &mut Item) {
        if let Some(at) = self.paused_at {
            item.insert(PAUSED_AT.to_owned(), time(at));
        }
        if !self.orders.is_empty() {
            item.insert(ORDERS.to_owned(), list(&self.orders));
        }
        if let Some(last) = self.orders.last() {
            item.insert(LAST_ORDER.to_owned(), number(last.id.0));
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        let fields = Fields::of(item)?;
        // One of a later release that cannot be read leaves the others.
        let mut orders: Vec<OperatorOrder> = fields.lenient(fields.readable(ORDERS));
        orders.drain(..orders.len().saturating_sub(ORDERS_LIMIT));
        Ok(Self { paused_at: fields.time(PAUSED_AT)?, orders })
    }
}

impl StoredRow for Row {
    fn sort_key(&self) -> String {
        self.key().to_string()
    }

    fn write(&self, item: &mut Item) {
        match self {
            Self::Group(row) => row.write(item),
            Self::Lease(row) => row.write(item),
            Self::Stream(row) => row.write(item),
            Self::Worker(row) => row.write(item),
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        match Listed::read(item)? {
            Listed::Row(row) => Ok(row),
            Listed::Layout(_) | Listed::Forwarding | Listed::Other => {
                Err(Fields::of(item)?.wrong(ROW, "expected a row of a group"))
            }
        }
    }
}

/// One item of a listing.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(super) enum Listed {
    Row(Row),
    Layout(LayoutRow),
    /// In place of a row that went on to another partition key.
    Forwarding,
    /// A kind of row that this version does not know.
    Other,
}

impl Listed {
    pub(super) fn read(item: &Item) -> Result<Self, Unreadable> {
        let row = Fields::of(item)?.row;
        Ok(if is_forwarding(item) {
            Self::Forwarding
        } else if row.starts_with(WORKER_PREFIX) {
            Self::Row(WorkerRow::read(item)?.into())
        } else if row.starts_with(LEASE_PREFIX) {
            Self::Row(LeaseRow::read(item)?.into())
        } else if row.starts_with(STREAM_PREFIX) {
            Self::Row(StreamRow::read(item)?.into())
        } else if row == GROUP_ROW {
            Self::Row(GroupRow::read(item)?.into())
        } else if row == LAYOUT_ROW {
            Self::Layout(LayoutRow::read(item)?)
        } else {
            Self::Other
        })
    }
}

impl StoredRow for LayoutRow {
    fn sort_key(&self) -> String {
        LAYOUT_ROW.to_owned()
    }

    fn write(&self, item: &mut Item) {
        for (generation, keys, layout) in [
            (GENERATION, LEASE_KEYS, Some(self.current)),
            (NEXT_GENERATION, NEXT_LEASE_KEYS, self.next),
            (CLEARED_GENERATION, CLEARED_LEASE_KEYS, self.cleared),
        ] {
            if let Some(layout) = layout {
                item.insert(generation.to_owned(), number(layout.generation));
                item.insert(keys.to_owned(), number(layout.keys));
            }
        }
    }

    fn read(item: &Item) -> Result<Self, Unreadable> {
        let fields = Fields::of(item)?;
        let layout = |generation, keys| {
            let generation: Option<u32> = fields.optional_number(generation)?;
            let read = |generation| -> Result<Layout, Unreadable> {
                Ok(Layout { generation, keys: fields.number(keys)? })
            };
            generation.map(read).transpose()
        };
        let current = Layout { generation: fields.number(GENERATION)?, keys: fields.number(LEASE_KEYS)? };
        let next = layout(NEXT_GENERATION, NEXT_LEASE_KEYS)?;
        Ok(Self { current, next, cleared: layout(CLEARED_GENERATION, CLEARED_LEASE_KEYS)? })
    }
}

#[cfg(test)]
mod tests;

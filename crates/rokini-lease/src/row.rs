//! What a store keeps: a row for each worker, lease and stream, and one for the group itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::position::Position;
use crate::text::serde_as_text;
use crate::types::{InvalidKey, LeaseKey, StreamId, WorkerId};

mod group;
mod health_summary;
mod lease;
mod lease_set;
mod order;
mod shard_health;
mod worker;
mod worker_trouble;

pub use group::{FanOutConsumer, GroupRow, StreamRow};
pub use health_summary::HealthSummary;
pub use lease::{CheckpointMetadata, LeaseRow, PendingPosition};
pub use lease_set::LeaseSet;
pub use order::{ORDERS_LIMIT, OperatorOrder, OrderId, OrderKind};
pub use shard_health::ShardHealth;
pub use worker::{PlanId, ROW_FORMAT, WorkerLoad, WorkerNotification, WorkerReport, WorkerRow, WorkerState};
pub use worker_trouble::WorkerTrouble;

/// Names a row within its group.
///
/// The text form (what stores use as their key) is `worker#<worker id>`, `lease#<stream id>#<shard id>`,
/// `stream#<stream id>` or `group`. The byte order of these texts is the order of the keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// The group's own row.
    Group,
    /// The row of a lease.
    Lease(LeaseKey),
    /// The row of a stream.
    Stream(StreamId),
    /// The row of a worker incarnation.
    Worker(WorkerId),
}

serde_as_text!(RowKey);

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group => f.write_str("group"),
            Self::Lease(key) => write!(f, "lease#{key}"),
            Self::Stream(id) => write!(f, "stream#{id}"),
            Self::Worker(id) => write!(f, "worker#{id}"),
        }
    }
}

impl FromStr for RowKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("a row key", text);
        if text == "group" {
            return Ok(Self::Group);
        }
        let (kind, id) = text.split_once('#').ok_or_else(invalid)?;
        match kind {
            "lease" => Ok(Self::Lease(id.parse()?)),
            "stream" => Ok(Self::Stream(id.parse().map_err(|_| invalid())?)),
            "worker" => Ok(Self::Worker(id.parse()?)),
            _ => Err(invalid()),
        }
    }
}

/// A row of any kind.
///
/// With `serde` it is a map of one entry, the kind, and a row whose names, positions and states are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "workers are few, and a row is read, taken apart and gone")]
pub enum Row {
    /// The group's own row.
    Group(GroupRow),
    /// A lease.
    Lease(Box<LeaseRow>),
    /// A stream.
    Stream(StreamRow),
    /// A worker incarnation.
    Worker(WorkerRow),
}

impl Row {
    /// The key of the row.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Self::Group(_) => RowKey::Group,
            Self::Lease(row) => RowKey::Lease(row.key.clone()),
            Self::Stream(row) => RowKey::Stream(row.id.clone()),
            Self::Worker(row) => RowKey::Worker(row.id.clone()),
        }
    }
}

macro_rules! kinds_of_rows {
    ($($kind:ident($row:ident) $into:expr;)+) => {$(
        impl From<$row> for Row {
            fn from(row: $row) -> Self {
                Self::$kind(row.into())
            }
        }

        impl TryFrom<Row> for $row {
            /// A row of another kind.
            type Error = Row;

            fn try_from(row: Row) -> Result<Self, Row> {
                match row {
                    Row::$kind(row) => Ok($into(row)),
                    other => Err(other),
                }
            }
        }
    )+};
}

kinds_of_rows! {
    Group(GroupRow) |row| row;
    Lease(LeaseRow) |row: Box<LeaseRow>| *row;
    Stream(StreamRow) |row| row;
    Worker(WorkerRow) |row| row;
}

/// A stored row that this version cannot read. It exists all the same: a lease that somebody has and that is not finished,
/// a worker that lives. Whatever it is about is left alone, and nothing else is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadableRow {
    /// The row's key in the store.
    pub row: String,
    /// The same as a key; `None` where that cannot be read either.
    pub key: Option<RowKey>,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for UnreadableRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row `{}` cannot be read: {}", self.row, self.problem)
    }
}

/// Everything a listing returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupView {
    /// The workers, in the order of their ids.
    pub workers: Vec<WorkerRow>,
    /// The leases, in the order of their keys; empty in a listing of workers only.
    pub leases: Vec<LeaseRow>,
    /// The streams; empty in a listing of workers only.
    pub streams: Vec<StreamRow>,
    /// The group's own row; the default in a listing of workers only.
    pub group: GroupRow,
    /// Rows that were left out because they cannot be read.
    pub unreadable: Vec<UnreadableRow>,
}

/// Collects rows, in any order.
impl FromIterator<Row> for GroupView {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let mut view = Self::default();
        for row in rows {
            match row {
                Row::Group(row) => view.group = row,
                Row::Lease(row) => view.leases.push(*row),
                Row::Stream(row) => view.streams.push(row),
                Row::Worker(row) => view.workers.push(row),
            }
        }
        view.sort();
        view
    }
}

impl UnreadableRow {
    /// A row by its key in the store.
    #[must_use]
    pub fn new(row: String, problem: String) -> Self {
        let key = row.parse().ok();
        Self { row, key, problem }
    }

    /// Whether it is that of a worker or lease.
    pub(crate) fn is_member(&self) -> bool {
        matches!(self.key, Some(RowKey::Lease(_) | RowKey::Worker(_)))
            || self.row.starts_with("lease#")
            || self.row.starts_with("worker#")
    }
}

impl GroupView {
    /// Until when whatever arrived in a shard is done: milliseconds since the Unix epoch. As the row of the lease says, or, of
    /// an idle shard, whose position is not stored again, the row of its owner. `None` where nobody knows.
    #[must_use]
    pub fn done_until(&self, lease: &LeaseRow) -> Option<u64> {
        let stored = match lease.position {
            Position::Sequence(..) => {
                lease.metadata.record_arrival_millis.max(lease.metadata.caught_up_millis)
            }
            Position::AtTimestamp(millis) => Some(millis),
            // An owner leaves out shards that it never read.
            Position::TrimHorizon | Position::ShardEnd => return None,
        };
        let owner = self.workers.iter().find(|row| Some(&row.id) == lease.owner.as_ref());
        stored.max(owner.and_then(|owner| owner.report.caught_up.get(&lease.key.stream)).copied())
    }

    /// The order by which a worker was drained: it gives up its shards, or has none any more, and takes none. `None` where it
    /// takes part, stops by itself, or the order is not remembered any more.
    #[must_use]
    pub fn drained_by(&self, worker: &WorkerRow) -> Option<&OperatorOrder> {
        if worker.state != WorkerState::Leaving {
            return None;
        }
        let is_about = |order: &&OperatorOrder| {
            order.kind != OrderKind::Move && order.worker.as_ref() == Some(&worker.id.name)
        };
        let last = self.group.orders.iter().filter(is_about).max_by_key(|order| order.id)?;
        (last.kind == OrderKind::Drain).then_some(last)
    }

    /// The leases whose rows cannot be read.
    pub fn unreadable_leases(&self) -> impl Iterator<Item = &LeaseKey> {
        self.unreadable.iter().filter_map(|row| match &row.key {
            Some(RowKey::Lease(key)) => Some(key),
            _ => None,
        })
    }

    /// The workers whose rows cannot be read.
    pub fn unreadable_workers(&self) -> impl Iterator<Item = &WorkerId> {
        self.unreadable.iter().filter_map(|row| match &row.key {
            Some(RowKey::Worker(id)) => Some(id),
            _ => None,
        })
    }

    /// Adds the rows of another part of the same listing. [`GroupView::sort`] puts them in order.
    pub(crate) fn append(&mut self, part: Self) {
        self.workers.extend(part.workers);
        self.leases.extend(part.leases);
        self.streams.extend(part.streams);
        self.unreadable.extend(part.unreadable);
        if part.group != GroupRow::default() {
            self.group = part.group;
        }
    }

    /// Puts workers, leases and streams in the order of their keys. Of a row that is there twice, because it was written while
    /// the parts were read, the later one stays.
    pub fn sort(&mut self) {
        sort(&mut self.workers, |row| &row.id);
        sort(&mut self.leases, |row| &row.key);
        sort(&mut self.streams, |row| &row.id);
    }
}

fn sort<R, K: Ord>(rows: &mut Vec<R>, key: impl Fn(&R) -> &K) {
    rows.sort_by(|a, b| key(a).cmp(key(b)));
    rows.dedup_by(|later, earlier| {
        let is_same = key(later) == key(earlier);
        if is_same {
            std::mem::swap(later, earlier);
        }
        is_same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_drained_until_the_order_is_taken_back_or_it_is_started_anew() {
        let order = |id: u64, kind, worker: &str| {
            let mut order = OperatorOrder::new(OrderId(id), kind, "");
            order.worker = Some(worker.parse().unwrap());
            order
        };
        let mut view = GroupView::default();
        view.workers.push(WorkerRow::joining("w#1".parse().unwrap(), None));
        view.group.orders.push(order(1, OrderKind::Drain, "w"));
        let by = |view: &GroupView| view.drained_by(&view.workers[0]).map(|order| order.id.0);
        assert_eq!(by(&view), None, "a new incarnation takes part");
        view.workers[0].state = WorkerState::Leaving;
        assert_eq!(by(&view), Some(1));
        view.group.orders.push(order(2, OrderKind::Drain, "x"));
        view.group.orders.push(order(3, OrderKind::Move, "w"));
        assert_eq!(by(&view), Some(1), "neither is about its part");
        view.group.orders.push(order(4, OrderKind::Undo, "w"));
        assert_eq!(by(&view), None);
        view.group.orders.push(order(5, OrderKind::Drain, "w"));
        assert_eq!(by(&view), Some(5));
    }

    #[test]
    fn an_idle_shard_is_done_until_when_its_owner_says() {
        let mut lease = LeaseRow::new("s@1#a".parse().unwrap(), Position::after(7_u128.into()));
        lease.owner = Some("w#1".parse().unwrap());
        lease.metadata.record_arrival_millis = Some(100);
        let mut view = GroupView::default();
        assert_eq!(view.done_until(&lease), Some(100), "nobody says more");
        view.workers.push(WorkerRow::joining("w#1".parse().unwrap(), None));
        view.workers.push(WorkerRow::joining("x#1".parse().unwrap(), None));
        view.workers[1].report.caught_up.insert(lease.key.stream.clone(), 9_999);
        assert_eq!(view.done_until(&lease), Some(100), "another worker says nothing of it");
        view.workers[0].report.caught_up.insert(lease.key.stream.clone(), 5_000);
        assert_eq!(view.done_until(&lease), Some(5_000));
        lease.metadata.caught_up_millis = Some(6_000);
        assert_eq!(view.done_until(&lease), Some(6_000), "what is stored is later");
        lease.position = Position::AtTimestamp(300);
        assert_eq!(view.done_until(&lease), Some(5_000));
        lease.position = Position::TrimHorizon;
        assert_eq!(view.done_until(&lease), None);
    }
}

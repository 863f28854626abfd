//! What operators ordered, in the group's own row.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::lease_set::LeaseSet;
use crate::text::serde_as_text;
use crate::types::{InvalidKey, LeaseKey, WorkerId, WorkerName};

/// The most orders that a group's row remembers.
pub const ORDERS_LIMIT: usize = 20;
/// The most bytes that the names of an order's leases take in the group's row, which every full listing reads: 1 KB, enough for
/// any number of shards in a row and for about 200 that are not. What takes an order back goes by the rows of the leases, which
/// say what order changed them.
const ORDER_LEASES_LIMIT: usize = 1024;

/// One order of an operator: when it was given, in milliseconds since the Unix epoch by the operator's clock, and later than
/// those before it. Its text form is that number in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:x}", self.0))
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrderId {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidKey::new("an order", text))
    }
}

/// What was ordered.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OrderKind {
    /// Positions were set.
    Seek,
    /// An order was taken back.
    Undo,
    /// Reading was stopped.
    Pause,
    /// Reading goes on.
    Resume,
    /// A shard was to go to another worker.
    Move,
    /// A worker was to give up all of its shards.
    Drain,
}

impl OrderKind {
    const ALL: [Self; 6] = [Self::Seek, Self::Undo, Self::Pause, Self::Resume, Self::Move, Self::Drain];

    /// A word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seek => "seek",
            Self::Undo => "undo",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Move => "move",
            Self::Drain => "drain",
        }
    }
}

/// An order as the group's row remembers it.
///
/// Its text form is words and, as the rest of it, what was ordered: `id=19a kind=seek shards=4 leases=s@1#0-3 what=to
/// TRIM_HORIZON`. Words that a reader does not know are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OperatorOrder {
    /// Which one.
    pub id: OrderId,
    /// What kind of order.
    pub kind: OrderKind,
    /// How many shards it was to change. One that failed midway changed fewer.
    pub shards: u32,
    /// These shards, as far as a row has room: all of them, unless hundreds that are no neighbours. Empty where the order is
    /// about the group.
    pub leases: LeaseSet,
    /// The order that it took back.
    pub undoes: Option<OrderId>,
    /// The worker that had the shard before it was moved, or that was drained.
    pub worker: Option<WorkerName>,
    /// The worker that an operator kept the shard with before it was moved.
    pub pin: Option<WorkerId>,
    /// What was ordered, for people.
    pub what: String,
}

impl OperatorOrder {
    /// An order that changed nothing yet.
    #[must_use]
    pub fn new(id: OrderId, kind: OrderKind, what: impl Into<String>) -> Self {
        Self {
            id,
            kind,
            shards: 0,
            leases: LeaseSet::default(),
            undoes: None,
            worker: None,
            pin: None,
            what: what.into(),
        }
    }

    /// The same, of these leases.
    #[must_use]
    pub fn about(mut self, keys: impl IntoIterator<Item = LeaseKey>) -> Self {
        let leases: LeaseSet = keys.into_iter().collect();
        self.shards = u32::try_from(leases.len()).unwrap_or(u32::MAX);
        self.leases = leases.within(ORDER_LEASES_LIMIT);
        self
    }

    /// Whether every lease that it is about is named.
    #[must_use]
    pub fn names_all(&self) -> bool {
        self.leases.len() >= self.shards as usize
    }
}

serde_as_text!(OrderId, OperatorOrder);

impl fmt::Display for OperatorOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id={} kind={} shards={}", self.id, self.kind.name(), self.shards)?;
        if !self.leases.is_empty() {
            write!(f, " leases={}", self.leases)?;
        }
        if let Some(undone) = self.undoes {
            write!(f, " undoes={undone}")?;
        }
        if let Some(worker) = &self.worker {
            write!(f, " worker={worker}")?;
        }
        if let Some(pin) = &self.pin {
            write!(f, " pinned={pin}")?;
        }
        write!(f, " what={}", self.what)
    }
}

impl FromStr for OperatorOrder {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("an order", text);
        let (words, what) = text.split_once(" what=").ok_or_else(invalid)?;
        let word = |name: &str| {
            words.split(' ').filter_map(|word| word.split_once('=')).find(|(found, _)| *found == name)
        };
        let text_of = |name: &str| word(name).map(|(_, value)| value);
        let kind = text_of("kind").ok_or_else(invalid)?;
        let kind = OrderKind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(invalid)?;
        let mut order = Self::new(text_of("id").ok_or_else(invalid)?.parse()?, kind, what);
        order.shards = text_of("shards").unwrap_or("0").parse().map_err(|_| invalid())?;
        order.leases = text_of("leases").unwrap_or_default().parse()?;
        order.undoes = text_of("undoes").map(str::parse).transpose()?;
        order.pin = text_of("pinned").map(str::parse).transpose().map_err(|_| invalid())?;
        order.worker = text_of("worker").map(WorkerName::new).transpose().map_err(|_| invalid())?;
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_have_a_text_form() {
        let bare = OperatorOrder::new(OrderId(0x19a), OrderKind::Pause, "the group");
        let keys = (0..20).map(|n| format!("s@1#{n}").parse().unwrap());
        let many = (0..900).map(|n| format!("s@1#shardId-{:012}", n * 2).parse().unwrap());
        let mut full = OperatorOrder::new(OrderId(1), OrderKind::Undo, "x what=y=z").about(keys);
        full.undoes = Some(bare.id);
        full.worker = Some(WorkerName::new("w-1").unwrap());
        full.pin = Some("w-2#00000000000000ff".parse().unwrap());
        assert!(full.shards == 20 && full.names_all());
        let many = OperatorOrder::new(OrderId(2), OrderKind::Pause, "single shards").about(many);
        assert!(many.shards == 900 && !many.names_all() && many.leases.len() > 200, "{many}");
        for order in [bare, full, many] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for bad in ["", "id=1 kind=dance shards=0 what=x", "kind=seek what=x", "id=x kind=seek what="] {
            assert!(bad.parse::<OperatorOrder>().is_err(), "{bad}");
        }
    }
}

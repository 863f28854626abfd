//! What operators ordered, in the group's own row.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::serde_as_text;
use crate::types::{InvalidKey, LeaseKey, WorkerName};

/// The most orders that a group's row remembers.
pub const ORDERS_LIMIT: usize = 20;
/// The most leases of an order that are named.
pub const ORDER_KEYS_LIMIT: usize = 16;

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
/// Its text form is words and, as the rest of it, what was ordered: `id=19a kind=seek shards=2 keys=s@1#a,s@1#b what=to
/// TRIM_HORIZON`. Words that a reader does not know are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OperatorOrder {
    /// Which one.
    pub id: OrderId,
    /// What kind of order.
    pub kind: OrderKind,
    /// How many shards it changed.
    pub shards: u32,
    /// The first of them, up to 16. Empty where the order is about the group.
    pub keys: Vec<LeaseKey>,
    /// The order that it took back.
    pub undoes: Option<OrderId>,
    /// The worker that had the shard before it was moved, or that was drained.
    pub worker: Option<WorkerName>,
    /// What was ordered, for people.
    pub what: String,
}

impl OperatorOrder {
    /// An order that changed nothing yet.
    #[must_use]
    pub fn new(id: OrderId, kind: OrderKind, what: impl Into<String>) -> Self {
        Self { id, kind, shards: 0, keys: Vec::new(), undoes: None, worker: None, what: what.into() }
    }

    /// The same, of these leases.
    #[must_use]
    pub fn about(mut self, keys: impl IntoIterator<Item = LeaseKey>) -> Self {
        for key in keys {
            self.shards += 1;
            if self.keys.len() < ORDER_KEYS_LIMIT {
                self.keys.push(key);
            }
        }
        self
    }
}

serde_as_text!(OrderId, OperatorOrder);

impl fmt::Display for OperatorOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id={} kind={} shards={}", self.id, self.kind.name(), self.shards)?;
        if !self.keys.is_empty() {
            let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
            write!(f, " keys={}", keys.join(","))?;
        }
        if let Some(undone) = self.undoes {
            write!(f, " undoes={undone}")?;
        }
        if let Some(worker) = &self.worker {
            write!(f, " worker={worker}")?;
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
        let keys = text_of("keys").into_iter().flat_map(|keys| keys.split(','));
        order.keys = keys.map(str::parse).collect::<Result<_, _>>()?;
        order.undoes = text_of("undoes").map(str::parse).transpose()?;
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
        let mut full = OperatorOrder::new(OrderId(1), OrderKind::Undo, "x what=y=z").about(keys);
        full.undoes = Some(bare.id);
        full.worker = Some(WorkerName::new("w-1").unwrap());
        assert_eq!((full.shards, full.keys.len()), (20, ORDER_KEYS_LIMIT));
        for order in [bare, full] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for bad in ["", "id=1 kind=dance shards=0 what=x", "kind=seek what=x", "id=x kind=seek what="] {
            assert!(bad.parse::<OperatorOrder>().is_err(), "{bad}");
        }
    }
}

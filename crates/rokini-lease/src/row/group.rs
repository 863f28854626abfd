//! What a group decided about a stream, and about itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::order::OperatorOrder;
use crate::position::Position;
use crate::text::serde_as_text;
use crate::types::{InvalidKey, StreamId};

/// The row of a stream: what the group decided about it once, for all its workers.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamRow {
    /// The stream.
    pub id: StreamId,
    /// Its name, for people and tools.
    pub name: String,
    /// Where the group starts: resolved once, stored before the first record is delivered.
    pub start: Position,
    /// Under which name the group is registered with the stream for enhanced fan-out; `None` where it never was.
    pub consumer: Option<FanOutConsumer>,
}

impl StreamRow {
    /// A stream that the group begins to read at `start`, without a registration.
    #[must_use]
    pub fn new(id: StreamId, name: impl Into<String>, start: Position) -> Self {
        Self { id, name: name.into(), start, consumer: None }
    }
}

/// A registration for enhanced fan-out. The text form (what stores keep) is `owned:<name>` or `adopted:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FanOutConsumer {
    /// The name of the consumer at the stream.
    pub name: String,
    /// Whether this group made the registration (the mark is stored before it is made), so that deleting the group takes it
    /// back. One that was there before is left alone.
    pub owned: bool,
}

serde_as_text!(FanOutConsumer);

const OWNED: &str = "owned:";
const ADOPTED: &str = "adopted:";

impl fmt::Display for FanOutConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.owned { OWNED } else { ADOPTED })?;
        f.write_str(&self.name)
    }
}

impl FromStr for FanOutConsumer {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let owned = text.strip_prefix(OWNED);
        match owned.or_else(|| text.strip_prefix(ADOPTED)) {
            Some(name) if !name.is_empty() => Ok(Self { name: name.to_owned(), owned: owned.is_some() }),
            _ => Err(InvalidKey::new("a fan-out consumer", text)),
        }
    }
}

/// The row of the group itself. A group without one is as the default says.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupRow {
    /// When an operator stopped the reading of all shards, in milliseconds since the Unix epoch by the
    /// operator's wall clock; `None` while it is not stopped.
    pub paused_at: Option<u64>,
    /// What operators ordered, the latest last: the last 20 orders.
    #[serde(default)]
    pub orders: Vec<OperatorOrder>,
}

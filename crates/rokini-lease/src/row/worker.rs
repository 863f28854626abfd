//! The row of a worker, and what others leave in it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::process::ProcessIdentity;
use crate::text::serde_as_text;
use crate::types::{InvalidKey, LeaseKey, StreamId, WorkerId};

/// Whether a worker takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerState {
    /// Takes part, as long as its heartbeat counter moves.
    Alive,
    /// Stops: gets no more leases and hands over those it has.
    Leaving,
    /// Declared dead. A fenced incarnation never comes back.
    Fenced,
}

/// A short message left for a worker in its mailbox, read with its next heartbeat. Only a hint: a lost one
/// costs time until the next reconciliation, never safety.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notification {
    /// Another worker has put its claim on this lease of yours.
    Claimed(LeaseKey),
    /// This lease was moved to you.
    Assigned(LeaseKey),
    /// The position or state of this lease of yours was changed by an operator.
    Changed(LeaseKey),
    /// The group was paused or resumed by an operator.
    GroupChanged,
}

/// How much a worker carries, for those who place leases.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WorkerLoad {
    /// Active leases held.
    pub leases: u32,
}

/// The row of a worker incarnation.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerRow {
    /// Who.
    pub id: WorkerId,
    /// Grows by one with every heartbeat.
    pub heartbeat: u64,
    /// Whether it takes part.
    pub state: WorkerState,
    /// What it carries.
    pub load: WorkerLoad,
    /// Notifications for it that it has not read yet.
    #[serde(default)]
    pub mailbox: BTreeSet<Notification>,
    /// The streams it reads; `None` for all of the group's. No lease of another stream falls to it.
    pub streams: Option<BTreeSet<StreamId>>,
    /// The most leases it takes; `None` for no limit.
    pub max_leases: Option<u32>,
    /// Where it runs, if known.
    pub process: Option<ProcessIdentity>,
    /// The version of the software, for people.
    pub version: String,
}

impl WorkerRow {
    /// The row of a worker that joins.
    #[must_use]
    pub fn joining(id: WorkerId, process: Option<ProcessIdentity>) -> Self {
        Self {
            id,
            heartbeat: 0,
            state: WorkerState::Alive,
            load: WorkerLoad::default(),
            mailbox: BTreeSet::new(),
            streams: None,
            max_leases: None,
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether leases of this stream may fall to it.
    #[must_use]
    pub fn reads(&self, stream: &StreamId) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.contains(stream))
    }
}

serde_as_text!(WorkerState, Notification);

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Fenced => "fenced",
        })
    }
}

impl FromStr for WorkerState {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        match text {
            "alive" => Ok(Self::Alive),
            "leaving" => Ok(Self::Leaving),
            "fenced" => Ok(Self::Fenced),
            _ => Err(InvalidKey::new("worker state", text)),
        }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed(key) => write!(f, "claimed:{key}"),
            Self::Assigned(key) => write!(f, "given:{key}"),
            Self::Changed(key) => write!(f, "changed:{key}"),
            Self::GroupChanged => f.write_str("group"),
        }
    }
}

impl FromStr for Notification {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("notification", text);
        if text == "group" {
            return Ok(Self::GroupChanged);
        }
        let (kind, key) = text.split_once(':').ok_or_else(invalid)?;
        let key = key.parse()?;
        match kind {
            "claimed" => Ok(Self::Claimed(key)),
            "given" => Ok(Self::Assigned(key)),
            "changed" => Ok(Self::Changed(key)),
            _ => Err(invalid()),
        }
    }
}

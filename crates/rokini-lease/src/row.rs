//! What a store keeps: a row per worker, per lease, per stream.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::types::InvalidKey;
use crate::{Epoch, HashRange, LeaseKey, Position, ShardId, StreamId, WorkerId};

/// Whether a worker takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerState {
    /// Takes part, as long as its beat moves.
    Alive,
    /// Stops: gets no more leases and hands over those it has.
    Leaving,
    /// Declared dead. A fenced incarnation never comes back.
    Fenced,
}

/// A short message left for a worker in its mailbox, read with its next heartbeat. Only a hint: a lost note
/// costs time until the next reconciliation, never safety.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// Another worker has put its claim on this lease of yours.
    Claimed(LeaseKey),
    /// This lease was moved to you.
    Given(LeaseKey),
    /// The position or state of this lease of yours was changed by an operator.
    Changed(LeaseKey),
}

/// How much a worker carries, for those who place leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Load {
    /// Active leases held.
    pub leases: u32,
}

/// Where a worker's process runs, so that a newcomer on the same host can prove that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessMark {
    /// Names this boot of the host and the process's name space in it. Two processes with equal `host` see
    /// each other's process ids.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// When the process started, in the host's own unit: a reused process id differs in it.
    pub started: u64,
}

/// The row of a worker incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerRow {
    /// Who.
    pub id: WorkerId,
    /// Grows with every heartbeat.
    pub beat: u64,
    /// Whether it takes part.
    pub state: WorkerState,
    /// What it carries.
    pub load: Load,
    /// Notes for it that it has not read yet.
    pub mailbox: BTreeSet<Note>,
    /// Where it runs, if known.
    pub process: Option<ProcessMark>,
    /// The version of the software, for people.
    pub version: String,
}

impl WorkerRow {
    /// The row of a worker that joins.
    #[must_use]
    pub fn joining(id: WorkerId, process: Option<ProcessMark>) -> Self {
        Self {
            id,
            beat: 0,
            state: WorkerState::Alive,
            load: Load::default(),
            mailbox: BTreeSet::new(),
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The row of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseRow {
    /// The shard it is for.
    pub key: LeaseKey,
    /// The incarnation that holds it.
    pub owner: Option<WorkerId>,
    /// Grows at every change of owner, and of position by an operator.
    pub epoch: Epoch,
    /// How far the shard is processed.
    pub position: Position,
    /// The position before the last seek, so that it can be undone.
    pub previous: Option<Position>,
    /// The shards this one came from.
    pub parents: Vec<ShardId>,
    /// The shards that came from this one; known once it has ended.
    pub children: Vec<ShardId>,
    /// The partition-key hashes it takes.
    pub hash_range: Option<HashRange>,
    /// The incarnation that asks for it.
    pub claim: Option<WorkerId>,
    /// When the position was last stored, in milliseconds since the Unix epoch by the owner's wall clock. For
    /// people; never used for a decision.
    pub checkpointed_at: Option<u64>,
}

impl LeaseRow {
    /// A lease that nobody holds yet.
    #[must_use]
    pub fn new(key: LeaseKey, position: Position) -> Self {
        Self {
            key,
            owner: None,
            epoch: Epoch(0),
            position,
            previous: None,
            parents: Vec::new(),
            children: Vec::new(),
            hash_range: None,
            claim: None,
            checkpointed_at: None,
        }
    }

    /// The same with its parents.
    #[must_use]
    pub fn with_parents(mut self, parents: Vec<ShardId>) -> Self {
        self.parents = parents;
        self
    }

    /// The same with its hash range.
    #[must_use]
    pub fn with_hash_range(mut self, range: HashRange) -> Self {
        self.hash_range = Some(range);
        self
    }
}

/// The row of a stream: what the group decided about it once, for all its workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The stream.
    pub id: StreamId,
    /// Its name, for people and tools.
    pub name: String,
    /// Where the group starts: resolved once, stored before the first record is delivered.
    pub start: Position,
}

/// Everything a listing returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The workers, in the order of their ids.
    pub workers: Vec<WorkerRow>,
    /// The leases, in the order of their keys; empty in a listing of workers only.
    pub leases: Vec<LeaseRow>,
    /// The streams; empty in a listing of workers only.
    pub streams: Vec<StreamRow>,
}

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

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed(key) => write!(f, "claimed:{key}"),
            Self::Given(key) => write!(f, "given:{key}"),
            Self::Changed(key) => write!(f, "changed:{key}"),
        }
    }
}

impl FromStr for Note {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey::new("note", text);
        let (kind, key) = text.split_once(':').ok_or_else(invalid)?;
        let key = key.parse()?;
        match kind {
            "claimed" => Ok(Self::Claimed(key)),
            "given" => Ok(Self::Given(key)),
            "changed" => Ok(Self::Changed(key)),
            _ => Err(invalid()),
        }
    }
}

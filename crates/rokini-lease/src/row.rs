//! What a store keeps: a row per worker, per lease, per stream.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::types::InvalidKey;
use crate::{Epoch, HashRange, LeaseKey, Position, ShardId, SkippedRecords, StreamId, WorkerId};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WorkerLoad {
    /// Active leases held.
    pub leases: u32,
}

/// Where a worker's process runs, so that a newcomer on the same host can prove that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
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
    pub heartbeat: u64,
    /// Whether it takes part.
    pub state: WorkerState,
    /// What it carries.
    pub load: WorkerLoad,
    /// Notes for it that it has not read yet.
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

/// What the holder of a lease knows about its shard, for people and for placing leases. Stored only together
/// with a position or a hand-over, never in a write of its own. `None` leaves what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CheckpointMetadata {
    /// When the last record that is done arrived at the stream: milliseconds since the Unix epoch, by the
    /// stream's clock.
    pub record_arrival_millis: Option<u64>,
    /// When the holder last knew that everything was done and nothing was behind: milliseconds since the Unix
    /// epoch, by the holder's wall clock.
    pub caught_up_millis: Option<u64>,
    /// How much the shard brings: bytes of records in a second, as a mean over minutes.
    pub bytes_per_second: Option<u64>,
    /// Records that were passed over by a failure policy.
    pub skipped: Option<SkippedRecords>,
}

impl CheckpointMetadata {
    /// These metadata, with `earlier` where there is none.
    #[must_use]
    pub fn or(self, earlier: Self) -> Self {
        Self {
            record_arrival_millis: self.record_arrival_millis.or(earlier.record_arrival_millis),
            caught_up_millis: self.caught_up_millis.or(earlier.caught_up_millis),
            bytes_per_second: self.bytes_per_second.or(earlier.bytes_per_second),
            skipped: self.skipped.or(earlier.skipped),
        }
    }
}

/// A position that is announced but not yet reached, with what the application needs to get there: the first
/// phase of a checkpoint in two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PendingPosition {
    /// The position that is to be stored.
    pub position: Position,
    /// The application's own bytes, at most [`PENDING_STATE_LIMIT`](crate::PENDING_STATE_LIMIT) of them.
    pub state: Bytes,
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
    /// What the holders said about the shard.
    pub metadata: CheckpointMetadata,
    /// A position that was announced and not reached yet.
    pub pending: Option<PendingPosition>,
    /// Whether an operator stopped the reading of this shard. The lease is held and moved as ever.
    pub paused: bool,
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
            metadata: CheckpointMetadata::default(),
            pending: None,
            paused: false,
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

/// The row of the group itself. A group without one is as the default says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRow {
    /// When an operator stopped the reading of all shards, in milliseconds since the Unix epoch by the
    /// operator's wall clock; `None` while it is not stopped.
    pub paused_at: Option<u64>,
}

/// A stored row that this version cannot read. What it is about is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The row's key in the store.
    pub row: String,
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
        let invalid = || InvalidKey::new("note", text);
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

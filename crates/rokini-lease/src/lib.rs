//! Fleet coordination for stream consumers: workers, leases, epochs, assignment, and the stores that keep them.
//!
//! The crate knows nothing of Kinesis: a lease is for a *shard* of a *stream*, both opaque names. Each worker of
//! a group beats once for itself, not once per lease, and each lease is fenced by an epoch, so the cost of a
//! quiet fleet grows with its workers only.

mod clock;
mod duty;
mod error;
mod lease;
mod member;
mod operator;
mod plan;
mod position;
mod process;
mod retire;
mod row;
mod skipped;
pub mod store;
mod types;
mod update;
mod watch;

pub use rokini_types::{InvalidSequenceNumber, SequenceNumber};

pub use clock::WallClock;
pub use duty::{interval_number, on_duty, stable_hash};
pub use error::{LeaseError, LostCause, StoreError, StoreErrorKind};
pub use lease::{HandedOver, Lease, Validity};
pub use member::{HeartbeatStats, JoinError, Member, MemberConfig, MemberEvent};
pub use operator::{DeleteReport, Operator, OperatorError, Scope, SeekReport, SeekStep};
pub use plan::{AssignmentPolicy, CustomAssignment, Move, plan};
pub use position::{InvalidPosition, Position, Progress};
pub use retire::retirable;
pub use row::{
    CheckpointMetadata, GroupRow, GroupView, LeaseRow, Notification, PendingPosition, ProcessIdentity,
    StreamRow, UnreadableRow, WorkerLoad, WorkerRow, WorkerState,
};
pub use skipped::SkippedRecords;
pub use store::counting::{CountingStore, Counts};
#[cfg(feature = "dynamo")]
pub use store::dynamo::{BillingMode, DynamoStore};
pub use store::faults::{FaultTarget, FaultyStore, StoreFault};
pub use store::memory::MemoryStore;
pub use store::{LeaseStore, Listing, StoreOperation};
pub use types::{
    Epoch, GroupId, HashRange, Incarnation, InvalidKey, InvalidName, LeaseKey, ShardId, StreamId, WorkerId,
    WorkerName,
};
pub use update::{GroupUpdate, LeaseUpdate, MAILBOX_LIMIT, PENDING_STATE_LIMIT, WorkerUpdate, WriteOutcome};

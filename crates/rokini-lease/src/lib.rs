//! Fleet coordination for stream consumers: workers, leases, epochs, assignment, and the stores that keep them.
//!
//! The crate knows nothing of Kinesis: a lease is for a *shard* of a *stream*, both opaque names. Each worker of
//! a group sends one heartbeat for itself, not one per lease, and each lease is fenced by an epoch, so the cost of a
//! quiet fleet grows with its workers only.
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]

mod clock;
mod cost;
mod duty;
mod error;
mod member;
mod operator;
mod pace;
mod plan;
mod position;
mod process;
mod retire;
mod row;
mod skipped;
mod store;
mod supervise;
mod text;
mod types;
mod update;
mod watch;
mod write;

pub use rokini_types::{InvalidSequenceNumber, SequenceNumber};

pub use clock::{ClockSource, WallClock};
pub use cost::{CapacityUnits, FleetShape};
pub use duty::{duty_rank, interval_number, stable_hash};
pub use error::{LeaseError, LeaseLostReason, StoreError, StoreErrorKind};
pub use member::{
    CoordinationHealth, HandedOver, HeartbeatStats, JoinAttempts, JoinError, Lease, LeaseValidity, Member,
    MemberConfig, MemberEvent, MemberEvents, StreamAbility,
};
pub use operator::{
    DeleteReport, Operator, OperatorError, PauseReport, Scope, SeekChange, SeekReport, SilentWorkers,
};
pub use plan::{AssignmentPolicy, CustomAssignment, Move, PLAN_VERSION, pins, plan};
pub use position::{InvalidPosition, Position, Progress};
pub use process::ProcessIdentity;
pub use retire::retirable;
pub use row::{
    CheckpointMetadata, FanOutConsumer, GroupRow, GroupView, HealthSummary, LeaseRow, LeaseSet, ORDERS_LIMIT,
    OperatorOrder, OrderId, OrderKind, PendingPosition, PlanId, ROW_FORMAT, Row, RowKey, ShardHealth,
    StreamRow, UnreadableRow, WorkerLoad, WorkerNotification, WorkerReport, WorkerRow, WorkerState,
    WorkerTrouble,
};
pub use skipped::SkippedRecords;
#[cfg(feature = "conformance")]
pub use store::conformance;
pub use store::{
    BillingMode, CountingStore, Counts, FaultTarget, FaultyStore, LeaseStore, LeaseStoreExt, Listing,
    ListingPage, ListingQuery, MemoryStore, StoreFault, StoreOperation,
};
#[cfg(feature = "dynamo")]
pub use store::{
    DynamoStore, LeaseKeys, Repartition, RepartitionError, RepartitionPhase, RepartitionProgress,
    RepartitionReport,
};
pub use supervise::{panic_message, supervise};
pub use types::{
    Epoch, GroupId, HashRange, Incarnation, InvalidKey, InvalidName, LeaseKey, PageToken, ShardId, StreamId,
    WorkerId, WorkerName,
};
pub use update::{GroupUpdate, LeaseUpdate, MAILBOX_LIMIT, PENDING_STATE_LIMIT, StreamUpdate, WorkerUpdate};
pub use write::{RowOutcome, RowWrite, WriteOutcome};

//! What happens, for those who watch.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rokini_lease::{Epoch, HashRange, LostCause, Position, SequenceNumber, ShardId, StreamId, WorkerId};
use tokio::sync::broadcast;

use crate::telemetry::Telemetry;
use crate::types::failure::{HandlerCall, HandlerFailure};
use crate::{ErrorKind, Monitoring, StallCause};

mod code;
mod log;

pub use code::EventCode;
use log::Log;

/// Something that happened in this consumer. Events are for watching: nothing depends on their being read. Each
/// kind has a stable [`EventCode`]; log lines and metrics are made from events.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The start position of the group is known: stored now, or by an earlier worker.
    StartResolved {
        /// The stream.
        stream: StreamId,
        /// Where the group started.
        position: Position,
    },
    /// Probes and scrapers are answered from now on.
    MonitoringStarted {
        /// Where: with the port that was free where port 0 was asked for.
        address: SocketAddr,
    },
    /// This worker takes part in its group.
    Joined {
        /// Under this incarnation.
        worker: WorkerId,
    },
    /// Shards got leases, at the start or because an audit found them without one.
    LeasesCreated {
        /// The stream.
        stream: StreamId,
        /// The shards.
        shards: Vec<ShardId>,
    },
    /// This worker begins to work on a shard.
    ShardStarted {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The epoch of its lease.
        epoch: Epoch,
        /// Where it goes on.
        position: Position,
    },
    /// A position was stored.
    Checkpointed {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The position.
        position: Position,
    },
    /// A position could not be stored. It is tried again while the lease is held; delivery goes on.
    CheckpointFailed {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// Failures in a row.
        failures: u32,
        /// The last error.
        error: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// User code failed. The same records come again; other shards go on.
    HandlerFailed {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// What was called.
        call: HandlerCall,
        /// How it failed.
        failure: HandlerFailure,
        /// The first record of the batch.
        first: Option<SequenceNumber>,
        /// Failures in a row.
        failures: u32,
        /// When it is called again; `None` when it is not.
        retry_in: Option<Duration>,
    },
    /// One of several records fails: it is searched for, by calls with fewer and fewer of them.
    Bisecting {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The first of the records.
        first: SequenceNumber,
        /// How many they are.
        records: usize,
    },
    /// A record fails, and its partition key waits for it; other keys go on. Everything from the record on counts as
    /// outstanding.
    Parked {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The record.
        first: SequenceNumber,
        /// Its partition key.
        key: String,
    },
    /// A parked key goes on: the record that failed is done or given up, and so are those that waited behind it.
    Unparked {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The partition key.
        key: String,
    },
    /// Records were given up and passed over, as the failure policy says. A note of them is stored with the position.
    Skipped {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The records.
        records: Vec<SequenceNumber>,
        /// The last failure.
        failure: HandlerFailure,
        /// How often the handler was called with them.
        failures: u32,
    },
    /// Records were given up, and the dead-letter sink has confirmed them.
    DeadLettered {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The records.
        records: Vec<SequenceNumber>,
        /// How often the handler was called with them.
        failures: u32,
    },
    /// The dead-letter sink did not confirm records. It is tried again; they are not passed before.
    DeadLetterFailed {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The first of the records.
        first: SequenceNumber,
        /// The error.
        error: String,
        /// Failures of the sink in a row.
        failures: u32,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// Records were given up, and their shard stands still, as the failure policy says. It stays with this worker.
    Halted {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The first of the records.
        first: SequenceNumber,
        /// The last failure.
        failure: HandlerFailure,
        /// How often the handler was called with them.
        failures: u32,
    },
    /// A shard could not be read. It is tried again; other shards go on.
    ReadFailed {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// What kind of error.
        kind: ErrorKind,
        /// The error.
        error: String,
        /// Failures in a row.
        failures: u32,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The stream does not know the shard any more: its records aged out. Its lease is retired.
    ShardGone {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// How far it was processed.
        position: Position,
    },
    /// A shard is finished: every record of it is done.
    ShardEnded {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// The shards that came from it.
        children: Vec<ShardId>,
    },
    /// A shard left this worker in order.
    HandedOver {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// How far it is processed.
        position: Position,
        /// The worker that has it now; `None` where it is free.
        to: Option<WorkerId>,
    },
    /// A shard was lost: this worker stopped working on it and stored nothing more.
    LeaseLost {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// Why.
        cause: LostCause,
    },
    /// The work on a shard ended in a way it should not, and begins anew.
    ShardRestarted {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// What happened.
        error: String,
    },
    /// A lease of a stream was granted that this consumer does not read. It is given back.
    ForeignLease {
        /// The lease.
        lease: rokini_lease::LeaseKey,
    },
    /// Records may have been trimmed before this group read them: those that arrived within these times. They may also
    /// have been none, if nothing was put then.
    DataLoss {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// Everything that arrived before was read: milliseconds since the Unix epoch, by the stream's clock.
        from_millis: u64,
        /// What arrived from here on is read: milliseconds since the Unix epoch, by the stream's clock.
        to_millis: u64,
        /// Whether the shard stands still now, as `on_data_loss = halt` wants it.
        halted: bool,
    },
    /// Records that are not done come near the end of the retention (`data_loss_warning`). Told once, and again when it
    /// had been better.
    DataLossNear {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// How long until they are trimmed.
        until_loss: Duration,
    },
    /// This worker does not get on with a shard, so it goes to another one.
    ShardGivenBack {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// What happened.
        error: String,
    },
    /// An audit found partition-key hashes that no lease covered, and gave leases to the open shards that take them.
    HolesFound {
        /// The stream.
        stream: StreamId,
        /// The hashes.
        holes: Vec<HashRange>,
        /// How many ranges are still covered by no lease: the stream lists no open shard that takes them.
        left: usize,
    },
    /// A stream was added to a consumer that runs.
    StreamAdded {
        /// The stream.
        stream: StreamId,
    },
    /// A stream was taken from a consumer that runs. Its shards go to the workers that still read it.
    StreamRemoved {
        /// The stream.
        stream: StreamId,
    },
    /// A stream was deleted and made again. What is in it now is read from its oldest record; the leases of the
    /// deleted one are retired.
    StreamReplaced {
        /// The stream that was deleted.
        stream: StreamId,
        /// The stream of the same name that is there now.
        by: StreamId,
    },
    /// The stream's shards could not be compared with the leases. It is tried again.
    AuditFailed {
        /// The stream.
        stream: StreamId,
        /// The error.
        error: String,
    },
    /// Heartbeats have not arrived for so long that handlers pause. No lease is given up.
    OutageBegan {
        /// The last error.
        error: String,
    },
    /// Heartbeats arrive again, and handlers go on.
    OutageEnded,
    /// The others declared this worker dead. It dropped its shards and joins again.
    Fenced,
    /// Metrics could not be sent. What counts is sent with the next flush; nothing else waits for it.
    ExportFailed {
        /// Where to.
        service: Monitoring,
        /// The error.
        error: String,
    },
    /// A shard makes no progress. Told once, until [`Event::ShardRecovered`]; the shard's `rokini_shard_stalled` is 1
    /// and the worker not ready meanwhile.
    ShardStalled {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// Why.
        cause: StallCause,
        /// The age of its oldest record that is not done.
        lag: Duration,
    },
    /// A shard makes progress again.
    ShardRecovered {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
        /// Why it made none, last.
        cause: StallCause,
        /// How long after [`Event::ShardStalled`].
        lasted: Duration,
    },
    /// The consumer has stopped.
    Stopped,
}

/// Events a slow watcher may be behind before it misses some.
const KEPT: usize = 1024;

/// The sender of events. What watchers are told, the log and the metrics are told first.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
    log: Arc<Mutex<Log>>,
    telemetry: Arc<Telemetry>,
}

impl Events {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self { sender: broadcast::Sender::new(KEPT), log: Arc::default(), telemetry }
    }

    pub(crate) fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    pub(crate) fn tell(&self, event: Event) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).write(&event);
        self.telemetry.event(&event);
        // Nobody may be watching.
        let _ = self.sender.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}

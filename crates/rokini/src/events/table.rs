//! Every kind of event, once: what it carries, its code and its log line.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rokini_lease::{
    Epoch, HashRange, LeaseLostReason, Position, SequenceNumber, ShardId, StreamId, WorkerId,
};
use tracing::field::display;

use crate::config::{Monitoring, Retrieval};
use crate::types::error::ErrorKind;
use crate::types::failure::{HandlerCall, HandlerFailure};
use crate::types::stall::StallCause;

/// One row a kind: its fields, its code, the level of its log line (`limited` where one line in a while is enough, with
/// the number of those held back), the line, and which fields go into it.
macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident $({ $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)+ })?
            = $code:literal, $level:ident $($limited:ident)?, $line:literal $({ $($logged:tt)* })?;
    )+) => {
        /// What happened. Each kind has a stable [`EventCode`].
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[doc = $doc])+ $kind $({ $($(#[doc = $field_doc])+ $field: $type,)+ })?,)+
        }

        /// The stable code of a kind of event: what logs, metrics and alerts name, and where to look it up in
        /// `docs/TROUBLESHOOTING.md`. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum EventCode {
            $(#[doc = concat!("[`EventKind::", stringify!($kind), "`]")] $kind,)+
        }

        impl EventCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The code as text, such as `handler-failed`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $code),+ }
            }

            /// Whether its log line is written once in a while only, because what it reports is tried again and again.
            pub(super) const fn is_limited(self) -> bool {
                match self { $(Self::$kind => events!(@limited $($limited)?)),+ }
            }
        }

        impl EventKind {
            /// The stable code of this kind of event.
            #[must_use]
            pub const fn code(&self) -> EventCode {
                match self { $(Self::$kind { .. } => EventCode::$kind),+ }
            }

            /// What happened, for people: the text of its log line, without its fields.
            #[must_use]
            pub const fn message(&self) -> &'static str {
                match self { $(Self::$kind { .. } => $line),+ }
            }
        }

        /// Writes the log line of an event about this stream and shard. `more`: how many such lines were held back.
        /// Fields have the names of OpenTelemetry where it has one.
        pub(super) fn write_line(
            kind: &EventKind,
            stream: Option<&StreamId>,
            shard: Option<&ShardId>,
            more: Option<u64>,
        ) {
            let (code, stream, shard) = (kind.code().as_str(), stream.map(display), shard.map(display));
            match kind {
                $(EventKind::$kind $({ $($field),+ })? => tracing::$level!(
                    event.name = code,
                    messaging.destination.name = stream,
                    messaging.destination.partition.id = shard,
                    $($($logged)*)?
                    more,
                    $line
                ),)+
            }
        }
    };
    (@limited) => { false };
    (@limited limited) => { true };
}

events! {
    /// The start position of the group is known: stored now, or by an earlier worker.
    StartResolved {
        /// Where the group started.
        position: Position,
    } = "start-resolved", debug, "the start position is known" { %position, };

    /// Probes and scrapers are answered from now on.
    MonitoringStarted {
        /// Where: with the port that was free where port 0 was asked for.
        address: SocketAddr,
    } = "monitoring-started", info, "probes and scrapers are answered" { %address, };

    /// This worker takes part in its group.
    Joined {
        /// Under this incarnation.
        worker: WorkerId,
    } = "joined", debug, "joined the group" { %worker, };

    /// Shards got leases, at the start or because an audit found them without one.
    LeasesCreated {
        /// The shards.
        shards: Vec<ShardId>,
    } = "leases-created", debug, "shards got leases" { shards = shards.len(), };

    /// This worker begins to work on a shard.
    ShardStarted {
        /// The epoch of its lease.
        epoch: Epoch,
        /// Where it goes on.
        position: Position,
    } = "shard-started", debug, "begins to work on a shard" { %epoch, %position, };

    /// A position was stored.
    Checkpointed {
        /// The position.
        position: Position,
    } = "checkpointed", debug, "stored a position" { %position, };

    /// A position could not be stored. It is tried again while the lease is held; delivery goes on.
    CheckpointFailed {
        /// Failures in a row.
        failures: u32,
        /// The last error.
        error: String,
        /// When it is tried again.
        retry_in: Duration,
    } = "checkpoint-failed", warn limited, "storing a position failed, trying again"
        { failures, ?retry_in, exception.message = %error, };

    /// User code failed. The same records come again; other shards go on.
    HandlerFailed {
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
    } = "handler-failed", warn limited, "a handler failed"
        { ?call, first = first.map(display), failures, retry_in = retry_in.map(debug), exception.message = %failure, };

    /// One of several records fails: it is searched for by calls with fewer and fewer of them.
    Bisecting {
        /// The first of the records.
        first: SequenceNumber,
        /// How many they are.
        records: usize,
    } = "bisecting", debug, "searches for the record that fails" { %first, records, };

    /// A record fails, and its partition key waits for it; other keys go on. Everything from the record on counts as
    /// outstanding.
    Parked {
        /// The record.
        first: SequenceNumber,
        /// Its partition key.
        key: String,
    } = "parked", warn limited, "a partition key waits for a record that fails; others go on" { %first, key, };

    /// A parked key goes on: the record that failed is done or given up, and so are those that waited behind it.
    Unparked {
        /// The partition key.
        key: String,
    } = "unparked", debug, "a parked partition key goes on" { key, };

    /// Records were given up and passed over, as the failure policy says. A note of them is stored with the position.
    Skipped {
        /// The records.
        records: Vec<SequenceNumber>,
        /// The last failure.
        failure: HandlerFailure,
        /// How often the handler was called with them.
        failures: u32,
    } = "skipped", warn limited, "records that fail were skipped"
        { first = records.first().map(display), records = records.len(), failures, exception.message = %failure, };

    /// Records were given up, and the dead-letter sink has confirmed them.
    DeadLettered {
        /// The records.
        records: Vec<SequenceNumber>,
        /// How often the handler was called with them.
        failures: u32,
    } = "dead-lettered", warn limited, "records that fail went to the dead-letter sink"
        { first = records.first().map(display), records = records.len(), failures, };

    /// The dead-letter sink did not confirm records. It is tried again; they are not passed before.
    DeadLetterFailed {
        /// The first of the records.
        first: SequenceNumber,
        /// The error.
        error: String,
        /// Failures of the sink in a row.
        failures: u32,
        /// When it is tried again.
        retry_in: Duration,
    } = "dead-letter-failed", warn limited, "the dead-letter sink failed, trying again"
        { %first, failures, ?retry_in, exception.message = %error, };

    /// Records were given up, and their shard stands still, as the failure policy says. It stays with this worker.
    Halted {
        /// The first of the records.
        first: SequenceNumber,
        /// The last failure.
        failure: HandlerFailure,
        /// How often the handler was called with them.
        failures: u32,
    } = "halted", warn, "a shard stands still at a record that fails"
        { %first, failures, exception.message = %failure, };

    /// A shard could not be read. It is tried again; other shards go on.
    ReadFailed {
        /// What kind of error.
        kind: ErrorKind,
        /// The error.
        error: String,
        /// Failures in a row.
        failures: u32,
        /// When it is tried again.
        retry_in: Duration,
    } = "read-failed", warn limited, "reading a shard failed, trying again"
        { error.type = ?kind, failures, ?retry_in, exception.message = %error, };

    /// The endpoint does not take CBOR: records are asked for in JSON, which costs more processor time. CBOR is tried again
    /// after an hour.
    AskedInJson {
        /// What it answered to CBOR.
        reason: String,
    } = "asked-in-json", warn limited, "the endpoint does not take CBOR: records are asked for in JSON"
        { exception.message = %reason, };

    /// The endpoint takes CBOR now.
    AskedInCbor = "asked-in-cbor", info, "the endpoint takes CBOR again";

    /// Stream records begin as KPL aggregates do and cannot be unpacked: they are delivered as they came. For one answer.
    AggregatesMalformed {
        /// The first of them.
        first: SequenceNumber,
        /// What is wrong with it.
        reason: String,
        /// How many there are.
        records: u64,
    } = "aggregates-malformed", warn limited, "records that begin as KPL aggregates are delivered as they came"
        { %first, records, exception.message = %reason, };

    /// User records of KPL aggregates have keys that hash into another shard than the one they came in, as after a split.
    /// They are delivered all the same. For one answer.
    ForeignUserRecords {
        /// How many.
        user_records: u64,
    } = "foreign-user-records", debug, "user records of another shard are delivered" { user_records, };

    /// KPL aggregates were left out because user records of them have keys that hash into another shard than the one they
    /// came in, as `kpl_hash_range = drop` wants it. For one answer.
    AggregatesDropped {
        /// The first stream record that was left out.
        first: SequenceNumber,
        /// How many user records they have.
        user_records: u64,
    } = "aggregates-dropped", warn limited, "aggregates with user records of another shard are left out"
        { %first, user_records, };
    /// The group is registered with a stream for fan-out, which AWS bills from now on.
    FanOutRegistered {
        /// The name of the consumer.
        consumer: String,
    } = "fan-out-registered", info, "the group is registered for fan-out" { consumer, };

    /// With `retrieval = auto`: no shard was subscribed to for an hour, so the group's registration was taken back.
    FanOutGivenBack {
        /// The name of the consumer.
        consumer: String,
    } = "fan-out-given-back", info, "no shard needs fan-out: the group is not registered any more" { consumer, };

    /// With `retrieval = auto`: a shard is read another way from now on.
    RetrievalChanged {
        /// How.
        to: Retrieval,
        /// Why.
        reason: String,
        /// What fan-out costs the group for this stream from now on, in USD a month at the prices of us-east-1: by the hour
        /// for each shard while the group is registered, and for what this shard brings at its present rate. 0 where the
        /// shard is polled.
        usd_per_month: u64,
    } = "retrieval-changed", info, "a shard is read another way" { %to, reason, usd_per_month, };

    /// The records of a shard are pushed from now on.
    Subscribed = "subscribed", debug, "a shard is subscribed to";

    /// A shard cannot be subscribed to just now, as it happens in the 5 s after another subscription. It is polled meanwhile.
    SubscriptionWaits {
        /// Why.
        reason: String,
    } = "subscription-waits", debug, "a shard is polled until it can be subscribed to" { exception.message = %reason, };

    /// A shard cannot be subscribed to. It is polled until it can.
    SubscriptionRefused {
        /// Why.
        reason: String,
    } = "subscription-refused", warn limited, "a shard cannot be subscribed to: it is polled meanwhile"
        { exception.message = %reason, };

    /// The consumer is not registered with the stream any more: somebody deregistered it. The group registers again.
    ConsumerGone {
        /// Its ARN.
        consumer: String,
    } = "fan-out-consumer-gone", warn limited, "the consumer is not registered any more: the group registers again"
        { consumer, };

    /// An answer ended a shard that the stream lists as open. It is read on: the end counts when its children or the
    /// listing confirm it.
    EndRefuted = "end-refuted", warn limited, "an answer ended a shard that the stream lists as open: it is read on";

    /// A lease was ended while the stream lists its shard as open, without children. The shard is read again from here:
    /// some records may come again.
    EndTakenBack {
        /// Where it goes on.
        position: Position,
    } = "end-taken-back", warn, "a shard that is open was stored as ended: it is read again" { %position, };

    /// The stream does not know the shard any more: its records aged out. Its lease is retired.
    ShardGone {
        /// How far it was processed.
        position: Position,
    } = "shard-gone", warn, "the stream does not know the shard any more: its lease is retired" { %position, };

    /// A shard is finished: every record of it is done.
    ShardEnded {
        /// The shards that came from it.
        children: Vec<ShardId>,
    } = "shard-ended", debug, "a shard is finished" { ?children, };

    /// A shard left this worker in order.
    HandedOver {
        /// How far it is processed.
        position: Position,
        /// The worker that has it now; `None` where it is free.
        to: Option<WorkerId>,
    } = "handed-over", debug, "handed a shard over" { %position, to = to.as_ref().map(display), };

    /// A shard was lost: this worker stopped working on it and stored nothing more.
    LeaseLost {
        /// Why.
        cause: LeaseLostReason,
    } = "lease-lost", warn, "lost a shard" { %cause, };

    /// The work on a shard ended in a way it should not, and begins anew.
    ShardRestarted {
        /// What happened.
        error: String,
    } = "shard-restarted", warn, "the work on a shard ended, it begins anew" { exception.message = %error, };

    /// A background task of this worker panicked and begins anew.
    TaskRestarted {
        /// Which: `heartbeat`, `watch` and `control` coordinate, `shard sync` audits the leases, the others monitor.
        task: &'static str,
        /// What the panic said.
        error: String,
    } = "task-restarted", error, "a background task panicked, it begins anew" { task, exception.message = %error, };

    /// A lease of a stream was granted that this consumer does not read. It is given back.
    ForeignLease = "foreign-lease", warn, "a lease of a stream that is not read here: it is given back";

    /// Records may have been trimmed before this group read them: those that arrived within these times. They may also
    /// have been none, if nothing was put then.
    DataLoss {
        /// Everything that arrived before was read: milliseconds since the Unix epoch, by the stream's clock.
        from_millis: u64,
        /// What arrived from here on is read: milliseconds since the Unix epoch, by the stream's clock.
        to_millis: u64,
        /// Whether the shard stands still now, as `on_data_loss = halt` wants it.
        halted: bool,
    } = "data-loss", warn, "records may have been trimmed before they were read" { from_millis, to_millis, halted, };

    /// Records that are not done come near the end of the retention (`data_loss_warning`). Emitted once, and again when
    /// it had been better.
    DataLossNear {
        /// How long until they are trimmed.
        until_loss: Duration,
    } = "data-loss-near", warn, "records that are not done come near the end of the retention" { ?until_loss, };

    /// This worker does not get on with a shard, so it goes to another one.
    ShardGivenBack {
        /// What happened.
        error: String,
    } = "shard-given-back", warn, "a shard goes to another worker" { exception.message = %error, };

    /// No shard of a stream gets an answer in this worker, while others may read it: its shards go to those, and nothing of
    /// the stream falls to this worker until it can read it again.
    StreamUnable {
        /// What happened.
        error: String,
    } = "stream-unable", warn, "this worker cannot read the stream, its shards go to others" { exception.message = %error, };

    /// This worker can read a stream again that it could not.
    StreamAble = "stream-able", warn, "this worker can read the stream again";

    /// A shard that was asked for by another worker could not be handed over in time, because a handler or acks take
    /// longer: it is read on here, and stays for a while.
    HandOverWithdrawn = "hand-over-withdrawn", warn, "a hand-over was not done in its time and is withdrawn";

    /// An audit found partition-key hashes that no lease covered, and gave leases to the open shards that take them.
    HolesFound {
        /// The hashes.
        holes: Vec<HashRange>,
        /// How many ranges are still covered by no lease: the stream lists no open shard that takes them.
        left: usize,
    } = "holes-found", warn, "no lease covered some partition-key hashes" { ?holes, left, };

    /// A stream was added to a consumer that runs.
    StreamAdded = "stream-added", debug, "reads another stream";

    /// A stream was taken from a consumer that runs. Its shards go to the workers that still read it.
    StreamRemoved = "stream-removed", debug, "reads a stream no more";

    /// A stream was deleted and made again. What is in it now is read from its oldest record; the leases of the
    /// deleted one are retired.
    StreamReplaced {
        /// The stream of the same name that is there now.
        by: StreamId,
    } = "stream-replaced", warn, "a stream was deleted and made again: it is read from its oldest record" { %by, };

    /// The stream's shards could not be compared with the leases. It is tried again.
    AuditFailed {
        /// The error.
        error: String,
    } = "audit-failed", warn limited, "comparing shards with leases failed, trying again"
        { exception.message = %error, };

    /// Heartbeats have not arrived for so long that handlers pause. No lease is given up.
    OutageBegan {
        /// The last error.
        error: String,
    } = "outage-began", warn, "heartbeats do not arrive: handlers pause until they do"
        { exception.message = %error, };

    /// Heartbeats arrive again, and handlers go on.
    OutageEnded = "outage-ended", warn, "heartbeats arrive again: handlers go on";

    /// The worker rows have not been read for the failover time, or a listing of the leases that was due has failed for a
    /// minute: this worker neither notices deaths nor takes leases. Those it has go on.
    CoordinationStalled {
        /// What is missing, and the last error.
        error: String,
    } = "coordination-stalled", warn, "coordination does not get on: shards that are read go on"
        { exception.message = %error, };

    /// Worker rows and leases are read again.
    CoordinationRecovered = "coordination-recovered", warn, "coordination gets on again";

    /// The others declared this worker dead. It dropped its shards and joins again.
    Fenced = "fenced", warn, "this worker was declared dead by the others: it joins again";

    /// Metrics could not be sent. What counts is sent with the next flush; nothing else waits for it.
    ExportFailed {
        /// Where to.
        service: Monitoring,
        /// The error.
        error: String,
    } = "export-failed", warn limited, "metrics could not be sent, trying again"
        { service = service.name(), exception.message = %error, };

    /// A shard makes no progress. Emitted once for each cause in a row, until [`EventKind::ShardRecovered`]; the shard's
    /// `rokini_shard_stalled` is 1 and the worker not ready meanwhile.
    ShardStalled {
        /// Why.
        cause: StallCause,
        /// The age of its oldest record that is not done.
        lag: Duration,
    } = "shard-stalled", warn limited, "a shard makes no progress" { %cause, ?lag, };

    /// A shard makes progress again, or is not this worker's any more, for example because it has ended.
    ShardRecovered {
        /// Why it made none, last.
        cause: StallCause,
        /// How long after [`EventKind::ShardStalled`].
        lasted: Duration,
    } = "shard-recovered", warn, "the stall of a shard is over" { %cause, ?lasted, };

    /// The consumer has stopped.
    Stopped = "stopped", debug, "stopped";
}

impl fmt::Display for EventCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

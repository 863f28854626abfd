//! The log lines of events. Fields have the names of OpenTelemetry where it has one.

use std::collections::BTreeMap;

use rokini_lease::{ShardId, StreamId};
use tokio::time::Instant;

use super::{Event, EventCode};
use crate::Monitoring;
use crate::types::log_limiter::LogLimiter;

/// Writes a line for each event: the normal course at DEBUG, what somebody should look at as WARN. A transient that
/// is retried gets one line in a while, with the number of those held back.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By what is retried. A shard's are dropped when it leaves this worker.
    limits: BTreeMap<(StreamId, Option<ShardId>, EventCode), LogLimiter>,
    exports: BTreeMap<Monitoring, LogLimiter>,
}

impl Log {
    /// Whether a repeated line is to be written now, and how many were held back.
    fn allow(&mut self, event: &Event, stream: &StreamId, shard: Option<&ShardId>) -> Option<u64> {
        let key = (stream.clone(), shard.cloned(), event.code());
        self.limits.entry(key).or_default().allow(Instant::now())
    }

    fn left(&mut self, stream: &StreamId, shard: &ShardId) {
        self.limits.retain(|(of, which, _), _| of != stream || which.as_ref() != Some(shard));
    }

    pub(super) fn write(&mut self, event: &Event) {
        let code = event.code().as_str();
        macro_rules! line {
            ($level:ident, $stream:expr, $shard:expr, { $($fields:tt)* }, $message:literal) => {
                tracing::$level!(
                    event.name = code,
                    messaging.destination.name = %$stream,
                    messaging.destination.partition.id = %$shard,
                    $($fields)*
                    $message
                )
            };
        }
        match event {
            Event::CheckpointFailed { stream, shard, failures, error, retry_in } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    line!(warn, stream, shard, { failures, ?retry_in, more, exception.message = %error, },
                        "storing a position failed, trying again");
                }
            }
            Event::HandlerFailed { stream, shard, call, failure, first, failures, retry_in } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    let first = first.map(tracing::field::display);
                    line!(warn, stream, shard,
                        { ?call, first, failures, ?retry_in, more, exception.message = %failure, },
                        "a handler failed");
                }
            }
            Event::Bisecting { stream, shard, first, records } => {
                line!(debug, stream, shard, { %first, records, }, "searches for the record that fails");
            }
            Event::Parked { stream, shard, first, key } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    line!(warn, stream, shard, { %first, key, more, },
                        "a partition key waits for a record that fails; others go on");
                }
            }
            Event::Unparked { stream, shard, key } => {
                line!(debug, stream, shard, { key, }, "a parked partition key goes on");
            }
            Event::Skipped { stream, shard, records, failure, failures } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    let first = records.first().map(tracing::field::display);
                    line!(warn, stream, shard,
                        { first, records = records.len(), failures, more, exception.message = %failure, },
                        "records that fail were skipped");
                }
            }
            Event::DeadLettered { stream, shard, records, failures } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    let first = records.first().map(tracing::field::display);
                    line!(warn, stream, shard, { first, records = records.len(), failures, more, },
                        "records that fail went to the dead-letter sink");
                }
            }
            Event::DeadLetterFailed { stream, shard, first, error, failures, retry_in } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    line!(warn, stream, shard,
                        { %first, failures, ?retry_in, more, exception.message = %error, },
                        "the dead-letter sink failed, trying again");
                }
            }
            Event::Halted { stream, shard, first, failure, failures } => {
                line!(warn, stream, shard, { %first, failures, exception.message = %failure, },
                    "a shard stands still at a record that fails");
            }
            Event::ReadFailed { stream, shard, kind, error, failures, retry_in } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    line!(warn, stream, shard,
                        { error.type = ?kind, failures, ?retry_in, more, exception.message = %error, },
                        "reading a shard failed, trying again");
                }
            }
            Event::AuditFailed { stream, error } => {
                if let Some(more) = self.allow(event, stream, None) {
                    tracing::warn!(event.name = code, messaging.destination.name = %stream, more,
                        exception.message = %error, "comparing shards with leases failed, trying again");
                }
            }
            Event::ShardGone { stream, shard, position } => {
                line!(warn, stream, shard, { %position, },
                    "the stream does not know the shard any more: its lease is retired");
            }
            Event::LeaseLost { stream, shard, cause } => {
                self.left(stream, shard);
                line!(warn, stream, shard, { %cause, }, "lost a shard");
            }
            Event::ShardRestarted { stream, shard, error } => {
                line!(warn, stream, shard, { exception.message = %error, },
                    "the work on a shard ended, it begins anew");
            }
            Event::ForeignLease { lease } => {
                line!(
                    warn,
                    lease.stream,
                    lease.shard,
                    {},
                    "a lease of a stream that is not read here: it is given back"
                );
            }
            Event::DataLoss { stream, shard, from_millis, to_millis, halted } => {
                line!(warn, stream, shard, { from_millis, to_millis, halted, },
                    "records may have been trimmed before they were read");
            }
            Event::DataLossNear { stream, shard, until_loss } => {
                line!(warn, stream, shard, { ?until_loss, },
                    "records that are not done come near the end of the retention");
            }
            Event::ShardGivenBack { stream, shard, error } => {
                line!(warn, stream, shard, { exception.message = %error, }, "a shard goes to another worker");
            }
            Event::HolesFound { stream, holes, left } => {
                tracing::warn!(event.name = code, messaging.destination.name = %stream, ?holes, left,
                    "no lease covered some partition-key hashes");
            }
            Event::StreamReplaced { stream, by } => {
                tracing::warn!(event.name = code, messaging.destination.name = %stream, %by,
                    "a stream was deleted and made again: it is read from its oldest record");
            }
            Event::StreamAdded { stream } => {
                tracing::debug!(event.name = code, messaging.destination.name = %stream, "reads another stream");
            }
            Event::StreamRemoved { stream } => {
                tracing::debug!(event.name = code, messaging.destination.name = %stream, "reads a stream no more");
            }
            Event::ExportFailed { service, error } => {
                let limit = self.exports.entry(*service).or_default();
                if let Some(more) = limit.allow(Instant::now()) {
                    tracing::warn!(event.name = code, service = service.name(), more,
                        exception.message = %error, "metrics could not be sent, trying again");
                }
            }
            Event::ShardStalled { stream, shard, cause, lag } => {
                if let Some(more) = self.allow(event, stream, Some(shard)) {
                    line!(warn, stream, shard, { %cause, ?lag, more, }, "a shard makes no progress");
                }
            }
            Event::ShardRecovered { stream, shard, cause, lasted } => {
                line!(info, stream, shard, { %cause, ?lasted, }, "a shard makes progress again");
            }
            Event::OutageBegan { error } => {
                tracing::warn!(event.name = code, exception.message = %error,
                    "heartbeats do not arrive: handlers pause until they do");
            }
            Event::OutageEnded => {
                tracing::info!(event.name = code, "heartbeats arrive again: handlers go on");
            }
            Event::Fenced => {
                tracing::warn!(
                    event.name = code,
                    "this worker was declared dead by the others: it joins again"
                );
            }
            Event::HandedOver { stream, shard, position, to } => {
                self.left(stream, shard);
                let to = to.as_ref().map(tracing::field::display);
                line!(debug, stream, shard, { %position, to, }, "handed a shard over");
            }
            Event::ShardEnded { stream, shard, children } => {
                self.left(stream, shard);
                line!(debug, stream, shard, { ?children, }, "a shard is finished");
            }
            Event::ShardStarted { stream, shard, epoch, position } => {
                line!(debug, stream, shard, { %epoch, %position, }, "begins to work on a shard");
            }
            Event::Checkpointed { stream, shard, position } => {
                line!(debug, stream, shard, { %position, }, "stored a position");
            }
            Event::StartResolved { stream, position } => {
                tracing::debug!(event.name = code, messaging.destination.name = %stream, %position,
                    "the start position is known");
            }
            Event::LeasesCreated { stream, shards } => {
                tracing::debug!(event.name = code, messaging.destination.name = %stream,
                    shards = shards.len(), "shards got leases");
            }
            Event::MonitoringStarted { address } => {
                tracing::info!(event.name = code, %address, "probes and scrapers are answered");
            }
            Event::Joined { worker } => tracing::debug!(event.name = code, %worker, "joined the group"),
            Event::Stopped => tracing::debug!(event.name = code, "stopped"),
        }
    }
}

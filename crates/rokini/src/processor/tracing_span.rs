//! The tracing span of a batch, with the names that OpenTelemetry has for messaging.

use rokini_lease::StreamId;
use tracing::Span;
use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;

use super::shard_context::ShardContext;
use crate::types::record::Record;

/// A span for the handling of these records. Costs next to nothing where nobody collects spans.
pub(crate) fn of_batch(shard: &ShardContext, records: &[Record], attempt: u32) -> Span {
    // The macro looks at the fields first.
    if LevelFilter::current() < LevelFilter::INFO {
        return Span::none();
    }
    // OpenTelemetry has no unsigned numbers: they would arrive as text.
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let sequence = |record: Option<&Record>| record.map(|record| display(record.sequence_number));
    tracing::info_span!(
        "process",
        otel.name = format_args!("process {}", stream_name(shard.stream())),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "aws_kinesis",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = stream_name(shard.stream()),
        messaging.destination.partition.id = %shard.shard_id(),
        messaging.consumer.group.name = %shard.group(),
        messaging.client.id = %shard.worker().name,
        messaging.batch.message_count = signed(records.len() as u64),
        rokini.epoch = signed(shard.epoch().0),
        rokini.attempt = signed(u64::from(attempt)),
        rokini.sequence.first = sequence(records.first()),
        rokini.sequence.last = sequence(records.last()),
    )
}

/// What a failed call leaves on its span.
pub(super) fn mark_failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

/// The name in `<name>@<creation time>`.
fn stream_name(id: &StreamId) -> &str {
    let id = id.as_str();
    id.rsplit_once('@').map_or(id, |(name, _)| name)
}

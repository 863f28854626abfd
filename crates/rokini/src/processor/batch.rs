//! The records of one handler call.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rokini_lease::Epoch;
use tracing::Span;

use super::shard_context::ShardContext;
use crate::delivery::acks::{AckToken, TokenIssuer};
use crate::types::error::Error;
use crate::types::record::Record;

/// The records handed to user code in one call, in the order of their shard. Never empty.
///
/// Cheap to clone, and it may outlive the call: what is checkpointed by it then goes through as long as the lease
/// is held.
#[derive(Clone)]
pub struct Batch {
    pub(crate) records: Arc<Vec<Record>>,
    pub(crate) range: Range<usize>,
    pub(crate) shard: ShardContext,
    pub(crate) millis_behind_latest: u64,
    pub(crate) attempt: u32,
    pub(crate) tokens: TokenIssuer,
    pub(crate) span: Span,
}

impl Batch {
    /// The records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        // The range is made from these records.
        self.records.get(self.range.clone()).unwrap_or_default()
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is no record. Batches given to a handler have some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The records in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Record> {
        self.records().iter()
    }

    /// The shard they come from.
    #[must_use]
    pub fn shard(&self) -> &ShardContext {
        &self.shard
    }

    /// The fencing token: it is higher for each later holder of the shard. A system that remembers the highest
    /// one it has seen per shard can refuse writes of a holder that lost the shard.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shard.epoch()
    }

    /// How far the read that brought these records was behind the tip of the shard, in milliseconds. 0 at the
    /// tip.
    #[must_use]
    pub fn millis_behind_latest(&self) -> u64 {
        self.millis_behind_latest
    }

    /// 1 at the first try of these records, 2 after one failure, and so on.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// As [`ShardContext::is_current`].
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.shard.is_current()
    }

    /// As [`ShardContext::is_valid`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.shard.is_valid()
    }

    /// As [`ShardContext::cancelled`].
    pub async fn cancelled(&self) {
        self.shard.cancelled().await;
    }

    /// The tracing span of this call, in which the handler runs. For work that goes on elsewhere:
    /// `tokio::spawn(work.instrument(batch.span().clone()))`.
    ///
    /// It has the fields that OpenTelemetry names for messaging (`messaging.system = aws_kinesis`,
    /// `messaging.destination.name`, `messaging.destination.partition.id` (the shard),
    /// `messaging.consumer.group.name`, `messaging.client.id` (the worker), `messaging.batch.message_count`) and
    /// `rokini.epoch`, `rokini.attempt`, `rokini.sequence.first`, `rokini.sequence.last`; level INFO. Disabled, and
    /// without cost, where nobody collects spans.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// From now on each record is done when its token is acked, not when the handler returns `Ok`. For handlers that
    /// give records to others and return: the next batch comes while tokens are out, until `max_outstanding_records`
    /// or `max_outstanding_bytes` are.
    ///
    /// Acks may come in any order; the stored position is the end of the contiguous done prefix. A token that fails,
    /// is dropped, or is kept for longer than `handler_timeout` brings its record again, as the failure policy says,
    /// before any new record of its lane. When the handler returns an error or panics, the records that are not acked
    /// come again, and tokens of them have a say no more, except that they are done when acked after all.
    ///
    /// To be called before the handler returns, once: tokens taken a second time, by a clone, do nothing.
    #[must_use = "a record whose token is dropped comes again"]
    pub fn into_acks(self) -> IntoAcks {
        let tokens = self.tokens.each(self.shard.acks()).into_iter();
        IntoAcks { records: self.into_iter(), tokens }
    }

    /// One token for the whole batch; otherwise as [`Batch::into_acks`].
    pub fn ack_token(&self) -> AckToken {
        self.tokens.whole(self.shard.acks())
    }

    /// As [`ShardContext::checkpoint_at`].
    ///
    /// # Errors
    /// As [`ShardContext::checkpoint_at`].
    pub async fn checkpoint_at(&self, record: &Record) -> Result<(), Error> {
        self.shard.checkpoint_at(record).await
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("shard", &self.shard.shard_id())
            .field("epoch", &self.epoch())
            .field("records", &self.len())
            .field("first", &self.records().first().map(|record| record.sequence_number))
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Record;
    type IntoIter = std::slice::Iter<'a, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Batch {
    type Item = Record;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { records: self.records, range: self.range }
    }
}

/// The records of a batch, one by one. Sharing their data, not copying it.
#[derive(Debug)]
pub struct IntoIter {
    records: Arc<Vec<Record>>,
    range: Range<usize>,
}

impl Iterator for IntoIter {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.range.next().and_then(|index| self.records.get(index).cloned())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

/// The records of a batch with their ack tokens, one by one.
#[derive(Debug)]
pub struct IntoAcks {
    records: IntoIter,
    tokens: std::vec::IntoIter<AckToken>,
}

impl Iterator for IntoAcks {
    type Item = (Record, AckToken);

    fn next(&mut self) -> Option<Self::Item> {
        self.records.next().zip(self.tokens.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.tokens.size_hint()
    }
}

impl ExactSizeIterator for IntoAcks {}

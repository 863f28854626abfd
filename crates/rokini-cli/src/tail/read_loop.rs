//! Reads one shard to its end, or to its newest record, whatever fails on the way.

use std::sync::Arc;
use std::time::Duration;

use rokini::lease::{Position, ShardId};
use rokini::{Deaggregator, ErrorKind, KinesisSource, ReadResponse, StreamSource};
use rokini_types::Backoff;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// What the reader of a shard reports.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) shard: ShardId,
    pub(super) kind: UpdateKind,
}

#[derive(Debug)]
pub(super) enum UpdateKind {
    Read(ReadResponse),
    /// The shard cannot be read from where it was to begin.
    NoStart(Position, rokini::Error),
    /// The shard cannot be read any more.
    Gone(rokini::Error),
    /// A read failed and is tried again; reported once for several failures in a row.
    Retrying(rokini::Error),
    Failed(rokini::Error),
}

/// The pauses after reads that failed.
pub(super) const PAUSE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Reads one shard.
pub(super) struct ReadLoop {
    pub(super) source: Arc<KinesisSource>,
    pub(super) shard: ShardId,
    pub(super) updates: mpsc::Sender<Update>,
    pub(super) deaggregator: Option<Deaggregator>,
    /// Whether it is done once the newest record is read.
    pub(super) to_tip: bool,
    /// Bytes of one answer at most; `None` for what the stream gives.
    pub(super) answer_bytes: Option<usize>,
}

impl ReadLoop {
    /// Returns after the end, a failure, or when nobody listens any more.
    pub(super) async fn run(mut self, at: Position) {
        let mut reader = match self.source.open(&self.shard, &at).await {
            Ok(reader) => reader,
            Err(error) => return self.report(UpdateKind::Failed(error)).await,
        };
        let mut failures = 0_u32;
        let mut begun = !matches!(at, Position::Sequence(..));
        loop {
            if let Some(bytes) = self.answer_bytes {
                reader.read_at_most(bytes);
            }
            let mut response = match reader.next().await {
                Ok(response) => response,
                Err(error) if error.is_retryable() => {
                    failures = failures.saturating_add(1);
                    // Rate limits are shared with other consumers, so a few throttled reads are usual.
                    if failures == if error.kind() == ErrorKind::Throttled { 5 } else { 1 } {
                        self.report(UpdateKind::Retrying(error)).await;
                    }
                    sleep(PAUSE.delay(failures)).await;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Data && !begun => {
                    return self.report(UpdateKind::NoStart(at, error)).await;
                }
                Err(error) if error.kind() == ErrorKind::Data => {
                    return self.report(UpdateKind::Gone(error)).await;
                }
                Err(error) => return self.report(UpdateKind::Failed(error)).await,
            };
            (failures, begun) = (0, true);
            if let Some(deaggregator) = &mut self.deaggregator {
                response.records = deaggregator.unpack(response.records).records;
            }
            let done = response.end.is_some() || (self.to_tip && response.millis_behind_latest == 0);
            if !response.records.is_empty() || done {
                self.report(UpdateKind::Read(response)).await;
            }
            if done {
                return;
            }
        }
    }

    async fn report(&self, kind: UpdateKind) {
        // The receiver is gone once enough was written.
        let _ = self.updates.send(Update { shard: self.shard.clone(), kind }).await;
    }
}

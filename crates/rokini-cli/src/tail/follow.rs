//! Reads shards side by side and writes their records as they come.

use std::sync::Arc;
use std::time::Duration;

use rokini::lease::{Position, ShardId};
use rokini::{
    Deaggregator, ErrorKind, KinesisSource, ReadResponse, Record, ShardDescription, ShardReader,
    ShardSelection, StreamSource,
};
use rokini_types::Backoff;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::lineage::Lineage;
use crate::context::Context;
use crate::error::CliError;
use crate::line::{Format, Origin};
use crate::output::Output;

/// What to follow, and how far.
#[derive(Debug)]
pub(super) struct FollowOptions {
    pub(super) shards: Vec<ShardDescription>,
    /// Where these shards start; those that come later start at their oldest record.
    pub(super) at: Position,
    /// Whether to go on with the shards that come from these.
    pub(super) descend: bool,
    pub(super) format: Format,
    /// Whether aggregates stay as they are.
    pub(super) packed: bool,
    /// Whether each line begins with the sequence number.
    pub(super) sequence_numbers: bool,
    pub(super) count: Option<u64>,
    /// Whether a shard is done once its newest record is read.
    pub(super) to_tips: bool,
}

#[derive(Debug)]
pub(super) struct Follower {
    source: Arc<KinesisSource>,
    options: FollowOptions,
}

/// What the reader of a shard reports.
struct Update {
    shard: ShardId,
    kind: UpdateKind,
}

enum UpdateKind {
    Read(ReadResponse),
    /// The shard cannot be read any more.
    Gone(rokini::Error),
    /// A read failed and is tried again; reported once for several failures in a row.
    Retrying(rokini::Error),
    Failed(rokini::Error),
}

/// Responses that wait to be written, of all shards. Each may have 10 MB.
const QUEUED: usize = 4;
/// The pauses after reads that failed.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

impl Follower {
    pub(super) fn new(source: KinesisSource, options: FollowOptions) -> Self {
        Self { source: Arc::new(source), options }
    }

    /// Returns when nothing more can come or is wanted.
    pub(super) async fn run(mut self, output: &Output, context: &Context) -> Result<(), CliError> {
        let (sender, mut updates) = mpsc::channel(QUEUED);
        let mut tasks = JoinSet::new();
        let mut lineage = Lineage::default();
        lineage.add(std::mem::take(&mut self.options.shards));
        for shard in lineage.take_ready() {
            self.start(shard, self.options.at, &sender, &mut tasks);
        }
        let mut left = self.options.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Update { shard, kind } = tokio::select! {
                // What a task sent before it ended comes first.
                biased;
                Some(update) = updates.recv() => update,
                ended = tasks.join_next() => match ended {
                    Some(_) => continue,
                    None => return Ok(()),
                },
            };
            match kind {
                UpdateKind::Read(response) => {
                    left -= self.write(&shard, &response, left, output).await?;
                    let Some(end) = response.end else { continue };
                    lineage.ended(&shard);
                    if self.options.descend {
                        lineage.add(self.children(&shard, end.children).await?);
                    }
                    for child in lineage.take_ready() {
                        self.start(child, Position::TrimHorizon, &sender, &mut tasks);
                    }
                }
                UpdateKind::Gone(error) => {
                    context.ui.warn(format_args!("shard {shard} is passed over, the others go on: {error}"));
                    lineage.ended(&shard);
                    for child in lineage.take_ready() {
                        self.start(child, Position::TrimHorizon, &sender, &mut tasks);
                    }
                }
                UpdateKind::Retrying(error) => context.ui.warn(error),
                UpdateKind::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn start(&self, shard: ShardId, at: Position, sender: &mpsc::Sender<Update>, tasks: &mut JoinSet<()>) {
        let deaggregator = (!self.options.packed).then(|| Deaggregator::default().starting_at(at));
        let reader =
            ReadLoop { source: Arc::clone(&self.source), shard, sender: sender.clone(), deaggregator };
        tasks.spawn(reader.run(at, self.options.to_tips));
    }

    /// Writes at most `most` records and returns how many.
    async fn write(
        &self,
        shard: &ShardId,
        response: &ReadResponse,
        most: u64,
        output: &Output,
    ) -> Result<u64, CliError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let records = &response.records[..response.records.len().min(most)];
        if records.is_empty() {
            return Ok(0);
        }
        let origin = Origin { shard: shard.as_str(), lease: None };
        let mut lines = Vec::new();
        for record in records {
            if self.options.sequence_numbers {
                lines.extend(numbered(record).into_bytes());
                lines.push(b'\t');
            }
            self.options.format.write(record, origin, &mut lines);
        }
        output.write(lines).await?;
        Ok(records.len() as u64)
    }

    async fn children(
        &self,
        shard: &ShardId,
        listed: Vec<ShardDescription>,
    ) -> Result<Vec<ShardDescription>, CliError> {
        if !listed.is_empty() {
            return Ok(listed);
        }
        let mut all = self.source.list_shards(ShardSelection::All).await?;
        all.retain(|listed| listed.parents.contains(shard));
        Ok(all)
    }
}

/// `sequence`, or `sequence:sub` of a user record.
fn numbered(record: &Record) -> String {
    match record.sub_sequence_number {
        None => record.sequence_number.to_string(),
        Some(sub) => format!("{}:{sub}", record.sequence_number),
    }
}

/// Reads one shard.
struct ReadLoop {
    source: Arc<KinesisSource>,
    shard: ShardId,
    sender: mpsc::Sender<Update>,
    deaggregator: Option<Deaggregator>,
}

impl ReadLoop {
    async fn run(mut self, at: Position, to_tip: bool) {
        let mut reader = match self.source.open(&self.shard, &at).await {
            Ok(reader) => reader,
            Err(error) => return self.report(UpdateKind::Failed(error)).await,
        };
        let mut failures = 0_u32;
        loop {
            let mut response = match next(&mut *reader).await {
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
                Err(error) if error.kind() == ErrorKind::Data => {
                    return self.report(UpdateKind::Gone(error)).await;
                }
                Err(error) => return self.report(UpdateKind::Failed(error)).await,
            };
            failures = 0;
            if let Some(deaggregator) = &mut self.deaggregator {
                response.records = deaggregator.unpack(response.records).records;
            }
            let done = response.end.is_some() || (to_tip && response.millis_behind_latest == 0);
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
        let _ = self.sender.send(Update { shard: self.shard.clone(), kind }).await;
    }
}

async fn next(reader: &mut dyn ShardReader) -> Result<ReadResponse, rokini::Error> {
    reader.next().await
}

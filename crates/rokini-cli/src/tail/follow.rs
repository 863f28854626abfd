//! Reads shards side by side and writes their records as they come.

use std::sync::Arc;
use std::time::Duration;

use rokini::lease::{Position, ShardId};
use rokini::{
    ErrorKind, KinesisSource, ReadResponse, ShardDescription, ShardReader, ShardSelection, StreamSource,
};
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
pub(super) struct Follow {
    pub(super) shards: Vec<ShardDescription>,
    /// Where the shards begin that are there now; those that come later begin at their oldest record.
    pub(super) at: Position,
    /// Whether to go on with the shards that come from these.
    pub(super) descend: bool,
    pub(super) format: Format,
    pub(super) count: Option<u64>,
    /// Whether a shard is done at its tip.
    pub(super) to_tips: bool,
}

#[derive(Debug)]
pub(super) struct Follower {
    source: Arc<KinesisSource>,
    follow: Follow,
}

/// What a shard's task tells.
struct News {
    shard: ShardId,
    event: Event,
}

enum Event {
    ReadResponse(ReadResponse),
    /// It cannot be read any more.
    Gone(rokini::Error),
    /// A read failed and is tried again; told once in a row.
    Trouble(rokini::Error),
    Failed(rokini::Error),
}

/// Answers of shards that wait to be written. Each may have 10 MB.
const WAITING: usize = 4;
/// Pauses after reads that failed: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

impl Follower {
    pub(super) fn new(source: KinesisSource, follow: Follow) -> Self {
        Self { source: Arc::new(source), follow }
    }

    /// Returns when nothing more can come or is wanted.
    pub(super) async fn run(mut self, output: &Output, context: &Context) -> Result<(), CliError> {
        let (news, mut inbox) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let mut lineage = Lineage::default();
        lineage.add(std::mem::take(&mut self.follow.shards));
        for shard in lineage.take_ready() {
            self.start(shard, self.follow.at, &news, &mut tasks);
        }
        let mut left = self.follow.count.unwrap_or(u64::MAX);
        while left > 0 {
            let News { shard, event } = tokio::select! {
                // What a task sent before it ended comes first.
                biased;
                Some(news) = inbox.recv() => news,
                ended = tasks.join_next() => match ended {
                    Some(_) => continue,
                    None => return Ok(()),
                },
            };
            match event {
                Event::ReadResponse(fetched) => {
                    left -= self.write(&shard, &fetched, left, output).await?;
                    let Some(end) = fetched.end else { continue };
                    lineage.ended(&shard);
                    if self.follow.descend {
                        lineage.add(self.children(&shard, end.children).await?);
                    }
                    for child in lineage.take_ready() {
                        self.start(child, Position::TrimHorizon, &news, &mut tasks);
                    }
                }
                Event::Gone(error) => {
                    context.talk.warn(format_args!("{error}; the other shards go on"));
                    lineage.ended(&shard);
                    for child in lineage.take_ready() {
                        self.start(child, Position::TrimHorizon, &news, &mut tasks);
                    }
                }
                Event::Trouble(error) => context.talk.warn(error),
                Event::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn start(&self, shard: ShardId, at: Position, news: &mpsc::Sender<News>, tasks: &mut JoinSet<()>) {
        let task = Task { source: Arc::clone(&self.source), shard, news: news.clone() };
        tasks.spawn(task.run(at, self.follow.to_tips));
    }

    /// Writes at most `most` records and returns how many.
    async fn write(
        &self,
        shard: &ShardId,
        fetched: &ReadResponse,
        most: u64,
        output: &Output,
    ) -> Result<u64, CliError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let records = &fetched.records[..fetched.records.len().min(most)];
        if records.is_empty() {
            return Ok(0);
        }
        let origin = Origin { shard: shard.as_str(), hold: None };
        let mut lines = Vec::new();
        for record in records {
            self.follow.format.write(record, origin, &mut lines);
        }
        output.write(lines).await?;
        Ok(records.len() as u64)
    }

    async fn children(
        &self,
        shard: &ShardId,
        told: Vec<ShardDescription>,
    ) -> Result<Vec<ShardDescription>, CliError> {
        if !told.is_empty() {
            return Ok(told);
        }
        let mut all = self.source.list_shards(ShardSelection::All).await?;
        all.retain(|listed| listed.parents.contains(shard));
        Ok(all)
    }
}

/// Reads one shard.
struct Task {
    source: Arc<KinesisSource>,
    shard: ShardId,
    news: mpsc::Sender<News>,
}

impl Task {
    async fn run(self, at: Position, to_tip: bool) {
        let mut reader = match self.source.open(&self.shard, &at).await {
            Ok(reader) => reader,
            Err(error) => return self.tell(Event::Failed(error)).await,
        };
        let mut failures = 0_u32;
        loop {
            let fetched = match next(&mut *reader).await {
                Ok(fetched) => fetched,
                Err(error) if error.is_retryable() => {
                    let pause = PAUSE.0.saturating_mul(1 << failures.min(8)).min(PAUSE.1);
                    failures += 1;
                    // Rate limits are shared with other consumers: now and then one refusal is usual.
                    if failures == if error.kind() == ErrorKind::Throttled { 5 } else { 1 } {
                        self.tell(Event::Trouble(error)).await;
                    }
                    sleep(pause).await;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Data => return self.tell(Event::Gone(error)).await,
                Err(error) => return self.tell(Event::Failed(error)).await,
            };
            failures = 0;
            let done = fetched.end.is_some() || (to_tip && fetched.millis_behind_latest == 0);
            if !fetched.records.is_empty() || done {
                self.tell(Event::ReadResponse(fetched)).await;
            }
            if done {
                return;
            }
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens once enough was written.
        let _ = self.news.send(News { shard: self.shard.clone(), event }).await;
    }
}

async fn next(reader: &mut dyn ShardReader) -> Result<ReadResponse, rokini::Error> {
    reader.next().await
}

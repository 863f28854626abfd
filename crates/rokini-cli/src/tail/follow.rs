//! Reads shards side by side and writes their records as they come.

use std::collections::BTreeSet;
use std::sync::Arc;

use rokini::lease::{Position, ShardId};
use rokini::{
    Deaggregator, KinesisSource, ReadResponse, Record, ShardDescription, ShardSelection, StreamSource,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::decode::Content;
use super::lineage::Lineage;
use super::read_loop::{PAUSE, ReadLoop, Update, UpdateKind};
use super::select::{Selection, no_start};
use super::stats::Stats;
use crate::aws::{Aws, Service};
use crate::compression::{Compression, Decompress};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::line::{LineStyle, Origin};
use crate::output::Output;
use crate::text::first_names;

/// How far to read, and what is shown.
#[derive(Debug)]
pub(super) struct FollowOptions {
    pub(super) style: LineStyle,
    pub(super) decompress: Decompress,
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
    aws: Aws,
    source: Arc<KinesisSource>,
    options: FollowOptions,
    at: Position,
    /// Whether to go on with the shards that come from these.
    descend: bool,
    lineage: Lineage,
    lost: LostShards,
    pub(super) stats: Stats,
    /// What was said once already.
    warned: Warned,
}

#[derive(Debug, Default)]
struct Warned {
    packed: bool,
    broken: bool,
}

/// Where the way was lost.
#[derive(Debug, Default)]
struct LostShards {
    /// Shards that could not be read to their end, and the last reason.
    unread: BTreeSet<ShardId>,
    reason: Option<rokini::Error>,
    /// Shards that ended and from which no other is known to go on.
    ended: BTreeSet<ShardId>,
    /// Looks for those others so far, and when the next one is due.
    looks: u32,
    next_look: Option<Instant>,
}

/// Responses that wait to be written, of all shards. Each may have 10 MB.
const QUEUED: usize = 4;
/// Bytes of lines that wait for the rest of their response, about: unpacked, it can have a thousand times as many as it came with.
const HELD: usize = 1 << 20;
/// Looks for the shards that go on from one that ended: a listing may be late. With the pauses between them 15 s.
const LOOKS: u32 = 5;

impl Follower {
    pub(super) fn new(selection: Selection, options: FollowOptions) -> Self {
        let listed = selection.listed.iter().flatten().map(|shard| shard.id.clone());
        let mut lineage = Lineage::new(listed);
        lineage.add(selection.shards);
        Self {
            aws: selection.aws,
            source: Arc::new(selection.source),
            options,
            at: selection.at,
            descend: selection.listed.is_some(),
            lineage,
            lost: LostShards::default(),
            stats: Stats::default(),
            warned: Warned::default(),
        }
    }

    /// Returns when nothing more can come or is wanted.
    ///
    /// # Errors
    /// Also where no shard goes on from one that ended, so that records may come which nobody reads.
    pub(super) async fn run(&mut self, output: &Output, context: &Context) -> Result<(), CliError> {
        let (sender, mut updates) = mpsc::channel(QUEUED);
        let mut tasks = JoinSet::new();
        self.start(self.at, &sender, &mut tasks);
        let mut left = self.options.count.unwrap_or(u64::MAX);
        while left > 0 {
            let update = match updates.try_recv() {
                Ok(update) => update,
                Err(_) if tasks.is_empty() && self.lost.next_look.is_none() => return self.all_ended(),
                Err(_) => tokio::select! {
                    // What a task sent before it ended comes first.
                    biased;
                    Some(update) = updates.recv() => update,
                    Some(_) = tasks.join_next() => continue,
                    () = due(self.lost.next_look) => {
                        self.look(Vec::new(), context).await?;
                        self.start(Position::TrimHorizon, &sender, &mut tasks);
                        continue;
                    }
                },
            };
            let Update { shard, kind } = update;
            match kind {
                UpdateKind::Read(response) => {
                    left -= self.write(&shard, &response, left, output, context).await?;
                    let Some(end) = response.end else { continue };
                    self.ended(shard, end.children, context).await?;
                    self.start(Position::TrimHorizon, &sender, &mut tasks);
                }
                UpdateKind::NoStart(at, error) => return Err(no_start(&shard, at, &error)),
                UpdateKind::Gone(error) => {
                    context.ui.warn(format_args!("shard {shard} cannot be read any further: {error}"));
                    self.lost.unread.insert(shard.clone());
                    self.lost.reason = Some(error);
                    self.ended(shard, Vec::new(), context).await?;
                    self.start(Position::TrimHorizon, &sender, &mut tasks);
                }
                UpdateKind::Retrying(error) => context.ui.warn(error),
                UpdateKind::Failed(error) => return Err(self.aws.explain(error, Service::Kinesis)),
            }
        }
        Ok(())
    }

    /// Starts reading what can be read now.
    fn start(&mut self, at: Position, updates: &mpsc::Sender<Update>, tasks: &mut JoinSet<()>) {
        for shard in self.lineage.take_ready() {
            let reader = ReadLoop {
                source: Arc::clone(&self.source),
                shard,
                updates: updates.clone(),
                deaggregator: (!self.options.packed).then(|| Deaggregator::default().starting_at(at)),
                to_tip: self.options.to_tips,
                answer_bytes: None,
            };
            tasks.spawn(reader.run(at));
        }
    }

    async fn ended(
        &mut self,
        shard: ShardId,
        children: Vec<ShardDescription>,
        context: &Context,
    ) -> Result<(), CliError> {
        self.lineage.ended(&shard);
        if !self.descend {
            return Ok(());
        }
        self.lost.ended.insert(shard);
        self.lost.looks = 0;
        self.look(children, context).await
    }

    /// Looks for the shards that go on from those that ended: among these, and in the listing where they do not suffice.
    async fn look(&mut self, known: Vec<ShardDescription>, context: &Context) -> Result<(), CliError> {
        self.lineage.add(known);
        self.lost.ended.retain(|ended| !self.lineage.goes_on(ended));
        if !self.lost.ended.is_empty() {
            self.lost.looks += 1;
            match self.source.list_shards(ShardSelection::All).await {
                Ok(listed) => {
                    let found = self.lineage.successors(listed);
                    self.lineage.add(found);
                }
                Err(error) if error.is_retryable() => context.ui.warn(error),
                Err(error) => return Err(self.aws.explain(error, Service::Kinesis)),
            }
            self.lost.ended.retain(|ended| !self.lineage.goes_on(ended));
        }
        if self.lost.ended.is_empty() {
            self.lost.next_look = None;
        } else if self.lost.looks > LOOKS {
            return Err(self.nothing_goes_on());
        } else {
            self.lost.next_look = Some(Instant::now() + PAUSE.delay(self.lost.looks));
        }
        Ok(())
    }

    fn nothing_goes_on(&self) -> CliError {
        let what = format!(
            "no shard goes on from what ended ({}), so newer records would be missed",
            first_names(self.lost.ended.iter())
        );
        let next = "`rokini stream describe STREAM --all` shows its shards; begin again with `--from` where this ended";
        let error = CliError::new(Status::FAILED, what).next(next);
        match &self.lost.reason {
            Some(reason) => error.because(reason),
            None => error,
        }
    }

    /// Every shard was read as far as was asked for, but for those that were not.
    fn all_ended(&self) -> Result<(), CliError> {
        self.unread()?;
        let is_over = self.options.to_tips || !self.descend;
        if is_over { Ok(()) } else { Err(self.nothing_goes_on()) }
    }

    /// # Errors
    /// When a shard could not be read to its end.
    pub(super) fn unread(&self) -> Result<(), CliError> {
        if self.lost.unread.is_empty() {
            return Ok(());
        }
        let what =
            format!("not every record was read: shard {} ended early", first_names(self.lost.unread.iter()));
        let error = CliError::new(Status::FAILED, what)
            .next("records past the retention are gone; the others are read by `--from trim_horizon`");
        Err(match &self.lost.reason {
            Some(reason) => error.because(reason),
            None => error,
        })
    }

    /// Writes at most `most` records and returns how many.
    async fn write(
        &mut self,
        shard: &ShardId,
        response: &ReadResponse,
        most: u64,
        output: &Output,
        context: &Context,
    ) -> Result<u64, CliError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let records = &response.records[..response.records.len().min(most)];
        self.stats.add(shard, records, response);
        if records.is_empty() {
            return Ok(0);
        }
        let FollowOptions { style, sequence_numbers, .. } = self.options;
        let origin = Origin { shard: shard.as_str(), lease: None };
        let mut lines = Vec::new();
        for record in records {
            let content = self.content(shard, record, context);
            for payload in content.payloads(record) {
                if sequence_numbers {
                    lines.extend(numbered(record).into_bytes());
                    lines.push(b'\t');
                }
                style.write(record, payload, origin, &mut lines);
                if lines.len() > HELD {
                    output.write(std::mem::take(&mut lines)).await?;
                }
            }
        }
        output.write(lines).await?;
        Ok(records.len() as u64)
    }

    /// What is to be shown of a record; what seems amiss is said once.
    fn content(&mut self, shard: &ShardId, record: &Record, context: &Context) -> Content {
        let FollowOptions { style, decompress, .. } = self.options;
        if decompress == Decompress::None
            && style.for_terminal
            && let Some(found) = Compression::of(record.data())
            && !std::mem::replace(&mut self.warned.packed, true)
        {
            context.ui.warn(format_args!(
                "records are packed by {}: `--decompress auto` unpacks them",
                found.name()
            ));
        }
        Content::of(record, decompress).unwrap_or_else(|error| {
            if !std::mem::replace(&mut self.warned.broken, true) {
                let number = numbered(record);
                context.ui.warn(format_args!(
                    "record {number} of {shard} looks compressed and cannot be unpacked, so it is shown as it came: {error}"
                ));
            }
            Content::AsItCame
        })
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// `sequence`, or `sequence:sub` of a user record.
fn numbered(record: &Record) -> String {
    match record.sub_sequence_number {
        None => record.sequence_number.to_string(),
        Some(sub) => format!("{}:{sub}", record.sequence_number),
    }
}

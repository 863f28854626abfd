//! The records of all shards in the order of their times, as far as each shard keeps it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rokini::lease::{HashRange, Position, ShardId};
use rokini::{KinesisSource, Record, ShardDescription, ShardSelection, StreamSource};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lineage::Lineage;
use super::read_loop::{ReadLoop, Update, UpdateKind};
use super::select::{Selection, no_start};
use crate::aws::{Aws, Service};
use crate::context::Context;
use crate::error::{CliError, Status};

/// Bytes of one answer. Of each shard up to three are in memory.
const ANSWER_BYTES: usize = 1 << 20;

/// Reads all shards to their newest record.
pub(super) struct Merge {
    aws: Aws,
    source: Arc<KinesisSource>,
    lineage: Lineage,
    descend: bool,
    heads: BTreeMap<ShardId, Head>,
    tasks: JoinSet<()>,
}

/// What is read of a shard and not handed out.
struct Head {
    updates: mpsc::Receiver<Update>,
    records: VecDeque<Record>,
    /// Set with the last records: the children of a shard that ended.
    last: Option<Option<Vec<ShardDescription>>>,
}

impl Merge {
    pub(super) fn new(selection: Selection) -> Self {
        let listed = selection.listed.iter().flatten().map(|shard| shard.id.clone());
        let mut lineage = Lineage::new(listed);
        lineage.add(selection.shards);
        let mut merge = Self {
            aws: selection.aws,
            source: Arc::new(selection.source),
            lineage,
            descend: selection.listed.is_some(),
            heads: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        merge.start(selection.at);
        merge
    }

    fn start(&mut self, at: Position) {
        for shard in self.lineage.take_ready() {
            let (sender, updates) = mpsc::channel(1);
            let reader = ReadLoop {
                source: Arc::clone(&self.source),
                shard: shard.clone(),
                updates: sender,
                deaggregator: None,
                to_tip: true,
                answer_bytes: Some(ANSWER_BYTES),
            };
            self.tasks.spawn(reader.run(at));
            self.heads.insert(shard, Head { updates, records: VecDeque::new(), last: None });
        }
    }

    /// The next records of one shard: those that are older than any of another. `None` when all are read.
    ///
    /// # Errors
    /// When a shard cannot be read to its end.
    pub(super) async fn next(&mut self, context: &Context) -> Result<Option<Run>, CliError> {
        self.fill(context).await?;
        let mut times: Vec<(u64, &ShardId)> = self
            .heads
            .iter()
            .filter_map(|(id, head)| Some((head.records.front()?.arrival_millis, id)))
            .collect();
        times.sort_unstable();
        let Some((_, shard)) = times.first() else { return Ok(None) };
        let shard = (*shard).clone();
        let until = times.get(1).map_or(u64::MAX, |(time, _)| *time);
        let Some(head) = self.heads.get_mut(&shard) else { return Ok(None) };
        let mut records = Vec::new();
        while let Some(record) = head.records.pop_front() {
            records.push(record);
            if head.records.front().is_some_and(|next| next.arrival_millis > until) {
                break;
            }
        }
        let range = self.lineage.range(&shard);
        Ok(Some(Run { shard, range, records }))
    }

    /// Waits until each shard that is read has records, and takes out those that have no more.
    async fn fill(&mut self, context: &Context) -> Result<(), CliError> {
        while let Some(shard) =
            self.heads.iter().find(|(_, head)| head.records.is_empty()).map(|(id, _)| id.clone())
        {
            let Some(head) = self.heads.get_mut(&shard) else { continue };
            if let Some(last) = head.last.take() {
                self.heads.remove(&shard);
                if let Some(children) = last {
                    self.ended(&shard, children).await?;
                }
                continue;
            }
            match head.updates.recv().await.map(|update| update.kind) {
                Some(UpdateKind::Read(response)) => {
                    let is_last = response.end.is_some() || response.millis_behind_latest == 0;
                    head.last = is_last.then(|| response.end.map(|end| end.children));
                    head.records = response.records.into();
                }
                Some(UpdateKind::Retrying(error)) => context.ui.warn(error),
                Some(UpdateKind::NoStart(at, error)) => return Err(no_start(&shard, at, &error)),
                Some(UpdateKind::Gone(error) | UpdateKind::Failed(error)) => {
                    return Err(self.aws.explain(error, Service::Kinesis));
                }
                None => {
                    let what = format!("the reader of shard {shard} ended before the shard");
                    return Err(CliError::new(Status::DEFECT, what).next("report this"));
                }
            }
        }
        Ok(())
    }

    async fn ended(&mut self, shard: &ShardId, children: Vec<ShardDescription>) -> Result<(), CliError> {
        self.lineage.ended(shard);
        if !self.descend {
            return Ok(());
        }
        self.lineage.add(children);
        if !self.lineage.goes_on(shard) {
            let listed = self.source.list_shards(ShardSelection::All).await;
            let listed = listed.map_err(|error| self.aws.explain(error, Service::Kinesis))?;
            let found = self.lineage.successors(listed);
            self.lineage.add(found);
        }
        if !self.lineage.goes_on(shard) {
            let what = format!("no shard goes on from {shard}, which ended, so newer records are missed");
            return Err(CliError::new(Status::FAILED, what)
                .next("`rokini stream describe STREAM --all` shows its shards; run it again"));
        }
        self.start(Position::TrimHorizon);
        Ok(())
    }
}

/// Records of one shard, in order.
pub(super) struct Run {
    pub(super) shard: ShardId,
    pub(super) range: Option<HashRange>,
    pub(super) records: Vec<Record>,
}

//! Records to lines: a record is done once its line is flushed, and, in a pipe, taken by the reader.

use rokini::{Batch, HandlerError, RecordProcessor, ShardContext};

use super::chaos::Chaos;
use super::pipe_acks::PipeAcks;
use crate::line::{LineStyle, Origin, Payload};
use crate::output::Output;
use crate::ui::Ui;

/// How much is written and flushed at once.
const CHUNK: usize = 256 << 10;

/// What the writers of all shards share.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) style: LineStyle,
    pub(super) output: Output,
    pub(super) ui: Ui,
    pub(super) chaos: bool,
    /// Where it can be told what the reader has taken.
    pub(super) acks: Option<PipeAcks>,
}

/// Writes the records of one shard.
pub(super) struct LineWriter {
    worker: String,
    lines: Lines,
    chaos: Option<Chaos>,
}

impl LineWriter {
    pub(super) fn new(shard: &ShardContext, lines: Lines) -> Self {
        let chaos = lines.chaos.then(|| Chaos::new(rand::random()));
        Self { worker: shard.worker().name.to_string(), lines, chaos }
    }
}

impl RecordProcessor for LineWriter {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        if let Some(chaos) = &mut self.chaos {
            chaos.apply().await?;
        }
        let Lines { style, output, ui, acks, .. } = &self.lines;
        let (shard, epoch) = (batch.shard().clone(), batch.epoch().0);
        let origin = Origin { shard: shard.shard_id().as_str(), lease: Some((self.worker.as_str(), epoch)) };
        let records = batch.clone();
        let mut tokens = acks.as_ref().map(|acks| (acks, batch.into_acks()));
        // The lengths of the lines that are not written yet.
        let (mut lines, mut ends, mut flushed) = (Vec::new(), Vec::new(), 0_usize);
        for (index, record) in records.iter().enumerate() {
            style.write(record, Payload::of(record), origin, &mut lines);
            ends.push(lines.len() as u64);
            if lines.len() < CHUNK && index + 1 < records.len() {
                continue;
            }
            match output.write_through(std::mem::take(&mut lines)).await {
                Ok(end) => {
                    let start = end - ends.last().copied().unwrap_or_default();
                    let ends = ends.drain(..).map(|end| start + end);
                    if let Some((acks, tokens)) = &mut tokens {
                        acks.add(ends.zip(tokens.by_ref().map(|(_, token)| token)));
                    }
                }
                Err(error) => {
                    // What is flushed, or was taken, does not come again.
                    let last = flushed.checked_sub(1).and_then(|last| records.records().get(last));
                    match (&tokens, last) {
                        (Some((acks, _)), _) => drop(acks.settle(output)),
                        (None, Some(last)) => records.checkpoint_at(last).await?,
                        (None, None) => {}
                    }
                    if error.reader_gone {
                        ui.mute_logs();
                    }
                    return Err(error.what.into());
                }
            }
            flushed = index + 1;
        }
        Ok(())
    }
}

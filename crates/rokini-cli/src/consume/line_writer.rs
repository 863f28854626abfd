//! Records to lines: a record is done once its line is flushed.

use rokini::{Batch, HandlerError, RecordProcessor, ShardContext};

use super::chaos::Chaos;
use crate::line::{Format, Origin};
use crate::output::Output;
use crate::ui::Ui;

/// How much is written and flushed at once.
const CHUNK: usize = 256 << 10;

/// Writes the records of one shard.
pub(super) struct LineWriter {
    worker: String,
    format: Format,
    output: Output,
    ui: Ui,
    chaos: Option<Chaos>,
}

impl LineWriter {
    pub(super) fn new(shard: &ShardContext, format: Format, output: Output, ui: Ui, chaos: bool) -> Self {
        let chaos = chaos.then(|| Chaos::new(rand::random()));
        Self { worker: shard.worker().name.to_string(), format, output, ui, chaos }
    }
}

impl RecordProcessor for LineWriter {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        if let Some(chaos) = &mut self.chaos {
            chaos.apply().await?;
        }
        let origin = Origin {
            shard: batch.shard().shard_id().as_str(),
            lease: Some((self.worker.as_str(), batch.epoch().0)),
        };
        let records = batch.records();
        let (mut lines, mut flushed) = (Vec::new(), 0_usize);
        for (index, record) in records.iter().enumerate() {
            self.format.write(record, origin, &mut lines);
            if lines.len() < CHUNK && index + 1 < records.len() {
                continue;
            }
            if let Err(error) = self.output.write(std::mem::take(&mut lines)).await {
                if let Some(last) = flushed.checked_sub(1).and_then(|last| records.get(last)) {
                    // What is flushed does not come again.
                    batch.checkpoint_at(last).await?;
                }
                if error.reader_gone {
                    self.ui.mute_logs();
                }
                return Err(error.what.into());
            }
            flushed = index + 1;
        }
        Ok(())
    }
}

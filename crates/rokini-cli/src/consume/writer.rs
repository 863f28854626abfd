//! Records to lines: a record is done once its line is flushed.

use rokini::{Batch, HandlerError, RecordProcessor, ShardContext};

use super::trouble::Trouble;
use crate::line::{Format, Origin};
use crate::output::Output;
use crate::talk::Talk;

/// How much is written and flushed at once.
const CHUNK: usize = 256 << 10;

/// Writes the records of one shard.
pub(super) struct Writer {
    worker: String,
    format: Format,
    output: Output,
    talk: Talk,
    trouble: Option<Trouble>,
}

impl Writer {
    pub(super) fn new(
        shard: &ShardContext,
        format: Format,
        output: Output,
        talk: Talk,
        trouble: bool,
    ) -> Self {
        let trouble = trouble.then(|| Trouble::new(rand::random()));
        Self { worker: shard.worker().name.to_string(), format, output, talk, trouble }
    }
}

impl RecordProcessor for Writer {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        if let Some(trouble) = &mut self.trouble {
            trouble.befall().await?;
        }
        let origin = Origin {
            shard: batch.shard().shard_id().as_str(),
            hold: Some((self.worker.as_str(), batch.epoch().0)),
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
                    self.talk.hush();
                }
                return Err(error.what.into());
            }
            flushed = index + 1;
        }
        Ok(())
    }
}

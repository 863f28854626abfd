//! Makes the processors of shards.

use std::fmt;
use std::sync::Arc;

use super::erased::ErasedProcessor;
use super::record_processor::RecordProcessor;
use super::shard_context::ShardContext;

type Make = dyn Fn(&ShardContext) -> Box<dyn ErasedProcessor> + Send + Sync;

/// Makes the processor of a shard, one for each lane.
#[derive(Clone)]
pub(crate) struct Factory {
    make: Arc<Make>,
    /// Records in one call; `None` for as many as one read brought.
    pub(crate) records_per_call: Option<usize>,
}

impl Factory {
    pub(crate) fn new<P: RecordProcessor>(
        records_per_call: Option<usize>,
        make: impl Fn(&ShardContext) -> P + Send + Sync + 'static,
    ) -> Self {
        Self { make: Arc::new(move |shard| Box::new(make(shard))), records_per_call }
    }

    pub(crate) fn make(&self, shard: &ShardContext) -> Box<dyn ErasedProcessor> {
        (self.make)(shard)
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Factory")
    }
}

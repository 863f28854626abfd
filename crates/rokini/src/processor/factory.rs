//! Makes the processors of shards.

use std::fmt;
use std::sync::Arc;

use super::closure::ForEach;
use super::erased::ErasedProcessor;
use super::record_processor::RecordProcessor;
use super::shard_context::ShardContext;
use crate::types::failure::HandlerError;
use crate::types::record::Record;

type Make = dyn Fn(&ShardContext) -> Box<dyn ErasedProcessor> + Send + Sync;

/// Makes the processor of a shard, one for each lane.
#[derive(Clone)]
pub(crate) struct Factory {
    make: Arc<Make>,
    /// Whether its processors see the records of a call one by one.
    pub(crate) one_by_one: bool,
}

impl Factory {
    pub(crate) fn new<P: RecordProcessor>(make: impl Fn(&ShardContext) -> P + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(move |shard| Box::new(make(shard))), one_by_one: false }
    }

    pub(crate) fn for_each<F, Fut>(handle: F) -> Self
    where
        F: Fn(Record) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let handle = Arc::new(handle);
        Self { one_by_one: true, ..Self::new(move |_| ForEach(Arc::clone(&handle))) }
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

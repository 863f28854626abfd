//! Closures as processors.

use std::future::Future;
use std::sync::Arc;

use super::batch::Batch;
use super::one_by_one::one_by_one;
use super::record_processor::RecordProcessor;
use crate::types::failure::HandlerError;
use crate::types::record::Record;

/// One call of the closure per record.
pub(crate) struct ForEach<F>(pub(crate) Arc<F>);

impl<F, Fut> RecordProcessor for ForEach<F>
where
    F: Fn(Record) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send,
{
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        one_by_one(batch, |record| (self.0)(record)).await
    }
}

/// One call per batch.
pub(crate) struct ForEachBatch<F>(pub(crate) Arc<F>);

impl<F, Fut> RecordProcessor for ForEachBatch<F>
where
    F: Fn(Batch) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send,
{
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        (self.0)(batch).await
    }
}

//! What users implement.

use std::future::Future;

use rokini_lease::LeaseLostReason;

use super::batch::Batch;
use super::shard_context::ShardContext;
use crate::types::failure::HandlerError;

/// Processes the records of one shard.
///
/// There is one processor per hold of a shard's lease, made by the function given to
/// [`ConsumerBuilder::processor`](crate::ConsumerBuilder::processor); with `concurrency` there are so many, each
/// with the records of its own partition keys ([`ShardContext::lane`]). The methods of one are never called at the
/// same time. Write them as `async fn`:
///
/// ```
/// use rokini::{Batch, HandlerError, RecordProcessor, ShardContext};
///
/// struct Count(usize);
///
/// impl RecordProcessor for Count {
///     async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
///         self.0 += batch.len();
///         println!("{} records of {}", self.0, batch.shard().shard_id());
///         Ok(())
///     }
/// }
/// ```
///
/// A method that returns an error, panics, or takes longer than `handler_timeout` is called again with the same
/// records after a back-off of 100 ms doubling up to 8 s, on the same processor, for ever or as
/// [`OnFailure`](crate::OnFailure) says; other shards go on. A method that takes too long, and one that runs when the
/// lease is lost or a shutdown's deadline comes, is dropped at an `await`. Code that blocks its thread without an `await`
/// cannot be stopped: move it to `tokio::task::spawn_blocking`.
pub trait RecordProcessor: Send + 'static {
    /// Called once before the first records, and again after a failure. The records that come are those after
    /// [`ShardContext::position`].
    fn init(&mut self, shard: &ShardContext) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = shard;
        async { Ok(()) }
    }

    /// Called with records in the order of the shard, each batch after the one before is done. Never called with
    /// an empty batch. The lease was valid when the call began.
    ///
    /// With automatic checkpoints `Ok` means that every record of the batch is done. After a failure those
    /// records come again that were not checkpointed; a record can come twice, never be left out.
    fn process(&mut self, batch: Batch) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Called when the lease is lost while this processor has it. Nothing can be stored any more; another worker
    /// may have the shard already. Called once, also when it fails. A `process` call that runs then sees
    /// [`Batch::cancelled`] and has 5 s to return.
    fn lease_lost(
        &mut self,
        shard: &ShardContext,
        cause: LeaseLostReason,
    ) -> impl Future<Output = ()> + Send {
        let _ = (shard, cause);
        async {}
    }

    /// Called when every record of a closed shard is done. `Ok` means that the shard is finished, and with manual
    /// checkpoints that every record is done, checkpointed or not. It need not do anything: the library stores
    /// the end and goes on with the children. May be called again when storing the end fails. With ack tokens it is
    /// called once every record was handed out; the end is stored when all are acked, and when one comes again, this
    /// does too.
    fn shard_ended(&mut self, shard: &ShardContext) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = shard;
        async { Ok(()) }
    }

    /// Called when the shard leaves this worker in order: the consumer stops, or another worker takes its share.
    /// The last chance to checkpoint. No `process` call runs, none follows. Called once, also when it fails. Ack tokens
    /// that are out after it are waited for.
    fn shutdown_requested(
        &mut self,
        shard: &ShardContext,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = shard;
        async { Ok(()) }
    }
}

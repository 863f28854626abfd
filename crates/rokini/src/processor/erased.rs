//! Processors behind one type, and calls into user code that cannot take the task down with them.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::FutureExt;
use rokini_lease::{LeaseLostReason, panic_message};
use tokio::time::timeout;
use tracing::Instrument;

use super::batch::Batch;
use super::record_processor::RecordProcessor;
use super::shard_context::ShardContext;
use super::tracing_span;
use crate::types::error::with_causes;
use crate::types::failure::{HandlerError, HandlerFailure};

type Call<'a, T = Result<(), HandlerError>> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`RecordProcessor`] as an object.
pub(crate) trait ErasedProcessor: Send {
    fn init<'a>(&'a mut self, shard: &'a ShardContext) -> Call<'a>;
    fn process(&mut self, batch: Batch) -> Call<'_>;
    fn lease_lost<'a>(&'a mut self, shard: &'a ShardContext, cause: LeaseLostReason) -> Call<'a, ()>;
    fn shard_ended<'a>(&'a mut self, shard: &'a ShardContext) -> Call<'a>;
    fn shutdown_requested<'a>(&'a mut self, shard: &'a ShardContext) -> Call<'a>;
}

impl<P: RecordProcessor> ErasedProcessor for P {
    fn init<'a>(&'a mut self, shard: &'a ShardContext) -> Call<'a> {
        Box::pin(RecordProcessor::init(self, shard))
    }

    fn process(&mut self, batch: Batch) -> Call<'_> {
        let span = batch.span().clone();
        if span.is_disabled() {
            return Box::pin(RecordProcessor::process(self, batch));
        }
        let of_call = span.clone();
        let call = async move {
            let result = RecordProcessor::process(self, batch).await;
            if result.is_err() {
                tracing_span::mark_failed(&of_call);
            }
            result
        };
        Box::pin(call.instrument(span))
    }

    fn lease_lost<'a>(&'a mut self, shard: &'a ShardContext, cause: LeaseLostReason) -> Call<'a, ()> {
        Box::pin(RecordProcessor::lease_lost(self, shard, cause))
    }

    fn shard_ended<'a>(&'a mut self, shard: &'a ShardContext) -> Call<'a> {
        Box::pin(RecordProcessor::shard_ended(self, shard))
    }

    fn shutdown_requested<'a>(&'a mut self, shard: &'a ShardContext) -> Call<'a> {
        Box::pin(RecordProcessor::shutdown_requested(self, shard))
    }
}

/// Runs a call into user code: errors, panics and, with a limit, calls that take too long are all failures.
/// The call is made at once, so that what it is given need not be kept here.
pub(crate) fn guarded<T, F: Future<Output = Result<T, HandlerError>>>(
    limit: Option<Duration>,
    make: impl FnOnce() -> F,
) -> impl Future<Output = Result<T, HandlerFailure>> {
    let made = catch_unwind(AssertUnwindSafe(make));
    async move {
        let returned = match made {
            Ok(call) => {
                // Pinned once: kept for both cases it would be twice as large.
                let call = pin!(AssertUnwindSafe(call).catch_unwind());
                match limit {
                    // Apart, so that calls without a limit are small: they are moved.
                    Some(limit) => {
                        Box::pin(timeout(limit, call)).await.map_err(|_| HandlerFailure::Timeout(limit))?
                    }
                    None => call.await,
                }
            }
            Err(panic) => Err(panic),
        };
        match returned {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(HandlerFailure::Error(with_causes(&*error))),
            Err(panic) => Err(HandlerFailure::Panic(panic_message(&*panic))),
        }
    }
}

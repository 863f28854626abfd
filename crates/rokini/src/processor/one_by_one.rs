//! The records of a call one by one, for user code that wants to see them so.
//!
//! What a call costs is more than what many a record costs, so records that are handled without waiting share one. Each counts as
//! done by itself: if one fails, those before it are done and those after it have not been tried.

use std::future::poll_fn;
use std::pin::pin;
use std::slice;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::batch::Batch;
use super::tracing_span;
use crate::types::failure::HandlerError;
use crate::types::record::Record;

/// The most records of one call. Some of them may have to be put back.
pub(crate) const RECORDS_PER_CALL: usize = 100;

/// A call takes no further record after so long: whether the lease may be used is looked at between calls.
const LONGEST: Duration = Duration::from_micros(100);

/// Gives `handle` one record after the other, up to one that it waits with, or that fails.
pub(super) async fn one_by_one<Fut>(batch: Batch, handle: impl Fn(Record) -> Fut) -> Result<(), HandlerError>
where
    Fut: Future<Output = Result<(), HandlerError>>,
{
    let begun = Instant::now();
    let (shard, attempt, marks) = (batch.shard.clone(), batch.attempt, batch.tokens.marks.clone());
    for record in batch {
        let span = tracing_span::of_batch(&shard, slice::from_ref(&record), attempt);
        let (result, waited) = if span.is_disabled() {
            noting_waits(handle(record)).await
        } else {
            let call = span.in_scope(|| handle(record));
            noting_waits(call.instrument(span.clone())).await
        };
        if result.is_err() {
            tracing_span::mark_failed(&span);
            return result;
        }
        marks.one_done();
        if waited || begun.elapsed() >= LONGEST {
            break;
        }
    }
    Ok(())
}

/// What a call returns, and whether it waited for something.
async fn noting_waits<T>(call: impl Future<Output = T>) -> (T, bool) {
    let (mut call, mut waited) = (pin!(call), false);
    let returned = poll_fn(|cx| {
        let polled = call.as_mut().poll(cx);
        waited |= polled.is_pending();
        polled
    })
    .await;
    (returned, waited)
}

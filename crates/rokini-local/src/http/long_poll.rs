//! Calls that wait for a record: of a queue, until one is visible or the time they give is over.

use std::time::Duration;

use rokini_wire::{AnyRequest, AnyResponse};
use tokio::time::Instant;

use crate::http::backend::Backend;

/// How long such a call waits unless it says otherwise, as the service documents.
const DEFAULT_WAIT_SECS: i32 = 9;

/// The queue a call may wait for, and until when. The time is that of the machine, as the caller's own time limit is.
pub(crate) fn waits_for(request: &AnyRequest) -> Option<(&str, Instant)> {
    let (arn, secs) = match request {
        AnyRequest::ReceiveQueueRecords(request) => (&request.queue_arn, request.wait_time_seconds),
        AnyRequest::ReceiveDeadLetterQueueRecords(request) => (&request.queue_arn, request.wait_time_seconds),
        _ => return None,
    };
    let secs = u64::try_from(secs.unwrap_or(DEFAULT_WAIT_SECS)).unwrap_or(0);
    Some((arn, Instant::now() + Duration::from_secs(secs)))
}

/// Whether an answer is worth waiting on for a better one.
pub(crate) fn is_empty(response: &AnyResponse) -> bool {
    match response {
        AnyResponse::ReceiveQueueRecords(received) | AnyResponse::ReceiveDeadLetterQueueRecords(received) => {
            received.queue_records.is_empty()
        }
        _ => false,
    }
}

impl Backend {
    /// Asks until the answer is not empty, the time is over, or the server stops.
    pub(crate) async fn ask_until<T, E>(
        &self,
        (arn, deadline): (&str, Instant),
        empty: impl Fn(&T) -> bool,
        ask: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        let stream = self.service.with_model(|model, now| model.stream_of_queue(now, arn));
        // A queue that is not there is answered at once.
        let mut changes = self.service.changes_of(&stream.unwrap_or_default());
        loop {
            // Seen before the model is asked: a change after the question wakes the wait.
            changes.borrow_and_update();
            let answer = ask()?;
            if !empty(&answer) || Instant::now() >= deadline || self.stop.is_cancelled() {
                return Ok(answer);
            }
            let wakes = self.service.with_model(|model, now| {
                model.queue_wakes(now, arn).map(|time| time.millis_since(now).cast_unsigned().max(1))
            });
            let wakes =
                wakes.map_or(deadline, |millis| deadline.min(Instant::now() + Duration::from_millis(millis)));
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(wakes) => {}
            }
        }
    }
}

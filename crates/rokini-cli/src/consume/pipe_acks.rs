//! Records in a pipe: done once its reader has taken them out of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini::AckToken;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::output::Output;

/// No event says that a pipe is being read, so it is looked at, soon after a write and then more rarely.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Where the lines of records end in standard output, with what says that they are done.
#[derive(Debug, Clone, Default)]
pub(super) struct PipeAcks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// In the order of the output.
    waiting: Mutex<VecDeque<(u64, AckToken)>>,
    added: Notify,
}

impl PipeAcks {
    /// Starts watching the pipe.
    pub(super) fn start(output: Output) -> Self {
        let acks = Self::default();
        let watching = acks.clone();
        tokio::spawn(async move { watching.watch(&output).await });
        acks
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(u64, AckToken)>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These records are in the output up to these places.
    pub(super) fn add(&self, records: impl IntoIterator<Item = (u64, AckToken)>) {
        let mut waiting = self.waiting();
        waiting.extend(records);
        // Shards write one after the other, but come here in any order.
        waiting.make_contiguous().sort_by_key(|(end, _)| *end);
        drop(waiting);
        self.0.added.notify_one();
    }

    /// Records that the reader has taken are done. Whether there were some. A call that fails has to say so before it
    /// returns: nothing waits for tokens of such a call.
    pub(super) fn settle(&self, output: &Output) -> bool {
        let taken = output.taken().unwrap_or_default();
        let mut waiting = self.waiting();
        let done = waiting.partition_point(|(end, _)| *end <= taken);
        waiting.drain(..done).for_each(|(_, token)| token.ack());
        done > 0
    }

    async fn watch(&self, output: &Output) {
        let mut pause = FIRST_LOOK;
        loop {
            let added = self.0.added.notified();
            if self.settle(output) {
                pause = FIRST_LOOK;
            }
            let is_empty = self.waiting().is_empty();
            tokio::select! {
                () = output.closed().cancelled() => break,
                () = added, if is_empty => pause = FIRST_LOOK,
                () = sleep(pause), if !is_empty => pause = (pause * 2).min(LAST_LOOK),
            }
        }
        loop {
            // What the reader took before it went away is its own; the rest still lies in the pipe.
            self.settle(output);
            let left: Vec<_> = self.waiting().drain(..).collect();
            left.into_iter().for_each(|(_, token)| token.give_back());
            self.0.added.notified().await;
        }
    }
}

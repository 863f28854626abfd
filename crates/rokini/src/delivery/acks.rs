//! Ack tokens: records that are done when user code says so, in any order.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::spans::{Span, Spans};
use crate::types::error::with_causes;
use crate::{HandlerError, HandlerFailure, ShardContext};

/// What became of records whose tokens user code took.
#[derive(Debug)]
pub(crate) struct Ack {
    /// The call that handed them out.
    pub(crate) call: u64,
    pub(crate) records: Spans,
    pub(crate) word: Word,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    Done,
    Failed(HandlerFailure),
    /// Nothing, and it is gone.
    Dropped,
    /// The records were not looked at: they come again, and that is no failure of theirs.
    GivenBack,
}

impl Word {
    /// In a shard that leaves, a token that is dropped gives its records back.
    pub(crate) fn when_leaving(self) -> Self {
        match self {
            Self::Dropped => Self::GivenBack,
            other => other,
        }
    }
}

/// What tokens tell the worker of their shard. At most as much as is outstanding.
#[derive(Debug, Default)]
pub(crate) struct AckQueue {
    told: Mutex<Vec<Ack>>,
    /// Whether there may be some: most shards use no tokens, and are asked after every call.
    any: AtomicBool,
    changed: Notify,
}

impl AckQueue {
    fn tell(&self, ack: Ack) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(ack);
        self.any.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<Ack> {
        // One that is told from here on is taken now, or wakes the worker.
        if !self.any.load(Ordering::Acquire) || !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when something was told. Cancel safe.
    pub(crate) async fn told(&self) {
        self.changed.notified().await;
    }
}

/// Which call handed records out, and whether their tokens were taken.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) call: u64,
    pub(crate) records: Spans,
    pub(crate) taken: Arc<AtomicBool>,
}

impl Delivery {
    /// Hands out tokens for these records; they count the first time.
    fn token(&self, records: Spans, shard: &ShardContext, counts: bool) -> AckToken {
        AckToken { call: self.call, records, shard: counts.then(|| shard.clone()) }
    }

    pub(crate) fn whole(&self, shard: &ShardContext) -> AckToken {
        self.token(self.records.clone(), shard, self.take())
    }

    /// A token for each record, in order.
    pub(crate) fn each(&self, shard: &ShardContext) -> Vec<AckToken> {
        let counts = self.take();
        let one = |number| self.token(Spans::from(Span::one(number)), shard, counts);
        self.records.numbers().map(one).collect()
    }

    fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }
}

/// Says when a record, or a batch, is done. Got by [`Batch::into_acks`](crate::Batch::into_acks) or
/// [`Batch::ack_token`](crate::Batch::ack_token); belongs to the hold of the shard that delivered the records, so
/// that nothing else can be acked with it.
///
/// A token that is dropped counts as [`AckToken::fail`]: the record comes again. While its shard leaves this worker
/// it counts for nothing: the record comes to whoever has the shard next. Once the lease is lost or handed
/// over, tokens do nothing.
#[must_use = "a record whose token is dropped comes again"]
pub struct AckToken {
    call: u64,
    records: Spans,
    /// `None` once it was used.
    shard: Option<ShardContext>,
}

impl AckToken {
    /// The record is done. The stored position follows, within `checkpoint_interval`, as far as all records before
    /// are done too. Never waits.
    pub fn ack(mut self) {
        self.tell(Word::Done);
    }

    /// The record is not done, and why: it comes again, as the failure policy says.
    pub fn fail(mut self, error: impl Into<HandlerError>) {
        self.tell(Word::Failed(HandlerFailure::Error(with_causes(&*error.into()))));
    }

    /// The record was not looked at: it comes again, here or to another worker, and that is no failure.
    pub(crate) fn give_back(mut self) {
        self.tell(Word::GivenBack);
    }

    fn tell(&mut self, word: Word) {
        if let Some(shard) = self.shard.take() {
            let records = std::mem::take(&mut self.records);
            shard.acks().tell(Ack { call: self.call, records, word });
        }
    }
}

impl Drop for AckToken {
    fn drop(&mut self) {
        self.tell(Word::Dropped);
    }
}

impl fmt::Debug for AckToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shard = self.shard.as_ref().map(|shard| shard.shard_id());
        f.debug_struct("AckToken").field("shard", &shard).field("records", &self.records.len()).finish()
    }
}

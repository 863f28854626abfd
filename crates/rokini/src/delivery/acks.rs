//! Ack tokens: records that are done when user code says so, in any order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rokini_lease::LeaseKey;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::call_marks::CallMarks;
use super::ranges::{RecordRange, RecordRanges};
use crate::types::error::with_causes;
use crate::types::failure::{HandlerError, HandlerFailure};

/// What became of records whose tokens user code took.
#[derive(Debug)]
pub(crate) struct Ack {
    /// The call that delivered them.
    pub(crate) call: u64,
    pub(crate) records: RecordRanges,
    pub(crate) outcome: AckOutcome,
}

/// What user code did with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AckOutcome {
    Done,
    Failed(HandlerFailure),
    /// It dropped the token, and said nothing.
    Dropped,
    /// It did not look at the records: they come again, and that is no failure of theirs. With what keeps it from taking
    /// any, where it says so.
    GivenBack(Option<Box<str>>),
}

impl AckOutcome {
    /// In a shard that leaves this worker, a token that is dropped gives its records back.
    pub(crate) fn when_leaving(self) -> Self {
        match self {
            Self::Dropped => Self::GivenBack(None),
            other => other,
        }
    }
}

/// The acks of a hold that its dispatcher has not taken yet. At most as many as there are tokens.
#[derive(Debug)]
pub(crate) struct AckQueue {
    shard: Arc<LeaseKey>,
    /// The hold is over: acks do nothing any more.
    cancelled: CancellationToken,
    acks: Mutex<Vec<Ack>>,
    /// Whether there may be some: most shards use no tokens, and are asked after every call.
    any: AtomicBool,
    changed: Notify,
}

impl AckQueue {
    pub(crate) fn new(shard: Arc<LeaseKey>, cancelled: CancellationToken) -> Self {
        let (acks, any, changed) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        Self { shard, cancelled, acks, any, changed }
    }

    fn push(&self, ack: Ack) {
        self.acks.lock().push(ack);
        self.any.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<Ack> {
        // One that is pushed from here on is taken now, or wakes the dispatcher.
        if !self.any.load(Ordering::Acquire) || !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.acks.lock())
    }

    /// Resolves when an ack was pushed. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Makes the tokens of one call, once.
#[derive(Debug, Clone)]
pub(crate) struct TokenIssuer {
    pub(crate) call: u64,
    pub(crate) records: RecordRanges,
    pub(crate) marks: Arc<CallMarks>,
}

impl TokenIssuer {
    /// Tokens that are taken a second time do nothing.
    fn issue(&self, records: RecordRanges, queue: &Arc<AckQueue>, counts: bool) -> AckToken {
        AckToken { call: self.call, records, queue: counts.then(|| Arc::clone(queue)) }
    }

    pub(crate) fn whole(&self, queue: &Arc<AckQueue>) -> AckToken {
        self.issue(self.records.clone(), queue, self.take())
    }

    /// A token for each record, in order.
    pub(crate) fn each(&self, queue: &Arc<AckQueue>) -> Vec<AckToken> {
        let counts = self.take();
        let one = |number| self.issue(RecordRanges::from(RecordRange::one(number)), queue, counts);
        self.records.numbers().map(one).collect()
    }

    fn take(&self) -> bool {
        self.marks.take_tokens()
    }
}

/// Says when a record, or a batch, is done. Got by [`Batch::into_acks`](crate::Batch::into_acks) or
/// [`Batch::ack_token`](crate::Batch::ack_token); belongs to the hold of the shard that delivered the records, so
/// that nothing else can be acked with it.
///
/// A token that is dropped counts as [`AckToken::fail`]: the record comes again. While its shard leaves this worker
/// it counts for nothing: the record comes to whoever has the shard next. Once the lease is lost or handed
/// over, tokens do nothing ([`AckToken::is_current`]).
#[must_use = "a record whose token is dropped comes again"]
pub struct AckToken {
    call: u64,
    records: RecordRanges,
    /// `None` once it was used, and in a token that was taken a second time.
    queue: Option<Arc<AckQueue>>,
}

impl AckToken {
    /// The record is done. The stored position follows, within `checkpoint_interval`, as far as all records before
    /// are done too. Never waits. Does nothing where it does not count any more ([`AckToken::is_current`]): the record
    /// comes again, or came already, to whoever has the shard now.
    pub fn ack(mut self) {
        self.settle(AckOutcome::Done);
    }

    /// The record is not done, and why: it comes again, as the failure policy says.
    pub fn fail(mut self, error: impl Into<HandlerError>) {
        self.settle(AckOutcome::Failed(HandlerFailure::Error(with_causes(&*error.into()))));
    }

    /// Whether an ack still counts: this worker still has the shard, under the lease that delivered the record.
    ///
    /// `false` once the lease is lost or handed over, once the deadline of a shutdown has passed, and for a token
    /// that was taken a second time. The record then comes to whoever has the shard next, so work on it that has not
    /// begun is better left out. It never becomes `true` again. `true` promises nothing: the lease may be lost at
    /// any time.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.cancelled.is_cancelled())
    }

    /// The record was not looked at: it comes again, here after a short pause or to another worker, and that is no
    /// failure. For handlers that hand records to something which cannot take them at present, such as a process that
    /// does not start or a service that asks for patience.
    pub fn give_back(mut self) {
        self.settle(AckOutcome::GivenBack(None));
    }

    /// As [`AckToken::give_back`], with what keeps the handler from taking records. It is no failure of the record, but once
    /// it has lasted for `stall_after` the shard counts as stalled for [`StallCause::Unavailable`](crate::StallCause::Unavailable),
    /// with these words, until a call returns and leaves nothing that was given back.
    pub fn give_back_because(mut self, error: impl Into<HandlerError>) {
        self.settle(AckOutcome::GivenBack(Some(with_causes(&*error.into()).into())));
    }

    fn settle(&mut self, outcome: AckOutcome) {
        if let Some(queue) = self.queue.take() {
            let records = std::mem::take(&mut self.records);
            queue.push(Ack { call: self.call, records, outcome });
        }
    }
}

impl Drop for AckToken {
    fn drop(&mut self) {
        self.settle(AckOutcome::Dropped);
    }
}

impl fmt::Debug for AckToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shard = self.queue.as_ref().map(|queue| &queue.shard.shard);
        f.debug_struct("AckToken").field("shard", &shard).field("records", &self.records.len()).finish()
    }
}

//! One budget of bytes for everything that the shards of a worker have read and not done.

mod shares;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use shares::{AccountId, Shares, Wanted};

/// The most that one answer takes: 10 MB of data, keys, and what each record takes beside them.
const WHOLE_ANSWER: usize = 12 << 20;
/// What a read may bring whatever the last one brought, so that a shard gets going after a silence.
const LEAST_ANSWER: usize = 64 << 10;

/// The budget of a worker.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    shares: Mutex<Shares<Arc<Notify>>>,
}

/// How much of a budget is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BudgetUse {
    pub(crate) bytes: usize,
    /// Shards whose next read waits until something is done.
    pub(crate) waiting: usize,
}

impl ByteBudget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { shares: Mutex::new(Shares::new(bytes)) })
    }

    fn shares(&self) -> MutexGuard<'_, Shares<Arc<Notify>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn usage(&self) -> BudgetUse {
        let shares = self.shares();
        BudgetUse { bytes: shares.used(), waiting: shares.waiting() }
    }
}

/// What one shard has of the budget.
pub(super) struct ShardBudget {
    budget: Arc<ByteBudget>,
    id: AccountId,
    woken: Arc<Notify>,
}

impl ShardBudget {
    pub(super) fn open(budget: &Arc<ByteBudget>) -> Arc<Self> {
        let woken = Arc::<Notify>::default();
        let id = budget.shares().open(Arc::clone(&woken));
        Arc::new(Self { budget: Arc::clone(budget), id, woken })
    }

    /// Takes room for the next answer, by its size where that is known, otherwise by that of the last one. Waits while the shard has something and there is no room
    /// for more. Cancel safe.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        last_answer: usize,
        next_answer: Option<usize>,
    ) -> Reserved {
        let wanted = match next_answer {
            Some(bytes) => Wanted { least: bytes.min(WHOLE_ANSWER), most: bytes.min(WHOLE_ANSWER) },
            None => Wanted {
                least: last_answer.saturating_mul(2).clamp(LEAST_ANSWER, WHOLE_ANSWER),
                most: WHOLE_ANSWER,
            },
        };
        let _waiting = Waiting(self);
        loop {
            if let Some(bytes) = self.budget.shares().grant(self.id, wanted) {
                return Reserved { budget: Arc::clone(self), bytes };
            }
            self.woken.notified().await;
        }
    }
}

impl Drop for ShardBudget {
    fn drop(&mut self) {
        self.budget.shares().close(self.id);
    }
}

impl fmt::Debug for ShardBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardBudget").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Leaves the queue, whether it was served or dropped.
struct Waiting<'a>(&'a ShardBudget);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.budget.shares().leave_queue(self.0.id);
    }
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Arc<ShardBudget>,
    bytes: usize,
}

impl Reserved {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answer is there, and takes so much.
    pub(super) fn resize(&mut self, bytes: usize) {
        self.budget.budget.shares().change(self.budget.id, self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.budget.shares().change(self.budget.id, self.bytes, 0);
    }
}

#[cfg(test)]
mod tests;

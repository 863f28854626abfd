//! What user code says of a call while it runs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Shared by a call and whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct CallMarks {
    tokens_taken: AtomicBool,
    done: AtomicUsize,
}

impl CallMarks {
    /// User code takes the tokens. Whether it had not before.
    pub(crate) fn take_tokens(&self) -> bool {
        !self.tokens_taken.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn tokens_are_taken(&self) -> bool {
        self.tokens_taken.load(Ordering::Acquire)
    }

    /// User code that takes the records of the call one by one is through with one more of them.
    pub(crate) fn one_done(&self) {
        // There is one call that says so.
        self.done.store(self.done.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// With how many of them.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Acquire)
    }

    /// For the next call, where nobody has anything of the last one any more. Whether that was so.
    pub(crate) fn reset(&mut self) -> bool {
        *self.done.get_mut() = 0;
        !*self.tokens_taken.get_mut()
    }
}

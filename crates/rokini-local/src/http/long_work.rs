//! Where work goes that holds a thread for milliseconds: large bodies are read and written.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Whether the runtime has a thread that goes on with other connections meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LongWork {
    has_spare_threads: bool,
}

impl LongWork {
    /// For tasks that are spawned on the runtime of the caller.
    pub(crate) fn of_this_runtime() -> Self {
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        Self { has_spare_threads: matches!(flavor, Ok(RuntimeFlavor::MultiThread)) }
    }

    /// Runs work here. If it takes long, other tasks of this thread go on elsewhere: without that, an answer of 10 MB to one
    /// connection would be a pause of 20 ms to others.
    pub(crate) fn run<T>(self, takes_long: bool, work: impl FnOnce() -> T) -> T {
        if takes_long && self.has_spare_threads { tokio::task::block_in_place(work) } else { work() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_meanwhile() {
        let long_work = LongWork::of_this_runtime();
        let (done, wait) = mpsc::channel();
        let long = tokio::spawn(async move {
            long_work.run(true, || wait.recv_timeout(Duration::from_secs(20)).is_ok())
        });
        let other = tokio::spawn(async move { done.send(()).is_ok() });
        assert!(long.await.unwrap(), "the one worker is held");
        assert!(other.await.unwrap());
    }

    #[tokio::test]
    async fn one_thread_does_it_itself() {
        assert_eq!(LongWork::of_this_runtime().run(true, || 1), 1);
    }
}

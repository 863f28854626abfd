//! Background tasks that outlive their panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rokini_types::Backoff;
use tokio::time::{Instant, sleep};

/// Between a panic and the next try, so that a task that panics at once does not spin.
const REST: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// A task that ran for so long before its panic begins with the shortest rest again.
const SETTLED: Duration = Duration::from_secs(60);

/// Runs `task` until it ends, and anew after each panic: at first after 100 ms, after at most 10 s where it panics again and
/// again. `panicked` is told what each panic said.
///
/// `kept` is lent to each run and stays as a panic left it, so a task keeps there only what is whole after each statement,
/// and makes everything else anew.
pub async fn supervise<K, T>(
    mut kept: K,
    task: impl for<'a> Fn(&'a mut K) -> BoxFuture<'a, T>,
    mut panicked: impl FnMut(String),
) -> T {
    let mut panics = 0_u32;
    loop {
        let begun = Instant::now();
        match AssertUnwindSafe(task(&mut kept)).catch_unwind().await {
            Ok(ended) => return ended,
            Err(panic) => {
                panics = if begun.elapsed() < SETTLED { panics.saturating_add(1) } else { 1 };
                panicked(panic_message(&*panic));
                sleep(REST.delay(panics)).await;
            }
        }
    }
}

/// What a panic said, for people.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_anew_and_rests_in_between() {
        let begun = Instant::now();
        let mut told = Vec::new();
        let task = async |tries: &mut u32| {
            *tries += 1;
            assert!(*tries > 3, "try {tries} fails");
            *tries
        };
        assert_eq!(supervise(0, |tries| Box::pin(task(tries)), |message| told.push(message)).await, 4);
        assert_eq!(told, ["try 1 fails", "try 2 fails", "try 3 fails"]);
        assert_eq!(begun.elapsed(), Duration::from_millis(100 + 200 + 400));
    }
}

use std::time::Duration;

use futures::FutureExt;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::*;

const MIB: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn p1_a_read_waits_until_something_is_done_and_goes_on_then() {
    let budget = ByteBudget::new(4 * MIB);
    let (a, b) = (ShardBudget::open(&budget), ShardBudget::open(&budget));
    // 1 MiB of its share, and all that is common.
    let mut first = a.reserve(MIB + MIB / 2, None).await;
    first.resize(3 * MIB);
    let mut waiting = Box::pin(a.reserve(MIB, None));
    assert!(timeout(Duration::from_secs(60), &mut waiting).await.is_err());
    assert_eq!(budget.usage(), BudgetUse { bytes: 3 * MIB, waiting: 1 });
    // The other one has its share.
    let other = b.reserve(12 * MIB, None).now_or_never().expect("an answer of its own");
    assert_eq!(other.bytes(), MIB);
    drop(first);
    let second = timeout(Duration::from_secs(1), waiting).await.expect("room for the next");
    assert!(second.bytes() >= 2 * MIB);
    drop((second, other));
    assert_eq!(budget.usage(), BudgetUse { bytes: 0, waiting: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_given_up_leaves_the_queue_to_the_next() {
    let budget = ByteBudget::new(4 * MIB);
    let (a, b) = (ShardBudget::open(&budget), ShardBudget::open(&budget));
    let (mut of_a, mut of_b) = (a.reserve(0, None).await, b.reserve(0, None).await);
    of_a.resize(2 * MIB);
    of_b.resize(2 * MIB);
    let tasks = TaskTracker::new();
    let first = tasks.spawn({
        let a = Arc::clone(&a);
        async move { a.reserve(MIB, None).await.bytes() }
    });
    tokio::task::yield_now().await;
    let second = tasks.spawn({
        let b = Arc::clone(&b);
        async move { b.reserve(0, None).await.bytes() }
    });
    tokio::task::yield_now().await;
    assert_eq!(budget.usage().waiting, 2);
    first.abort();
    assert!(first.await.is_err());
    of_a.resize(0);
    assert_eq!(timeout(Duration::from_secs(1), second).await.expect("its turn").unwrap(), LEAST_ANSWER);
    drop(of_b);
}

//! A store that panics, as one written by users may.

use super::*;

#[tokio::test(start_paused = true)]
async fn l13_loops_that_panic_are_told_and_begin_anew_with_what_they_knew_of_their_own_row() {
    let store = FaultyStore::new(store_with(4).await, 1);
    let config = || MemberConfig { process: None, ..MemberConfig::default() };
    let mut worker = Worker::join_with(&store, "a", config()).await.unwrap();
    worker.live(10 * SECOND).await;
    assert_eq!(worker.leases.len(), 4);

    // Heartbeats are stored, and panic before anybody learns so.
    store.chance(FaultTarget::All, StoreFault::Panic, 1.0);
    worker.member.request_reconcile();
    worker.live(5 * SECOND).await;
    store.heal();
    worker.live(10 * SECOND).await;
    for task in ["heartbeat", "watch", "control"] {
        let told = worker.panics.iter().find(|(panicked, _)| *panicked == task);
        assert!(
            told.is_some_and(|(_, error)| error.contains("the store panics")),
            "{task}: {:?}",
            worker.panics
        );
    }
    assert!(!worker.fenced && worker.member.is_valid());
    assert_eq!(worker.leases.len(), 4, "none was lost");

    // It still shares, learns of the death of another, and of leases that come.
    let mut other = Worker::join_with(&store, "b", config()).await.unwrap();
    live_all(&mut [&mut worker, &mut other], 10 * SECOND).await;
    assert_eq!(counts(&[&worker, &other]), [2, 2]);
    other.die();
    store.insert_lease(&group(), &LeaseRow::new(key(4), at(1))).await.unwrap();
    worker.live(60 * SECOND).await;
    assert_eq!(worker.leases.len(), 5);
}

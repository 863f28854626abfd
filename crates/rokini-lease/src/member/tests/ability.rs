//! Streams that a worker cannot read, and hand-overs that are not done in their time.

use super::*;

async fn pair(leases: usize) -> (MemoryStore, Worker, Worker) {
    let store = store_with(leases).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 4 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), [leases / 2, leases / 2]);
    (store, a, b)
}

#[tokio::test(start_paused = true)]
async fn l11_what_a_worker_cannot_read_goes_to_those_who_can_and_stays_there() {
    let (_, mut a, mut b) = pair(8).await;
    let ability = a.member.ability(&key(0).stream);
    assert!(ability.is_able() && ability.others_can());
    ability.set(false);
    live_all(&mut [&mut a, &mut b], 5 * SECOND).await;
    for _ in 0..120 {
        assert_eq!((a.leases.len(), b.leases.len()), (0, 8));
        live_all(&mut [&mut a, &mut b], SECOND).await;
    }
    ability.set(true);
    live_all(&mut [&mut a, &mut b], 8 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), [4, 4]);
}

/// An outage of the stream itself: nobody gains from passing shards around.
#[tokio::test(start_paused = true)]
async fn l11_where_nobody_can_read_a_stream_each_keeps_what_it_has() {
    let (_, mut a, mut b) = pair(8).await;
    a.member.ability(&key(0).stream).set(false);
    b.member.ability(&key(0).stream).set(false);
    live_all(&mut [&mut a, &mut b], 60 * SECOND).await;
    assert_eq!(a.leases.len() + b.leases.len(), 8);
    let held: Vec<_> = b.leases.values().map(Lease::epoch).collect();
    live_all(&mut [&mut a, &mut b], 60 * SECOND).await;
    assert_eq!(b.leases.values().map(Lease::epoch).collect::<Vec<_>>(), held);
}

/// A handler that takes long: the claimer waits in vain, and the shard is read on.
#[tokio::test(start_paused = true)]
async fn l14_a_hand_over_that_is_not_done_in_its_time_is_withdrawn() {
    let store = store_with(2).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    // Its tasks do not get done.
    let leases = std::mem::take(&mut a.leases);
    let mut b = Worker::join(&store, "b").await.unwrap();
    let asked = |lease: &&Lease| futures::FutureExt::now_or_never(lease.yield_requested()).is_some();
    live_all(&mut [&mut a, &mut b], 5 * SECOND).await;
    let asked_for: Vec<&Lease> = leases.values().filter(asked).collect();
    let [lease] = asked_for[..] else { panic!("one of two is claimed: {asked_for:?}") };
    assert_eq!(lease.hand_over_limit(), 10 * SECOND);
    assert!(lease.withdraw_hand_over().await);
    assert!(!asked(&lease) && lease.is_valid());
    assert!(!lease.withdraw_hand_over().await, "nothing is asked for");
    live_all(&mut [&mut a, &mut b], 50 * SECOND).await;
    assert!(!asked(&lease), "it is left alone for a minute");
    live_all(&mut [&mut a, &mut b], 60 * SECOND).await;
    assert!(asked(&lease), "and asked for again");
    // Who leaves hands over in any case.
    a.member.begin_leave();
    live_all(&mut [&mut a, &mut b], SECOND).await;
    assert!(!lease.withdraw_hand_over().await);
    assert!(asked(&lease));
}

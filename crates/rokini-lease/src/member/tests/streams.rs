//! Several streams in one group, and checkpoints in two phases.

use crate::store::LeaseStoreExt;
use bytes::Bytes;

use super::*;
use crate::error::LeaseError;
use crate::row::PendingPosition;
use crate::store::{Listing, StoreOperation};
use crate::update::PENDING_STATE_LIMIT;

fn stream(n: usize) -> StreamId {
    StreamId::new(format!("s{n}")).unwrap()
}

fn lease_of(n: usize, shard: usize) -> LeaseKey {
    LeaseKey::new(stream(n), key(shard).shard)
}

fn reads(streams: &[usize]) -> MemberConfig {
    let streams = Some(streams.iter().map(|n| stream(*n)).collect());
    MemberConfig { process: None, streams, ..MemberConfig::default() }
}

fn held(worker: &Worker) -> Vec<String> {
    worker.leases.keys().map(|key| key.stream.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn c14_streams_of_one_group_go_to_the_workers_that_read_them() {
    let store = MemoryStore::new();
    for (n, shard) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let row = LeaseRow::new(lease_of(n, shard), Position::TrimHorizon);
        store.insert_lease(&group(), &row).await.unwrap();
    }
    let mut a = Worker::join_with(&store, "a", reads(&[0])).await.unwrap();
    a.live(60 * SECOND).await;
    assert_eq!(held(&a), ["s0", "s0"], "what nobody reads stays free");
    let mut b = Worker::join_with(&store, "b", reads(&[1])).await.unwrap();
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    assert_eq!((held(&a).len(), held(&b)), (2, vec!["s1".to_owned(), "s1".to_owned()]));

    // A stream that is added on the way is shared, one that is taken out is handed over.
    b.member.set_streams(Some([stream(0), stream(1)].into()));
    a.member.set_streams(Some([stream(0), stream(1)].into()));
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    let before = store.list(&group(), Listing::All).await.unwrap().leases;
    b.member.set_streams(Some([stream(0)].into()));
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    assert!(!held(&b).contains(&"s1".to_owned()), "{:?}", held(&b));
    assert_eq!(counts(&[&a, &b]), [2, 2], "and the rest is spread anew");
    a.leave().await;
    b.live(40 * SECOND).await;
    assert_eq!(held(&b), ["s0", "s0"], "a leaver gives nothing to those who do not read it");
    let rows = store.list(&group(), Listing::All).await.unwrap().leases;
    assert!(
        rows.iter().filter(|row| row.key.stream == stream(1)).all(|row| row.owner.is_none()),
        "{before:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_takes_no_more_than_its_own_limit() {
    let store = store_with(6).await;
    let limited = |limit| MemberConfig { process: None, max_leases: Some(limit), ..MemberConfig::default() };
    let mut a = Worker::join_with(&store, "a", limited(2)).await.unwrap();
    let mut b = Worker::join_with(&store, "b", limited(3)).await.unwrap();
    live_all(&mut [&mut a, &mut b], 40 * SECOND).await;
    assert_eq!((a.leases.len(), b.leases.len()), (2, 3));
    b.leave().await;
    a.live(2 * SECOND).await;
    assert_eq!(a.leases.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_prepared_is_found_by_the_next_holder_until_a_position_reaches_it() {
    let store = store_with(1).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let pending = PendingPosition { position: at(9), state: Bytes::from_static(b"transaction 7") };
    let lease = &a.leases[&key(0)];
    assert_eq!(lease.pending(), None);
    lease.prepare(at(7), Bytes::from_static(b"transaction 6")).await.unwrap();
    lease.prepare(pending.position, pending.state.clone()).await.unwrap();
    lease.checkpoint(at(5), CheckpointMetadata::default()).await.unwrap();
    assert!(matches!(lease.prepare(at(4), Bytes::new()).await, Err(LeaseError::Behind { .. })));
    let large = Bytes::from(vec![0; PENDING_STATE_LIMIT + 1]);
    assert!(matches!(lease.prepare(at(10), large).await, Err(LeaseError::StateTooLarge { .. })));
    a.die();

    let mut b = Worker::join(&store, "b").await.unwrap();
    b.live(15 * SECOND).await;
    let lease = &b.leases[&key(0)];
    assert_eq!((lease.position(), lease.pending()), (at(5), Some(pending.clone())));
    lease.checkpoint(at(8), CheckpointMetadata::default()).await.unwrap();
    assert_eq!(lease.pending(), Some(pending), "not reached yet");
    lease.checkpoint(at(9), CheckpointMetadata::default()).await.unwrap();
    assert_eq!(lease.pending(), None);
    assert_eq!(store.lease(&group(), &key(0)).await.unwrap().unwrap().pending, None);
}

/// Whether an announcement arrived is unknown: the position that reaches it removes it in any case.
#[tokio::test(start_paused = true)]
async fn c13_what_may_have_been_prepared_is_removed_by_the_position_that_reaches_it() {
    let store = store_with(1).await;
    let link = FaultyStore::new(store.clone(), 3);
    let config = MemberConfig { process: None, ..MemberConfig::default() };
    let mut a = Worker::join_with(&link, "a", config).await.unwrap();
    a.live(SECOND).await;
    link.next(StoreOperation::Prepare, StoreFault::LoseReply, 1);
    link.next(StoreOperation::Read, StoreFault::FailBefore, 1);
    let lease = &a.leases[&key(0)];
    lease.prepare(at(9), Bytes::from_static(b"x")).await.unwrap_err();
    assert!(store.lease(&group(), &key(0)).await.unwrap().unwrap().pending.is_some(), "it did arrive");
    lease.checkpoint(at(9), CheckpointMetadata::default()).await.unwrap();
    assert_eq!(store.lease(&group(), &key(0)).await.unwrap().unwrap().pending, None);
}

#[tokio::test(start_paused = true)]
async fn marks_come_with_positions_and_hand_overs_only() {
    let store = store_with(1).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    b.live(SECOND / 10).await;
    let metadata = |arrival, caught_up| CheckpointMetadata {
        record_arrival_millis: arrival,
        caught_up_millis: caught_up,
        ..CheckpointMetadata::default()
    };
    let stored = || async { store.lease(&group(), &key(0)).await.unwrap().unwrap().metadata };
    let lease = a.leases.remove(&key(0)).unwrap();
    lease.checkpoint(at(5), metadata(Some(50), None)).await.unwrap();
    lease.checkpoint(at(5), metadata(Some(99), Some(99))).await.unwrap();
    assert_eq!(stored().await, metadata(Some(50), None), "no write of their own");
    lease.checkpoint(at(6), metadata(None, Some(60))).await.unwrap();
    assert_eq!(stored().await, metadata(Some(50), Some(60)), "what is not said stays");
    lease.hand_over(None, metadata(None, Some(70))).await.unwrap();
    assert_eq!(stored().await, metadata(Some(50), Some(70)));
}

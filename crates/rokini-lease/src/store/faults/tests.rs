use crate::row::{LeaseRow, WorkerRow};
use crate::store::ext::LeaseStoreExt;
use crate::types::{Epoch, Incarnation, WorkerId};
use crate::update::{LeaseUpdate, WorkerUpdate};
use crate::write::WriteOutcome;
use tokio::time::Instant;

use super::*;
use crate::position::Position;
use crate::row::{WorkerLoad, WorkerNotification, WorkerReport, WorkerState};
use crate::store::memory::MemoryStore;
use crate::types::WorkerName;

fn id(name: &str) -> WorkerId {
    WorkerId::new(WorkerName::new(name).unwrap(), Incarnation::new(1))
}

fn group() -> GroupId {
    GroupId::new("billing").unwrap()
}

fn lease() -> LeaseRow {
    LeaseRow::new("orders#0".parse().unwrap(), Position::TrimHorizon)
}

fn acquire(seen: u64) -> LeaseUpdate {
    LeaseUpdate::Acquire { by: id("w"), seen: Epoch(seen), at_least: Epoch(0), caught_up_millis: None }
}

async fn with_lease() -> FaultyStore<MemoryStore> {
    let store = FaultyStore::new(MemoryStore::new(), 1);
    store.insert_lease(&group(), &lease()).await.unwrap();
    store
}

#[tokio::test]
async fn a_call_that_fails_before_changes_nothing() {
    let store = with_lease().await;
    for (fault, kind) in [
        (StoreFault::FailBefore, StoreErrorKind::Unavailable),
        (StoreFault::Throttle, StoreErrorKind::Throttled),
    ] {
        store.next(StoreOperation::Acquire, fault, 1);
        let error = store.update_lease(&group(), &lease().key, &acquire(0)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (kind, false));
        assert_eq!(store.lease(&group(), &lease().key).await.unwrap(), Some(lease()));
    }
    assert_eq!(store.injected(), 2);
    assert!(store.update_lease(&group(), &lease().key, &acquire(0)).await.unwrap().is_applied());
}

#[tokio::test]
async fn a_lost_reply_leaves_the_effect() {
    let store = with_lease().await;
    store.next(FaultTarget::Writes, StoreFault::LoseReply, 1);
    let error = store.update_lease(&group(), &lease().key, &acquire(0)).await.unwrap_err();
    assert!(error.is_ambiguous());
    let row = store.lease(&group(), &lease().key).await.unwrap().unwrap();
    assert!(acquire(0).took_effect(&row), "{row:?}");

    store.next(FaultTarget::Reads, StoreFault::LoseReply, 1);
    let error = store.lease(&group(), &lease().key).await.unwrap_err();
    assert!(!error.is_ambiguous(), "a read has no effect");
}

#[tokio::test]
async fn a_retry_recognises_its_first_try() {
    let store = with_lease().await;
    store.chance(FaultTarget::Writes, StoreFault::Retry, 1.0);
    let WriteOutcome::Applied { before: None, after } =
        store.update_lease(&group(), &lease().key, &acquire(0)).await.unwrap()
    else {
        panic!("the first try was not recognised");
    };
    assert_eq!(after.epoch, Epoch(1));
    let refused = store.update_lease(&group(), &lease().key, &acquire(5)).await.unwrap();
    assert_eq!(refused, WriteOutcome::Refused { current: Some(after) });

    let worker = WorkerRow::joining(id("w"), None);
    let inserted = store.insert_worker(&group(), &worker).await.unwrap();
    assert_eq!(inserted, WriteOutcome::Applied { before: None, after: worker });
    let notify = WorkerUpdate::Notify(WorkerNotification::Assigned(lease().key));
    assert!(store.update_worker(&group(), &id("w"), &notify).await.unwrap().is_applied());
    let heartbeat = WorkerUpdate::Heartbeat {
        seen: 0,
        call: 1,
        load: WorkerLoad::default(),
        state: WorkerState::Alive,
        streams: None,
        report: WorkerReport::default(),
    };
    let outcome = store.update_worker(&group(), &id("w"), &heartbeat).await.unwrap();
    assert!(
        matches!(outcome, WriteOutcome::Applied { before: None, .. }),
        "the mailbox of a lost heartbeat is lost"
    );
    assert!(store.delete_lease(&group(), &lease().key, Epoch(1)).await.unwrap());
    store.delete_worker(&group(), &id("w")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn delays_pass_on_the_clock_of_tokio() {
    let store = with_lease().await;
    let (before, after) = (Duration::from_secs(2), Duration::from_secs(3));
    store.next(StoreOperation::Read, StoreFault::Delay(before), 1);
    store.next(StoreOperation::Read, StoreFault::DelayReply(after), 1);
    let started = Instant::now();
    store.lease(&group(), &lease().key).await.unwrap();
    assert_eq!(started.elapsed(), before + after);
}

#[tokio::test(start_paused = true)]
async fn an_outage_takes_everything_and_ends() {
    let store = with_lease().await;
    store.outage(true);
    store.chance(FaultTarget::All, StoreFault::Delay(Duration::from_secs(5)), 1.0);
    let started = Instant::now();
    let read = store.list(&group(), Listing::All).await.unwrap_err();
    assert_eq!((read.kind(), read.is_ambiguous()), (StoreErrorKind::Unavailable, false));
    assert_eq!(started.elapsed(), Duration::from_secs(5), "an outage is noticed by a timeout");
    let write = store.update_lease(&group(), &lease().key, &acquire(0)).await.unwrap_err();
    assert!(write.is_ambiguous(), "a caller cannot know what came of a write");
    // One that is under way when the outage ends arrives.
    let late = store.clone();
    let call = async { late.update_lease(&group(), &lease().key, &acquire(0)).await };
    let heal = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.heal();
    };
    let (outcome, ()) = tokio::join!(call, heal);
    assert!(outcome.unwrap().is_applied());
}

#[tokio::test]
async fn a_stale_listing_shows_rows_as_they_once_were() {
    let store = with_lease().await;
    let fresh = store.list(&group(), Listing::All).await.unwrap();
    store.update_lease(&group(), &lease().key, &acquire(0)).await.unwrap();
    let other = LeaseRow::new("orders#1".parse().unwrap(), Position::TrimHorizon);
    store.insert_lease(&group(), &other).await.unwrap();
    store.next(StoreOperation::ListAll, StoreFault::StaleListing, 1);
    assert_eq!(store.list(&group(), Listing::All).await.unwrap(), fresh);
    let newer = store.list(&group(), Listing::All).await.unwrap();
    assert_eq!(newer.leases.len(), 2);

    // Row by row: the new row and the old epoch are seen together, sooner or later.
    store.chance(StoreOperation::ListAll, StoreFault::StaleListing, 1.0);
    let mut mixed = false;
    for _ in 0..50 {
        let view = store.list(&group(), Listing::All).await.unwrap();
        for row in &view.leases {
            assert!(
                fresh.leases.contains(row) || newer.leases.contains(row),
                "a row that no write made: {row:?}"
            );
        }
        mixed |= view.leases.contains(&lease()) && view.leases.contains(&other);
    }
    assert!(mixed);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_faults() {
    async fn faults(seed: u64) -> Vec<bool> {
        let store = FaultyStore::new(MemoryStore::new(), seed);
        store.chance(FaultTarget::All, StoreFault::FailBefore, 0.5);
        let mut failed = Vec::new();
        for _ in 0..64 {
            failed.push(store.list(&group(), Listing::All).await.is_err());
        }
        failed
    }
    assert_eq!(faults(7).await, faults(7).await);
    assert_ne!(faults(7).await, faults(8).await);
}

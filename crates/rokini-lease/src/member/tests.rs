//! Fleets of members on one store, in virtual time.

use crate::store::LeaseStoreExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, timeout};

use super::{JoinAttempts, JoinError, Lease, Member, MemberConfig, MemberEvent, MemberEvents};
use crate::Scope;
use crate::clock::WallClock;
use crate::error::LeaseLostReason;
use crate::position::Position;
use crate::row::{CheckpointMetadata, LeaseRow, WorkerState};
use crate::store::{FaultTarget, FaultyStore, LeaseStore, Listing, MemoryStore, StoreFault, StoreOperation};
use crate::types::{GroupId, LeaseKey, ShardId, StreamId, WorkerName};
use crate::update::{LeaseUpdate, WorkerUpdate};

mod ability;
mod free;
mod joins;
mod operator;
mod panics;
mod pins;
mod reads;
mod recurring;
mod safety;
mod streams;
mod unreadable;

const SECOND: Duration = Duration::from_secs(1);

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

fn key(n: usize) -> LeaseKey {
    LeaseKey::new(StreamId::new("s").unwrap(), ShardId::new(format!("shard-{n:03}")).unwrap())
}

fn at(n: u128) -> Position {
    Position::after(n.into())
}

async fn store_with(leases: usize) -> MemoryStore {
    let store = MemoryStore::new();
    for n in 0..leases {
        store.insert_lease(&group(), &LeaseRow::new(key(n), Position::TrimHorizon)).await.unwrap();
    }
    store
}

/// A member whose leases are kept until told otherwise.
struct Worker {
    member: Member,
    events: MemberEvents,
    leases: BTreeMap<LeaseKey, Lease>,
    fenced: bool,
    panics: Vec<(&'static str, String)>,
}

impl Worker {
    async fn join(store: &MemoryStore, name: &str) -> Result<Self, JoinError> {
        Self::join_with(store, name, MemberConfig { process: None, ..MemberConfig::default() }).await
    }

    async fn join_with(
        store: &(impl LeaseStore + Clone),
        name: &str,
        config: MemberConfig,
    ) -> Result<Self, JoinError> {
        let begun = Instant::now();
        let clock = WallClock::from_fn(move || begun.elapsed().as_millis() as u64);
        let seed = name.bytes().map(u64::from).sum::<u64>() + next_seed();
        Self::join_on(store, name, config, clock, seed).await
    }

    /// On a host with these clocks, and this randomness.
    async fn join_on(
        store: &(impl LeaseStore + Clone),
        name: &str,
        config: MemberConfig,
        clock: WallClock,
        seed: u64,
    ) -> Result<Self, JoinError> {
        let (store, name) = (Arc::new(store.clone()), WorkerName::new(name).unwrap());
        let attempts = JoinAttempts::new(seed);
        let (member, events) = Member::join(store, group(), name, config, clock, &attempts).await?;
        Ok(Self { member, events, leases: BTreeMap::new(), fenced: false, panics: Vec::new() })
    }

    /// Lives for a while: takes what is granted, hands over what is asked for.
    async fn live(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            while let Some(event) = self.events.try_recv() {
                match event {
                    MemberEvent::Granted(lease) => drop(self.leases.insert(lease.key().clone(), lease)),
                    MemberEvent::Fenced => self.fenced = true,
                    MemberEvent::TaskPanicked { task, error } => self.panics.push((task, error)),
                    _ => {}
                }
            }
            self.leases.retain(|_, lease| futures::FutureExt::now_or_never(lease.lost()).is_none());
            let asked: Vec<LeaseKey> = self
                .leases
                .values()
                .filter(|lease| futures::FutureExt::now_or_never(lease.yield_requested()).is_some())
                .map(|lease| lease.key().clone())
                .collect();
            for key in asked {
                let lease = self.leases.remove(&key).unwrap();
                let done = lease.position();
                lease.hand_over(Some(done), CheckpointMetadata::default()).await.unwrap();
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn leave(mut self) {
        self.member.begin_leave();
        self.live(SECOND / 10).await;
        assert!(self.leases.is_empty(), "all handed over");
        self.member.leave(Instant::now() + SECOND).await;
    }

    /// The process ends: no more beats, nothing written.
    fn die(self) {
        self.member.state.stopped.cancel();
        std::mem::forget(self.leases);
    }
}

fn next_seed() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEED: AtomicU64 = AtomicU64::new(1);
    SEED.fetch_add(1, Ordering::Relaxed)
}

async fn live_all(workers: &mut [&mut Worker], time: Duration) {
    futures::future::join_all(workers.iter_mut().map(|worker| worker.live(time))).await;
}

fn counts(workers: &[&Worker]) -> Vec<usize> {
    let mut counts: Vec<usize> = workers.iter().map(|worker| worker.leases.len()).collect();
    counts.sort_unstable();
    counts
}

#[tokio::test(start_paused = true)]
async fn one_worker_takes_everything_at_once() {
    let store = store_with(8).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(Duration::from_millis(50)).await;
    assert_eq!(a.leases.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn l6_a_newcomer_gets_its_share_by_hand_over_within_seconds() {
    let store = store_with(8).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), vec![4, 4]);
    let mut c = Worker::join(&store, "c").await.unwrap();
    live_all(&mut [&mut a, &mut b, &mut c], 3 * SECOND).await;
    assert_eq!(counts(&[&a, &b, &c]), vec![2, 3, 3]);
    // Each lease was acquired once and handed over at most twice.
    let rows = store.list(&group(), Listing::All).await.unwrap().leases;
    assert!(rows.iter().map(|row| row.epoch.0).sum::<u64>() == 8 + 4 + 2, "{rows:?}");
}

/// Claims and hand-overs whose notes fail are not left to the next reconciliation.
#[tokio::test(start_paused = true)]
async fn l6_notes_that_fail_are_left_within_a_heartbeat_or_two() {
    let store = store_with(8).await;
    let links = [1, 2].map(|seed| FaultyStore::new(store.clone(), seed));
    let config = || MemberConfig { process: None, ..MemberConfig::default() };
    let mut a = Worker::join_with(&links[0], "a", config()).await.unwrap();
    a.live(SECOND).await;
    links.iter().for_each(|link| link.next(StoreOperation::Notify, StoreFault::FailBefore, 4));
    let mut b = Worker::join_with(&links[1], "b", config()).await.unwrap();
    live_all(&mut [&mut a, &mut b], 6 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), vec![4, 4]);
    assert_eq!(links.map(|link| link.injected()), [4, 4]);
}

/// More claims at once than a mailbox has room for notes.
#[tokio::test(start_paused = true)]
async fn l6_a_full_mailbox_is_a_reason_to_look() {
    let store = store_with(100).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let link = FaultyStore::new(store.clone(), 1);
    // Until the other has seen the newcomer and nothing claimed.
    link.next(StoreOperation::ListAll, StoreFault::DelayReply(2 * SECOND), 1);
    let config = MemberConfig { process: None, ..MemberConfig::default() };
    let mut b = Worker::join_with(&link, "b", config).await.unwrap();
    live_all(&mut [&mut a, &mut b], 6 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), vec![50, 50]);
}

/// The first try emptied the mailbox, and the reply that had the notes was lost.
#[tokio::test(start_paused = true)]
async fn l6_notes_in_a_lost_reply_of_a_heartbeat_are_looked_for() {
    let store = store_with(4).await;
    let link = FaultyStore::new(store.clone(), 1);
    let config = MemberConfig { process: None, ..MemberConfig::default() };
    let mut a = Worker::join_with(&link, "a", config).await.unwrap();
    a.live(5 * SECOND + SECOND / 2).await;
    operator::operator(&store).pause(&Scope::Group).await.unwrap();
    link.next(StoreOperation::Heartbeat, StoreFault::Retry, 1);
    a.live(2 * SECOND).await;
    assert_eq!(link.injected(), 1);
    assert!(a.leases.len() == 4 && a.leases.values().all(Lease::is_paused));
}

/// The hand-over takes effect, its reply is lost, and nothing can be read for a moment.
#[tokio::test(start_paused = true)]
async fn c13_a_hand_over_that_took_effect_unseen_is_found_done() {
    let store = store_with(1).await;
    let link = FaultyStore::new(store.clone(), 1);
    let config = MemberConfig { process: None, ..MemberConfig::default() };
    let mut a = Worker::join_with(&link, "a", config).await.unwrap();
    a.live(SECOND).await;
    let lease = a.leases.pop_first().unwrap().1;
    link.next(StoreOperation::HandOver, StoreFault::LoseReply, 1);
    link.next(StoreOperation::Read, StoreFault::FailBefore, 1);
    assert_eq!(lease.hand_over(Some(at(7)), CheckpointMetadata::default()).await.unwrap().to, None);
    assert_eq!(link.injected(), 2);
    assert_eq!(store.lease(&group(), &key(0)).await.unwrap().unwrap().position, at(7));
}

#[tokio::test(start_paused = true)]
async fn l2_a_clean_stop_moves_leases_within_two_seconds() {
    let store = store_with(4).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), vec![2, 2]);
    a.leave().await;
    b.live(2 * SECOND - SECOND / 5).await;
    assert_eq!(b.leases.len(), 4);
    let workers = store.list(&group(), Listing::Workers).await.unwrap().workers;
    assert_eq!(workers.len(), 1, "the row of the worker that left is gone");
}

#[tokio::test(start_paused = true)]
async fn l1_a_killed_workers_leases_are_taken_after_the_failover_time_and_not_before() {
    let store = store_with(6).await;
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(Worker::join(&store, name).await.unwrap());
    }
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 5 * SECOND).await;
    assert_eq!(counts(&workers.iter().collect::<Vec<_>>()), vec![2, 2, 2]);
    workers.remove(0).die();
    // Its last heartbeat was up to two fifths of the failover time ago.
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 5 * SECOND).await;
    assert_eq!(counts(&workers.iter().collect::<Vec<_>>()), vec![2, 2], "not before");
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 7 * SECOND).await;
    assert_eq!(counts(&workers.iter().collect::<Vec<_>>()), vec![3, 3]);
    // It died young, which is remembered for twelve failover times.
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 160 * SECOND).await;
    let rows = store.list(&group(), Listing::Workers).await.unwrap().workers;
    assert!(rows.iter().all(|row| row.state == WorkerState::Alive), "the fenced row is retired: {rows:?}");
}

/// The duty passes on: nine of ten live workers cannot remove rows, and one of them always comes first.
#[tokio::test(start_paused = true)]
async fn rows_of_the_dead_are_removed_although_most_workers_cannot() {
    let store = store_with(0).await;
    let config = || MemberConfig { process: None, ..MemberConfig::default() };
    let mut workers = vec![Worker::join(&store, "able").await.unwrap()];
    for seed in 0..9 {
        let link = FaultyStore::new(store.clone(), seed);
        link.chance(StoreOperation::Delete, StoreFault::FailBefore, 1.0);
        workers.push(Worker::join_with(&link, &format!("unable-{seed}"), config()).await.unwrap());
    }
    Worker::join(&store, "dead").await.unwrap().die();
    for _ in 0..300 {
        sleep(30 * SECOND).await;
        if store.list(&group(), Listing::Workers).await.unwrap().workers.len() == workers.len() {
            return;
        }
    }
    panic!("the row is still there after 300 intervals");
}

#[tokio::test(start_paused = true)]
async fn c5_a_stale_owner_may_not_use_its_lease_nor_store_a_position() {
    let store = store_with(1).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let lease = a.leases.pop_first().unwrap().1;
    assert!(lease.is_valid());
    // The other side's view of a freeze: fenced, and the lease taken.
    let row = store.worker(&group(), a.member.id()).await.unwrap().unwrap();
    store.update_worker(&group(), &row.id, &WorkerUpdate::Fence { seen: row.heartbeat }).await.unwrap();
    let mut b = Worker::join(&store, "b").await.unwrap();
    b.live(SECOND / 2).await;
    assert_eq!(b.leases.len(), 1);
    let error = lease.checkpoint(at(5), CheckpointMetadata::default()).await.unwrap_err();
    assert!(error.to_string().contains("lost"), "{error}");
    let cause = timeout(2 * SECOND, lease.lost()).await.unwrap();
    assert!(matches!(cause, LeaseLostReason::Taken | LeaseLostReason::Fenced));
    assert!(!lease.is_valid());
    a.live(2 * SECOND).await;
    assert!(a.fenced, "the heartbeat tells it that it is dead");
    assert_eq!(store.lease(&group(), &key(0)).await.unwrap().unwrap().position, Position::TrimHorizon);
}

#[tokio::test(start_paused = true)]
async fn c3_a_lease_whose_task_died_is_granted_again_under_a_new_epoch() {
    let store = store_with(1).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let lease = a.leases.pop_first().unwrap().1;
    let epoch = lease.epoch();
    lease.checkpoint(at(7), CheckpointMetadata::default()).await.unwrap();
    drop(lease);
    a.live(SECOND).await;
    let again = &a.leases[&key(0)];
    assert!(again.epoch() > epoch);
    assert_eq!(again.position(), at(7));
}

#[tokio::test(start_paused = true)]
async fn c5_a_late_reply_does_not_revive_a_lease_that_was_handed_over() {
    let store = store_with(1).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let lease = a.leases.pop_first().unwrap().1;
    // As the reply to its acquisition would bring it.
    let late = lease.row().clone();
    let mut b = Worker::join(&store, "b").await.unwrap();
    b.live(SECOND / 10).await;
    let update = LeaseUpdate::Claim { by: b.member.id().clone(), seen: late.epoch, over: None };
    store.update_lease(&group(), &key(0), &update).await.unwrap();
    a.member.request_reconcile();
    timeout(3 * SECOND, lease.yield_requested()).await.unwrap();
    assert_eq!(
        lease.hand_over(None, CheckpointMetadata::default()).await.unwrap().to.as_ref(),
        Some(b.member.id())
    );
    a.member.request_reconcile();
    sleep(SECOND).await;
    a.member.state.grant(late);
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    assert_eq!(b.leases.len(), 1);
    assert!(a.leases.is_empty());
}

#[tokio::test(start_paused = true)]
async fn positions_never_fall_and_the_same_one_is_not_written_twice() {
    let store = store_with(1).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let lease = &a.leases[&key(0)];
    lease.checkpoint(at(7), CheckpointMetadata::default()).await.unwrap();
    let before = store.lease(&group(), &key(0)).await.unwrap();
    lease.checkpoint(at(7), CheckpointMetadata::default()).await.unwrap();
    assert_eq!(store.lease(&group(), &key(0)).await.unwrap(), before);
    assert!(
        lease
            .checkpoint(at(6), CheckpointMetadata::default())
            .await
            .unwrap_err()
            .to_string()
            .contains("behind")
    );
}

#[tokio::test(start_paused = true)]
async fn a_finished_shards_children_are_taken_at_once_and_a_merge_waits_for_both_parents() {
    let store = store_with(2).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let child = LeaseRow::new(key(9), Position::TrimHorizon).with_parents(vec![key(0).shard, key(1).shard]);
    a.leases.remove(&key(0)).unwrap().finish(vec![child.clone()]).await.unwrap();
    a.live(40 * SECOND).await;
    assert_eq!(a.leases.keys().collect::<Vec<_>>(), vec![&key(1)]);
    a.leases.remove(&key(1)).unwrap().finish(vec![child]).await.unwrap();
    a.live(SECOND / 10).await;
    assert_eq!(a.leases.keys().collect::<Vec<_>>(), vec![&key(9)]);
    let parent = store.lease(&group(), &key(0)).await.unwrap().unwrap();
    assert_eq!((parent.position, parent.owner), (Position::ShardEnd, None));
}

#[tokio::test(start_paused = true)]
async fn a_seek_restarts_the_shard_from_there_and_refuses_a_checkpoint_in_flight() {
    let store = store_with(1).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    a.leases[&key(0)].checkpoint(at(9), CheckpointMetadata::default()).await.unwrap();
    let seen = a.leases[&key(0)].epoch();
    store.update_lease(&group(), &key(0), &LeaseUpdate::Seek { seen, to: at(3), order: None }).await.unwrap();
    let note = crate::row::WorkerNotification::Changed(key(0));
    store.update_worker(&group(), a.member.id(), &WorkerUpdate::Notify(note)).await.unwrap();
    assert!(a.leases[&key(0)].checkpoint(at(10), CheckpointMetadata::default()).await.is_err());
    a.live(2 * SECOND).await;
    let lease = &a.leases[&key(0)];
    assert_eq!((lease.position(), lease.epoch()), (at(3), seen.next()));
    lease.checkpoint(at(4), CheckpointMetadata::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l7_a_second_process_of_one_name_refuses_to_run() {
    let store = store_with(1).await;
    let a = Worker::join(&store, "same").await.unwrap();
    let error = Worker::join(&store, "same").await.err().unwrap();
    assert!(matches!(error, JoinError::DuplicateName { .. }), "{error}");
    assert!(error.to_string().contains("named `same` already"), "{error}");
    assert!(a.member.is_valid());
}

#[tokio::test(start_paused = true)]
async fn l7_two_newcomers_of_one_name_leave_exactly_one() {
    for offset in (0..40).map(|n| Duration::from_millis(n * 100)) {
        let store = store_with(1).await;
        let later = async {
            sleep(offset).await;
            Worker::join(&store, "same").await
        };
        let (a, b) = tokio::join!(Worker::join(&store, "same"), later);
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "offset={offset:?}");
    }
}

/// As where neither sees the other in a listing that lags behind.
#[tokio::test(start_paused = true)]
async fn l7_two_newcomers_of_one_name_see_each_other_although_listings_are_stale() {
    let store = store_with(1).await;
    let links = [1, 2].map(|seed| FaultyStore::new(store.clone(), seed));
    for link in &links {
        link.list(&group(), Listing::Workers).await.unwrap();
        link.chance(StoreOperation::ListWorkers, StoreFault::StaleListing, 1.0);
    }
    let config = || MemberConfig { process: None, ..MemberConfig::default() };
    let join = |link| Worker::join_with(link, "same", config());
    let (a, b) = tokio::join!(join(&links[0]), join(&links[1]));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
}

/// Listings are eventually consistent: the first one of a newcomer may lack its own row.
#[tokio::test(start_paused = true)]
async fn l3_a_newcomer_that_does_not_see_itself_at_first_has_the_free_leases_at_once() {
    let link = FaultyStore::new(store_with(4).await, 1);
    link.list(&group(), Listing::All).await.unwrap();
    link.next(StoreOperation::ListAll, StoreFault::StaleListing, 1);
    let mut a = Worker::join_with(&link, "a", MemberConfig::default()).await.unwrap();
    a.live(SECOND).await;
    assert_eq!(a.leases.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn l7_a_restart_waits_for_the_failover_time_unless_death_is_vouched_for() {
    for (unique, expected) in [(false, 10 * SECOND), (true, 2 * SECOND)] {
        let store = store_with(1).await;
        let mut a = Worker::join(&store, "same").await.unwrap();
        a.live(SECOND).await;
        a.die();
        let begun = Instant::now();
        let config = MemberConfig { unique_worker_names: unique, process: None, ..MemberConfig::default() };
        let mut b = Worker::join_with(&store, "same", config).await.unwrap();
        assert_eq!(begun.elapsed(), expected);
        b.live(SECOND / 10).await;
        assert_eq!(b.leases.len(), 1);
    }
}

/// Listings are eventually consistent: they may show an older beat after a newer one.
#[tokio::test(start_paused = true)]
async fn l7_a_beat_that_a_stale_listing_moves_is_no_sign_of_life() {
    for seed in 0..20 {
        let link = FaultyStore::new(store_with(1).await, seed);
        let config = || MemberConfig { process: None, ..MemberConfig::default() };
        let mut a = Worker::join_with(&link, "same", config()).await.unwrap();
        a.live(8 * SECOND).await;
        a.die();
        link.chance(StoreOperation::ListWorkers, StoreFault::StaleListing, 0.5);
        Worker::join_with(&link, "same", config()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_contradict_each_other_are_refused() {
    let store = store_with(0).await;
    let config = MemberConfig {
        heartbeat: 5 * SECOND,
        failover: 10 * SECOND,
        process: None,
        ..MemberConfig::default()
    };
    let error = Worker::join_with(&store, "a", config).await.err().unwrap();
    assert!(error.to_string().contains("two heartbeats and a half"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn l9_a_quiet_fleet_moves_nothing() {
    let store = store_with(9).await;
    let mut workers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        workers.push(Worker::join(&store, name).await.unwrap());
    }
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 10 * SECOND).await;
    assert_eq!(counts(&workers.iter().collect::<Vec<_>>()), vec![2, 2, 2, 3]);
    let before = store.list(&group(), Listing::All).await.unwrap().leases;
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 300 * SECOND).await;
    assert_eq!(store.list(&group(), Listing::All).await.unwrap().leases, before);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_started_at_once_owns_everything_within_seconds() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let store = store_with(rng.random_range(1..8)).await;
        let mut joining = Vec::new();
        for name in ["a", "b", "c"] {
            let link = FaultyStore::new(store.clone(), rng.random());
            for millis in [1, 2, 5, 20] {
                link.chance(FaultTarget::All, StoreFault::Delay(Duration::from_millis(millis)), 0.3);
                link.chance(FaultTarget::All, StoreFault::DelayReply(Duration::from_millis(millis)), 0.3);
            }
            let offset = Duration::from_millis(rng.random_range(0..60));
            joining.push(async move {
                sleep(offset).await;
                let config = MemberConfig { process: None, ..MemberConfig::default() };
                Worker::join_with(&link, name, config).await.unwrap()
            });
        }
        let mut workers = futures::future::join_all(joining).await;
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), SECOND).await;
        let rows = store.list(&group(), Listing::All).await.unwrap().leases;
        assert!(rows.iter().all(|row| row.owner.is_some()), "seed={seed} {rows:#?}");
        live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 4 * SECOND).await;
        let counts = counts(&workers.iter().collect::<Vec<_>>());
        assert!(counts[2] - counts[0] <= 1, "seed={seed} {counts:?}");
    }
}

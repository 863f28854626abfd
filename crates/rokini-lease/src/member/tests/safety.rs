//! Never two valid owners: lost replies, machines that stand still, settings that differ, copies of a process.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::control;
use super::super::heartbeat::{self, CallValues};
use super::super::state::MemberState;
use super::*;
use crate::clock::ClockSource;
use crate::types::Epoch;

fn config() -> MemberConfig {
    MemberConfig { heartbeat: SECOND, process: None, ..MemberConfig::default() }
}

fn valid(worker: &Worker) -> bool {
    worker.leases.values().any(Lease::is_valid)
}

/// Lets both live, and says for how long both were valid owners of the one lease at once.
async fn both_valid(a: &mut Worker, b: &mut Worker, time: Duration) -> Duration {
    const STEP: Duration = Duration::from_millis(100);
    let (end, mut both) = (Instant::now() + time, Duration::ZERO);
    while Instant::now() < end {
        live_all(&mut [a, b], STEP).await;
        both += if valid(a) && valid(b) { STEP } else { Duration::ZERO };
    }
    both
}

async fn counter(store: &MemoryStore, worker: &Worker) -> u64 {
    store.worker(&group(), worker.member.id()).await.unwrap().unwrap().heartbeat
}

/// A heartbeat lands and its reply is lost; the link is down for most of the failover time; then the first try of a call is
/// lost and the second refused, because the earlier heartbeat stands there.
#[tokio::test(start_paused = true)]
async fn l4_a_heartbeat_that_is_found_by_reading_back_counts_from_its_own_call() {
    let store = store_with(1).await;
    let link = FaultyStore::new(store.clone(), 1);
    let mut a = Worker::join_with(&link, "a", config()).await.unwrap();
    a.live(3 * SECOND).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    assert_eq!((a.leases.len(), b.leases.len()), (1, 0));
    let before = counter(&store, &a).await;
    link.next(StoreOperation::Heartbeat, StoreFault::LoseReply, 1);
    while counter(&store, &a).await == before {
        live_all(&mut [&mut a, &mut b], Duration::from_millis(10)).await;
    }
    let landed = Instant::now();
    link.outage(true);
    let early = both_valid(&mut a, &mut b, 9 * SECOND).await;
    assert!(!valid(&a), "no heartbeat of it is younger than three quarters of the failover time");
    link.outage(false);
    link.next(StoreOperation::Heartbeat, StoreFault::Retry, 1);
    // A heartbeat is only found, never made: reads and everything after it stay lost.
    while landed.elapsed() < 9 * SECOND + SECOND / 2 && a.member.heartbeats().age > 5 * SECOND {
        live_all(&mut [&mut a, &mut b], Duration::from_millis(10)).await;
    }
    link.outage(true);
    let late = both_valid(&mut a, &mut b, 20 * SECOND).await;
    assert_eq!((early, late), (Duration::ZERO, Duration::ZERO));
}

/// As above, but the reply of the second call comes: what was stored by the first one counts for as long as it would have
/// with its reply.
#[tokio::test(start_paused = true)]
async fn l4_a_heartbeat_whose_reply_was_lost_counts_once_it_is_found() {
    let store = store_with(1).await;
    let link = FaultyStore::new(store.clone(), 1);
    let mut a = Worker::join_with(&link, "a", config()).await.unwrap();
    a.live(3 * SECOND).await;
    for fault in [StoreFault::LoseReply, StoreFault::Retry] {
        let (stored, injected) = (a.member.heartbeats().stored, link.injected());
        link.next(StoreOperation::Heartbeat, fault, 1);
        a.live(3 * SECOND).await;
        assert_eq!(link.injected(), injected + 1);
        assert!(a.member.heartbeats().stored >= stored + 2 && valid(&a) && !a.fenced, "{fault:?}");
    }
}

/// A host whose clocks can be told to have gone on while the process stood still.
#[derive(Default)]
struct Host {
    suspended_millis: AtomicU64,
    wall_millis: AtomicU64,
    begun: Mutex<Option<Instant>>,
}

impl Host {
    fn running(&self) -> u64 {
        self.begun.lock().unwrap().get_or_insert_with(Instant::now).elapsed().as_millis() as u64
    }
}

struct Clocks(Arc<Host>);

impl ClockSource for Clocks {
    fn wall_millis(&self) -> u64 {
        self.0.running() + self.0.wall_millis.load(Ordering::Relaxed)
    }

    fn with_suspension(&self) -> Option<Duration> {
        let suspended = self.0.suspended_millis.load(Ordering::Relaxed);
        Some(Duration::from_millis(self.0.running() + suspended))
    }
}

/// The monotonic clock of Linux, and so every timer, stands still in suspension.
#[tokio::test(start_paused = true)]
async fn l4_a_suspended_machine_does_not_use_its_leases_when_it_wakes() {
    let store = store_with(1).await;
    let host = Arc::new(Host::default());
    host.wall_millis.store(1_000_000, Ordering::Relaxed);
    let clock = WallClock::new(Clocks(Arc::clone(&host)));
    let mut a = Worker::join_on(&store, "a", config(), clock, 3).await.unwrap();
    a.live(3 * SECOND).await;
    assert!(valid(&a));

    // Of the wall clock alone, a jump back is nothing; one forward may have been a suspension.
    host.wall_millis.fetch_add(8_000, Ordering::Relaxed);
    assert!(!valid(&a));
    a.live(2 * SECOND).await;
    assert!(valid(&a), "the next heartbeat begins anew");
    host.wall_millis.fetch_sub(900_000, Ordering::Relaxed);
    assert!(valid(&a));

    let validity = a.leases.values().next().unwrap().validity();
    let wakes = TaskTracker::new().spawn(async move { validity.until_invalid().await });
    a.live(SECOND / 10).await;
    host.suspended_millis.fetch_add(60_000, Ordering::Relaxed);
    assert!(!valid(&a), "at once, before anything of it ran");
    // Meanwhile it was declared dead.
    let row = store.worker(&group(), a.member.id()).await.unwrap().unwrap();
    store.update_worker(&group(), &row.id, &WorkerUpdate::Fence { seen: row.heartbeat }).await.unwrap();
    timeout(SECOND, wakes)
        .await
        .expect("whoever waits learns so with the next heartbeat, not the next timer")
        .unwrap();
    a.live(2 * SECOND).await;
    assert!(a.fenced);
}

/// The rolling change of a setting: the old workers are valid for longer than the new ones wait.
#[tokio::test(start_paused = true)]
async fn l4_a_watcher_waits_for_the_longer_of_its_own_and_the_rows_failover_time() {
    let store = store_with(1).await;
    let link = FaultyStore::new(store.clone(), 1);
    let slow = MemberConfig { failover: 60 * SECOND, ..config() };
    let mut a = Worker::join_with(&link, "a", slow).await.unwrap();
    a.live(3 * SECOND).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
    link.outage(true);
    assert_eq!(both_valid(&mut a, &mut b, 59 * SECOND).await, Duration::ZERO);
    assert_eq!(both_valid(&mut a, &mut b, 5 * SECOND).await, Duration::ZERO);
    assert!(valid(&b), "it is taken over after that time");
}

/// A copy of a running process, as of a machine that was cloned: the same incarnation, the same randomness, the same leases.
fn copy_of(worker: &Worker, store: &MemoryStore, clock: WallClock, seed: u64) -> Worker {
    let (id, begun) = (worker.member.id().clone(), clock.read());
    let (state, events): (Arc<MemberState>, _) =
        MemberState::new(Arc::new(store.clone()), group(), id, config(), clock.clone(), begun);
    let calls = CallValues::new(clock, StdRng::seed_from_u64(seed));
    TaskTracker::new().spawn(heartbeat::supervised(Arc::clone(&state), calls));
    TaskTracker::new().spawn(control::supervised(Arc::clone(&state), StdRng::seed_from_u64(seed)));
    let events = MemberEvents::new(Arc::clone(&state), events);
    Worker {
        member: Member { state, tasks: TaskTracker::new() },
        events,
        leases: BTreeMap::new(),
        fenced: false,
        panics: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn l4_two_processes_of_one_incarnation_both_stop() {
    let store = store_with(1).await;
    let mut a = Worker::join_on(&store, "a", config(), WallClock::from_fn(|| 1_000), 7).await.unwrap();
    let mut b = copy_of(&a, &store, WallClock::from_fn(|| 1_001), 7);
    live_all(&mut [&mut a, &mut b], 5 * SECOND).await;
    for worker in [&a, &b] {
        assert!(!worker.member.is_valid() && !valid(worker) && worker.member.held() == 0);
    }
    let row = store.worker(&group(), a.member.id()).await.unwrap();
    assert!(row.is_none_or(|row| row.state == WorkerState::Fenced));
}

/// Two processes that begin with the same randomness.
#[tokio::test(start_paused = true)]
async fn l4_an_incarnation_that_is_taken_is_not_joined_under() {
    let store = store_with(1).await;
    let clock = || WallClock::from_fn(|| 0);
    let mut a = Worker::join_on(&store, "a", config(), clock(), 7).await.unwrap();
    a.live(5 * SECOND).await;
    let second = {
        let second = Worker::join_on(&store, "a", config(), clock(), 7);
        tokio::select! {
            second = second => second,
            () = a.live(60 * SECOND) => panic!("it waits for ever"),
        }
    };
    assert!(matches!(second, Err(JoinError::DuplicateName { .. })));
    assert!(valid(&a));
}

/// A former holder is not held up by the epochs that the lease had before it was deleted, and does not repeat them.
#[tokio::test(start_paused = true)]
async fn c16_the_epochs_of_a_lease_made_anew_go_on_above_the_old_ones() {
    let store = store_with(1).await;
    let mut a =
        Worker::join_on(&store, "a", config(), WallClock::from_fn(|| 1_700_000_000_000), 1).await.unwrap();
    a.live(2 * SECOND).await;
    let first = a.leases[&key(0)].epoch();
    assert!(first >= Epoch(1_700_000_000_000), "they begin with the time: {first}");
    // It was moved many times in its life, faster than once in a millisecond.
    let mut row = store.lease(&group(), &key(0)).await.unwrap().unwrap();
    store.delete_lease(&group(), &key(0), row.epoch).await.unwrap();
    (row.epoch, row.owner) = (Epoch(1_700_000_000_500), None);
    store.insert_lease(&group(), &row).await.unwrap();
    a.member.request_reconcile();
    a.live(2 * SECOND).await;
    let second = a.leases[&key(0)].epoch();
    assert!(second > Epoch(1_700_000_000_500));
    // Deleted and made anew while this worker holds it.
    store.delete_lease(&group(), &key(0), second).await.unwrap();
    store.insert_lease(&group(), &LeaseRow::new(key(0), Position::TrimHorizon)).await.unwrap();
    a.member.request_reconcile();
    a.live(2 * SECOND).await;
    let third = a.leases[&key(0)].epoch();
    assert!(third > second, "{first} {second} {third}");
}

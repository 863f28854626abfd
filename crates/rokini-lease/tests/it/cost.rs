//! What coordination costs, counted, and `docs/COST.md` held against the figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{
    CheckpointMetadata, CountingStore, Counts, FaultyStore, GroupId, HashRange, Lease, LeaseKey, LeaseRow,
    LeaseStoreExt, Member, MemberConfig, MemberEvent, MemberEvents, MemoryStore, Position, ShardId,
    StoreOperation, StreamId, StreamRow, WallClock, WorkerName,
};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// An hour is counted by this part of it.
const PER_HOUR: u32 = 6;

type Store = CountingStore<MemoryStore>;

struct Worker {
    link: FaultyStore<Store>,
    member: Member,
    events: MemberEvents,
    leases: BTreeMap<LeaseKey, Lease>,
}

/// Workers on one store, in virtual time.
struct Fleet {
    store: Store,
    tracker: TaskTracker,
    workers: Vec<Worker>,
    joined: u64,
}

fn group() -> GroupId {
    GroupId::new("billing").unwrap()
}

/// A name as Kinesis gives it.
fn key(n: usize) -> LeaseKey {
    let stream = StreamId::new("orders@1700000000123").unwrap();
    LeaseKey::new(stream, ShardId::new(format!("shardId-{n:012}")).unwrap())
}

/// A position as Kinesis makes it: 56 digits.
fn position(n: u64) -> Position {
    Position::after(format!("4959033827149025660855969253836157109592{n:016}").parse().unwrap())
}

impl Fleet {
    async fn new(leases: usize) -> Self {
        let store = CountingStore::new(MemoryStore::new());
        let id = StreamId::new("orders@1700000000123").unwrap();
        let row = StreamRow { id, name: "orders".to_owned(), start: Position::TrimHorizon };
        store.insert_stream(&group(), &row).await.unwrap();
        for n in 0..leases {
            let width = u128::MAX / leases as u128;
            let range = HashRange { start: width * n as u128, end: width * (n as u128 + 1) };
            let row = LeaseRow::new(key(n), position(1)).with_hash_range(range);
            store.insert_lease(&group(), &row).await.unwrap();
        }
        Self { store, tracker: TaskTracker::new(), workers: Vec::new(), joined: 0 }
    }

    async fn join(&mut self) {
        self.joined += 1;
        // As a pod is named.
        let name = WorkerName::new(format!("orders-7d9f8b6c5-{:05}", self.joined)).unwrap();
        let link = FaultyStore::new(self.store.clone(), self.joined);
        let (store, clock) = (Arc::new(link.clone()), WallClock::from_fn(|| 1_700_000_000_123));
        let rng = StdRng::seed_from_u64(self.joined);
        let config = MemberConfig::default();
        let joined = Member::join(store, group(), name, config, clock, rng, &self.tracker);
        let (member, events) = joined.await.unwrap();
        self.workers.push(Worker { link, member, events, leases: BTreeMap::new() });
    }

    /// Lives for a while: takes what is granted, hands over what is asked for.
    async fn live(&mut self, time: Duration, step: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for worker in &mut self.workers {
                while let Some(event) = worker.events.try_recv() {
                    if let MemberEvent::Granted(lease) = event {
                        worker.leases.insert(lease.key().clone(), lease);
                    }
                }
                let asked = |lease: &&Lease| lease.yield_requested().now_or_never().is_some();
                let asked: Vec<LeaseKey> =
                    worker.leases.values().filter(asked).map(|lease| lease.key().clone()).collect();
                for key in asked {
                    let lease = worker.leases.remove(&key).unwrap();
                    let done = Some(lease.position());
                    lease.hand_over(done, CheckpointMetadata::default()).await.unwrap();
                }
            }
            sleep(step).await;
        }
    }

    /// A fleet at rest.
    async fn settled(leases: usize, workers: usize) -> Self {
        let mut fleet = Self::new(leases).await;
        for _ in 0..workers {
            fleet.join().await;
        }
        fleet.live(10 * SECOND, SECOND / 20).await;
        let counts = || fleet.workers.iter().map(|worker| worker.leases.len());
        assert_eq!(counts().sum::<usize>(), leases, "all are held");
        assert!(counts().max().unwrap() - counts().min().unwrap() <= 1, "evenly");
        fleet
    }

    /// What comes on top in this time.
    async fn counted(&mut self, time: Duration) -> Counts {
        let before = self.store.snapshot();
        self.live(time, SECOND * 5).await;
        self.store.snapshot() - &before
    }

    fn held(&self) -> usize {
        self.workers.iter().map(|worker| worker.leases.len()).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn k1_20_idle_shards_of_one_worker_cost_60_writes_and_60_small_reads_a_minute() {
    let mut fleet = Fleet::settled(20, 1).await;
    fleet.live(60 * SECOND, SECOND).await;
    for _ in 0..5 {
        let counts = fleet.counted(60 * SECOND).await;
        eprintln!("20 idle shards, one worker, one minute: {counts}");
        assert!(counts.write_calls() <= 60 && counts.write_units() <= 60, "{counts}");
        assert_eq!(counts.of(StoreOperation::Heartbeat), counts.write_calls(), "heartbeats only");
        // The listings of all rows take the place of looks at the workers.
        assert!(counts.read_calls() <= 60, "{counts}");
        // Small: half a unit, but for the two listings of all rows.
        assert!(counts.read_units() <= 60.0 * 0.5 + 2.0 * 2.0, "{counts}");
    }
}

/// What the KCL 3.5 writes and reads in an hour at its defaults, in units: a renewal of each lease every 3.308 s;
/// each worker's metrics and the leader's lock every 30 s. Each worker queries an index every 10 s, all but the
/// leader look for the leader every 30 s by two consistent reads, and the leader scans the table every 20 s and
/// every 120 s (450 bytes a lease).
fn kcl(leases: f64, workers: f64) -> (f64, f64) {
    let writes = leases * 3600.0 / 3.308 + workers * 120.0 + 120.0;
    let scan = (leases * 450.0 / 4096.0 / 2.0).max(0.5);
    (writes, workers * 361.0 * 0.5 + (workers - 1.0) * 240.0 + scan * (180.0 + 30.0))
}

struct Sizes {
    leases: usize,
    workers: usize,
    counts: Counts,
}

/// What one change of the fleet costs on top of an idle fleet.
struct Change {
    what: &'static str,
    moved: usize,
    counts: Counts,
}

async fn idle(leases: usize, workers: usize) -> Sizes {
    let mut fleet = Fleet::settled(leases, workers).await;
    fleet.live(60 * SECOND, SECOND).await;
    let counts = fleet.counted(HOUR / PER_HOUR).await;
    assert_eq!((counts.refused(), counts.failed()), (0, 0), "{counts}");
    assert_eq!(counts.write_calls(), counts.of(StoreOperation::Heartbeat), "{counts}");
    Sizes { leases, workers, counts }
}

/// 100 leases on 10 workers: one joins, one leaves, one dies.
async fn changes() -> Vec<Change> {
    let window = 60 * SECOND;
    let mut changes = Vec::new();

    let mut fleet = Fleet::settled(100, 9).await;
    let before = fleet.store.snapshot();
    fleet.join().await;
    let joined = fleet.workers.last().unwrap().member.id().clone();
    fleet.live(window, SECOND / 20).await;
    let moved = fleet.workers.iter().find(|worker| *worker.member.id() == joined).unwrap().leases.len();
    changes.push(Change {
        what: "a worker joins nine with 100 leases",
        moved,
        counts: fleet.store.snapshot() - &before,
    });

    let before = fleet.store.snapshot();
    let mut leaver = fleet.workers.remove(0);
    leaver.member.begin_leave();
    sleep(SECOND / 100).await;
    let mut moved = 0;
    while let Some((_, lease)) = leaver.leases.pop_first() {
        lease.yield_requested().await;
        let done = Some(lease.position());
        moved +=
            usize::from(lease.hand_over(done, CheckpointMetadata::default()).await.unwrap().to.is_some());
    }
    leaver.member.leave(Instant::now() + SECOND).await;
    fleet.live(window, SECOND / 20).await;
    assert_eq!(fleet.held(), 100);
    changes.push(Change { what: "one of ten leaves", moved, counts: fleet.store.snapshot() - &before });

    let before = fleet.store.snapshot();
    let dead = fleet.workers.remove(0);
    let moved = dead.leases.len();
    // The end of a process: nothing reaches the store any more.
    dead.link.outage(true);
    std::mem::forget(dead.leases);
    fleet.live(window, SECOND / 20).await;
    assert_eq!(fleet.held(), 100);
    changes.push(Change { what: "one of nine dies", moved, counts: fleet.store.snapshot() - &before });
    changes
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn hourly(value: f64) -> String {
    thousands(value * f64::from(PER_HOUR))
}

fn page(sizes: &[Sizes], changes: &[Change], checkpoint: &Counts) -> String {
    let mut page = String::new();
    page.push_str("| an hour of | writes | write units | reads | read units | KCL 3.5: write units | read units | write units, KCL to Rokini |\n");
    page.push_str("|---|---:|---:|---:|---:|---:|---:|---:|\n");
    for Sizes { leases, workers, counts } in sizes {
        let (writes, reads) = kcl(*leases as f64, *workers as f64);
        let plural = if *workers == 1 { "" } else { "s" };
        writeln!(
            page,
            "| {} idle shards, {workers} worker{plural} | {} | {} | {} | {} | {} | {} | {:.0} |",
            thousands(*leases as f64),
            hourly(counts.write_calls() as f64),
            hourly(counts.write_units() as f64),
            hourly(counts.read_calls() as f64),
            hourly(counts.read_units()),
            thousands(writes),
            thousands(reads),
            writes / (counts.write_units() * u64::from(PER_HOUR)) as f64,
        )
        .unwrap();
    }
    let calls = |counts: &Counts, operations: &[StoreOperation]| -> u64 {
        operations.iter().map(|operation| counts.of(*operation)).sum()
    };
    page.push_str("\n| what | leases moved | writes beside heartbeats | full listings | single reads |\n");
    page.push_str("|---|---:|---:|---:|---:|\n");
    let others = |counts: &Counts| counts.write_calls() - counts.of(StoreOperation::Heartbeat);
    writeln!(page, "| a position is stored | | {} | | |", others(checkpoint)).unwrap();
    for Change { what, moved, counts } in changes {
        let (lists, reads) =
            (calls(counts, &[StoreOperation::ListAll]), calls(counts, &[StoreOperation::Read]));
        writeln!(page, "| {what} | {moved} | {} | {lists} | {reads} |", others(counts)).unwrap();
    }
    page
}

const BEGIN: &str = "<!-- counted: begin -->\n";
const END: &str = "<!-- counted: end -->";

#[tokio::test(start_paused = true)]
async fn k1_the_cost_page_says_what_is_counted() {
    let mut sizes = Vec::new();
    for (leases, workers) in [(20, 1), (100, 3), (1000, 10)] {
        sizes.push(idle(leases, workers).await);
    }
    for Sizes { workers, counts, .. } in &sizes {
        assert!(
            counts.write_units() * u64::from(PER_HOUR) <= 3600 * *workers as u64,
            "a heartbeat a second: {counts}"
        );
    }
    let large = sizes.last().unwrap();
    let (writes, _) = kcl(1000.0, 10.0);
    let ours = (large.counts.write_units() * u64::from(PER_HOUR)) as f64;
    assert!(ours * 20.0 <= writes, "1,000 shards on 10 workers: {ours} of {writes}");

    let mut fleet = Fleet::settled(1, 1).await;
    let before = fleet.store.snapshot();
    let mut metadata = CheckpointMetadata::default();
    (metadata.record_arrival_millis, metadata.caught_up_millis) = (Some(1), Some(1));
    fleet.workers[0].leases[&key(0)].checkpoint(position(2), metadata).await.unwrap();
    let checkpoint = fleet.store.snapshot() - &before;
    assert_eq!(checkpoint.write_units(), 1, "{checkpoint}");
    fleet.live(SECOND, SECOND).await;

    let found = page(&sizes, &changes().await, &checkpoint);
    eprintln!("{found}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/COST.md");
    let whole = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = whole.split_once(BEGIN).expect("the page says where the figures begin");
    let (figures, tail) = rest.split_once(END).expect("the page says where the figures end");
    if std::env::var_os("ROKINI_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{found}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        figures, found,
        "docs/COST.md differs: ROKINI_WRITE_DOCS=1 cargo test -p rokini-lease --test it cost::"
    );
}

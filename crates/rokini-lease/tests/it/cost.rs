//! What coordination costs, counted, and `docs/COST.md` held against the figures.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rokini_lease::{
    CapacityUnits, CheckpointMetadata, CountingStore, FleetShape, JoinAttempts, Member, MemberConfig,
    MemberEvent, StoreOperation, WallClock, WorkerName,
};
use tokio::time::{Instant, sleep};

use self::fleet::{Fleet, SECOND, Spent, at_rest, group, position};

mod fleet;

/// Those up to this many leases are counted; the others take a test too long, and are by formula.
const COUNTED: u32 = 100;
const SHAPES: [(u32, u32); 12] = [
    (1, 1),
    (1, 20),
    (10, 10),
    (10, 20),
    (20, 20),
    (100, 20),
    (100, 100),
    (10, 1_000),
    (100, 1_000),
    (1_000, 1_000),
    (100, 10_000),
    (1_000, 10_000),
];

#[tokio::test(start_paused = true)]
async fn k1_20_idle_shards_of_one_worker_cost_15_writes_and_40_small_reads_a_minute() {
    let fleet = Fleet::settled(20, 1).await;
    sleep(60 * SECOND).await;
    for _ in 0..5 {
        let before = fleet.workers[0].counts();
        sleep(60 * SECOND).await;
        let counts = fleet.workers[0].counts() - &before;
        eprintln!("20 idle shards, one worker, one minute: {counts}");
        assert!(counts.write_calls() <= 16 && counts.write_units() <= 16, "{counts}");
        assert_eq!(counts.of(StoreOperation::Heartbeat), counts.write_calls(), "heartbeats only");
        // Small: half a unit, but for the listings of all rows.
        assert!(counts.read_calls() <= 45 && counts.read_units() <= 45.0 * 0.5 + 3.0 * 2.0, "{counts}");
    }
}

/// One shape at rest.
struct Rest {
    shape: FleetShape,
    counted: CapacityUnits,
}

impl Rest {
    async fn count((workers, leases): (u32, u32)) -> Self {
        let shape = FleetShape { workers, leases };
        let spent = at_rest(shape).await;
        assert!(spent.refused == 0.0, "nothing is refused at rest: {spent:?}");
        let counted = CapacityUnits { writes: spent.writes, reads: spent.reads };
        Self { shape, counted }
    }

    fn hold(&self) {
        let Self { shape, counted, .. } = self;
        let usd = |units: CapacityUnits| units.per_month().usd();
        let (ours, model, kcl) = (usd(*counted), usd(shape.cost_at_rest()), usd(shape.kcl_cost_at_rest()));
        eprintln!(
            "{shape:?}: counted {counted:?}, {ours:.2} USD a month, by formula {model:.2}, KCL {kcl:.2}"
        );
        assert!(ours <= kcl * 1.1, "{shape:?}: {ours:.2} USD against {kcl:.2}");
        if shape.leases >= 2 * shape.workers || shape.workers > shape.leases {
            assert!(ours < kcl, "{shape:?}: {ours:.2} USD against {kcl:.2}");
        }
        assert!((ours / model - 1.0).abs() < 0.12, "{shape:?}: counted {ours:.2} USD, by formula {model:.2}");
        // What one worker costs has a bound, whatever the fleet.
        let each = *counted * (1.0 / f64::from(shape.workers));
        assert!(each.writes <= 0.27 && each.reads <= 0.75, "{shape:?}: {each:?} a second and worker");
    }
}

/// One change of a fleet.
struct Change {
    workers: u32,
    leases: u32,
    what: &'static str,
    moved: usize,
    seconds: Duration,
    spent: Spent,
    /// Half read units of one listing of everything.
    listing: f64,
}

impl Change {
    /// Two listings, eight calls a lease that moved, and a few for the worker that comes or goes.
    fn hold(&self) {
        let calls = self.spent.write_calls + self.spent.read_calls;
        let Self { workers, leases, what, moved, seconds, .. } = self;
        eprintln!("{workers} x {leases}, {what}: {moved} moved in {seconds:?}: {:?}", self.spent);
        let bound = 2.0 * self.listing + 8.0 * (*moved as f64) + 12.0;
        assert!(calls <= bound, "{workers} x {leases}, {what}: {calls} calls on top, bound {bound}");
    }
}

/// One worker joins, one leaves, one dies: what it costs beside what the fleet costs at rest.
async fn changes(workers: u32, leases: u32) -> Vec<Change> {
    let mut fleet = Fleet::settled(leases, workers - 1).await;
    let all = leases as usize;
    let window = 60 * SECOND;
    let mut changes = Vec::new();

    let (begun, before) = (Instant::now(), fleet.spent());
    fleet.join().await;
    let seconds = fleet.until(5 * SECOND, |fleet| fleet.is_even(all)).await;
    let moved = fleet.workers.last().unwrap().held();
    changes.push((
        workers,
        "a worker joins",
        moved,
        seconds,
        finish(&mut fleet, begun, before, window).await,
    ));

    let (begun, before) = (Instant::now(), fleet.spent());
    let leaver = fleet.take_out(0);
    let moved = leaver.held();
    leaver.member.begin_leave();
    while leaver.member.held() > 0 {
        sleep(SECOND / 100).await;
    }
    leaver.member.leave(Instant::now() + SECOND).await;
    let seconds = fleet.until(2 * SECOND, |fleet| fleet.loads().iter().sum::<usize>() == all).await;
    changes.push((workers, "one leaves", moved, seconds, finish(&mut fleet, begun, before, window).await));

    let (begun, before) = (Instant::now(), fleet.spent());
    let dead = fleet.take_out(0);
    let moved = dead.held();
    // The end of a process: nothing reaches the store any more.
    dead.link.outage(true);
    let limit = 12 * SECOND;
    let seconds = fleet.until(limit, |fleet| fleet.loads().iter().sum::<usize>() == all).await;
    changes.push((workers - 1, "one dies", moved, seconds, finish(&mut fleet, begun, before, window).await));

    let listing = (f64::from(leases) * 470.0 + f64::from(workers) * 310.0) / 4096.0;
    let change = |(workers, what, moved, seconds, spent)| Change {
        workers,
        leases,
        what,
        moved,
        seconds,
        spent,
        listing: listing.max(1.0),
    };
    changes.into_iter().map(change).collect()
}

/// What was spent since, beside what the fleet spends at rest in that time.
async fn finish(fleet: &mut Fleet, begun: Instant, before: Spent, window: Duration) -> Spent {
    let rest = window.saturating_sub(begun.elapsed());
    sleep(rest).await;
    let (spent, time) = (fleet.spent().minus(before), begun.elapsed());
    let (begun, before) = (Instant::now(), fleet.spent());
    sleep(600 * SECOND).await;
    let at_rest = fleet.spent().minus(before).times(time.as_secs_f64() / begun.elapsed().as_secs_f64());
    spent.minus(at_rest)
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

fn money(usd: f64) -> String {
    if usd < 100.0 { format!("{usd:.2}") } else { thousands(usd) }
}

/// The page has what the formulas say: counted fleets are held against them.
fn page() -> String {
    let mut page = String::new();
    page.push_str("| workers x leases | write units | read units | USD a month | KCL 3.5: write units | read units | USD a month | USD more, each, with all leases busy | the key's units a second: write, read |\n");
    page.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---|\n");
    for (workers, leases) in SHAPES {
        let shape = FleetShape { workers, leases };
        let (second, kcl) = (shape.cost_at_rest(), shape.kcl_cost_at_rest().per_month());
        let (month, busy) = (second.per_month(), CapacityUnits::of_positions(leases, Duration::from_secs(5)));
        let million = |value: f64| format!("{:.1} M", value / 1e6);
        writeln!(
            page,
            "| {} x {} | {} | {} | {} | {} | {} | {} | {} | {:.1}, {:.1} |",
            thousands(f64::from(workers)),
            thousands(f64::from(leases)),
            million(month.writes),
            million(month.reads),
            money(month.usd()),
            million(kcl.writes),
            million(kcl.reads),
            money(kcl.usd()),
            money(busy.per_month().usd()),
            second.writes,
            second.reads,
        )
        .unwrap();
    }
    page
}

const BEGIN: &str = "<!-- counted: begin -->\n";
const END: &str = "<!-- counted: end -->";

#[tokio::test(start_paused = true)]
async fn k1_a_stored_position_is_one_write() {
    let fleet = Fleet::new(1).await;
    let store = CountingStore::new(fleet.store.clone());
    let name = WorkerName::new("w").unwrap();
    let clock = WallClock::from_fn(|| 1_700_000_000_123);
    let link = Arc::new(store.clone());
    let attempts = JoinAttempts::new(1);
    let joined = Member::join(link, group(), name, MemberConfig::default(), clock, &attempts);
    let (_member, mut events) = joined.await.unwrap();
    let Some(MemberEvent::Granted(lease)) = events.recv().await else { panic!("a lease is granted") };
    let before = store.snapshot();
    let mut metadata = CheckpointMetadata::default();
    (metadata.record_arrival_millis, metadata.caught_up_millis) = (Some(1), Some(1));
    lease.checkpoint(position(2), metadata).await.unwrap();
    let counts = store.snapshot() - &before;
    assert_eq!((counts.write_units(), counts.of(StoreOperation::Checkpoint)), (1, 1), "{counts}");
}

#[tokio::test(start_paused = true)]
async fn k3_counted_fleets_cost_what_the_formulas_say_and_no_more_than_the_kcl() {
    for shape in SHAPES.into_iter().filter(|(_, leases)| *leases <= COUNTED) {
        Rest::count(shape).await.hold();
    }
}

#[tokio::test(start_paused = true)]
async fn k3_a_change_costs_two_listings_and_eight_calls_a_lease() {
    for (workers, leases) in [(10, 20), (20, 100)] {
        changes(workers, leases).await.iter().for_each(Change::hold);
    }
}

#[test]
fn k3_the_cost_page_says_what_the_formulas_say() {
    let found = page();
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

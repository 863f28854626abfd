//! One seed, one run: a fleet on a stream that reshards, disturbed for a while and then left in peace.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::{Batch, Consumer, Error, Handle};
use rokini_lease::store::Listing;
use rokini_lease::{
    CountingStore, Fault, FaultyStore, GroupId, LeaseStore, MemoryStore, Target, WallClock, WorkerState,
};
use tokio::task::{JoinHandle, spawn};
use tokio::time::{Instant, sleep};

use crate::ledger::{Ledger, Violation};
use crate::stream::{Link, SimStream};

const GROUP: &str = "sim";
const SECOND: Duration = Duration::from_secs(1);
/// Everything put must have reached a handler this long after the last disturbance: a fence, a take-over, back-offs
/// of up to 30 s and the audit.
const PATIENCE: Duration = Duration::from_secs(180);

/// How rough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Workers come and go in order; the stream reshards. Nothing may come twice.
    Calm,
    /// Also kills, partitions, outages, lost replies, stale listings, failing handlers.
    Storm,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How rough it was.
    pub weather: Weather,
    /// Records put.
    pub put: u64,
    /// Records that came again.
    pub duplicates: u64,
    /// Broken promises; empty when all is well.
    pub violations: Vec<Violation>,
    /// What happened, with virtual times: equal for equal seeds.
    pub log: String,
}

/// Runs one seed to its end on a runtime and a clock of its own.
///
/// # Errors
/// What kept the runtime or the fleet from starting.
pub fn run(seed: u64) -> Result<Report, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async { Ok(Scenario::new(seed)?.play().await?) })
}

struct Worker {
    name: String,
    handle: Handle,
    running: JoinHandle<Result<(), Error>>,
    store: FaultyStore<CountingStore<MemoryStore>>,
    link: Link,
}

struct Scenario {
    seed: u64,
    weather: Weather,
    begun: Instant,
    rng: StdRng,
    stream: SimStream,
    store: CountingStore<MemoryStore>,
    group: GroupId,
    ledger: Arc<Mutex<Ledger>>,
    log: Arc<Mutex<String>>,
    workers: BTreeMap<u32, Worker>,
    next_worker: u32,
    keys: u32,
}

impl Scenario {
    fn new(seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut rng = StdRng::seed_from_u64(seed);
        let stream = SimStream::create(rng.random_range(1..=6))?;
        let weather = if rng.random_bool(0.25) { Weather::Calm } else { Weather::Storm };
        let keys = rng.random_range(1..=40);
        Ok(Self {
            seed,
            weather,
            begun: Instant::now(),
            rng,
            stream,
            store: CountingStore::new(MemoryStore::new()),
            group: GroupId::new(GROUP)?,
            ledger: Arc::default(),
            log: Arc::default(),
            workers: BTreeMap::new(),
            next_worker: 0,
            keys,
        })
    }

    async fn play(mut self) -> Result<Report, Error> {
        if self.weather == Weather::Storm {
            lock(&self.ledger).excuse();
        }
        for _ in 0..self.rng.random_range(1..=4) {
            self.join().await?;
        }
        let steps = self.rng.random_range(5..40);
        for _ in 0..steps {
            self.produce();
            self.disturb().await?;
            let pause = self.rng.random_range(50..4_000);
            sleep(Duration::from_millis(pause)).await;
        }
        self.make_peace().await?;
        self.produce();
        let complete = self.wait_until_complete().await;
        self.check_that_all_run().await;
        if complete {
            self.check_rest().await;
        }
        for worker in self.workers.values() {
            worker.running.abort();
        }
        let ledger = std::mem::take(&mut *lock(&self.ledger));
        let (put, duplicates) = (ledger.put(), ledger.duplicates());
        self.note(&format!("put {put}, twice {duplicates}"));
        let log = lock(&self.log).clone();
        let violations = ledger.violations();
        Ok(Report { seed: self.seed, weather: self.weather, put, duplicates, violations, log })
    }

    fn note(&self, what: &str) {
        let millis = self.begun.elapsed().as_millis();
        // Writing to a String cannot fail.
        let _ = writeln!(lock(&self.log), "{millis:>8} {what}");
    }

    fn produce(&mut self) {
        for _ in 0..self.rng.random_range(0..60) {
            let key = format!("k{}", self.rng.random_range(0..self.keys));
            let number = lock(&self.ledger).next_put(&key);
            if let Err(error) = self.stream.put(&key, format!("{key}/{number}")) {
                lock(&self.ledger).not_at_rest(format!("a put failed: {error}"));
            }
        }
    }

    async fn join(&mut self) -> Result<(), Error> {
        let number = self.next_worker;
        self.next_worker += 1;
        let name = format!("w{number}");
        let store = FaultyStore::new(self.store.clone(), self.rng.random());
        let link = self.stream.link(self.rng.random());
        // Wall clocks up to ten minutes apart.
        let skew: u64 = self.rng.random_range(0..600_000);
        let begun = self.begun;
        let clock = WallClock::from_fn(move || 1_700_000_000_000 + skew + begun.elapsed().as_millis() as u64);
        if self.weather == Weather::Storm {
            let chance = self.rng.random_range(0.0..0.05);
            store.chance(Target::All, Fault::FailBefore, chance);
            store.chance(Target::Writes, Fault::LoseReply, chance);
            store.chance(Target::Writes, Fault::Retry, chance);
            store.chance(Target::Reads, Fault::StaleListing, chance * 4.0);
            store.chance(Target::All, Fault::Delay(Duration::from_millis(800)), chance);
            link.fail(chance);
        }
        let handler = Handler {
            ledger: Arc::clone(&self.ledger),
            rng: Arc::new(Mutex::new(StdRng::from_rng(&mut self.rng))),
            fails: if self.weather == Weather::Storm { 0.02 } else { 0.0 },
        };
        let consumer = Consumer::builder()
            .group(GROUP)
            .worker(&name)
            .store(store.clone())
            .source(link.clone())
            .seed(self.rng.random())
            .wall_clock(clock)
            .for_each_batch(move |batch| {
                let handler = handler.clone();
                async move { handler.handle(batch).await }
            })
            .build()
            .await?;
        let handle = consumer.handle();
        let running = spawn(async move { consumer.run().await.map(drop) });
        self.note(&format!("{name} joins"));
        self.workers.insert(number, Worker { name, handle, running, store, link });
        Ok(())
    }

    fn pick(&mut self) -> Option<u32> {
        let nth = self.rng.random_range(0..self.workers.len().max(1));
        self.workers.keys().nth(nth).copied()
    }

    async fn disturb(&mut self) -> Result<(), Error> {
        let choices = if self.weather == Weather::Calm { 5 } else { 10 };
        match self.rng.random_range(0..choices) {
            0 | 1 if self.workers.len() < 8 => self.join().await?,
            2 => self.leave().await,
            3 => self.split(),
            4 => self.merge(),
            5 => self.kill(),
            6 => self.partition(true),
            7 => self.partition(false),
            8 => self.outage(),
            9 => self.heal(),
            _ => {}
        }
        Ok(())
    }

    async fn leave(&mut self) {
        let Some(worker) = self.pick().and_then(|number| self.workers.remove(&number)) else { return };
        self.note(&format!("{} leaves", worker.name));
        let handle = worker.handle.clone();
        let log = Arc::clone(&self.log);
        let begun = self.begun;
        // The others go on meanwhile.
        spawn(async move {
            let report = handle.shutdown(30 * SECOND).await;
            let millis = begun.elapsed().as_millis();
            let _ = writeln!(lock(&log), "{millis:>8} {} left, clean: {}", worker.name, report.is_clean());
            let _ = worker.running.await;
        });
    }

    fn kill(&mut self) {
        let Some(worker) = self.pick().and_then(|number| self.workers.remove(&number)) else { return };
        self.note(&format!("{} is killed", worker.name));
        worker.running.abort();
        // Tasks of its own that outlive the abort could still write: a dead process cannot.
        worker.store.outage(true);
        worker.link.black_hole(true);
    }

    /// One worker cannot reach the store, or the stream, or both: from outside, it is frozen.
    fn partition(&mut self, store: bool) {
        let stream = self.rng.random_bool(0.5);
        let Some(worker) = self.pick().and_then(|number| self.workers.get(&number)) else { return };
        self.note(&format!("{} is cut off: store {store}, stream {stream}", worker.name));
        worker.store.outage(store);
        worker.link.black_hole(stream);
    }

    /// Nobody reaches the store.
    fn outage(&mut self) {
        self.note("the store is out");
        self.workers.values().for_each(|worker| worker.store.outage(true));
    }

    fn heal(&mut self) {
        self.note("links heal");
        for worker in self.workers.values() {
            worker.store.outage(false);
            worker.link.black_hole(false);
        }
    }

    fn split(&mut self) {
        let Ok(open) = self.stream.open_shards() else { return };
        if open.len() >= 24 {
            return;
        }
        let (shard, range) = &open[self.rng.random_range(0..open.len())];
        let done = self.stream.split(shard, *range);
        self.note(&format!("split {shard}: {}", outcome(&done)));
    }

    fn merge(&mut self) {
        let Ok(open) = self.stream.open_shards() else { return };
        if open.len() < 2 {
            return;
        }
        let at = self.rng.random_range(0..open.len() - 1);
        let done = self.stream.merge(&open[at].0, &open[at + 1].0);
        self.note(&format!("merge {} and {}: {}", open[at].0, open[at + 1].0, outcome(&done)));
    }

    async fn make_peace(&mut self) -> Result<(), Error> {
        self.note("peace");
        for worker in self.workers.values() {
            worker.store.heal();
            worker.link.fail(0.0);
            worker.link.black_hole(false);
        }
        if self.workers.is_empty() {
            self.join().await?;
            self.workers.values().for_each(|worker| worker.store.heal());
        }
        Ok(())
    }

    async fn wait_until_complete(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !lock(&self.ledger).is_complete() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(SECOND / 2).await;
        }
        self.note("complete");
        true
    }

    /// A consumer that was not stopped has not ended.
    async fn check_that_all_run(&mut self) {
        let ended: Vec<u32> =
            self.workers.iter().filter(|(_, w)| w.running.is_finished()).map(|(number, _)| *number).collect();
        for worker in ended.iter().filter_map(|number| self.workers.remove(number)).collect::<Vec<_>>() {
            let how = match worker.running.await {
                Ok(Ok(())) => "without being told".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            lock(&self.ledger).not_at_rest(format!("{} ended: {how}", worker.name));
        }
    }

    /// All shards owned by live workers, evenly, and nothing moves any more.
    async fn check_rest(&mut self) {
        // Fences, retirements and the last moves.
        sleep(120 * SECOND).await;
        let Ok(before) = self.store.list(&self.group, Listing::All).await else { return };
        let counts_before = self.store.snapshot();
        sleep(120 * SECOND).await;
        let Ok(after) = self.store.list(&self.group, Listing::All).await else { return };
        let counts = self.store.snapshot();
        let mut ledger = lock(&self.ledger);
        if before.leases != after.leases {
            ledger.not_at_rest("leases moved or changed in peace");
        }
        let refused = counts.refused() - counts_before.refused();
        if refused > 0 {
            ledger.not_at_rest(format!("{refused} conditions failed in peace"));
        }
        let mut loads: BTreeMap<_, usize> = BTreeMap::new();
        for row in after.workers.iter().filter(|row| row.state == WorkerState::Alive) {
            loads.insert(row.id.clone(), 0);
        }
        if loads.len() != self.workers.len() {
            ledger.not_at_rest(format!("{} workers live, the table has {}", self.workers.len(), loads.len()));
        }
        for lease in after.leases.iter().filter(|lease| !lease.position.is_shard_end()) {
            match lease.owner.as_ref().and_then(|owner| loads.get_mut(owner)) {
                Some(load) => *load += 1,
                None => ledger.not_at_rest(format!("nobody alive owns {}: {lease:?}", lease.key)),
            }
        }
        let (least, most) = (loads.values().min().copied(), loads.values().max().copied());
        if most > least.map(|least| least + 1) {
            ledger.not_at_rest(format!("uneven: {loads:?}"));
        }
    }
}

fn outcome<E: std::fmt::Display>(done: &Result<(), E>) -> String {
    done.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string)
}

#[derive(Clone)]
struct Handler {
    ledger: Arc<Mutex<Ledger>>,
    rng: Arc<Mutex<StdRng>>,
    fails: f64,
}

impl Handler {
    async fn handle(&self, batch: Batch) -> Result<(), rokini::HandlerError> {
        let (takes, fails) = {
            let mut rng = lock(&self.rng);
            let slow = rng.random_bool(0.05);
            (rng.random_range(0..if slow { 3_000 } else { 150 }), rng.random_bool(self.fails))
        };
        lock(&self.ledger).begins(batch.shard().shard_id().as_str(), batch.epoch().0);
        // Fails before or after it saw the records.
        if fails && takes % 2 == 0 {
            return Err("as told".into());
        }
        for record in batch.records() {
            let text = String::from_utf8_lossy(&record.data);
            let parsed = text.split_once('/').and_then(|(key, number)| Some((key, number.parse().ok()?)));
            match parsed {
                Some((key, number)) => lock(&self.ledger).delivered(key, number),
                None => lock(&self.ledger).not_at_rest(format!("an unknown record: {text}")),
            }
        }
        sleep(Duration::from_millis(takes)).await;
        if fails { Err("as told".into()) } else { Ok(()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Random handlers, policies, lanes and stops: nothing is lost, order and positions hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::lease::{MemoryStore, Position};
use rokini::{
    AckToken, Batch, ConfigKey, DeadLetter, DeadLetterSink, Error, Event, EventKind, HandlerError, OnFailure,
    RecordProcessor,
};
use tokio::sync::broadcast::Receiver;
use tokio::time::sleep;

use crate::harness::{Running, after, builder, failure, leases};
use crate::stream::Stream;

const KEYS: u64 = 9;

#[derive(Debug, Clone)]
struct Scenario {
    seed: u64,
    concurrency: usize,
    batch: usize,
    wait: u64,
    window: usize,
    then: OnFailure,
    attempts: u32,
    bisect: bool,
    park: bool,
    tokens: bool,
    /// Records that always fail, one in so many; 0 for none.
    poison: u64,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let then = prop_oneof![Just(OnFailure::Retry), Just(OnFailure::Skip), Just(OnFailure::DeadLetter)];
    let sizes = (1..6usize, 1..12usize, 0..500u64, 1..80usize);
    (any::<u64>(), sizes, then, 1..4u32, any::<(bool, bool, bool)>(), prop_oneof![Just(0), 5..30u64])
        .prop_map(
            |(seed, (concurrency, batch, wait, window), then, attempts, (bisect, park, tokens), poison)| {
                Scenario {
                    seed,
                    concurrency,
                    batch,
                    wait,
                    window,
                    then,
                    attempts,
                    bisect,
                    park,
                    tokens,
                    // What is tried for ever would hold up the end of the test for ever.
                    poison: if then == OnFailure::Retry { 0 } else { poison },
                }
            },
        )
}

/// What was done, by handlers that said so, and what was given up.
#[derive(Debug, Default)]
struct Outcomes {
    done: Vec<u64>,
    given_up: BTreeSet<u64>,
    dead: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct RandomSink(Arc<Mutex<Outcomes>>, Arc<Mutex<StdRng>>);

#[async_trait]
impl DeadLetterSink for RandomSink {
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        sleep(Duration::from_millis(20)).await;
        if self.1.lock().unwrap().random_bool(0.3) {
            return Err(Error::new(rokini::ErrorKind::Retry, "full"));
        }
        let numbers = letter.records.iter().map(|record| text(record.data()));
        self.0.lock().unwrap().dead.extend(numbers);
        Ok(())
    }
}

fn text(data: &[u8]) -> u64 {
    std::str::from_utf8(data).unwrap().parse().unwrap()
}

struct RandomHandler {
    outcomes: Arc<Mutex<Outcomes>>,
    rng: StdRng,
    scenario: Scenario,
}

impl RandomHandler {
    fn is_poison(&self, number: u64) -> bool {
        self.scenario.poison > 0 && number % self.scenario.poison == 3
    }
}

impl RecordProcessor for RandomHandler {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        assert!(!batch.is_empty() && batch.len() <= self.scenario.batch);
        let numbers: Vec<u64> = batch.iter().map(|record| text(record.data())).collect();
        assert!(numbers.is_sorted());
        sleep(Duration::from_millis(self.rng.random_range(0..30))).await;
        if self.scenario.tokens {
            for (record, token) in batch.into_acks() {
                let (number, wait) =
                    (text(record.data()), Duration::from_millis(self.rng.random_range(0..200)));
                let (fails, outcomes) =
                    (self.is_poison(number) || self.rng.random_bool(0.05), Arc::clone(&self.outcomes));
                tokio::spawn(async move {
                    sleep(wait).await;
                    finish(&outcomes, number, token, fails);
                });
            }
            return Ok(());
        }
        match self.rng.random_range(0..40) {
            0 => failure("random"),
            1 => panic!("random"),
            2 => std::future::pending().await,
            _ if numbers.iter().any(|number| self.is_poison(*number)) => failure("poison"),
            _ => {
                self.outcomes.lock().unwrap().done.extend(numbers);
                Ok(())
            }
        }
    }
}

fn finish(outcomes: &Mutex<Outcomes>, number: u64, token: AckToken, fails: bool) {
    if fails {
        return drop(token);
    }
    outcomes.lock().unwrap().done.push(number);
    token.ack();
}

/// Adds the records that were skipped.
fn add_skipped(outcomes: &Mutex<Outcomes>, events: &mut Receiver<Event>) {
    while let Ok(event) = events.try_recv() {
        match event {
            Event { kind: EventKind::Skipped { records, .. }, .. } => {
                let numbers = records.iter().map(|sequence| sequence.to_string().parse::<u64>().unwrap());
                outcomes.lock().unwrap().given_up.extend(numbers);
            }
            Event { kind: EventKind::ShardRestarted { .. }, .. } => panic!("{event:?}"),
            _ => {}
        }
    }
}

async fn run(scenario: Scenario) -> Result<(), TestCaseError> {
    const RECORDS: u64 = 200;
    let (stream, store, outcomes) =
        (Stream::new(1).per_read(7), MemoryStore::new(), Arc::<Mutex<Outcomes>>::default());
    let mut rng = StdRng::seed_from_u64(scenario.seed);
    let sink = RandomSink(Arc::clone(&outcomes), Arc::new(Mutex::new(StdRng::seed_from_u64(scenario.seed))));
    let make = |name: &str, seed: u64| {
        let mut building = builder(&stream, store.clone(), name)
            .concurrency(scenario.concurrency)
            .batch_max_records(scenario.batch)
            .batch_max_wait(Duration::from_millis(scenario.wait))
            .set(ConfigKey::MaxOutstandingRecords, scenario.window.to_string())
            .handler_timeout(Duration::from_secs(2))
            .checkpoint_interval(Duration::from_millis(300))
            .park(scenario.park)
            .on_failure(scenario.then);
        if scenario.then != OnFailure::Retry {
            building = building.bisect(scenario.bisect).max_attempts(scenario.attempts);
        }
        if scenario.then == OnFailure::DeadLetter {
            building = building.dead_letter_sink(sink.clone());
        }
        let (outcomes, scenario) = (Arc::clone(&outcomes), scenario.clone());
        building.processor(move |shard| {
            let rng = StdRng::seed_from_u64(seed + shard.lane() as u64 * 1_000);
            RandomHandler { outcomes: Arc::clone(&outcomes), rng, scenario: scenario.clone() }
        })
    };
    let mut put = 0;
    let mut restarts = Vec::new();
    for round in 0_u64.. {
        let running = Running::start(make(&format!("w{round}"), scenario.seed ^ round)).await;
        let mut events = running.handle.events();
        let count = rng.random_range(10..60).min(RECORDS - put);
        for _ in 0..count {
            put += 1;
            stream.put_keyed(0, &(put % KEYS).to_string(), &put.to_string());
        }
        let all = after(u128::from(RECORDS));
        let mut left = Duration::from_millis(rng.random_range(0..8_000));
        loop {
            sleep(Duration::from_millis(100)).await;
            let rows = leases(&store).await;
            add_skipped(&outcomes, &mut events);
            // The stored position is never past a record that is neither done nor given up.
            if let Some(row) = rows.first()
                && let Position::Sequence(sequence, _) = row.position
            {
                let outcomes = outcomes.lock().unwrap();
                let stored: u64 = sequence.to_string().parse().unwrap();
                for number in 1..=stored {
                    let known = outcomes.done.contains(&number)
                        || outcomes.given_up.contains(&number)
                        || outcomes.dead.contains(&number);
                    prop_assert!(known, "{number} is passed at {stored}");
                }
            }
            left = left.saturating_sub(Duration::from_millis(100));
            if left.is_zero() && put < RECORDS
                || leases(&store).await.first().is_some_and(|row| row.position == all)
            {
                break;
            }
            prop_assert!(round < 60);
        }
        if rng.random_bool(0.5) {
            running.kill().await;
            // Declared dead before the next one begins, so that two do not overlap in the outcomes.
            sleep(Duration::from_secs(30)).await;
        } else {
            running.handle.shutdown(Duration::from_secs(20)).await;
            drop(running.run.await);
        }
        add_skipped(&outcomes, &mut events);
        restarts.push(outcomes.lock().unwrap().done.len());
        if leases(&store).await.first().is_some_and(|row| row.position == all) {
            break;
        }
    }
    let outcomes = outcomes.lock().unwrap();
    if scenario.then != OnFailure::Skip {
        prop_assert!(outcomes.given_up.is_empty());
    }
    if scenario.then != OnFailure::DeadLetter {
        prop_assert!(outcomes.dead.is_empty());
    }
    for number in 1..=RECORDS {
        let known = outcomes.done.contains(&number)
            || outcomes.given_up.contains(&number)
            || outcomes.dead.contains(&number);
        prop_assert!(known, "{number} is lost");
    }
    if !scenario.tokens {
        // In each run the records of a key are done in order; a later run may begin again at an earlier one.
        let mut from = 0;
        for to in restarts {
            let mut last: BTreeMap<u64, u64> = BTreeMap::new();
            for number in &outcomes.done[from..to] {
                let before = last.insert(number % KEYS, *number);
                prop_assert!(before.is_none_or(|before| before < *number), "{before:?} before {number}");
            }
            from = to;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 20, ..ProptestConfig::default() })]
    #[test]
    fn c1_c4_p8_whatever_handlers_do_nothing_is_lost_or_passed_and_order_holds(scenario in scenarios()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(scenario))?;
    }
}

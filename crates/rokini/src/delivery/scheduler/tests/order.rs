//! The order of each partition key, whatever calls and tokens do.

use super::*;

/// How long tokens may be kept.
const LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
struct Scenario {
    keys: Vec<u8>,
    lanes: usize,
    per_batch: usize,
    window: usize,
    policy: FailurePolicy,
    seed: u64,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let sizes = (1..3usize, 1..6usize, 1..30usize);
    (proptest::collection::vec(0..3u8, 1..40), sizes, policies(), any::<u64>()).prop_map(
        |(keys, (lanes, per_batch, window), policy, seed)| Scenario {
            keys,
            lanes,
            per_batch,
            window,
            policy,
            seed,
        },
    )
}

/// User code that fails at random, and the records it has.
struct UserCode {
    scheduler: Scheduler,
    rng: StdRng,
    keys: Vec<u8>,
    read: usize,
    seen: BTreeSet<u64>,
    /// The call of each lane that runs, and whether it is one of the dead-letter sink.
    running: BTreeMap<usize, (u64, Vec<u64>, bool)>,
    tokens: Vec<(u64, u64)>,
    /// From now on nothing fails.
    calm: bool,
}

impl UserCode {
    fn fails(&mut self, how_often: f64) -> bool {
        !self.calm && self.rng.random_bool(how_often)
    }

    fn read(&mut self, now: Instant) -> bool {
        if !self.scheduler.wants_more() || self.read == self.keys.len() {
            return false;
        }
        let count = self.rng.random_range(1..=5).min(self.keys.len() - self.read);
        let keys: Vec<String> = self.keys[self.read..self.read + count].iter().map(u8::to_string).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        add(&mut self.scheduler, records(self.read as u64, &keys), now);
        self.read += count;
        if self.read == self.keys.len() {
            self.scheduler.end();
        }
        true
    }

    /// Begins what can begin. A record is delivered first only once all before it of its key are done or delivered.
    fn begin(&mut self, now: Instant) -> Result<bool, TestCaseError> {
        let mut begun = false;
        while let Some(step) = self.scheduler.next(now, nothing) {
            begun = true;
            let DeliveryStep::CallHandler { lane, call, records, .. } = step else {
                if let DeliveryStep::DeadLetter { lane, .. } = step {
                    self.running.insert(lane, (0, Vec::new(), true));
                }
                continue;
            };
            let numbers: Vec<u64> = records.numbers().collect();
            prop_assert!(numbers.is_sorted(), "in the order of the shard: {:?}", numbers);
            self.running.insert(lane, (call, numbers.clone(), false));
            for number in numbers {
                let key = self.keys[number as usize];
                if self.seen.insert(number) {
                    let before = (0..number).filter(|before| self.keys[*before as usize] == key);
                    for before in before {
                        let in_hand = self.running.values().any(|(_, has, _)| has.contains(&before));
                        let fine = self.scheduler.tracker.is_done(before)
                            || self.scheduler.unacked.is_in_flight(before)
                            || in_hand;
                        prop_assert!(
                            fine,
                            "{} before {} of key {}: {:?}",
                            number,
                            before,
                            key,
                            self.scheduler
                        );
                    }
                }
            }
        }
        Ok(begun)
    }

    fn end_one(&mut self, now: Instant) -> bool {
        let chosen = self.running.keys().copied().nth(self.rng.random_range(0..self.running.len().max(1)));
        let Some((lane, (call, numbers, to_sink))) = chosen.and_then(|lane| self.running.remove_entry(&lane))
        else {
            return false;
        };
        if to_sink {
            let result = if self.fails(0.5) { Err("full".to_owned()) } else { Ok(()) };
            self.scheduler.dead_lettered(lane, result, now);
        } else if self.fails(0.2) {
            self.scheduler.returned(lane, Err(no()), None, now, nothing);
        } else if self.rng.random_bool(0.2) {
            self.scheduler.returned(lane, Ok(false), None, now, nothing);
        } else {
            self.tokens.extend(numbers.into_iter().map(|number| (call, number)));
            // Some are used before the call returned.
            while self.rng.random_bool(0.2) {
                self.use_one(now);
            }
            self.scheduler.returned(lane, Ok(true), None, now, nothing);
        }
        true
    }

    fn use_one(&mut self, now: Instant) -> bool {
        if self.tokens.is_empty() {
            return false;
        }
        let index = self.rng.random_range(0..self.tokens.len());
        let (call, number) = self.tokens[index];
        let outcome = match self.rng.random_range(0..10) {
            0..3 if !self.calm => AckOutcome::Failed(no()),
            3 if !self.calm => AckOutcome::GivenBack(None),
            _ => AckOutcome::Done,
        };
        self.tokens.swap_remove(index);
        self.scheduler
            .acked(Ack { call, records: RecordRanges::from(RecordRange::one(number)), outcome }, now);
        true
    }
}

fn run(scenario: &Scenario) -> Result<(), TestCaseError> {
    let limits = BatchLimits { records: scenario.per_batch, ..ALL };
    let settings = settings(scenario.lanes, scenario.policy);
    let mut user = UserCode {
        scheduler: scheduler(DeliverySettings {
            limits,
            window_records: scenario.window,
            ack_timeout: Some(LIMIT),
            ..settings
        }),
        rng: StdRng::seed_from_u64(scenario.seed),
        keys: scenario.keys.clone(),
        read: 0,
        seen: BTreeSet::new(),
        running: BTreeMap::new(),
        tokens: Vec::new(),
        calm: false,
    };
    let mut now = Instant::now();
    for step in 0..5_000 {
        user.calm = step > 400;
        user.scheduler.expire(now);
        let _ = user.scheduler.take_events();
        if user.scheduler.is_halted() {
            user.scheduler.resume(now);
        }
        let mut moved = user.read(now);
        moved |= user.begin(now)?;
        let due = user.scheduler.due(now);
        prop_assert!(due.is_none_or(|due| due > now), "what is due can begin: {:?}", user.scheduler);
        moved |= user.rng.random_bool(0.7) && user.end_one(now);
        moved |= user.rng.random_bool(0.5) && user.use_one(now);
        if !moved {
            match user.scheduler.due(now) {
                Some(due) if user.running.is_empty() => now = now.max(due),
                None if user.scheduler.is_handed_out() && !user.scheduler.awaits_acks() => break,
                _ => {}
            }
        }
        now += Duration::from_millis(user.rng.random_range(0..30));
    }
    prop_assert!(
        user.scheduler.is_handed_out() && !user.scheduler.awaits_acks(),
        "all is done: {:?}",
        user.scheduler
    );
    prop_assert_eq!(
        (user.scheduler.position(), user.scheduler.parked_keys()),
        (after(scenario.keys.len() as u64), 0)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, ..ProptestConfig::with_cases(256) })]
    #[test]
    fn r5_no_record_comes_first_while_one_before_it_of_its_key_has_failed(scenario in scenarios()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        run(&scenario)?;
    }
}

/// Tokens of a key expire together while one of its records has failed already.
#[tokio::test(start_paused = true)]
async fn c1_parked_key_keeps_its_order_when_its_tokens_are_late() {
    let policy = FailurePolicy { park: true, ..FailurePolicy::default() };
    let mut scheduler = scheduler(DeliverySettings { ack_timeout: Some(LIMIT), ..settings(1, policy) });
    let mut now = Instant::now();
    add(&mut scheduler, records(0, &["k", "k", "k"]), now);
    assert_eq!(numbers(scheduler.next(now, nothing)), [0, 1, 2]);
    scheduler.returned(0, Ok(true), None, now, nothing);
    scheduler
        .acked(Ack { call: 1, records: RecordRange::one(0).into(), outcome: AckOutcome::Failed(no()) }, now);
    add(&mut scheduler, records(3, &["k"]), now);
    now += LIMIT;
    scheduler.expire(now);
    let mut order = Vec::new();
    while scheduler.position() != after(4) {
        let batch = numbers(scheduler.next(now, nothing));
        if batch.is_empty() {
            now = scheduler.due(now).unwrap();
            continue;
        }
        // The record that may be the reason is delivered alone.
        let fails = batch == [1] && !order.contains(&1);
        order.extend(batch);
        scheduler.returned(0, if fails { Err(no()) } else { Ok(false) }, None, now, nothing);
    }
    let last = |number| order.iter().rposition(|seen| *seen == number).unwrap();
    assert!(order.iter().position(|seen| *seen == 3) > Some(last(1).max(last(2))), "{order:?}");
    assert_eq!(scheduler.parked_keys(), 0);
}

//! The order of each partition key, whatever calls and tokens do.

use super::*;

/// How long tokens may be kept.
const LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
struct World {
    keys: Vec<u8>,
    lanes: usize,
    per_batch: usize,
    window: usize,
    policy: Policy,
    seed: u64,
}

fn worlds() -> impl Strategy<Value = World> {
    let policy =
        (1..4u32, any::<(bool, bool)>(), 0..OnFailure::ALL.len()).prop_map(|(most, (bisect, park), then)| {
            Policy {
                max_attempts: NonZeroU32::new(most),
                max_age: None,
                bisect,
                park,
                then: OnFailure::ALL[then],
            }
        });
    let sizes = (1..3usize, 1..6usize, 1..30usize);
    (proptest::collection::vec(0..3u8, 1..40), sizes, policy, any::<u64>()).prop_map(
        |(keys, (lanes, per_batch, window), policy, seed)| World {
            keys,
            lanes,
            per_batch,
            window,
            policy,
            seed,
        },
    )
}

/// User code of a whim, and what it has.
struct Code {
    flow: Flow,
    rng: StdRng,
    keys: Vec<u8>,
    read: usize,
    seen: BTreeSet<u64>,
    /// The call of each lane that runs, and whether it is a burial.
    running: BTreeMap<usize, (u64, Vec<u64>, bool)>,
    tokens: Vec<(u64, u64)>,
    /// From now on everything goes well.
    calm: bool,
}

impl Code {
    fn badly(&mut self, how_often: f64) -> bool {
        !self.calm && self.rng.random_bool(how_often)
    }

    fn read(&mut self, now: Instant) -> bool {
        if !self.flow.wants_more() || self.read == self.keys.len() {
            return false;
        }
        let count = self.rng.random_range(1..=5).min(self.keys.len() - self.read);
        let keys: Vec<String> = self.keys[self.read..self.read + count].iter().map(u8::to_string).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        add(&mut self.flow, records(self.read as u64, &keys), now);
        self.read += count;
        if self.read == self.keys.len() {
            self.flow.end();
        }
        true
    }

    /// Begins what can begin. A record comes first only once all before it of its key are done or in somebody's hands.
    fn begin(&mut self, now: Instant) -> Result<bool, TestCaseError> {
        let mut begun = false;
        while let Some(step) = self.flow.next(now, nothing) {
            begun = true;
            let Step::Call { lane, call, records, .. } = step else {
                if let Step::Bury { lane, .. } = step {
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
                        let fine = self.flow.tracker.is_done(before)
                            || self.flow.awaited.contains_key(&before)
                            || in_hand;
                        prop_assert!(fine, "{} before {} of key {}: {:?}", number, before, key, self.flow);
                    }
                }
            }
        }
        Ok(begun)
    }

    fn end_one(&mut self, now: Instant) -> bool {
        let chosen = self.running.keys().copied().nth(self.rng.random_range(0..self.running.len().max(1)));
        let Some((lane, (call, numbers, burial))) = chosen.and_then(|lane| self.running.remove_entry(&lane))
        else {
            return false;
        };
        if burial {
            let result = if self.badly(0.5) { Err("full".to_owned()) } else { Ok(()) };
            self.flow.buried(lane, result, now);
        } else if self.badly(0.2) {
            self.flow.returned(lane, Err(no()), now, nothing);
        } else if self.rng.random_bool(0.2) {
            self.flow.returned(lane, Ok(false), now, nothing);
        } else {
            self.tokens.extend(numbers.into_iter().map(|number| (call, number)));
            // Some are used before the call returned.
            while self.rng.random_bool(0.2) {
                self.use_one(now);
            }
            self.flow.returned(lane, Ok(true), now, nothing);
        }
        true
    }

    fn use_one(&mut self, now: Instant) -> bool {
        if self.tokens.is_empty() {
            return false;
        }
        let index = self.rng.random_range(0..self.tokens.len());
        let (call, number) = self.tokens[index];
        let word = match self.rng.random_range(0..10) {
            0..3 if !self.calm => Word::Failed(no()),
            3 if !self.calm => Word::GivenBack,
            _ => Word::Done,
        };
        self.tokens.swap_remove(index);
        self.flow.acked(Ack { call, records: Spans::from(Span::one(number)), word }, now);
        true
    }
}

fn run(world: &World) -> Result<(), TestCaseError> {
    let limits = Limits { records: world.per_batch, ..ALL };
    let rules = rules(world.lanes, world.policy);
    let mut code = Code {
        flow: flow(Rules { limits, window_records: world.window, ack_timeout: Some(LIMIT), ..rules }),
        rng: StdRng::seed_from_u64(world.seed),
        keys: world.keys.clone(),
        read: 0,
        seen: BTreeSet::new(),
        running: BTreeMap::new(),
        tokens: Vec::new(),
        calm: false,
    };
    let mut now = Instant::now();
    for step in 0..5_000 {
        code.calm = step > 400;
        code.flow.expire(now);
        let _ = code.flow.told();
        if code.flow.is_halted() {
            code.flow.resume(now);
        }
        let mut moved = code.read(now);
        moved |= code.begin(now)?;
        let due = code.flow.due(now);
        prop_assert!(due.is_none_or(|due| due > now), "what is due can begin: {:?}", code.flow);
        moved |= code.rng.random_bool(0.7) && code.end_one(now);
        moved |= code.rng.random_bool(0.5) && code.use_one(now);
        if !moved {
            match code.flow.due(now) {
                Some(due) if code.running.is_empty() => now = now.max(due),
                None if code.flow.is_handed_out() && !code.flow.awaits_acks() => break,
                _ => {}
            }
        }
        now += Duration::from_millis(code.rng.random_range(0..30));
    }
    prop_assert!(code.flow.is_handed_out() && !code.flow.awaits_acks(), "all is done: {:?}", code.flow);
    prop_assert_eq!((code.flow.position(), code.flow.parked()), (after(world.keys.len() as u64), 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, ..ProptestConfig::with_cases(256) })]
    #[test]
    fn r5_no_record_comes_first_while_one_before_it_of_its_key_has_failed(world in worlds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        run(&world)?;
    }
}

/// Tokens of a key expire together while one of its records has failed already.
#[tokio::test(start_paused = true)]
async fn c1_parked_key_keeps_its_order_when_its_tokens_are_late() {
    let policy = Policy { park: true, ..Policy::default() };
    let mut flow = flow(Rules { ack_timeout: Some(LIMIT), ..rules(1, policy) });
    let mut now = Instant::now();
    add(&mut flow, records(0, &["k", "k", "k"]), now);
    assert_eq!(numbers(flow.next(now, nothing)), [0, 1, 2]);
    flow.returned(0, Ok(true), now, nothing);
    flow.acked(Ack { call: 1, records: Span::one(0).into(), word: Word::Failed(no()) }, now);
    add(&mut flow, records(3, &["k"]), now);
    now += LIMIT;
    flow.expire(now);
    let mut order = Vec::new();
    while flow.position() != after(4) {
        let batch = numbers(flow.next(now, nothing));
        if batch.is_empty() {
            now = flow.due(now).unwrap();
            continue;
        }
        // What may be the reason is alone again.
        let fails = batch == [1] && !order.contains(&1);
        order.extend(batch);
        flow.returned(0, if fails { Err(no()) } else { Ok(false) }, now, nothing);
    }
    let last = |number| order.iter().rposition(|seen| *seen == number).unwrap();
    assert!(order.iter().position(|seen| *seen == 3) > Some(last(1).max(last(2))), "{order:?}");
    assert_eq!(flow.parked(), 0);
}

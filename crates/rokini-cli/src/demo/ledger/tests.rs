use proptest::prelude::*;

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A ledger and the little world that feeds it.
#[derive(Default)]
struct World {
    ledger: Ledger,
    pass: u64,
}

impl World {
    fn put(&mut self, at: u64, shard: &str, sequence: u128, key: &str, number: u64) {
        let sequence = SequenceNumber::from(sequence);
        self.ledger.put(&Put { key: key.into(), number, shard: shard.into(), sequence, at: ms(at) });
    }

    /// A delivery in a pass of its own, long after the one before.
    fn seen(&mut self, at: u64, hold: (usize, u64), shard: &str, sequence: u128, key: &str, number: u64) {
        self.pass += 2;
        self.ledger.seen(&Seen {
            process: Process(hold.0),
            pass: self.pass,
            at: ms(at),
            shard: shard.into(),
            epoch: hold.1,
            sequence: SequenceNumber::from(sequence),
            key: key.into(),
            number,
        });
    }

    fn left(&mut self, process: usize, cause: Cause, at: u64, held: &[(&str, u64)]) {
        self.ledger.left(Process(process), cause, ms(at), held.iter().copied());
    }

    /// Moves as (shard, cause, from, to, milliseconds of silence).
    fn moves(&self) -> Vec<(String, Cause, usize, usize, u128)> {
        let moves = self.ledger.proof().moves;
        moves
            .iter()
            .map(|m| (m.shard.to_string(), m.cause, m.from.0, m.to.0, m.silence.as_millis()))
            .collect()
    }
}

#[test]
fn a_clean_run_is_clean() {
    let mut world = World::default();
    for n in 0..3 {
        world.put(100, "a", 10 + u128::from(n), "k", n);
        world.seen(200, (0, 1), "a", 10 + u128::from(n), "k", n);
    }
    let proof = world.ledger.proof();
    let clean = Proof {
        produced: 3,
        processed: 3,
        first_record: Some(ms(200)),
        longest_wait: ms(100),
        ..Proof::default()
    };
    assert_eq!(proof, clean);
    assert!(world.ledger.is_drained());
}

#[test]
fn detects_a_shard_that_nobody_had() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.put(100, "b", 11, "l", 0);
    world.seen(200, (0, 1), "a", 10, "k", 0);
    world.seen(18_100, (0, 1), "b", 11, "l", 0);
    assert_eq!(world.ledger.proof().longest_wait, ms(18_000));
    world.seen(99_000, (1, 2), "b", 11, "l", 0);
    assert_eq!(world.ledger.proof().longest_wait, ms(18_000), "a repetition is no wait");
}

#[test]
fn detects_loss_and_knows_what_was_passed_over() {
    let mut world = World::default();
    for n in 0..4 {
        world.put(100, "a", 10 + u128::from(n), "k", n);
    }
    world.seen(200, (0, 1), "a", 10, "k", 0);
    world.seen(200, (0, 1), "a", 12, "k", 2);
    let proof = world.ledger.proof();
    assert_eq!((proof.produced, proof.processed, proof.waiting, proof.passed_over), (4, 2, 2, 1));
    assert!(!world.ledger.is_drained());
}

#[test]
fn detects_duplicates_and_explains_those_after_a_kill_only() {
    let handled_twice = |cause: Option<Cause>, second: usize, at: u64| {
        let mut world = World::default();
        world.put(100, "a", 10, "k", 0);
        world.seen(200, (0, 1), "a", 10, "k", 0);
        if let Some(cause) = cause {
            world.left(0, cause, 300, &[("a", 1)]);
        }
        world.seen(at, (second, 2), "a", 10, "k", 0);
        let proof = world.ledger.proof();
        (proof.processed, proof.duplicates, proof.unexplained_duplicates)
    };
    assert_eq!(handled_twice(Some(Cause::Kill), 1, 400), (1, 1, 0));
    assert_eq!(handled_twice(Some(Cause::Kill), 1, 250), (1, 1, 1), "before the kill");
    assert_eq!(handled_twice(Some(Cause::Kill), 0, 400), (1, 1, 1), "by the same worker");
    assert_eq!(handled_twice(Some(Cause::Stop), 1, 400), (1, 1, 1), "after a clean stop");
    assert_eq!(handled_twice(None, 1, 400), (1, 1, 1), "both alive");
}

#[test]
fn a_kill_explains_one_repetition_not_the_next_one() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.seen(200, (0, 1), "a", 10, "k", 0);
    world.left(0, Cause::Kill, 300, &[("a", 1)]);
    world.seen(400, (1, 2), "a", 10, "k", 0);
    world.seen(500, (2, 3), "a", 10, "k", 0);
    let proof = world.ledger.proof();
    assert_eq!((proof.duplicates, proof.unexplained_duplicates), (2, 1));
}

/// A record is handled by worker 0 at 0.2 s and again at this time by this hold; worker 0 is fenced at these times.
fn repeated_after_fence(at: u64, hold: (usize, u64), fences: &[u64]) -> (u64, u64) {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.seen(200, (0, 2), "a", 10, "k", 0);
    world.seen(at, hold, "a", 10, "k", 0);
    for at in fences {
        world.ledger.fenced(Process(0), ms(*at));
    }
    let proof = world.ledger.proof();
    assert_eq!(proof.duplicates, 1);
    (proof.after_fence, proof.unexplained_duplicates)
}

#[test]
fn a_fence_explains_what_the_successor_repeats() {
    assert_eq!(repeated_after_fence(12_000, (1, 3), &[10_000]), (1, 0));
    assert_eq!(
        repeated_after_fence(12_000, (0, 3), &[10_000]),
        (1, 0),
        "it joined again and got its shard back"
    );
    assert_eq!(repeated_after_fence(12_000, (1, 3), &[12_500]), (1, 0), "noticed a little later");
    assert_eq!(repeated_after_fence(12_000, (1, 3), &[]), (0, 1), "nobody was fenced");
    assert_eq!(repeated_after_fence(12_000, (1, 3), &[20_000]), (0, 1), "long after the repetition");
    assert_eq!(repeated_after_fence(12_000, (0, 2), &[10_000]), (0, 1), "one hold handles a record once");
    assert_eq!(repeated_after_fence(12_000, (1, 1), &[10_000]), (0, 1), "the other hold was the earlier one");
}

#[test]
fn a_fence_explains_what_the_fenced_one_writes_late() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.seen(12_000, (1, 3), "a", 10, "k", 0);
    // The rest of its batch, when it goes on.
    world.seen(15_000, (0, 2), "a", 10, "k", 0);
    world.ledger.fenced(Process(0), ms(10_000));
    // The successor is killed: it is its repetition then, not the late writer's.
    world.left(1, Cause::Kill, 16_000, &[("a", 3)]);
    world.seen(27_000, (2, 4), "a", 10, "k", 0);
    let proof = world.ledger.proof();
    assert_eq!((proof.duplicates, proof.after_fence, proof.after_kill), (2, 1, 1));
    assert_eq!(proof.unexplained_duplicates, 0);
}

#[test]
fn an_old_fence_is_no_excuse() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.ledger.fenced(Process(0), ms(10_000));
    world.seen(80_000, (0, 2), "a", 10, "k", 0);
    world.seen(81_000, (1, 3), "a", 10, "k", 0);
    let proof = world.ledger.proof();
    assert_eq!((proof.after_fence, proof.unexplained_duplicates), (0, 1));
    assert_eq!((proof.unexplained[0].before.epoch, proof.unexplained[0].again.epoch), (2, 3));
}

#[test]
fn what_was_handled_long_ago_is_forgotten_and_its_repetition_is_not_excused() {
    let mut world = World::default();
    for n in 0..5000 {
        let at = 100 * n;
        world.put(at, "a", u128::from(n), "k", n);
        // Record 7 is never handled.
        if n != 7 {
            world.seen(at + 50, (0, 1), "a", u128::from(n), "k", n);
        }
    }
    let remembered = world.ledger.keys["k"].records.len();
    assert!(remembered < 2000, "{remembered} of 5000");
    world.left(0, Cause::Kill, 500_000, &[("a", 1)]);
    world.seen(510_000, (1, 2), "a", 3, "k", 3);
    world.seen(510_000, (1, 2), "a", 4999, "k", 4999);
    let proof = world.ledger.proof();
    assert_eq!((proof.produced, proof.processed, proof.waiting, proof.strangers), (5000, 4999, 1, 0));
    assert_eq!((proof.duplicates, proof.after_kill, proof.unexplained_duplicates), (2, 1, 1));
    assert_eq!(proof.left_behind, [("a".into(), 1, ms(700))]);
    world.seen(511_000, (1, 2), "a", 7, "k", 7);
    assert_eq!(world.ledger.proof().processed, 5000, "what waits is never forgotten");
}

#[test]
fn a_worker_that_goes_on_did_not_leave() {
    let mut world = World::default();
    for n in 0..3 {
        world.put(100, "a", 10 + u128::from(n), "k", n);
    }
    world.seen(1000, (0, 1), "a", 10, "k", 0);
    world.left(0, Cause::Freeze, 2000, &[("a", 1)]);
    world.ledger.goes_on(Process(0));
    world.seen(3000, (0, 1), "a", 11, "k", 1);
    world.seen(9000, (1, 2), "a", 12, "k", 2);
    assert_eq!(world.moves(), [("a".to_owned(), Cause::Balance, 0, 1, 6000)]);
}

#[test]
fn detects_order_violations_of_first_deliveries_only() {
    let mut world = World::default();
    for n in 0..3 {
        world.put(100, "a", 10 + u128::from(n), "k", n);
        world.put(100, "a", 20 + u128::from(n), "other", n);
    }
    for n in [0, 2, 1, 0] {
        world.seen(200, (0, 1), "a", 10 + u128::from(n), "k", n);
    }
    world.seen(200, (0, 1), "a", 20, "other", 0);
    assert_eq!(
        world.ledger.proof().order_violations,
        1,
        "number 1 after number 2; the second 0 is a duplicate"
    );
}

#[test]
fn detects_records_that_were_never_put() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.seen(200, (0, 1), "a", 11, "k", 0);
    world.seen(200, (0, 1), "a", 12, "k", 7);
    world.seen(200, (0, 1), "a", 13, "nobody's", 0);
    let proof = world.ledger.proof();
    assert_eq!((proof.processed, proof.strangers, proof.waiting), (0, 3, 1));
}

#[test]
fn a_line_may_come_before_the_acknowledgement() {
    let mut world = World::default();
    world.seen(200, (0, 1), "a", 10, "k", 0);
    world.put(210, "a", 10, "k", 0);
    world.seen(200, (0, 1), "a", 11, "k", 1);
    world.put(210, "a", 99, "k", 1);
    let proof = world.ledger.proof();
    assert_eq!((proof.produced, proof.processed, proof.strangers, proof.waiting), (2, 1, 1, 1));
}

/// Record 10 is handled by worker 0 at 1 s; records 11 and 12 by worker 1, record 11 at 5 s.
fn moved(left: Option<(Cause, u64)>, put_11: u64) -> (Cause, u128) {
    let mut world = World::default();
    world.put(900, "a", 10, "k", 0);
    world.seen(1000, (0, 1), "a", 10, "k", 0);
    if let Some((cause, at)) = left {
        world.left(0, cause, at, &[("a", 1)]);
    }
    world.put(put_11, "a", 11, "k", 1);
    world.put(4900, "a", 12, "k", 2);
    world.seen(5000, (1, 2), "a", 11, "k", 1);
    world.seen(6000, (1, 2), "a", 12, "k", 2);
    match world.moves().as_slice() {
        [(shard, cause, 0, 1, silence)] if shard == "a" => (*cause, *silence),
        other => panic!("{other:?}"),
    }
}

#[test]
fn silence_is_measured_while_records_wait() {
    assert_eq!(moved(None, 950), (Cause::Balance, 4000), "since the last record of the old owner");
    assert_eq!(moved(Some((Cause::Stop, 900)), 950), (Cause::Stop, 4000), "it went on while it stopped");
    assert_eq!(moved(Some((Cause::Kill, 2000)), 950), (Cause::Kill, 3000), "since the kill");
    assert_eq!(
        moved(Some((Cause::Kill, 2000)), 4000),
        (Cause::Kill, 1000),
        "since there was something to read"
    );
    assert_eq!(moved(Some((Cause::Kill, 2000)), 5000), (Cause::Kill, 0), "an idle shard is not silent");
}

#[test]
fn a_repeated_record_ends_the_silence_too() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.put(100, "a", 11, "k", 1);
    world.seen(1000, (0, 1), "a", 10, "k", 0);
    world.left(0, Cause::Kill, 1100, &[("a", 1)]);
    world.seen(3000, (1, 2), "a", 10, "k", 0);
    world.seen(9000, (1, 2), "a", 11, "k", 1);
    assert_eq!(world.moves(), [("a".to_owned(), Cause::Kill, 0, 1, 1900)]);
}

#[test]
fn a_worker_that_held_a_shard_without_handling_counts_as_its_owner() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.seen(1000, (0, 1), "a", 10, "k", 0);
    world.put(1100, "a", 11, "k", 1);
    // Worker 1 got the shard, by balance, and is killed before its first record.
    world.left(1, Cause::Kill, 2000, &[("a", 2)]);
    world.seen(9000, (2, 3), "a", 11, "k", 1);
    assert_eq!(world.moves(), [("a".to_owned(), Cause::Kill, 1, 2, 7000)]);
}

#[test]
fn a_worker_that_gave_its_shard_away_before_it_left_is_not_the_cause() {
    let mut world = World::default();
    for n in 0..3 {
        world.put(100, "a", 10 + u128::from(n), "k", n);
    }
    world.seen(1000, (0, 1), "a", 10, "k", 0);
    world.seen(1200, (1, 2), "a", 11, "k", 1);
    // A look at the leases that was a little old.
    world.left(0, Cause::Kill, 2000, &[("a", 1)]);
    world.seen(2100, (1, 2), "a", 12, "k", 2);
    assert_eq!(world.moves(), [("a".to_owned(), Cause::Balance, 0, 1, 200)]);
}

#[test]
fn the_rest_of_an_earlier_owners_output_is_no_move_back() {
    let mut world = World::default();
    for n in 0..4 {
        world.put(100, "a", 10 + u128::from(n), "k", n);
    }
    world.seen(1000, (0, 1), "a", 10, "k", 0);
    world.seen(1100, (1, 2), "a", 12, "k", 2);
    world.seen(1101, (0, 1), "a", 11, "k", 1);
    world.seen(1200, (1, 2), "a", 13, "k", 3);
    assert_eq!(world.moves().len(), 1);
    assert_eq!(world.ledger.proof().order_violations, 1);
}

#[test]
fn a_new_epoch_of_the_same_worker_is_no_move() {
    let mut world = World::default();
    world.put(100, "a", 10, "k", 0);
    world.put(100, "a", 11, "k", 1);
    world.seen(1000, (0, 1), "a", 10, "k", 0);
    world.seen(2000, (0, 2), "a", 11, "k", 1);
    assert!(world.moves().is_empty());
}

const KEYS: usize = 5;
const SHARDS: usize = 3;

/// One delivery of a run without faults.
#[derive(Debug, Clone)]
struct Delivery {
    at: u64,
    hold: (usize, u64),
    shard: usize,
    sequence: u128,
    key: usize,
    number: u64,
}

/// A run in which workers take turns on the shards and handle everything in order: which key is put and which shard
/// goes to which worker.
fn faultless(puts: &[usize], turns: &[(usize, usize)]) -> Vec<Delivery> {
    let mut numbers = [0; KEYS];
    let mut holds = [(0, 1); SHARDS];
    let mut deliveries = Vec::new();
    for (n, key) in puts.iter().enumerate() {
        if let Some((shard, worker)) = turns.get(n)
            && holds[*shard].0 != *worker
        {
            holds[*shard] = (*worker, holds[*shard].1 + 1);
        }
        let (shard, number) = (key % SHARDS, numbers[*key]);
        numbers[*key] += 1;
        let at = 100 * (n as u64 + 1);
        deliveries.push(Delivery { at, hold: holds[shard], shard, sequence: n as u128, key: *key, number });
    }
    deliveries
}

fn account(deliveries: &[Delivery], handled: &[Delivery]) -> Proof {
    let mut world = World::default();
    let name = |n: usize| format!("{n}");
    for d in deliveries {
        world.put(d.at - 50, &name(d.shard), d.sequence, &name(d.key), d.number);
    }
    for d in handled {
        world.seen(d.at, d.hold, &name(d.shard), d.sequence, &name(d.key), d.number);
    }
    world.ledger.proof()
}

fn runs() -> impl Strategy<Value = Vec<Delivery>> {
    let puts = prop::collection::vec(0..KEYS, 2..60);
    let turns = prop::collection::vec((0..SHARDS, 0usize..4), 0..60);
    (puts, turns).prop_map(|(puts, turns)| faultless(&puts, &turns))
}

proptest! {
    #[test]
    fn a_faultless_run_is_found_faultless(run in runs()) {
        let proof = account(&run, &run);
        prop_assert_eq!((proof.produced, proof.processed), (run.len() as u64, run.len() as u64));
        prop_assert_eq!(
            (proof.waiting, proof.duplicates, proof.order_violations, proof.strangers), (0, 0, 0, 0)
        );
        let changes: usize = (0..SHARDS).map(|shard| {
            let holds: Vec<_> = run.iter().filter(|d| d.shard == shard).map(|d| d.hold.0).collect();
            holds.windows(2).filter(|pair| pair[0] != pair[1]).count()
        }).sum();
        prop_assert_eq!(proof.moves.len(), changes);
    }

    #[test]
    fn any_missing_delivery_is_found(run in runs(), which: prop::sample::Index) {
        let mut handled = run.clone();
        handled.remove(which.index(run.len()));
        let proof = account(&run, &handled);
        prop_assert_eq!((proof.waiting, proof.processed), (1, run.len() as u64 - 1));
    }

    #[test]
    fn any_repeated_delivery_is_found(run in runs(), which: prop::sample::Index) {
        let mut handled = run.clone();
        let again = Delivery { at: 100_000, ..run[which.index(run.len())].clone() };
        handled.push(again);
        let proof = account(&run, &handled);
        prop_assert_eq!((proof.duplicates, proof.unexplained_duplicates, proof.waiting), (1, 1, 0));
        prop_assert_eq!(proof.order_violations, 0);
    }

    #[test]
    fn any_two_records_of_a_key_in_the_wrong_order_are_found(run in runs(), one: prop::sample::Index) {
        let one = one.index(run.len());
        let later = run.iter().skip(one + 1).position(|d| d.key == run[one].key);
        prop_assume!(later.is_some());
        let two = one + 1 + later.unwrap();
        let mut handled = run.clone();
        handled.swap(one, two);
        prop_assert_eq!(account(&run, &handled).order_violations, 1);
    }
}

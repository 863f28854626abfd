use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rokini_history::{Cause, Delivery, Findings, Observed, Process, Put};
use rokini_lease::SequenceNumber;

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A history and what feeds it.
struct Run {
    history: RunHistory,
    round: u64,
}

impl Default for Run {
    fn default() -> Self {
        Self { history: RunHistory::new(ms(10_000)), round: 0 }
    }
}

impl Run {
    fn put(&mut self, at: u64, shard: &str, sequence: u128, key: &str, number: u64) {
        let sequence = SequenceNumber::from(sequence).into();
        self.history.put(&Put { key: key.into(), number, shard: shard.into(), sequence, at: ms(at) });
    }

    /// A delivery in a round of its own, long after the one before.
    fn deliver(&mut self, at: u64, hold: (usize, u64), shard: &str, sequence: u128, key: &str, number: u64) {
        self.round += 2;
        self.history.deliver(&Delivery {
            process: Process(hold.0),
            epoch: hold.1,
            shard: shard.into(),
            key: key.into(),
            number,
            sequence: SequenceNumber::from(sequence).into(),
            at: ms(at),
            observed: Observed::InRound(self.round),
        });
    }

    fn left(&mut self, process: usize, cause: MoveCause, at: u64, held: &[(&str, u64)]) {
        self.history.left(Process(process), cause, ms(at), held.iter().copied());
    }

    fn findings(&self) -> Findings {
        self.history.records().findings()
    }

    /// Moves as (shard, cause, from, to, milliseconds of silence).
    fn moves(&self) -> Vec<(String, MoveCause, usize, usize, u128)> {
        let moves = self.history.moves().iter();
        moves.map(|m| (m.shard.to_string(), m.cause, m.from.0, m.to.0, m.silence.as_millis())).collect()
    }
}

#[test]
fn detects_repetitions_and_explains_those_after_a_kill_only() {
    let handled_twice = |cause: Option<MoveCause>, second: usize, at: u64| {
        let mut run = Run::default();
        run.put(100, "a", 10, "k", 0);
        run.deliver(200, (0, 1), "a", 10, "k", 0);
        if let Some(cause) = cause {
            run.left(0, cause, 300, &[("a", 1)]);
        }
        run.deliver(at, (second, 2), "a", 10, "k", 0);
        let findings = run.findings();
        (findings.handled, findings.repeated, findings.unexplained)
    };
    assert_eq!(handled_twice(Some(MoveCause::Kill), 1, 400), (1, 1, 0));
    assert_eq!(handled_twice(Some(MoveCause::Kill), 1, 250), (1, 1, 1), "before the kill");
    assert_eq!(handled_twice(Some(MoveCause::Kill), 0, 400), (1, 1, 1), "by the same worker");
    assert_eq!(handled_twice(Some(MoveCause::Stop), 1, 400), (1, 1, 1), "after a clean stop");
    assert_eq!(handled_twice(None, 1, 400), (1, 1, 1), "both alive");
}

/// A record is handled by worker 0 at 0.2 s and again at this time by this hold; worker 0 is fenced at these times.
fn repeated_after_fence(at: u64, hold: (usize, u64), fences: &[u64]) -> (u64, u64) {
    let mut run = Run::default();
    run.put(100, "a", 10, "k", 0);
    run.deliver(200, (0, 2), "a", 10, "k", 0);
    run.deliver(at, hold, "a", 10, "k", 0);
    for at in fences {
        run.history.fenced(Process(0), ms(*at));
    }
    let findings = run.findings();
    assert_eq!(findings.repeated, 1);
    (findings.causes.get(&Cause::Fence).copied().unwrap_or_default(), findings.unexplained)
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
    assert_eq!(repeated_after_fence(12_000, (1, 3), &[]), (0, 1), "no worker was fenced");
    assert_eq!(repeated_after_fence(12_000, (1, 3), &[20_000]), (0, 1), "long after the repetition");
    assert_eq!(repeated_after_fence(12_000, (0, 2), &[10_000]), (0, 1), "one hold handles a record once");
    assert_eq!(repeated_after_fence(12_000, (1, 1), &[10_000]), (0, 1), "the other hold was the earlier one");
}

#[test]
fn a_position_that_had_to_be_stored_long_ago_has_no_excuse() {
    let unexplained = |put: u64, disturb: &dyn Fn(&mut Run)| {
        let mut run = Run::default();
        run.put(put, "a", 10, "k", 0);
        run.deliver(put + 100, (0, 1), "a", 10, "k", 0);
        disturb(&mut run);
        run.deliver(120_000, (1, 2), "a", 10, "k", 0);
        run.findings().unexplained
    };
    let kill = |run: &mut Run| run.left(0, MoveCause::Kill, 100_000, &[("a", 1)]);
    assert_eq!((unexplained(95_000, &kill), unexplained(80_000, &kill)), (0, 1));
    let fence = |run: &mut Run| run.history.fenced(Process(0), ms(119_000));
    assert_eq!((unexplained(105_000, &fence), unexplained(90_000, &fence)), (0, 1));
    let freeze = |run: &mut Run| {
        run.left(0, MoveCause::Freeze, 100_000, &[("a", 1)]);
        run.history.fenced(Process(0), ms(112_000));
        run.history.resumed(Process(0), ms(121_000));
    };
    assert_eq!((unexplained(95_000, &freeze), unexplained(80_000, &freeze)), (0, 1));
}

#[test]
fn a_worker_that_goes_on_did_not_leave() {
    let mut run = Run::default();
    for n in 0..3 {
        run.put(100, "a", 10 + u128::from(n), "k", n);
    }
    run.deliver(1000, (0, 1), "a", 10, "k", 0);
    run.left(0, MoveCause::Freeze, 2000, &[("a", 1)]);
    run.history.resumed(Process(0), ms(2_500));
    run.deliver(3000, (0, 1), "a", 11, "k", 1);
    run.deliver(9000, (1, 2), "a", 12, "k", 2);
    assert_eq!(run.moves(), [("a".to_owned(), MoveCause::Balance, 0, 1, 6000)]);
}

/// Record 10 is handled by worker 0 at 1 s; records 11 and 12 by worker 1, record 11 at 5 s.
fn moved(left: Option<(MoveCause, u64)>, put_11: u64) -> (MoveCause, u128) {
    let mut run = Run::default();
    run.put(900, "a", 10, "k", 0);
    run.deliver(1000, (0, 1), "a", 10, "k", 0);
    if let Some((cause, at)) = left {
        run.left(0, cause, at, &[("a", 1)]);
    }
    run.put(put_11, "a", 11, "k", 1);
    run.put(4900, "a", 12, "k", 2);
    run.deliver(5000, (1, 2), "a", 11, "k", 1);
    run.deliver(6000, (1, 2), "a", 12, "k", 2);
    match run.moves().as_slice() {
        [(shard, cause, 0, 1, silence)] if shard == "a" => (*cause, *silence),
        other => panic!("{other:?}"),
    }
}

#[test]
fn silence_is_measured_while_records_wait() {
    assert_eq!(moved(None, 950), (MoveCause::Balance, 4000), "since the last record of the old owner");
    assert_eq!(
        moved(Some((MoveCause::Stop, 900)), 950),
        (MoveCause::Stop, 4000),
        "it went on while it stopped"
    );
    assert_eq!(moved(Some((MoveCause::Kill, 2000)), 950), (MoveCause::Kill, 3000), "since the kill");
    assert_eq!(
        moved(Some((MoveCause::Kill, 2000)), 4000),
        (MoveCause::Kill, 1000),
        "since there was something to read"
    );
    assert_eq!(
        moved(Some((MoveCause::Kill, 2000)), 5000),
        (MoveCause::Kill, 0),
        "an idle shard is not silent"
    );
}

#[test]
fn a_repeated_record_ends_the_silence_too() {
    let mut run = Run::default();
    run.put(100, "a", 10, "k", 0);
    run.put(100, "a", 11, "k", 1);
    run.deliver(1000, (0, 1), "a", 10, "k", 0);
    run.left(0, MoveCause::Kill, 1100, &[("a", 1)]);
    run.deliver(3000, (1, 2), "a", 10, "k", 0);
    run.deliver(9000, (1, 2), "a", 11, "k", 1);
    assert_eq!(run.moves(), [("a".to_owned(), MoveCause::Kill, 0, 1, 1900)]);
}

#[test]
fn a_worker_that_held_a_shard_without_handling_counts_as_its_owner() {
    let mut run = Run::default();
    run.put(100, "a", 10, "k", 0);
    run.deliver(1000, (0, 1), "a", 10, "k", 0);
    run.put(1100, "a", 11, "k", 1);
    // Worker 1 got the shard, by balance, and is killed before its first record.
    run.left(1, MoveCause::Kill, 2000, &[("a", 2)]);
    run.deliver(9000, (2, 3), "a", 11, "k", 1);
    assert_eq!(run.moves(), [("a".to_owned(), MoveCause::Kill, 1, 2, 7000)]);
}

#[test]
fn a_worker_that_gave_its_shard_away_before_it_left_is_not_the_cause() {
    let mut run = Run::default();
    for n in 0..3 {
        run.put(100, "a", 10 + u128::from(n), "k", n);
    }
    run.deliver(1000, (0, 1), "a", 10, "k", 0);
    run.deliver(1200, (1, 2), "a", 11, "k", 1);
    // A look at the leases that was a little old.
    run.left(0, MoveCause::Kill, 2000, &[("a", 1)]);
    run.deliver(2100, (1, 2), "a", 12, "k", 2);
    assert_eq!(run.moves(), [("a".to_owned(), MoveCause::Balance, 0, 1, 200)]);
}

#[test]
fn the_rest_of_an_earlier_owners_output_is_no_move_back() {
    let mut run = Run::default();
    for n in 0..4 {
        run.put(100, "a", 10 + u128::from(n), "k", n);
    }
    run.deliver(1000, (0, 1), "a", 10, "k", 0);
    run.deliver(1100, (1, 2), "a", 12, "k", 2);
    run.deliver(1101, (0, 1), "a", 11, "k", 1);
    run.deliver(1200, (1, 2), "a", 13, "k", 3);
    assert_eq!(run.moves().len(), 1);
    assert_eq!(run.findings().out_of_order, 1);
}

#[test]
fn a_new_epoch_of_the_same_worker_is_no_move() {
    let mut run = Run::default();
    run.put(100, "a", 10, "k", 0);
    run.put(100, "a", 11, "k", 1);
    run.deliver(1000, (0, 1), "a", 10, "k", 0);
    run.deliver(2000, (0, 2), "a", 11, "k", 1);
    assert!(run.moves().is_empty());
}

proptest! {
    #[test]
    fn a_faultless_run_has_a_move_for_each_change_of_owner(
        handlers in prop::collection::vec((0..3usize, 0..4usize), 2..60),
    ) {
        // Each record: its shard, and the worker that handles it.
        let mut run = Run::default();
        let (mut owners, mut changes) = (BTreeMap::new(), 0);
        for (n, (shard, worker)) in handlers.into_iter().enumerate() {
            let (name, at) = (shard.to_string(), 100 * (n as u64 + 1));
            let (owner, epoch, number) = owners.entry(shard).or_insert((worker, 1, 0));
            if *owner != worker {
                (*owner, *epoch) = (worker, *epoch + 1);
                changes += 1;
            }
            run.put(at - 50, &name, n as u128, &name, *number);
            run.deliver(at, (worker, *epoch), &name, n as u128, &name, *number);
            *number += 1;
        }
        prop_assert_eq!(run.moves().len(), changes);
    }
}

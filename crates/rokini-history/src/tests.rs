use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rokini_types::SequenceNumber;

use crate::{
    CallEnd, Cause, Check, Delivery, ExpectedRepeat, ExtendedSequenceNumber, Findings, History, Observed,
    ObservedHold, Place, Process, Put, Violation,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A record of the stream that packs none.
fn whole(sequence: u128) -> ExtendedSequenceNumber {
    SequenceNumber::from(sequence).into()
}

fn broken(findings: &Findings, longest_wait: Duration) -> Vec<Check> {
    let violations = findings.violations(longest_wait, &|process| format!("w{}", process.0));
    violations.into_iter().map(|violation| violation.check).collect()
}

/// A history that sees calls begin and end, as the simulation does.
mod in_calls {
    use super::*;

    fn shard() -> Arc<str> {
        "s".into()
    }

    fn put(history: &mut History, number: u64, at: Duration) {
        let sequence = whole(number.into());
        history.put(&Put { key: "k".into(), number, shard: shard(), sequence, at });
    }

    fn call(history: &mut History, epoch: u64, records: &[u64], at: Duration, end: CallEnd) {
        let process = Process(epoch as usize);
        let call = history.begin(process, &shard(), epoch, at);
        for number in records {
            history.deliver(&Delivery {
                process,
                epoch,
                shard: shard(),
                key: "k".into(),
                number: *number,
                sequence: whole((*number).into()),
                at,
                observed: Observed::InCall(call),
            });
        }
        history.end(call, end, at);
    }

    /// Records 0.. of one key put at 0; each call delivers some under an epoch and ends as given.
    fn history(puts: u64, calls: &[(u64, &[u64], CallEnd)]) -> History {
        let mut history = History::default();
        (0..puts).for_each(|number| put(&mut history, number, ms(0)));
        for (n, (epoch, records, end)) in calls.iter().enumerate() {
            call(&mut history, *epoch, records, ms(n as u64 * 1_000), *end);
        }
        history
    }

    fn violated(history: &History) -> Vec<Check> {
        broken(&history.findings(), ms(60_000))
    }

    #[test]
    fn everything_once_in_order_is_well() {
        let history = history(3, &[(1, &[0, 1], CallEnd::Done), (2, &[2], CallEnd::Done)]);
        assert!(history.is_complete());
        assert_eq!(violated(&history), vec![]);
    }

    #[test]
    fn a_lost_record_is_seen() {
        let history = history(3, &[(1, &[0, 1], CallEnd::Done)]);
        assert!(!history.is_complete());
        assert_eq!(violated(&history), vec![Check::Delivered]);
        assert_eq!(history.oldest_waiting(), Some(ms(0)));
    }

    #[test]
    fn a_record_that_was_never_put_is_seen() {
        assert_eq!(violated(&history(1, &[(1, &[0, 1], CallEnd::Done)])), vec![Check::Delivered]);
    }

    #[test]
    fn a_gap_is_out_of_order_and_what_fills_it_is_no_repetition() {
        let findings = history(3, &[(1, &[0, 2, 1], CallEnd::Done)]).findings();
        assert_eq!(broken(&findings, ms(60_000)), vec![Check::InOrder]);
        assert_eq!(findings.repeated, 0);
    }

    #[test]
    fn a_repetition_needs_a_cause() {
        let twice = |end| history(1, &[(1, &[0], end), (2, &[0], CallEnd::Done)]);
        assert_eq!(violated(&twice(CallEnd::Done)), vec![Check::Once]);
        for end in [CallEnd::Failed, CallEnd::Dropped] {
            let history = twice(end);
            assert_eq!(history.findings().causes, BTreeMap::from([(Cause::Unfinished, 1)]));
            assert_eq!(violated(&history), vec![]);
        }
        let excused = |excuse| {
            let mut history = twice(CallEnd::Done);
            history.excuse(excuse);
            (history.findings().causes, violated(&history))
        };
        let excuse = ExpectedRepeat {
            cause: Cause::Crash,
            process: Some(Process(1)),
            shard: None,
            since: ms(0),
            from: ms(0),
            to: ms(500),
        };
        assert_eq!(excused(excuse.clone()), (BTreeMap::from([(Cause::Crash, 1)]), vec![]));
        let elsewhere = ExpectedRepeat { shard: Some("other".into()), ..excuse };
        assert_eq!(excused(elsewhere).1, vec![Check::Once]);
        let another = ExpectedRepeat {
            cause: Cause::Fence,
            process: Some(Process(2)),
            shard: None,
            since: ms(0),
            from: ms(0),
            to: ms(500),
        };
        assert_eq!(excused(another).1, vec![Check::Once]);
        let seek = ExpectedRepeat {
            cause: Cause::Seek,
            process: None,
            shard: Some(shard()),
            since: ms(0),
            from: ms(400),
            to: ms(500),
        };
        assert_eq!(excused(seek).0, BTreeMap::from([(Cause::Seek, 1)]));
    }

    #[test]
    fn a_hold_cannot_store_what_lies_after_something_that_it_has_to_repeat() {
        // The first hold does all but the last and stores nothing; the second does not get the first record done.
        let by_held = |held: bool, second: &[u64]| {
            let mut history = history(3, &[(1, &[0, 1], CallEnd::Done)]);
            if held {
                history.held(&shard(), Place::Beginning, 2);
            }
            call(&mut history, 2, second, ms(5_000), CallEnd::Done);
            call(&mut history, 3, &[1, 2], ms(10_000), CallEnd::Done);
            let cause = Cause::Fence;
            let excuse = ExpectedRepeat {
                cause,
                process: None,
                shard: None,
                since: ms(0),
                from: ms(0),
                to: ms(1_000),
            };
            history.excuse(excuse);
            (history.findings().causes.get(&Cause::Unfinished).copied(), violated(&history))
        };
        assert_eq!(by_held(true, &[1, 2]), (Some(2), vec![]));
        assert_eq!(by_held(false, &[1, 2]), (None, vec![Check::Once]));
        assert_eq!(by_held(true, &[0, 1, 2]), (None, vec![Check::Once]));
    }

    #[test]
    fn a_hold_that_goes_on_has_no_excuse() {
        let mut history = history(1, &[(1, &[0], CallEnd::Done), (1, &[0], CallEnd::Done)]);
        let (cause, process) = (Cause::Fence, Some(Process(1)));
        history.excuse(ExpectedRepeat {
            cause,
            process,
            shard: None,
            since: ms(0),
            from: ms(0),
            to: ms(9_000),
        });
        assert_eq!(violated(&history), vec![Check::Once]);
    }

    #[test]
    fn a_stale_epoch_is_seen() {
        let calls: [(u64, &[u64], CallEnd); 3] =
            [(2, &[], CallEnd::Done), (2, &[], CallEnd::Done), (1, &[], CallEnd::Done)];
        let history = history(0, &calls);
        assert_eq!(violated(&history), vec![Check::Fresh]);
        assert!(history.is_new_epoch("s", 3) && !history.is_new_epoch("s", 2));
    }

    #[test]
    fn a_wait_counts_where_nothing_explains_it() {
        let waited = |explained: &[(u64, u64)]| {
            let mut history = History::default();
            put(&mut history, 0, ms(1_000));
            explained.iter().for_each(|(from, to)| history.explain(None, ms(*from), ms(*to)));
            call(&mut history, 1, &[0], ms(11_000), CallEnd::Done);
            let findings = history.findings();
            (findings.longest_wait, broken(&findings, ms(5_000)))
        };
        assert_eq!(waited(&[]), (ms(10_000), vec![Check::Prompt]));
        assert_eq!(waited(&[(0, 2_000), (1_500, 4_000), (10_000, 20_000)]), (ms(6_000), vec![Check::Prompt]));
        assert_eq!(waited(&[(0, 8_000)]), (ms(3_000), vec![]));
    }
}

/// A history that reads the output of workers, and what feeds it.
struct Reader {
    history: History,
    round: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self { history: History::remembering(Duration::from_secs(180)), round: 0 }
    }
}

impl Reader {
    fn put(&mut self, at: u64, shard: &str, sequence: u128, key: &str, number: u64) {
        let sequence = whole(sequence);
        self.history.put(&Put { key: key.into(), number, shard: shard.into(), sequence, at: ms(at) });
    }

    /// A delivery in a round of its own, long after the one before.
    fn seen(&mut self, at: u64, hold: (usize, u64), shard: &str, sequence: u128, key: &str, number: u64) {
        self.round += 2;
        self.history.deliver(&Delivery {
            process: Process(hold.0),
            epoch: hold.1,
            shard: shard.into(),
            key: key.into(),
            number,
            sequence: whole(sequence),
            at: ms(at),
            observed: Observed::InRound(self.round),
        });
    }

    fn killed(&mut self, process: usize, at: u64) {
        let (cause, process) = (Cause::Crash, Some(Process(process)));
        self.history.excuse(ExpectedRepeat {
            cause,
            process,
            shard: None,
            since: ms(0),
            from: ms(at),
            to: Duration::MAX,
        });
    }

    /// Noticed up to 2 s late; up to a minute later the worker may write what it had handled.
    fn fenced(&mut self, process: usize, at: u64) {
        let (cause, process) = (Cause::Fence, Some(Process(process)));
        let (from, to) = (ms(at.saturating_sub(2_000)), ms(at + 60_000));
        self.history.excuse(ExpectedRepeat { cause, process, shard: None, since: ms(0), from, to });
    }

    fn findings(&self) -> Findings {
        self.history.findings()
    }
}

impl Findings {
    fn by(&self, cause: Cause) -> u64 {
        self.causes.get(&cause).copied().unwrap_or_default()
    }
}

#[test]
fn a_clean_run_is_clean() {
    let mut reader = Reader::default();
    for n in 0..3 {
        reader.put(100, "a", 10 + u128::from(n), "k", n);
        reader.seen(200, (0, 1), "a", 10 + u128::from(n), "k", n);
    }
    let clean = Findings {
        put: 3,
        handled: 3,
        first_delivery: Some(ms(200)),
        longest_wait: ms(100),
        longest_waiting: Some(("k".into(), 0)),
        ..Findings::default()
    };
    assert_eq!(reader.findings(), clean);
    assert!(reader.history.is_complete());
}

#[test]
fn detects_a_shard_that_no_worker_had() {
    let mut reader = Reader::default();
    reader.put(100, "a", 10, "k", 0);
    reader.put(100, "b", 11, "l", 0);
    reader.seen(200, (0, 1), "a", 10, "k", 0);
    reader.seen(18_100, (0, 1), "b", 11, "l", 0);
    assert_eq!(reader.findings().longest_wait, ms(18_000));
    reader.seen(99_000, (1, 2), "b", 11, "l", 0);
    assert_eq!(reader.findings().longest_wait, ms(18_000), "a repetition is no wait");
}

#[test]
fn detects_loss_and_knows_what_was_passed_over() {
    let mut reader = Reader::default();
    for n in 0..4 {
        reader.put(100, "a", 10 + u128::from(n), "k", n);
    }
    reader.seen(200, (0, 1), "a", 10, "k", 0);
    reader.seen(200, (0, 1), "a", 12, "k", 2);
    let findings = reader.findings();
    assert_eq!((findings.put, findings.handled, findings.waiting, findings.passed_over), (4, 2, 2, 1));
    assert!(!reader.history.is_complete());
}

#[test]
fn detects_repetitions_and_explains_those_after_a_kill_only() {
    let handled_twice = |killed: bool, second: usize, at: u64| {
        let mut reader = Reader::default();
        reader.put(100, "a", 10, "k", 0);
        reader.seen(200, (0, 1), "a", 10, "k", 0);
        if killed {
            reader.killed(0, 300);
        }
        reader.seen(at, (second, 2), "a", 10, "k", 0);
        let findings = reader.findings();
        (findings.handled, findings.repeated, findings.unexplained)
    };
    assert_eq!(handled_twice(true, 1, 400), (1, 1, 0));
    assert_eq!(handled_twice(true, 1, 250), (1, 1, 1), "before the kill");
    assert_eq!(handled_twice(true, 0, 400), (1, 1, 1), "by the same worker");
    assert_eq!(handled_twice(false, 1, 400), (1, 1, 1), "after a clean stop, or both alive");
}

#[test]
fn a_kill_explains_one_repetition_not_the_next_one() {
    let mut reader = Reader::default();
    reader.put(100, "a", 10, "k", 0);
    reader.seen(200, (0, 1), "a", 10, "k", 0);
    reader.killed(0, 300);
    reader.seen(400, (1, 2), "a", 10, "k", 0);
    reader.seen(500, (2, 3), "a", 10, "k", 0);
    let findings = reader.findings();
    assert_eq!((findings.repeated, findings.unexplained), (2, 1));
}

#[test]
fn a_fence_explains_what_the_fenced_one_writes_late() {
    let mut reader = Reader::default();
    reader.put(100, "a", 10, "k", 0);
    reader.seen(12_000, (1, 3), "a", 10, "k", 0);
    // The rest of its batch, when it goes on.
    reader.seen(15_000, (0, 2), "a", 10, "k", 0);
    reader.fenced(0, 10_000);
    // The successor is killed: it is its repetition then, not the late writer's.
    reader.killed(1, 16_000);
    reader.seen(27_000, (2, 4), "a", 10, "k", 0);
    let findings = reader.findings();
    assert_eq!((findings.repeated, findings.by(Cause::Fence), findings.by(Cause::Crash)), (2, 1, 1));
    assert_eq!(findings.unexplained, 0);
}

#[test]
fn an_old_fence_is_no_excuse() {
    let mut reader = Reader::default();
    reader.put(100, "a", 10, "k", 0);
    reader.fenced(0, 10_000);
    reader.seen(80_000, (0, 2), "a", 10, "k", 0);
    reader.seen(81_000, (1, 3), "a", 10, "k", 0);
    let findings = reader.findings();
    assert_eq!((findings.by(Cause::Fence), findings.unexplained), (0, 1));
    let repeat = &findings.unexplained_repeats[0];
    assert_eq!((repeat.before.epoch, repeat.again.epoch), (2, 3));
}

#[test]
fn what_was_handled_long_ago_is_forgotten_and_its_repetition_is_not_excused() {
    let mut reader = Reader::default();
    for n in 0..5000 {
        let at = 100 * n;
        reader.put(at, "a", u128::from(n), "k", n);
        // Record 7 is never handled.
        if n != 7 {
            reader.seen(at + 50, (0, 1), "a", u128::from(n), "k", n);
        }
    }
    let remembered = reader.history.remembered("k");
    assert!(remembered < 2000, "{remembered} of 5000");
    reader.killed(0, 500_000);
    reader.seen(510_000, (1, 2), "a", 3, "k", 3);
    reader.seen(510_000, (1, 2), "a", 4999, "k", 4999);
    let findings = reader.findings();
    assert_eq!((findings.put, findings.handled, findings.waiting, findings.unknown), (5000, 4999, 1, 0));
    assert_eq!((findings.repeated, findings.by(Cause::Crash), findings.unexplained), (2, 1, 1));
    let left: Vec<_> =
        findings.left_behind.iter().map(|left| (&*left.shard, left.count, left.oldest)).collect();
    assert_eq!(left, [("a", 1, ms(700))]);
    assert_eq!(findings.longest_wait, ms(50), "that of forgotten records too");
    reader.seen(511_000, (1, 2), "a", 7, "k", 7);
    assert_eq!(reader.findings().handled, 5000, "what waits is never forgotten");
}

#[test]
fn detects_order_violations_of_first_deliveries_only() {
    let mut reader = Reader::default();
    for n in 0..3 {
        reader.put(100, "a", 10 + u128::from(n), "k", n);
        reader.put(100, "a", 20 + u128::from(n), "other", n);
    }
    for n in [0, 2, 1, 0] {
        reader.seen(200, (0, 1), "a", 10 + u128::from(n), "k", n);
    }
    reader.seen(200, (0, 1), "a", 20, "other", 0);
    let findings = reader.findings();
    assert_eq!(findings.out_of_order, 1, "number 1 after number 2; the second 0 is a repetition");
}

#[test]
fn detects_records_that_were_never_put() {
    let mut reader = Reader::default();
    reader.put(100, "a", 10, "k", 0);
    reader.seen(200, (0, 1), "a", 11, "k", 0);
    reader.seen(200, (0, 1), "a", 12, "k", 7);
    reader.seen(200, (0, 1), "a", 13, "unknown", 0);
    let findings = reader.findings();
    assert_eq!((findings.handled, findings.unknown, findings.waiting), (0, 3, 1));
}

#[test]
fn a_line_may_come_before_the_acknowledgement() {
    let mut reader = Reader::default();
    reader.seen(200, (0, 1), "a", 10, "k", 0);
    reader.put(210, "a", 10, "k", 0);
    reader.seen(200, (0, 1), "a", 11, "k", 1);
    reader.put(210, "a", 99, "k", 1);
    let findings = reader.findings();
    assert_eq!((findings.put, findings.handled, findings.unknown, findings.waiting), (2, 1, 1, 1));
}

#[test]
fn every_violation_is_a_sentence() {
    let hold = |process, epoch, at| ObservedHold { process: Process(process), epoch, at: ms(at), call: None };
    let mut reader = Reader::default();
    for n in 0..3 {
        reader.put(1_500, "a", 10 + u128::from(n), "k", n);
    }
    reader.seen(2_000, (0, 2), "a", 11, "k", 1);
    reader.seen(2_500, (0, 2), "a", 10, "k", 0);
    reader.seen(4_000, (2, 3), "a", 11, "k", 1);
    reader.seen(4_000, (2, 3), "a", 10, "k", 0);
    let findings = reader.findings();
    assert_eq!(findings.unexplained_repeats[0].again, hold(2, 3, 4_000));
    let said = findings.violations(ms(999), &|process| format!("worker-{}", process.0 + 1));
    let said: Vec<&str> = said.iter().map(|Violation { what, .. }| what.as_str()).collect();
    assert_eq!(
        said,
        [
            "1 record of a not done; the oldest was put at 1.500 s",
            "k/0 of a was handled by worker-1 under epoch 2 at 2.500 s, after a later record of its key",
            "k/1 of a, and 1 more, was handled by worker-1 under epoch 2 at 2.000 s, and again by worker-3 under epoch 3 at \
             4.000 s; its position could be stored since 2.500 s",
            "k/0 waited 1.000 s for its handler without an explanation",
        ]
    );
}

const KEYS: usize = 5;
const SHARDS: usize = 3;

/// One delivery of a run without faults.
#[derive(Debug, Clone)]
struct Handled {
    at: u64,
    hold: (usize, u64),
    shard: usize,
    sequence: u128,
    key: usize,
    number: u64,
}

/// A run in which workers take turns on the shards and handle everything in order: which key is put and which shard
/// goes to which worker.
fn faultless(puts: &[usize], turns: &[(usize, usize)]) -> Vec<Handled> {
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
        deliveries.push(Handled { at, hold: holds[shard], shard, sequence: n as u128, key: *key, number });
    }
    deliveries
}

fn account(deliveries: &[Handled], handled: &[Handled]) -> Findings {
    let mut reader = Reader::default();
    let name = |n: usize| format!("{n}");
    for d in deliveries {
        reader.put(d.at - 50, &name(d.shard), d.sequence, &name(d.key), d.number);
    }
    for d in handled {
        reader.seen(d.at, d.hold, &name(d.shard), d.sequence, &name(d.key), d.number);
    }
    reader.findings()
}

fn runs() -> impl Strategy<Value = Vec<Handled>> {
    let puts = prop::collection::vec(0..KEYS, 2..60);
    let turns = prop::collection::vec((0..SHARDS, 0usize..4), 0..60);
    (puts, turns).prop_map(|(puts, turns)| faultless(&puts, &turns))
}

proptest! {
    #[test]
    fn a_faultless_run_is_found_faultless(run in runs()) {
        let findings = account(&run, &run);
        prop_assert_eq!((findings.put, findings.handled), (run.len() as u64, run.len() as u64));
        prop_assert_eq!(
            (findings.waiting, findings.repeated, findings.out_of_order, findings.unknown), (0, 0, 0, 0)
        );
    }

    #[test]
    fn any_missing_delivery_is_found(run in runs(), which: prop::sample::Index) {
        let mut handled = run.clone();
        handled.remove(which.index(run.len()));
        let findings = account(&run, &handled);
        prop_assert_eq!((findings.waiting, findings.handled), (1, run.len() as u64 - 1));
    }

    #[test]
    fn any_repeated_delivery_is_found(run in runs(), which: prop::sample::Index) {
        let mut handled = run.clone();
        let again = Handled { at: 100_000, ..run[which.index(run.len())].clone() };
        handled.push(again);
        let findings = account(&run, &handled);
        prop_assert_eq!((findings.repeated, findings.unexplained, findings.waiting), (1, 1, 0));
        prop_assert_eq!(findings.out_of_order, 0);
    }

    #[test]
    fn any_two_records_of_a_key_in_the_wrong_order_are_found(run in runs(), one: prop::sample::Index) {
        let one = one.index(run.len());
        let later = run.iter().skip(one + 1).position(|d| d.key == run[one].key);
        prop_assume!(later.is_some());
        let two = one + 1 + later.unwrap();
        let mut handled = run.clone();
        handled.swap(one, two);
        prop_assert_eq!(account(&run, &handled).out_of_order, 1);
    }
}

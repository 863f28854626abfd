use std::collections::BTreeMap;
use std::sync::Arc;

use rokini_history::{Disorder, LeftBehind, ObservedHold, Repeat};

use super::*;

const NO_CHAOS: Run = Run { failover: Duration::from_secs(3), chaos: None, interrupted: false };

/// Findings with the moves that belong to them.
#[derive(Clone)]
struct Proof {
    findings: Findings,
    moves: Vec<Move>,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn report(proof: &Proof, interrupted: bool) -> Report {
    let name = |process: Process| ["worker-1", "worker-2", "worker-3"][process.0];
    Report::new(&proof.findings, &proof.moves, &name, &Run { interrupted, ..NO_CHAOS }, Vec::new())
}

fn moved(cause: MoveCause, silence: u64) -> Move {
    Move {
        shard: "shardId-000000000002".into(),
        cause,
        from: Process(0),
        to: Process(2),
        at: ms(9000),
        silence: ms(silence),
    }
}

fn good() -> Proof {
    let moves =
        [moved(MoveCause::Stop, 2000), moved(MoveCause::Kill, 5000), moved(MoveCause::Balance, 60_000)];
    let findings = Findings {
        put: 12_345,
        handled: 12_345,
        repeated: 7,
        first_delivery: Some(ms(3000)),
        longest_wait: ms(5000),
        ..Findings::default()
    };
    Proof { findings, moves: moves.to_vec() }
}

#[test]
fn a_run_at_the_limits_is_good() {
    let report = report(&good(), false);
    assert!(report.ok && report.broken.is_empty(), "{:?}", report.broken);
}

#[test]
fn every_promise_can_break() {
    type Spoil = fn(&mut Proof);
    let cases: [(&str, Spoil); 9] = [
        ("A record waited 5.00 s for its handler", |p| p.findings.longest_wait = ms(5001)),
        ("1 record was lost", |p| p.findings.waiting = 1),
        ("2 records were handled after a later one", |p| p.findings.out_of_order = 2),
        ("3 records were handled twice without", |p| p.findings.unexplained = 3),
        ("4 records were handled although the demo did not put", |p| p.findings.unknown = 4),
        ("The first record was handled after 3.00 s", |p| p.findings.first_delivery = Some(ms(3001))),
        ("No record was handled", |p| p.findings.first_delivery = None),
        ("Shard 2 went from worker-1 to worker-3 and was silent for 2.00 s, which", |p| {
            p.moves.push(moved(MoveCause::Stop, 2001));
        }),
        ("silent for 5.00 s, which is more than 5.00 s", |p| p.moves.push(moved(MoveCause::Kill, 5001))),
    ];
    for (expected, spoil) in cases {
        let mut proof = good();
        spoil(&mut proof);
        let report = report(&proof, false);
        assert!(!report.ok);
        assert!(
            matches!(&report.broken[..], [only] if only.contains(expected)),
            "{expected}: {:?}",
            report.broken
        );
        assert!(report.to_string().contains("A promise broke"));
    }
}

#[test]
fn after_an_interrupt_only_what_was_passed_over_is_lost() {
    let mut proof = good();
    proof.findings.waiting = 5;
    let kept = report(&proof, true);
    assert!(kept.ok && kept.lost == 0 && kept.unread == 5);
    proof.findings.passed_over = 1;
    let broken = report(&proof, true);
    assert!(!broken.ok && broken.lost == 1 && broken.unread == 4);
}

#[test]
fn failures_break_the_run() {
    let (good, failures) = (good(), vec!["worker-2 ended by itself".to_owned()]);
    let report = Report::new(&good.findings, &good.moves, &|_| "w", &NO_CHAOS, failures);
    assert!(!report.ok);
    assert!(report.to_string().contains("BROKEN: worker-2 ended by itself"));
}

#[test]
fn the_object_has_what_is_documented() {
    let object = serde_json::to_value(report(&good(), false)).unwrap();
    for field in ["produced", "processed", "lost", "duplicates", "order_violations", "first_record_ms", "ok"]
    {
        assert!(object.get(field).is_some(), "{field}");
    }
    let first = &object["moves"][0];
    assert_eq!(
        (&first["shard"], &first["cause"], &first["silence_ms"]),
        (&"shardId-000000000002".into(), &"stop".into(), &2000.into())
    );
}

fn with_chaos(proof: &Proof) -> Report {
    let counts = ChaosCounts { splits: 45, merges: 44, kills: 30, freezes: 29, fences: 15, failed: 1 };
    let calls = Calls { calls: 123_456, faults: 1_234 };
    let run = Run { chaos: Some((7, counts, [calls; 2])), ..NO_CHAOS };
    Report::new(&proof.findings, &proof.moves, &|_| "w", &run, Vec::new())
}

#[test]
fn chaos_excuses_silence_up_to_a_limit_and_nothing_else() {
    let mut proof = good();
    proof.findings.causes = BTreeMap::from([(Cause::Crash, 3), (Cause::Fence, 4)]);
    (proof.findings.longest_wait, proof.findings.first_delivery) = (ms(45_000), Some(ms(10_000)));
    proof.moves.extend((0..20).map(|_| moved(MoveCause::Kill, 45_000)));
    let report = with_chaos(&proof);
    assert!(report.ok, "{:?}", report.broken);
    let text = report.to_string();
    assert!(text.contains("--seed 7") && text.contains("21 moves, the longest silence 45.0 s"), "{text}");
    assert!(text.contains("3 after a kill, 4 after a fence, 0 else"), "{text}");
    let spoiled: [fn(&mut Proof); 4] = [
        |proof| proof.findings.waiting = 1,
        |proof| proof.findings.out_of_order = 1,
        |proof| proof.findings.unexplained = 1,
        |proof| proof.findings.longest_wait = ms(45_001),
    ];
    for spoil in spoiled {
        let mut proof = proof.clone();
        spoil(&mut proof);
        assert_eq!(with_chaos(&proof).broken.len(), 1);
    }
}

#[test]
fn what_broke_is_shown_in_detail() {
    let hold = |process, epoch, at| ObservedHold { process: Process(process), epoch, at: ms(at), call: None };
    let (shard, key): (Arc<str>, Arc<str>) = ("shardId-000000000002".into(), "customer-007".into());
    let left = LeftBehind { shard: Arc::clone(&shard), count: 3, oldest: ms(1500) };
    let late =
        Disorder { shard: Arc::clone(&shard), key: Arc::clone(&key), number: 8, hold: hold(0, 2, 2500) };
    let (before, again) = (hold(0, 2, 3000), hold(2, 3, 4000));
    let twice = Repeat { shard, key, number: 9, before, storable: Some(ms(3500)), again, count: 5 };
    let mut proof = good();
    proof.findings.left_behind = vec![left];
    proof.findings.disorder = vec![late];
    proof.findings.unexplained_repeats = vec![twice];
    assert_eq!(report(&proof, false).details, [""; 0], "only of a promise that broke");
    proof.findings.unexplained = 5;
    let expected = [
        "3 records of shardId-000000000002 not done; the oldest was put at 1.500 s.",
        "customer-007/8 of shardId-000000000002 was handled by worker-1 (process 1) under epoch 2 at 2.500 s, after a later \
         record of its key.",
        "customer-007/9 of shardId-000000000002, and 4 more, was handled by worker-1 (process 1) under epoch 2 at 3.000 s, \
         and again by worker-3 (process 3) under epoch 3 at 4.000 s; its position could be stored since 3.500 s.",
    ];
    assert_eq!(report(&proof, false).details, expected);
}

#[test]
fn the_text_fits_into_80_columns() {
    for report in [report(&good(), false), with_chaos(&good())] {
        for line in report.to_string().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

//! Broken variants: for each check one that it catches.

use std::collections::BTreeSet;
use std::time::Duration;

use sim::{Check, FaultProfile, Mutant, ReaderBug, Run, StoreBug};

/// What is broken, in which profile that shows, and the check that sees it.
const MUTANTS: [(Mutant, FaultProfile, Check); 17] = [
    (Mutant::Reader(ReaderBug::DropsRecords), FaultProfile::Orderly, Check::Delivered),
    (Mutant::Reader(ReaderBug::SwapsRecords), FaultProfile::Orderly, Check::InOrder),
    (Mutant::Reader(ReaderBug::RepeatsResponses), FaultProfile::Orderly, Check::Once),
    (
        Mutant::Reader(ReaderBug::DelaysResponses(Duration::from_secs(40))),
        FaultProfile::Orderly,
        Check::Prompt,
    ),
    (Mutant::Store(StoreBug::DropsPositions), FaultProfile::Orderly, Check::Once),
    (Mutant::Store(StoreBug::DropsParents), FaultProfile::Orderly, Check::InOrder),
    (Mutant::Store(StoreBug::DropsChildren), FaultProfile::Orderly, Check::Covered),
    (Mutant::Store(StoreBug::RefusesSome), FaultProfile::Orderly, Check::Owned),
    (Mutant::Store(StoreBug::RefusesSome), FaultProfile::Orderly, Check::Even),
    (Mutant::Store(StoreBug::RepeatsHeartbeats), FaultProfile::Orderly, Check::NoConflicts),
    (Mutant::Store(StoreBug::KeepsWorkers), FaultProfile::Orderly, Check::Tidy),
    (Mutant::Store(StoreBug::ClaimsNeedlessly), FaultProfile::Orderly, Check::Still),
    (Mutant::Store(StoreBug::LowersPositions), FaultProfile::Orderly, Check::Positions),
    (Mutant::ShortFailover, FaultProfile::Faulty, Check::OneOwner),
    (Mutant::ShortFailover, FaultProfile::Faulty, Check::Fences),
    (Mutant::SharedNames, FaultProfile::Orderly, Check::Running),
    (Mutant::LeakedTask, FaultProfile::Orderly, Check::Tidy),
];

/// Seeds until the check trips, or more than enough without.
fn trips(mutant: Mutant, profile: FaultProfile, check: Check) -> Option<u64> {
    let run = Run { profile: Some(profile), mutant: Some(mutant), ..Run::default() };
    (1..=60).find(|seed| {
        let report = run.seed(*seed).unwrap();
        report.violations.iter().any(|violation| violation.check == check)
    })
}

#[test]
fn each_check_trips() {
    let mut tripped = BTreeSet::new();
    for (mutant, profile, check) in MUTANTS {
        let seed = trips(mutant, profile, check);
        assert!(seed.is_some(), "{check:?} does not see {mutant:?}");
        tripped.insert(check);
    }
    let blind: Vec<Check> = Check::ALL.into_iter().filter(|check| !tripped.contains(check)).collect();
    // A handler under an older epoch: the history's own test; the fleet has no seam to break it at.
    assert_eq!(blind, [Check::Fresh]);
}

#[test]
fn a_failing_run_is_made_smaller_and_fails_the_same_check() {
    let profile = Some(FaultProfile::Faulty);
    let mutant = Some(Mutant::Reader(ReaderBug::DropsRecords));
    let run = Run { profile, mutant, ..Run::default() };
    let before = run.seed(1).unwrap();
    let (smaller, after) = sim::shrink(&run, 1, &|_| {}).unwrap().expect("it fails");
    assert_eq!(after.violations[0].check, before.violations[0].check);
    assert!(after.steps < before.steps && after.steps < 3, "{} of {} steps", after.steps, before.steps);
    assert!(smaller.limits.without.len() > 6, "{:?}", smaller.limits.without);
    assert_eq!(smaller.seed(1).unwrap().digest, after.digest, "its limits give it again");
    let sound = Run { profile: Some(FaultProfile::Orderly), ..Run::default() };
    assert!(sim::shrink(&sound, 1, &|_| {}).unwrap().is_none());
}

//! Broken variants: for each check one that it catches.

use std::collections::BTreeSet;

use crate::side_by_side;
use sim::{Check, FaultProfile, Mutant, Run, Script};

/// What is broken, in which profile that shows, and the check that sees it.
const MUTANTS: [(Mutant, FaultProfile, Check); 27] = [
    (Mutant::DropsRecords, FaultProfile::Orderly, Check::Delivered),
    (Mutant::DropsRecords, FaultProfile::Orderly, Check::Stored),
    // Events of subscriptions.
    (Mutant::DropsRecords, FaultProfile::Sdk, Check::Delivered),
    (Mutant::RoundsPositions, FaultProfile::Faulty, Check::Stored),
    (Mutant::CheckpointsAtOnce, FaultProfile::Orderly, Check::Stored),
    (Mutant::CheckpointsAtOnce, FaultProfile::Faulty, Check::Delivered),
    (Mutant::SwapsRecords, FaultProfile::Orderly, Check::InOrder),
    (Mutant::RepeatsResponses, FaultProfile::Orderly, Check::Once),
    (Mutant::NeverCheckpoints, FaultProfile::Faulty, Check::Once),
    (Mutant::DelaysResponses, FaultProfile::Orderly, Check::Prompt),
    (Mutant::FallsAsleep, FaultProfile::Orderly, Check::Answers),
    (Mutant::PausesWhatItLeaves, FaultProfile::Orderly, Check::Resumes),
    (Mutant::DropsPositions, FaultProfile::Orderly, Check::Once),
    (Mutant::DropsParents, FaultProfile::Orderly, Check::InOrder),
    (Mutant::DropsChildren, FaultProfile::Orderly, Check::Covered),
    (Mutant::RefusesSome, FaultProfile::Orderly, Check::Owned),
    (Mutant::RefusesSome, FaultProfile::Orderly, Check::Even),
    (Mutant::RepeatsHeartbeats, FaultProfile::Orderly, Check::NoConflicts),
    (Mutant::KeepsWorkers, FaultProfile::Orderly, Check::Tidy),
    (Mutant::ClaimsNeedlessly, FaultProfile::Orderly, Check::Still),
    (Mutant::LowersPositions, FaultProfile::Orderly, Check::Positions),
    (Mutant::AssumesJoined, FaultProfile::Faulty, Check::Fences),
    (Mutant::ShortFailover, FaultProfile::Faulty, Check::OneOwner),
    (Mutant::ShortFailover, FaultProfile::Faulty, Check::Fences),
    (Mutant::HastyOperators, FaultProfile::Faulty, Check::Orders),
    (Mutant::SharedNames, FaultProfile::Orderly, Check::Running),
    (Mutant::LeakedTask, FaultProfile::Orderly, Check::Tidy),
];

/// Seeds until the check trips, or more than enough without.
fn trips(mutant: Mutant, profile: FaultProfile, check: Check) -> Option<u64> {
    let run = Run { profile: Some(profile), mutant: Some(mutant), ..Run::default() };
    (1..=100).find(|seed| {
        let report = run.seed(*seed).unwrap();
        report.violations.iter().any(|violation| violation.check == check)
    })
}

#[test]
fn each_check_trips() {
    let tripped = side_by_side(&MUTANTS, |(mutant, profile, check)| {
        let seed = trips(*mutant, *profile, *check);
        assert!(seed.is_some(), "{check:?} does not see {mutant:?}");
        *check
    });
    let tripped = BTreeSet::from_iter(tripped);
    let blind: Vec<Check> = Check::ALL.into_iter().filter(|check| !tripped.contains(check)).collect();
    // A handler under an older epoch: the history's own test; the fleet has no seam to break it at.
    assert_eq!(blind, [Check::Fresh]);
}

#[test]
fn a_failing_run_is_made_smaller_and_its_steps_fail_the_same_check() {
    let (profile, mutant) = (Some(FaultProfile::Faulty), Some(Mutant::DropsRecords));
    let run = Run { profile, mutant, ..Run::default() };
    let before = run.seed(1).unwrap();
    let after = sim::shrink(&run, before.script.clone(), &|_| {}).unwrap().expect("it fails");
    assert_eq!(after.violations[0].check, before.violations[0].check);
    let (long, short) = (before.script.steps.len(), after.script.steps.len());
    assert!(short < long / 4 && short < 8, "{short} of {long} steps");
    let again = Script::from_text(&after.script.to_text()).unwrap();
    assert_eq!(run.script(again).unwrap().digest, after.digest, "its steps give it again");
    let sound = Run { profile: Some(FaultProfile::Orderly), ..Run::default() };
    assert!(sim::shrink(&sound, Script::draw(1, sound.profile), &|_| {}).unwrap().is_none());
}

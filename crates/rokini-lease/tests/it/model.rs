//! The coordination protocol, model checked: every interleaving of small fleets, without any limit on how often
//! something happens.
//!
//! Workers join, beat, crash, pause for any time, take up, hand over and lose leases; requests and replies are
//! lost, or come late; clocks drift, and failover times differ. Each write is one atomic change under its condition (`rows`, held against the
//! functions that the stores run). A state has relations in place of growing numbers (`world`), and workers and
//! leases that differ in name only are one, so the searches come to an end by themselves.
//!
//! Three simplifications keep the states few. Each only adds behaviour, or leaves out what makes others wait:
//! - a watcher sees a heartbeat at once, and its fence may come at any time from when the silence was long enough;
//! - the death of a crashed worker may be proven at any time;
//! - a hand-over may go to anybody at any time, claimed or not.
//!
//! Mailboxes do not occur: a notification only makes its reader look at a row, and every worker may look at any time.

mod protocol;
mod recovery;
mod rows;
mod steps;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use protocol::{
    ALL_HOLD, Action, Flaw, LATE_BEAT, NEVER_FALLS, ONE_HOLDER, OUTLIVED, Protocol, RECOVERS, STALE_REFUSED,
    TAKEN_UNNOTICED,
};
use stateright::{Checker, HasDiscoveries, Model, Path};
use world::World;

/// Searches all states, or until one of these properties is violated. Returns what was found: the situations
/// that occur, and the properties that are violated.
fn search(protocol: &Protocol, until: HasDiscoveries) -> BTreeSet<&'static str> {
    let (workers, leases, began) = (protocol.workers, protocol.leases, Instant::now());
    // Breadth first, so that the way to a violation is a short one.
    let checker = protocol.clone().checker().threads(2).finish_when(until).spawn_bfs().join();
    eprintln!(
        "{workers} workers x {leases} leases{}: {} distinct states, {} generated, depth {}, {:.1} s",
        protocol.flaw.map_or(String::new(), |flaw| format!(" with {flaw:?}")),
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64(),
    );
    let found = checker.discoveries();
    for (name, path) in &found {
        if checker.model().property(name).expectation.discovery_is_failure() {
            eprintln!("  not so: {name}: {:?}", steps(protocol, path.clone()));
        }
    }
    found.into_keys().collect()
}

/// The actions of a path under lasting names: the states of a path name workers anew at each step.
fn steps(protocol: &Protocol, path: Path<World, Action>) -> Vec<Action> {
    let mut world = World::default();
    let mut steps = Vec::new();
    for next in path.into_states().into_iter().skip(1) {
        let mut actions = Vec::new();
        protocol.actions(&world, &mut actions);
        let leads_there = |action: &Action| {
            protocol.step(&world, *action).filter(|world| world.representative(protocol.leases) == next)
        };
        let Some((action, after)) = actions.into_iter().find_map(|a| Some((a, leads_there(&a)?))) else {
            break;
        };
        steps.push(action);
        world = after;
        world.forget_the_dead();
    }
    steps
}

fn holds_always(protocol: &Protocol) {
    let situations = BTreeSet::from([ALL_HOLD, TAKEN_UNNOTICED, OUTLIVED, LATE_BEAT]);
    assert_eq!(search(protocol, HasDiscoveries::AnyFailures), situations);
}

fn recovers_always(protocol: Protocol) {
    assert_eq!(search(&protocol.recovering(), HasDiscoveries::AnyFailures), BTreeSet::new());
}

#[test]
fn c5_one_lease_never_has_two_valid_holders_nor_takes_a_stale_checkpoint() {
    holds_always(&Protocol { delayed: 2, ..Protocol::new(2, 1) });
}

/// The same states, by another name: operators set positions in all of them.
#[test]
fn o1_no_checkpoint_from_before_a_seek_takes_effect_after_it() {
    let protocol = Protocol::new(2, 1);
    assert!(protocol.seeks && protocol.delayed_checkpoints);
    holds_always(&protocol);
    is_noticed(&protocol.with(Flaw::SeekWithoutEpoch), STALE_REFUSED);
}

#[test]
fn c5_drifting_clocks_change_nothing_as_long_as_the_margin_covers_them() {
    holds_always(&Protocol::new(2, 1).lean().drifting());
}

#[test]
fn c5_two_leases_of_two_workers_never_have_two_valid_holders() {
    // Checkpoints concern one lease and its holders.
    holds_always(&Protocol { delayed_checkpoints: false, ..Protocol::new(2, 2) });
}

/// As while a change of the setting rolls through a fleet.
#[test]
fn l4_failover_times_that_differ_never_make_two_valid_holders() {
    let differing = Protocol::new(2, 1).differing();
    holds_always(&differing);
    is_noticed(&differing.with(Flaw::JudgesByItsOwnFailover), ONE_HOLDER);
}

#[test]
#[ignore = "takes a minute; `.ci/run` runs it"]
fn l4_failover_times_that_differ_never_make_two_valid_holders_of_two_leases() {
    holds_always(&Protocol { delayed_checkpoints: false, ..Protocol::new(2, 2) }.lean().differing());
}

/// Beats without an answer, and those that arrive after their worker gave up on them.
#[test]
fn l4_a_heartbeat_is_known_by_its_own_call() {
    let protocol = Protocol::new(2, 1);
    assert!(protocol.late_beats);
    is_noticed(&protocol.lean().with(Flaw::RecognisesEarlierBeats), ONE_HOLDER);
}

#[test]
fn c16_a_lease_that_is_made_anew_repeats_no_epoch() {
    is_noticed(&Protocol::new(2, 1).with(Flaw::RepeatsEpochs), STALE_REFUSED);
}

#[test]
#[ignore = "takes minutes"]
fn c5_two_leases_of_three_workers_never_have_two_valid_holders() {
    holds_always(&Protocol::new(3, 2).lean());
}

#[test]
fn l1_a_quiet_fleet_holds_every_lease_within_twice_the_failover_time_from_every_state() {
    recovers_always(Protocol::new(2, 1));
    recovers_always(Protocol::new(2, 2));
    recovers_always(Protocol::new(3, 1));
}

#[test]
#[ignore = "takes minutes"]
fn l1_three_workers_hold_two_leases_within_twice_the_failover_time_from_every_state() {
    recovers_always(Protocol::new(3, 2));
}

/// Checks that the model notices a broken protocol, by this property.
fn is_noticed(broken: &Protocol, by: &'static str) {
    let found = search(broken, HasDiscoveries::AnyOf(BTreeSet::from([by])));
    assert!(found.contains(by), "{found:?}");
}

#[test]
fn a_validity_longer_than_the_failover_time_is_noticed() {
    is_noticed(&Protocol { validity: 3, ..Protocol::new(2, 1) }, ONE_HOLDER);
}

#[test]
fn a_margin_smaller_than_the_drift_is_noticed() {
    let enough = Protocol::new(2, 1).lean().drifting();
    is_noticed(&Protocol { failover: enough.failover - 1, ..enough }, ONE_HOLDER);
}

#[test]
fn each_flaw_is_noticed() {
    let flaws = [
        (Flaw::ValidFromTheAnswer, ONE_HOLDER),
        (Flaw::FenceWithoutBeat, ONE_HOLDER),
        (Flaw::TrustsListings, ONE_HOLDER),
        (Flaw::BelievesWhileMoving, ONE_HOLDER),
        (Flaw::TakesUpWhatItGaveUp, ONE_HOLDER),
        (Flaw::BelievesLateReplies, ONE_HOLDER),
        (Flaw::CheckpointWithoutEpoch, STALE_REFUSED),
        (Flaw::SeekWithoutEpoch, STALE_REFUSED),
        (Flaw::CheckpointWithoutOrder, NEVER_FALLS),
    ];
    for (flaw, property) in flaws {
        is_noticed(&Protocol::new(2, 1).with(flaw), property);
    }
    for flaw in [Flaw::DeadClaimBinds, Flaw::ForgetsWhatItGaveUp] {
        is_noticed(&Protocol::new(2, 1).recovering().with(flaw), RECOVERS);
    }
}

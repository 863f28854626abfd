//! Fixed seeds, and those that failed once.

use sim::{Cause, FaultProfile, Report};

fn run_all(seeds: impl Iterator<Item = u64>) -> Vec<Report> {
    let reports: Vec<Report> = seeds.map(|seed| sim::run(seed).unwrap()).collect();
    for report in &reports {
        let said: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(
            said.is_empty(),
            "{}\n{}\nreplay: cargo run --profile sim -p sim -- --seeds 1 --from {} --log",
            report.log,
            said.join("\n"),
            report.seed
        );
    }
    reports
}

#[test]
fn l1_c6_fleets_with_any_faults_lose_nothing_and_come_to_rest() {
    let reports = run_all(1..=80);
    // The runs are about something.
    assert!(reports.iter().map(|report| report.put).sum::<u64>() > 30_000);
    for line in
        ["is killed", "crashes in a call", "freezes", "is cut off", "the store is out", "Some(Silent)"]
    {
        assert!(reports.iter().any(|report| report.log.contains(line)), "{line}");
    }
    for cause in [Cause::Unfinished, Cause::Crash, Cause::Fence] {
        assert!(reports.iter().any(|report| report.causes.contains_key(&cause)), "{cause:?}");
    }
}

#[test]
fn l1_hundreds_of_workers_come_and_crash_and_nothing_is_lost() {
    let churn = sim::Run { profile: Some(FaultProfile::Churn), ..sim::Run::default() };
    for seed in 1..=3 {
        let report = churn.seed(seed).unwrap();
        assert_eq!(report.violations, vec![], "{}\nseed {seed}", report.log);
        assert!(report.workers >= 100, "{} workers", report.workers);
    }
}

#[test]
fn r5_l10_order_per_key_holds_across_reshards_and_clocks_minutes_apart() {
    let reports = run_all(81..=140);
    assert!(reports.iter().any(|report| report.log.contains("split") && report.log.contains("merge")));
}

#[test]
fn g3_without_faults_nothing_comes_twice() {
    let orderly = sim::Run { profile: Some(FaultProfile::Orderly), ..sim::Run::default() };
    let reports: Vec<Report> = (141..=200).map(|seed| orderly.seed(seed).unwrap()).collect();
    for report in &reports {
        assert_eq!(report.violations, vec![], "{}\nseed {}", report.log, report.seed);
    }
    assert!(reports.iter().any(|report| report.log.contains("leaves")));
    assert_eq!(reports.iter().map(Report::duplicates).sum::<u64>(), 0);
}

/// Seeds that once failed a check, and what they are about.
const REGRESSIONS: [(u64, &str); 11] = [
    (40, "an ended row kept the row of a dead worker"),
    (164, "the claimer left before the owner handed over, and nobody looked for half a minute"),
    (100_948, "a lease handed to a worker that was leaving"),
    (200_328, "notifications get lost, and are sent again"),
    (202_114, "leases created during an operator's command"),
    (1_000_097, "a worker that gives up at its start is started again"),
    (1_002_349, "the only worker of a group gives up at its start and is started again"),
    (1_005_933, "a worker that an outage kept from starting is started again"),
    (3_004_131, "a listing older than a lease made its worker forget that it had given it up"),
    (
        4_009_133,
        "the notification of a hand-over was lost with the lost reply to a heartbeat, and the listing was older than that",
    ),
    (3_009_719, "a stale listing passed a dead worker off as alive, and its successor ended"),
];

#[test]
fn seeds_that_failed_once_pass() {
    run_all(REGRESSIONS.into_iter().map(|(seed, _)| seed));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [7, 8, 9] {
        let (one, other) = (sim::run(seed).unwrap(), sim::run(seed).unwrap());
        assert_eq!(one.log, other.log);
        assert_eq!((one.digest, one.put, one.causes), (other.digest, other.put, other.causes));
    }
}

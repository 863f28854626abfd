//! Fixed seeds, and those that failed once.

use sim::{Cause, FaultProfile, Report, Script};

use crate::side_by_side;

fn run_all(seeds: impl Iterator<Item = u64>) -> Vec<Report> {
    side_by_side(&seeds.collect::<Vec<_>>(), |seed| checked(sim::run(*seed).unwrap()))
}

fn checked(report: Report) -> Report {
    let said: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{}\n{}\nseed {}", report.log, said.join("\n"), report.script.seed);
    report
}

#[test]
fn l1_c6_fleets_with_any_faults_lose_nothing_and_come_to_rest() {
    let reports = run_all(1..=80);
    // The runs are about something.
    assert!(reports.iter().map(|report| report.put).sum::<u64>() > 30_000);
    for line in [
        "is killed",
        "crashes in a call",
        "Frozen: true",
        "Table(Everything): true",
        "Table(Replies): true",
        "Stream: true",
        "the store is out",
        "Some(Silent)",
        "Some(Late)",
        "read units",
        "the wall clock jumps",
    ] {
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
fn l1_fleets_that_read_by_the_sdk_lose_nothing_by_polling_and_by_fan_out() {
    let by_sdk = sim::Run { profile: Some(FaultProfile::Sdk), ..sim::Run::default() };
    let reports: Vec<Report> = (10..=21).map(|seed| checked(by_sdk.seed(seed).unwrap())).collect();
    for line in ["subscribes to", "is killed", "Frozen: true", "Stream: true", "split"] {
        assert!(reports.iter().any(|report| report.log.contains(line)), "{line}");
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
        assert_eq!(report.violations, vec![], "{}\nseed {}", report.log, report.script.seed);
    }
    assert!(reports.iter().any(|report| report.log.contains("leaves")));
    assert_eq!(reports.iter().map(Report::duplicates).sum::<u64>(), 0);
}

/// The steps of runs that once failed a check: seeds mean something else with every new draw.
#[test]
fn runs_that_failed_once_pass() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/regressions");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let script = Script::from_text(&std::fs::read_to_string(file).unwrap()).unwrap();
        println!("{}", file.display());
        checked(sim::Run::default().script(script).unwrap());
    }
    assert!(!files.is_empty());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [7, 8, 9] {
        let (one, other) = (sim::run(seed).unwrap(), sim::run(seed).unwrap());
        assert_eq!(one.log, other.log);
        assert_eq!((one.digest, one.put, one.causes), (other.digest, other.put, other.causes));
    }
}

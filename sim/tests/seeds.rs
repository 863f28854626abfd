//! Fixed seeds, and those that failed once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

use sim::{Report, Weather};

fn judge(seeds: impl Iterator<Item = u64>) -> Vec<Report> {
    let reports: Vec<Report> = seeds.map(|seed| sim::run(seed).unwrap()).collect();
    for report in &reports {
        let said: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(
            said.is_empty(),
            "{}\n{}\nreplay: cargo run --release -p sim -- --seeds 1 --from {} --log",
            report.log,
            said.join("\n"),
            report.seed
        );
    }
    reports
}

#[test]
fn l1_c6_fleets_in_any_weather_lose_nothing_and_come_to_rest() {
    let reports = judge(1..=100);
    // The runs are about something.
    assert!(reports.iter().map(|report| report.put).sum::<u64>() > 30_000);
    assert!(reports.iter().any(|report| report.duplicates > 0));
}

#[test]
fn r5_l10_order_per_key_holds_across_reshards_and_clocks_minutes_apart() {
    let reports = judge(101..=200);
    assert!(reports.iter().any(|report| report.log.contains("split") && report.log.contains("merge")));
}

#[test]
fn g3_in_calm_weather_nothing_comes_twice() {
    let calm: Vec<Report> =
        judge(201..=280).into_iter().filter(|report| report.weather == Weather::Calm).collect();
    assert!(calm.iter().any(|report| report.log.contains("leaves")));
    assert_eq!(calm.iter().map(|report| report.duplicates).sum::<u64>(), 0);
}

/// Seeds that once broke a promise.
const REGRESSIONS: [u64; 1] = [40];

#[test]
fn seeds_that_failed_once_pass() {
    judge(REGRESSIONS.into_iter());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [7, 8, 9] {
        let (one, other) = (sim::run(seed).unwrap(), sim::run(seed).unwrap());
        assert_eq!(one.log, other.log);
        assert_eq!((one.put, one.duplicates), (other.put, other.duplicates));
    }
}

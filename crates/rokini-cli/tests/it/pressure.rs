//! What can be promised on a machine that has other things to do.
//!
//! A bound in seconds is a promise for processes that get a processor when they ask for one. Linux tells for how long some
//! process had to wait for one (pressure stall information). A bound grows by that share of the time: not at all on a
//! machine with room, to twice as much where somebody waited all the time. Where the kernel does not tell, it does not grow.

use std::time::{Duration, Instant};

/// Measures from its start on.
pub struct Pressure {
    began: Instant,
    before: Option<u64>,
}

impl Pressure {
    pub fn start() -> Self {
        Self { began: Instant::now(), before: waited_micros() }
    }

    /// The share of the time so far in which some process waited for a processor, 0 to 1.
    pub fn share(&self) -> f64 {
        let waited = waited_micros().zip(self.before).map_or(0, |(now, before)| now - before);
        (waited as f64 / self.began.elapsed().as_micros() as f64).clamp(0.0, 1.0)
    }
}

/// The bound where that share of the time was waited.
pub fn promised(bound: Duration, share: f64) -> Duration {
    bound.mul_f64(1.0 + share)
}

/// Of `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234` the last number: microseconds since the start of the machine.
fn waited_micros() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    text.lines().next()?.rsplit_once("total=")?.1.parse().ok()
}

#[test]
fn a_bound_grows_by_the_share_that_was_waited_and_at_most_to_twice_as_much() {
    let bound = Duration::from_secs(2);
    assert_eq!(promised(bound, 0.0), bound);
    assert_eq!(promised(bound, 0.25), Duration::from_millis(2_500));
    let pressure = Pressure { began: Instant::now() - Duration::from_secs(1), before: Some(0) };
    assert!((0.0..=1.0).contains(&pressure.share()));
}

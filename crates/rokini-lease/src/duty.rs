//! Who does what one worker is enough for: a pure function that everyone computes, instead of a leader.

use std::time::Duration;

use crate::types::WorkerId;

/// Whether a duty falls to `me` in the interval of this number: exactly one of those who take part has it, and
/// different duties fall to different workers. The choice needs no agreement, only the same inputs; where they
/// differ for a while, a duty is done twice or late. If the worker on duty dies, the next interval picks another.
pub fn on_duty<'a>(
    duty: &str,
    interval: u64,
    me: &'a WorkerId,
    others: impl IntoIterator<Item = &'a WorkerId>,
) -> bool {
    let mine = (weight(duty, interval, me), me);
    others.into_iter().all(|other| (weight(duty, interval, other), other) <= mine)
}

/// The number of the interval that this time lies in.
#[must_use]
pub fn interval_number(now_millis: u64, interval: Duration) -> u64 {
    now_millis / u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn weight(duty: &str, interval: u64, worker: &WorkerId) -> u64 {
    let worker = worker.to_string();
    stable_hash(&[duty.as_bytes(), &interval.to_le_bytes(), worker.as_bytes()])
}

/// A hash for choices that all workers must make alike: the same on every host and in every version, which the standard
/// hasher is not. FNV-1a with a final mix; parts are told apart.
#[must_use]
pub fn stable_hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().chain(&[0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn workers(count: u64) -> Vec<WorkerId> {
        (0..count).map(|n| format!("w{n}#{n:016x}").parse().unwrap()).collect()
    }

    #[test]
    fn t1_each_duty_falls_to_one_worker_and_not_always_to_the_same() {
        let workers = workers(50);
        let chosen = |duty: &str, interval| {
            let on: Vec<usize> = (0..workers.len())
                .filter(|n| on_duty(duty, interval, &workers[*n], workers.iter()))
                .collect();
            assert_eq!(on.len(), 1, "{duty} {interval}");
            on[0]
        };
        let by_interval: BTreeSet<usize> = (0..200).map(|interval| chosen("audit", interval)).collect();
        assert!(by_interval.len() > 40, "{by_interval:?}");
        let by_duty: BTreeSet<usize> = (0..200).map(|n| chosen(&format!("audit {n}"), 7)).collect();
        assert!(by_duty.len() > 40, "{by_duty:?}");
    }

    #[test]
    fn intervals_are_numbered_by_time() {
        assert_eq!(interval_number(59_999, Duration::from_secs(30)), 1);
        assert_eq!(interval_number(60_000, Duration::from_secs(30)), 2);
        assert_eq!(interval_number(7, Duration::ZERO), 7);
    }
}

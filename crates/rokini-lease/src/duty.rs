//! Who does what one worker is enough for: everyone computes it from the same listing, instead of a leader. Pure.

use std::time::Duration;

use crate::types::WorkerId;

/// How many of the workers that take part come before `me` for this duty, by rendezvous hashing: the first one, of rank 0,
/// has it for as long as it lives, the next one takes its place, and different duties fall to different workers. A duty
/// that is to pass from worker to worker, so that one which does not get on with it holds it up for a while only, has the
/// [number of an interval](interval_number) among its parts.
///
/// Needs no agreement, only the same listing: where listings or clocks differ for a while, a duty is done twice or late.
pub fn duty_rank<'a>(
    duty: &[&[u8]],
    me: &'a WorkerId,
    workers: impl IntoIterator<Item = &'a WorkerId>,
) -> usize {
    let mine = (weight(duty, me), me);
    workers.into_iter().filter(|other| (weight(duty, other), *other) > mine).count()
}

/// The first `count` of the workers for this duty.
pub(crate) fn first_on_duty<'a>(
    duty: &[&[u8]],
    workers: impl IntoIterator<Item = &'a WorkerId>,
    count: usize,
) -> Vec<WorkerId> {
    let mut ranked: Vec<(u64, &WorkerId)> =
        workers.into_iter().map(|worker| (weight(duty, worker), worker)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().take(count).map(|(_, worker)| worker.clone()).collect()
}

fn weight(duty: &[&[u8]], worker: &WorkerId) -> u64 {
    let worker = worker.to_string();
    stable_hash(&[duty, &[worker.as_bytes()]].concat())
}

/// The number of the interval that this time lies in.
#[must_use]
pub fn interval_number(now_millis: u64, interval: Duration) -> u64 {
    now_millis / u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1)
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
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn workers(count: u64) -> Vec<WorkerId> {
        (0..count).map(|n| format!("w{n}#{n:016x}").parse().unwrap()).collect()
    }

    #[test]
    fn t1_each_duty_falls_to_one_worker_and_not_always_to_the_same() {
        let workers = workers(50);
        let chosen = |duty: &str, interval: u64| {
            let parts = [duty.as_bytes(), &interval.to_le_bytes()];
            let on: Vec<usize> =
                (0..workers.len()).filter(|n| duty_rank(&parts, &workers[*n], workers.iter()) == 0).collect();
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

    #[test]
    fn t1_each_stream_has_one_worker_on_duty_and_streams_are_spread() {
        let workers = workers(20);
        let mut turns = BTreeMap::new();
        for number in 0..2_000 {
            let stream = format!("orders-{number}@1700000000000");
            let rank = |id: &WorkerId| duty_rank(&[stream.as_bytes()], id, &workers);
            let ranks: BTreeSet<usize> = workers.iter().map(rank).collect();
            assert_eq!(ranks, (0..20).collect(), "{stream}");
            let first = workers.iter().find(|id| rank(id) == 0).unwrap();
            *turns.entry(first).or_insert(0) += 1;
        }
        assert!(turns.len() == 20 && turns.values().all(|turns| (50..200).contains(turns)), "{turns:?}");
    }
}

//! Who does what one worker is enough for: everyone computes it from the same listing, instead of a leader. Pure.

use crate::types::WorkerId;

/// How many of the workers that take part come before `me` for this duty, by rendezvous hashing: the first one, of rank 0,
/// has it for as long as it lives, the next one takes its place, and different duties fall to different workers.
///
/// Needs no agreement and no clock, only the same listing: where listings differ for a while, a duty is done twice or late.
pub fn duty_rank<'a>(duty: &str, me: &'a WorkerId, workers: impl IntoIterator<Item = &'a WorkerId>) -> usize {
    let weight = |worker: &WorkerId| stable_hash(&[duty.as_bytes(), worker.to_string().as_bytes()]);
    let mine = (weight(me), me);
    workers.into_iter().filter(|other| (weight(other), *other) > mine).count()
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
        let chosen = |duty: &str| {
            let on: Vec<usize> =
                (0..workers.len()).filter(|n| duty_rank(duty, &workers[*n], workers.iter()) == 0).collect();
            assert_eq!(on.len(), 1, "{duty}");
            on[0]
        };
        let by_duty: BTreeSet<usize> = (0..200).map(|n| chosen(&format!("audit {n}"))).collect();
        assert!(by_duty.len() > 40, "{by_duty:?}");
    }

    #[test]
    fn t1_each_stream_has_one_worker_on_duty_and_streams_are_spread() {
        let workers = workers(20);
        let mut turns = BTreeMap::new();
        for number in 0..2_000 {
            let stream = format!("orders-{number}@1700000000000");
            let rank = |id: &WorkerId| duty_rank(&stream, id, &workers);
            let ranks: BTreeSet<usize> = workers.iter().map(rank).collect();
            assert_eq!(ranks, (0..20).collect(), "{stream}");
            let first = workers.iter().find(|id| rank(id) == 0).unwrap();
            *turns.entry(first).or_insert(0) += 1;
        }
        assert!(turns.len() == 20 && turns.values().all(|turns| (50..200).contains(turns)), "{turns:?}");
    }
}

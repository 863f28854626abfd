//! What is known of a stream before an operation: what a difference must rest on to be excused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::types::Shard;

use super::operation::shard_number;

/// Seconds since the epoch, the first and the last in which something may have happened.
pub(crate) type Seconds = RangeInclusive<u64>;

pub(crate) fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A shard, as this model knows it, and when it was seen to begin and end.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) first: u128,
    pub(crate) last: u128,
    began: Seconds,
    ended: Option<Seconds>,
}

/// The stream as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) retention_hours: i32,
    /// Second of the time that the filters ask for.
    pub(crate) asked: u64,
    /// Shards with records.
    pub(crate) written: BTreeSet<usize>,
    lives: BTreeMap<usize, Life>,
}

impl Facts {
    /// Sees the shards anew, after something that happened within these seconds.
    pub(crate) fn see(&mut self, shards: &[Shard], within: &Seconds) {
        for shard in shards {
            let range = shard.hash_key_range().unwrap();
            let life = self.lives.entry(shard_number(shard.shard_id())).or_insert_with(|| Life {
                first: range.starting_hash_key().parse().unwrap(),
                last: range.ending_hash_key().parse().unwrap(),
                began: within.clone(),
                ended: None,
            });
            if shard.sequence_number_range().unwrap().ending_sequence_number().is_some() {
                life.ended.get_or_insert_with(|| within.clone());
            }
        }
    }

    pub(crate) fn forget(&mut self) {
        self.lives.clear();
    }

    /// Shards there have been.
    pub(crate) fn count(&self) -> usize {
        self.lives.len()
    }

    pub(crate) fn open(&self) -> usize {
        self.lives.values().filter(|life| life.ended.is_none()).count()
    }

    pub(crate) fn shard(&self, number: usize) -> Option<&Life> {
        self.lives.get(&number)
    }

    pub(crate) fn closed(&self, number: usize) -> bool {
        self.shard(number).is_some_and(|life| life.ended.is_some())
    }

    pub(crate) fn written(&self, number: usize) -> bool {
        self.written.contains(&number)
    }

    /// Whether a shard began or ended in the second the filters ask for.
    pub(crate) fn turned_when_asked(&self, number: usize) -> bool {
        let then = |seconds: &Seconds| seconds.contains(&self.asked);
        self.shard(number).is_some_and(|life| then(&life.began) || life.ended.as_ref().is_some_and(then))
    }

    /// Whether the two are open and next to each other.
    pub(crate) fn adjacent(&self, one: usize, two: usize) -> bool {
        let Some((one, two)) = self.shard(one).zip(self.shard(two)) else { return false };
        one.last.checked_add(1) == Some(two.first) || two.last.checked_add(1) == Some(one.first)
    }
}

/// The shards in the text of an answer to ListShards, by number.
pub(crate) fn listed(answer: &str) -> BTreeMap<usize, &str> {
    let shards = answer.trim_start_matches("ok").split_inclusive(']').map(str::trim);
    let number = |text: &str| text.split_once('[').unwrap().0.parse().unwrap();
    shards.filter(|text| !text.is_empty()).map(|text| (number(text), text)).collect()
}

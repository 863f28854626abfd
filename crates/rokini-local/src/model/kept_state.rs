//! What is kept, piece by piece, and what the pieces come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use rokini_wire::{Blob, Timestamp, cbor};
use serde::{Deserialize, Serialize};

use crate::model::queue::{Delivery, Place};
use crate::model::stream::Stream;

/// A part of the model as it is from now on. A stream is named by its id, since one made anew may have its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// What came before counts for nothing.
    Reset,
    /// What belongs to no stream, encoded.
    Account(Blob),
    /// A stream without its records and deliveries, encoded.
    Stream { id: u64, state: Blob },
    /// The stream is no more.
    StreamGone { id: u64 },
    /// Records that came, in order of their offsets.
    Records { stream: u64, shard: u32, records: Vec<KeptRecord> },
    /// What became of records of a queue.
    Deliveries { stream: u64, queue: String, state: KeptDeliveries },
    /// The offset that the next record of a shard gets at least.
    Next { stream: u64, shard: u32, offset: u64 },
    /// How far the clock is shifted from its own time.
    Clock { shift_millis: i64 },
}

/// Offset, arrival in milliseconds, partition key, data, and whether it is encrypted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptRecord(
    pub(crate) u64,
    pub(crate) i64,
    pub(super) Option<Arc<str>>,
    pub(super) Blob,
    pub(super) bool,
);

/// Deliveries of a queue so far, and what changed with the last ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct KeptDeliveries {
    pub(super) count: u64,
    /// Offset of the first record never delivered, by shard.
    pub(super) next: BTreeMap<u32, u64>,
    /// Absent is acknowledged.
    pub(super) places: Vec<(Place, Option<Delivery>)>,
}

/// Everything that was kept, but records.
#[derive(Debug, Default)]
pub(crate) struct KeptState {
    pub(super) account: Option<Blob>,
    pub(super) streams: BTreeMap<u64, Blob>,
    pub(super) deliveries: BTreeMap<(u64, String), QueueState>,
    pub(super) next: BTreeMap<(u64, u32), u64>,
    pub(crate) shift_millis: i64,
    /// When the last effect took place.
    pub(crate) last_seen: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) count: u64,
    pub(super) next: BTreeMap<u32, u64>,
    pub(super) places: BTreeMap<Place, Delivery>,
}

/// Records by stream and shard.
pub(crate) type KeptRecords = BTreeMap<(u64, u32), Vec<KeptRecord>>;

/// Which records of a stream are still there: by shard, from which offset on. Shards from `next_shard` on came later.
pub(crate) type LiveShards = BTreeMap<u32, u64>;

impl KeptState {
    /// Takes an effect in. Records are only counted.
    pub(crate) fn apply(&mut self, at: Timestamp, effect: &Effect) {
        self.last_seen = Some(at);
        match effect {
            Effect::Reset => *self = Self { last_seen: Some(at), ..Self::default() },
            Effect::Account(state) => self.account = Some(state.clone()),
            Effect::Stream { id, state } => drop(self.streams.insert(*id, state.clone())),
            Effect::StreamGone { id } => self.retain(|stream| stream != *id),
            Effect::Records { stream, shard, records } => {
                if let Some(last) = records.last() {
                    self.raise_next(*stream, *shard, last.0 + 1);
                }
            }
            Effect::Next { stream, shard, offset } => self.raise_next(*stream, *shard, *offset),
            Effect::Deliveries { stream, queue, state } => {
                let known = self.deliveries.entry((*stream, queue.clone())).or_default();
                known.count = known.count.max(state.count);
                known.next.extend(&state.next);
                for (place, delivery) in &state.places {
                    match delivery {
                        Some(delivery) => drop(known.places.insert(*place, *delivery)),
                        None => drop(known.places.remove(place)),
                    }
                }
            }
            Effect::Clock { shift_millis } => self.shift_millis = *shift_millis,
        }
    }

    fn raise_next(&mut self, stream: u64, shard: u32, offset: u64) {
        let next = self.next.entry((stream, shard)).or_default();
        *next = (*next).max(offset);
    }

    /// Some numbers that were given may not have been read: none is given a second time.
    pub(crate) fn skip_numbers(&mut self, by: u64) {
        for state in self.streams.values().filter_map(|state| cbor::decode::<Stream>(state).ok()) {
            for shard in state.shards() {
                let next = self.next.entry((state.id, shard.number)).or_default();
                *next = (*next).max(shard.next_offset());
            }
        }
        self.next.values_mut().for_each(|next| *next = next.saturating_add(by));
    }

    /// Forgets streams that are no more.
    pub(crate) fn retain(&mut self, alive: impl Fn(u64) -> bool) {
        self.streams.retain(|id, _| alive(*id));
        self.deliveries.retain(|(id, _), _| alive(*id));
        self.next.retain(|(id, _), _| alive(*id));
    }

    /// The same again, in as few effects as can be.
    pub(crate) fn to_effects(&self) -> Vec<Effect> {
        const PLACES: usize = 1_000;
        let mut effects = vec![Effect::Clock { shift_millis: self.shift_millis }];
        effects.extend(self.account.clone().map(Effect::Account));
        effects
            .extend(self.streams.iter().map(|(id, state)| Effect::Stream { id: *id, state: state.clone() }));
        effects.extend(self.next.iter().map(|((stream, shard), offset)| Effect::Next {
            stream: *stream,
            shard: *shard,
            offset: *offset,
        }));
        for ((stream, queue), state) in &self.deliveries {
            let places: Vec<_> = state.places.iter().map(|(place, given)| (*place, Some(*given))).collect();
            let all = KeptDeliveries { count: state.count, next: state.next.clone(), places: Vec::new() };
            let parts = places
                .chunks(PLACES)
                .map(|part| KeptDeliveries { places: part.to_vec(), ..KeptDeliveries::default() });
            effects.extend(std::iter::once(all).chain(parts).map(|state| Effect::Deliveries {
                stream: *stream,
                queue: queue.clone(),
                state,
            }));
        }
        effects
    }
}

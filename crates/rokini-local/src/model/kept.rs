//! What is kept of a model, and how one is made of it again.
//!
//! Kept is what is so after a call, and not the call: reading it decides nothing, so no rule, limit or clock of a later day can refuse
//! it. What a later call finds come due comes due again.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_wire::shapes::record::Record;
use rokini_wire::{DecodeError, EncryptionType, SequenceNumber, Timestamp, cbor};
use serde::{Deserialize, Serialize};

use crate::model::account::Model;
use crate::model::changed::Changed;
use crate::model::commitment::Commitment;
use crate::model::kept_state::{Effect, KeptDeliveries, KeptRecord, KeptRecords, KeptState, LiveShards};
use crate::model::kms_keys::KmsKeys;
use crate::model::queue::{Place, Queue};
use crate::model::receive::place_of;
use crate::model::scope::{Scope, StreamKey};
use crate::model::sequence;
use crate::model::shard::{Shard, offset_of};
use crate::model::stream::Stream;
use crate::settings::LocalSettings;

/// What belongs to no stream.
#[derive(Debug, Serialize, Deserialize)]
struct AccountState {
    keys: KmsKeys,
    commitments: Vec<(Scope, Commitment)>,
    next_queue: u64,
    next_stream: u64,
}

impl Model {
    /// What a call changed, as it is kept; the call was the last one.
    pub(crate) fn effects(&mut self, changed: &Changed) -> Vec<Effect> {
        match changed {
            Changed::Nothing => Vec::new(),
            Changed::Records(numbers) => self.written(numbers),
            Changed::Deliveries { handles, .. } if handles.is_empty() => Vec::new(),
            Changed::Deliveries { queue_arn, handles } => self.delivered(queue_arn, handles),
            Changed::Other => {
                let mut effects = vec![self.account_effect()];
                for (key, id) in self.streams.touched() {
                    match self.streams.get(key).filter(|stream| stream.id == *id) {
                        Some(stream) => {
                            effects.push(stream_effect(stream));
                            let fresh = stream.queues.values().filter(|queue| queue.deliveries == 0);
                            effects.extend(fresh.map(|queue| deliveries_effect(*id, queue, &[])));
                        }
                        None => effects.push(Effect::StreamGone { id: *id }),
                    }
                }
                effects
            }
        }
    }

    /// The whole model, as it is kept.
    pub(crate) fn all_effects(&self) -> Vec<Effect> {
        const RECORDS: usize = 500;
        let mut effects = vec![Effect::Reset, self.account_effect()];
        for stream in self.streams.all() {
            effects.push(stream_effect(stream));
            for queue in stream.queues.values() {
                let places: Vec<Place> = queue.places().collect();
                effects.push(deliveries_effect(stream.id, queue, &places));
            }
            for shard in stream.shards() {
                let records: Vec<KeptRecord> = shard.records_from(0).map(keep).collect();
                effects.extend(records.chunks(RECORDS).map(|part| Effect::Records {
                    stream: stream.id,
                    shard: shard.number,
                    records: part.to_vec(),
                }));
            }
        }
        effects
    }

    fn account_effect(&self) -> Effect {
        let state = AccountState {
            keys: self.keys.clone(),
            commitments: self.commitments.clone().into_iter().collect(),
            next_queue: self.next_queue,
            next_stream: self.streams.next_id,
        };
        Effect::Account(cbor::encode(&state).into())
    }

    fn written(&mut self, numbers: &[SequenceNumber]) -> Vec<Effect> {
        let Some((key, id)) = self.touched().first().cloned() else { return Vec::new() };
        let Some(stream) = self.streams.get_mut(&key) else { return Vec::new() };
        // A shard that came due is kept before the first record in it.
        let unkept = std::mem::take(&mut stream.came_due).then(|| stream_effect(stream));
        let mut by_shard: BTreeMap<u32, Vec<KeptRecord>> = BTreeMap::new();
        for parts in numbers.iter().filter_map(|number| sequence::parse(*number)) {
            if let Some(record) = stream.shard(parts.shard).and_then(|shard| shard.record_at(parts.offset)) {
                by_shard.entry(parts.shard).or_default().push(keep(record));
            }
        }
        let records =
            by_shard.into_iter().map(|(shard, records)| Effect::Records { stream: id, shard, records });
        unkept.into_iter().chain(records).collect()
    }

    fn delivered(&self, queue_arn: &str, handles: &[String]) -> Vec<Effect> {
        let queues = self.touched().iter().filter_map(|(key, id)| {
            let queue = self.streams.get(key)?.queues.values().find(|queue| queue.arn == queue_arn)?;
            Some((*id, queue))
        });
        let seed = self.settings.seed;
        let places: Vec<Place> = handles.iter().filter_map(|handle| place_of(handle, seed)).collect();
        queues.map(|(id, queue)| deliveries_effect(id, queue, &places)).collect()
    }

    /// Which records are still there, by the ids of their streams.
    pub(crate) fn live_shards(&self, id: u64, key: &StreamKey) -> Option<(LiveShards, u32)> {
        let stream = self.streams.get(key).filter(|stream| stream.id == id)?;
        let oldest = stream.shards().map(|shard| (shard.number, shard.oldest_offset())).collect();
        Some((oldest, stream.next_shard()))
    }

    /// The id the next stream gets.
    pub(crate) fn next_stream_id(&self) -> u64 {
        self.streams.next_id
    }

    /// A model of what was kept, and the ids of the streams that cannot be read. A clock that was set back meanwhile makes nothing
    /// take longer that is under way.
    pub(crate) fn of_kept(
        kept: &KeptState,
        mut records: KeptRecords,
        settings: LocalSettings,
        now: Timestamp,
    ) -> (Self, Vec<(u64, DecodeError)>) {
        let mut model = Self::new(settings);
        let mut unreadable = Vec::new();
        if let Some(Ok(account)) = kept.account.as_ref().map(|state| cbor::decode::<AccountState>(state)) {
            model.keys = account.keys;
            model.commitments = account.commitments.into_iter().collect();
            model.next_queue = account.next_queue;
            model.streams.next_id = account.next_stream;
        }
        let last_seen = kept.last_seen.unwrap_or(now);
        let behind = Duration::from_millis(last_seen.millis_since(now).cast_unsigned());
        for (id, state) in &kept.streams {
            let mut stream: Stream = match cbor::decode(state) {
                Ok(stream) => stream,
                Err(error) => {
                    unreadable.push((*id, error));
                    continue;
                }
            };
            // As of then: a child's numbers hold the second in which it came.
            if !stream.apply_due_changes(last_seen) {
                continue;
            }
            for shard in stream.shards_mut() {
                let records = records.remove(&(*id, shard.number)).unwrap_or_default();
                take_back(shard, records, kept.next.get(&(*id, shard.number)).copied().unwrap_or(0));
            }
            for queue in stream.queues.values_mut() {
                let Some(state) = kept.deliveries.get(&(*id, queue.id.clone())) else { continue };
                queue.deliveries = state.count;
                queue.next.clone_from(&state.next);
                state.places.iter().for_each(|(place, delivery)| queue.keep(*place, *delivery));
            }
            if !behind.is_zero() {
                stream.pull_back(now, behind);
            }
            stream.trim(now);
            model.streams.take_back(stream);
        }
        let seen = kept.streams.keys().chain(records.keys().map(|(id, _)| id)).max();
        model.streams.next_id = model.streams.next_id.max(seen.map_or(0, |id| id + 1));
        (model, unreadable)
    }
}

fn stream_effect(stream: &Stream) -> Effect {
    Effect::Stream { id: stream.id, state: cbor::encode(stream).into() }
}

fn deliveries_effect(stream: u64, queue: &Queue, places: &[Place]) -> Effect {
    let places = places.iter().map(|place| (*place, queue.delivery(*place))).collect();
    let state = KeptDeliveries { count: queue.deliveries, next: queue.next.clone(), places };
    Effect::Deliveries { stream, queue: queue.id.clone(), state }
}

fn keep(record: &Record) -> KeptRecord {
    let arrival = record.approximate_arrival_timestamp.map_or(0, Timestamp::millis);
    let encrypted = record.encryption_type.is_some();
    KeptRecord(offset_of(record), arrival, record.partition_key.clone(), record.data.clone(), encrypted)
}

fn take_back(shard: &mut Shard, mut records: Vec<KeptRecord>, next: u64) {
    // Compaction writes records anew behind later ones.
    records.sort_by_key(|record| record.0);
    records.dedup_by_key(|record| record.0);
    let numbers: Vec<SequenceNumber> = records
        .iter()
        .map(|KeptRecord(offset, arrival, ..)| shard.number_at(*offset, Timestamp::from_millis(*arrival)))
        .collect();
    let records =
        records.into_iter().zip(numbers).map(|(KeptRecord(_, arrival, key, data, encrypted), number)| {
            let mut record =
                Record::new(number, data).approximate_arrival_timestamp(Timestamp::from_millis(arrival));
            record.partition_key = key;
            record.encryption_type = encrypted.then_some(EncryptionType::Kms);
            record
        });
    shard.restore(records, next);
}

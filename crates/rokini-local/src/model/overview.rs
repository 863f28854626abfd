//! What the model holds, for people to look at. Looking costs nothing: no rate counts it, and no queue notices.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rokini_wire::shapes::record::Record;
use rokini_wire::{Timestamp, is_aggregate, read_aggregates};
use serde::Serialize;

use crate::model::account::Model;
use crate::model::queue::Queue;
use crate::model::shard::{Shard, shard_id};
use crate::model::stream::Stream;

/// Most bytes shown of a record.
const MAX_SHOWN_BYTES: usize = 16 << 10;
/// Most user records shown of an aggregate.
const MAX_SHOWN_PARTS: usize = 50;
/// Most shards shown of a stream.
const MAX_SHOWN_SHARDS: usize = 2_000;

/// The whole model.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    now_millis: i64,
    throughput_limits: bool,
    call_limits: bool,
    streams: Vec<StreamLine>,
    /// The stream that was asked for, or the first.
    stream: Option<StreamView>,
}

/// One line for each stream.
#[derive(Debug, Serialize)]
struct StreamLine {
    id: u64,
    name: String,
    account: String,
    region: String,
    status: String,
    mode: String,
    open_shards: usize,
    records: usize,
}

#[derive(Debug, Serialize)]
struct StreamView {
    id: u64,
    name: String,
    arn: String,
    status: String,
    mode: String,
    retention_hours: i32,
    encryption: String,
    created_millis: i64,
    shards: Vec<ShardView>,
    /// Shards that are not shown.
    more_shards: usize,
    consumers: Vec<ConsumerView>,
    queues: Vec<QueueView>,
}

#[derive(Debug, Serialize)]
struct ShardView {
    number: u32,
    id: String,
    /// Where its hash keys begin and end, between 0 and 1.
    from: f64,
    to: f64,
    hash_keys: (String, String),
    parents: Vec<String>,
    open: bool,
    /// Records kept.
    records: usize,
    /// Records ever written.
    written_records: u64,
    /// Bytes written and given out since the start.
    written_bytes: u64,
    read_records: u64,
    read_bytes: u64,
    oldest_millis: Option<i64>,
    newest_millis: Option<i64>,
}

#[derive(Debug, Serialize)]
struct ConsumerView {
    name: String,
    status: String,
    /// Shards it subscribed to last.
    shards: Vec<String>,
}

#[derive(Debug, Serialize)]
struct QueueView {
    name: String,
    arn: String,
    status: String,
    /// Records never delivered.
    waiting: u64,
    in_flight: usize,
    dead_letters: usize,
}

/// A record as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct RecordView {
    sequence_number: String,
    arrived_millis: i64,
    encrypted: bool,
    #[serde(flatten)]
    data: DataView,
    /// The user records of a KPL aggregate.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_records: Option<Vec<DataView>>,
}

#[derive(Debug, Serialize)]
struct DataView {
    partition_key: Option<String>,
    bytes: usize,
    /// The first bytes.
    data_base64: String,
}

impl Model {
    /// Everything, with the shards of one stream.
    pub(crate) fn overview(&mut self, now: Timestamp, chosen: Option<u64>) -> Overview {
        self.streams.apply_all_due_changes(now);
        let streams: Vec<StreamLine> = self.streams.all().map(StreamLine::new).collect();
        let shown = chosen.filter(|id| streams.iter().any(|stream| stream.id == *id));
        let shown = shown.or_else(|| streams.first().map(|stream| stream.id));
        let stream = self.streams.all().find(|stream| Some(stream.id) == shown);
        Overview {
            now_millis: now.millis(),
            throughput_limits: self.settings.throughput_limits,
            call_limits: self.settings.call_limits,
            stream: stream.map(|stream| StreamView::new(stream, now)),
            streams,
        }
    }

    /// The last records of a shard, the newest first; `None` if there is no such shard.
    pub(crate) fn last_records(&self, stream: u64, shard: u32, most: usize) -> Option<Vec<RecordView>> {
        let shard = self.streams.all().find(|known| known.id == stream)?.shard(shard)?;
        Some(shard.records_from(0).rev().take(most).map(RecordView::new).collect())
    }
}

impl StreamLine {
    fn new(stream: &Stream) -> Self {
        Self {
            id: stream.id,
            name: stream.name.clone(),
            account: stream.scope.account.to_string(),
            region: stream.scope.region.to_string(),
            status: stream.status.to_string(),
            mode: stream.mode.to_string(),
            open_shards: stream.open_shards(),
            records: stream.shards().map(Shard::count).sum(),
        }
    }
}

impl StreamView {
    fn new(stream: &Stream, now: Timestamp) -> Self {
        let consumers = stream.consumers.values().map(|consumer| ConsumerView {
            name: consumer.name.clone(),
            status: consumer.status.to_string(),
            shards: consumer.subscriptions.keys().copied().map(shard_id).collect(),
        });
        let skipped = stream.shards().count().saturating_sub(MAX_SHOWN_SHARDS);
        Self {
            id: stream.id,
            name: stream.name.clone(),
            arn: stream.arn.clone(),
            status: stream.status.to_string(),
            mode: stream.mode.to_string(),
            retention_hours: stream.retention_hours,
            encryption: stream.encryption().to_string(),
            created_millis: stream.created.millis(),
            // The newest, which are open.
            shards: stream.shards().skip(skipped).map(ShardView::new).collect(),
            more_shards: skipped,
            consumers: consumers.collect(),
            queues: stream.queues.values().map(|queue| QueueView::new(queue, stream, now)).collect(),
        }
    }
}

impl ShardView {
    fn new(shard: &Shard) -> Self {
        let arrival = |record: &Record| Some(record.approximate_arrival_timestamp?.millis());
        // A picture: what a float cannot tell apart, no screen can.
        let place = |hash: u128| hash as f64 / u128::MAX as f64;
        Self {
            number: shard.number,
            id: shard.id(),
            from: place(shard.hashes.0),
            to: place(shard.hashes.1),
            hash_keys: (shard.hashes.0.to_string(), shard.hashes.1.to_string()),
            parents: shard.parents().map(shard_id).collect(),
            open: shard.closed.is_none(),
            records: shard.count(),
            written_records: shard.next_offset().saturating_sub(1),
            written_bytes: shard.written_bytes,
            read_records: shard.read_records,
            read_bytes: shard.read_bytes,
            oldest_millis: shard.records_from(0).next().and_then(arrival),
            newest_millis: shard.records_from(0).next_back().and_then(arrival),
        }
    }
}

impl QueueView {
    fn new(queue: &Queue, stream: &Stream, now: Timestamp) -> Self {
        let (in_flight, dead_letters) = queue.counts(now);
        Self {
            name: queue.name.clone(),
            arn: queue.arn.clone(),
            status: queue.status.to_string(),
            waiting: stream
                .shards()
                .map(|shard| shard.records_from(queue.next_offset(shard)).size_hint().0 as u64)
                .sum(),
            in_flight,
            dead_letters,
        }
    }
}

impl RecordView {
    fn new(record: &Record) -> Self {
        Self {
            sequence_number: record.sequence_number.to_string(),
            arrived_millis: record.approximate_arrival_timestamp.map_or(0, Timestamp::millis),
            encrypted: record.encryption_type.is_some(),
            data: DataView::new(record.partition_key.as_deref().map(str::to_owned), &record.data),
            user_records: user_records(&record.data),
        }
    }
}

impl DataView {
    fn new(partition_key: Option<String>, data: &[u8]) -> Self {
        let shown = &data[..data.len().min(MAX_SHOWN_BYTES)];
        Self { partition_key, bytes: data.len(), data_base64: STANDARD.encode(shown) }
    }
}

fn user_records(data: &[u8]) -> Option<Vec<DataView>> {
    if !is_aggregate(data) {
        return None;
    }
    let mut found = None;
    read_aggregates(&[data], |_, aggregate| {
        let Ok(aggregate) = aggregate else { return };
        let shown = aggregate.user_records().take(MAX_SHOWN_PARTS).map(|place| {
            let key = String::from_utf8_lossy(&data[place.partition_key()]).into_owned();
            DataView::new(Some(key), &data[place.data()])
        });
        found = Some(shown.collect());
    });
    found
}

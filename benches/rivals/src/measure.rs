//! The measurements.

use std::time::{Duration, Instant};

use rokini_local::wire::shapes::record::{
    GetRecordsRequest, GetShardIteratorRequest, PutRecordsRequest, PutRecordsRequestEntry,
};
use rokini_local::wire::shapes::shard::ListShardsRequest;
use rokini_local::wire::shapes::stream::CreateStreamRequest;
use rokini_local::wire::{Codec, ShardIteratorType};

use crate::client::Client;
use crate::server::{Process, Running, ServerKind};

const STREAM: &str = "bench";
/// Record data in the shard.
const FILL_BYTES: usize = 60 << 20;
/// How long a rate is measured.
const TAKES: Duration = Duration::from_secs(3);

pub(crate) struct Batches {
    pub(crate) codec: Codec,
    pub(crate) record_bytes: usize,
    pub(crate) limit: i32,
}

/// Megabytes of body for a second of the server's CPU time, the same batch again and again.
pub(crate) async fn get_records(kind: ServerKind, batches: &Batches) -> f64 {
    let server = Process::spawn(kind);
    let mut client = Client::connect(&server.address).await;
    create(&mut client, 1).await;
    let mut left = FILL_BYTES / batches.record_bytes;
    while left > 0 {
        let count = left.min(500).min((1 << 20) / batches.record_bytes);
        left -= count;
        let entry = |_| PutRecordsRequestEntry::new(vec![b'x'; batches.record_bytes]).partition_key("partition-key-17");
        let records = (0..count).map(entry).collect();
        let put = PutRecordsRequest::new(records).stream_name(STREAM);
        assert_eq!(client.call(&put).await.unwrap().failed_record_count.unwrap_or(0), 0);
    }
    let shard_iterator = iterator(&mut client).await.unwrap();
    let request = GetRecordsRequest::new(shard_iterator).limit(batches.limit);
    for _ in 0..3 {
        client.length(batches.codec, &request).await;
    }
    let (cpu, started, mut bytes) = (server.cpu_seconds(), Instant::now(), 0);
    while started.elapsed() < TAKES {
        bytes += client.length(batches.codec, &request).await;
    }
    bytes as f64 / 1e6 / (server.cpu_seconds() - cpu)
}

/// In milliseconds.
pub(crate) struct Starts {
    pub(crate) median: f64,
    pub(crate) slowest: f64,
}

/// From nothing to the first answered read of a stream with four shards.
pub(crate) async fn start(kind: ServerKind) -> Starts {
    let mut took = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let running = Running::start(kind).await;
        let mut client = Client::connect(&running.address().to_string()).await;
        create(&mut client, 4).await;
        took.push(started.elapsed().as_secs_f64() * 1e3);
        running.stop().await;
    }
    took.sort_by(f64::total_cmp);
    Starts { median: took[took.len() / 2], slowest: took[took.len() - 1] }
}

pub(crate) struct ManyShards {
    /// Seconds.
    pub(crate) started: f64,
    pub(crate) listed: f64,
    /// In MiB.
    pub(crate) memory: f64,
}

pub(crate) async fn many_shards(kind: ServerKind) -> ManyShards {
    let began = Instant::now();
    let server = Process::spawn(kind);
    let mut client = Client::connect(&server.address).await;
    create(&mut client, 10_000).await;
    let (mut started, mut listed) = (None, 0);
    let mut request = ListShardsRequest::new().stream_name(STREAM);
    // A server that cannot go on has listed what it has listed.
    while let Ok(page) = client.call(&request).await {
        started.get_or_insert_with(|| began.elapsed().as_secs_f64());
        listed += page.shards.unwrap_or_default().len();
        let Some(token) = page.next_token else { break };
        request = ListShardsRequest::new().next_token(token);
    }
    ManyShards { started: started.unwrap(), listed: listed as f64, memory: server.peak_mib() }
}

/// Creates the stream, and waits until its first shard can be read.
async fn create(client: &mut Client, shards: i32) {
    let request = CreateStreamRequest::new(STREAM).shard_count(shards);
    client.call(&request).await.unwrap();
    let began = Instant::now();
    while let Err(error) = iterator(client).await {
        assert!(began.elapsed() < Duration::from_secs(60), "{error}");
        tokio::task::yield_now().await;
    }
}

async fn iterator(client: &mut Client) -> Result<String, String> {
    let request = GetShardIteratorRequest::new("shardId-000000000000", ShardIteratorType::TrimHorizon)
        .stream_name(STREAM);
    client.call(&request).await?.shard_iterator.ok_or_else(|| "no iterator".to_owned())
}

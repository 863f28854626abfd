//! Three processes share a stream; one is killed, one is stopped, nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rokini::Retrieval;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Endpoints, Member};

/// Keys with a count of their own each.
const KEYS: u64 = 6;

pub fn kinesis(endpoints: &Endpoints) -> aws_sdk_kinesis::Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
        .endpoint_url(&endpoints.kinesis)
        .region(aws_sdk_kinesis::config::Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::from_keys("local", "local", None))
        .http_client(rokini::http_client().unwrap());
    aws_sdk_kinesis::Client::from_conf(config.build())
}

/// Puts a record of each key every 50 ms: `key:count`.
struct Feed {
    rounds: Arc<AtomicU64>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Feed {
    fn start(endpoints: &Endpoints, stream: &str) -> Self {
        let (client, stream) = (kinesis(endpoints), stream.to_owned());
        let (rounds, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let (count, stopped) = (Arc::clone(&rounds), stop.clone());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let round = count.load(Ordering::SeqCst);
                let entries = (0..KEYS).map(|key| {
                    let data = Blob::new(format!("{key}:{round}"));
                    // Spread over the whole range, so that every shard gets some.
                    let hash = u128::MAX / u128::from(KEYS) * u128::from(key);
                    let entry = PutRecordsRequestEntry::builder().partition_key(key.to_string()).data(data);
                    entry.explicit_hash_key(hash.to_string()).build().unwrap()
                });
                let put = client.put_records().stream_name(&stream).set_records(Some(entries.collect()));
                let put = put.send().await.expect("the records are put");
                assert_eq!(put.failed_record_count.unwrap_or(0), 0);
                count.store(round + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { rounds, stop, task: AbortOnDropHandle::new(task) }
    }

    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }

    /// How many rounds were put in all.
    async fn stop(self) -> u64 {
        self.stop.cancel();
        self.task.await.unwrap();
        self.rounds.load(Ordering::SeqCst)
    }
}

/// Whether every record of the first `rounds` was seen by one of them.
fn complete(members: &[&Member], rounds: u64) -> bool {
    let seen: BTreeSet<String> = members.iter().flat_map(|member| member.data()).collect();
    (0..rounds).all(|round| (0..KEYS).all(|key| seen.contains(&format!("{key}:{round}"))))
}

/// Per key, what a member wrote grows.
fn assert_order(member: &Member) {
    let mut last = BTreeMap::new();
    for data in member.data() {
        let (key, round) = data.split_once(':').unwrap();
        let round: u64 = round.parse().unwrap();
        let before = last.insert(key.to_owned(), round);
        assert!(before.is_none_or(|before| before < round), "{key}: {round} after {before:?}");
    }
}

/// Three members of a new group on a stream with at least three shards, which they read so.
pub async fn one_killed_one_stopped(endpoints: &Endpoints, stream: &str, retrieval: Retrieval) {
    let retrieval = format!("retrieval={retrieval}");
    let more = ["--failover", "4s", "--heartbeat", "500ms", "--set", &retrieval];
    let start = |name| endpoints.consume(stream, stream, name, &more);
    let feed = Feed::start(endpoints, stream);
    let (mut a, mut b, mut c) = (start("a"), start("b"), start("c"));
    for (member, name) in [(&mut a, "a"), (&mut b, "b"), (&mut c, "c")] {
        member.until(&format!("a record for {name}"), |member| !member.lines().is_empty()).await;
    }

    a.signal(Signal::KILL);
    a.ended().await;
    let killed = Instant::now();
    let rounds = feed.rounds() + 20;
    while !complete(&[&a, &b, &c], rounds) {
        assert!(killed.elapsed() < Duration::from_secs(30), "{}\n{}", b.stderr(), c.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("after the kill the others had everything {:?} later", killed.elapsed());

    assert_eq!(b.stop().await, Some(0), "{}", b.stderr());
    let stopped = Instant::now();
    let rounds = feed.rounds() + 1;
    c.until("everything after the stop", |c| complete(&[&a, &b, c], rounds)).await;
    eprintln!("after the stop the last one had everything {:?} later", stopped.elapsed());

    let rounds = feed.stop().await;
    c.until("everything to the end", |c| complete(&[&a, &b, c], rounds)).await;
    assert_eq!(c.stop().await, Some(0), "{}", c.stderr());
    for member in [&a, &b, &c] {
        assert_order(member);
    }
    let written: usize = [&a, &b, &c].iter().map(|member| member.lines().len()).sum();
    let produced = rounds * KEYS;
    eprintln!("{produced} produced, {written} written, 0 lost");
}

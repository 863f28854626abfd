//! The consumer behind a network that fails, over plain connections and over TLS.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini::lease::{LeaseStore, MemoryStore};
use rokini::{AwsOptions, Consumer, ConsumerBuilder, HttpOptions, Retrieval, StartPosition};
use rokini_local::LocalKinesis;
use rokini_local::wire::shapes::shard::ListShardsRequest;
use tokio::time::{Instant, sleep, timeout};

use super::reshards::reshard;
use crate::harness::{BuildLogging, Log, Running};
use crate::network::{Arrivals, Fault, Network, Way};

/// Over TLS or not, and how shards are read.
const WAYS: [(bool, Retrieval); 4] = [
    (false, Retrieval::Polling),
    (true, Retrieval::Polling),
    (false, Retrieval::FanOut),
    (true, Retrieval::FanOut),
];

/// How long all shards may take to flow again once every connection is dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// And once every connection was reset, or could not be opened for a moment.
const RESET_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Place {
    pub(super) kinesis: LocalKinesis,
    pub(super) network: Network,
    pub(super) aws: SdkConfig,
    retrieval: Retrieval,
}

impl Place {
    pub(super) async fn new(shards: i32, tls: bool, retrieval: Retrieval, seed: u64) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let builder =
            LocalKinesis::builder().region("eu-west-1").throughput_limits(false).stream("orders", shards);
        let builder = match tls {
            true => builder.tls(made.cert.pem(), made.signing_key.serialize_pem()),
            false => builder,
        };
        let kinesis = builder.start().await.unwrap();
        let network = Network::before(kinesis.address(), seed).await;
        let scheme = if tls { "https" } else { "http" };
        let http = HttpOptions::default().trust(made.cert.pem()).unwrap();
        let options = AwsOptions::default().region("eu-west-1").http(http);
        let aws =
            options.endpoint_url(format!("{scheme}://localhost:{}", network.port())).load().await.unwrap();
        let keys = SharedCredentialsProvider::new(Credentials::from_keys("id", "secret", None));
        let aws = aws.into_builder().credentials_provider(keys).build();
        Self { kinesis, network, aws, retrieval }
    }

    /// A consumer without a handler.
    pub(super) fn consumer(&self, store: impl LeaseStore, name: &str) -> ConsumerBuilder {
        let seed = name.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
        let builder = Consumer::builder().group("g").worker(name).seed(seed).stream("orders").aws(&self.aws);
        builder.store(store).start(StartPosition::TrimHorizon).retrieval(self.retrieval)
    }

    async fn consume(&self, log: &Log) -> Running {
        self.consumer(MemoryStore::new(), "w").build_logging(log).await
    }

    /// One record for each shard that is open, with this text and the number of the shard.
    pub(super) fn put_everywhere(&self, text: &str) -> usize {
        let hashes = self.open_hashes();
        for (number, hash) in hashes.iter().enumerate() {
            super::local::put(&self.kinesis, "key", *hash, &format!("{text}:{number}"));
        }
        hashes.len()
    }

    /// The first hash of each open shard.
    fn open_hashes(&self) -> Vec<u128> {
        let shards = self.kinesis.model().call(&ListShardsRequest::new().stream_name("orders")).unwrap();
        let shards = shards.shards.unwrap().into_iter();
        let open = shards.filter(|shard| shard.sequence_number_range.ending_sequence_number.is_none());
        open.map(|shard| shard.hash_key_range.starting_hash_key.parse().unwrap()).collect()
    }
}

/// Waits for so many records within a limit, and returns what it took.
pub(super) async fn within(limit: Duration, log: &Log, count: usize, what: &str) -> Duration {
    let begun = Instant::now();
    if timeout(limit, log.until_count(count)).await.is_err() {
        panic!("{what}: {} of {count} records within {limit:?}", log.seen().len());
    }
    begun.elapsed()
}

/// Nothing twice.
pub(super) fn assert_once(log: &Log, what: &str) {
    let mut counts = BTreeMap::new();
    for text in log.texts() {
        *counts.entry(text).or_insert(0) += 1;
    }
    counts.retain(|_, count| *count > 1);
    assert!(counts.is_empty(), "{what}: more than once: {counts:?}");
}

/// Breaks every connection that carried records, and waits for the next records of all shards.
async fn recovers(
    shards: i32,
    (tls, retrieval): (bool, Retrieval),
    fault: Fault,
    limit: Duration,
) -> Duration {
    let what = format!("{fault:?} at {shards} shards, TLS: {tls}, {retrieval}");
    let (place, log) = (Place::new(shards, tls, retrieval, 1).await, Log::default());
    let running = place.consume(&log).await;
    place.put_everywhere("a");
    let all = shards as usize;
    within(SILENCE_LIMIT, &log, all, &what).await;
    // In the middle of reading, as it goes.
    sleep(Duration::from_millis(300)).await;
    let (opened, begun) = (place.network.opened(), Instant::now());
    place.network.strike(fault);
    place.put_everywhere("b");
    let mut count = 2 * all;
    within(limit, &log, count, &what).await;
    if place.network.opened() == opened {
        // The answer to a request that had passed before the strike brought them: nothing has recovered yet.
        place.put_everywhere("passed");
        count += all;
        within(limit, &log, count, &what).await;
    }
    let took = begun.elapsed();
    // And it goes on.
    place.put_everywhere("c");
    within(RESET_LIMIT + Duration::from_secs(2), &log, count + all, &what).await;
    assert_once(&log, &what);
    assert!(running.stop().await.is_clean());
    took
}

/// Every connection of some consumers falls silent, of one and of 100 shards.
async fn silenced(retrieval: Retrieval) {
    let mut cases = Vec::new();
    for tls in [false, true] {
        for way in [Way::Both, Way::ToServer, Way::ToClient] {
            cases.push(tokio::spawn(recovers(1, (tls, retrieval), Fault::Silence(way), SILENCE_LIMIT)));
        }
        cases.push(tokio::spawn(recovers(100, (tls, retrieval), Fault::Silence(Way::Both), SILENCE_LIMIT)));
    }
    for case in cases {
        println!("flowed again after {:?}", case.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_silenced_connections_hold_no_shard_up_for_longer_than_thirty_seconds() {
    silenced(Retrieval::Polling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute; `.ci/run` runs it"]
async fn p10_connections_of_100_shards_that_are_silent_one_way_hold_none_up_for_longer_than_thirty_seconds() {
    for retrieval in [Retrieval::Polling, Retrieval::FanOut] {
        for way in [Way::ToServer, Way::ToClient] {
            let fault = Fault::Silence(way);
            let [plain, tls] =
                [false, true].map(|tls| tokio::spawn(recovers(100, (tls, retrieval), fault, SILENCE_LIMIT)));
            for case in [plain, tls] {
                println!("{retrieval}, {way:?}: flowed again after {:?}", case.await.unwrap());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_silenced_subscriptions_hold_no_shard_up_for_longer_than_thirty_seconds() {
    silenced(Retrieval::FanOut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_broken_connections_hold_no_shard_up_for_longer_than_two_seconds() {
    let mut cases = Vec::new();
    for tls in WAYS {
        for fault in [Fault::Reset, Fault::HalfClose(Way::ToClient), Fault::HalfClose(Way::ToServer)] {
            cases.push(tokio::spawn(recovers(4, tls, fault, RESET_LIMIT)));
        }
    }
    for case in cases {
        println!("flowed again after {:?}", case.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_server_that_refuses_connections_for_a_moment_is_back_within_two_seconds() {
    for (tls, retrieval) in WAYS {
        let (place, log) = (Place::new(4, tls, retrieval, 1).await, Log::default());
        let running = place.consume(&log).await;
        place.put_everywhere("a");
        within(SILENCE_LIMIT, &log, 4, "before").await;
        place.network.arrivals(Arrivals::Refused);
        place.network.strike(Fault::Reset);
        place.network.until_gone().await;
        place.put_everywhere("b");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(log.seen().len(), 4, "no way to the server");
        place.network.arrivals(Arrivals::Accepted);
        within(RESET_LIMIT, &log, 8, "after").await;
        assert!(running.stop().await.is_clean());
    }
}

/// A storm of faults with reshards in it, then calm: everything arrived once and, for each hash, in order.
async fn storm((tls, retrieval): (bool, Retrieval), seed: u64, lasts: Duration) {
    let what = format!("seed {seed}, TLS: {tls}, {retrieval}");
    let (place, log) = (Place::new(4, tls, retrieval, seed).await, Log::default());
    let mut rng = SmallRng::seed_from_u64(seed);
    let keys: Vec<u128> = (0..8).map(|_| rng.random()).collect();
    let running = place.consume(&log).await;
    let mut put = vec![0_usize; keys.len()];
    let ends = Instant::now() + lasts;
    let storm = place.network.rage(lasts);
    let mut reshards = 0;
    let work = async {
        while Instant::now() < ends {
            for _ in 0..rng.random_range(0..5) {
                let key = rng.random_range(0..keys.len());
                super::local::put(&place.kinesis, "key", keys[key], &format!("{key}:{}", put[key]));
                put[key] += 1;
            }
            // Every four seconds or so, for as long as it lasts.
            if rng.random_bool(0.02) {
                reshard(&place.kinesis, &mut rng);
                reshards += 1;
            }
            sleep(Duration::from_millis(rng.random_range(10..150))).await;
        }
    };
    let (faults, ()) = tokio::join!(storm, work);
    let all: usize = put.iter().sum();
    let took = within(SILENCE_LIMIT, &log, all, &what).await;
    for (key, count) in put.iter().enumerate() {
        let texts = log.texts();
        let of = texts.iter().filter_map(|text| text.strip_prefix(&format!("{key}:")));
        let of: Vec<usize> = of.map(|number| number.parse().unwrap()).collect();
        assert_eq!(of, (0..*count).collect::<Vec<_>>(), "{what}: key {key}");
    }
    println!(
        "{what}: {all} records, {faults} faults, {reshards} reshards, {} connections, calm after {took:?}",
        place.network.opened()
    );
    assert!(place.network.opened() > 4 && reshards > 0, "{what}: nothing happened");
    assert!(running.stop().await.is_clean());
}

/// How long the storm lasts, in seconds.
const STORM: &str = "ROKINI_STORM_SECONDS";

/// The seed of the first of the four ways; the others have the next ones.
const SEED: &str = "ROKINI_SEED";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// `ROKINI_STORM_SECONDS=3600 cargo test --workspace --test it -- p10_a_storm` is the long run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_a_storm_of_network_faults_and_reshards_loses_nothing_and_keeps_the_order() {
    let lasts = Duration::from_secs(number(STORM, 20));
    let seeds = number(SEED, 1)..;
    let cases = WAYS.into_iter().zip(seeds).map(|(way, seed)| tokio::spawn(storm(way, seed, lasts)));
    for case in cases.collect::<Vec<_>>() {
        case.await.unwrap();
    }
}

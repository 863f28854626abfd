//! How fast a fleet of real processes with default settings reacts: `rokini consume`, a local Kinesis, a DynamoDB that
//! others wrote (dynoxide), all over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rokini_local::{LocalDynamo, LocalKinesis};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::pressure::{Pressure, promised};

const SHARDS: usize = 8;
/// The default failover time.
const FAILOVER: Duration = Duration::from_secs(10);
/// Longer than anything here takes on a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A record as a worker wrote it.
#[derive(Debug, Deserialize)]
struct Line {
    worker: String,
    shard: String,
    /// Counts the records of its shard.
    data: String,
    #[serde(skip, default = "Instant::now")]
    at: Instant,
}

/// What all workers wrote, in the order of arrival.
#[derive(Default)]
struct Journal {
    lines: Mutex<Vec<Line>>,
    news: Condvar,
}

impl Journal {
    /// Waits until the lines are as wanted.
    fn until<T>(&self, what: &str, wanted: impl Fn(&[Line]) -> Option<T>) -> T {
        let deadline = Instant::now() + LONGEST_WAIT;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(found) = wanted(&lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come");
            lines = self.news.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// When every shard was handled by one of these workers after `since`, and the last of them to be so.
    fn all_shards_by(&self, workers: &[&str], since: Instant) -> Duration {
        self.until(&format!("all shards by {workers:?}"), |lines| {
            let mut first = BTreeMap::new();
            for line in lines.iter().filter(|line| line.at > since && workers.contains(&&*line.worker)) {
                first.entry(&line.shard).or_insert(line.at);
            }
            (first.len() == SHARDS).then(|| *first.values().max().unwrap() - since)
        })
    }

    /// When the latest lines of the shards first came from all these workers evenly.
    fn balanced(&self, workers: &[&str], since: Instant) -> Duration {
        self.until(&format!("balance of {workers:?}"), |lines| {
            let mut holders = BTreeMap::new();
            lines.iter().find_map(|line| {
                holders.insert(&line.shard, &*line.worker);
                let share = |worker: &&str| holders.values().filter(|holder| *holder == worker).count();
                let shares: Vec<usize> = workers.iter().map(share).collect();
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                let even =
                    holders.len() == SHARDS && shares.iter().sum::<usize>() == SHARDS && most - least <= 1;
                (even && line.at >= since).then(|| line.at - since)
            })
        })
    }

    /// Records that were handled more than once.
    fn repeated(&self) -> usize {
        let lines = self.lines.lock().unwrap();
        let different: BTreeSet<_> = lines.iter().map(|line| (&line.shard, &line.data)).collect();
        lines.len() - different.len()
    }
}

/// A worker. Killed when dropped.
struct Worker {
    child: Child,
    joined: Arc<OnceLock<Instant>>,
}

impl Worker {
    /// When it said that it had joined: the start of a process is the machine's.
    fn joined(&self) -> Instant {
        *self.joined.wait()
    }

    fn signal(&self, signal: Signal) -> Instant {
        let at = Instant::now();
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
        at
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Environment {
    kinesis: String,
    dynamodb: String,
    home: tempfile::TempDir,
    journal: Arc<Journal>,
}

impl Environment {
    /// Starts a worker with default settings.
    fn worker(&self, name: &str) -> Worker {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rokini"))
            .args(["consume", "orders", "--group", "fleet", "--worker", name, "--json"])
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_KINESIS", &self.kinesis)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let joined = Arc::new(OnceLock::new());
        let (stderr, told) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&joined));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if line.contains("joined the group") {
                    told.get_or_init(Instant::now);
                }
                eprintln!("{line}");
            }
            // For whoever waits: it will not join any more.
            told.get_or_init(Instant::now);
        });
        let (stdout, journal) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&self.journal));
        thread::spawn(move || {
            for line in stdout.lines() {
                // What a killed worker did not finish is no line.
                let Ok(line) = serde_json::from_str(&line.unwrap()) else { continue };
                journal.lines.lock().unwrap().push(line);
                journal.news.notify_all();
            }
        });
        Worker { child, joined }
    }
}

/// Puts one record into each shard ten times a second, for as long as the runtime lives.
async fn feed(client: aws_sdk_kinesis::Client) {
    for round in 0_u64.. {
        let entries = (0..SHARDS as u128).map(|shard| {
            let hash = u128::MAX / SHARDS as u128 * shard + (1 << 100);
            let entry = PutRecordsRequestEntry::builder().partition_key(shard.to_string());
            entry.explicit_hash_key(hash.to_string()).data(Blob::new(round.to_string())).build().unwrap()
        });
        let put = client.put_records().stream_name("orders").set_records(Some(entries.collect()));
        put.send().await.expect("the records are put");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What was measured, and how many records had been handled twice by then.
#[derive(Debug)]
struct Times {
    join: Duration,
    repeated_after_join: usize,
    stop: Duration,
    repeated_after_stop: usize,
    kill: Duration,
    replaced_after_stop: Duration,
    replaced_after_kill: Duration,
    /// The share of the time in which some process waited for a processor.
    waited: f64,
}

fn times() -> &'static Times {
    static TIMES: OnceLock<Times> = OnceLock::new();
    TIMES.get_or_init(measure)
}

impl Times {
    fn within(&self, took: Duration, bound: Duration) {
        let promised = promised(bound, self.waited);
        assert!(took <= promised, "{took:?}, at most {promised:?}: {self:#?}");
    }
}

fn measure() -> Times {
    let _one = crate::one_fleet();
    let pressure = Pressure::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (kinesis, dynamo) = runtime.block_on(async {
        let kinesis = LocalKinesis::builder().stream("orders", SHARDS as i32).start().await.unwrap();
        (kinesis, LocalDynamo::in_memory().await.unwrap())
    });
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
        .endpoint_url(kinesis.endpoint_url())
        .region(aws_sdk_kinesis::config::Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::from_keys("feed", "feed", None))
        .http_client(rokini::http_client().unwrap());
    runtime.spawn(feed(aws_sdk_kinesis::Client::from_conf(config.build())));
    let environment = Environment {
        kinesis: kinesis.endpoint_url(),
        dynamodb: dynamo.endpoint_url(),
        home: tempfile::TempDir::new().unwrap(),
        journal: Arc::default(),
    };
    let journal = &environment.journal;

    let (a, b) = (environment.worker("a"), environment.worker("b"));
    eprintln!("two share the shards {:?} after the first joined", journal.balanced(&["a", "b"], a.joined()));

    let c = environment.worker("c");
    let join = journal.balanced(&["a", "b", "c"], c.joined());
    let repeated_after_join = journal.repeated();
    eprintln!("a third one has its share {join:?} after it joined, {repeated_after_join} handled twice");

    let stopped = b.signal(Signal::TERM);
    let stop = journal.all_shards_by(&["a", "c"], stopped);
    let repeated_after_stop = journal.repeated();
    eprintln!("after a stop all shards flow within {stop:?}, {repeated_after_stop} handled twice");

    let killed = a.signal(Signal::KILL);
    let kill = journal.all_shards_by(&["c"], killed);
    eprintln!("after a kill all shards flow within {kill:?}");

    let stopped = c.signal(Signal::TERM);
    let d = environment.worker("d");
    let replaced_after_stop = journal.all_shards_by(&["d"], stopped);
    eprintln!("the only worker is replaced within {replaced_after_stop:?} after a stop");

    let killed = d.signal(Signal::KILL);
    let _e = environment.worker("e");
    let replaced_after_kill = journal.all_shards_by(&["e"], killed);
    eprintln!("the only worker is replaced within {replaced_after_kill:?} after a kill");
    Times {
        join,
        repeated_after_join,
        stop,
        repeated_after_stop,
        kill,
        replaced_after_stop,
        replaced_after_kill,
        waited: pressure.share(),
    }
}

#[test]
fn l6_a_third_process_has_its_share_of_8_shards_within_5_s_and_nothing_comes_twice() {
    assert_eq!(times().repeated_after_join, 0);
    times().within(times().join, Duration::from_secs(5));
}

#[test]
fn g3_the_shards_of_a_stopped_process_flow_again_within_2_s_and_nothing_comes_twice() {
    assert_eq!(times().repeated_after_stop, 0);
    times().within(times().stop, Duration::from_secs(2));
}

#[test]
fn l1_the_shards_of_a_killed_process_flow_again_within_the_failover_time_and_2_s() {
    let kill = times().kill;
    assert!(kill >= FAILOVER / 2, "the dead process's right to its leases has not run out: {kill:?}");
    times().within(kill, FAILOVER + Duration::from_secs(2));
}

#[test]
fn l2_the_only_process_is_replaced_within_2_s_after_a_stop_and_the_failover_time_and_2_s_after_a_kill() {
    times().within(times().replaced_after_stop, Duration::from_secs(2));
    times().within(times().replaced_after_kill, FAILOVER + Duration::from_secs(2));
}

//! How much memory a worker takes whose handlers are blocked, measured in a process of its own.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rokini::lease::MemoryStore;
use rokini::{AwsOptions, ConfigKey, Consumer, Retrieval, StartPosition};
use rokini_local::LocalKinesis;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::child;

const MIB: usize = 1 << 20;
/// What the process takes beside the budget.
const BESIDE: usize = 64 * MIB;
/// And for each subscription: what waits on its connection, as the settings' page says.
const SUBSCRIPTION: usize = 80 << 10;
const SHARDS: i32 = 300;
const RECORD: usize = 1_024;

const ENDPOINT: &str = "ROKINI_TEST_ENDPOINT";
const BUDGET: &str = "ROKINI_TEST_BUDGET";
const RETRIEVAL: &str = "ROKINI_TEST_RETRIEVAL";
/// How long the handlers stay blocked, in seconds. `ROKINI_MEMORY_SECONDS=600 ROKINI_MEMORY_MIB=256` is the long run.
const SECONDS: &str = "ROKINI_MEMORY_SECONDS";
const MEBIBYTES: &str = "ROKINI_MEMORY_MIB";

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the others as a child"]
async fn child_blocks_its_handlers() {
    let options = AwsOptions::default().region("eu-west-1");
    let aws = options.endpoint_url(std::env::var(ENDPOINT).unwrap()).load().await.unwrap();
    let (blocked, handled) = (watch::Sender::new(true), Arc::<AtomicUsize>::default());
    let (gate, count, waiting) = (blocked.subscribe(), Arc::clone(&handled), Arc::<AtomicUsize>::default());
    let blocks = Arc::clone(&waiting);
    let consumer = Consumer::builder()
        .group("g")
        .stream("orders")
        .aws(&aws)
        .store(MemoryStore::new())
        .start(StartPosition::TrimHorizon)
        .set(ConfigKey::MemoryBudget, std::env::var(BUDGET).unwrap())
        .set(ConfigKey::Retrieval, std::env::var(RETRIEVAL).unwrap())
        .for_each_batch(move |batch| {
            let (mut gate, count, blocks) = (gate.clone(), Arc::clone(&count), Arc::clone(&blocks));
            async move {
                blocks.fetch_add(1, Ordering::SeqCst);
                gate.wait_for(|blocked| !blocked).await.unwrap();
                count.fetch_add(batch.len(), Ordering::SeqCst);
                Ok(())
            }
        })
        .build()
        .await
        .unwrap();
    let handle = consumer.handle();
    let run = tokio::spawn(consumer.run());
    let (base, mut most) = (resident(), 0);
    let mut since = None;
    let lasts = Duration::from_secs(number(SECONDS, 3) as u64);
    while since.is_none_or(|since: Instant| since.elapsed() < lasts) {
        most = most.max(resident());
        sleep(Duration::from_millis(20)).await;
        if since.is_none() && waiting.load(Ordering::SeqCst) >= SHARDS as usize {
            since = Some(Instant::now());
        }
    }
    let (blocks, while_blocked) = (waiting.load(Ordering::SeqCst), most);
    blocked.send_replace(false);
    let all = number("ROKINI_TEST_RECORDS", 0);
    while handled.load(Ordering::SeqCst) < all {
        most = most.max(resident());
        sleep(Duration::from_millis(20)).await;
    }
    println!("\nanswer: {base} {while_blocked} {most} {blocks}");
    assert!(handle.shutdown(Duration::from_secs(10)).await.is_clean());
    run.await.unwrap().unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_blocked_handlers_of_300_shards_keep_the_process_within_the_budget_and_64_mib() {
    blocked_handlers(Retrieval::Polling, false).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_blocked_handlers_of_300_subscriptions_keep_the_process_within_what_the_settings_say() {
    for tls in [false, true] {
        blocked_handlers(Retrieval::FanOut, tls).await;
    }
}

#[cfg(target_os = "linux")]
async fn blocked_handlers(retrieval: Retrieval, tls: bool) {
    let budget = number(MEBIBYTES, 48) * MIB;
    let builder =
        LocalKinesis::builder().region("eu-west-1").throughput_limits(false).stream("orders", SHARDS);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (builder, scheme) = match tls {
        true => (builder.tls(made.cert.pem(), made.signing_key.serialize_pem()), "https"),
        false => (builder, "http"),
    };
    let kinesis = builder.start().await.unwrap();
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trusted.path(), made.cert.pem()).unwrap();
    // Three times as much as there is room for.
    let records = budget * 3 / RECORD;
    let data = vec![b'x'; RECORD];
    for number in 0..records {
        kinesis.put("orders", &number.to_string(), data.clone()).unwrap();
    }
    let mut command =
        tokio::process::Command::from(child::command("sockets::memory::child_blocks_its_handlers"));
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    command.env(ENDPOINT, format!("{scheme}://localhost:{}", kinesis.address().port()));
    command.env(BUDGET, budget.to_string()).env("AWS_CA_BUNDLE", trusted.path());
    command.env(RETRIEVAL, retrieval.to_string());
    command.env("ROKINI_TEST_RECORDS", records.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let limit = Duration::from_secs(180 + number(SECONDS, 3) as u64);
    let output = tokio::time::timeout(limit, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let answer = text.lines().find_map(|line| line.strip_prefix("answer: ")).unwrap();
    let numbers: Vec<usize> = answer.split(' ').map(|number| number.parse().unwrap()).collect();
    let [base, while_blocked, most, blocks] = numbers[..] else { panic!("{answer}") };
    let [base, while_blocked, mib] = [base, while_blocked, budget].map(|bytes| bytes / MIB);
    println!(
        "{retrieval}, TLS: {tls}, budget {mib} MiB: {base} at first, {while_blocked} blocked, {} at most",
        most / MIB
    );
    assert_eq!(blocks, SHARDS as usize, "every shard has records, whatever the others do");
    let beside = BESIDE + if retrieval == Retrieval::FanOut { SHARDS as usize * SUBSCRIPTION } else { 0 };
    assert!(most < budget + beside, "{} MiB with a budget of {} MiB", most / MIB, budget / MIB);
    assert!(most > budget / 2, "{} MiB shows nothing", most / MIB);
}

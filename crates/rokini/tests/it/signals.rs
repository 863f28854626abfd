//! Signals and a consumer, in processes of their own: this test binary again, with its ignored test.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use rokini::lease::MemoryStore;
use rokini::{AwsOptions, Consumer, ShardStop};
use rokini_local::LocalKinesis;
use rokini_local::wire::shapes::record::{PutRecordsRequest, PutRecordsRequestEntry};

use crate::child;

const SAYS: &str = "says: ";

/// Handles one record for as long as `HANDLER` says, and says how it ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the others as a child"]
async fn child_consumes_until_a_signal() {
    let millis: u64 = std::env::var("HANDLER").unwrap().parse().unwrap();
    let kinesis = LocalKinesis::builder().stream("orders", 1).start().await.unwrap();
    let entry = PutRecordsRequestEntry::new(b"x".to_vec()).partition_key("k");
    let request = PutRecordsRequest::new(vec![entry]).stream_name("orders");
    kinesis.model().call(&request).unwrap();
    let aws = AwsOptions::default().region("us-east-1").endpoint_url(kinesis.endpoint_url());
    let keys = SharedCredentialsProvider::new(Credentials::from_keys("id", "secret", None));
    let aws = aws.load().await.unwrap().into_builder().credentials_provider(keys).build();
    let consumer = Consumer::builder()
        .group("g")
        .stream("orders")
        .aws(&aws)
        .store(MemoryStore::new())
        .for_each(move |_| async move {
            println!("\n{SAYS}handling");
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok(())
        })
        .build()
        .await
        .unwrap();
    let report = consumer.run_until_signal().await.unwrap();
    let drained = report.shards.iter().all(|shard| matches!(shard.end, ShardStop::Drained { .. }));
    println!("\n{SAYS}clean {} drained {drained}", report.is_clean());
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(handler_millis: u64) -> Self {
        let mut child = child::command("signals::child_consumes_until_a_signal")
            .env("HANDLER", handler_millis.to_string())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn says(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| Some(line.strip_prefix(SAYS)?.to_owned()))
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn g2_a_signal_drains_and_the_program_goes_on_to_its_end() {
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(1_500);
        assert_eq!(process.says().as_deref(), Some("handling"));
        let at = Instant::now();
        process.signal(signal);
        // An echo of the first is no second one.
        process.signal("INT");
        assert_eq!(process.says().as_deref(), Some("clean true drained true"), "after SIG{signal}");
        assert!(at.elapsed() > Duration::from_secs(1), "it waited for the handler: {:?}", at.elapsed());
        assert!(process.child.wait().unwrap().success());
    }
}

#[test]
fn g2_a_second_signal_drops_what_runs() {
    let mut process = Process::start(3_600_000);
    assert_eq!(process.says().as_deref(), Some("handling"));
    process.signal("TERM");
    std::thread::sleep(Duration::from_millis(700));
    let at = Instant::now();
    process.signal("TERM");
    assert_eq!(process.says().as_deref(), Some("clean false drained false"));
    assert!(at.elapsed() < Duration::from_secs(2), "{:?}", at.elapsed());
    assert!(process.child.wait().unwrap().success());
}

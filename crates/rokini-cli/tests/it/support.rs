//! Endpoints, and the binary as a child process.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rokini_local::{LocalDynamo, LocalKinesis};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine, shorter than anybody waits for a hung test.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where the services are.
#[derive(Debug, Clone)]
pub struct Endpoints {
    pub kinesis: String,
    pub dynamodb: String,
    home: Arc<TempDir>,
}

impl Endpoints {
    pub fn new(kinesis: String, dynamodb: String) -> Self {
        Self { kinesis, dynamodb, home: Arc::new(TempDir::new().unwrap()) }
    }

    /// The binary with nothing of this process's environment but what points it at the endpoints.
    pub fn rokini(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rokini"));
        command.args(arguments).current_dir(self.home.path()).env_clear();
        command.env("HOME", self.home.path()).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
            .env("AWS_ENDPOINT_URL_KINESIS", &self.kinesis)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.rokini(arguments)).await
    }

    /// Runs it to its end with this standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut child = self.rokini(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        Ended::of_child(child).await
    }

    /// Starts a member of a group that writes JSON.
    pub fn consume(&self, stream: &str, group: &str, worker: &str, more: &[&str]) -> Member {
        let arguments = ["consume", stream, "--group", group, "--worker", worker, "--json"];
        Member::spawn(self.rokini(&[&arguments, more].concat()))
    }

    /// Puts records to four quarters of the hash range in turn, so that none of up to four shards is left out.
    /// Gives back shard and sequence number of each.
    pub async fn put_evenly(
        &self,
        stream: &str,
        data: impl IntoIterator<Item = String>,
    ) -> Vec<(String, String)> {
        let hashed = (0u128..).zip(data).map(|(n, data)| ((n % 4) << 126u32, data));
        self.put_hashed(stream, hashed).await
    }

    /// Puts records to these places of the hash range. Gives back shard and sequence number of each.
    pub async fn put_hashed(
        &self,
        stream: &str,
        data: impl IntoIterator<Item = (u128, String)>,
    ) -> Vec<(String, String)> {
        let entries = data.into_iter().map(|(hash, data)| {
            let key = &data[..data.len().min(256)];
            let entry = PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data.clone()));
            entry.explicit_hash_key(hash.to_string()).build().unwrap()
        });
        let put = crate::fleet::kinesis(self).put_records().stream_name(stream);
        let put = put.set_records(Some(entries.collect())).send().await.unwrap();
        assert_eq!(put.failed_record_count().unwrap_or(0), 0, "{put:?}");
        let text = |text: Option<&str>| text.unwrap().to_owned();
        put.records().iter().map(|put| (text(put.shard_id()), text(put.sequence_number()))).collect()
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

/// Both services in this process, with a stream `orders`.
pub struct Local {
    pub kinesis: LocalKinesis,
    pub dynamo: LocalDynamo,
    pub endpoints: Endpoints,
}

impl Local {
    pub async fn start(shards: i32) -> Self {
        let kinesis = LocalKinesis::builder().stream("orders", shards).start().await.unwrap();
        let dynamo = LocalDynamo::in_memory().await.unwrap();
        let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
        Self { kinesis, dynamo, endpoints }
    }
}

impl std::ops::Deref for Local {
    type Target = Endpoints;

    fn deref(&self) -> &Endpoints {
        &self.endpoints
    }
}

/// What a process left.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    fn new(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub async fn of(mut command: Command) -> Self {
        Self::new(timeout(LONGEST_WAIT, command.output()).await.expect("it ends").unwrap())
    }

    pub async fn of_child(child: Child) -> Self {
        Self::new(timeout(LONGEST_WAIT, child.wait_with_output()).await.expect("it ends").unwrap())
    }

    /// It did what it should: its standard output.
    pub fn done(self) -> String {
        assert_eq!(self.status, Some(0), "{self:#?}");
        self.stdout
    }

    /// It refused, with nothing on standard output, and said each of these in this order.
    pub fn refused(&self, status: i32, said: &[&str]) {
        assert_eq!((self.status, self.stdout.as_str()), (Some(status), ""), "{self:#?}");
        let mut rest = self.stderr.as_str();
        for text in said {
            let at = rest
                .find(text)
                .unwrap_or_else(|| panic!("`{text}` is not said (in this order):\n{}", self.stderr));
            rest = &rest[at + text.len()..];
        }
    }
}

/// A running process whose standard output is lines.
pub struct Member {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<String>>,
    changes: watch::Receiver<usize>,
}

impl Member {
    pub fn spawn(mut command: Command) -> Self {
        Self::of(command.spawn().unwrap())
    }

    /// A process that runs; reads what nobody has taken of its output.
    pub fn of(mut child: Child) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let stderr = Arc::<Mutex<String>>::default();
        let (count, changes) = watch::channel(0);
        let count = Arc::new(count);
        if let Some(stdout) = child.stdout.take() {
            let lines = Arc::clone(&lines);
            each_line(stdout, Arc::clone(&count), move |line| lines.lock().unwrap().push(line));
        }
        if let Some(errors) = child.stderr.take() {
            let stderr = Arc::clone(&stderr);
            each_line(errors, count, move |line| writeln!(stderr.lock().unwrap(), "{line}").unwrap());
        }
        Self { child, lines, stderr, changes }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The `data` of each line so far.
    pub fn data(&self) -> Vec<String> {
        let lines = self.lines();
        let data = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("every line is JSON"));
        data.map(|line| line["data"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until what it has written is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            self.changes.borrow_and_update();
            if wanted(self) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let changed = timeout(left, self.changes.changed()).await;
            let ended = changed.as_ref().is_ok_and(Result::is_err);
            if (ended || changed.is_err()) && !wanted(self) {
                panic!("{what} did not come: {} lines\n{}", self.lines().len(), self.stderr());
            }
        }
    }

    pub fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().expect("still running")).unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = timeout(LONGEST_WAIT, self.child.wait()).await;
        let code = status.unwrap_or_else(|_| panic!("it did not end\n{}", self.stderr())).unwrap().code();
        // The rest of what it wrote.
        while self.changes.changed().await.is_ok() {}
        code
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended().await
    }
}

fn each_line(
    from: impl AsyncRead + Send + Unpin + 'static,
    count: Arc<watch::Sender<usize>>,
    take: impl Fn(String) + Send + 'static,
) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            take(line);
            count.send_modify(|count| *count += 1);
        }
    });
}

/// A client of the table.
pub(crate) fn dynamodb(endpoints: &Endpoints) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .endpoint_url(&endpoints.dynamodb)
        .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::from_keys("local", "local", None))
        .http_client(rokini::http_client().unwrap());
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// Puts records of any bytes under the key `k`, in their order.
pub async fn put_data(endpoints: &Endpoints, stream: &str, data: impl IntoIterator<Item = Vec<u8>>) {
    let client = crate::fleet::kinesis(endpoints);
    for data in data {
        let put = client.put_record().stream_name(stream).partition_key("k").data(Blob::new(data));
        put.send().await.unwrap();
    }
}

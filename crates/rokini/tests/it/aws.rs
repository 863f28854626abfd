//! The AWS configuration as the environment gives it. The environment belongs to a process, so each case runs in
//! one of its own: this test binary again, with one of the ignored tests.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_credential_types::provider::ProvideCredentials;
use rokini::lease::MemoryStore;
use rokini::{AwsOptions, Consumer, ConsumerConfig, Error, KinesisSource, StreamSource};
use rokini_local::{LocalDynamo, LocalKinesis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::child;

/// What a child says: its answer on one line of its output.
const MARK: &str = "answer: ";

fn answer(result: Result<String, Error>) {
    match result {
        Ok(text) => println!("\n{MARK}{text}"),
        Err(error) => println!("\n{MARK}{:?} {error}", error.kind()),
    }
}

#[tokio::test]
#[ignore = "run by the others as a child"]
async fn child_describes_the_stream() {
    let describe = async {
        let aws = AwsOptions::default().load().await?;
        let source = KinesisSource::new(&aws, "orders".parse()?, &ConsumerConfig::default(), 1)?;
        let description = source.describe().await?;
        Ok(format!("{} in {}", description.name, aws.region().unwrap()))
    };
    answer(describe.await);
}

#[tokio::test]
#[ignore = "run by the others as a child"]
async fn child_lists_tables() {
    let aws = AwsOptions::default().load().await.unwrap();
    let tables = aws_sdk_dynamodb::Client::new(&aws).list_tables().send().await;
    println!("\n{MARK}{:?}", tables.unwrap().table_names());
}

#[tokio::test]
#[ignore = "run by the others as a child"]
async fn child_consumes() {
    tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN).init();
    let consume = async {
        let aws = AwsOptions::default().load().await?;
        let builder = Consumer::builder().group("g").stream("orders").aws(&aws);
        // Only where it is about the table there is one.
        let builder = match std::env::var_os("AWS_ENDPOINT_URL_DYNAMODB") {
            Some(_) => builder,
            None => builder.store(MemoryStore::new()),
        };
        let consumer = builder.for_each(|_| async { Ok(()) }).build().await?;
        match tokio::time::timeout(Duration::from_secs(10), consumer.run()).await {
            Ok(ended) => ended.map(|_| "stopped".to_owned()),
            Err(_) => Ok("it tries again".to_owned()),
        }
    };
    let result = consume.await;
    println!("{result:?}");
    answer(result);
}

#[tokio::test]
#[ignore = "run by the others as a child"]
async fn child_reads_renewed_credentials() {
    let file = PathBuf::from(std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").unwrap());
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("[default]\naws_access_key_id = first\naws_secret_access_key = s\n");
    let aws = AwsOptions::default().load().await.unwrap();
    let provider = aws.credentials_provider().unwrap();
    let mut keys = Vec::new();
    for text in [
        None,
        Some("[default]\naws_access_key_id = second\naws_secret_access_key = s\naws_session_token = t\n"),
        // Half written.
        Some("[default]\naws_access_key_id"),
        Some("[default]\naws_access_key_id = third\naws_secret_access_key = s\n"),
    ] {
        text.map(write);
        let credentials = provider.provide_credentials().await.unwrap();
        // The SDK's cache asks again by then.
        let ends = credentials.expiry().unwrap().duration_since(std::time::SystemTime::now()).unwrap();
        assert!(ends <= Duration::from_secs(60), "{ends:?}");
        keys.push(format!("{} {:?}", credentials.access_key_id(), credentials.session_token()));
    }
    println!("\n{MARK}{keys:?}");
}

struct Child {
    test: &'static str,
    environment: Vec<(&'static str, String)>,
}

fn run(test: &'static str, environment: &[(&'static str, &str)]) -> Child {
    let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Child { test, environment }
}

impl Child {
    async fn answer(self) -> String {
        let text = self.output().await;
        let line = text.lines().find_map(|line| line.strip_prefix(MARK));
        line.unwrap_or_else(|| panic!("no answer in\n{text}")).to_owned()
    }

    /// All that it says, run with nothing of this process's environment.
    async fn output(self) -> String {
        let mut command = tokio::process::Command::from(child::command(self.test));
        command.env_clear();
        // No profile of whoever runs the tests.
        command.env("HOME", "/nonexistent").envs(self.environment);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

const REGION: (&str, &str) = ("AWS_REGION", "eu-west-1");
const KEY: (&str, &str) = ("AWS_ACCESS_KEY_ID", "id");
const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "secret");
const NO_METADATA: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");
/// Nobody listens on the discard port of the loopback interface.
const NOWHERE: &str = "http://127.0.0.1:9";

async fn kinesis() -> LocalKinesis {
    kinesis_in(REGION.1).await
}

async fn kinesis_in(region: &str) -> LocalKinesis {
    let builder = LocalKinesis::builder().region(region).host_name("kinesis.test");
    builder.stream("orders", 1).start().await.unwrap()
}

#[tokio::test]
async fn credentials_files_that_are_renewed_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials").to_string_lossy().into_owned();
    let environment = [REGION, NO_METADATA, ("AWS_SHARED_CREDENTIALS_FILE", &file)];
    let answer = run("aws::child_reads_renewed_credentials", &environment).answer().await;
    assert_eq!(answer, r#"["first None", "second Some(\"t\")", "second Some(\"t\")", "third None"]"#);
}

#[tokio::test]
async fn endpoints_come_from_the_environment() {
    let kinesis = kinesis().await;
    let here = kinesis.endpoint_url();
    for endpoints in [
        &[("AWS_ENDPOINT_URL", &*here)][..],
        &[("AWS_ENDPOINT_URL_KINESIS", &here)],
        // The one of the service wins.
        &[("AWS_ENDPOINT_URL", NOWHERE), ("AWS_ENDPOINT_URL_KINESIS", &here)],
        &[("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE), ("AWS_ENDPOINT_URL", &here)],
    ] {
        let environment = [&[REGION, KEY, SECRET][..], endpoints].concat();
        let answer = run("aws::child_describes_the_stream", &environment).answer().await;
        assert_eq!(answer, "orders in eu-west-1", "{endpoints:?}");
    }
}

#[tokio::test]
async fn dynamodb_has_an_endpoint_of_its_own() {
    let dynamo = LocalDynamo::in_memory().await.unwrap();
    let here = dynamo.endpoint_url();
    for endpoints in [
        &[("AWS_ENDPOINT_URL", &*here)][..],
        &[("AWS_ENDPOINT_URL", NOWHERE), ("AWS_ENDPOINT_URL_DYNAMODB", &here)],
    ] {
        let environment = [&[REGION, KEY, SECRET][..], endpoints].concat();
        assert_eq!(run("aws::child_lists_tables", &environment).answer().await, "[]", "{endpoints:?}");
    }
}

/// A file that goes away with the value.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rokini-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn profiles_give_region_credentials_and_endpoint() {
    let kinesis = kinesis_in("eu-central-1").await;
    let config = format!(
        "[default]\nregion = eu-west-2\n[profile local]\nregion = eu-central-1\nservices = here\n\
         [services here]\nkinesis =\n  endpoint_url = {}\n",
        kinesis.endpoint_url()
    );
    let config = File::new("config", &config);
    let credentials =
        File::new("credentials", "[local]\naws_access_key_id = id\naws_secret_access_key = secret\n");
    let environment = [
        ("AWS_CONFIG_FILE", config.path()),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.path()),
        ("AWS_PROFILE", "local"),
    ];
    let answer = run("aws::child_describes_the_stream", &environment).answer().await;
    assert_eq!(answer, "orders in eu-central-1");
}

#[tokio::test]
async fn without_a_region_it_says_what_to_set() {
    let answer = run("aws::child_describes_the_stream", &[KEY, SECRET, NO_METADATA]).answer().await;
    assert_eq!(
        answer,
        "Configuration no AWS region is set: set `AWS_REGION`, or `region` in the profile that `AWS_PROFILE` names"
    );
}

#[tokio::test]
async fn without_credentials_it_says_what_to_set() {
    let kinesis = kinesis().await;
    let here = kinesis.endpoint_url();
    let environment = [REGION, NO_METADATA, ("AWS_ENDPOINT_URL_KINESIS", &here)];
    let answer = run("aws::child_describes_the_stream", &environment).answer().await;
    assert!(answer.starts_with("Permission there are no credentials for"), "{answer}");
    assert!(
        answer.contains("set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AWS_PROFILE`"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_metadata_service_that_never_answers_costs_seconds() {
    // Accepts into its backlog and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = format!("http://{}", silent.local_addr().unwrap());
    let kinesis = kinesis().await;
    let here = kinesis.endpoint_url();
    for (environment, expected) in [
        (&[KEY, SECRET][..], "Configuration no AWS region is set"),
        (&[REGION], "Permission there are no credentials"),
    ] {
        let more = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*metadata), ("AWS_ENDPOINT_URL_KINESIS", &here)];
        let started = Instant::now();
        let answer = run("aws::child_describes_the_stream", &[environment, &more].concat()).answer().await;
        assert!(answer.starts_with(expected), "{answer}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

/// A service on this machine that answers every request with these bytes and then says nothing.
async fn answering(answer: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
            held.push(stream);
        }
    });
    url
}

#[tokio::test]
async fn a_consumer_says_within_5_s_that_it_gets_no_credentials_and_what_was_tried() {
    let failing = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 6\r\n\r\nsecret";
    for metadata in [answering(b"").await, answering(failing).await] {
        let environment =
            [REGION, ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*metadata), ("AWS_ENDPOINT_URL", NOWHERE)];
        let started = Instant::now();
        let said = run("aws::child_consumes", &environment).output().await;
        // A process has to start, too.
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}: {said}", started.elapsed());
        for wanted in [
            "answer: Permission the AWS credentials could not be fetched: ",
            "the environment, the profile of the shared files, a web identity token",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(!said.contains("SdkBody") && !said.contains("secret"), "{said}");
    }
}

#[tokio::test]
async fn a_consumer_says_within_10_s_that_an_endpoint_does_not_answer() {
    let silent = answering(b"").await;
    let keys = [REGION, KEY, SECRET];
    let cases = [
        ("AWS_ENDPOINT_URL_KINESIS", &*silent, "no answer in time from"),
        ("AWS_ENDPOINT_URL_KINESIS", NOWHERE, "cannot be reached"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &*silent, "did not answer"),
    ];
    let looks = cases.iter().map(async |(variable, url, wanted)| {
        let environment = [&keys[..], &[(*variable, *url)]].concat();
        let said = run("aws::child_consumes", &environment).output().await;
        assert!(said.contains("answer: it tries again"), "{said}");
        let warned = said.lines().find(|line| line.contains("WARN") && line.contains(wanted));
        // Before the first answer the store does not know where its calls go.
        let names = |line: &str| line.contains(url) || line.contains("DynamoDB");
        assert!(warned.is_some_and(names), "{url}: {said}");
    });
    futures::future::join_all(looks).await;
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_refused() {
    for url in ["", "127.0.0.1:4567", "ftp://a", "http://", "https:///x"] {
        let error = AwsOptions::default().region("r").endpoint_url(url).load().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{url}` is not an endpoint URL: expected one such as `http://127.0.0.1:4567`")
        );
    }
}

#[tokio::test]
async fn proxies_come_from_the_environment() {
    let kinesis = kinesis().await;
    // A server takes whole URLs as a path, so it passes for a proxy that leads to itself.
    let proxy = kinesis.endpoint_url();
    let endpoint = ("AWS_ENDPOINT_URL", "http://kinesis.test:4567");
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let environment = [REGION, KEY, SECRET, endpoint, (variable, &*proxy)];
        let answer = run("aws::child_describes_the_stream", &environment).answer().await;
        assert_eq!(answer, "orders in eu-west-1", "{variable}");
    }
    let except = [REGION, KEY, SECRET, endpoint, ("HTTP_PROXY", &*proxy), ("NO_PROXY", "kinesis.test")];
    let answer = run("aws::child_describes_the_stream", &except).answer().await;
    assert!(answer.starts_with("Retry http://kinesis.test:4567 cannot be reached"), "{answer}");
    let wrong = [REGION, KEY, SECRET, endpoint, ("HTTPS_PROXY", "socks5://me:secret@proxy:1080")];
    let answer = run("aws::child_describes_the_stream", &wrong).answer().await;
    assert_eq!(
        answer,
        "Configuration `HTTPS_PROXY` names no HTTP proxy: expected one such as `http://host:3128`"
    );
}

#[tokio::test]
async fn certificates_to_trust_come_from_the_environment() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let builder =
        LocalKinesis::builder().region("eu-west-1").stream("orders", 1).tls(certificate.as_str(), key);
    let kinesis = builder.start().await.unwrap();
    let endpoint = format!("https://localhost:{}", kinesis.address().port());
    let (file, empty) = (File::new("bundle.pem", &certificate), File::new("empty.pem", "nothing"));
    let environment = [REGION, KEY, SECRET, ("AWS_ENDPOINT_URL", &*endpoint)];
    let trusted = [&environment[..], &[("AWS_CA_BUNDLE", file.path())]].concat();
    assert_eq!(run("aws::child_describes_the_stream", &trusted).answer().await, "orders in eu-west-1");
    let answer = run("aws::child_describes_the_stream", &environment).answer().await;
    assert!(answer.starts_with("Retry "), "{answer}");
    let unusable = [&environment[..], &[("AWS_CA_BUNDLE", empty.path())]].concat();
    let answer = run("aws::child_describes_the_stream", &unusable).answer().await;
    assert!(answer.starts_with("Configuration `AWS_CA_BUNDLE` names"), "{answer}");
}

//! Other people's clients against the local endpoint: boto3 and the AWS SDK for JavaScript, which speak JSON, and the AWS
//! SDK for Java, which speaks CBOR.
//!
//! A client that is not there is skipped, and the reason printed. Python needs `boto3`; the JavaScript SDK is installed by npm
//! into the target directory once, the Java SDK by Maven.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rokini_local::LocalKinesis;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients");
const JAVASCRIPT_SDK: &str = "@aws-sdk/client-kinesis@3.1143.0";

/// Runs a script against a fresh endpoint; the model's lock is never held meanwhile.
async fn run(mut command: Command) -> Output {
    let local = LocalKinesis::builder().throughput_limits(false).start().await.unwrap();
    command
        .env("AWS_ENDPOINT_URL_KINESIS", local.endpoint_url())
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    local.shutdown().await;
    output
}

fn passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim_end().ends_with("ok"), "{said}\n{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3() {
    let there = Command::new("python3").args(["-c", "import boto3"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        crate::skipped("python3 with boto3 is not there");
        return;
    }
    let mut command = Command::new("python3");
    command.arg(Path::new(HERE).join("smoke.py"));
    passed(&run(command).await);
}

/// What Kinesis has learned since 2025, asked by the newest boto3: queues, dry runs, keyless records, policies, regions.
#[tokio::test(flavor = "multi_thread")]
async fn boto3_of_today() {
    let new =
        "import boto3, sys; sys.exit(not hasattr(boto3.client('kinesis', 'us-east-1'), 'create_queue'))";
    let there = Command::new("python3").args(["-c", new]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        crate::skipped("python3 with a boto3 that knows queues is not there");
        return;
    }
    let mut command = Command::new("python3");
    command.arg(Path::new(HERE).join("today.py"));
    passed(&run(command).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_sdk() {
    let Some(modules) = installed() else { return };
    let mut command = Command::new("node");
    // Modules are looked for beside the script.
    let script = modules.join("smoke.mjs");
    std::fs::copy(Path::new(HERE).join("smoke.mjs"), &script).unwrap();
    command.arg(script);
    passed(&run(command).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn java_sdk() {
    let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).join("java-sdk");
    if !there(&jars) {
        // Complete, or not there.
        let partial = jars.with_extension("partial");
        let (output, pom) = (format!("-DoutputDirectory={}", partial.display()), format!("{HERE}/pom.xml"));
        let arguments = ["-q", "-B", "-f", &pom, "dependency:copy-dependencies", &output];
        if !installs("mvn", &arguments, Path::new(HERE)) {
            return;
        }
        std::fs::rename(partial, &jars).unwrap();
    }
    if let Err(error) = Command::new("java").arg("-version").output() {
        crate::skipped(format_args!("java is not there: {error}"));
        return;
    }
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).arg(Path::new(HERE).join("Smoke.java"));
    passed(&run(command).await);
}

/// The directory with the JavaScript SDK.
fn installed() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("javascript-sdk");
    if there(&directory.join("node_modules/@aws-sdk/client-kinesis")) {
        return Some(directory);
    }
    std::fs::create_dir_all(&directory).unwrap();
    let arguments = ["install", "--silent", "--no-audit", "--no-fund", JAVASCRIPT_SDK];
    installs("npm", &arguments, &directory).then_some(directory)
}

fn there(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

fn installs(program: &str, arguments: &[&str], directory: &Path) -> bool {
    match Command::new(program).args(arguments).current_dir(directory).output() {
        Ok(output) if output.status.success() => true,
        Ok(Output { stdout, stderr, .. }) => {
            let said = [stdout, stderr].concat();
            let said = String::from_utf8_lossy(&said);
            crate::skipped(format_args!("{program} {} failed: {}", arguments.join(" "), said.trim()));
            false
        }
        Err(error) => {
            crate::skipped(format_args!("{program} is not there: {error}"));
            false
        }
    }
}

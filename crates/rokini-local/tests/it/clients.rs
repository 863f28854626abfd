//! Other people's clients against the local endpoint: boto3, the AWS CLI and the AWS SDKs for JavaScript and Go, which speak JSON,
//! and the AWS SDK for Java, which speaks CBOR. They are given the variables that are printed, and no option.
//!
//! A client that is not there is skipped, and the reason printed. Python needs `boto3`; the JavaScript SDK is installed by npm
//! into the target directory once, the Java SDK by Maven, the AWS CLI by pip, and the Go SDK by Go itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rokini_local::{LocalKinesis, LocalKinesisBuilder};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients");
const JAVASCRIPT_SDK: &str = "@aws-sdk/client-kinesis@3.1143.0";
const AWS_CLI: &str = "awscli==1.46.3";

/// Runs a script against a fresh endpoint; the model's lock is never held meanwhile.
async fn run(command: Command) -> Output {
    run_on(LocalKinesis::builder().throughput_limits(false), command).await
}

async fn run_on(builder: LocalKinesisBuilder, mut command: Command) -> Output {
    let local = builder.start().await.unwrap();
    command
        .envs(local.environment())
        // Nothing of whoever runs the tests.
        .env("AWS_CONFIG_FILE", "/absent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/absent");
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

/// What Kinesis has learned since 2025, asked by the newest boto3: queues, dry runs, keyless records, policies, regions. Each statement
/// that it asks is one of the table in docs/LOCAL.md, and a test against the model.
#[tokio::test(flavor = "multi_thread")]
async fn boto3_of_today() {
    let Some(command) = of_today("today.py") else { return };
    let output = run_on(LocalKinesis::builder().status_change(Duration::from_secs(10)), command).await;
    passed(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    let asked: BTreeSet<&str> = said.lines().filter_map(|line| line.strip_prefix("asked ")).collect();
    let document = include_str!("../../../../docs/LOCAL.md");
    let tests = [include_str!("statements.rs"), include_str!("queues.rs")].concat();
    for label in &asked {
        let rows = document.lines().filter(|line| line.contains(&format!("| `{label}_")));
        assert_eq!(rows.count(), 1, "{label} in the table of docs/LOCAL.md");
        assert_eq!(tests.matches(&format!("\nfn {label}_")).count(), 1, "{label} among the tests");
    }
    assert!(asked.len() >= 60, "{}: {asked:?}", asked.len());
    eprintln!("boto3 asked {} statements", asked.len());
}

/// The table in docs/LOCAL.md has a row for each statement, and each row a test.
#[test]
fn the_table_of_statements_is_that_of_the_tests() {
    let tests =
        [include_str!("statements.rs"), include_str!("queues.rs"), include_str!("sdk/safety.rs")].concat();
    let document = include_str!("../../../../docs/LOCAL.md");
    let rows = document.lines().filter_map(|line| Some(line.strip_suffix("` |")?.rsplit_once('`')?.1));
    let kinds = ["statement_", "queue_", "a_list_"];
    let rows: BTreeSet<&str> = rows.filter(|name| kinds.iter().any(|kind| name.starts_with(kind))).collect();
    let functions = tests.split("\nfn ").skip(1).map(|rest| rest.split('(').next().unwrap());
    let written: BTreeSet<&str> =
        functions.filter(|name| name.starts_with("statement_") || name.starts_with("queue_")).collect();
    for name in &rows {
        assert!(tests.contains(&format!("fn {name}(")), "no test is named {name}");
    }
    let missing: Vec<_> = written.difference(&rows).collect();
    assert!(written.len() > 80 && missing.is_empty(), "no row for {missing:?}");
}

/// A queue, worked on by processes that are killed. `QUEUE_RECORDS` says by how many records.
#[tokio::test(flavor = "multi_thread")]
async fn boto3_queue_consumers() {
    let Some(command) = of_today("queue_consumer.py") else { return };
    passed(&run(command).await);
}

/// What docs/LOCAL.md says of this one beside others.
#[tokio::test(flavor = "multi_thread")]
async fn the_questions_of_the_comparison() {
    let Some(mut command) = of_today("questions.py") else { return };
    command.arg("--all");
    let output = run_on(LocalKinesis::builder(), command).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
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

/// The AWS SDK for Go, built from the modules that `go.sum` names.
#[tokio::test(flavor = "multi_thread")]
async fn go_sdk() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-smoke");
    let name = program.display().to_string();
    if !installs("go", &["build", "-o", &name, "."], &Path::new(HERE).join("go")) {
        return;
    }
    passed(&run(Command::new(program)).await);
}

/// The AWS CLI of PyPI, in an environment of its own.
#[tokio::test(flavor = "multi_thread")]
async fn aws_cli() {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("awscli");
    if !environment.join("bin/aws").exists() {
        let name = environment.display().to_string();
        let pip = environment.join("bin/pip").display().to_string();
        let made = installs("python3", &["-m", "venv", &name], Path::new(HERE));
        if !made || !installs(&pip, &["install", "--quiet", AWS_CLI], Path::new(HERE)) {
            return;
        }
    }
    let mut command = Command::new("bash");
    command.arg(Path::new(HERE).join("smoke.sh"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", environment.join("bin").display()));
    passed(&run(command).await);
}

/// A script for a boto3 that knows queues, where that is there.
fn of_today(script: &str) -> Option<Command> {
    if !knows_queues() {
        crate::skipped("python3 with a boto3 that knows queues is not there");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(Path::new(HERE).join(script));
    Some(command)
}

fn knows_queues() -> bool {
    let new =
        "import boto3, sys; sys.exit(not hasattr(boto3.client('kinesis', 'us-east-1'), 'create_queue'))";
    let there = Command::new("python3").args(["-c", new]).output();
    there.is_ok_and(|output| output.status.success())
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

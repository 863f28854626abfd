//! Functions in Go, Rust and Node, by the runtime clients of AWS: `examples/handlers/go/faulty`, `examples/handlers/rust/src/bin/faulty.rs`
//! and the one below.

use std::path::{Path, PathBuf};

use super::lambda::{Program, cannot_start, poison};

/// The function in Go; `None`, said aloud, where it cannot be built.
fn go(folder: &Path) -> Option<PathBuf> {
    let bootstrap = folder.join("bootstrap");
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/handlers/go");
    let mut build = std::process::Command::new("go");
    let built = build.args(["build", "-o"]).arg(&bootstrap).arg("./faulty").current_dir(module).output();
    match built {
        Ok(built) if built.status.success() => Some(bootstrap),
        Ok(built) => {
            let said = String::from_utf8_lossy(&built.stderr).into_owned();
            crate::skipped(format_args!("`go build` does not work here: {said}"));
            None
        }
        Err(error) => {
            crate::skipped(format_args!("there is no `go`: {error}"));
            None
        }
    }
}

/// The function in Rust; `None`, said aloud, where nobody has built it: its dependencies are those of another workspace.
fn rust() -> Option<PathBuf> {
    let function = std::env::var("RUST_FUNCTION").ok().map(PathBuf::from);
    let faulty =
        function.and_then(|function| Some(function.parent()?.join("faulty"))).filter(|path| path.is_file());
    if faulty.is_none() {
        crate::skipped(
            "`RUST_FUNCTION` names no function built with lambda_runtime that has `faulty` beside it",
        );
    }
    faulty
}

/// The ways in which a record can be poison, each with what the dead letter says of it.
const POISON: [(&str, &str); 5] = [
    ("partial", "reported record"),
    ("raise", "poison"),
    ("panic", "poison"),
    ("exit", "process ended"),
    ("hang", "did not answer within 1s"),
];

#[tokio::test]
async fn m3_functions_in_go_run_unmodified() {
    let folder = tempfile::tempdir().unwrap();
    let Some(function) = go(folder.path()) else { return };
    poison(&Program { program: &function, arguments: &[] }, &POISON).await;
}

#[tokio::test]
async fn m4_a_function_in_go_that_cannot_start_costs_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let Some(function) = go(folder.path()) else { return };
    let function = Program { program: &function, arguments: &[] };
    cannot_start(
        &function,
        &[("init", "ended before it was ready"), ("slow-init", "was not ready within 1s")],
    )
    .await;
}

#[tokio::test]
async fn m3_functions_in_rust_run_unmodified() {
    let Some(function) = rust() else { return };
    poison(&Program { program: &function, arguments: &[] }, &POISON).await;
}

#[tokio::test]
async fn m4_a_function_in_rust_that_cannot_start_costs_no_record() {
    let Some(function) = rust() else { return };
    let function = Program { program: &function, arguments: &[] };
    cannot_start(
        &function,
        &[("init", "ended before it was ready"), ("slow-init", "was not ready within 1s")],
    )
    .await;
}

const NODE: &str = r#"
const fs = require('fs');
const trick = process.env.TRICK;
fs.appendFileSync('pids', process.pid + '\n');
if (fs.existsSync('broken')) {
  if (trick === 'init') throw new Error('no such module');
  if (trick === 'slow-init') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
exports.handler = async (event) => {
  for (const record of event.Records) {
    const data = Buffer.from(record.kinesis.data, 'base64').toString();
    if (data === 'poison') {
      if (trick === 'partial') return { batchItemFailures: [{ itemIdentifier: record.kinesis.sequenceNumber }] };
      if (trick === 'raise') throw new Error('poison');
      if (trick === 'exit') process.exit(7);
      if (trick === 'hang') await new Promise((resolve) => setTimeout(resolve, 1000000));
    }
    fs.appendFileSync('handled', record.eventID.split(':')[0] + ' ' + data + '\n');
  }
  return { batchItemFailures: [] };
};
"#;

/// Node's runtime client is built when it is installed, which takes minutes: every night.
#[tokio::test]
async fn m3_functions_in_node_run_unmodified() {
    let code = "console.log(process.execPath); console.log(require.resolve('aws-lambda-ric/package.json'))";
    let found = std::process::Command::new("node").args(["-e", code]).output();
    let Some(found) = found.ok().filter(|found| found.status.success()) else {
        return crate::skipped("there is no node that has aws-lambda-ric (`NODE_PATH` may say where)");
    };
    let found = String::from_utf8(found.stdout).unwrap();
    let (node, package) = found.trim().split_once('\n').unwrap();
    let client = Path::new(package).with_file_name("bin").join("index.mjs");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("faulty.js"), NODE).unwrap();
    let handler = format!("{}/faulty.handler", folder.path().display());
    let arguments = [client.to_str().unwrap(), &handler];
    let function = Program { program: Path::new(node), arguments: &arguments };
    poison(&function, &POISON.into_iter().filter(|(trick, _)| *trick != "panic").collect::<Vec<_>>()).await;
    cannot_start(&function, &[("init", "no such module"), ("slow-init", "was not ready within 1s")]).await;
}

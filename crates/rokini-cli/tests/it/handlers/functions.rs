//! Functions in Go and Rust, by the runtime clients of AWS: `examples/handlers/go/faulty` and `examples/handlers/rust/src/bin/faulty.rs`.

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

//! Other programs, run at the root of the repository.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// What a task says when it fails; empty where its own output has said it.
pub(crate) type Outcome = Result<(), String>;

/// The root of the repository: where cargo runs this from, for a binary outlives a checkout that is moved.
pub(crate) fn root() -> PathBuf {
    let mut root =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    root.pop();
    root
}

/// Runs a program at the root, with its output where ours goes.
pub(crate) fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied()).current_dir(root());
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("$ {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}`: {status}")),
        Err(error) => Err(format!("`{line}`: {error}")),
    }
}

pub(crate) fn cargo(arguments: &[&str]) -> Outcome {
    run(env!("CARGO"), arguments, &[])
}

pub(crate) fn strings(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// What a program writes.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let output = output.map_err(|error| format!("`{line}`: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`{line}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

//! A test in a process of its own: this binary again, with one of its ignored tests.

use std::process::Command;

/// The command that runs just this test, named by the path of its module and its name.
pub fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

/// Runs just this test, which has to pass.
pub fn passes(test: &str) {
    let output = command(test).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{test}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

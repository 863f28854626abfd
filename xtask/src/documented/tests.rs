//! What documents show works; and what would not is found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::markdown::commands;
use super::{Tried, Workspace, shell, shown};
use crate::shell::root;

fn texts(text: &str) -> Vec<String> {
    commands(Path::new("a.md"), text)
        .into_iter()
        .map(|shown| format!("{} {}", shown.place, shown.command))
        .collect()
}

#[test]
fn commands_are_found_in_shell_blocks_and_spans() {
    let text = "Use `cargo test` or `x`.\n\n```sh\nrokini put a   # a comment\nrokini tail a \\\n  --from -1h | jq '.a | .b' > out\n\
                A=1 cargo run && .ci/run\n```\n```text\nrokini no\n```\n";
    assert_eq!(
        texts(text),
        [
            "a.md:1 cargo test",
            "a.md:4 rokini put a",
            "a.md:6 rokini tail a --from -1h",
            "a.md:6 jq '.a | .b'",
            "a.md:7 A=1 cargo run",
            "a.md:7 .ci/run",
        ]
    );
    assert_eq!(shell::words("a 'b c'  \"d\"e ''"), ["a", "b c", "de", ""]);
}

/// The workspace, with its programs built as its tests have built them.
fn workspace() -> Workspace {
    // An example makes it the features of the tests: others would compile the AWS crates anew.
    let arguments = ["build", "--quiet", "--workspace", "--bins", "--example", "print"];
    let built = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let this = std::env::current_exe().unwrap();
    Workspace::read(this.ancestors().nth(2).unwrap().to_owned()).unwrap()
}

#[test]
fn every_command_that_a_document_shows_works() {
    let workspace = workspace();
    let mut all = shown(&root()).unwrap();
    let help = Command::new(workspace.programs.join("sim")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    all.extend(commands(Path::new("sim --help"), &help));
    let mut skipped: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut wrong = String::new();
    let mut works = 0;
    for shown in &all {
        match workspace.try_out(&shown.command) {
            Tried::Works => works += 1,
            Tried::Skipped(why) => skipped.entry(why).or_default().push(shown.command.clone()),
            Tried::Wrong(why) => writeln!(wrong, "{}: `{}`: {why}", shown.place, shown.command).unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(works > 40, "only {works} commands are shown");
    // Past the harness, which swallows what passing tests print.
    for (why, commands) in skipped {
        let names: Vec<_> =
            commands.iter().map(|command| command.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        let text = format!("\nskipped: {} commands in documents, {why}: {}\n", names.len(), names.join(", "));
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
}

#[test]
fn a_command_that_does_not_work_is_found() {
    let workspace = workspace();
    for command in [
        "rokini consum orders",
        "rokini demo --for",
        "rokini tail orders --form -1h",
        "cargo run -- demo --nowhere",
        "cargo run -p sim -- --sedes 5",
        "cargo run -p simulation",
        "cargo run -p rokini --example prints",
        "cargo run --manifest-path benches/peers/Cargo.toml",
        "cargo test -p rokini --test unit",
        "cargo test -p rokini --test it nothing_is_called_so",
        "cargo xtask mow",
        ".ci/walk",
    ] {
        assert!(matches!(workspace.try_out(command), Tried::Wrong(_)), "{command}");
    }
    for command in
        ["rokini demo --for 30m --faults 1%", "A=1 cargo test -p rokini --test it docs::", "cargo xtask loc"]
    {
        assert_eq!(workspace.try_out(command), Tried::Works, "{command}");
    }
}

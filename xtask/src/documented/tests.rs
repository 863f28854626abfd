//! What documents show works; and what would not is found.

use std::path::{Path, PathBuf};

use super::markdown::commands;
use super::{Tried, Workspace, report, words};

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
    assert_eq!(words::words("a 'b c'  \"d\"e ''"), ["a", "b c", "de", ""]);
}

/// Where this test's workspace has its programs.
fn programs() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

#[test]
fn every_command_that_a_document_shows_works() {
    let report = report(programs()).unwrap();
    assert_eq!(report.wrong, [""; 0]);
    assert!(report.works > 40, "only {} commands are shown", report.works);
}

#[test]
fn a_command_that_does_not_work_is_found() {
    let workspace = Workspace::build(programs()).unwrap();
    for command in [
        "rokini consum orders",
        "rokini demo --fort",
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

#[test]
fn a_number_before_a_file_is_that_of_a_descriptor() {
    for (line, expected) in
        [("rokini local --ready-fd 3 3>ready", "rokini local --ready-fd 3"), ("rokini x y3>z", "rokini x y3")]
    {
        assert_eq!(words::commands(line), [expected]);
    }
}

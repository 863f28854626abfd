//! `consume | script`: when a record counts, and when it does not.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::support::{Ended, Endpoints, LONGEST_WAIT, Local};

/// Reads byte by byte, so that what it has not handled is in the pipe and nowhere else.
const SCRIPT: &str = "n=0; while IFS= read -r line; do echo \"$line\" >> handled; n=$((n+1)); \
                      [ $n = \"$LAST\" ] && exit 1; done";

fn handled(endpoints: &Endpoints) -> Vec<String> {
    let text = std::fs::read_to_string(endpoints.home().join("handled")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// `rokini consume orders --group g | script` in a process group of its own.
fn pipeline(endpoints: &Endpoints, last: usize) -> tokio::process::Child {
    let consume = endpoints.rokini(&[]);
    let program = consume.as_std().get_program().to_str().unwrap().to_owned();
    let mut shell = std::process::Command::new("sh");
    let line = format!("{program} consume orders --group g | {{ {SCRIPT}; }}");
    shell.args(["-c", &line]).env_clear().current_dir(endpoints.home()).process_group(0);
    let set = consume.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.envs(set).env("LAST", last.to_string()).env("PATH", std::env::var_os("PATH").unwrap());
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Command::from(shell).kill_on_drop(true).spawn().unwrap()
}

async fn ended(mut child: tokio::process::Child) {
    tokio::time::timeout(LONGEST_WAIT, child.wait()).await.expect("it ends").unwrap();
}

/// What the group goes on with, until the last record.
async fn rest(local: &Local, last: &str) -> Vec<String> {
    let mut next = local.consume("orders", "g", "next", &[]);
    next.until("the last record", |next| next.data().iter().any(|data| data == last)).await;
    let rest = next.data();
    assert_eq!(next.stop().await, Some(0));
    rest
}

#[tokio::test]
async fn m1_a_script_that_crashes_leaves_what_it_did_not_read() {
    let local = Local::start(1).await;
    let lines: String = (0..1500).map(|n| format!("{n:0300}\n")).collect();
    local.run_with_input(&["put", "orders", "-k", "k", "--unordered"], &lines).await.done();
    ended(pipeline(&local, 400)).await;
    let read = handled(&local);
    assert_eq!(read.len(), 400);
    let rest = rest(&local, &format!("{:0300}", 1499)).await;
    let all: BTreeSet<_> = read.iter().chain(&rest).collect();
    assert_eq!(all.len(), 1500, "nothing is lost: {} handled, {} came after", read.len(), rest.len());
}

#[tokio::test]
async fn m1_a_signal_to_the_whole_group_leaves_what_was_not_read() {
    let local = Local::start(1).await;
    let lines: String = (0..6000).map(|n| format!("{n:0300}\n")).collect();
    local.run_with_input(&["put", "orders", "-k", "k", "--unordered"], &lines).await.done();
    let child = pipeline(&local, usize::MAX);
    let group = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let begun = Instant::now();
    while handled(&local).len() < 700 {
        assert!(begun.elapsed() < LONGEST_WAIT, "the script does not get on");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    kill_process_group(group, Signal::TERM).unwrap();
    ended(child).await;
    // `consume` outlives the shell.
    let shown = || async {
        let shown = local.run(&["group", "show", "g", "--json"]).await.done();
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()["workers"].as_array().unwrap().len()
    };
    while shown().await > 0 {
        assert!(begun.elapsed() < LONGEST_WAIT, "it does not leave");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let read = handled(&local);
    assert!(read.len() < 5800, "it was in the middle: {}", read.len());
    let rest = rest(&local, &format!("{:0300}", 5999)).await;
    let all: BTreeSet<_> = read.iter().chain(&rest).collect();
    // The one line that the script had taken and not handled is its own.
    let lost = 6000 - all.len();
    assert!(lost <= 1, "{lost} lost: {} handled, {} came after", read.len(), rest.len());
}

#[tokio::test]
async fn o14_a_closed_standard_output_is_refused() {
    let local = Local::start(1).await;
    local.run(&["put", "orders", "hello"]).await.done();
    let consume = local.rokini(&[]);
    let program = Path::new(consume.as_std().get_program());
    let mut shell = local.rokini(&[]);
    for (stdout, said) in [(">&-", "standard output is closed"), ("1</etc/passwd", "open for reading only")] {
        let line = format!("exec {} consume orders --group g {stdout}", program.display());
        let mut closed = Command::new("/bin/sh");
        closed.args(["-c", &line]).env_clear().current_dir(local.home());
        closed.envs(shell.as_std_mut().get_envs().filter_map(|(name, value)| Some((name, value?))));
        closed.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let ended = Ended::of(closed).await;
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
    // Nothing was consumed.
    let mut next = local.consume("orders", "g", "next", &[]);
    next.until("the record", |next| next.data() == ["hello"]).await;
    assert_eq!(next.stop().await, Some(0));
}

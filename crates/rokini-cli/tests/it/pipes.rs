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

/// As the shell's `1<>`, Python's `DEVNULL` and daemons open it: nothing is wrong with that.
#[tokio::test]
async fn o14_a_null_device_that_is_open_both_ways_is_taken() {
    let local = Local::start(1).await;
    local.run(&["put", "orders", "hello"]).await.done();
    let mut command = local.rokini(&["consume", "orders", "--group", "g", "--worker", "w"]);
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    command.stdin(Stdio::null()).stdout(null).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let lag = async || {
        let lag = local.run(&["group", "lag", "g", "--json"]).await;
        let lag: serde_json::Value = serde_json::from_str(&lag.stdout).unwrap_or_default();
        (lag["shards"][0]["owner"].is_string(), lag["shards"][0]["lag_millis"].as_u64())
    };
    let begun = Instant::now();
    while lag().await != (true, Some(0)) {
        assert!(begun.elapsed() < LONGEST_WAIT, "it does not get on");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(Ended::of_child(child).await.status, Some(0));
}

/// Node, for example, gives its children sockets where others give them pipes.
#[tokio::test]
async fn m1_what_is_never_read_from_a_socket_is_not_done() {
    use tokio::io::AsyncReadExt;

    let local = Local::start(1).await;
    let lines: String = (0..1500).map(|n| format!("{n:0300}\n")).collect();
    local.run_with_input(&["put", "orders", "-k", "k", "--unordered"], &lines).await.done();
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = local.rokini(&["consume", "orders", "--group", "g", "--worker", "w"]);
    command.stdin(Stdio::null()).stdout(std::os::fd::OwnedFd::from(there)).stderr(Stdio::piped());
    let child = command.kill_on_drop(true).spawn().unwrap();
    drop(command);
    here.set_nonblocking(true).unwrap();
    let mut here = tokio::net::UnixStream::from_std(here).unwrap();
    // 1200 lines, and not one more; then it goes away, and the command with it.
    let mut read = vec![0; 1200 * 301];
    tokio::time::timeout(LONGEST_WAIT, here.read_exact(&mut read)).await.unwrap().unwrap();
    // The rest lies there by now.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    drop(here);
    let ended = Ended::of_child(child).await;
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let read: BTreeSet<_> = String::from_utf8(read).unwrap().lines().map(str::to_owned).collect();
    let rest = rest(&local, &format!("{:0300}", 1499)).await;
    let again = rest.iter().filter(|line| read.contains(*line)).count();
    let all: BTreeSet<_> = read.iter().chain(&rest).collect();
    assert_eq!(all.len(), 1500, "nothing is lost: {} came after", rest.len());
    // What lies in the socket is counted by the memory that it takes up, so some that was read counts as unread.
    assert!(again < 1200, "{again} of 1200 came again");
}

/// Nothing comes: that the reader is gone is noticed all the same.
#[tokio::test]
async fn a_command_ends_when_the_reader_of_its_socket_goes() {
    let local = Local::start(1).await;
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = local.rokini(&["consume", "orders", "--group", "g", "--worker", "w"]);
    command.stdin(Stdio::null()).stdout(std::os::fd::OwnedFd::from(there)).stderr(Stdio::piped());
    let child = command.kill_on_drop(true).spawn().unwrap();
    drop(command);
    // It says nothing more itself, which is no end.
    here.shutdown(std::net::Shutdown::Write).unwrap();
    let begun = Instant::now();
    loop {
        let shown = local.run(&["group", "show", "g", "--json"]).await;
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
        if shown["workers"].as_array().is_some_and(|workers| !workers.is_empty()) {
            break;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "it does not join");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(here);
    let ended = Ended::of_child(child).await;
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

//! A worker that is process 1, as in a container.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{handled, put, python, until_handled};
use crate::support::{LONGEST_WAIT, Local, Member};

/// A space of processes of its own, which ends with its first process.
const SPACE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether the machine allows it; where it does not, that is said aloud.
fn possible() -> bool {
    let possible = std::process::Command::new("unshare").args(SPACE).arg("true").status();
    let is_possible = possible.as_ref().is_ok_and(std::process::ExitStatus::success);
    if !is_possible {
        let space = SPACE.join(" ");
        crate::skipped(format_args!("`unshare {space}` does not work here: {possible:?}"));
    }
    is_possible
}

/// `rokini run orders --group g` with this program, as process 1.
fn run(
    local: &Local,
    options: &[&str],
    python: &Path,
    program: &[&str],
    environment: &[(&str, &str)],
) -> Member {
    let inside = local.rokini(&[&["run", "orders", "--group", "g"], options, &["--"]].concat());
    let mut command = tokio::process::Command::new("unshare");
    command.args(SPACE).arg(inside.as_std().get_program()).args(inside.as_std().get_args());
    command.arg(python).args(program).current_dir(local.home()).env_clear();
    command.envs(inside.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs(environment.iter().copied());
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    Member::spawn(command)
}

/// What a container runtime does at a stop: SIGTERM to process 1 alone, and a grace period.
#[tokio::test]
async fn m1_process_1_drains_at_sigterm_within_the_grace_period() {
    if !possible() {
        return;
    }
    for (kind, program) in [("lines", "bill.py"), ("multilang", "app.py"), ("lambda", "client.py")] {
        let Some(python) = python("json") else { return };
        let local = Local::start(1).await;
        match kind {
            "lines" => super::lines::write(&local),
            "lambda" => super::lambda::write(&local),
            _ => super::kcl::write(&local),
        }
        let data = put(&local, 400).await;
        let options = ["--handler", kind, "--set", "batch_max_records=50", "--set", "shutdown_deadline=20s"];
        let program = [&["-u", program][..], if kind == "lambda" { &["app.handler"] } else { &[] }].concat();
        let environment = [("SLOW", "0.01"), ("CLIENT", "own")];
        let mut member = run(&local, &options, &python, &program, &environment);
        let begun = Instant::now();
        while handled(&local).len() < 60 {
            assert!(begun.elapsed() < LONGEST_WAIT, "{}", member.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let outside = member.id().as_raw_nonzero();
        let first = std::fs::read_to_string(format!("/proc/{outside}/task/{outside}/children")).unwrap();
        let first = Pid::from_raw(first.trim().parse().unwrap()).unwrap();
        let asked = Instant::now();
        kill_process(first, Signal::TERM).unwrap();
        assert_eq!(member.ended().await, Some(0), "{kind}: {}", member.stderr());
        let (took, so_far) = (asked.elapsed(), handled(&local).len());
        eprintln!("{kind}: stopped {took:?} after SIGTERM, {so_far} of {} records handled", data.len());
        assert!(took < Duration::from_secs(20) && so_far < data.len(), "{kind}: {took:?}, {so_far}");
        let mut next = run(&local, &options, &python, &program, &environment);
        until_handled(&local, &next, &data).await;
        assert!(handled(&local).values().all(|times| *times == 1), "{kind}: what was done is stored");
        kill_process(next.id(), Signal::KILL).unwrap();
        next.ended().await;
    }
}

/// A worker in a space of processes of its own, where it is process 1, and so inherits what its program leaves in a group
/// that is not the program's.
#[tokio::test]
async fn m4_process_1_reaps_what_programs_leave_to_it() {
    if !possible() {
        return;
    }
    let local = Local::start(1).await;
    let Some(python) = python("json") else { return };
    let program = r#"
import json, os, sys
for line in sys.stdin:
    if os.fork() == 0:
        # The middle one ends at once, so that the last one has nobody but process 1.
        if os.fork() == 0:
            os.setsid()
            os._exit(0)
        os._exit(0)
    os.wait()
    print(json.loads(line)["token"], flush=True)
    names = [name for name in os.listdir("/proc") if name.isdigit()]
    stats = [open("/proc/%s/stat" % name).read() for name in names if os.path.exists("/proc/%s/stat" % name)]
    sys.stderr.write("ended and not reaped: %d\n" % sum(") Z 1 " in stat for stat in stats))
"#;
    std::fs::write(local.home().join("leaves.py"), program).unwrap();
    let mut member = run(&local, &["--handler", "lines"], &python, &["-u", "leaves.py"], &[]);
    local.put_hashed("orders", (0..20).map(|n| (0, n.to_string()))).await;
    let left = |member: &Member| {
        let said = member.stderr();
        let last = said.lines().rfind(|line| line.contains("ended and not reaped: "))?;
        last.rsplit(' ').next()?.parse::<u32>().ok()
    };
    member.until("some that are not reaped", |member| left(member).is_some_and(|left| left >= 15)).await;
    // Those of the last two looks are left: one a second, and each look is 5 s after the one before.
    let begun = Instant::now();
    while left(&member).is_none_or(|left| left > 12) {
        assert!(begun.elapsed() < LONGEST_WAIT, "{}", member.stderr());
        tokio::time::sleep(Duration::from_secs(1)).await;
        local.put_hashed("orders", [(0, "again".to_owned())]).await;
    }
}

//! What tests of handlers need: Python, and what handlers leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::sleep;

use crate::support::{Endpoints, LONGEST_WAIT, Local, Member};

pub const QUICK: [&str; 4] = ["--failover", "2s", "--heartbeat", "200ms"];

/// The Python of this machine; `None`, said aloud, where there is none that can import this.
pub fn python(import: &str) -> Option<PathBuf> {
    let code = format!("import sys, {import}; print(sys.executable)");
    // `PYTHONPATH` may say where packages are.
    let found = std::process::Command::new("python3").args(["-c", &code]).output().ok()?;
    let executable = String::from_utf8(found.stdout).unwrap();
    let python = Some(PathBuf::from(executable.trim())).filter(|path| path.is_file());
    if python.is_none() {
        crate::skipped(format_args!("there is no python3 that has `{import}` (`PYTHONPATH` may say where)"));
    }
    python
}

/// `rokini run orders --group g` with this program.
pub fn run(
    endpoints: &Endpoints,
    python: &Path,
    worker: &str,
    options: &[&str],
    program: &[&str],
    environment: &[(&str, &str)],
) -> Member {
    let arguments = ["run", "orders", "--group", "g", "--worker", worker];
    let mut command = endpoints.rokini(&[&arguments, options, &["--"]].concat());
    command.arg(python).args(program).envs(environment.iter().copied());
    if let Some(path) = std::env::var_os("PYTHONPATH") {
        command.env("PYTHONPATH", path);
    }
    Member::spawn(command)
}

/// Data with how often they were handled: the second word of each line of `handled`.
pub fn handled(endpoints: &Endpoints) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(endpoints.home().join("handled")).unwrap_or_default();
    let mut handled = BTreeMap::new();
    // A line that a kill cut off was not handled.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        if let Some((_, data)) = line.split_once(' ') {
            *handled.entry(data.to_owned()).or_default() += 1;
        }
    }
    handled
}

pub async fn until_handled(endpoints: &Endpoints, member: &Member, what: &BTreeSet<String>) {
    let begun = Instant::now();
    loop {
        let handled = handled(endpoints);
        let missing = what.iter().filter(|data| !handled.contains_key(*data)).count();
        if missing == 0 {
            return;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{missing} are missing\n{}", member.stderr());
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_zombie(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// The processes of handlers that still run: they note their numbers in `pids`.
pub fn running(endpoints: &Endpoints) -> Vec<i32> {
    let pids = std::fs::read_to_string(endpoints.home().join("pids")).unwrap_or_default();
    let pids = pids.lines().filter_map(|pid| pid.parse().ok());
    pids.filter(|pid| test_kill_process(Pid::from_raw(*pid).unwrap()).is_ok() && !is_zombie(*pid)).collect()
}

pub fn kill_handlers(endpoints: &Endpoints) {
    for pid in running(endpoints) {
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }
}

pub async fn until_none_runs(endpoints: &Endpoints) {
    let begun = Instant::now();
    while !running(endpoints).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "left behind: {:?}", running(endpoints));
        sleep(Duration::from_millis(20)).await;
    }
}

/// Puts so many records of one key.
pub async fn put(local: &Local, count: usize) -> BTreeSet<String> {
    let data: BTreeSet<String> = (0..count).map(|n| format!("{n:06}")).collect();
    let lines: String = data.iter().map(|data| format!("{data}\n")).collect();
    local.run_with_input(&["put", "orders", "-k", "k", "--unordered"], &lines).await.done();
    data
}

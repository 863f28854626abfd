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

/// `rokini run orders --group g` with this program, in a process group of its own.
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
    command.arg(python).args(program).envs(environment.iter().copied()).process_group(0);
    if let Some(path) = std::env::var_os("PYTHONPATH") {
        command.env("PYTHONPATH", path);
    }
    Member::spawn(command)
}

/// What was handled, in the order of its time: the second word of each line of `handled`.
fn handled_in_order(endpoints: &Endpoints) -> Vec<String> {
    let text = std::fs::read_to_string(endpoints.home().join("handled")).unwrap_or_default();
    // A line that a kill cut off was not handled.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
}

/// Data with how often they were handled.
pub fn handled(endpoints: &Endpoints) -> BTreeMap<String, usize> {
    let mut handled = BTreeMap::new();
    for data in handled_in_order(endpoints) {
        *handled.entry(data).or_default() += 1;
    }
    handled
}

/// What was put to each shard, in its order.
#[derive(Debug, Default)]
pub struct Sent(BTreeMap<String, Vec<String>>);

impl Sent {
    /// Puts records to all shards evenly.
    pub async fn put(&mut self, local: &Local, data: impl IntoIterator<Item = String>) {
        let data: Vec<String> = data.into_iter().collect();
        let places = local.put_evenly("orders", data.iter().cloned()).await;
        for ((shard, _), data) in places.into_iter().zip(data) {
            self.0.entry(shard).or_default().push(data);
        }
    }

    pub fn all(&self) -> BTreeSet<String> {
        self.0.values().flatten().cloned().collect()
    }
}

/// The first time of each record comes after the first time of each one before it in its shard.
pub fn assert_order(endpoints: &Endpoints, sent: &Sent, what: &str) {
    let mut first = BTreeMap::new();
    for (at, data) in handled_in_order(endpoints).into_iter().enumerate() {
        first.entry(data).or_insert(at);
    }
    for (shard, data) in &sent.0 {
        let handled: Vec<_> = data.iter().filter_map(|data| Some((*first.get(data)?, data))).collect();
        if let Some(pair) = handled.windows(2).find(|pair| pair[0].0 > pair[1].0) {
            panic!("{what}: {} of {shard} was handled before {}", pair[1].1, pair[0].1);
        }
    }
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

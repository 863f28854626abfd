//! The workers: processes of this same program, started, stopped and killed.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rokini_history::Process;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Lines of a worker's standard error that are kept.
const KEPT_LINES: usize = 20;

/// How workers are started.
#[derive(Debug)]
pub(crate) struct WorkerCommand {
    pub(crate) program: PathBuf,
    /// Arguments; the name of the worker is appended.
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The directory that keeps their standard error, a file each.
    pub(crate) logs: Option<PathBuf>,
}

/// Worker processes. Those that still run are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    command: WorkerCommand,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    name: String,
    child: Child,
    id: Option<u32>,
    state: State,
    stderr_lines: Arc<Mutex<VecDeque<String>>>,
}

/// What a worker process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// It does nothing (SIGSTOP).
    Frozen,
    /// It was asked to stop and has not ended yet.
    Stopping,
    /// It was killed and is not gone yet.
    Killed,
    /// It has ended.
    Ended {
        by: EndedBy,
        status: ExitStatus,
    },
}

/// What made a worker end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    Itself,
    Stop,
    Kill,
}

impl Fleet {
    pub(crate) fn new(command: WorkerCommand) -> Self {
        Self { command, workers: Vec::new() }
    }

    /// Starts one more worker, under the name of an earlier one or a new one. Its standard output is the caller's to read.
    pub(crate) fn start(&mut self, successor_of: Option<Process>) -> io::Result<(Process, ChildStdout)> {
        let process = Process(self.workers.len());
        let name = match successor_of {
            Some(earlier) => self.name(earlier).to_owned(),
            None => format!("worker-{}", process.0 + 1),
        };
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.arguments).arg(&name);
        // The user's own settings must not reach the workers: they would find another stream, table or account.
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("AWS_") || text.starts_with("ROKINI_") {
                command.env_remove(&variable);
            }
        }
        command.envs(self.command.environment.iter().map(|(variable, value)| (variable, value)));
        // In a group of its own, Ctrl-C in the terminal reaches only the demo, which then stops its workers in order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("the worker has no outputs"));
        };
        let stderr_lines = Arc::default();
        let log = self.command.logs.as_ref().map(|logs| {
            std::fs::create_dir_all(logs)?;
            std::fs::File::create(logs.join(format!("{}-{name}.log", process.0 + 1)))
        });
        tokio::spawn(listen(stderr, Arc::clone(&stderr_lines), log.transpose()?));
        let id = child.id();
        self.workers.push(Worker { name, child, id, state: State::Running, stderr_lines });
        Ok((process, stdout))
    }

    /// Asks a worker to stop (SIGTERM).
    pub(crate) fn stop(&mut self, process: Process) -> io::Result<()> {
        self.signal(process, Signal::TERM, State::Stopping)
    }

    /// Ends a worker at once (SIGKILL).
    pub(crate) fn kill(&mut self, process: Process) -> io::Result<()> {
        self.signal(process, Signal::KILL, State::Killed)
    }

    /// Freezes a worker (SIGSTOP).
    pub(crate) fn freeze(&mut self, process: Process) -> io::Result<()> {
        self.signal(process, Signal::STOP, State::Frozen)
    }

    /// Lets a frozen worker go on (SIGCONT).
    pub(crate) fn resume(&mut self, process: Process) -> io::Result<()> {
        self.signal(process, Signal::CONT, State::Running)
    }

    fn signal(&mut self, process: Process, signal: Signal, state: State) -> io::Result<()> {
        let worker = &mut self.workers[process.0];
        // Without an id the process was waited for already, and its number may be another one's.
        let pid = worker.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            kill_process(pid, signal)?;
            worker.state = state;
        }
        Ok(())
    }

    /// The processes that ended since the last call.
    pub(crate) fn ended(&mut self) -> io::Result<Vec<Process>> {
        let mut ended = Vec::new();
        for (n, worker) in self.workers.iter_mut().enumerate() {
            let by = match worker.state {
                State::Ended { .. } => continue,
                State::Running | State::Frozen => EndedBy::Itself,
                State::Stopping => EndedBy::Stop,
                State::Killed => EndedBy::Kill,
            };
            if let Some(status) = worker.child.try_wait()? {
                worker.state = State::Ended { by, status };
                ended.push(Process(n));
            }
        }
        Ok(ended)
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = Process> + use<> {
        (0..self.workers.len()).map(Process)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = Process> + '_ {
        self.processes().filter(|process| self.state(*process) == State::Running)
    }

    pub(crate) fn frozen(&self) -> impl Iterator<Item = Process> + '_ {
        self.processes().filter(|process| self.state(*process) == State::Frozen)
    }

    /// The latest of the processes that had this id.
    pub(crate) fn of_id(&self, id: u32) -> Option<Process> {
        self.workers.iter().rposition(|worker| worker.id == Some(id)).map(Process)
    }

    /// Whether every process is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.workers.iter().all(|worker| matches!(worker.state, State::Ended { .. }))
    }

    pub(crate) fn state(&self, process: Process) -> State {
        self.workers[process.0].state
    }

    pub(crate) fn name(&self, process: Process) -> &str {
        &self.workers[process.0].name
    }

    /// The last lines that a worker wrote to its standard error.
    pub(crate) fn stderr_lines(&self, process: Process) -> Vec<String> {
        let stderr_lines = self.workers[process.0].stderr_lines.lock();
        stderr_lines.iter().cloned().collect()
    }
}

async fn listen(
    stderr: impl AsyncRead + Unpin,
    stderr_lines: Arc<Mutex<VecDeque<String>>>,
    mut log: Option<std::fs::File>,
) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        if let Some(log) = &mut log {
            // A log that cannot be written is no reason to end a run.
            let _ = log.write_all(&[&line[..], b"\n"].concat());
        }
        let mut stderr_lines = stderr_lines.lock();
        if stderr_lines.len() == KEPT_LINES {
            stderr_lines.pop_front();
        }
        stderr_lines.push_back(String::from_utf8_lossy(&line).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    use super::*;
    use crate::demo::outputs::WorkerOutputs;

    /// Workers that are shell scripts.
    fn fleet(script: &str) -> Fleet {
        Fleet::new(WorkerCommand {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned(), "sh".to_owned()],
            environment: vec![("AWS_REGION", "nowhere".to_owned())],
            logs: None,
        })
    }

    async fn until_gone(fleet: &mut Fleet) {
        while !fleet.is_gone() {
            fleet.ended().unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_worker_gets_its_name_and_a_clean_environment() {
        let mut fleet = fleet("echo $1 $AWS_REGION; env | grep -c '^AWS_'");
        let mut outputs = WorkerOutputs::new();
        let (process, stdout) = fleet.start(None).unwrap();
        outputs.add(process, stdout).unwrap();
        let mut lines = Vec::new();
        while lines.len() < 2 {
            lines.extend(outputs.next().await.unwrap().lines);
        }
        assert_eq!(lines, [(process, b"worker-1 nowhere".to_vec()), (process, b"1".to_vec())]);
        assert_eq!(fleet.name(process), "worker-1");
        until_gone(&mut fleet).await;
    }

    #[tokio::test]
    async fn a_stop_a_kill_and_an_end_of_its_own_are_distinguished() {
        let mut fleet = fleet(
            "trap 'exit 0' TERM; echo ready; case $1 in *-3) echo why >&2; exit 7;; esac; read x <> /dev/fd/2",
        );
        let mut outputs = WorkerOutputs::new();
        for _ in 0..3 {
            let (process, stdout) = fleet.start(None).unwrap();
            outputs.add(process, stdout).unwrap();
        }
        let mut ready = 0;
        while ready < 3 {
            ready += outputs.next().await.unwrap().lines.len();
        }
        fleet.stop(Process(0)).unwrap();
        fleet.kill(Process(1)).unwrap();
        until_gone(&mut fleet).await;
        let ended = |process| match fleet.state(Process(process)) {
            State::Ended { by, status } => (by, status.code(), status.signal()),
            other => panic!("{other:?}"),
        };
        assert_eq!(ended(0), (EndedBy::Stop, Some(0), None));
        assert_eq!(ended(1), (EndedBy::Kill, None, Some(9)));
        assert_eq!(ended(2), (EndedBy::Itself, Some(7), None));
        while fleet.stderr_lines(Process(2)) != ["why"] {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_frozen_worker_does_nothing_until_it_goes_on_and_keeps_its_id() {
        let mut fleet = fleet("trap 'echo stopped; exit 0' TERM; echo ready; read x <> /dev/fd/2");
        let mut outputs = WorkerOutputs::new();
        let (process, stdout) = fleet.start(None).unwrap();
        outputs.add(process, stdout).unwrap();
        outputs.next().await.unwrap();
        let id = fleet.workers[0].child.id().unwrap();
        fleet.freeze(process).unwrap();
        assert_eq!((fleet.frozen().count(), fleet.running().count()), (1, 0));
        // It gets the signal only when it goes on.
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(200), outputs.next()).await.is_err());
        fleet.resume(process).unwrap();
        assert_eq!(outputs.next().await.unwrap().lines, [(process, b"stopped".to_vec())]);
        until_gone(&mut fleet).await;
        assert_eq!(fleet.of_id(id), Some(process));
        let (successor, _) = fleet.start(Some(process)).unwrap();
        assert_eq!((successor, fleet.name(successor)), (Process(1), "worker-1"));
    }

    #[tokio::test]
    async fn no_worker_outlives_the_fleet() {
        let mut fleet = fleet("echo ready; exec sleep 600");
        let mut outputs = WorkerOutputs::new();
        let (process, stdout) = fleet.start(None).unwrap();
        outputs.add(process, stdout).unwrap();
        outputs.next().await.unwrap();
        drop(fleet);
        // The pipe ends when the process does.
        let ended = async {
            while !outputs.is_empty() {
                outputs.round().unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the worker still runs");
    }
}

//! A process with user code: started in a group of its own, heard, ended, reaped.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rokini::lease::supervise;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::context::HandlerContext;
use crate::event::{Events, HandlerEvent, KillReason, OutputStream};
use crate::keeper::Keeper;
use crate::output::{Admission, LineReader, OutputLimiter};
use crate::settings::ProcessSettings;
use crate::starts::StartLimit;

/// A line that is longer comes in pieces.
const LONGEST_OUTPUT: usize = 16 << 10;
/// Longer than any message of a protocol: answers carry numbers, not data.
const LONGEST_MESSAGE: usize = 1 << 20;
/// Between SIGTERM and SIGKILL.
const TERMINATION: Duration = Duration::from_secs(1);

/// What becomes of the lines that a process writes to its standard output.
pub(crate) trait StdoutLines: Send + Sync + 'static {
    /// A line. Whether it is a message of the protocol; what is not is shown.
    fn line(&self, line: &[u8]) -> bool;

    /// Nothing more comes.
    fn closed(&self) {}
}

/// For processes whose standard output is only shown.
#[derive(Debug, Default)]
pub(crate) struct NoMessages;

impl StdoutLines for NoMessages {
    fn line(&self, _: &[u8]) -> bool {
        false
    }
}

/// What is needed to start processes.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    pub(crate) settings: Arc<ProcessSettings>,
    pub(crate) events: Events,
    pub(crate) tracker: TaskTracker,
    pub(crate) starts: StartLimit,
    keeper: Arc<OnceLock<Option<Keeper>>>,
}

/// What is known of a process by those who watch it.
struct Process {
    pid: u32,
    /// Since when it has had a shard.
    since: OnceLock<Instant>,
    group: Option<Pid>,
    /// The shard it works on.
    shard: Mutex<Option<Arc<str>>>,
    /// Whether it was asked to end.
    asked: AtomicBool,
    ended: watch::Sender<Option<ExitStatus>>,
    events: Events,
}

impl Process {
    fn shard(&self) -> Option<Arc<str>> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn signal(&self, signal: Signal) {
        if let (Some(group), None) = (self.group, *self.ended.borrow()) {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }

    fn kill(&self, reason: KillReason) {
        if self.ended.borrow().is_none() && !self.asked.swap(true, Ordering::AcqRel) {
            self.events.emit(&HandlerEvent::Killed { pid: self.pid, shard: self.shard(), reason });
        }
        self.signal(Signal::KILL);
    }
}

/// A process with user code. Dropped, it is ended by force with its whole group, and reaped.
pub(crate) struct Child<T> {
    process: Arc<Process>,
    ended: watch::Receiver<Option<ExitStatus>>,
    stdin: Option<ChildStdin>,
    /// Bytes written to its standard input.
    written: u64,
    /// What hears its standard output.
    pub(crate) stdout: Arc<T>,
}

impl Spawner {
    pub(crate) fn new(settings: ProcessSettings, context: &HandlerContext) -> Self {
        let events = Events::new(context.observer.clone());
        let starts = StartLimit::new(settings.starts_at_once);
        let (settings, keeper) = (Arc::new(settings), Arc::default());
        Self { settings, events, tracker: context.tracker.clone(), starts, keeper }
    }

    /// Does a part of what looks after handlers beside everything else. A panic of it is told, and gives `None`.
    pub(crate) fn guarded<T: Send + 'static>(
        &self,
        task: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let events = self.events.clone();
        self.tracker.spawn(async move { events.guard(task, work).await })
    }

    /// Starts a process.
    pub(crate) fn spawn<T: StdoutLines>(
        &self,
        stdout: Arc<T>,
        environment: &[(String, String)],
    ) -> io::Result<Child<T>> {
        let settings = &self.settings;
        let mut words = settings.launcher.iter().chain(&settings.command);
        let program = words.next().ok_or_else(|| io::Error::other("there is no program to start"))?;
        let mut command = Command::new(program);
        command.args(words).envs(settings.environment.iter().cloned()).envs(environment.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let keeper = self.keeper.get_or_init(|| {
            Keeper::start(&settings.keeper).unwrap_or_else(|error| {
                tracing::warn!(%error, "nothing ends what processes have started if this one is killed");
                None
            })
        });
        let mut child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        keeper.iter().for_each(|keeper| keeper.began(pid));
        let (ended, watching) = watch::channel(None);
        let process = Arc::new(Process {
            pid,
            since: OnceLock::new(),
            group: i32::try_from(pid).ok().and_then(Pid::from_raw),
            shard: Mutex::default(),
            asked: AtomicBool::new(false),
            ended,
            events: self.events.clone(),
        });
        self.events.emit(&HandlerEvent::Started { pid });
        let rate = (settings.output_lines_per_second, settings.output_bytes_per_second);
        let stdin = child.stdin.take();
        if let Some(from) = child.stderr.take() {
            let process = Arc::clone(&process);
            let shown = Output { process, stream: OutputStream::Stderr, rate };
            self.tracker.spawn(async move { shown.read_guarded(from, LONGEST_OUTPUT, &NoMessages).await });
        }
        if let Some(from) = child.stdout.take() {
            let (process, stdout) = (Arc::clone(&process), Arc::clone(&stdout));
            let shown = Output { process, stream: OutputStream::Stdout, rate };
            self.tracker.spawn(async move {
                shown.read_guarded(from, LONGEST_MESSAGE, &*stdout).await;
                stdout.closed();
            });
        }
        let (reaped, keeper) = (Arc::clone(&process), Arc::clone(&self.keeper));
        self.tracker.spawn(async move {
            let panicked = |error| reaped.events.panicked("process end", error);
            let kept = (child, Arc::clone(&reaped));
            supervise(kept, |(child, process)| Box::pin(reap(child, process)), panicked).await;
            if let Some(Some(keeper)) = keeper.get() {
                keeper.ended(reaped.pid);
            }
        });
        Ok(Child { process, ended: watching, stdin, written: 0, stdout })
    }
}

/// Waits for the end of a process, ends what it left behind in its group, and reaps all of it.
async fn reap(child: &mut tokio::process::Child, process: &Process) {
    let status = match child.wait().await {
        Ok(status) => status,
        Err(error) => {
            tracing::warn!(pid = process.pid, %error, "a process with user code could not be waited for");
            ExitStatus::default()
        }
    };
    if let Some(group) = process.group {
        let _ = kill_process_group(group, Signal::KILL);
        // As process 1 this process inherits them.
        while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
    }
    let asked = process.asked.load(Ordering::Acquire);
    process.events.emit(&HandlerEvent::Exited { pid: process.pid, shard: process.shard(), status, asked });
    process.ended.send_replace(Some(status));
}

/// Shows what a process writes.
struct Output {
    process: Arc<Process>,
    stream: OutputStream,
    /// Lines and bytes in a second.
    rate: (u32, u32),
}

impl Output {
    /// Reads to the end. A process whose output cannot be read any more is ended by force.
    async fn read_guarded(self, from: impl AsyncRead + Unpin, longest: usize, messages: &impl StdoutLines) {
        let (events, process) = (self.process.events.clone(), Arc::clone(&self.process));
        if events.guard("process output", self.read(from, longest, messages)).await.is_none() {
            process.kill(KillReason::Unwatched);
        }
    }

    async fn read(&self, from: impl AsyncRead + Unpin, longest: usize, messages: &impl StdoutLines) {
        let mut lines = LineReader::new(BufReader::with_capacity(64 << 10, from), longest);
        let mut limiter = OutputLimiter::new(self.rate.0, self.rate.1, Instant::now());
        let mut whole_before = true;
        // An error of a pipe is its end.
        while let Ok(Some(line)) = lines.next().await {
            let begins = std::mem::replace(&mut whole_before, line.whole);
            if begins {
                limiter.begin_line();
                if line.whole && messages.line(&line.bytes) {
                    continue;
                }
            }
            if !line.bytes.iter().all(u8::is_ascii_whitespace) {
                line.bytes.chunks(LONGEST_OUTPUT).for_each(|piece| self.show(piece, &mut limiter));
            }
        }
        self.suppressed(limiter.take_suppressed());
    }

    /// Shows a line, or a piece of it, if there is room for it.
    fn show(&self, piece: &[u8], limiter: &mut OutputLimiter) {
        match limiter.admit(piece.len(), Instant::now()) {
            Admission::Held => {}
            Admission::Cut(suppressed) => self.suppressed(suppressed),
            Admission::Shown(suppressed) => {
                self.suppressed(suppressed);
                self.process.events.emit(&HandlerEvent::Output {
                    pid: self.process.pid,
                    shard: self.process.shard(),
                    stream: self.stream,
                    line: String::from_utf8_lossy(piece).into_owned(),
                });
            }
        }
    }

    fn suppressed(&self, lines: u64) {
        if lines > 0 {
            let (pid, shard) = (self.process.pid, self.process.shard());
            self.process.events.emit(&HandlerEvent::OutputSuppressed { pid, shard, lines });
        }
    }
}

impl<T: Send + Sync> Child<T> {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid
    }

    /// How long ago it was given its first shard: how long it waited before that says nothing.
    pub(crate) fn age(&self) -> Duration {
        self.process.since.get().map(Instant::elapsed).unwrap_or_default()
    }

    /// It works on this shard from now on.
    pub(crate) fn assign(&self, shard: &str) {
        self.process.since.get_or_init(Instant::now);
        *self.process.shard.lock().unwrap_or_else(PoisonError::into_inner) = Some(shard.into());
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Whether it has ended and nobody asked it to.
    pub(crate) fn ended_by_itself(&self) -> bool {
        self.status().is_some() && !self.process.asked.load(Ordering::Acquire)
    }

    /// Waits until it has ended, and how. Cancel safe.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = self.ended.wait_for(Option::is_some).await.map(|status| *status);
        status.ok().flatten().unwrap_or_default()
    }

    /// As [`Child::ended`], for those who have no hold of it.
    pub(crate) fn watch(&self) -> ChildWatch {
        ChildWatch { process: Arc::clone(&self.process), ended: self.ended.clone() }
    }

    /// Writes to its standard input. Not cancel safe: a process that got half a line is of no use.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = stdin.write(rest).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += count as u64;
            rest = &rest[count..];
        }
        stdin.flush().await
    }

    /// Whether all that was written to it still lies in its standard input: it has looked at nothing. `false` where the system does
    /// not tell.
    pub(crate) fn has_read_nothing(&self) -> bool {
        #[cfg(target_os = "linux")]
        let unread = self.stdin.as_ref().and_then(|stdin| rustix::io::ioctl_fionread(stdin).ok());
        #[cfg(not(target_os = "linux"))]
        let unread = None;
        unread == Some(self.written)
    }

    /// Whether something can be written to it.
    pub(crate) fn has_stdin(&self) -> bool {
        self.stdin.is_some()
    }

    /// Closes its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Ends it by force.
    pub(crate) fn kill(&self, reason: KillReason) {
        self.process.kill(reason);
    }

    /// Asks one that does not read its standard input to end, and waits until it has, at last by force.
    pub(crate) async fn terminate(mut self, limit: Duration) -> ExitStatus {
        self.close_stdin();
        self.process.asked.store(true, Ordering::Release);
        self.process.signal(Signal::TERM);
        if let Ok(status) = timeout(limit, self.ended()).await {
            return status;
        }
        let (pid, shard, reason) = (self.pid(), self.process.shard(), KillReason::Stop(limit));
        self.process.events.emit(&HandlerEvent::Killed { pid, shard, reason });
        self.process.signal(Signal::KILL);
        self.ended().await
    }

    /// Closes its standard input and waits until it has ended, at last by force.
    pub(crate) async fn stop(mut self, limit: Duration) -> ExitStatus {
        self.close_stdin();
        self.process.asked.store(true, Ordering::Release);
        if let Ok(status) = timeout(limit, self.ended()).await {
            return status;
        }
        let (pid, shard, reason) = (self.pid(), self.process.shard(), KillReason::Stop(limit));
        self.process.events.emit(&HandlerEvent::Killed { pid, shard, reason });
        self.process.signal(Signal::TERM);
        if let Ok(status) = timeout(TERMINATION, self.ended()).await {
            return status;
        }
        self.process.signal(Signal::KILL);
        self.ended().await
    }
}

impl<T> Drop for Child<T> {
    fn drop(&mut self) {
        self.process.asked.store(true, Ordering::Release);
        self.process.signal(Signal::KILL);
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("pid", &self.process.pid).finish_non_exhaustive()
    }
}

/// Watches a process, and can end it.
#[derive(Clone)]
pub(crate) struct ChildWatch {
    process: Arc<Process>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl ChildWatch {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits until it has ended. Cancel safe.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = self.ended.wait_for(Option::is_some).await.map(|status| *status);
        status.ok().flatten().unwrap_or_default()
    }

    /// Ends it by force.
    pub(crate) fn kill(&self, reason: KillReason) {
        self.process.kill(reason);
    }
}

impl fmt::Debug for ChildWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildWatch").field("pid", &self.process.pid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::HandlerObserver;

    /// A reader with a defect.
    #[derive(Default)]
    struct Panics(AtomicBool);

    impl StdoutLines for Panics {
        fn line(&self, line: &[u8]) -> bool {
            panic!("{} is too much", String::from_utf8_lossy(line));
        }

        fn closed(&self) {
            self.0.store(true, Ordering::Release);
        }
    }

    /// Its own bound is the test's: a child that nobody ends lives for an hour.
    #[tokio::test]
    async fn a_process_whose_output_nobody_can_read_any_more_is_ended() {
        let settings = ProcessSettings::new(["sh", "-c", "echo a line; exec sleep 3600"]);
        let spawner = Spawner::new(settings, &HandlerContext::default());
        let mut child = spawner.spawn(Arc::new(Panics::default()), &[]).unwrap();
        let ended = timeout(Duration::from_secs(60), child.ended()).await.expect("it is ended");
        assert!(!ended.success());
        spawner.tracker.close();
        spawner.tracker.wait().await;
        assert!(child.stdout.0.load(Ordering::Acquire), "whoever waits for its answers hears of the end");
        assert_eq!(spawner.events.stats().killed, 1);
    }

    /// Counts what is shown, and the longest piece of it.
    #[derive(Default, Clone)]
    struct Shown(Arc<Mutex<(usize, usize, u64)>>);

    impl HandlerObserver for Shown {
        fn event(&self, event: &HandlerEvent) {
            let mut shown = self.0.lock().unwrap();
            match event {
                HandlerEvent::Output { line, .. } => {
                    *shown = (shown.0 + line.len(), shown.1.max(line.len()), shown.2);
                }
                HandlerEvent::OutputSuppressed { lines, .. } => shown.2 += lines,
                _ => {}
            }
        }
    }

    /// 100 MB on each stream: one line that never ends, or lines of 100 kB each.
    #[tokio::test]
    async fn m4_output_is_bounded_by_its_bytes_whatever_its_lines() {
        let endless = "head -c 100000000 /dev/zero | tr '\\0' x";
        let long = format!("{endless} | fold -w 100000");
        for program in [endless, &long] {
            let program = format!("{program} >&2; {program}");
            let shown = Shown::default();
            let context = HandlerContext::new(1).observer(shown.clone());
            let spawner = Spawner::new(ProcessSettings::new(["sh", "-c", &program]), &context);
            let begun = Instant::now();
            let mut child = spawner.spawn(Arc::new(NoMessages), &[]).unwrap();
            assert!(child.ended().await.success());
            spawner.tracker.close();
            spawner.tracker.wait().await;
            let (bytes, longest, held) = *shown.0.lock().unwrap();
            let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
            let most = 2 * ((64 << 10) * (10 + seconds) + LONGEST_OUTPUT);
            assert!(bytes > 1_000_000 && bytes <= most, "{bytes} bytes are shown, {most} may be");
            assert!(longest <= LONGEST_OUTPUT, "{longest}");
            assert!(held > 1 && held <= 2_000, "{held} lines are held back");
        }
    }
}

//! The run: one loop that reads the workers' lines, carries out the actions and records the history.

mod actions;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini::Retrieval;
use rokini_history::{Process, Put};
use rokini_lease::{GroupView, Incarnation, WorkerState};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::action::Action;
use super::chaos::Chaos;
use super::environment::{Environment, GROUP, STREAM, TABLE};
use super::event::RunEvent;
use super::fences::Fences;
use super::fleet::{EndedBy, Fleet, State, WorkerCommand};
use super::history::RunHistory;
use super::outputs::{Round, WorkerOutputs};
use super::picture::Picture;
use super::progress::Progress;
use super::report::{ChaosCounts, MoveLine, Report, Run};
use super::schedule::Schedule;
use super::snapshot::{Rates, Snapshot};
use super::timeline::Timeline;
use super::{producer, worker_line};
use crate::error::{CliError, Status};
use crate::stop::Stop;
use crate::text;

/// How often it is checked whether a process ended.
const CHECK_ENDED: Duration = Duration::from_millis(20);
/// What handling the rest may take after the last record was put, before it counts as lost.
const DRAIN: Duration = Duration::from_secs(10);
/// The same with chaos, beside twice the failover time: two calls that hang, with all their retries.
const DRAIN_WITH_CHAOS: Duration = Duration::from_secs(40);
/// The same after an interrupt: the user waits.
const DRAIN_INTERRUPTED: Duration = Duration::from_secs(2);
/// What a worker may take to hand over when it stops.
const HAND_OVER: Duration = Duration::from_secs(8);
/// What it may take altogether.
const STOP: Duration = Duration::from_secs(10);
/// Acknowledgements taken at once.
const PUTS: usize = 1024;

/// What a run is made of.
#[derive(Debug)]
pub(crate) struct RunPlan {
    pub(crate) schedule: Schedule,
    pub(crate) rate: u32,
    pub(crate) shards: u16,
    pub(crate) workers: u16,
    pub(crate) retrieval: Retrieval,
    /// Instead of the fixed schedule.
    pub(crate) chaos: Option<Chaos>,
    /// The directory that keeps what the workers write to their standard error.
    pub(crate) logs: Option<PathBuf>,
}

/// Which part of the run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConsumerPhase {
    /// The schedule goes on.
    Acting,
    /// No more records; the rest is being handled until then at the latest.
    Draining(Instant),
    /// All workers were asked to stop; they are killed if they still run then.
    Ending(Instant),
}

/// A run.
#[derive(Debug)]
pub(crate) struct Runner {
    plan: RunPlan,
    start: Instant,
    environment: Environment,
    fleet: Fleet,
    outputs: WorkerOutputs,
    history: RunHistory,
    rates: Rates,
    phase: ConsumerPhase,
    actions_done: usize,
    now: String,
    events: Vec<RunEvent>,
    /// Events already shown.
    shown: usize,
    /// Moves already among the events.
    moves_noted: usize,
    failures: Vec<String>,
    counts: ChaosCounts,
    /// Decides what chaos does to which worker.
    rng: StdRng,
    /// Workers that were killed and have no successor yet.
    unreplaced: VecDeque<Process>,
    /// Frozen workers, the first one first.
    frozen: VecDeque<Process>,
    fences: Fences,
    timeline: Timeline,
    interrupted: bool,
    views: watch::Receiver<Arc<GroupView>>,
    _following: DropGuard,
    puts: Option<mpsc::UnboundedReceiver<Put>>,
    producer: Option<JoinHandle<Result<(), CliError>>>,
    /// Dropping it ends the producer.
    quiet: DropGuard,
}

impl Runner {
    /// Starts the environment, the workers and the producer.
    pub(crate) async fn begin(plan: RunPlan, start: Instant) -> Result<Self, CliError> {
        let environment = Environment::open(plan.shards.into(), plan.chaos.as_ref()).await?;
        let (views, following) = environment.follow();
        let quiet = CancellationToken::new();
        let (sender, puts) = mpsc::unbounded_channel();
        let rate = (plan.rate, usize::from(plan.shards));
        let produce = producer::produce(environment.client().clone(), rate, start, quiet.clone(), sender);
        let mut runner = Self {
            fleet: Fleet::new(worker_command(&environment, &plan)?),
            start,
            environment,
            outputs: WorkerOutputs::new(),
            history: RunHistory::new(plan.schedule.failover()),
            rates: Rates::default(),
            phase: ConsumerPhase::Acting,
            actions_done: 0,
            now: "The workers start and share the shards.".to_owned(),
            events: Vec::new(),
            shown: 0,
            moves_noted: 0,
            failures: Vec::new(),
            counts: ChaosCounts::default(),
            rng: StdRng::seed_from_u64(plan.chaos.map_or(0, |chaos| chaos.seed)),
            unreplaced: VecDeque::new(),
            frozen: VecDeque::new(),
            fences: Fences::default(),
            timeline: Timeline::new(plan.schedule.end()),
            interrupted: false,
            views,
            _following: following,
            puts: Some(puts),
            producer: None,
            quiet: quiet.drop_guard(),
            plan,
        };
        for _ in 0..runner.plan.workers {
            runner.add_worker(None)?;
        }
        let (shards, workers) = (text::count(runner.plan.shards, "shard"), runner.plan.workers);
        runner.note("start", format!("{workers} workers were started on a stream of {shards}."));
        runner.producer = Some(tokio::spawn(produce));
        Ok(runner)
    }

    /// Runs to the end. The report is the result, good or bad; errors are for what kept the run from its end.
    pub(crate) async fn run(&mut self, progress: &mut Progress, stop: &Stop) -> Result<Report, CliError> {
        let closed = progress.closed();
        let mut snapshots = interval(progress.interval());
        snapshots.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut checks = interval(CHECK_ENDED);
        checks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(PUTS);
        while !self.fleet.is_gone() {
            let action = self.next_action();
            tokio::select! {
                round = self.outputs.next() => self.take(&round.map_err(|error| unreadable(&error))?),
                count = received(&mut self.puts, &mut batch) => {
                    batch.drain(..).for_each(|put| self.history.put(&put));
                    if count == 0 {
                        self.puts = None;
                        self.producer_ended().await;
                    }
                }
                () = until(action.map(|(at, _)| self.start + at)) => {
                    if let Some((_, action)) = action {
                        self.act(action).await;
                    }
                }
                _ = checks.tick() => {
                    self.note_ended()?;
                    self.advance()?;
                }
                _ = snapshots.tick() => progress.snapshot(&self.snapshot(), &self.events)?,
                error = progress.write() => return Err(error),
                () = stop.requested(), if !self.interrupted => self.interrupt(),
                () = closed.cancelled() => return Err(CliError::output(io::ErrorKind::BrokenPipe, "the reader is gone")),
            }
            self.observe_leases();
            self.show_events(progress)?;
        }
        // The processes are gone, so this reads everything they wrote.
        let round = self.outputs.round().map_err(|error| unreadable(&error))?;
        self.take(&round);
        // The producer was told to end; the records that the stream acknowledged count.
        while let Some(puts) = &mut self.puts {
            match puts.recv().await {
                Some(put) => self.history.put(&put),
                None => self.puts = None,
            }
        }
        self.show_events(progress)?;
        progress.snapshot(&self.snapshot(), &self.events)?;
        let report = self.report();
        progress.finish(&self.events, &report).await?;
        Ok(report)
    }

    /// The run as SVG.
    pub(crate) fn picture(&self, report: &Report) -> String {
        let RunPlan { rate, shards, workers, .. } = self.plan;
        let shards = text::count(shards, "shard");
        let title = format!("rokini demo: {workers} workers, {shards}, {rate} records a second");
        let end = self.events.last().map_or_else(|| self.plan.schedule.end(), |event| event.at);
        let end = end.max(self.timeline.lags.last().map_or(end, |(at, _)| *at));
        Picture { title, timeline: &self.timeline, events: &self.events, end, result: report.summary() }.svg()
    }

    /// Closes the endpoints. The workers are gone.
    pub(crate) async fn close(self) {
        let Self { environment, fleet, quiet, .. } = self;
        drop((fleet, quiet));
        environment.close().await;
    }

    /// The last lines of what each worker wrote to its standard error.
    pub(crate) fn worker_errors(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let lines = |process: Process| (self.fleet.name(process), self.fleet.stderr_lines(process));
        self.fleet.processes().map(lines).filter(|(_, lines)| !lines.is_empty())
    }

    fn report(&mut self) -> Report {
        let failures = std::mem::take(&mut self.failures);
        let run = Run {
            failover: self.plan.schedule.failover(),
            chaos: self.plan.chaos.map(|chaos| (chaos.seed, self.counts, self.environment.calls())),
            interrupted: self.interrupted,
        };
        let (findings, moves) = (self.history.records().findings(), self.history.moves());
        Report::new(&findings, moves, &|process| self.fleet.name(process), &run, failures)
    }

    fn snapshot(&mut self) -> Snapshot {
        let at = self.start.elapsed();
        let next = self.next_action().map(|(then, action)| {
            format!("{} in {} s.", action.announcement(), then.saturating_sub(at).as_secs() + 1)
        });
        let (view, times) = (Arc::clone(&self.views.borrow()), (at, self.plan.schedule.end()));
        let texts = (self.now.clone(), next);
        Snapshot::new(times, texts, self.history.records(), &view, &self.fleet, &mut self.rates)
    }

    fn next_action(&self) -> Option<(Duration, Action)> {
        let acting = self.phase == ConsumerPhase::Acting;
        self.plan.schedule.actions().get(self.actions_done).copied().filter(|_| acting)
    }

    fn note(&mut self, event: &'static str, text: String) {
        self.events.push(RunEvent::new(self.start.elapsed(), event, text));
    }

    /// Reads from the table of leases which worker owns which shard, and which was declared dead: that explains what
    /// is handled twice.
    fn observe_leases(&mut self) {
        if !self.views.has_changed().unwrap_or(false) {
            return;
        }
        let view = Arc::clone(&self.views.borrow_and_update());
        let at = self.start.elapsed();
        let works = |process| matches!(self.fleet.state(process), State::Running | State::Stopping);
        let alive = |name: &str| {
            self.fleet.processes().any(|process| self.fleet.name(process) == name && works(process))
        };
        let oldest = self.history.records().oldest_waiting();
        let lag = oldest.map_or(Duration::ZERO, |put| at.saturating_sub(put));
        self.timeline.take(at, &view, alive, lag);
        let mut rows: BTreeMap<Process, BTreeMap<Incarnation, bool>> = BTreeMap::new();
        for row in &view.workers {
            let process = row.process.as_ref().and_then(|mark| self.fleet.of_id(mark.pid));
            let Some(process) = process else { continue };
            let fenced = row.state == WorkerState::Fenced;
            rows.entry(process).or_default().insert(row.id.incarnation, fenced);
        }
        for process in self.fleet.processes() {
            let lives = matches!(self.fleet.state(process), State::Running | State::Frozen);
            let rows = rows.remove(&process).unwrap_or_default();
            if self.fences.observe(process, &rows, !lives) {
                self.history.fenced(process, at);
                self.counts.fences += u32::from(lives);
            }
        }
    }

    fn show_events(&mut self, progress: &mut Progress) -> Result<(), CliError> {
        for event in &self.events[self.shown..] {
            progress.event(event)?;
        }
        self.shown = self.events.len();
        Ok(())
    }

    fn take(&mut self, round: &Round) {
        for line in worker_line::read(round, self.start) {
            match line {
                Ok(delivery) => self.history.deliver(&delivery),
                Err(line) => self.failures.push(format!("A worker wrote a line that is no record: {line}")),
            }
        }
        let moves = &self.history.moves()[self.moves_noted..];
        for moved in moves {
            let line = MoveLine::new(moved, &|process| self.fleet.name(process));
            self.events.push(RunEvent::new(moved.at, "move", format!("{line}.")));
        }
        self.moves_noted += moves.len();
    }

    /// Notes the processes that ended.
    fn note_ended(&mut self) -> Result<(), CliError> {
        let ended = self.fleet.ended().map_err(|error| {
            CliError::new(Status::FAILED, "cannot learn whether a worker ended").because(&error)
        })?;
        for process in ended {
            let State::Ended { by, status } = self.fleet.state(process) else { continue };
            let name = self.fleet.name(process).to_owned();
            match by {
                EndedBy::Itself => {
                    let failure = format!("{name} ended by itself ({status}).");
                    self.note("failure", failure.clone());
                    self.failures.push(failure);
                    self.end()?;
                }
                EndedBy::Stop if !status.success() => {
                    self.failures.push(format!("{name} did not stop cleanly ({status})."));
                }
                EndedBy::Stop if self.phase == ConsumerPhase::Acting => {
                    self.note("stopped", format!("{name} has handed over its shards and ended."));
                }
                EndedBy::Stop | EndedBy::Kill => {}
            }
        }
        Ok(())
    }

    /// Goes to the next phase when the present one is over.
    fn advance(&mut self) -> Result<(), CliError> {
        match self.phase {
            ConsumerPhase::Draining(until) => {
                let handled = self.puts.is_none() && self.history.records().is_complete();
                if handled && (self.interrupted || self.ends_are_stored()) || Instant::now() >= until {
                    self.end()?;
                }
            }
            ConsumerPhase::Ending(until) if Instant::now() >= until => {
                for process in self.fleet.processes() {
                    if self.fleet.state(process) == State::Stopping {
                        self.failures.push(format!(
                            "{} did not stop within {} s.",
                            self.fleet.name(process),
                            STOP.as_secs()
                        ));
                        self.signal(process, Fleet::kill)?;
                    }
                }
            }
            ConsumerPhase::Acting | ConsumerPhase::Ending(_) => {}
        }
        Ok(())
    }

    /// Whether every shard that was split or merged is finished in the table too.
    fn ends_are_stored(&self) -> bool {
        let view = self.views.borrow();
        let finished = view.leases.iter().filter(|row| row.position.is_shard_end()).count();
        finished >= self.counts.closed()
    }

    fn drain(&mut self, at_most: Duration) {
        self.quiet_now();
        self.phase = ConsumerPhase::Draining(Instant::now() + at_most);
    }

    /// Ends the producer after the request under way.
    fn quiet_now(&mut self) {
        let successor = CancellationToken::new().drop_guard();
        drop(std::mem::replace(&mut self.quiet, successor));
    }

    /// Asks all workers to stop.
    fn end(&mut self) -> Result<(), CliError> {
        if matches!(self.phase, ConsumerPhase::Ending(_)) {
            return Ok(());
        }
        self.quiet_now();
        self.phase = ConsumerPhase::Ending(Instant::now() + STOP);
        self.now = "All workers stop.".to_owned();
        for process in self.fleet.frozen().collect::<Vec<_>>() {
            self.signal(process, Fleet::resume)?;
        }
        for process in self.fleet.running().collect::<Vec<_>>() {
            self.signal(process, Fleet::stop)?;
        }
        Ok(())
    }

    fn signal(
        &mut self,
        process: Process,
        send: fn(&mut Fleet, Process) -> io::Result<()>,
    ) -> Result<(), CliError> {
        send(&mut self.fleet, process).map_err(|error| {
            CliError::new(Status::FAILED, format!("cannot signal {}", self.fleet.name(process)))
                .because(&error)
        })
    }

    /// Ends the schedule early: what was put is handled and checked.
    fn fail(&mut self, failure: String) {
        self.note("failure", failure.clone());
        self.failures.push(failure);
        if self.phase == ConsumerPhase::Acting {
            self.now = "Something failed: the workers handle the rest and stop.".to_owned();
            self.drain(DRAIN_INTERRUPTED);
        }
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
        self.note(
            "interrupt",
            "Interrupted: the workers stop. A second interrupt ends the demo at once.".to_owned(),
        );
        if self.phase == ConsumerPhase::Acting {
            self.now = "Interrupted: the workers handle the rest and stop.".to_owned();
            self.drain(DRAIN_INTERRUPTED);
        }
    }

    async fn producer_ended(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        let failure = match producer.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => [vec![error.what], error.why].concat().join(": "),
            Err(error) => format!("The producer failed: {error}"),
        };
        self.fail(failure);
    }
}

fn worker_command(environment: &Environment, plan: &RunPlan) -> Result<WorkerCommand, CliError> {
    let schedule = &plan.schedule;
    let program = std::env::current_exe().map_err(|error| {
        CliError::new(Status::FAILED, "cannot find this program's own file").because(&error)
    })?;
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let timing = [
        ("--failover", millis(schedule.failover())),
        ("--heartbeat", millis(schedule.heartbeat())),
        ("--shutdown-deadline", millis(HAND_OVER)),
    ];
    let fixed = [
        "consume",
        STREAM,
        "--json",
        "--log-format",
        "text",
        "--group",
        GROUP,
        "--table",
        TABLE,
        "--create-table",
    ];
    let fixed = fixed.into_iter().map(str::to_owned);
    let timing = timing.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
    // Handlers that take time and fail, and positions that are stored often: most kills then fall between two of the steps
    // that a record takes.
    let chaos = plan.chaos.map(|_| {
        let interval = millis(schedule.failover() / 10);
        ["--chaos".to_owned(), "--checkpoint-interval".to_owned(), interval]
    });
    let chaos = chaos.into_iter().flatten();
    let retrieval = ["--set".to_owned(), format!("retrieval={}", plan.retrieval)];
    let arguments =
        fixed.chain(timing).chain(chaos).chain(retrieval).chain(["--worker".to_owned()]).collect();
    Ok(WorkerCommand { program, arguments, environment: environment.environment(), logs: plan.logs.clone() })
}

fn unreadable(error: &io::Error) -> CliError {
    CliError::new(Status::FAILED, "cannot read what a worker writes").because(error)
}

/// Waits for acknowledgements; zero when there will be none any more. Never returns without a receiver. Cancel safe.
async fn received(puts: &mut Option<mpsc::UnboundedReceiver<Put>>, batch: &mut Vec<Put>) -> usize {
    match puts {
        Some(puts) => puts.recv_many(batch, PUTS).await,
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

//! The run: one loop that reads the workers' lines, carries out the script and keeps the ledger.

mod act;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{GroupView, Incarnation, WorkerState};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::board::{Board, Rates};
use super::fences::Fences;
use super::fleet::{Fleet, Recipe, State, Told};
use super::ledger::{Ledger, Process, Put};
use super::pipes::{Pass, Pipes};
use super::report::{Deeds, Moved, Report, Run};
use super::show::{Event, Show};
use super::stage::{GROUP, STREAM, Stage, TABLE};
use super::timetable::{Scene, Timetable};
use super::weather::Weather;
use super::{producer, record};
use crate::error::{CliError, Status};
use crate::stop::Stop;

/// How often it is looked whether a process ended.
const REAP: Duration = Duration::from_millis(20);
/// What handling the rest may take after the last record was put, before it counts as lost.
const DRAIN: Duration = Duration::from_secs(10);
/// The same in bad weather, beside twice the failover time: two calls that hang, with all their tries.
const DRAIN_IN_WEATHER: Duration = Duration::from_secs(40);
/// The same after an interrupt: somebody waits.
const DRAIN_INTERRUPTED: Duration = Duration::from_secs(2);
/// What a worker may take to hand over when it stops.
const HAND_OVER: Duration = Duration::from_secs(8);
/// What it may take altogether.
const STOP: Duration = Duration::from_secs(10);
/// Acknowledgements taken at once.
const PUTS: usize = 1024;

/// What a run is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) timetable: Timetable,
    pub(crate) rate: u32,
    pub(crate) shards: u16,
    pub(crate) workers: u16,
    /// Instead of the script.
    pub(crate) weather: Option<Weather>,
    /// Where everything that the workers say is kept.
    pub(crate) logs: Option<PathBuf>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The script goes on.
    Acting,
    /// No more records; the rest is being handled until then at the latest.
    Draining(Instant),
    /// All workers were told to stop; they are killed if they still run then.
    Ending(Instant),
}

/// A run.
#[derive(Debug)]
pub(crate) struct Play {
    plan: Plan,
    start: Instant,
    stage: Stage,
    fleet: Fleet,
    pipes: Pipes,
    ledger: Ledger,
    rates: Rates,
    phase: Phase,
    scenes_done: usize,
    now: String,
    events: Vec<Event>,
    /// Events already shown.
    told: usize,
    /// Moves already among the events.
    moves_told: usize,
    mishaps: Vec<String>,
    deeds: Deeds,
    /// Decides who is hit by the weather.
    rng: StdRng,
    /// Workers that were killed and have no successor yet.
    vacancies: VecDeque<Process>,
    /// Workers that stand still, the first one first.
    frozen: VecDeque<Process>,
    fences: Fences,
    interrupted: bool,
    views: watch::Receiver<Arc<GroupView>>,
    _following: DropGuard,
    puts: Option<mpsc::UnboundedReceiver<Put>>,
    producer: Option<JoinHandle<Result<(), CliError>>>,
    /// Dropping it ends the producer.
    quiet: DropGuard,
}

impl Play {
    /// Opens the stage, starts the workers and the producer.
    pub(crate) async fn begin(plan: Plan, start: Instant) -> Result<Self, CliError> {
        let stage = Stage::open(plan.shards.into(), plan.weather.as_ref()).await?;
        let (views, following) = stage.follow();
        let quiet = CancellationToken::new();
        let (sender, puts) = mpsc::unbounded_channel();
        let rate = (plan.rate, usize::from(plan.shards));
        let produce = producer::produce(stage.client().clone(), rate, start, quiet.clone(), sender);
        let mut play = Self {
            fleet: Fleet::new(recipe(&stage, &plan)?),
            start,
            stage,
            pipes: Pipes::new(),
            ledger: Ledger::default(),
            rates: Rates::default(),
            phase: Phase::Acting,
            scenes_done: 0,
            now: "the workers start and share the shards".to_owned(),
            events: Vec::new(),
            told: 0,
            moves_told: 0,
            mishaps: Vec::new(),
            deeds: Deeds::default(),
            rng: StdRng::seed_from_u64(plan.weather.map_or(0, |weather| weather.seed)),
            vacancies: VecDeque::new(),
            frozen: VecDeque::new(),
            fences: Fences::default(),
            interrupted: false,
            views,
            _following: following,
            puts: Some(puts),
            producer: None,
            quiet: quiet.drop_guard(),
            plan,
        };
        for _ in 0..play.plan.workers {
            play.add_worker(None)?;
        }
        let (shards, workers) = (play.plan.shards, play.plan.workers);
        let shards = if shards == 1 { "1 shard".to_owned() } else { format!("{shards} shards") };
        play.note("start", format!("{workers} workers started on a stream of {shards}"));
        play.producer = Some(tokio::spawn(produce));
        Ok(play)
    }

    /// Plays to the end. The report is the result, good or bad; errors are for what kept it from being played.
    pub(crate) async fn run(&mut self, show: &mut Show, stop: &Stop) -> Result<Report, CliError> {
        let closed = show.closed();
        let mut looks = interval(show.interval());
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut reaps = interval(REAP);
        reaps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::with_capacity(PUTS);
        while !self.fleet.is_gone() {
            let scene = self.next_scene();
            tokio::select! {
                pass = self.pipes.next() => self.take(&pass.map_err(|error| unreadable(&error))?),
                count = received(&mut self.puts, &mut batch) => {
                    batch.drain(..).for_each(|put| self.ledger.put(&put));
                    if count == 0 {
                        self.puts = None;
                        self.producer_ended().await;
                    }
                }
                () = until(scene.map(|(at, _)| self.start + at)) => {
                    if let Some((_, scene)) = scene {
                        self.scenes_done += 1;
                        let done = self.act(scene).await;
                        if let Err(error) = done {
                            let why = [vec![error.what], error.why].concat().join(": ");
                            if self.plan.weather.is_some() {
                                // There is more weather to come.
                                self.deeds.failed += 1;
                                self.note("missed", why);
                            } else {
                                self.fail(why);
                            }
                        }
                    }
                }
                _ = reaps.tick() => {
                    self.reap()?;
                    self.advance()?;
                }
                _ = looks.tick() => show.look(&self.board(), &self.events)?,
                error = show.write() => return Err(error),
                () = stop.requested(), if !self.interrupted => self.interrupt(),
                () = closed.cancelled() => return Err(CliError::output(io::ErrorKind::BrokenPipe, "the reader is gone")),
            }
            self.notice_fences();
            self.tell(show)?;
        }
        // The processes are gone, so this reads everything they wrote.
        let pass = self.pipes.pass().map_err(|error| unreadable(&error))?;
        self.take(&pass);
        // The producer is told to end; what the stream took from it counts.
        while let Some(puts) = &mut self.puts {
            match puts.recv().await {
                Some(put) => self.ledger.put(&put),
                None => self.puts = None,
            }
        }
        self.tell(show)?;
        show.look(&self.board(), &self.events)?;
        let report = self.report();
        show.finish(&self.events, &report).await?;
        Ok(report)
    }

    /// Takes the endpoints down. The workers are gone.
    pub(crate) async fn close(self) {
        let Self { stage, fleet, quiet, .. } = self;
        drop((fleet, quiet));
        stage.close().await;
    }

    /// What workers said on their standard error that ended as they should not.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let said = |process: Process| (self.fleet.name(process), self.fleet.said(process));
        self.fleet.processes().map(said).filter(|(_, said)| !said.is_empty())
    }

    fn report(&mut self) -> Report {
        let mishaps = std::mem::take(&mut self.mishaps);
        let run = Run {
            failover: self.plan.timetable.failover(),
            weather: self.plan.weather.map(|weather| (weather.seed, self.deeds, self.stage.calls())),
            interrupted: self.interrupted,
        };
        Report::new(&self.ledger.proof(), |process| self.fleet.name(process), &run, mishaps)
    }

    fn board(&mut self) -> Board {
        let at = self.start.elapsed();
        let next = self.next_scene().map(|(then, scene)| {
            let what = match scene {
                Scene::Split => "a shard is split",
                Scene::Stop => "a worker is asked to stop",
                Scene::Kill => "another worker is killed",
                Scene::Join => "a new worker joins",
                Scene::Reshard => "shards are split or merged",
                Scene::Freeze => "a worker stands still",
                Scene::Thaw => "it goes on",
                Scene::Replace { .. } => "the killed worker is replaced",
                Scene::Quiet => "the last record",
            };
            format!("{what} in {} s", then.saturating_sub(at).as_secs() + 1)
        });
        let (view, times) = (Arc::clone(&self.views.borrow()), (at, self.plan.timetable.end()));
        Board::new(times, (self.now.clone(), next), &self.ledger, &view, &self.fleet, &mut self.rates)
    }

    fn next_scene(&self) -> Option<(Duration, Scene)> {
        let acting = self.phase == Phase::Acting;
        self.plan.timetable.scenes().get(self.scenes_done).copied().filter(|_| acting)
    }

    fn note(&mut self, event: &'static str, text: String) {
        self.events.push(Event::new(self.start.elapsed(), event, text));
    }

    /// Learns from the table of leases who was declared dead: that explains what is handled twice.
    fn notice_fences(&mut self) {
        if !self.views.has_changed().unwrap_or(false) {
            return;
        }
        let view = Arc::clone(&self.views.borrow_and_update());
        let at = self.start.elapsed();
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
            if self.fences.notice(process, &rows, !lives) {
                self.ledger.fenced(process, at);
                self.deeds.fences += u32::from(lives);
            }
        }
    }

    fn tell(&mut self, show: &mut Show) -> Result<(), CliError> {
        for event in &self.events[self.told..] {
            show.event(event)?;
        }
        self.told = self.events.len();
        Ok(())
    }

    fn take(&mut self, pass: &Pass) {
        for line in record::read(pass, self.start) {
            match line {
                Ok(seen) => self.ledger.seen(&seen),
                Err(line) => self.mishaps.push(format!("a worker wrote a line that is no record: {line}")),
            }
        }
        let moves = &self.ledger.so_far().moves[self.moves_told..];
        for moved in moves {
            let text = Moved::new(moved, |process| self.fleet.name(process)).to_string();
            self.events.push(Event::new(moved.at, "move", text));
        }
        self.moves_told += moves.len();
    }

    /// Looks after processes that ended.
    fn reap(&mut self) -> Result<(), CliError> {
        let ended = self.fleet.ended().map_err(|error| {
            CliError::new(Status::FAILED, "cannot learn whether a worker ended").because(&error)
        })?;
        for process in ended {
            let State::Ended { told, status } = self.fleet.state(process) else { continue };
            let name = self.fleet.name(process).to_owned();
            match told {
                Told::Nothing => {
                    self.mishaps.push(format!("{name} ended by itself ({status})"));
                    self.note("failure", format!("{name} ended by itself ({status})"));
                    self.end()?;
                }
                Told::Stop if !status.success() => {
                    self.mishaps.push(format!("{name} did not stop cleanly ({status})"));
                }
                Told::Stop if self.phase == Phase::Acting => {
                    self.note("stopped", format!("{name} has handed over and ended"));
                }
                Told::Stop | Told::Kill => {}
            }
        }
        Ok(())
    }

    /// Goes to the next phase when the present one is over.
    fn advance(&mut self) -> Result<(), CliError> {
        match self.phase {
            Phase::Draining(until) => {
                let handled = self.puts.is_none() && self.ledger.is_drained();
                if handled && (self.interrupted || self.ends_are_stored()) || Instant::now() >= until {
                    self.end()?;
                }
            }
            Phase::Ending(until) if Instant::now() >= until => {
                for process in self.fleet.processes() {
                    if self.fleet.state(process) == State::Stopping {
                        self.mishaps.push(format!(
                            "{} did not stop within {} s",
                            self.fleet.name(process),
                            STOP.as_secs()
                        ));
                        self.signal(process, Fleet::kill)?;
                    }
                }
            }
            Phase::Acting | Phase::Ending(_) => {}
        }
        Ok(())
    }

    /// Whether every shard that was split or merged is finished in the table too.
    fn ends_are_stored(&self) -> bool {
        let view = self.views.borrow();
        let finished = view.leases.iter().filter(|row| row.position.is_shard_end()).count();
        finished >= self.deeds.closed()
    }

    fn drain(&mut self, at_most: Duration) {
        self.quiet_now();
        self.phase = Phase::Draining(Instant::now() + at_most);
    }

    /// Ends the producer after the request under way.
    fn quiet_now(&mut self) {
        let successor = CancellationToken::new().drop_guard();
        drop(std::mem::replace(&mut self.quiet, successor));
    }

    /// Tells all workers to stop.
    fn end(&mut self) -> Result<(), CliError> {
        if matches!(self.phase, Phase::Ending(_)) {
            return Ok(());
        }
        self.quiet_now();
        self.phase = Phase::Ending(Instant::now() + STOP);
        self.now = "all workers stop".to_owned();
        for process in self.fleet.frozen().collect::<Vec<_>>() {
            self.signal(process, Fleet::thaw)?;
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

    /// Gives the script up: what is there is handled and judged.
    fn fail(&mut self, mishap: String) {
        self.note("failure", mishap.clone());
        self.mishaps.push(mishap);
        if self.phase == Phase::Acting {
            self.now = "something failed: the workers handle the rest and stop".to_owned();
            self.drain(DRAIN_INTERRUPTED);
        }
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
        self.note("interrupt", "interrupted: the workers stop; once more ends at once".to_owned());
        if self.phase == Phase::Acting {
            self.now = "interrupted: the workers handle the rest and stop".to_owned();
            self.drain(DRAIN_INTERRUPTED);
        }
    }

    async fn producer_ended(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        let mishap = match producer.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => [vec![error.what], error.why].concat().join(": "),
            Err(error) => format!("the producer failed: {error}"),
        };
        self.fail(mishap);
    }
}

fn recipe(stage: &Stage, plan: &Plan) -> Result<Recipe, CliError> {
    let timetable = &plan.timetable;
    let program = std::env::current_exe().map_err(|error| {
        CliError::new(Status::FAILED, "cannot find this program's own file").because(&error)
    })?;
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let timing = [
        ("--failover", millis(timetable.failover())),
        ("--heartbeat", millis(timetable.heartbeat())),
        ("--shutdown-deadline", millis(HAND_OVER)),
    ];
    let fixed = ["consume", STREAM, "--json", "--group", GROUP, "--table", TABLE, "--create-table"];
    let fixed = fixed.into_iter().map(str::to_owned);
    let timing = timing.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
    // Handlers that take time and fail, and positions that are stored often: most kills then fall between two of the steps
    // that a record takes.
    let chaos = plan.weather.map(|_| {
        let interval = millis(timetable.failover() / 10);
        ["--chaos".to_owned(), "--checkpoint-interval".to_owned(), interval]
    });
    let chaos = chaos.into_iter().flatten();
    let arguments = fixed.chain(timing).chain(chaos).chain(["--worker".to_owned()]).collect();
    Ok(Recipe { program, arguments, environment: stage.environment(), logs: plan.logs.clone() })
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

//! What is done to the workers and the stream.

use std::io;
use std::sync::Arc;

use rand::seq::IndexedRandom;
use rokini_history::Process;

use super::{DRAIN, DRAIN_WITH_CHAOS, Runner};
use crate::demo::action::Action;
use crate::demo::chaos::Reshard;
use crate::demo::fleet::Fleet;
use crate::demo::format::shard_number;
use crate::demo::moves::MoveCause;
use crate::demo::snapshot::held;
use crate::error::{CliError, Status};

/// The process and the shards that it holds with their epochs.
type Target = (Process, Vec<(String, u64)>);

impl Runner {
    /// Carries out the next action of the schedule. What could not be done is noted.
    pub(super) async fn act(&mut self, action: Action) {
        self.actions_done += 1;
        let Err(error) = self.carry_out(action).await else { return };
        let why = [vec![error.what], error.why].concat().join(": ");
        if self.plan.chaos.is_some() {
            // There is more to come.
            self.counts.failed += 1;
            self.note("missed", why);
        } else {
            self.fail(why);
        }
    }

    async fn carry_out(&mut self, action: Action) -> Result<(), CliError> {
        match action {
            Action::Split => {
                let shard = self.environment.split().await?;
                let shard = shard_number(&shard);
                self.note("split", format!("Shard {shard} was split in two."));
                self.now = format!("Shard {shard} was split: its halves follow once all of it is handled.");
            }
            Action::Stop => {
                if let Some(name) = self.end_worker(MoveCause::Stop).await? {
                    self.now = format!("{name} stops: it hands its shards over.");
                }
            }
            Action::Kill => {
                let failover = self.plan.schedule.failover().as_secs_f64();
                if let Some(name) = self.end_worker(MoveCause::Kill).await? {
                    self.now = format!(
                        "{name} was killed: its shards come back after the failover time of {failover} s."
                    );
                }
            }
            Action::Join => {
                let process = self.add_worker(None)?;
                let name = self.fleet.name(process).to_owned();
                self.note("join", format!("{name} was started."));
                self.now = format!("{name} joins: the shards are balanced anew.");
            }
            Action::Quiet => {
                self.note("quiet", "No more records are put.".to_owned());
                self.now = "No more records are put: the workers handle the rest.".to_owned();
                let left = self.plan.schedule.end().saturating_sub(self.start.elapsed());
                let least = match self.plan.chaos {
                    Some(_) => self.plan.schedule.failover() * 2 + DRAIN_WITH_CHAOS,
                    None => DRAIN,
                };
                self.drain(left.max(least));
            }
            Action::Reshard => self.reshard().await?,
            Action::Freeze => self.freeze().await?,
            Action::Resume => self.resume()?,
            Action::Replace { same_name } => self.replace(same_name)?,
        }
        Ok(())
    }

    pub(super) fn add_worker(&mut self, successor_of: Option<Process>) -> Result<Process, CliError> {
        let failed =
            |error: &io::Error| CliError::new(Status::FAILED, "cannot start a worker").because(error);
        let (process, stdout) = self.fleet.start(successor_of).map_err(|error| failed(&error))?;
        self.outputs.add(process, stdout).map_err(|error| failed(&error))?;
        Ok(process)
    }

    /// The worker that the next action is about.
    async fn target(&mut self) -> Result<Option<Target>, CliError> {
        let view = match self.plan.chaos {
            // The latest reading will do, so that an overloaded host does not end a long run.
            Some(_) => Arc::clone(&self.views.borrow()),
            None => Arc::new(self.environment.leases().await?),
        };
        let running: Vec<Process> = self.fleet.running().collect();
        let count = |process: &Process| held(&view, self.fleet.name(*process)).count();
        let target = match self.plan.chaos {
            // One at least goes on.
            Some(_) if running.len() < 2 => None,
            Some(_) => running.choose(&mut self.rng).copied(),
            // The one that holds most; of several, the first one.
            None => running.into_iter().rev().max_by_key(count),
        };
        let shards = |target: Process| {
            let held = held(&view, self.fleet.name(target));
            held.map(|row| (row.key.shard.to_string(), row.epoch.0)).collect()
        };
        Ok(target.map(|target| (target, shards(target))))
    }

    /// Stops or kills a worker; returns its name.
    async fn end_worker(&mut self, cause: MoveCause) -> Result<Option<String>, CliError> {
        let Some((target, shards)) = self.target().await? else {
            return match self.plan.chaos {
                Some(_) => Ok(None),
                None => Err(CliError::new(Status::FAILED, "no worker is left to stop")),
            };
        };
        let (event, how, send): (_, _, fn(&mut Fleet, Process) -> io::Result<()>) = match cause {
            MoveCause::Kill => ("kill", "killed (SIGKILL)", Fleet::kill),
            _ => ("stop", "asked to stop (SIGTERM)", Fleet::stop),
        };
        self.signal(target, send)?;
        if cause == MoveCause::Kill {
            self.counts.kills += 1;
            self.unreplaced.push_back(target);
        }
        let name = self.fleet.name(target).to_owned();
        self.record_departure(target, cause, event, &format!("{name} was {how}"), &shards);
        Ok(Some(name))
    }

    /// Notes what was done to a worker, and what it held.
    fn record_departure(
        &mut self,
        target: Process,
        cause: MoveCause,
        event: &'static str,
        what: &str,
        shards: &[(String, u64)],
    ) {
        let list: Vec<_> = shards.iter().map(|(shard, _)| shard_number(shard)).collect();
        let text = match list.len() {
            0 => format!("{what}; it held no shard."),
            1 => format!("{what}; it held shard {}.", list[0]),
            _ => format!("{what}; it held shards {}.", list.join(", ")),
        };
        let held = shards.iter().map(|(shard, epoch)| (shard.as_str(), *epoch));
        self.history.left(target, cause, self.start.elapsed(), held);
        self.note(event, text);
    }

    /// Freezes a worker.
    async fn freeze(&mut self) -> Result<(), CliError> {
        let Some((target, shards)) = self.target().await? else { return Ok(()) };
        self.signal(target, Fleet::freeze)?;
        self.counts.freezes += 1;
        self.frozen.push_back(target);
        let name = self.fleet.name(target).to_owned();
        self.record_departure(
            target,
            MoveCause::Freeze,
            "freeze",
            &format!("{name} was frozen (SIGSTOP)"),
            &shards,
        );
        self.now = format!("{name} is frozen: if that lasts, the others take over.");
        Ok(())
    }

    fn resume(&mut self) -> Result<(), CliError> {
        let Some(process) = self.frozen.pop_front() else { return Ok(()) };
        self.history.resumed(process, self.start.elapsed());
        self.signal(process, Fleet::resume)?;
        let name = self.fleet.name(process).to_owned();
        self.note("resume", format!("{name} goes on (SIGCONT)."));
        self.now = format!("{name} goes on.");
        Ok(())
    }

    fn replace(&mut self, same_name: bool) -> Result<(), CliError> {
        let Some(killed) = self.unreplaced.pop_front() else { return Ok(()) };
        let process = self.add_worker(same_name.then_some(killed))?;
        let name = self.fleet.name(process).to_owned();
        let text = match same_name {
            true => format!("{name} was started again under its name."),
            false => format!("{name} was started in place of {}.", self.fleet.name(killed)),
        };
        self.note("join", text);
        self.now = format!("{name} joins: the shards are balanced anew.");
        Ok(())
    }

    async fn reshard(&mut self) -> Result<(), CliError> {
        let text = match self.environment.reshard(self.plan.shards.into(), &mut self.rng).await? {
            Reshard::Split { shard, .. } => {
                self.counts.splits += 1;
                format!("Shard {} was split in two.", shard_number(&shard))
            }
            Reshard::Merge { shard, with } => {
                self.counts.merges += 1;
                format!("Shards {} and {} were merged.", shard_number(&shard), shard_number(&with))
            }
        };
        self.note("reshard", text);
        Ok(())
    }
}

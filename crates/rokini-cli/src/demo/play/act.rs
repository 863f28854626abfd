//! What is done to the workers and the stream.

use std::io;
use std::sync::Arc;

use rand::seq::IndexedRandom;

use super::{DRAIN, DRAIN_IN_WEATHER, Play};
use crate::demo::board::{held, short};
use crate::demo::fleet::Fleet;
use crate::demo::ledger::{Cause, Process};
use crate::demo::timetable::Scene;
use crate::demo::weather::Reshard;
use crate::error::{CliError, Status};

impl Play {
    pub(super) async fn act(&mut self, scene: Scene) -> Result<(), CliError> {
        match scene {
            Scene::Split => {
                let shard = self.stage.split().await?;
                let shard = short(&shard);
                self.note("split", format!("shard {shard} was split in two"));
                self.now = format!("shard {shard} was split: its halves follow once all of it is handled");
            }
            Scene::Stop => {
                if let Some(name) = self.dismiss(Cause::Stop).await? {
                    self.now = format!("{name} stops: it hands its shards over");
                }
            }
            Scene::Kill => {
                let failover = self.plan.timetable.failover().as_secs_f64();
                if let Some(name) = self.dismiss(Cause::Kill).await? {
                    self.now = format!(
                        "{name} was killed: its shards come back after the failover time, {failover} s"
                    );
                }
            }
            Scene::Join => {
                let process = self.add_worker(None)?;
                let name = self.fleet.name(process).to_owned();
                self.note("join", format!("{name} was started"));
                self.now = format!("{name} joins: the shards are spread anew");
            }
            Scene::Quiet => {
                self.note("quiet", "no more records are put".to_owned());
                self.now = "no more records: the workers handle the rest".to_owned();
                let left = self.plan.timetable.end().saturating_sub(self.start.elapsed());
                let least = match self.plan.weather {
                    Some(_) => self.plan.timetable.failover() * 2 + DRAIN_IN_WEATHER,
                    None => DRAIN,
                };
                self.drain(left.max(least));
            }
            Scene::Reshard => self.reshard().await?,
            Scene::Freeze => self.freeze().await?,
            Scene::Thaw => self.thaw()?,
            Scene::Replace { same_name } => self.replace(same_name)?,
        }
        Ok(())
    }

    pub(super) fn add_worker(&mut self, successor_of: Option<Process>) -> Result<Process, CliError> {
        let failed =
            |error: &io::Error| CliError::new(Status::FAILED, "cannot start a worker").because(error);
        let (process, stdout) = self.fleet.start(successor_of).map_err(|error| failed(&error))?;
        self.pipes.add(process, stdout).map_err(|error| failed(&error))?;
        Ok(process)
    }

    /// The worker that the script or the weather hits, and the shards that it holds with their epochs.
    async fn victim(&mut self) -> Result<Option<(Process, Vec<(String, u64)>)>, CliError> {
        let view = match self.plan.weather {
            // The latest look does, so that an overloaded host does not end a long run.
            Some(_) => Arc::clone(&self.views.borrow()),
            None => Arc::new(self.stage.leases().await?),
        };
        let running: Vec<Process> = self.fleet.running().collect();
        let count = |process: &Process| held(&view, self.fleet.name(*process)).count();
        let victim = match self.plan.weather {
            // One at least goes on.
            Some(_) if running.len() < 2 => None,
            Some(_) => running.choose(&mut self.rng).copied(),
            // The one that holds most; of several, the first one.
            None => running.into_iter().rev().max_by_key(count),
        };
        let shards = |victim: Process| {
            let held = held(&view, self.fleet.name(victim));
            held.map(|row| (row.key.shard.to_string(), row.epoch.0)).collect()
        };
        Ok(victim.map(|victim| (victim, shards(victim))))
    }

    /// Stops or kills a worker.
    async fn dismiss(&mut self, cause: Cause) -> Result<Option<String>, CliError> {
        let Some((victim, shards)) = self.victim().await? else {
            return match self.plan.weather {
                Some(_) => Ok(None),
                None => Err(CliError::new(Status::FAILED, "no worker is left to stop")),
            };
        };
        let (event, how, send): (_, _, fn(&mut Fleet, Process) -> io::Result<()>) = match cause {
            Cause::Kill => ("kill", "killed (SIGKILL)", Fleet::kill),
            _ => ("stop", "asked to stop (SIGTERM)", Fleet::stop),
        };
        self.signal(victim, send)?;
        if cause == Cause::Kill {
            self.deeds.kills += 1;
            self.vacancies.push_back(victim);
        }
        let name = self.fleet.name(victim).to_owned();
        self.hit(victim, cause, event, &format!("{name} was {how}"), &shards);
        Ok(Some(name))
    }

    /// Writes down that a worker was hit, and what it held.
    fn hit(
        &mut self,
        victim: Process,
        cause: Cause,
        event: &'static str,
        what: &str,
        shards: &[(String, u64)],
    ) {
        let list: Vec<_> = shards.iter().map(|(shard, _)| short(shard)).collect();
        let text = match list.len() {
            0 => format!("{what}; it held no shard"),
            1 => format!("{what}; it held shard {}", list[0]),
            _ => format!("{what}; it held shards {}", list.join(", ")),
        };
        let held = shards.iter().map(|(shard, epoch)| (shard.as_str(), *epoch));
        self.ledger.left(victim, cause, self.start.elapsed(), held);
        self.note(event, text);
    }

    /// Lets a worker stand still.
    async fn freeze(&mut self) -> Result<(), CliError> {
        let Some((victim, shards)) = self.victim().await? else { return Ok(()) };
        self.signal(victim, Fleet::freeze)?;
        self.deeds.freezes += 1;
        self.frozen.push_back(victim);
        let name = self.fleet.name(victim).to_owned();
        self.hit(victim, Cause::Freeze, "freeze", &format!("{name} stands still (SIGSTOP)"), &shards);
        self.now = format!("{name} stands still: if for long, the others take over");
        Ok(())
    }

    fn thaw(&mut self) -> Result<(), CliError> {
        let Some(process) = self.frozen.pop_front() else { return Ok(()) };
        self.ledger.goes_on(process);
        self.signal(process, Fleet::thaw)?;
        let name = self.fleet.name(process).to_owned();
        self.note("thaw", format!("{name} goes on (SIGCONT)"));
        self.now = format!("{name} goes on");
        Ok(())
    }

    fn replace(&mut self, same_name: bool) -> Result<(), CliError> {
        let Some(vacancy) = self.vacancies.pop_front() else { return Ok(()) };
        let process = self.add_worker(same_name.then_some(vacancy))?;
        let name = self.fleet.name(process).to_owned();
        let text = match same_name {
            true => format!("{name} was started again under its name"),
            false => format!("{name} was started in place of {}", self.fleet.name(vacancy)),
        };
        self.note("join", text);
        self.now = format!("{name} joins: the shards are spread anew");
        Ok(())
    }

    async fn reshard(&mut self) -> Result<(), CliError> {
        let text = match self.stage.reshard(self.plan.shards.into(), &mut self.rng).await? {
            Reshard::Split { shard, .. } => {
                self.deeds.splits += 1;
                format!("shard {} was split in two", short(&shard))
            }
            Reshard::Merge { shard, with } => {
                self.deeds.merges += 1;
                format!("shards {} and {} were merged", short(&shard), short(&with))
            }
        };
        self.note("reshard", text);
        Ok(())
    }
}

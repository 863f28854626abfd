//! An operator who sends commands to a running fleet, over a link as bad as the workers'.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{
    FaultTarget, FaultyStore, LeaseKey, Operator, OperatorError, Position, Scope, StoreFault, WallClock,
};
use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::incidents;
use crate::shard_ref::ShardRef;
use crate::stream::model::BEGINNING_MILLIS;
use crate::world::World;

/// A command to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorCommand {
    /// Back to the oldest record, or to a time before everything that is not done.
    Seek,
    /// Back to where it was before the last seek.
    Undo,
    /// Stop reading.
    Pause,
    /// Go on.
    Resume,
    /// Remove the lease of a finished shard.
    Retire,
    /// Remove the group, which is refused while it lives.
    Delete,
}

impl World {
    /// Sends a command about one of the leases of a group, or about all of it. `faults` is the chance of each kind of
    /// fault on the operator's way to the store; the seed decides what is left to chance.
    pub async fn operate(
        &mut self,
        group: usize,
        command: OperatorCommand,
        nth: Option<u32>,
        faults: f64,
        seed: u64,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut keys: Vec<LeaseKey> = self.view(group).await.leases.into_iter().map(|row| row.key).collect();
        if keys.is_empty() {
            return;
        }
        let one = nth.map(|nth| keys[nth as usize % keys.len()].clone());
        let (scope, name) = match &one {
            None => (Scope::Group, format!("group {group}")),
            Some(key) => (Scope::Leases(vec![key.clone()]), format!("{group}:{}", key.shard)),
        };
        let store = FaultyStore::new(self.store.clone(), rng.random());
        store.chance(FaultTarget::All, StoreFault::FailBefore, faults);
        store.chance(FaultTarget::Writes, StoreFault::LoseReply, faults);
        store.chance(FaultTarget::All, StoreFault::Delay(Duration::from_millis(30)), 1.0);
        let clock = WallClock::from_fn(|| BEGINNING_MILLIS);
        let operator = Operator::new(Arc::new(store), self.groups[group].id.clone(), clock);
        self.recorder.note(&format!("{name}: {command:?}"));
        let pause = format!("pause of {name}");
        let held_up = one
            .as_ref()
            .and_then(ShardRef::of)
            .map_or(incidents::Scope::Stream(group), incidents::Scope::Shard);
        let done = match command {
            OperatorCommand::Seek | OperatorCommand::Undo => {
                let lowered = self.groups[group].id.clone();
                if one.is_none() && command == OperatorCommand::Seek {
                    self.store.inner().seek_whole(&lowered);
                }
                self.store.inner().allow_lower_positions(lowered);
                let done = self.seek(&operator, &scope, command, &mut rng).await;
                self.store.inner().forbid_lower_positions();
                done
            }
            OperatorCommand::Pause => {
                self.recorder.incidents(|incidents, now| incidents.holds_up(&pause, held_up, true, now));
                operator.pause(&scope).await.map(drop)
            }
            OperatorCommand::Resume => operator.resume(&scope).await.map(drop),
            OperatorCommand::Retire => {
                operator.retire(&one.unwrap_or_else(|| keys.swap_remove(0)), false).await.map(drop)
            }
            OperatorCommand::Delete => self.delete(group, operator).await,
        };
        match done {
            Ok(()) if command == OperatorCommand::Resume => {
                self.recorder.incidents(|incidents, now| {
                    incidents.holds_up(&pause, incidents::Scope::All, false, now);
                });
            }
            Ok(()) => {}
            Err(error) => self.recorder.note(&format!("{name}: {command:?} failed: {error}")),
        }
    }

    async fn seek(
        &mut self,
        operator: &Operator,
        scope: &Scope,
        command: OperatorCommand,
        rng: &mut StdRng,
    ) -> Result<(), OperatorError> {
        let oldest = self.recorder.history(|history| history.oldest_waiting());
        let oldest = oldest.map_or_else(|| self.recorder.now(), |at| at.as_millis() as u64);
        let to = if rng.random_bool(0.5) {
            Position::TrimHorizon
        } else {
            Position::AtTimestamp(BEGINNING_MILLIS + oldest)
        };
        match command {
            OperatorCommand::Undo => operator.undo_seek(scope, false).await.map(drop),
            _ => operator.seek(scope, to, false).await.map(drop),
        }
    }

    /// A group that lives is not deleted.
    async fn delete(&mut self, group: usize, operator: Operator) -> Result<(), OperatorError> {
        let rows = self.view(group).await.workers;
        // One that has not sent a heartbeat yet has not joined.
        let joined = rows.iter().filter(|row| row.heartbeat > 0);
        let live: Vec<u32> = joined.filter_map(|row| self.recorder.live_worker(&row.id)).collect();
        let is_well =
            |worker: &u32| self.recorder.incidents(|incidents, now| incidents.is_well(*worker, now));
        let well: Vec<u32> = live.into_iter().filter(is_well).collect();
        if well.is_empty() {
            return Ok(());
        }
        operator.delete_group(self.hasty_operators).await?;
        // The operator watched for a while: who was well may have died meanwhile.
        self.note_crashes();
        if well.iter().any(|worker| self.recorder.is_live(*worker)) {
            self.recorder
                .violate(Check::Orders, format!("group {group} was deleted while a worker of it was well"));
        } else {
            self.store.inner().seek_whole(&self.groups[group].id);
        }
        Ok(())
    }

    /// Nothing is paused any more.
    pub async fn resume_all(&mut self) {
        for group in 0..self.groups.len() {
            let clock = WallClock::from_fn(|| BEGINNING_MILLIS);
            let operator = Operator::new(Arc::new(self.store.clone()), self.groups[group].id.clone(), clock);
            let keys = self.view(group).await.leases.into_iter().filter(|row| row.paused).map(|row| row.key);
            let leases = Scope::Leases(keys.collect());
            for scope in [Scope::Group, leases] {
                if let Err(error) = operator.resume(&scope).await {
                    self.recorder.violate(Check::Running, format!("a resume failed: {error}"));
                }
            }
        }
    }
}

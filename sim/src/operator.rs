//! An operator who sends commands to a running fleet, over a link as bad as the workers'.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rokini_lease::{
    FaultTarget, FaultyStore, LeaseKey, Operator, OperatorError, Position, Scope, SeekReport, StoreFault,
    WallClock,
};

use crate::check::Check;
use crate::recorder::ShardRef;
use crate::stream::model::BEGINNING_MILLIS;
use crate::world::World;

/// A command to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorCommand {
    /// Back to the oldest record, or to a time before everything that no handler has seen.
    Seek,
    /// Back to where it was before the last seek.
    Undo,
    /// Stop reading.
    Pause,
    /// Go on.
    Resume,
}

impl World {
    /// Sends a command about a whole group, or about one of its leases. `faults` is the chance of each kind of fault
    /// on the operator's way to the store.
    pub async fn operate(&mut self, group: usize, command: OperatorCommand, whole: bool, faults: f64) {
        let keys: Vec<LeaseKey> = self.view(group).await.leases.into_iter().map(|row| row.key).collect();
        if keys.is_empty() {
            return;
        }
        let one = keys[self.rng.random_range(0..keys.len())].clone();
        let (scope, name) = if whole {
            (Scope::Group, format!("group {group}"))
        } else {
            (Scope::Leases(vec![one.clone()]), format!("{group}:{}", one.shard))
        };
        let store = FaultyStore::new(self.store.clone(), self.rng.random());
        store.chance(FaultTarget::All, StoreFault::FailBefore, faults);
        store.chance(FaultTarget::Writes, StoreFault::LoseReply, faults);
        store.chance(FaultTarget::All, StoreFault::Delay(Duration::from_millis(30)), 1.0);
        let clock = WallClock::from_fn(|| BEGINNING_MILLIS);
        let operator = Operator::new(Arc::new(store), self.groups[group].id.clone(), clock);
        self.recorder.note(&format!("{name}: {command:?}"));
        let done = match command {
            OperatorCommand::Seek | OperatorCommand::Undo => {
                self.seek(group, &operator, &scope, command).await.map(drop)
            }
            OperatorCommand::Pause => {
                self.disruption(&format!("pause of {name}"), true);
                operator.pause(&scope).await
            }
            OperatorCommand::Resume => operator.resume(&scope).await,
        };
        match done {
            Ok(()) if command == OperatorCommand::Resume => {
                self.disruption(&format!("pause of {name}"), false);
            }
            Ok(()) => {}
            Err(error) => self.recorder.note(&format!("{name}: {command:?} failed: {error}")),
        }
    }

    async fn seek(
        &mut self,
        group: usize,
        operator: &Operator,
        scope: &Scope,
        command: OperatorCommand,
    ) -> Result<SeekReport, OperatorError> {
        let begun = self.recorder.now();
        let now = self.recorder.now();
        let oldest = self.recorder.history(|history| history.oldest_waiting());
        let oldest = oldest.map_or(now, |at| at.as_millis() as u64);
        let to = if self.rng.random_bool(0.5) {
            Position::TrimHorizon
        } else {
            Position::AtTimestamp(BEGINNING_MILLIS + oldest)
        };
        self.store.inner().allow_lower_positions(self.groups[group].id.clone());
        let done = match command {
            OperatorCommand::Undo => operator.undo_seek(scope, false).await,
            _ => operator.seek(scope, to, false).await,
        };
        self.store.inner().forbid_lower_positions();
        // What a failed command wrote is not reported, and leases may have come meanwhile.
        let now = self.recorder.now();
        for key in self.view(group).await.leases.into_iter().map(|row| row.key) {
            let shard = ShardRef { stream: group, shard: key.shard.to_string() };
            self.recorder.seek(&shard, begun, now);
        }
        done
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

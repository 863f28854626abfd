//! An operator who gives orders to a running fleet, over a link as bad as the workers'.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rokini_lease::{
    FaultTarget, FaultyStore, LeaseKey, Operator, OperatorError, Position, Scope, SeekReport, StoreFault,
    WallClock,
};

use super::World;
use crate::Place;
use crate::stream::BEGINNING_MILLIS;

/// An order to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
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
    /// Gives an order about a whole group, or about one of its leases. `faults` is the chance of each kind of fault
    /// on the operator's way to the store.
    pub async fn order(&mut self, lane: usize, order: Order, whole: bool, faults: f64) {
        let keys: Vec<LeaseKey> = self.view(lane).await.leases.into_iter().map(|row| row.key).collect();
        if keys.is_empty() {
            return;
        }
        let one = keys[self.rng.random_range(0..keys.len())].clone();
        let (scope, name) = if whole {
            (Scope::Group, format!("group {lane}"))
        } else {
            (Scope::Leases(vec![one.clone()]), format!("{lane}:{}", one.shard))
        };
        let store = FaultyStore::new(self.store.clone(), self.rng.random());
        store.chance(FaultTarget::All, StoreFault::FailBefore, faults);
        store.chance(FaultTarget::Writes, StoreFault::LoseReply, faults);
        store.chance(FaultTarget::All, StoreFault::Delay(Duration::from_millis(30)), 1.0);
        let clock = WallClock::from_fn(|| BEGINNING_MILLIS);
        let operator = Operator::new(Arc::new(store), self.lanes[lane].group.clone(), clock);
        self.court.note(&format!("{name}: {order:?}"));
        let done = match order {
            Order::Seek | Order::Undo => self.seek(lane, &operator, &scope, order).await.map(drop),
            Order::Pause => {
                self.trouble(&format!("pause of {name}"), true);
                operator.pause(&scope).await
            }
            Order::Resume => operator.resume(&scope).await,
        };
        match done {
            Ok(()) if order == Order::Resume => self.trouble(&format!("pause of {name}"), false),
            Ok(()) => {}
            Err(error) => self.court.note(&format!("{name}: {order:?} failed: {error}")),
        }
    }

    async fn seek(
        &mut self,
        lane: usize,
        operator: &Operator,
        scope: &Scope,
        order: Order,
    ) -> Result<SeekReport, OperatorError> {
        let (group, begun) = (self.lanes[lane].group.clone(), self.court.now());
        let now = self.court.now();
        let oldest = self.court.ledger(|ledger| ledger.oldest_waiting()).unwrap_or(now);
        let to = if self.rng.random_bool(0.5) {
            Position::TrimHorizon
        } else {
            Position::AtTimestamp(BEGINNING_MILLIS + oldest)
        };
        self.store.inner().order(group);
        let done = match order {
            Order::Undo => operator.undo_seek(scope, false).await,
            _ => operator.seek(scope, to, false).await,
        };
        self.store.inner().orders_end();
        // What a failed order wrote is not told, and leases may have come meanwhile.
        let now = self.court.now();
        for key in self.view(lane).await.leases.into_iter().map(|row| row.key) {
            let place = Place { stream: lane, shard: key.shard.to_string() };
            self.court.ledger(|ledger| ledger.seek(place, begun, now));
        }
        done
    }

    /// Nothing is paused any more.
    pub async fn resume_all(&mut self) {
        for lane in 0..self.lanes.len() {
            let clock = WallClock::from_fn(|| BEGINNING_MILLIS);
            let operator = Operator::new(Arc::new(self.store.clone()), self.lanes[lane].group.clone(), clock);
            let keys = self.view(lane).await.leases.into_iter().filter(|row| row.paused).map(|row| row.key);
            let leases = Scope::Leases(keys.collect());
            for scope in [Scope::Group, leases] {
                if let Err(error) = operator.resume(&scope).await {
                    self.court.violate(crate::Check::Running, format!("a resume failed: {error}"));
                }
            }
        }
    }
}

//! Moves shards between workers, and empties a worker.

use super::report::OperatorError;
use super::{Operator, TRIES};
use crate::row::{GroupView, Notification, Order, OrderId, OrderKind, WorkerRow, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::{LeaseKey, WorkerId, WorkerName};
use crate::update::LeaseUpdate;
use crate::write::WriteOutcome;

impl Operator {
    /// Asks the owner of a lease to hand it over to this worker, in order and with its position: the same claim that a worker
    /// makes. The plan of the workers may spread leases anew when workers come and go.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`] where the worker does not live or does not read the stream, or nobody has the lease;
    /// [`OperatorError::UnknownLease`]; [`OperatorError::Moving`]; [`OperatorError::Store`].
    pub async fn move_lease(&self, key: &LeaseKey, to: &WorkerName) -> Result<OrderId, OperatorError> {
        let view = self.list().await?;
        let target = worker(&view, to)?;
        if target.state != WorkerState::Alive || !target.reads(&key.stream) {
            return Err(OperatorError::Invalid(format!(
                "worker `{to}` takes no lease of stream `{}`: it stops, or cannot read it",
                key.stream
            )));
        }
        for _ in 0..TRIES {
            let row = self.store.lease(&self.group, key).await?;
            let row = row.ok_or_else(|| self.unknown(std::slice::from_ref(key)))?;
            let Some(owner) = row.owner.clone() else {
                return Err(OperatorError::Invalid(format!(
                    "nobody has lease `{key}`, so nobody can hand it over: a live worker takes it by itself"
                )));
            };
            if owner == target.id {
                return Err(OperatorError::Invalid(format!("worker `{to}` has lease `{key}` already")));
            }
            let (by, over) = (target.id.clone(), row.claim.clone());
            let claim = LeaseUpdate::Claim { by, seen: row.epoch, over };
            if let WriteOutcome::Applied { .. } = self.store.update_lease(&self.group, key, &claim).await? {
                self.notify(&owner, Notification::Claimed(key.clone())).await;
                let what = format!("from {} to {to}", owner.name);
                let order = Order::new(self.next_order(&view), OrderKind::Move, what).about([key.clone()]);
                let id = order.id;
                self.remember(order).await?;
                return Ok(id);
            }
        }
        Err(OperatorError::Moving(key.clone()))
    }

    /// Asks a worker to give up all of its leases in order, and to take no more: before maintenance. Its process goes on,
    /// without work, until it is stopped.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`] where there is no such worker; [`OperatorError::Store`].
    pub async fn drain(&self, name: &WorkerName) -> Result<(OrderId, WorkerId), OperatorError> {
        let view = self.list().await?;
        let row = worker(&view, name)?;
        self.notify(&row.id, Notification::Drain).await;
        let held = view.leases.iter().filter(|lease| lease.owner.as_ref() == Some(&row.id));
        let keys = held.map(|lease| lease.key.clone());
        let order =
            Order::new(self.next_order(&view), OrderKind::Drain, format!("worker {name}")).about(keys);
        let id = order.id;
        self.remember(order).await?;
        Ok((id, row.id.clone()))
    }
}

fn worker<'a>(view: &'a GroupView, name: &WorkerName) -> Result<&'a WorkerRow, OperatorError> {
    let there = |row: &&WorkerRow| row.id.name == *name && row.state != WorkerState::Fenced;
    view.workers.iter().filter(there).max_by_key(|row| row.heartbeat).ok_or_else(|| {
        let known: Vec<&str> = view.workers.iter().map(|row| row.id.name.as_str()).collect();
        OperatorError::Invalid(format!("the group has no live worker `{name}`: it has {}", known.join(", ")))
    })
}

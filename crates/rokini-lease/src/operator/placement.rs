//! Moves shards between workers, and empties a worker.

use super::report::OperatorError;
use super::{Operator, TRIES};
use crate::row::{
    GroupView, LeaseRow, OperatorOrder, OrderId, OrderKind, WorkerNotification, WorkerRow, WorkerState,
};
use crate::store::LeaseStoreExt;
use crate::types::{LeaseKey, WorkerId, WorkerName};
use crate::update::{LeaseUpdate, WorkerUpdate};
use crate::write::WriteOutcome;

/// Where an order puts a lease.
struct Placing<'a> {
    key: &'a LeaseKey,
    to: &'a WorkerName,
    /// The worker that it is kept with from then on; `None` for whom the plan gives it to.
    pin: Option<WorkerId>,
    undoes: Option<OrderId>,
}

impl Operator {
    /// Asks the owner of a lease to hand it over to this worker, in order and with its position: the same claim that a worker
    /// makes. The lease is kept there ([`pins`](crate::pins)), and others move where that leaves loads uneven. A lease that the
    /// worker has already is kept with it, too.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`] where the worker does not live or does not read the stream, or nobody has the lease, or it is
    /// kept there already; [`OperatorError::UnknownLease`]; [`OperatorError::Moving`]; [`OperatorError::Store`].
    pub async fn move_lease(&self, key: &LeaseKey, to: &WorkerName) -> Result<OrderId, OperatorError> {
        let view = self.list().await?;
        let pin = Some(taker(&view, key, to)?.id.clone());
        self.place(&view, Placing { key, to, pin, undoes: None }).await
    }

    /// The worker that [`Operator::move_lease`] would ask for the lease. Writes nothing.
    ///
    /// # Errors
    /// As [`Operator::move_lease`].
    pub async fn move_plan(&self, key: &LeaseKey, to: &WorkerName) -> Result<WorkerId, OperatorError> {
        let view = self.list().await?;
        let target = taker(&view, key, to)?;
        let (row, owner) = self.owned(key).await?;
        let pin = Some(&target.id);
        refuse_what_stands(&view, &row, &owner, &target.id, pin).map(|()| owner)
    }

    /// Lets the plan say again who has a lease that was moved: it stays where it is until that is called for.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`] where no worker is named by an order; [`OperatorError::UnknownLease`]; [`OperatorError::Store`].
    pub async fn unpin(&self, key: &LeaseKey) -> Result<OrderId, OperatorError> {
        let pin = self.unpin_plan(key).await?;
        let view = self.list().await?;
        let mut order = OperatorOrder::new(
            self.next_order(&view),
            OrderKind::Move,
            format!("no longer kept with {}", pin.name),
        )
        .about([key.clone()]);
        (order.worker, order.pin) = (Some(pin.name.clone()), Some(pin));
        let order = self.remember(order).await?;
        self.store.update_lease(&self.group, key, &LeaseUpdate::Pin { to: None }).await?;
        Ok(order.id)
    }

    /// The worker that a lease is kept with, alive or not, and would not be after [`Operator::unpin`]. Writes nothing.
    ///
    /// # Errors
    /// As [`Operator::unpin`].
    pub async fn unpin_plan(&self, key: &LeaseKey) -> Result<WorkerId, OperatorError> {
        let row = self.store.lease(&self.group, key).await?;
        let row = row.ok_or_else(|| self.unknown(std::slice::from_ref(key)))?;
        row.pin.ok_or_else(|| OperatorError::Invalid(format!("no order keeps lease `{key}` with a worker")))
    }

    /// The lease as it stands, and its owner, who is to hand it over to another worker.
    async fn owned(&self, key: &LeaseKey) -> Result<(LeaseRow, WorkerId), OperatorError> {
        let row = self.store.lease(&self.group, key).await?;
        let row = row.ok_or_else(|| self.unknown(std::slice::from_ref(key)))?;
        match row.owner.clone() {
            None => Err(OperatorError::Invalid(format!(
                "nobody has lease `{key}`, so nobody can hand it over: a live worker takes it by itself"
            ))),
            Some(owner) => Ok((row, owner)),
        }
    }

    async fn place(&self, view: &GroupView, placing: Placing<'_>) -> Result<OrderId, OperatorError> {
        let Placing { key, to, pin, undoes } = placing;
        let target = &taker(view, key, to)?.id;
        let (row, owner) = self.owned(key).await?;
        refuse_what_stands(view, &row, &owner, target, pin.as_ref())?;
        let what = match owner == *target {
            true => format!("stays with {to}"),
            false => format!("from {} to {to}", owner.name),
        };
        let mut order = OperatorOrder::new(self.next_order(view), OrderKind::Move, what).about([key.clone()]);
        (order.undoes, order.worker, order.pin) = (undoes, Some(owner.name), row.pin.clone());
        let order = self.remember(order).await?;
        self.store.update_lease(&self.group, key, &LeaseUpdate::Pin { to: pin }).await?;
        for _ in 0..TRIES {
            let (row, owner) = self.owned(key).await?;
            if owner == *target {
                return Ok(order.id);
            }
            let claim = LeaseUpdate::Claim { by: target.clone(), seen: row.epoch, over: row.claim };
            if let WriteOutcome::Applied { .. } = self.store.update_lease(&self.group, key, &claim).await? {
                self.notify(&owner, WorkerNotification::Claimed(key.clone())).await;
                return Ok(order.id);
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
        self.drain_in(&view, name, None).await
    }

    /// The worker that [`Operator::drain`] would empty, and the leases that it has. Writes nothing.
    ///
    /// # Errors
    /// As [`Operator::drain`].
    pub async fn drain_plan(&self, name: &WorkerName) -> Result<(WorkerId, Vec<LeaseKey>), OperatorError> {
        let view = self.list().await?;
        let id = worker(&view, name)?.id.clone();
        let held = held(&view, &id).collect();
        Ok((id, held))
    }

    async fn drain_in(
        &self,
        view: &GroupView,
        name: &WorkerName,
        undoes: Option<OrderId>,
    ) -> Result<(OrderId, WorkerId), OperatorError> {
        let row = worker(view, name)?;
        self.notify(&row.id, WorkerNotification::Drain).await;
        let mut order = OperatorOrder::new(self.next_order(view), OrderKind::Drain, format!("worker {name}"))
            .about(held(view, &row.id));
        (order.undoes, order.worker) = (undoes, Some(name.clone()));
        Ok((self.remember(order).await?.id, row.id.clone()))
    }

    /// Takes back an order about workers: a shard goes back to the worker it came from, a drained worker takes part again,
    /// and one that takes part again is drained.
    pub(super) async fn undo_placement(
        &self,
        view: &GroupView,
        order: &OperatorOrder,
        name: &WorkerName,
        dry_run: bool,
    ) -> Result<Option<OrderId>, OperatorError> {
        let key = order.leases.iter().next().filter(|_| order.kind == OrderKind::Move);
        if let Some(key) = &key {
            let is_later = |later: &&OperatorOrder| later.id > order.id && later.leases.contains(key);
            let moves = view.group.orders.iter().filter(|later| later.kind == OrderKind::Move);
            if let Some(later) = moves.clone().find(is_later) {
                return Err(OperatorError::Invalid(format!(
                    "order {} cannot be taken back: order {} moved the shard since: undo that first",
                    order.id, later.id
                )));
            }
            taker(view, key, name)?;
            if dry_run {
                return Ok(None);
            }
            // Where it was kept before, as far as that still binds anybody.
            let alive = |id: &WorkerId| {
                view.workers.iter().any(|row| row.id == *id && row.state == WorkerState::Alive)
            };
            let pin = order.pin.clone().filter(alive);
            return self.place(view, Placing { key, to: name, pin, undoes: Some(order.id) }).await.map(Some);
        }
        match (order.kind, dry_run) {
            (OrderKind::Drain, _) => self.undrain(view, order, name, dry_run).await,
            (_, true) => worker(view, name).map(|_| None),
            (_, false) => self.drain_in(view, name, Some(order.id)).await.map(|(id, _)| Some(id)),
        }
    }

    /// A worker that was drained has ended its part for this incarnation. Told that this one is over, it joins anew with
    /// another: it has no lease any more, so nothing is lost by that.
    async fn undrain(
        &self,
        view: &GroupView,
        order: &OperatorOrder,
        name: &WorkerName,
        dry_run: bool,
    ) -> Result<Option<OrderId>, OperatorError> {
        let row = worker(view, name)?;
        if row.state == WorkerState::Alive {
            return Err(OperatorError::Invalid(format!("worker `{name}` takes part already")));
        }
        if view.leases.iter().any(|lease| lease.owner.as_ref() == Some(&row.id)) {
            return Err(OperatorError::Invalid(format!(
                "worker `{name}` still gives up its shards: take that back once it is done"
            )));
        }
        if dry_run {
            return Ok(None);
        }
        let mut seen = row.heartbeat;
        for _ in 0..TRIES {
            let fence = WorkerUpdate::Fence { seen };
            match self.store.update_worker(&self.group, &row.id, &fence).await? {
                WriteOutcome::Refused { current: Some(current) } if current.state != WorkerState::Fenced => {
                    seen = current.heartbeat;
                }
                _ => {
                    let what = format!("worker {name} takes part again");
                    let mut undo = OperatorOrder::new(self.next_order(view), OrderKind::Undo, what);
                    (undo.undoes, undo.worker) = (Some(order.id), Some(name.clone()));
                    return Ok(Some(self.remember(undo).await?.id));
                }
            }
        }
        Err(OperatorError::Invalid(format!("worker `{name}` changes all the time: try again")))
    }
}

/// There is nothing to order where a lease is with a worker already, and is kept there or not as it should be.
fn refuse_what_stands(
    view: &GroupView,
    row: &LeaseRow,
    owner: &WorkerId,
    to: &WorkerId,
    pin: Option<&WorkerId>,
) -> Result<(), OperatorError> {
    if owner != to {
        return Ok(());
    }
    let alive =
        |id: &&WorkerId| view.workers.iter().any(|row| row.id == **id && row.state == WorkerState::Alive);
    if let Some(claim) = row.claim.as_ref().filter(|claim| *claim != to).filter(alive) {
        return Err(OperatorError::Invalid(format!(
            "lease `{}` is on its way from worker `{}` to `{}`: try again once it is there",
            row.key, to.name, claim.name
        )));
    }
    if row.pin.as_ref() == pin {
        return Err(OperatorError::Invalid(format!("worker `{}` has lease `{}` already", to.name, row.key)));
    }
    Ok(())
}

/// The leases that a worker has.
fn held<'a>(view: &'a GroupView, id: &'a WorkerId) -> impl Iterator<Item = LeaseKey> + 'a {
    let held = view.leases.iter().filter(move |lease| lease.owner.as_ref() == Some(id));
    held.map(|lease| lease.key.clone())
}

/// The worker of this name, if it takes leases of such a stream.
fn taker<'a>(view: &'a GroupView, key: &LeaseKey, name: &WorkerName) -> Result<&'a WorkerRow, OperatorError> {
    let row = worker(view, name)?;
    if row.state == WorkerState::Alive && row.reads(&key.stream) {
        return Ok(row);
    }
    Err(OperatorError::Invalid(format!(
        "worker `{name}` takes no lease of stream `{}`: it stops, or cannot read it",
        key.stream
    )))
}

fn worker<'a>(view: &'a GroupView, name: &WorkerName) -> Result<&'a WorkerRow, OperatorError> {
    let there = |row: &&WorkerRow| row.id.name == *name && row.state != WorkerState::Fenced;
    view.workers.iter().filter(there).max_by_key(|row| row.heartbeat).ok_or_else(|| {
        let live = view.workers.iter().filter(|row| row.state != WorkerState::Fenced);
        let known: Vec<&str> = live.map(|row| row.id.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        OperatorError::Invalid(format!("the group has no live worker `{name}`: it has {known}"))
    })
}

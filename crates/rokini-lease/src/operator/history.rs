//! What was ordered, and taking it back.

use super::report::{OperatorError, Scope, SeekReport};
use super::{Operator, TRIES};
use crate::row::{GroupView, LeaseRow, ORDERS_LIMIT, OperatorOrder, OrderId, OrderKind};
use crate::store::LeaseStoreExt;
use crate::types::LeaseKey;
use crate::update::GroupUpdate;
use crate::write::WriteOutcome;

impl Operator {
    /// The last 20 orders, the latest last. One that fails midway is among them.
    ///
    /// # Errors
    /// [`OperatorError::Store`].
    pub async fn history(&self) -> Result<Vec<OperatorOrder>, OperatorError> {
        Ok(self.store.group(&self.group).await?.orders)
    }

    /// Takes exactly this order back, the last one where none is named: positions go back to where they stood before it,
    /// pauses and their ends are reversed, a shard goes back to the worker it came from, a drained worker takes part again.
    /// That is an order too, which can be taken back in its turn.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`] where there is no such order, or it cannot be taken back: a later one set the same positions
    /// or moved the same shard, or the worker is gone. As [`Operator::seek`] besides.
    pub async fn undo(&self, order: Option<OrderId>, dry_run: bool) -> Result<SeekReport, OperatorError> {
        let view = self.list().await?;
        let order = find(&view, order)?.clone();
        // What an undoing that failed midway has left is taken back now.
        let is_left = view.leases.iter().any(|row| [row.order, row.pause_order].contains(&Some(order.id)));
        let undoing = view.group.orders.iter().find(|later| later.undoes == Some(order.id));
        if let Some(later) = undoing.filter(|_| !is_left) {
            return Err(OperatorError::Invalid(format!(
                "order {} was taken back already, by {}: undo that to have it again",
                order.id, later.id
            )));
        }
        let mut report = SeekReport { dry_run, undoes: Some(order.clone()), ..SeekReport::default() };
        if let Some(worker) = &order.worker {
            report.order = self.undo_placement(&view, &order, worker, dry_run).await?;
            return Ok(report);
        }
        match order.kind {
            OrderKind::Move | OrderKind::Drain => Err(OperatorError::Invalid(format!(
                "order {} of an earlier release does not say about which worker it was ({}): move the shards back, or start \
                 the worker anew",
                order.id, order.what
            ))),
            OrderKind::Seek | OrderKind::Undo => self.undo_positions(&view, &order, dry_run).await,
            OrderKind::Pause | OrderKind::Resume => {
                let scope = match order.leases.is_empty() {
                    true => Scope::Group,
                    false => Scope::Leases(paused_by(&view, &order)?),
                };
                let paused = order.kind == OrderKind::Resume;
                report.order = self.set_paused(&scope, paused, Some(order.id), dry_run).await?.order;
                Ok(report)
            }
        }
    }

    async fn undo_positions(
        &self,
        view: &GroupView,
        order: &OperatorOrder,
        dry_run: bool,
    ) -> Result<SeekReport, OperatorError> {
        let refused = |why: &str| {
            Err(OperatorError::Invalid(format!("order {} cannot be taken back: {why}", order.id)))
        };
        if let Some(later) = later_order(view, order) {
            return refused(&format!("order {later} set positions of it since: undo that first"));
        }
        let is_there = |key: &LeaseKey| view.leases.iter().any(|row| row.key == *key);
        if order.leases.iter().any(|key| !is_there(&key)) {
            return refused("some of its leases are gone");
        }
        // Fewer than it was about where it failed midway.
        let leases: Vec<&LeaseRow> = view.leases.iter().filter(|row| row.order == Some(order.id)).collect();
        if leases.is_empty() {
            return refused("it failed before it set a position; name an earlier order to take that back");
        }
        let mut new =
            OperatorOrder::new(self.next_order(view), OrderKind::Undo, format!("takes back {}", order.what));
        new.undoes = Some(order.id);
        let mut report = self.seek_each(view, leases, |row| row.previous, new, dry_run).await?;
        report.undoes = Some(order.clone());
        Ok(report)
    }

    /// The id of an order that is given now.
    pub(super) fn next_order(&self, view: &GroupView) -> OrderId {
        let last = view.group.orders.iter().map(|order| order.id.0).max().unwrap_or_default();
        OrderId(self.clock.millis().max(last + 1))
    }

    /// Adds an order to those that are remembered, before its first write: what fails midway can be taken back. Its id is a
    /// later one where somebody else gave an order meanwhile.
    pub(super) async fn remember(&self, mut order: OperatorOrder) -> Result<OperatorOrder, OperatorError> {
        let mut failure = None;
        for _ in 0..TRIES {
            match self.store.update_group(&self.group, &GroupUpdate::Remember(order.clone())).await {
                Ok(WriteOutcome::Applied { .. }) => return Ok(order),
                Ok(WriteOutcome::Refused { current }) => {
                    let known = current.map(|row| row.orders).unwrap_or_default();
                    // By an earlier try.
                    if known.contains(&order) {
                        return Ok(order);
                    }
                    let last = known.iter().map(|order| order.id.0).max().unwrap_or(order.id.0);
                    order.id = OrderId(self.clock.millis().max(last + 1));
                }
                Err(error) if error.is_ambiguous() => failure = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(failure.map_or_else(
            || OperatorError::Invalid("others give orders to the group all the time: try again".to_owned()),
            OperatorError::from,
        ))
    }
}

/// A later order than this one that set a position which this one was about; one that takes this one back is none.
fn later_order(view: &GroupView, order: &OperatorOrder) -> Option<OrderId> {
    let undoes =
        |id: OrderId| view.group.orders.iter().any(|later| later.id == id && later.undoes == Some(order.id));
    // Of leases that are not named, any may have been one of its own.
    let concerned = view.leases.iter().filter(|row| !order.names_all() || order.leases.contains(&row.key));
    concerned.filter_map(|row| row.order).find(|id| *id > order.id && !undoes(*id))
}

/// The leases that an order to pause or resume changed last, however many: their rows say so. Those of an earlier release do
/// not, and the order names them as far as it has room.
fn paused_by(view: &GroupView, order: &OperatorOrder) -> Result<Vec<LeaseKey>, OperatorError> {
    let unmarked = |row: &&LeaseRow| row.pause_order.is_none_or(|last| last < order.id);
    let is_its_own = |row: &&LeaseRow| {
        row.pause_order == Some(order.id) || unmarked(row) && order.leases.contains(&row.key)
    };
    let marked = view.leases.iter().filter(|row| row.pause_order >= Some(order.id)).count();
    if marked == 0 && !order.names_all() {
        return Err(OperatorError::Invalid(format!(
            "order {} of an earlier release changed {} shards, more than it remembers: pause or resume them by name",
            order.id, order.shards
        )));
    }
    Ok(view.leases.iter().filter(is_its_own).map(|row| row.key.clone()).collect())
}

fn find(view: &GroupView, id: Option<OrderId>) -> Result<&OperatorOrder, OperatorError> {
    let orders = &view.group.orders;
    let found = match id {
        Some(id) => orders.iter().find(|order| order.id == id),
        None => orders.last(),
    };
    found.ok_or_else(|| {
        OperatorError::Invalid(match id {
            Some(id) => format!("there is no order {id} among the last {ORDERS_LIMIT}: list them"),
            None => "there is no order to undo: no seek, pause or other order was given yet".to_owned(),
        })
    })
}

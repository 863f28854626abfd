//! What was ordered, and taking it back.

use super::Operator;
use super::report::{OperatorError, Scope, SeekReport};
use crate::row::{GroupView, LeaseRow, ORDERS_LIMIT, OperatorOrder, OrderId, OrderKind};
use crate::store::LeaseStoreExt;
use crate::update::GroupUpdate;

impl Operator {
    /// The last orders, the latest last. Of two that are given within the same moment one may be missing: it acts all the same.
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
        if let Some(later) = view.group.orders.iter().find(|later| later.undoes == Some(order.id)) {
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
                if order.shards as usize > order.keys.len() {
                    return Err(OperatorError::Invalid(format!(
                        "order {} changed {} shards, more than are remembered: pause or resume them by name",
                        order.id, order.shards
                    )));
                }
                let scope = match order.keys.is_empty() {
                    true => Scope::Group,
                    false => Scope::Leases(order.keys.clone()),
                };
                if !dry_run {
                    let paused = order.kind == OrderKind::Resume;
                    report.order = self.set_paused(&scope, paused, Some(order.id)).await?.order;
                }
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
        let leases: Vec<&LeaseRow> = view.leases.iter().filter(|row| row.order == Some(order.id)).collect();
        if leases.len() < order.shards as usize {
            let later =
                view.leases.iter().filter(|row| order.keys.contains(&row.key)).filter_map(|row| row.order);
            let later: Vec<String> = later.filter(|id| *id > order.id).map(|id| id.to_string()).collect();
            let why = match later.first() {
                Some(later) => format!("order {later} set positions of it since: undo that first"),
                None => "some of its leases are gone".to_owned(),
            };
            return Err(OperatorError::Invalid(format!("order {} cannot be taken back: {why}", order.id)));
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

    /// Adds an order that was carried out to those that are remembered.
    pub(super) async fn remember(&self, order: OperatorOrder) -> Result<(), OperatorError> {
        let mut orders = self.store.group(&self.group).await?.orders;
        orders.push(order);
        let excess = orders.len().saturating_sub(ORDERS_LIMIT);
        orders.drain(..excess);
        self.store.update_group(&self.group, &GroupUpdate::Remember(orders)).await?;
        Ok(())
    }
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

//! Sets positions.

use std::collections::{BTreeMap, BTreeSet};

use super::lineage::parents_first;
use super::report::{OperatorError, Scope, SeekChange, SeekReport};
use super::{Operator, TRIES};
use crate::position::Position;
use crate::row::{GroupView, LeaseRow, OperatorOrder, OrderId, OrderKind, WorkerNotification, WorkerState};
use crate::store::LeaseStoreExt;
use crate::types::LeaseKey;
use crate::update::LeaseUpdate;
use crate::write::WriteOutcome;

impl Operator {
    /// Sets the position of leases. Whoever holds one stops, begins anew from there, and can store nothing from
    /// before. Each lease keeps the position it had, for [`Operator::undo_seek`].
    ///
    /// Ended shards begin anew too, before their children where both are in the scope. `LATEST` is
    /// [`Position::AtTimestamp`] with the stream's time. The order is remembered before the first lease is written, and
    /// leases that were written before an error or the end of this process stay so: [`Operator::undo`] takes them back, and
    /// the same command can be given again.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`] for the end of a shard, and for a sequence number with more than one lease;
    /// [`OperatorError::UnknownLease`]; [`OperatorError::Moving`]; [`OperatorError::Store`]; [`OperatorError::Partly`] with
    /// one of these.
    pub async fn seek(
        &self,
        scope: &Scope,
        to: Position,
        dry_run: bool,
    ) -> Result<SeekReport, OperatorError> {
        self.seek_all(&[(scope.clone(), to)], dry_run).await
    }

    /// [`Operator::seek`] of several scopes, each to a position of its own, as one order.
    ///
    /// # Errors
    /// As [`Operator::seek`].
    pub async fn seek_all(
        &self,
        targets: &[(Scope, Position)],
        dry_run: bool,
    ) -> Result<SeekReport, OperatorError> {
        let view = self.list().await?;
        let mut positions: BTreeMap<&LeaseKey, Position> = BTreeMap::new();
        for (scope, to) in targets {
            let leases = self.select(&view, scope)?;
            check(*to, leases.len())?;
            positions.extend(leases.into_iter().map(|row| (&row.key, *to)));
        }
        let leases = view.leases.iter().filter(|row| positions.contains_key(&row.key)).collect();
        let to: BTreeSet<String> = positions.values().map(ToString::to_string).collect();
        let what = format!("to {}", to.into_iter().collect::<Vec<_>>().join(", "));
        let order = OperatorOrder::new(self.next_order(&view), OrderKind::Seek, what);
        self.seek_each(&view, leases, |row| positions.get(&row.key).copied(), order, dry_run).await
    }

    /// Sets leases back to where they stood before their last seek. Undoing that again redoes the seek.
    ///
    /// # Errors
    /// As [`Operator::seek`]; [`OperatorError::Invalid`] where none of the leases was ever sought.
    pub async fn undo_seek(&self, scope: &Scope, dry_run: bool) -> Result<SeekReport, OperatorError> {
        let view = self.list().await?;
        let leases = self.select(&view, scope)?;
        if leases.iter().all(|row| row.previous.is_none()) {
            return Err(OperatorError::Invalid(
                "there is no seek to undo: no position was set yet".to_owned(),
            ));
        }
        let order = OperatorOrder::new(
            self.next_order(&view),
            OrderKind::Undo,
            "takes back the last seek of each shard",
        );
        self.seek_each(&view, leases, |row| row.previous, order, dry_run).await
    }

    pub(super) async fn seek_each(
        &self,
        view: &GroupView,
        leases: Vec<&LeaseRow>,
        to: impl Fn(&LeaseRow) -> Option<Position>,
        order: OperatorOrder,
        dry_run: bool,
    ) -> Result<SeekReport, OperatorError> {
        // Parents first: a child that is sought waits for a parent that has begun anew, not for one at its end.
        let targets: Vec<(&LeaseRow, Position)> =
            parents_first(&leases).into_iter().filter_map(|row| Some((row, to(row)?))).collect();
        let is_change = |row: &LeaseRow, to: Position| row.owner.is_some() || row.position != to;
        let changes = targets.iter().filter(|(row, to)| is_change(row, *to)).map(|(row, _)| row.key.clone());
        let mut order = order.about(changes);
        let mut report = SeekReport { dry_run, ..SeekReport::default() };
        if !dry_run && order.shards > 0 {
            order = self.remember(order).await?;
            report.order = Some(order.id);
        }
        for (row, to) in targets {
            let (from, owner) = (row.position, row.owner.clone());
            let mut step = SeekChange { key: row.key.clone(), from, to, owner, written: false };
            if !dry_run && is_change(row, to) {
                step = match self.seek_one(view, row, to, order.id).await {
                    Ok(step) => step,
                    Err(error) => return Err(partly(&order, &report, error)),
                };
            }
            report.steps.push(step);
        }
        if report.steps.iter().any(|step| step.written && step.owner.is_none()) {
            // These have no owner to notify. Whoever is notified of one lists all.
            let first = report.steps.iter().find(|step| step.written && step.owner.is_none());
            let alive = view.workers.iter().find(|row| row.state == WorkerState::Alive);
            if let Some((worker, step)) = alive.zip(first) {
                self.notify(&worker.id, WorkerNotification::Changed(step.key.clone())).await;
            }
        }
        Ok(report)
    }

    async fn seek_one(
        &self,
        view: &GroupView,
        row: &LeaseRow,
        to: Position,
        order: OrderId,
    ) -> Result<SeekChange, OperatorError> {
        let mut row = row.clone();
        let mut uncertain: Option<LeaseRow> = None;
        for _ in 0..TRIES {
            let step = |from: &LeaseRow, owner| SeekChange {
                key: from.key.clone(),
                from: from.position,
                to,
                owner,
                written: true,
            };
            let update = LeaseUpdate::Seek { seen: row.epoch, to, order: Some(order) };
            let current = match self.store.update_lease(&self.group, &row.key, &update).await {
                Ok(WriteOutcome::Applied { before, after }) => {
                    self.notify_owner(view, &after).await;
                    return Ok(step(before.as_ref().unwrap_or(&row), after.owner));
                }
                Ok(WriteOutcome::Refused { current }) => current,
                Err(error) if error.is_ambiguous() => {
                    uncertain = Some(row.clone());
                    self.store.lease(&self.group, &row.key).await?
                }
                Err(error) => return Err(error.into()),
            };
            let Some(current) = current else { return Err(self.unknown(&[row.key])) };
            if let Some(before) = &uncertain
                && current.epoch == before.epoch.next()
                && current.previous == Some(before.position)
                && current.owner == before.owner
            {
                // An earlier try took effect, and the position may have moved since.
                self.notify_owner(view, &current).await;
                return Ok(step(before, current.owner.clone()));
            }
            row = current;
        }
        Err(OperatorError::Moving(row.key))
    }
}

/// What is said of an order that failed after it had set positions.
fn partly(order: &OperatorOrder, report: &SeekReport, error: OperatorError) -> OperatorError {
    match report.steps.iter().filter(|step| step.written).count() {
        0 => error,
        written => OperatorError::Partly {
            order: order.id,
            written,
            of: order.shards as usize,
            source: Box::new(error),
        },
    }
}

/// Refuses what makes no sense for so many leases.
fn check(to: Position, leases: usize) -> Result<(), OperatorError> {
    match to {
        Position::ShardEnd => Err(OperatorError::Invalid(
            "a shard's end cannot be sought: its children would never begin; retire the lease, or seek to a time after its \
             last record"
                .to_owned(),
        )),
        Position::Sequence(..) if leases != 1 => Err(OperatorError::Invalid(format!(
            "a sequence number belongs to one shard, but {leases} leases are to seek to it: name one lease, or seek to a time"
        ))),
        _ => Ok(()),
    }
}

//! Stops the reading of shards, and lets it go on.

use super::Operator;
use super::report::{OperatorError, PauseReport, Scope};
use crate::row::{GroupView, LeaseRow, OperatorOrder, OrderId, OrderKind, WorkerNotification, WorkerState};
use crate::store::{LeaseStore, LeaseStoreExt, Listing};
use crate::types::LeaseKey;
use crate::update::{GroupUpdate, LeaseUpdate};
use crate::write::WriteOutcome;

impl Operator {
    /// Stops the reading of shards. Leases are held and moved as ever, positions of what was fetched are stored,
    /// and nothing expires. The pause is stored: it outlives workers, and also holds for leases that come later
    /// where it is about the group. Pauses of the group and of single leases are apart: each must be resumed.
    ///
    /// # Errors
    /// [`OperatorError::UnknownLease`]; [`OperatorError::Store`]; [`OperatorError::Partly`] with that.
    pub async fn pause(&self, scope: &Scope) -> Result<PauseReport, OperatorError> {
        self.set_paused(scope, true, None, false).await
    }

    /// Lets the reading of shards go on.
    ///
    /// # Errors
    /// As [`Operator::pause`].
    pub async fn resume(&self, scope: &Scope) -> Result<PauseReport, OperatorError> {
        self.set_paused(scope, false, None, false).await
    }

    /// What [`Operator::pause`] (`paused`) or [`Operator::resume`] would change. Writes nothing.
    ///
    /// # Errors
    /// As these.
    pub async fn pause_plan(&self, scope: &Scope, paused: bool) -> Result<PauseReport, OperatorError> {
        self.set_paused(scope, paused, None, true).await
    }

    pub(super) async fn set_paused(
        &self,
        scope: &Scope,
        paused: bool,
        undoes: Option<OrderId>,
        dry_run: bool,
    ) -> Result<PauseReport, OperatorError> {
        let view = self.list().await?;
        let is_whole = *scope == Scope::Group;
        let mut report = PauseReport::default();
        if is_whole {
            report.group = self.store.group(&self.group).await?.paused_at.is_some() != paused;
        } else {
            report.changed = self.to_change(self.select(&view, scope)?, paused).await?;
        }
        if dry_run {
            return Ok(report);
        }
        if report.group || !report.changed.is_empty() {
            let what = if is_whole { "the group" } else { "single shards" };
            let kind = if paused { OrderKind::Pause } else { OrderKind::Resume };
            let mut order =
                OperatorOrder::new(self.next_order(&view), kind, what).about(report.changed.iter().cloned());
            order.undoes = undoes;
            report.order = Some(self.remember(order).await?.id);
        }
        match is_whole {
            true => self.pause_group(paused).await?,
            false => self.pause_each(&view, &report, paused).await?,
        }
        Ok(report)
    }

    /// Those that are not so yet. A listing may lag behind: what it says is so already is read again.
    async fn to_change(&self, rows: Vec<&LeaseRow>, paused: bool) -> Result<Vec<LeaseKey>, OperatorError> {
        let mut keys = Vec::new();
        for row in rows {
            let is_so = row.paused == paused
                && self.store.lease(&self.group, &row.key).await?.is_none_or(|row| row.paused == paused);
            if !is_so {
                keys.push(row.key.clone());
            }
        }
        Ok(keys)
    }

    async fn pause_group(&self, paused: bool) -> Result<(), OperatorError> {
        let update =
            if paused { GroupUpdate::Pause { at: self.clock.millis() } } else { GroupUpdate::Resume };
        self.store.update_group(&self.group, &update).await?;
        let workers = self.store.list(&self.group, Listing::Workers).await?.workers;
        for worker in workers.iter().filter(|row| row.state == WorkerState::Alive) {
            self.notify(&worker.id, WorkerNotification::GroupChanged).await;
        }
        Ok(())
    }

    async fn pause_each(
        &self,
        view: &GroupView,
        report: &PauseReport,
        paused: bool,
    ) -> Result<(), OperatorError> {
        for (written, key) in report.changed.iter().enumerate() {
            let update = LeaseUpdate::Pause { paused, order: report.order };
            let failed = match self.store.update_lease(&self.group, key, &update).await {
                Ok(WriteOutcome::Applied { after, .. }) => {
                    self.notify_owner(view, &after).await;
                    continue;
                }
                Ok(WriteOutcome::Refused { current: Some(_) }) => continue,
                Ok(WriteOutcome::Refused { current: None }) => self.unknown(std::slice::from_ref(key)),
                Err(error) => error.into(),
            };
            return Err(match report.order {
                Some(order) if written > 0 => OperatorError::Partly {
                    order,
                    written,
                    of: report.changed.len(),
                    source: Box::new(failed),
                },
                _ => failed,
            });
        }
        Ok(())
    }
}

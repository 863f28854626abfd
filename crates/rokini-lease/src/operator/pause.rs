//! Stops the reading of shards, and lets it go on.

use super::Operator;
use super::report::{OperatorError, PauseReport, Scope};
use crate::row::{OperatorOrder, OrderId, OrderKind, WorkerNotification, WorkerState};
use crate::store::{LeaseStore, LeaseStoreExt, Listing};
use crate::update::{GroupUpdate, LeaseUpdate};
use crate::write::WriteOutcome;

impl Operator {
    /// Stops the reading of shards. Leases are held and moved as ever, positions of what was fetched are stored,
    /// and nothing expires. The pause is stored: it outlives workers, and also holds for leases that come later
    /// where it is about the group. Pauses of the group and of single leases are apart: each must be resumed.
    ///
    /// # Errors
    /// [`OperatorError::UnknownLease`]; [`OperatorError::Store`].
    pub async fn pause(&self, scope: &Scope) -> Result<PauseReport, OperatorError> {
        self.set_paused(scope, true, None).await
    }

    /// Lets the reading of shards go on.
    ///
    /// # Errors
    /// As [`Operator::pause`].
    pub async fn resume(&self, scope: &Scope) -> Result<PauseReport, OperatorError> {
        self.set_paused(scope, false, None).await
    }

    pub(super) async fn set_paused(
        &self,
        scope: &Scope,
        paused: bool,
        undoes: Option<OrderId>,
    ) -> Result<PauseReport, OperatorError> {
        let view = self.list().await?;
        let mut report = PauseReport::default();
        if *scope == Scope::Group {
            if view.group.paused_at.is_some() != paused {
                report.order = Some(self.next_order(&view));
            }
            let update =
                if paused { GroupUpdate::Pause { at: self.clock.millis() } } else { GroupUpdate::Resume };
            self.store.update_group(&self.group, &update).await?;
            let workers = self.store.list(&self.group, Listing::Workers).await?.workers;
            for worker in workers.iter().filter(|row| row.state == WorkerState::Alive) {
                self.notify(&worker.id, WorkerNotification::GroupChanged).await;
            }
        } else {
            for row in self.select(&view, scope)? {
                let update = LeaseUpdate::Pause { paused };
                match self.store.update_lease(&self.group, &row.key, &update).await? {
                    WriteOutcome::Applied { after, .. } => {
                        self.notify_owner(&view, &after).await;
                        report.changed.push(after.key);
                    }
                    WriteOutcome::Refused { current: Some(_) } => {}
                    WriteOutcome::Refused { current: None } => {
                        return Err(self.unknown(std::slice::from_ref(&row.key)));
                    }
                }
            }
            report.order = (!report.changed.is_empty()).then(|| self.next_order(&view));
        }
        if let Some(id) = report.order {
            let what = if *scope == Scope::Group { "the group" } else { "single shards" };
            let kind = if paused { OrderKind::Pause } else { OrderKind::Resume };
            let mut order = OperatorOrder::new(id, kind, what).about(report.changed.iter().cloned());
            order.undoes = undoes;
            self.remember(order).await?;
        }
        Ok(report)
    }
}

//! Reads and writes of one worker or lease, wherever its row is.

use super::DynamoStore;
use super::attributes::Partition;
use super::calls::is_moved;
use super::expression;
use super::items::StoredRow;
use super::layout::LayoutRow;
use crate::error::{StoreError, StoreErrorKind};
use crate::row::Row;
use crate::types::GroupId;
use crate::write::{RowOutcome, RowWrite, WriteOutcome};

/// How often a layout is followed that changes meanwhile: a change takes longer than the failover time.
pub(super) const TRIES: usize = 5;

impl DynamoStore {
    /// Reads the row, consistently. The current place first: a row only goes from there to the next.
    pub(super) async fn read_member(&self, group: &GroupId, row: &str) -> Result<Option<Row>, StoreError> {
        let mut layout = self.layouts.layout(&self.calls, group).await?;
        for _ in 0..TRIES {
            let found = match self.calls.get(&layout.current.place(group, row), row).await {
                Err(error) if is_moved(&error) => match layout.next {
                    Some(next) => self.calls.get(&next.place(group, row), row).await,
                    None => Ok(None),
                },
                found => found,
            };
            match found {
                Err(error) if is_moved(&error) => {}
                Ok(None) => {}
                found => return found,
            }
            let now = self.layouts.ask(&self.calls, group).await?;
            if now == layout {
                return Ok(None);
            }
            layout = now;
        }
        Err(self.unsettled(group))
    }

    /// Changes or removes a row.
    pub(super) async fn write_member(
        &self,
        group: &GroupId,
        write: &RowWrite,
    ) -> Result<RowOutcome, StoreError> {
        let row = write.key().to_string();
        let mut layout = self.layouts.layout(&self.calls, group).await?;
        // Whether a try of this call may have been stored before the row went on.
        let mut uncertain = false;
        for _ in 0..TRIES {
            let mut outcome = self.write_at(&layout.current.place(group, &row), &row, write, uncertain).await;
            if let (Err(error), Some(next)) = (&outcome, layout.next)
                && is_moved(error)
            {
                uncertain |= error.is_ambiguous();
                outcome = self.write_at(&next.place(group, &row), &row, write, uncertain).await;
            }
            match outcome {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) if is_moved(&error) => uncertain |= error.is_ambiguous(),
                Err(error) => return Err(error),
            }
            let now = self.layouts.ask(&self.calls, group).await;
            let now = now.map_err(|error| error.may_have_applied(uncertain))?;
            if now == layout {
                return Ok(match write {
                    RowWrite::Delete(_) | RowWrite::DeleteLease(..) => RowOutcome::Deleted,
                    _ => RowOutcome::Refused { current: None },
                });
            }
            layout = now;
        }
        Err(self.unsettled(group).may_have_applied(uncertain))
    }

    /// The write under one key; `None` where there is no such row.
    async fn write_at(
        &self,
        place: &Partition,
        row: &str,
        write: &RowWrite,
        uncertain: bool,
    ) -> Result<Option<RowOutcome>, StoreError> {
        if uncertain
            && let Some(current) = self.calls.get::<Row>(place, row).await?
            && write.took_effect(Some(&current))
        {
            return Ok(Some(RowOutcome::Stored { before: None, after: current }));
        }
        let change = match write {
            RowWrite::UpdateLease(_, update) => expression::lease(update),
            RowWrite::UpdateWorker(_, update) => expression::worker(update),
            RowWrite::DeleteLease(_, seen) => return self.calls.delete_lease(place, row, *seen).await,
            RowWrite::Delete(_) => {
                let was_there = self.calls.delete::<Row>(place, row.to_owned()).await?;
                return Ok(was_there.then_some(RowOutcome::Deleted));
            }
            RowWrite::Insert(_) | RowWrite::UpdateGroup(_) | RowWrite::UpdateStream(..) => return Ok(None),
        };
        let outcome = self.calls.update(place, write, change).await?;
        Ok((outcome != RowOutcome::Refused { current: None }).then_some(outcome))
    }

    /// Inserts a row, and then makes sure that it is where others look for it.
    pub(super) async fn insert_member(
        &self,
        group: &GroupId,
        row: &Row,
        write: &RowWrite,
    ) -> Result<RowOutcome, StoreError> {
        let key = row.key().to_string();
        let mine = |current: &Row| write.took_effect(Some(current));
        let mut layout = self.layouts.layout(&self.calls, group).await?;
        for _ in 0..TRIES {
            let current = layout.current.place(group, &key);
            let (place, inserted) = match layout.next {
                None => (current.clone(), self.calls.insert(&current, row, mine).await),
                Some(next) => {
                    let place = next.place(group, &key);
                    (place.clone(), self.insert_ahead(&current, &place, row, mine).await)
                }
            };
            let inserted = match inserted {
                Err(error) if is_moved(&error) => {
                    let now = self.layouts.ask(&self.calls, group).await?;
                    if now == layout {
                        // Left by a group of this name that was deleted.
                        self.calls.clear(&place, &key).await?;
                    }
                    layout = now;
                    continue;
                }
                inserted => inserted?,
            };
            if !inserted.is_applied() {
                return Ok(inserted.into());
            }
            let now = self.layouts.ask(&self.calls, group).await;
            let now = now.map_err(|error| error.may_have_applied(true))?;
            if self.is_found(group, &now, &place, &key).await? {
                return Ok(inserted.into());
            }
            self.withdraw(group, &now, &place, row).await?;
            layout = now;
        }
        Err(self.unsettled(group).may_have_applied(true))
    }

    /// While rows go on, a new one is put ahead, together with the forwarding row at its current place, which others insert
    /// under.
    async fn insert_ahead(
        &self,
        current: &Partition,
        place: &Partition,
        row: &Row,
        mine: impl Fn(&Row) -> bool + Send + Sync,
    ) -> Result<WriteOutcome<Row>, StoreError> {
        if self.calls.insert_ahead(current, place, row).await? {
            return Ok(WriteOutcome::Applied { before: None, after: row.clone() });
        }
        match self.calls.get::<Row>(current, &row.sort_key()).await {
            Ok(Some(current)) => Ok(WriteOutcome::Refused { current: Some(current) }),
            // It went on, and was removed there.
            Err(error) if is_moved(&error) => self.calls.insert(place, row, mine).await,
            Ok(None) => Err(self.calls.conflict("TransactWriteItems")),
            Err(error) => Err(error),
        }
    }

    /// Whether a row that was inserted there is where the layout says. One that the rows go on from is taken along.
    async fn is_found(
        &self,
        group: &GroupId,
        layout: &LayoutRow,
        place: &Partition,
        row: &str,
    ) -> Result<bool, StoreError> {
        let next = layout.next.map(|next| next.place(group, row));
        if next.as_ref() == Some(place) {
            return Ok(true);
        }
        if layout.current.place(group, row) != *place {
            return Ok(false);
        }
        if let Some(next) = next {
            let carried = self.calls.carry(place, &next, row).await;
            carried.map_err(|error| error.may_have_applied(true))?;
        }
        Ok(true)
    }

    /// Takes back a row that was inserted where nobody looks any more.
    async fn withdraw(
        &self,
        group: &GroupId,
        layout: &LayoutRow,
        place: &Partition,
        row: &Row,
    ) -> Result<(), StoreError> {
        let key = row.sort_key();
        let withdrawn = async {
            if !self.calls.delete_unchanged(place, &row.item(place)).await? {
                // Somebody who did not know either has it.
                self.calls.carry(place, &layout.current.place(group, &key), &key).await?;
                self.calls.clear(place, &key).await?;
            }
            Ok(())
        };
        withdrawn.await.map_err(|error: StoreError| error.may_have_applied(true))
    }

    pub(super) fn unsettled(&self, group: &GroupId) -> StoreError {
        let message = format!(
            "the rows of group `{group}` of {} went to other partition keys again and again: it is tried again",
            self.calls.place.table()
        );
        StoreError::new(StoreErrorKind::Unavailable, message)
    }
}

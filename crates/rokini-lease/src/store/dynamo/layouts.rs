//! What this store knows of the layouts of groups: as wanted, and as found.
//!
//! What is known may be old. So whatever is not found where it is known to be is looked for again by a layout read
//! afresh, and whoever inserted a row reads the layout afterwards.
//!
//! Whoever begins a group with several keys writes the row that says so and then looks for rows of others; whoever takes
//! part without it writes its worker's row and then looks for that row. So of two that begin at once at least one sees the
//! other.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::attributes::{LAYOUT_ROW, Partition};
use super::calls::Calls;
use super::layout::{Layout, LayoutRow};
use crate::error::{StoreError, StoreErrorKind};
use crate::types::GroupId;
use crate::write::WriteOutcome;

/// For so long a layout that is changing is believed.
const MOVING: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
pub(super) struct Layouts {
    wanted: Option<NonZeroU16>,
    known: Arc<Mutex<BTreeMap<GroupId, Known>>>,
    /// Numbers what happens here, in order.
    events: Arc<AtomicU64>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    row: LayoutRow,
    at: Instant,
    /// When it was asked for, by the count of events.
    asked: u64,
}

impl Layouts {
    pub(super) fn wanted(count: NonZeroU16) -> Self {
        Self { wanted: Some(count), ..Self::default() }
    }

    fn known(&self, group: &GroupId) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(group).copied()
    }

    fn learn(&self, group: &GroupId, row: LayoutRow, asked: u64) {
        let known = Known { row, at: Instant::now(), asked };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(group.clone(), known);
    }

    pub(super) fn forget(&self, group: &GroupId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(group);
    }

    /// The layout as known, asked for where nothing is.
    pub(super) async fn layout(&self, calls: &Calls, group: &GroupId) -> Result<LayoutRow, StoreError> {
        match self.known(group) {
            Some(known) if known.row.next.is_none() || known.at.elapsed() < MOVING => Ok(known.row),
            // Somebody asks already, or nobody answers: whoever acts on what is old finds out.
            Some(known) if self.asking.try_lock().is_err() => Ok(known.row),
            Some(known) => Ok(self.ask(calls, group).await.unwrap_or_else(|error| {
                tracing::debug!(%group, %error, "where the rows of the group go cannot be read: as known before");
                known.row
            })),
            None => self.ask(calls, group).await,
        }
    }

    /// The layout as it stands now. Those who ask at once share a read that begins after all of them came.
    pub(super) async fn ask(&self, calls: &Calls, group: &GroupId) -> Result<LayoutRow, StoreError> {
        let came = self.events.fetch_add(1, Ordering::AcqRel);
        let _one_at_a_time = self.asking.lock().await;
        if let Some(known) = self.known(group).filter(|known| known.asked > came) {
            return Ok(known.row);
        }
        let asked = self.events.fetch_add(1, Ordering::AcqRel);
        let stored: Option<LayoutRow> = calls.get(&group.into(), LAYOUT_ROW).await?;
        let row = match (stored, self.wanted) {
            (None, Some(wanted)) if wanted != NonZeroU16::MIN => fix(calls, group, wanted).await?,
            (stored, _) => stored.unwrap_or_default(),
        };
        self.check(calls, group, &row)?;
        self.learn(group, row, asked);
        Ok(row)
    }

    /// A listing showed this layout row, which may lag behind.
    pub(super) async fn shown(
        &self,
        calls: &Calls,
        group: &GroupId,
        row: Option<LayoutRow>,
    ) -> Result<LayoutRow, StoreError> {
        if self.known(group).is_none() && self.wanted.is_some() {
            return self.ask(calls, group).await;
        }
        let row = row.unwrap_or_default();
        match self.known(group) {
            Some(known) if known.row.step() >= row.step() => self.layout(calls, group).await,
            // What it lags behind with has to be known before it is acted upon.
            _ if row.next.is_some() => self.ask(calls, group).await,
            _ => {
                self.check(calls, group, &row)?;
                self.learn(group, row, self.events.fetch_add(1, Ordering::AcqRel));
                Ok(row)
            }
        }
    }

    /// A number that is set is the one the group began with. It says nothing of one that was changed since.
    fn check(&self, calls: &Calls, group: &GroupId, row: &LayoutRow) -> Result<(), StoreError> {
        let is_changed = row.current.is_changed() || row.next.is_some();
        match self.wanted {
            Some(wanted) if !is_changed && wanted != row.current.keys => {
                Err(refused(calls, group, row.current.keys, wanted))
            }
            _ => Ok(()),
        }
    }
}

/// Writes down the number for a group that has no rows yet.
async fn fix(calls: &Calls, group: &GroupId, wanted: NonZeroU16) -> Result<LayoutRow, StoreError> {
    let (base, row) = (Partition::from(group), LayoutRow::of(Layout::begun(wanted)));
    if calls.has_members(&base).await? {
        return Err(refused(calls, group, NonZeroU16::MIN, wanted));
    }
    match calls.insert(&base, &row, |current| *current == row).await? {
        WriteOutcome::Applied { .. } => {}
        WriteOutcome::Refused { current } => return Ok(current.unwrap_or(row)),
    }
    if calls.has_members(&base).await? {
        calls.delete::<LayoutRow>(&base, LAYOUT_ROW.to_owned()).await?;
        return Err(refused(calls, group, NonZeroU16::MIN, wanted));
    }
    Ok(row)
}

fn refused(calls: &Calls, group: &GroupId, stored: NonZeroU16, wanted: NonZeroU16) -> StoreError {
    let message = format!(
        "group `{group}` of {} ({}) has its leases under {stored} partition keys, but {wanted} are set: set `partitions({stored})`, or none; `rokini group repartition {group} {wanted}` changes the number while workers run",
        calls.place.table(),
        calls.place.location()
    );
    StoreError::new(StoreErrorKind::Configuration, message)
}

//! Listings of a group, wherever its rows are.
//!
//! While rows go on, a listing reads the places they leave before those they go to, consistently: so it misses none, and
//! what it reads twice it shows as read last.

use futures::stream::{self, StreamExt, TryStreamExt};

use super::DynamoStore;
use super::attributes::Partition;
use super::calls::{Part, WorkerRange};
use super::layout::{Layout, LayoutRow};
use super::members::TRIES;
use crate::error::StoreError;
use crate::row::GroupView;
use crate::store::listing::ListingPage;
use crate::types::{GroupId, PageToken};

/// Partition keys of one group that are listed at once.
const LISTINGS_AT_ONCE: usize = 8;

/// Which rows of a key are read.
#[derive(Clone, Copy)]
enum Rows<'a> {
    All,
    Workers(&'a WorkerRange),
}

impl DynamoStore {
    /// Every row of the group.
    pub(super) async fn list_all(&self, group: &GroupId) -> Result<GroupView, StoreError> {
        for _ in 0..TRIES {
            let base = self.calls.list(&group.into(), false).await?;
            let layout = self.layouts.shown(&self.calls, group, base.layout).await?;
            if layout == LayoutRow::default() {
                if !base.moved || self.layouts.ask(&self.calls, group).await? == layout {
                    return Ok(base.view);
                }
                continue;
            }
            // What stands under the group's name beside its streams is there by mistake, or read once more.
            let mut view = GroupView { workers: Vec::new(), leases: Vec::new(), ..base.view };
            view.unreadable.retain(|row| !row.is_member());
            let part = self.list_places(group, &layout, Rows::All, false).await?;
            if part.moved && self.layouts.ask(&self.calls, group).await? != layout {
                continue;
            }
            view.workers.extend(part.view.workers);
            view.leases.extend(part.view.leases);
            view.unreadable.extend(part.view.unreadable.into_iter().filter(|row| row.is_member()));
            view.sort();
            return Ok(view);
        }
        Err(self.unsettled(group))
    }

    /// The workers of a range.
    pub(super) async fn list_workers(
        &self,
        group: &GroupId,
        range: &WorkerRange,
        consistent: bool,
    ) -> Result<GroupView, StoreError> {
        let mut layout = self.layouts.layout(&self.calls, group).await?;
        for _ in 0..TRIES {
            let part = self.list_places(group, &layout, Rows::Workers(range), consistent).await?;
            let is_empty = part.view.workers.is_empty() && part.view.unreadable.is_empty();
            if !part.moved && !is_empty {
                return Ok(part.view);
            }
            // Nobody, or forwarding rows: the layout may be another one.
            let now = self.layouts.ask(&self.calls, group).await?;
            if now == layout {
                return Ok(part.view);
            }
            layout = now;
        }
        Err(self.unsettled(group))
    }

    async fn list_places(
        &self,
        group: &GroupId,
        layout: &LayoutRow,
        rows: Rows<'_>,
        consistent: bool,
    ) -> Result<Part, StoreError> {
        let consistent = consistent || layout.next.is_some();
        let read = |place: Partition| async move {
            match rows {
                Rows::All => self.calls.list(&place, consistent).await,
                Rows::Workers(range) => self.calls.list_workers(&place, range, consistent).await,
            }
        };
        let mut all = Part::default();
        for generation in std::iter::once(layout.current).chain(layout.next) {
            let places = match rows {
                Rows::All => generation.places(group),
                Rows::Workers(_) => vec![generation.workers(group)],
            };
            let parts = stream::iter(places).map(read).buffer_unordered(LISTINGS_AT_ONCE);
            for part in parts.try_collect::<Vec<_>>().await? {
                all.view.append(part.view);
                // Forwarding rows are no news where the rows are known to go, but for where they go to.
                all.moved |= part.moved && layout.next.is_none_or(|next| next == generation);
            }
        }
        all.view.sort();
        Ok(all)
    }

    /// A page of one place after the other: first what is under the group's name, then what is elsewhere. A token is the
    /// place with the last row read. A place that is no longer one begins those of the current layout: what was there
    /// went on to them.
    pub(super) async fn page(
        &self,
        group: &GroupId,
        from: Option<&PageToken>,
        rows: u32,
    ) -> Result<ListingPage, StoreError> {
        let base = Partition::from(group);
        let mut layout = match from {
            None => LayoutRow::default(),
            Some(_) => self.layouts.layout(&self.calls, group).await?,
        };
        let (place, after) = match from.and_then(|from| from.as_str().split_once(' ')) {
            None => (base.clone(), ""),
            Some((place, after)) => {
                let place = Partition(place.to_owned());
                let is_place = place == base || layout.places(group).contains(&place);
                if is_place { (place, after) } else { (layout.current.workers(group), "") }
            }
        };
        let mut page = self.calls.page(&place, after, rows, layout.next.is_some()).await?;
        if place == base && page.layout.is_some() || from.is_none() {
            layout = self.layouts.shown(&self.calls, group, page.layout).await?;
        }
        if page.moved && layout.next.is_none() {
            layout = self.layouts.ask(&self.calls, group).await?;
        }
        if place == base && layout.current != Layout::SINGLE {
            page.view.workers.clear();
            page.view.leases.clear();
            page.view.unreadable.retain(|row| !row.is_member());
        }
        let next = match page.last {
            Some(last) => Some(PageToken::new(format!("{place} {last}"))),
            None => {
                let others = layout.places(group).into_iter().filter(|place| *place != base);
                let places: Vec<Partition> = std::iter::once(base.clone()).chain(others).collect();
                let at = places.iter().position(|other| *other == place);
                // It went on meanwhile: on with where it went.
                let next = at.map_or(1, |at| at + 1);
                places.get(next).map(|place| PageToken::new(format!("{place} ")))
            }
        };
        Ok(ListingPage { view: page.view, next })
    }
}

//! What a listing returns.

use crate::row::{GroupView, Row, RowKey};
use crate::types::{PageToken, WorkerId};

/// Which rows of a group are listed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The worker rows only: small and frequent.
    Workers,
    /// The worker rows by consistent reads, at twice the read units: every one that was written before.
    WorkersNow,
    /// Every row of the group.
    All,
}

impl Listing {
    /// Whether rows of this key belong to it.
    #[must_use]
    pub fn includes(self, key: &RowKey) -> bool {
        self == Self::All || matches!(key, RowKey::Worker(_))
    }
}

/// A part of a listing, read by one small call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingQuery {
    /// The worker rows with ids after one and up to another; `None` without a bound.
    Workers {
        /// The last id before the part.
        after: Option<WorkerId>,
        /// The last id of the part.
        until: Option<WorkerId>,
    },
    /// A page of everything, in an order that the store chooses.
    Page {
        /// Where the page before ended; `None` for the first.
        from: Option<PageToken>,
        /// About how many rows.
        rows: u32,
    },
}

/// What a part of a listing returned.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ListingPage {
    /// The rows of the part.
    pub view: GroupView,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<PageToken>,
}

impl ListingPage {
    /// These rows, and where the next page begins.
    #[must_use]
    pub fn new(view: GroupView, next: Option<PageToken>) -> Self {
        Self { view, next }
    }
}

impl ListingQuery {
    /// The listing that has all of its rows.
    #[must_use]
    pub fn whole(&self) -> Listing {
        match self {
            Self::Workers { .. } => Listing::Workers,
            Self::Page { .. } => Listing::All,
        }
    }

    /// Picks the part from the whole. Pages go by the order of keys.
    #[must_use]
    pub fn of(&self, view: GroupView) -> ListingPage {
        match self {
            Self::Workers { after, until } => {
                let mut view = view;
                view.workers.retain(|row| {
                    after.as_ref().is_none_or(|after| row.id > *after)
                        && until.as_ref().is_none_or(|until| row.id <= *until)
                });
                ListingPage { view, next: None }
            }
            Self::Page { from, rows } => page(view, from.as_ref(), *rows as usize),
        }
    }
}

fn page(view: GroupView, from: Option<&PageToken>, count: usize) -> ListingPage {
    let (group, unreadable) = (view.group, view.unreadable);
    let leases = view.leases.into_iter().map(Row::from);
    let streams = view.streams.into_iter().map(Row::from);
    let workers = view.workers.into_iter().map(Row::from);
    let past = |row: &Row| from.is_none_or(|from| row.key().to_string().as_str() > from.as_str());
    let mut rest = leases.chain(streams).chain(workers).filter(past).peekable();
    let rows: Vec<Row> = rest.by_ref().take(count.max(1)).collect();
    let last = rest.peek().and_then(|_| rows.last()).map(|row| PageToken::new(row.key().to_string()));
    let mut view: GroupView = rows.into_iter().collect();
    if from.is_none() {
        (view.group, view.unreadable) = (group, unreadable);
    }
    ListingPage { view, next: last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use crate::row::{GroupRow, LeaseRow, StreamRow, WorkerRow};

    fn worker(n: u64) -> WorkerRow {
        WorkerRow::joining(format!("w{n}#{n:016x}").parse().unwrap(), None)
    }

    fn view() -> GroupView {
        let lease = |n| LeaseRow::new(format!("s#{n}").parse().unwrap(), Position::TrimHorizon);
        let stream = StreamRow {
            id: "s".parse().unwrap(),
            name: "s".to_owned(),
            start: Position::TrimHorizon,
            consumer: None,
        };
        GroupView {
            workers: (0..3).map(worker).collect(),
            leases: (0..4).map(lease).collect(),
            streams: vec![stream],
            group: GroupRow { paused_at: Some(1), orders: Vec::new() },
            unreadable: Vec::new(),
        }
    }

    #[test]
    fn pages_come_to_the_whole() {
        for rows in 1..10 {
            let (mut all, mut from, mut pages) = (GroupView::default(), None, 0);
            loop {
                let page = ListingQuery::Page { from, rows }.of(view());
                all.append(page.view);
                pages += 1;
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
            assert_eq!((all, pages), (view(), 8_u32.div_ceil(rows)));
        }
    }

    #[test]
    fn a_part_of_the_workers_goes_from_one_id_to_another() {
        let ids = |after: Option<u64>, until: Option<u64>| {
            let id = |n| worker(n).id;
            let part = ListingQuery::Workers { after: after.map(id), until: until.map(id) };
            part.of(view()).view.workers.iter().map(|row| row.id.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, None), ["w0", "w1", "w2"]);
        assert_eq!(ids(Some(0), Some(1)), ["w1"]);
        assert_eq!(ids(Some(1), None), ["w2"]);
    }
}

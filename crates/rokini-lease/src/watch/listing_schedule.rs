//! When everything is listed, page by page: seldom, never in a storm, and a listing that fails goes on where it was.

use tokio::time::{Duration, Instant};

use crate::pace::{PAGE_PAUSE, Pace};
use crate::row::GroupView;
use crate::types::PageToken;

/// Between two listings in any case.
const REST: Duration = Duration::from_millis(200);
/// So many listings may be asked for one after the other; then one more in each [`REFILL`].
const BURST: f64 = 5.0;
const REFILL: Duration = Duration::from_secs(6);
/// Waits after the first failure of a page, doubled with each further one, up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(20);

/// What a listing is for, beyond what its worker does for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ListingCauses {
    /// Leases that nobody has are given to whom they fall to.
    pub(crate) place_unassigned: bool,
    /// Moves between other workers are asked for in their names.
    pub(crate) balance_others: bool,
}

impl ListingCauses {
    /// A newcomer minds what falls to itself.
    pub(crate) const JOINED: Self = Self { place_unassigned: false, balance_others: false };
    /// Somebody died, or leases were made: nobody else will look.
    pub(crate) const UNASSIGNED: Self = Self { place_unassigned: true, balance_others: false };
    /// Whatever was left undone.
    pub(crate) const EVERYTHING: Self = Self { place_unassigned: true, balance_others: true };

    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            place_unassigned: self.place_unassigned || other.place_unassigned,
            balance_others: self.balance_others || other.balance_others,
        }
    }
}

/// A listing on its way.
#[derive(Debug)]
struct Listing {
    causes: ListingCauses,
    rows: GroupView,
    next: Option<PageToken>,
}

/// When to list, and how far a listing has come.
#[derive(Debug)]
pub(crate) struct ListingSchedule {
    /// When one is due in any case.
    regular: Instant,
    /// What is asked for, and when it is due.
    asked: Option<(Instant, ListingCauses)>,
    /// Before this no page is read.
    earliest: Instant,
    /// How many more may be asked for without a pause, at a time.
    credit: (f64, Instant),
    failures: u32,
    listing: Option<Listing>,
}

impl ListingSchedule {
    /// The first is due now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            regular: now + Duration::from_secs(3600),
            asked: Some((now, ListingCauses::JOINED)),
            earliest: now,
            credit: (BURST, now),
            failures: 0,
            listing: None,
        }
    }

    /// Asks for a listing at `at` or soon after. One that is on its way may be past what is asked about: it does not count.
    pub(crate) fn ask(&mut self, at: Instant, causes: ListingCauses) {
        self.asked = Some(match self.asked {
            None => (at, causes),
            Some((due, other)) => (due.min(at), causes.or(other)),
        });
    }

    /// When the next page is to be read.
    pub(crate) fn next_due(&self) -> Instant {
        let due = match (&self.listing, self.asked) {
            (Some(_), _) => return self.earliest,
            (None, Some((due, _))) => due.min(self.regular),
            (None, None) => self.regular,
        };
        due.max(self.earliest)
    }

    /// Begins a listing, or goes on with one: from where the next page is read.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<PageToken> {
        let listing = self.listing.get_or_insert_with(|| {
            let regular = (self.regular <= now).then_some(ListingCauses::EVERYTHING);
            let asked = self.asked.take().map(|(_, causes)| causes);
            let causes = regular.into_iter().chain(asked).fold(ListingCauses::JOINED, ListingCauses::or);
            Listing { causes, rows: GroupView::default(), next: None }
        });
        listing.next.clone()
    }

    /// Takes in a page. The whole, and what it is for, once it is the last one.
    pub(crate) fn read(
        &mut self,
        page: GroupView,
        next: Option<PageToken>,
        now: Instant,
    ) -> Option<(GroupView, ListingCauses)> {
        self.failures = 0;
        let mut listing = self.listing.take()?;
        listing.rows.append(page);
        if next.is_some() {
            (listing.next, self.earliest) = (next, now + PAGE_PAUSE);
            self.listing = Some(listing);
            return None;
        }
        self.earliest = now + self.rest(now);
        listing.rows.sort();
        Some((listing.rows, listing.causes))
    }

    /// A listing is complete: when the next regular one is due. `spread` is between 0.9 and 1.1, so that a fleet started at
    /// once does not list at once for ever.
    pub(crate) fn rest_regularly(&mut self, view: &GroupView, pace: Pace, spread: f64, now: Instant) {
        self.regular = now + pace.listing(view.workers.len(), view.leases.len()).mul_f64(spread);
    }

    /// A page, or what was to be done after the last one, failed. `spread` as above. What was read so far stays.
    pub(crate) fn failed(&mut self, spread: f64, now: Instant) {
        let wait = FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.earliest = now + wait.min(LONGEST_RETRY).mul_f64(spread);
    }

    fn rest(&mut self, now: Instant) -> Duration {
        let (credit, since) = self.credit;
        let refilled = credit + (now - since).as_secs_f64() / REFILL.as_secs_f64();
        let left = refilled.min(BURST) - 1.0;
        self.credit = (left.max(0.0), now);
        if left >= 1.0 { REST } else { REFILL.mul_f64((1.0 - left).min(1.0)).max(REST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use crate::row::LeaseRow;
    use crate::watch::testing::{PACE, SECOND};

    fn page(n: usize) -> GroupView {
        let row = LeaseRow::new(format!("s#{n:03}").parse().unwrap(), Position::TrimHorizon);
        GroupView { leases: vec![row], ..GroupView::default() }
    }

    fn token(n: usize) -> Option<PageToken> {
        Some(PageToken::new(n.to_string()))
    }

    #[tokio::test]
    async fn pages_become_a_listing_and_what_fails_goes_on_where_it_was() {
        let now = Instant::now();
        let mut schedule = ListingSchedule::new(now);
        assert_eq!((schedule.next_due(), schedule.begin(now)), (now, None));
        assert_eq!(schedule.read(page(2), token(1), now), None);
        assert_eq!(schedule.next_due(), now + PAGE_PAUSE);
        schedule.failed(1.0, now);
        assert_eq!((schedule.next_due(), schedule.begin(now)), (now + FIRST_RETRY, token(1)));
        // What is asked for meanwhile is for the next one.
        schedule.ask(now, ListingCauses::UNASSIGNED);
        let (view, causes) = schedule.read(page(1), None, now).unwrap();
        assert_eq!((view.leases.len(), causes), (2, ListingCauses::JOINED));
        assert!(view.leases.is_sorted_by_key(|row| row.key.clone()));
        schedule.rest_regularly(&view, PACE, 1.0, now);
        assert_eq!((schedule.next_due(), schedule.begin(now + SECOND)), (now + REST, None));
        let (_, causes) = schedule.read(page(1), None, now + SECOND).unwrap();
        assert_eq!(causes, ListingCauses::UNASSIGNED);
    }

    #[tokio::test]
    async fn l13_listings_are_bounded_whatever_asks_for_them_and_whatever_fails() {
        for fails in [false, true] {
            let mut now = Instant::now();
            let (end, mut pages) = (now + 60 * SECOND, 0);
            let mut schedule = ListingSchedule::new(now);
            while now < end {
                schedule.ask(now, ListingCauses::EVERYTHING);
                now = now.max(schedule.next_due());
                schedule.begin(now);
                pages += 1;
                if fails {
                    schedule.failed(1.0, now);
                } else {
                    schedule.read(page(1), None, now).unwrap();
                }
            }
            assert!(pages <= 16, "fails {fails}: {pages} a minute");
        }
    }

    #[tokio::test]
    async fn a_quiet_fleet_lists_regularly_and_then_minds_everything() {
        let now = Instant::now();
        let mut schedule = ListingSchedule::new(now);
        schedule.begin(now);
        let (view, _) = schedule.read(page(1), None, now).unwrap();
        schedule.rest_regularly(&view, PACE, 1.1, now);
        assert_eq!(schedule.next_due(), now + 33 * SECOND);
        schedule.begin(now + 33 * SECOND);
        let (_, causes) = schedule.read(page(1), None, now + 33 * SECOND).unwrap();
        assert_eq!(causes, ListingCauses::EVERYTHING);
    }
}

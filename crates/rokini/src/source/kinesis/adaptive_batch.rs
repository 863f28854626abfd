//! How many records a read asks for. Pure.

use std::time::Duration;

/// Fewer after an answer that did not arrive whole in time, so that a slow link gets on by smaller answers instead of
/// asking for the same 10 MB for ever; more again after answers that came soon.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdaptiveBatch {
    most: u16,
    now: u16,
    /// How many of them fit into the memory there is.
    fit: u16,
    /// The memory that a record of the last answer took.
    each: usize,
}

/// What a record takes before any was seen.
const UNSEEN: usize = 10 << 10;

impl AdaptiveBatch {
    pub(super) fn new(most: u16) -> Self {
        Self { most, now: most, fit: most, each: UNSEEN }
    }

    pub(super) fn records(self) -> u16 {
        self.now.min(self.fit)
    }

    /// The next answer should take about so much memory at most.
    pub(super) fn fit_into(&mut self, bytes: usize) {
        self.fit = u16::try_from(bytes / self.each).unwrap_or(u16::MAX).max(1);
    }

    /// The last answer had so many records, which take so much memory.
    pub(super) fn brought(&mut self, records: usize, bytes: usize) {
        if let Some(each) = bytes.checked_div(records) {
            self.each = each.max(1);
        }
    }

    /// The answer was not there in time, or broke off.
    pub(super) fn cut_off(&mut self) {
        self.now = (self.now / 4).max(1);
    }

    /// An answer came that took so long, of `limit` that it may take. Twice as much must have its time too.
    pub(super) fn answered(&mut self, took: Duration, limit: Duration) {
        if took < limit / 4 {
            self.now = self.now.saturating_mul(2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// How many records arrive within ten minutes, over a link that takes so long for each.
    fn arrived(most: u16, each: Duration) -> u32 {
        let (mut limit, mut records, mut spent) = (AdaptiveBatch::new(most), 0, Duration::ZERO);
        while spent < Duration::from_secs(600) {
            let asked = limit.records();
            let took = each * u32::from(asked);
            if took > LIMIT {
                limit.cut_off();
                spent += LIMIT;
            } else {
                limit.answered(took, LIMIT);
                spent += took.max(Duration::from_millis(200));
                records += u32::from(asked);
            }
        }
        records
    }

    #[test]
    fn a_link_of_any_pace_is_used_by_half_at_least() {
        for most in [1, 10_000] {
            for millis in [1, 2, 20, 300, 2_000] {
                let possible = 600_000 / millis.max(if most == 1 { 200 } else { 1 });
                let arrived = arrived(most, Duration::from_millis(millis.into()));
                assert!(arrived > possible / 2, "{most} at most, {millis} ms each: {arrived} of {possible}");
            }
        }
    }

    #[test]
    fn it_asks_for_no_more_than_fits() {
        let mut limit = AdaptiveBatch::new(10_000);
        limit.fit_into(12 << 20);
        assert_eq!(limit.records(), 1_228, "before a record was seen");
        limit.brought(1_000, 1_200_000);
        limit.fit_into(12 << 20);
        assert_eq!(limit.records(), 10_000);
        limit.fit_into(300_000);
        assert_eq!(limit.records(), 250);
        limit.brought(0, 0);
        limit.fit_into(7);
        assert_eq!(limit.records(), 1);
    }

    #[test]
    fn it_asks_for_all_again_once_answers_come_soon() {
        let mut limit = AdaptiveBatch::new(10_000);
        (0..20).for_each(|_| limit.cut_off());
        assert_eq!(limit.records(), 1);
        (0..20).for_each(|_| limit.answered(Duration::from_millis(50), LIMIT));
        assert_eq!(limit.records(), 10_000);
    }
}

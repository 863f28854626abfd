//! Who gets how much of a budget. Does no I/O and waits for nothing.
//!
//! Half of the budget is divided evenly between the shards: each can use its share at any time, so that one whose handler
//! blocks holds up no other. The other half is common, for those who need more than their share, in the order in which they
//! asked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

/// Which shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AccountId(u64);

/// What a read asks for, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What the next answer needs as far as is known.
    pub(super) least: usize,
    /// What it needs at most.
    pub(super) most: usize,
}

/// Tells a shard that waits that it may ask again.
pub(super) trait Wake {
    fn wake(&self);
}

impl Wake for Arc<Notify> {
    fn wake(&self) {
        self.notify_one();
    }
}

#[derive(Debug)]
struct Account<W> {
    used: usize,
    open: bool,
    waker: W,
}

#[derive(Debug)]
pub(super) struct Shares<W> {
    total: usize,
    accounts: HashMap<AccountId, Account<W>>,
    open: usize,
    used: usize,
    /// What all of them use beyond their shares.
    excess: usize,
    queue: VecDeque<AccountId>,
    next: u64,
}

impl<W: Wake> Shares<W> {
    pub(super) fn new(total: usize) -> Self {
        Self { total, accounts: HashMap::new(), open: 0, used: 0, excess: 0, queue: VecDeque::new(), next: 0 }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn common(&self) -> usize {
        self.total / 2
    }

    fn share(&self) -> usize {
        (self.total - self.common()) / self.open.max(1)
    }

    pub(super) fn open(&mut self, waker: W) -> AccountId {
        let id = AccountId(self.next);
        self.next += 1;
        self.accounts.insert(id, Account { used: 0, open: true, waker });
        self.open += 1;
        self.shares_changed();
        id
    }

    /// What it uses still counts until it is given back.
    pub(super) fn close(&mut self, id: AccountId) {
        self.leave_queue(id);
        if let Some(account) = self.accounts.get_mut(&id) {
            account.open = false;
            self.open -= 1;
        }
        self.forget(id);
        self.shares_changed();
    }

    fn forget(&mut self, id: AccountId) {
        if self.accounts.get(&id).is_some_and(|account| !account.open && account.used == 0) {
            self.accounts.remove(&id);
        }
    }

    fn shares_changed(&mut self) {
        let share = self.share();
        self.excess = self.accounts.values().map(|account| account.used.saturating_sub(share)).sum();
        for waiting in &self.queue {
            if let Some(account) = self.accounts.get(waiting) {
                account.waker.wake();
            }
        }
    }

    /// Takes room for an answer. `None`: there is none, and the shard is in the queue now.
    pub(super) fn grant(&mut self, id: AccountId, wanted: Wanted) -> Option<usize> {
        let used = self.accounts.get(&id).map_or(0, |account| account.used);
        let granted = self.decide(id, used, wanted);
        match granted {
            Some(bytes) => self.change(id, 0, bytes),
            None if !self.queue.contains(&id) => self.queue.push_back(id),
            None => {}
        }
        granted
    }

    fn decide(&self, id: AccountId, used: usize, wanted: Wanted) -> Option<usize> {
        let (share, common) = (self.share(), self.common());
        let left = common.saturating_sub(self.excess);
        let from_common = |bytes: usize| (used + bytes).saturating_sub(share) - used.saturating_sub(share);
        let is_next = self.queue.front().is_none_or(|first| *first == id);
        // While half of what is common is left, nobody is kept from a whole answer.
        if is_next && from_common(wanted.most) <= left.saturating_sub(common / 2) {
            return Some(wanted.most);
        }
        if used + wanted.least <= share {
            return Some((share - used).min(wanted.most));
        }
        if is_next && from_common(wanted.least) <= left {
            return Some(wanted.least);
        }
        // Every shard can hold one answer: one that fits into its share.
        (used == 0).then(|| wanted.least.min(share).max(1))
    }

    pub(super) fn leave_queue(&mut self, id: AccountId) {
        let was_first = self.queue.front() == Some(&id);
        self.queue.retain(|waiting| *waiting != id);
        if was_first {
            self.wake_first();
        }
    }

    fn wake_first(&self) {
        if let Some(account) = self.queue.front().and_then(|first| self.accounts.get(first)) {
            account.waker.wake();
        }
    }

    /// A part of an account's use becomes larger or smaller, or is given back.
    pub(super) fn change(&mut self, id: AccountId, from: usize, to: usize) {
        let share = self.share();
        let Some(account) = self.accounts.get_mut(&id) else { return };
        let before = account.used;
        account.used = before - from + to;
        self.used = self.used - from + to;
        self.excess = self.excess - before.saturating_sub(share) + account.used.saturating_sub(share);
        if to < from {
            account.waker.wake();
            self.wake_first();
        }
        self.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: usize = 1 << 20;
    const WANTED: Wanted = Wanted { least: 64 << 10, most: 12 * MIB };

    impl Wake for () {
        fn wake(&self) {}
    }

    fn shares(total: usize, accounts: usize) -> (Shares<()>, Vec<AccountId>) {
        let mut shares = Shares::new(total);
        let ids = (0..accounts).map(|_| shares.open(())).collect();
        (shares, ids)
    }

    #[test]
    fn a_few_shards_get_whole_answers() {
        let (mut shares, ids) = shares(256 * MIB, 4);
        for id in ids.iter().chain(&ids) {
            assert_eq!(shares.grant(*id, WANTED), Some(12 * MIB));
        }
    }

    #[test]
    fn many_shards_that_get_nothing_done_get_one_answer_each_within_the_budget() {
        let (mut shares, ids) = shares(256 * MIB, 300);
        let share = 128 * MIB / 300;
        for round in 0..3 {
            for id in &ids {
                let granted = shares.grant(*id, Wanted { least: 12 * MIB, most: 12 * MIB });
                assert!(round > 0 || granted.is_some_and(|bytes| bytes >= share), "{granted:?}");
            }
        }
        assert!(shares.used() <= 256 * MIB);
        assert!(shares.waiting() > 250);
    }

    #[test]
    fn who_asked_first_gets_what_is_common_first() {
        let (mut shares, ids) = shares(8 * MIB, 4);
        let wanted = Wanted { least: 3 * MIB, most: 12 * MIB };
        // 1 MiB of its share, 2 of what is common.
        assert_eq!(shares.grant(ids[0], wanted), Some(3 * MIB));
        assert_eq!(shares.grant(ids[1], wanted), Some(3 * MIB));
        assert_eq!(shares.grant(ids[0], wanted), None);
        assert_eq!(shares.grant(ids[1], wanted), None);
        shares.change(ids[1], 3 * MIB, 0);
        // The second has its own share, but no more.
        assert_eq!(shares.grant(ids[1], wanted), Some(MIB));
        shares.change(ids[0], 3 * MIB, 0);
        assert_eq!(shares.grant(ids[0], wanted), Some(3 * MIB));
        shares.leave_queue(ids[0]);
        assert_eq!(shares.waiting(), 1);
    }

    #[test]
    fn a_closed_account_counts_until_it_has_given_all_back() {
        let (mut shares, ids) = shares(8 * MIB, 2);
        assert_eq!(shares.grant(ids[0], Wanted { least: MIB, most: MIB }), Some(MIB));
        shares.close(ids[0]);
        assert_eq!((shares.used(), shares.accounts.len()), (MIB, 2));
        shares.change(ids[0], MIB, 0);
        assert_eq!((shares.used(), shares.accounts.len()), (0, 1));
    }

    proptest! {
        /// Answers are never larger than what was granted: then no order of events brings the use beyond the budget, and
        /// nobody without anything is ever refused.
        #[test]
        fn p1_the_budget_holds_and_nobody_starves(
            total in MIB..64 * MIB,
            steps in prop::collection::vec((0..20_usize, 0..4_u8, 1..14 * MIB), 1..400),
        ) {
            let (mut shares, ids) = shares(total, 20);
            let mut held: Vec<Vec<usize>> = vec![Vec::new(); 20];
            for (who, what, size) in steps {
                match what {
                    0 | 1 => {
                        let wanted = Wanted { least: size.min(12 * MIB), most: 12 * MIB };
                        let granted = shares.grant(ids[who], wanted);
                        if let Some(granted) = granted {
                            shares.leave_queue(ids[who]);
                            let answer = size.min(granted);
                            shares.change(ids[who], granted, answer);
                            held[who].push(answer);
                        }
                        prop_assert!(granted.is_some() || !held[who].is_empty());
                    }
                    _ => if let Some(done) = held[who].pop() {
                        shares.change(ids[who], done, 0);
                    },
                }
                let sum: usize = held.iter().flatten().sum();
                prop_assert_eq!(shares.used(), sum);
                prop_assert!(sum <= total, "{} of {}", sum, total);
                let share = shares.share();
                let excess: usize = held.iter().map(|held| held.iter().sum::<usize>().saturating_sub(share)).sum();
                prop_assert_eq!(shares.excess, excess);
            }
            // Once everything is done, whoever waits is served in turn.
            for (who, held) in held.iter().enumerate() {
                for done in held {
                    shares.change(ids[who], *done, 0);
                }
            }
            while let Some(&first) = shares.queue.front() {
                let granted = shares.grant(first, Wanted { least: MIB, most: 12 * MIB });
                prop_assert!(granted.is_some());
                shares.leave_queue(first);
                let used = shares.accounts[&first].used;
                shares.change(first, used, 0);
            }
        }
    }
}

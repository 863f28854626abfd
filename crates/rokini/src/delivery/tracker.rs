//! Which records of a shard are done.

use std::collections::VecDeque;

use rokini_lease::Position;

/// Names a delivery until it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a delivery that is never done holds back every position after it"]
pub(crate) struct Ticket(u64);

/// Knows which deliveries are done, in any order, and so how far the shard is: the end of the contiguous done
/// prefix.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// Everything up to here is done.
    done: Position,
    /// Everything up to here was delivered.
    delivered: Position,
    /// Deliveries after `done`, in order, each with whether it is done.
    open: VecDeque<(Position, bool)>,
    /// The ticket of the first of them.
    first: u64,
}

impl Tracker {
    pub(crate) fn new(start: Position) -> Self {
        Self { done: start, delivered: start, open: VecDeque::new(), first: 0 }
    }

    /// Records up to `end` are about to be delivered. Deliveries come in the order of the shard.
    pub(crate) fn deliver(&mut self, end: Position) -> Ticket {
        let ticket = Ticket(self.first + self.open.len() as u64);
        self.delivered = self.delivered.max(end);
        self.open.push_back((end, false));
        ticket
    }

    /// A delivery is done. The position of the shard, where that moved it.
    pub(crate) fn done(&mut self, ticket: Ticket) -> Option<Position> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        self.open.get_mut(index)?.1 = true;
        let before = self.done;
        while let Some((end, true)) = self.open.front() {
            self.done = self.done.max(*end);
            self.open.pop_front();
            self.first += 1;
        }
        (self.done > before).then_some(self.done)
    }

    /// The end of what was delivered.
    pub(crate) fn delivered(&self) -> Position {
        self.delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rokini_lease::SequenceNumber;

    fn after(number: u128) -> Position {
        Position::after(SequenceNumber::from(number))
    }

    #[test]
    fn in_order() {
        let mut tracker = Tracker::new(Position::TrimHorizon);
        let first = tracker.deliver(after(1));
        assert_eq!(tracker.done(first), Some(after(1)));
        assert_eq!(tracker.done(first), None, "a ticket counts once");
        let _second = tracker.deliver(after(2));
        assert_eq!(tracker.delivered(), after(2));
    }

    proptest! {
        #[test]
        fn c4_position_is_the_end_of_the_contiguous_done_prefix(
            order in Just((0..24usize).collect::<Vec<_>>()).prop_shuffle(),
            acked in 0..24usize,
        ) {
            let mut tracker = Tracker::new(Position::TrimHorizon);
            let tickets: Vec<_> = (1..=24).map(|n| tracker.deliver(after(n))).collect();
            let mut done = [false; 24];
            let mut position = Position::TrimHorizon;
            for index in order.into_iter().take(acked) {
                done[index] = true;
                let moved = tracker.done(tickets[index]);
                let prefix = done.iter().take_while(|done| **done).count();
                let expected = if prefix == 0 { Position::TrimHorizon } else { after(prefix as u128) };
                prop_assert_eq!(moved, (expected > position).then_some(expected));
                position = expected;
            }
        }
    }
}

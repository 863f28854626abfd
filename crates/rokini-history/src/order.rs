//! The order of the first deliveries of one key, across workers whose output arrives through pipes of their own.

use std::collections::BTreeMap;

use crate::record::Process;

/// Rounds after which the order of two lines of different workers is certain.
///
/// A round reads every pipe until it is empty, one after the other. A line that was written before another one of a
/// different worker can therefore be read at most one round after it: when its own pipe was read first and the line
/// came just too late. Two rounds later it was truly written later.
pub(crate) const CERTAIN: u64 = 2;

/// Checks the first deliveries of one key.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// The highest number of those rounds that are certain to lie before the present one.
    settled: Option<u64>,
    recent: Vec<(u64, u64)>,
    /// The highest number of each worker: one pipe keeps its order.
    own: BTreeMap<Process, u64>,
}

impl Order {
    /// Takes the first delivery of a number. True when a higher one had been delivered before it. Rounds never fall.
    pub(crate) fn breaks(&mut self, round: u64, process: Process, number: u64) -> bool {
        let settled = &mut self.settled;
        self.recent.retain(|(then, number)| {
            let certain = then + CERTAIN <= round;
            if certain {
                *settled = (*settled).max(Some(*number));
            }
            !certain
        });
        self.recent.push((round, number));
        let own = self.own.entry(process).or_insert(number);
        let before = (*settled).max(Some(*own));
        *own = number.max(*own);
        before > Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deliveries as (round, process, number), and how many of them break the order.
    fn breaks(deliveries: &[(u64, usize, u64)]) -> usize {
        let mut order = Order::default();
        deliveries
            .iter()
            .filter(|(round, process, number)| order.breaks(*round, Process(*process), *number))
            .count()
    }

    #[test]
    fn what_breaks_the_order_and_what_does_not() {
        type Delivery = (u64, usize, u64);
        let table: [(&str, Vec<Delivery>, usize); 10] = [
            ("in order", vec![(1, 0, 0), (1, 0, 1), (2, 0, 2)], 0),
            ("a gap is not disorder", vec![(1, 0, 0), (1, 0, 5)], 0),
            ("one process, one round", vec![(1, 0, 1), (1, 0, 0)], 1),
            ("one process, next round", vec![(1, 0, 1), (2, 0, 0)], 1),
            ("each late one counts", vec![(1, 0, 9), (2, 0, 3), (3, 0, 4)], 2),
            ("two processes, order of pipes unknown", vec![(1, 1, 6), (1, 0, 5)], 0),
            ("two processes, the earlier pipe read too soon", vec![(1, 1, 6), (2, 0, 5)], 0),
            ("two processes, certain", vec![(1, 1, 6), (3, 0, 5)], 1),
            ("certain through a third round", vec![(1, 1, 6), (2, 1, 7), (3, 0, 5), (3, 0, 8)], 1),
            ("hand-over and back", vec![(1, 0, 1), (1, 1, 2), (5, 1, 3), (6, 0, 4)], 0),
        ];
        for (name, deliveries, expected) in table {
            assert_eq!(breaks(&deliveries), expected, "{name}");
        }
    }
}

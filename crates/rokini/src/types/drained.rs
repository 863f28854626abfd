//! Workers that an operator drained: one sentence wherever it is asked why nobody has a shard. Pure.

use rokini_lease::{GroupView, StreamId, WorkerRow};

use super::rfc3339::format_time;

/// Why nobody has a shard although workers run: an operator drained them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainedWorkers {
    /// Which, since when and by which order.
    pub who: String,
    /// How they take part again.
    pub next: String,
}

/// The workers that would have the shards of a stream and that `rokini group drain` took out of the group. `None` where there is none.
#[must_use]
pub fn drained_workers(group: &str, view: &GroupView, stream: &StreamId) -> Option<DrainedWorkers> {
    const SHOWN: usize = 3;
    let readers = view.workers.iter().filter(|row| row.subscribes(stream));
    let drained: Vec<(&WorkerRow, _)> =
        readers.filter_map(|row| Some((row, view.drained_by(row)?.id))).collect();
    if drained.is_empty() {
        return None;
    }
    let shown = drained.iter().take(SHOWN);
    let who = shown
        .clone()
        .map(|(row, order)| format!("{} since {} by order {order}", row.id.name, format_time(order.0)));
    let mut who = who.collect::<Vec<_>>().join(", ");
    let undo = shown.map(|(_, order)| format!("`rokini group undo {group} {order}`"));
    let undo = undo.collect::<Vec<_>>().join(", ");
    if let more @ 1.. = drained.len().saturating_sub(SHOWN) {
        who += &format!(" and {more} more");
    }
    let next = format!(
        "{undo}: with the drain taken back a worker takes part again, as it does once it is started anew"
    );
    Some(DrainedWorkers { who, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini_lease::{OperatorOrder, OrderId, OrderKind, WorkerState};

    #[test]
    fn whoever_was_drained_is_named_with_the_order_that_takes_it_back() {
        let stream: StreamId = "s@1".parse().unwrap();
        let mut view = GroupView::default();
        for name in ["a", "b", "c", "d", "e"] {
            let mut row = WorkerRow::joining(format!("{name}#1").parse().unwrap(), None);
            row.state = WorkerState::Leaving;
            row.streams = (name == "b").then(|| ["t@1".parse().unwrap()].into());
            view.workers.push(row);
        }
        assert_eq!(drained_workers("g", &view, &stream), None, "they stop");
        for (id, worker) in (1_700_000_000_000..).zip(["a", "b", "c", "d", "e"]) {
            let mut order = OperatorOrder::new(OrderId(id), OrderKind::Drain, "");
            order.worker = Some(worker.parse().unwrap());
            view.group.orders.push(order);
        }
        let drained = drained_workers("g", &view, &stream).unwrap();
        assert_eq!(
            drained.who,
            "a since 2023-11-14T22:13:20.000Z by order 18bcfe56800, c since 2023-11-14T22:13:20.002Z by order \
             18bcfe56802, d since 2023-11-14T22:13:20.003Z by order 18bcfe56803 and 1 more"
        );
        assert!(drained.next.starts_with("`rokini group undo g 18bcfe56800`, `"), "{drained:?}");
    }
}

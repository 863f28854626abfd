//! Leases that an operator keeps with a worker.

use super::*;
use crate::row::{OperatorOrder, OrderId, OrderKind};

/// A fleet whose workers know of pins.
fn fleet(workers: usize, leases: Vec<LeaseRow>) -> GroupView {
    let mut view = view(workers, leases);
    view.workers.iter_mut().for_each(|row| row.report.plan.version = PLAN_VERSION);
    view
}

fn pinned(n: usize, owner: Option<usize>, to: usize) -> LeaseRow {
    LeaseRow { pin: Some(worker(to)), ..lease(n, owner) }
}

fn owners(view: &GroupView) -> Vec<Option<usize>> {
    let holders = holders(view);
    let index = |id: &WorkerId| view.workers.iter().position(|row| row.id == *id);
    view.leases.iter().map(|row| holders.get(&row.key).and_then(index)).collect()
}

#[test]
fn o13_a_lease_stays_where_an_operator_moved_it_and_others_make_up_for_it() {
    let leases = |to| vec![pinned(0, Some(1), to), lease(1, Some(0)), lease(2, Some(1)), lease(3, Some(1))];
    let view = fleet(2, leases(1));
    assert_eq!(plan(&view, &AssignmentPolicy::default()).len(), 1, "as few moves as there can be");
    let after = owners(&view);
    assert_eq!((after[0], after.iter().filter(|owner| **owner == Some(0)).count()), (Some(1), 2));
    // Wherever it is, it goes there; also where nobody has it, or it is on its way to another.
    let mut back = fleet(2, leases(0));
    assert_eq!(owners(&back)[0], Some(0));
    back.leases[0].owner = None;
    assert_eq!(owners(&back)[0], Some(0));
    (back.leases[0].owner, back.leases[0].claim) = (Some(worker(0)), Some(worker(1)));
    assert!(plan(&back, &AssignmentPolicy::default()).iter().any(|to_do| to_do.key == key(0)));
    // What forces loads to be uneven.
    let all = fleet(2, (0..4).map(|n| pinned(n, Some(1), 1)).collect());
    assert_eq!(plan(&all, &AssignmentPolicy::default()), vec![]);
    assert_eq!(pins(&all).len(), 4);
}

/// A pin of lease 0, which `change` makes bind nobody: the lease is spread as any other.
#[test]
fn o13_a_pin_ends_with_its_worker_and_binds_nobody_who_cannot() {
    type Change = fn(&mut GroupView);
    let changes: [(&str, Change); 6] = [
        ("it leaves", |view| view.workers[1].state = WorkerState::Leaving),
        ("it is dead", |view| view.workers[1].state = WorkerState::Fenced),
        ("it started anew", |view| view.workers[1].id.incarnation = Incarnation::new(77)),
        ("it cannot read the stream", |view| {
            view.workers[1].report.unable = [key(0).stream].into();
        }),
        ("it reads others", |view| view.workers[1].streams = Some(std::collections::BTreeSet::new())),
        ("one is of an earlier release", |view| view.workers[2].report.plan.version = PLAN_VERSION - 1),
    ];
    let whole = fleet(3, (0..3).map(|n| pinned(n, Some(1), 1)).collect());
    assert_eq!((pins(&whole).len(), plan(&whole, &AssignmentPolicy::default()).len()), (3, 0));
    for (what, change) in changes {
        let mut view = whole.clone();
        change(&mut view);
        view.leases.iter_mut().for_each(|row| row.owner = Some(worker(0)));
        assert!(pins(&view).is_empty(), "{what}");
        let others: Vec<usize> = carried_out(&view, &plan(&view, &AssignmentPolicy::default()));
        assert!(others.iter().all(|load| *load < 3), "{what}: {others:?}");
    }
    // No more than it takes: the first of them.
    let mut full = whole;
    full.workers[1].max_leases = Some(2);
    assert_eq!(pins(&full).into_keys().collect::<Vec<_>>(), [key(0), key(1)]);
    assert_eq!(owners(&full).iter().filter(|owner| **owner == Some(1)).count(), 2);
}

/// What was moved and taken back is with the worker that it came from: others go from there.
#[test]
fn o13_what_an_operator_brought_somewhere_goes_last() {
    for moved in 0..3 {
        let mut view =
            fleet(2, vec![lease(0, Some(0)), lease(1, Some(0)), lease(2, Some(0)), lease(3, Some(1))]);
        let order = OperatorOrder::new(OrderId(1), OrderKind::Move, "from w000 to w001").about([key(moved)]);
        view.group.orders.push(order);
        let moves = plan(&view, &AssignmentPolicy::default());
        assert!(moves.len() == 1 && moves[0].key != key(moved), "{moves:?}");
        view.leases.retain(|row| row.key == key(moved) || row.owner == Some(worker(1)));
        view.leases.push(LeaseRow { claim: Some(worker(0)), ..lease(4, Some(1)) });
        view.leases.push(LeaseRow { claim: Some(worker(0)), ..lease(5, Some(1)) });
        assert_eq!(plan(&view, &AssignmentPolicy::default())[0].key, key(moved), "before what is on its way");
    }
}

#[test]
fn o13_other_policies_keep_pins_too() {
    let mut hot = rated(2, &[(900, Some(0)), (800, Some(0)), (100, Some(1))]);
    hot.workers.iter_mut().for_each(|row| row.report.plan.version = PLAN_VERSION);
    (hot.leases[0].pin, hot.leases[1].pin) = (Some(worker(0)), Some(worker(0)));
    assert_eq!(plan(&hot, &AssignmentPolicy::Throughput), vec![]);
    hot.leases[0].pin = Some(worker(1));
    let moves = plan(&hot, &AssignmentPolicy::Throughput);
    assert!(moves.iter().any(|to_do| to_do.key == key(0) && to_do.to == worker(1)), "{moves:?}");
    let mut view = fleet(3, (0..3).map(|n| lease(n, Some(0))).collect());
    view.leases[1].pin = Some(worker(1));
    carry_out(&mut view, &fixed(vec![2, 2, 2]));
    let owners: Vec<_> = view.leases.iter().map(|row| row.owner.clone().unwrap()).collect();
    assert_eq!(owners, [worker(2), worker(1), worker(2)]);
}

proptest! {
    /// Every lease that somebody can have has an owner, pins are kept, and the rest is as even as they allow.
    #[test]
    fn o13_every_lease_is_placed_pins_are_kept_and_the_others_are_even(
        small in Small::any(true),
        wanted in prop::collection::vec(prop::option::of(0usize..5), 7),
        limits in any::<bool>(),
    ) {
        let mut small = small;
        if !limits {
            small.workers.iter_mut().for_each(|(_, limit)| *limit = None);
        }
        let mut view = small.view();
        view.workers.iter_mut().for_each(|row| row.report.plan.version = PLAN_VERSION);
        for (row, to) in view.leases.iter_mut().zip(&wanted) {
            row.pin = to.map(worker);
        }
        let bound = pins(&view);
        let index = |id: &WorkerId| view.workers.iter().position(|row| row.id == *id);
        // A pin that binds nobody is one whose worker is not there, does not read the stream, or has its fill of others.
        for row in view.leases.iter().filter(|row| row.pin.is_some() && !bound.contains_key(&row.key)) {
            let named = view.workers.iter().find(|worker| Some(&worker.id) == row.pin.as_ref());
            let full = |worker: &WorkerRow| {
                let pinned = bound.values().filter(|id| **id == worker.id).count();
                worker.max_leases.is_some_and(|limit| pinned == limit as usize)
            };
            prop_assert!(named.is_none_or(|worker| !worker.reads(&row.key.stream) || full(worker)));
        }
        let planned = small.planned_in(&view);
        for (row, to) in view.leases.iter().zip(&planned) {
            if let Some(pin) = bound.get(&row.key) {
                prop_assert_eq!(*to, index(pin), "{:?}", row.key);
            }
        }
        let fixed: Vec<Option<usize>> =
            view.leases.iter().map(|row| bound.get(&row.key).and_then(index)).collect();
        let (best, ours) = (small.best_with(&fixed), small.judged(&planned));
        prop_assert!(ours.0 <= best.0, "{ours:?} {best:?}");
        if !limits {
            prop_assert_eq!((ours.0, &ours.1), (best.0, &best.1));
        }
        // Carried out, it is at rest.
        for done in plan(&view, &AssignmentPolicy::default()) {
            view.leases.iter_mut().find(|row| row.key == done.key).unwrap().owner = Some(done.to);
        }
        prop_assert_eq!(plan(&view, &AssignmentPolicy::default()), vec![]);
    }
}

//! The conditional writes over small numbers.
//!
//! Only relations count in a condition: whether the epoch of a write is still the lease's, who owns the lease,
//! whether a position is behind the stored one. With relations in place of growing numbers the protocol has
//! finitely many states, however long it runs. The tests below hold these tables against the functions that
//! the stores run.

use std::cmp::Ordering;

/// What the conditions of lease writes look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    pub(crate) owner: Option<u8>,
    pub(crate) claim: Option<u8>,
}

/// A write on a lease. Positions are given as they stand to the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseWrite {
    Acquire { by: u8 },
    Checkpoint { owner: u8, position: Ordering },
    HandOver { owner: u8, to: Option<u8>, position: Option<Ordering> },
    Claim { by: u8, over: Option<u8> },
    Unclaim { by: u8 },
    Seek,
}

/// What a lease write changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) row: LeaseRow,
    /// The epoch grew by one.
    pub(crate) new_epoch: bool,
}

/// Applies a write whose epoch is the lease's own (`current`) or an earlier one.
pub(crate) fn write(row: LeaseRow, write: LeaseWrite, current: bool) -> Option<Written> {
    let held = |owner| current && row.owner == Some(owner);
    let moved = |owner| Some(Written { row: LeaseRow { owner, claim: None }, new_epoch: true });
    let same_epoch = |row| Some(Written { row, new_epoch: false });
    match write {
        LeaseWrite::Acquire { by } if current => moved(Some(by)),
        LeaseWrite::Checkpoint { owner, position } if held(owner) && position.is_ge() => same_epoch(row),
        LeaseWrite::HandOver { owner, to, position }
            if held(owner) && position.is_none_or(Ordering::is_ge) =>
        {
            moved(to)
        }
        LeaseWrite::Claim { by, over } if current && (row.claim.is_none() || row.claim == over) => {
            same_epoch(LeaseRow { claim: Some(by), ..row })
        }
        LeaseWrite::Unclaim { by } if row.claim == Some(by) => same_epoch(LeaseRow { claim: None, ..row }),
        LeaseWrite::Seek if current => Some(Written { row, new_epoch: true }),
        _ => None,
    }
}

/// A write on a worker row. Both are made under the beat that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerWrite {
    Beat,
    Fence,
}

/// Whether a write on a worker row takes effect.
pub(crate) fn takes_effect(_write: WorkerWrite, fenced: bool, beat_stands: bool) -> bool {
    !fenced && beat_stands
}

mod as_the_stores_do {
    use rokini_lease::{
        CheckpointMetadata, Epoch, Incarnation, LeaseKey, LeaseUpdate, MAILBOX_LIMIT, Position, ShardId,
        StreamId, WorkerId, WorkerLoad, WorkerName, WorkerNotification, WorkerReport, WorkerRow, WorkerState,
        WorkerUpdate,
    };

    use super::{LeaseRow, LeaseWrite, Ordering, WorkerWrite, takes_effect, write};

    const ANYBODY: [Option<u8>; 4] = [None, Some(0), Some(1), Some(2)];
    const ORDERS: [Ordering; 3] = [Ordering::Less, Ordering::Equal, Ordering::Greater];

    fn id(n: u8) -> WorkerId {
        WorkerId::new(WorkerName::new(format!("w{n}")).unwrap(), Incarnation::new(1))
    }

    fn key(shard: &str) -> LeaseKey {
        LeaseKey::new(StreamId::new("s").unwrap(), ShardId::new(shard).unwrap())
    }

    /// Positions that stand to each other as the relation says; `TRIM_HORIZON` is the lowest there is.
    fn stored_and_given(order: Ordering) -> Vec<(Position, Position)> {
        let after = |n: u128| Position::after(n.into());
        match order {
            Ordering::Less => vec![(after(7), after(3)), (after(1), Position::TrimHorizon)],
            Ordering::Equal => {
                vec![(after(7), after(7)), (Position::TrimHorizon, Position::TrimHorizon)]
            }
            Ordering::Greater => vec![(after(7), after(9)), (Position::TrimHorizon, after(1))],
        }
    }

    fn all_lease_writes() -> Vec<LeaseWrite> {
        let mut writes = vec![LeaseWrite::Seek];
        for owner in 0..3 {
            writes.push(LeaseWrite::Acquire { by: owner });
            writes.push(LeaseWrite::Unclaim { by: owner });
            writes.extend(ANYBODY.map(|over| LeaseWrite::Claim { by: owner, over }));
            writes.extend(ORDERS.map(|position| LeaseWrite::Checkpoint { owner, position }));
            for to in ANYBODY {
                let positions = ORDERS.map(Some).into_iter().chain([None]);
                writes.extend(positions.map(|position| LeaseWrite::HandOver { owner, to, position }));
            }
        }
        writes
    }

    fn order_of(write: LeaseWrite) -> Ordering {
        match write {
            LeaseWrite::Checkpoint { position, .. }
            | LeaseWrite::HandOver { position: Some(position), .. } => position,
            _ => Ordering::Equal,
        }
    }

    fn update(write: LeaseWrite, epoch: Epoch, given: Position) -> LeaseUpdate {
        match write {
            LeaseWrite::Acquire { by } => {
                LeaseUpdate::Acquire { by: id(by), seen: epoch, at_least: Epoch(0), caught_up_millis: None }
            }
            LeaseWrite::Checkpoint { owner, .. } => LeaseUpdate::Checkpoint {
                owner: id(owner),
                epoch,
                position: given,
                at: 0,
                metadata: CheckpointMetadata::default(),
                settles: false,
            },
            LeaseWrite::HandOver { owner, to, position } => LeaseUpdate::HandOver {
                owner: id(owner),
                epoch,
                to: to.map(id),
                position: position.map(|_| given),
                at: 0,
                metadata: CheckpointMetadata::default(),
                settles: false,
            },
            LeaseWrite::Claim { by, over } => {
                LeaseUpdate::Claim { by: id(by), seen: epoch, over: over.map(id) }
            }
            LeaseWrite::Unclaim { by } => LeaseUpdate::Unclaim { by: id(by) },
            LeaseWrite::Seek => {
                LeaseUpdate::Seek { seen: epoch, to: Position::after(5u128.into()), order: None }
            }
        }
    }

    #[test]
    fn the_lease_table_is_what_the_stores_run() {
        let mut compared = 0;
        for (owner, claim) in ANYBODY.iter().flat_map(|o| ANYBODY.map(|c| (*o, c))) {
            for (small, lag) in all_lease_writes().into_iter().flat_map(|w| [0, 1, 4].map(|lag| (w, lag))) {
                for (stored, given) in stored_and_given(order_of(small)) {
                    let mut real = rokini_lease::LeaseRow::new(key("0"), stored);
                    (real.owner, real.claim, real.epoch) = (owner.map(id), claim.map(id), Epoch(9));
                    let after = update(small, Epoch(9 - lag), given).apply(&real);
                    let expected = write(LeaseRow { owner, claim }, small, lag == 0);
                    assert_eq!(after.is_some(), expected.is_some(), "{small:?} {lag} on {real:?}");
                    compared += 1;
                    let (Some(after), Some(expected)) = (after, expected) else { continue };
                    assert_eq!(after.owner, expected.row.owner.map(id), "{small:?} on {real:?}");
                    assert_eq!(after.claim, expected.row.claim.map(id), "{small:?} on {real:?}");
                    assert_eq!(after.epoch.0, 9 + u64::from(expected.new_epoch), "{small:?} on {real:?}");
                    if small != LeaseWrite::Seek {
                        assert!(after.position >= stored, "{small:?} on {real:?}");
                    }
                }
            }
        }
        eprintln!("{compared} lease writes compared");
    }

    #[test]
    fn the_worker_table_is_what_the_stores_run() {
        let full: Vec<WorkerNotification> =
            (0..MAILBOX_LIMIT).map(|n| WorkerNotification::Assigned(key(&n.to_string()))).collect();
        for (state, seen, mailbox) in [WorkerState::Alive, WorkerState::Leaving, WorkerState::Fenced]
            .into_iter()
            .flat_map(|state| [3, 4].map(|seen| (state, seen)))
            .flat_map(|(state, seen)| [&[][..], &full[..]].map(|mailbox| (state, seen, mailbox)))
        {
            let mut row = WorkerRow::joining(id(0), None);
            (row.heartbeat, row.state) = (4, state);
            row.mailbox = mailbox.iter().cloned().collect();
            let (fenced, stands) = (state == WorkerState::Fenced, seen == 4);
            let beat = WorkerUpdate::Heartbeat {
                seen,
                call: 1,
                load: WorkerLoad::default(),
                state: WorkerState::Alive,
                streams: None,
                report: WorkerReport::default(),
            };
            let after = beat.apply(&row);
            assert_eq!(after.as_ref().is_some(), takes_effect(WorkerWrite::Beat, fenced, stands));
            assert!(after.is_none_or(|after| after.heartbeat == 5 && after.state == WorkerState::Alive));
            let after = WorkerUpdate::Fence { seen }.apply(&row);
            assert_eq!(after.as_ref().is_some(), takes_effect(WorkerWrite::Fence, fenced, stands));
            assert!(after.is_none_or(|after| after.heartbeat == 4 && after.state == WorkerState::Fenced));
            // A notification leaves alone what the other two look at.
            let notified = WorkerUpdate::Notify(WorkerNotification::Assigned(key("x"))).apply(&row);
            assert!(notified.is_none_or(|notified| (notified.heartbeat, notified.state) == (4, state)));
        }
    }
}

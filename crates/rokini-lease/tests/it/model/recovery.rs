//! What becomes of a state once the network is quiet: a fair schedule, run until nothing is left to do.
//!
//! Each worker in turn sends its heartbeat, fences the silent, mends what it believes and carries out its part of the plan: the
//! one that the real `plan` makes. No notification is ever read, so that all of this works without any: losing
//! them costs time only. Time passes by one tick a round, and nobody joins.

use rokini_lease::{
    AssignmentPolicy, GroupView, Incarnation, LeaseKey, LeaseRow, Position, ShardId, StreamId, WorkerId,
    WorkerName, WorkerRow, WorkerState, plan,
};

use super::protocol::{Fate, Flaw, Protocol};
use super::rows::LeaseWrite;
use super::world::{Beat, Hold, LEASES, Row, SLOTS, World};

/// What the real plan says about every small fleet, worked out once.
#[derive(Debug)]
pub(crate) struct Plans {
    slots: usize,
    leases: usize,
    plans: Vec<[Option<Move>; LEASES]>,
    /// Every order of the slots: the plan is fair, but it does look at names.
    orders: Vec<[u8; SLOTS]>,
}

/// A lease's part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Move {
    from: Option<u8>,
    to: u8,
}

impl Plans {
    pub(crate) fn new(slots: usize, leases: usize) -> Self {
        let names = slots + 1;
        let size = 3usize.pow(slots as u32) * (names * names).pow(leases as u32);
        let ids: Vec<WorkerId> = (0..slots).map(id).collect();
        let keys: Vec<LeaseKey> = (0..leases).map(key).collect();
        let plans = (0..size).map(|index| planned(index, &ids, &keys)).collect();
        Self { slots, leases, plans, orders: orders(slots) }
    }

    fn of(&self, world: &World) -> &[Option<Move>; LEASES] {
        let name = |worker: Option<u8>| worker.map_or(0, |worker| 1 + usize::from(worker));
        let mut index = 0;
        for lease in world.leases[..self.leases].iter().rev() {
            index = index * (self.slots + 1) + name(lease.claim);
            index = index * (self.slots + 1) + name(lease.owner);
        }
        for slot in world.slots[..self.slots].iter().rev() {
            let state = match slot.row {
                Row::Free | Row::Dead => 0,
                Row::Alive => 1,
                Row::Leaving => 2,
            };
            index = index * 3 + state;
        }
        &self.plans[index]
    }
}

fn id(n: usize) -> WorkerId {
    WorkerId::new(WorkerName::new(format!("w{n}")).unwrap(), Incarnation::new(1))
}

fn key(n: usize) -> LeaseKey {
    LeaseKey::new(StreamId::new("s").unwrap(), ShardId::new(n.to_string()).unwrap())
}

/// The real plan for the fleet with this index.
fn planned(index: usize, ids: &[WorkerId], keys: &[LeaseKey]) -> [Option<Move>; LEASES] {
    let mut left = index;
    let mut digit = |base| {
        let digit = left % base;
        left /= base;
        digit
    };
    let mut view = GroupView::default();
    for id in ids {
        let state = [WorkerState::Fenced, WorkerState::Alive, WorkerState::Leaving][digit(3)];
        let mut row = WorkerRow::joining(id.clone(), None);
        row.state = state;
        view.workers.push(row);
    }
    for key in keys {
        let mut anybody = || digit(ids.len() + 1).checked_sub(1).map(|n| ids[n].clone());
        let (owner, claim) = (anybody(), anybody());
        let mut row = LeaseRow::new(key.clone(), Position::TrimHorizon);
        (row.owner, row.claim) = (owner, claim);
        view.leases.push(row);
    }
    let number = |id: &WorkerId| ids.iter().position(|other| other == id).unwrap() as u8;
    let mut moves = [None; LEASES];
    for step in plan(&view, &AssignmentPolicy::default()) {
        let lease = keys.iter().position(|key| *key == step.key).unwrap();
        moves[lease] = Some(Move { from: step.from.as_ref().map(number), to: number(&step.to) });
    }
    moves
}

/// Every order of the first `slots` numbers.
fn orders(slots: usize) -> Vec<[u8; SLOTS]> {
    let mut orders = vec![std::array::from_fn(|n| n as u8)];
    for place in 1..slots {
        let shorter = orders.clone();
        for other in 0..place {
            orders.extend(shorter.iter().map(|order: &[u8; SLOTS]| {
                let mut order = *order;
                order.swap(place, other);
                order
            }));
        }
    }
    orders
}

impl Protocol {
    /// Whether every lease has one valid holder from two failover times on, and the plan has nothing left to do
    /// after three, provided that a worker lives. Asked of states without requests under way: one that arrives, or never does, leads to
    /// such a state.
    pub(crate) fn recovers(&self, world: &World) -> bool {
        let Some(plans) = &self.recovery else { return true };
        let late = world.slots.iter().any(|slot| slot.late != [Hold::No; LEASES]);
        if late || world.requests.iter().any(Option::is_some) {
            return true;
        }
        let mut quiet = *world;
        for slot in &mut quiet.slots {
            // Heartbeats and fences under way are lost, and every watcher counts anew.
            (slot.heartbeat, slot.silent, slot.still) = (Beat::Idle, false, [0; SLOTS]);
        }
        plans.orders.iter().all(|order| self.comes_to_rest(plans, quiet.renamed(order)))
    }

    fn comes_to_rest(&self, plans: &Plans, mut world: World) -> bool {
        for time in 0..=3 * self.failover {
            for w in 0..=self.workers {
                self.turn(plans, &mut world, w);
            }
            if !world.slots.iter().any(|slot| slot.running && slot.row == Row::Alive) {
                return true;
            }
            let held = (0..self.leases).all(|lease| world.valid_holders(lease) == 1);
            if time >= 2 * self.failover && !held {
                return false;
            }
            if held && self.is_at_rest(plans, &world) {
                return true;
            }
            world = self.tick(&world, 0).unwrap_or(world);
        }
        false
    }

    fn is_at_rest(&self, plans: &Plans, world: &World) -> bool {
        let held = |n: usize| {
            let lease = &world.leases[n];
            let owner = lease.owner.map(|owner| &world.slots[usize::from(owner)]);
            owner.is_some_and(|owner| owner.is_valid() && owner.holds[n] == Hold::Current)
                && world.slots.iter().filter(|slot| slot.holds[n] != Hold::No).count() == 1
                // A claim of the dead binds nobody, and one of the owner says what is so.
                && lease.claim.is_none_or(|claimer| world.is_dead(claimer) || lease.owner == Some(claimer))
        };
        (0..self.leases).all(held) && plans.of(world).iter().all(Option::is_none)
    }

    /// Everything one worker does in one turn.
    fn turn(&self, plans: &Plans, world: &mut World, w: usize) {
        if !world.slots[w].running {
            return;
        }
        if world.slots[w].row == Row::Dead {
            return world.end_process(w);
        }
        (world.slots[w].valid, world.slots[w].silent, world.slots[w].still) =
            (self.validity, false, [0; SLOTS]);
        for other in 0..SLOTS {
            if world.slots[other].silent && world.slots[other].is_member() {
                world.end_row(other);
            }
        }
        if world.slots[w].row == Row::Leaving {
            return self.leave(world, w);
        }
        self.reconcile(world, w as u8);
        self.carry_out(*plans.of(world), world, w as u8);
    }

    fn reconcile(&self, world: &mut World, w: u8) {
        for lease in 0..self.leases {
            let row = world.leases[lease];
            let mine = row.owner == Some(w);
            match world.slots[usize::from(w)].holds[lease] {
                Hold::Stale => world.slots[usize::from(w)].holds[lease] = Hold::No,
                Hold::Current => {
                    let is_alive = |id: &u8| world.slots[usize::from(*id)].row == Row::Alive;
                    if let Some(claimer) = row.claim.filter(|claimer| *claimer != w && is_alive(claimer)) {
                        self.hand_over(world, w, lease, Some(claimer), Fate::Answered);
                    }
                }
                Hold::No if mine && !row.given_up => {
                    world.slots[usize::from(w)].holds[lease] = Hold::Current;
                }
                Hold::No if mine && self.flaw != Some(Flaw::ForgetsWhatItGaveUp) => {
                    self.acquire(world, w, lease, Fate::Answered);
                }
                Hold::No => {}
            }
        }
    }

    fn carry_out(&self, moves: [Option<Move>; LEASES], world: &mut World, w: u8) {
        for (lease, step) in moves.into_iter().enumerate().take(self.leases) {
            let row = world.leases[lease];
            let dead = row.owner.is_none_or(|owner| world.is_dead(owner));
            if self.flaw == Some(Flaw::DeadClaimBinds) && row.claim.is_some_and(|claimer| claimer != w) {
                continue;
            }
            match step {
                Some(Move { from: None, to }) if to == w && dead => {
                    self.acquire(world, w, lease, Fate::Answered);
                }
                Some(Move { from: Some(_), to }) if to == w => {
                    let claim = LeaseWrite::Claim { by: w, over: row.claim };
                    world.write(lease, claim, self.remembers());
                }
                Some(Move { from: Some(from), .. }) if from == w && row.owner != Some(w) => {
                    world.write(lease, LeaseWrite::Unclaim { by: w }, self.remembers());
                }
                _ if row.claim == Some(w) && dead => self.acquire(world, w, lease, Fate::Answered),
                _ => {}
            }
        }
    }

    /// Hands over what it holds to the least loaded, then removes its row.
    fn leave(&self, world: &mut World, w: usize) {
        for lease in 0..self.leases {
            if world.slots[w].holds[lease] == Hold::Current {
                let load = |n: &u8| world.leases.iter().filter(|row| row.owner == Some(*n)).count();
                let alive = (0..SLOTS as u8).filter(|n| world.slots[usize::from(*n)].row == Row::Alive);
                let to = alive.min_by_key(load);
                self.hand_over(world, w as u8, lease, to, Fate::Answered);
            }
        }
        world.end_process(w);
        world.end_row(w);
    }
}

//! A state of the whole fleet, in relations only: no beat, epoch or position is a growing number.
//!
//! That makes the states finitely many without any limit on how often something happens. What can never matter
//! again is forgotten: a request whose epoch has passed, an incarnation that is over and that no request names.

use std::cmp::Reverse;
use std::hash::{Hash, Hasher};

use super::rows::{LeaseRow, LeaseWrite};

/// Incarnations at one time: those that run, and one more whose row or request outlived it.
pub(crate) const SLOTS: usize = 4;
pub(crate) const LEASES: usize = 2;
/// Requests on their way at one time.
pub(crate) const REQUESTS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct World {
    pub(crate) slots: [Slot; SLOTS],
    pub(crate) leases: [Lease; LEASES],
    /// Requests that their sender has given up on and that may still arrive; sorted, the empty ones first.
    pub(crate) requests: [Option<Request>; REQUESTS],
    pub(crate) broken: Option<Broken>,
}

/// What must never happen, once it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    StaleCheckpoint,
    PositionFell,
}

/// A worker incarnation: its row, as far as writes look at it, and its process with its own mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    pub(crate) row: Row,
    pub(crate) running: bool,
    /// Ticks of its clock for which it is still valid.
    pub(crate) valid: u8,
    pub(crate) heartbeat: Beat,
    /// The counter on its row is ahead of the one it knows: a beat took effect without an answer.
    pub(crate) unseen: bool,
    /// A beat that it has given up on may still arrive.
    pub(crate) late_beat: bool,
    /// Its failover time, and with it its validity, are one tick longer than those of others.
    pub(crate) slow: bool,
    /// How far its clock is ahead of the slowest possible one.
    pub(crate) ahead: u8,
    /// Its beat has stood still for the failover time on the clock of some watcher, who may have sent a fence.
    pub(crate) silent: bool,
    /// For how long its beat has stood still, on the clock of each watcher.
    pub(crate) still: [u8; SLOTS],
    pub(crate) holds: [Hold; LEASES],
    /// Replies under way that say: the lease is yours since this epoch.
    pub(crate) late: [Hold; LEASES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Row {
    /// Nobody has this slot.
    #[default]
    Free,
    Alive,
    Leaving,
    /// Fenced, or removed: no condition tells these two apart.
    Dead,
}

/// A worker's own heartbeat, with its age on the worker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Beat {
    #[default]
    Idle,
    Sent(u8),
    Applied(u8),
}

/// What a worker believes about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Hold {
    #[default]
    No,
    /// That it holds it, under the epoch the lease has.
    Current,
    /// That it holds it, under an epoch that has passed.
    Stale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Lease {
    pub(crate) owner: Option<u8>,
    pub(crate) claim: Option<u8>,
    /// Its owner has given up the epoch it has.
    pub(crate) given_up: bool,
    /// Its position was set without a new epoch. Only so with a flaw.
    pub(crate) set_in_place: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) lease: u8,
    pub(crate) by: u8,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Acquire,
    HandOver(Option<u8>),
    /// A position further than the one stored.
    Checkpoint,
    /// A position that has been passed meanwhile. Only kept where a flaw makes it matter.
    PassedCheckpoint,
    /// A position under an epoch that has passed. Only kept where a flaw makes it matter.
    StaleCheckpoint,
    Claim(Option<u8>),
}

/// What can still matter after its epoch has passed. In the protocol nothing does: its conditions refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Remembers {
    pub(crate) checkpoints: bool,
    pub(crate) replies: bool,
}

/// Small numbers side by side.
struct Bits(u64);

impl Bits {
    fn push(&mut self, width: u32, value: u64) -> &mut Self {
        debug_assert!(value < 1 << width, "{value} does not fit into {width} bits");
        self.0 = self.0 << width | value;
        self
    }
}

fn named(worker: Option<u8>) -> u64 {
    worker.map_or(0, |worker| 1 + u64::from(worker))
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.code() {
            state.write_u64(word);
        }
    }
}

impl What {
    fn code(self) -> u8 {
        match self {
            Self::Acquire => 1,
            Self::HandOver(_) => 2,
            Self::Checkpoint => 3,
            Self::PassedCheckpoint => 4,
            Self::StaleCheckpoint => 5,
            Self::Claim(_) => 6,
        }
    }

    /// The other worker it is about.
    fn names(self) -> Option<u8> {
        match self {
            Self::HandOver(other) | Self::Claim(other) => other,
            Self::Acquire | Self::Checkpoint | Self::PassedCheckpoint | Self::StaleCheckpoint => None,
        }
    }
}

impl Slot {
    /// All of it but for how long it has stood still, in 22 bits.
    fn code(&self) -> u64 {
        let mut bits = Bits(0);
        bits.push(2, self.row as u64).push(1, self.running.into()).push(2, self.valid.into());
        let (beat, age) = match self.heartbeat {
            Beat::Idle => (0, 0),
            Beat::Sent(age) => (1, age),
            Beat::Applied(age) => (2, age),
        };
        bits.push(2, beat).push(2, age.into()).push(1, self.ahead.into()).push(1, self.silent.into());
        bits.push(1, self.unseen.into()).push(1, self.late_beat.into()).push(1, self.slow.into());
        for lease in 0..LEASES {
            bits.push(2, self.holds[lease] as u64).push(2, self.late[lease] as u64);
        }
        bits.0
    }

    /// Of a fenced worker that nothing can make valid again: what it believes under a past epoch leads to nothing.
    fn forget_stale_holds(&mut self) {
        if self.valid == 0 && !matches!(self.heartbeat, Beat::Applied(_)) {
            for hold in self.holds.iter_mut().filter(|hold| **hold == Hold::Stale) {
                *hold = Hold::No;
            }
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.running && self.valid > 0
    }

    pub(crate) fn is_member(&self) -> bool {
        matches!(self.row, Row::Alive | Row::Leaving)
    }
}

impl World {
    /// Whether the row of this worker is fenced or gone, as a consistent read tells.
    pub(crate) fn is_dead(&self, worker: u8) -> bool {
        matches!(self.slots[usize::from(worker)].row, Row::Dead | Row::Free)
    }

    /// The workers that at this moment would start a handler call for the lease.
    pub(crate) fn valid_holders(&self, lease: usize) -> usize {
        self.slots.iter().filter(|slot| slot.is_valid() && slot.holds[lease] != Hold::No).count()
    }

    /// Applies a write under the epoch the lease has.
    pub(crate) fn write(&mut self, lease: usize, write: LeaseWrite, remembers: Remembers) -> bool {
        let row = LeaseRow { owner: self.leases[lease].owner, claim: self.leases[lease].claim };
        let Some(written) = super::rows::write(row, write, true) else { return false };
        if written.new_epoch {
            self.epoch_passed(lease, remembers);
        }
        self.leases[lease].owner = written.row.owner;
        self.leases[lease].claim = written.row.claim;
        true
    }

    /// A lease is deleted and made anew: nobody has it, and its epochs go on above those it had.
    pub(crate) fn remake(&mut self, lease: usize, remembers: Remembers) {
        self.epoch_passed(lease, remembers);
        self.leases[lease] = Lease::default();
    }

    fn epoch_passed(&mut self, lease: usize, remembers: Remembers) {
        let row = self.leases[lease];
        (self.leases[lease].given_up, self.leases[lease].set_in_place) = (false, false);
        for (n, slot) in self.slots.iter_mut().enumerate() {
            if slot.holds[lease] == Hold::Current {
                slot.holds[lease] = Hold::Stale;
            }
            if slot.late[lease] == Hold::Current {
                let given_up = row.given_up && row.owner == Some(n as u8);
                slot.late[lease] = if given_up && !remembers.replies { Hold::No } else { Hold::Stale };
            }
        }
        for place in &mut self.requests {
            *place = place.and_then(|request| match request.what {
                _ if usize::from(request.lease) != lease => Some(request),
                What::Checkpoint | What::StaleCheckpoint if remembers.checkpoints => {
                    Some(Request { what: What::StaleCheckpoint, ..request })
                }
                _ => None,
            });
        }
    }

    /// The process of a worker ends; its row stays.
    pub(crate) fn end_process(&mut self, worker: usize) {
        // When its beat moved last is no matter any more: its death may be proven at any time.
        // Nor is a beat that is under way: it only makes others wait.
        let Slot { row, slow, .. } = self.slots[worker];
        self.slots[worker] = Slot { row, slow: slow && row != Row::Dead, ..Slot::default() };
        for slot in &mut self.slots {
            slot.still[worker] = 0;
        }
        for lease in &mut self.leases {
            if lease.owner == Some(worker as u8) {
                lease.given_up = false;
            }
        }
    }

    /// A worker's row is fenced or removed.
    pub(crate) fn end_row(&mut self, worker: usize) {
        let slot = &mut self.slots[worker];
        (slot.row, slot.silent, slot.still) = (Row::Dead, false, [0; SLOTS]);
        (slot.unseen, slot.late_beat) = (false, false);
        if matches!(slot.heartbeat, Beat::Sent(_)) {
            slot.heartbeat = Beat::Idle;
        }
    }

    /// Frees the slots of incarnations that are over. Their leases are as good as nobody's.
    pub(crate) fn forget_the_dead(&mut self) {
        for n in 0..SLOTS {
            let me = Some(n as u8);
            if self.slots[n].row != Row::Dead {
                continue;
            }
            if self.slots[n].running {
                self.slots[n].forget_stale_holds();
                continue;
            }
            for request in self.requests.iter_mut().flatten() {
                if request.what == What::HandOver(me) {
                    request.what = What::HandOver(None);
                }
            }
            if self.requests.iter().flatten().any(|r| Some(r.by) == me || r.what == What::Claim(me)) {
                continue;
            }
            self.slots[n] = Slot::default();
            for lease in &mut self.leases {
                if lease.owner == me {
                    (lease.owner, lease.given_up) = (None, false);
                }
                if lease.claim == me {
                    lease.claim = None;
                }
            }
        }
    }

    /// The same state with the names of workers and leases in an order of its own: equal for states that differ
    /// in names only (nearly always, which is enough: a different representative costs time, not truth).
    pub(crate) fn representative(mut self, leases: usize) -> Self {
        self.forget_the_dead();
        let this = self.with_slots_in_order();
        if leases < 2 {
            return this;
        }
        let mut other = self;
        other.leases.swap(0, 1);
        for slot in &mut other.slots {
            slot.holds.swap(0, 1);
            slot.late.swap(0, 1);
        }
        for request in other.requests.iter_mut().flatten() {
            request.lease = 1 - request.lease;
        }
        let other = other.with_slots_in_order();
        if other.code() < this.code() { other } else { this }
    }

    fn with_slots_in_order(&self) -> Self {
        let mut order: [(u64, u8); SLOTS] = std::array::from_fn(|n| (self.signature(n), n as u8));
        // Free slots have the lowest signature and come last.
        order.sort_unstable_by_key(|(signature, _)| Reverse(*signature));
        self.renamed(&order.map(|(_, n)| n))
    }

    /// What tells a slot from the others without naming any.
    fn signature(&self, n: usize) -> u64 {
        let me = Some(n as u8);
        let still = |slot: &Slot| slot.still.iter().fold(0, |sum, age| sum + u64::from(*age));
        let watched = self.slots.iter().fold(0, |sum, slot| sum + u64::from(slot.still[n]));
        let mut bits = Bits(self.slots[n].code());
        bits.push(5, still(&self.slots[n])).push(5, watched);
        for lease in &self.leases {
            bits.push(1, (lease.owner == me).into()).push(1, (lease.claim == me).into());
        }
        for request in self.requests.iter().flatten() {
            let code = u64::from(request.what.code());
            bits.push(1, (Some(request.by) == me).into()).push(1, (request.what.names() == me).into());
            bits.push(3, code).push(1, request.lease.into());
        }
        bits.0
    }

    /// The whole state in a few words.
    fn code(&self) -> [u64; 4] {
        let (mut ages, mut rest) = (Bits(0), Bits(0));
        for age in self.slots.iter().flat_map(|slot| slot.still) {
            ages.push(3, age.into());
        }
        for lease in &self.leases {
            rest.push(3, named(lease.owner)).push(3, named(lease.claim));
            rest.push(1, lease.given_up.into()).push(1, lease.set_in_place.into());
        }
        for request in &self.requests {
            let Request { lease, by, what } =
                request.unwrap_or(Request { lease: 0, by: 0, what: What::Claim(None) });
            rest.push(1, request.is_some().into()).push(1, lease.into()).push(2, by.into());
            rest.push(3, what.code().into()).push(3, named(what.names()));
        }
        rest.push(2, self.broken.map_or(0, |broken| 1 + broken as u64));
        let [a, b, c, d] = self.slots.map(|slot| slot.code());
        [a << 22 | b, c << 22 | d, ages.0, rest.0]
    }

    /// Slot `n` becomes what slot `order[n]` was.
    pub(crate) fn renamed(&self, order: &[u8; SLOTS]) -> Self {
        let mut name = [0; SLOTS];
        for (new, old) in order.iter().enumerate() {
            name[usize::from(*old)] = new as u8;
        }
        let rename = |old: Option<u8>| old.map(|old| name[usize::from(old)]);
        let mut next = *self;
        for (new, old) in order.iter().enumerate() {
            next.slots[new] = self.slots[usize::from(*old)];
            next.slots[new].still =
                order.map(|watcher| self.slots[usize::from(*old)].still[usize::from(watcher)]);
        }
        for lease in &mut next.leases {
            (lease.owner, lease.claim) = (rename(lease.owner), rename(lease.claim));
        }
        for request in next.requests.iter_mut().flatten() {
            request.by = name[usize::from(request.by)];
            match &mut request.what {
                What::HandOver(to) | What::Claim(to) => *to = rename(*to),
                What::Acquire | What::Checkpoint | What::PassedCheckpoint | What::StaleCheckpoint => {}
            }
        }
        next.requests.sort_unstable();
        next
    }
}

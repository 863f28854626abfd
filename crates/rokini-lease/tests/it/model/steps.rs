//! What comes of each action.

use std::cmp::Ordering;

use super::protocol::{Action, Fate, Flaw, Protocol};
use super::rows::{LeaseWrite, WorkerWrite, takes_effect};
use super::world::{Beat, Broken, Hold, Request, Row, SLOTS, Slot, What, World};

impl Protocol {
    pub(crate) fn tick(&self, world: &World, ahead: u8) -> Option<World> {
        let mut next = *world;
        let mut passed = [None; SLOTS];
        for (n, slot) in next.slots.iter_mut().enumerate().filter(|(_, slot)| slot.running) {
            let is_ahead = ahead >> n & 1;
            let step = 1 + is_ahead - slot.ahead;
            passed[n] = Some(step);
            slot.ahead = is_ahead;
            slot.valid = slot.valid.saturating_sub(step);
            let validity = self.validity_of(slot);
            slot.heartbeat = match slot.heartbeat {
                Beat::Idle => Beat::Idle,
                beat if self.has(Flaw::ValidFromTheAnswer) => beat,
                // It gives nothing any more. Should it still arrive, others wait longer, and a later one is refused.
                Beat::Sent(age) if age + step >= validity => {
                    slot.late_beat |= self.late_beats && !slot.unseen;
                    Beat::Idle
                }
                Beat::Applied(age) if age + step >= validity => {
                    slot.unseen = true;
                    Beat::Idle
                }
                Beat::Sent(age) => Beat::Sent(age + step),
                Beat::Applied(age) => Beat::Applied(age + step),
            };
        }
        let watchers = next.slots;
        for (n, slot) in
            next.slots.iter_mut().enumerate().filter(|(_, slot)| slot.is_member() && !slot.silent)
        {
            for (watcher, step) in passed.iter().enumerate().filter(|(watcher, _)| *watcher != n) {
                slot.still[watcher] += step.unwrap_or(0);
            }
            let limits = watchers.iter().map(|watcher| self.failover_of(slot, watcher));
            if slot.still.iter().zip(limits).any(|(age, limit)| *age >= limit) {
                (slot.silent, slot.still) = (true, [0; SLOTS]);
            }
        }
        (next != *world).then_some(next)
    }

    fn join(&self, next: &mut World, w: u8, slow: bool) {
        let new = usize::from(w);
        for slot in next.slots.iter_mut().filter(|_| self.drift == 0) {
            // As if it had watched all the time: a watcher who waits longer does nothing else.
            slot.still[new] = slot.still.iter().copied().max().unwrap_or(0);
        }
        next.slots[new] = Slot { row: Row::Alive, running: true, slow, ..Slot::default() };
        next.slots[new].valid = self.validity_of(&next.slots[new]);
    }

    /// A heartbeat reaches the store: its condition is the counter that its worker knows.
    fn beat_arrives(&self, slot: &mut Slot) -> Option<()> {
        let Beat::Sent(age) = slot.heartbeat else { return None };
        takes_effect(WorkerWrite::Beat, slot.row == Row::Dead, true).then_some(())?;
        if std::mem::take(&mut slot.unseen) {
            // Refused: the worker learns the counter, and sends one more within the same time.
            if self.has(Flaw::RecognisesEarlierBeats) {
                slot.heartbeat = Beat::Idle;
                slot.valid = slot.valid.max(self.validity_of(slot) - age);
            }
            return Some(());
        }
        // Every watcher sees it at once: seen later, it only makes them wait longer.
        slot.still = [0; SLOTS];
        slot.silent &= self.has(Flaw::FenceWithoutBeat);
        (slot.heartbeat, slot.late_beat) = (Beat::Applied(age), false);
        Some(())
    }

    /// A worker acquires a lease, and does or does not learn so.
    pub(crate) fn acquire(&self, next: &mut World, w: u8, lease: usize, fate: Fate) {
        let repeats = self.has(Flaw::RepeatsEpochs) && next.leases[lease].set_in_place;
        self.try_acquire(next, w, lease, fate);
        next.leases[lease].set_in_place |= repeats;
    }

    fn try_acquire(&self, next: &mut World, w: u8, lease: usize, fate: Fate) {
        match fate {
            Fate::Delayed => send(next, Request { lease: lease as u8, by: w, what: What::Acquire }),
            _ if !next.write(lease, LeaseWrite::Acquire { by: w }, self.remembers()) => {}
            Fate::Answered => next.slots[usize::from(w)].holds[lease] = Hold::Current,
            Fate::ReplyLate => next.slots[usize::from(w)].late[lease] = Hold::Current,
            Fate::ReplyLost | Fate::Lost => {}
        }
    }

    /// A worker stops believing in a lease, then sends the write that moves it.
    pub(crate) fn hand_over(&self, next: &mut World, w: u8, lease: usize, to: Option<u8>, fate: Fate) {
        if !self.has(Flaw::BelievesWhileMoving) || fate == Fate::Lost {
            self.give_up(next, usize::from(w), lease);
        }
        match fate {
            Fate::Lost => {}
            Fate::Delayed => send(next, Request { lease: lease as u8, by: w, what: What::HandOver(to) }),
            Fate::Answered | Fate::ReplyLost | Fate::ReplyLate => {
                let position = Some(Ordering::Greater);
                next.write(lease, LeaseWrite::HandOver { owner: w, to, position }, self.remembers());
                if fate == Fate::Answered {
                    next.slots[usize::from(w)].holds[lease] = Hold::No;
                }
            }
        }
    }

    fn give_up(&self, next: &mut World, w: usize, lease: usize) {
        if next.slots[w].holds[lease] == Hold::Current {
            next.leases[lease].given_up = true;
        }
        next.slots[w].holds[lease] = Hold::No;
        if !self.has(Flaw::BelievesLateReplies) {
            // Older than what it gave up, or as old.
            next.slots[w].late[lease] = Hold::No;
        }
    }

    fn checkpoint(&self, next: &mut World, w: u8, lease: usize, fate: Fate) {
        let stale = next.slots[usize::from(w)].holds[lease] == Hold::Stale;
        let what = if stale { What::StaleCheckpoint } else { What::Checkpoint };
        match fate {
            Fate::Delayed if stale && !self.remembers().checkpoints => {}
            Fate::Delayed => send(next, Request { lease: lease as u8, by: w, what }),
            _ if self.store_position(next, w, lease, what) => {
                // One under way was sent before, so it is behind now.
                let passed = Request { lease: lease as u8, by: w, what: What::Checkpoint };
                for request in next.requests.iter_mut().flatten().filter(|request| **request == passed) {
                    request.what = What::PassedCheckpoint;
                }
                next.requests.sort_unstable();
            }
            _ => self.give_up(next, w.into(), lease),
        }
    }

    /// A checkpoint reaches the store.
    fn store_position(&self, next: &mut World, w: u8, lease: usize, what: What) -> bool {
        let (mut owner, mut current) = (w, what != What::StaleCheckpoint);
        let mut position = if what == What::PassedCheckpoint { Ordering::Less } else { Ordering::Greater };
        let really = (current && next.leases[lease].owner == Some(w), position);
        if self.has(Flaw::CheckpointWithoutEpoch) {
            // Whoever asks is taken for the owner.
            (owner, current) = (next.leases[lease].owner.unwrap_or(w), true);
        }
        if next.leases[lease].set_in_place && next.leases[lease].owner == Some(w) {
            current = true;
        }
        if self.has(Flaw::CheckpointWithoutOrder) {
            position = Ordering::Greater;
        }
        let row = super::rows::LeaseRow { owner: next.leases[lease].owner, claim: next.leases[lease].claim };
        let accepted = super::rows::write(row, LeaseWrite::Checkpoint { owner, position }, current).is_some();
        if accepted {
            match really {
                (false, _) => next.broken = Some(Broken::StaleCheckpoint),
                (true, Ordering::Less) => next.broken = Some(Broken::PositionFell),
                (true, _) => {}
            }
        }
        accepted
    }

    fn arrives(&self, next: &mut World, n: usize) {
        let Some(Request { lease, by, what }) = next.requests[n].take() else { return };
        let lease = usize::from(lease);
        match what {
            What::Acquire => drop(next.write(lease, LeaseWrite::Acquire { by }, self.remembers())),
            What::HandOver(to) => {
                let position = Some(Ordering::Greater);
                next.write(lease, LeaseWrite::HandOver { owner: by, to, position }, self.remembers());
            }
            What::Checkpoint | What::PassedCheckpoint | What::StaleCheckpoint => {
                self.store_position(next, by, lease, what);
            }
            What::Claim(over) => drop(next.write(lease, LeaseWrite::Claim { by, over }, self.remembers())),
        }
    }

    fn late_reply(&self, next: &mut World, w: usize, lease: usize) {
        let late = std::mem::take(&mut next.slots[w].late[lease]);
        let given_up = late == Hold::Current && next.leases[lease].given_up;
        if next.slots[w].holds[lease] == Hold::No && (!given_up || self.has(Flaw::BelievesLateReplies)) {
            next.slots[w].holds[lease] = late;
        }
    }
}

fn send(next: &mut World, request: Request) {
    // Sorted, the empty places come first.
    next.requests[0] = Some(request);
    next.requests.sort_unstable();
}

impl Protocol {
    /// One action, under the names that the workers have.
    pub(crate) fn step(&self, world: &World, action: Action) -> Option<World> {
        let mut next = *world;
        match action {
            Action::Tick(ahead) => return self.tick(world, ahead),
            Action::Join { worker, slow } => self.join(&mut next, worker, slow),
            Action::Leave(w) => next.slots[usize::from(w)].row = Row::Leaving,
            Action::Crash(w) => next.end_process(usize::from(w)),
            Action::Beat(w) => next.slots[usize::from(w)].heartbeat = Beat::Sent(0),
            Action::BeatArrives(w) => self.beat_arrives(&mut next.slots[usize::from(w)])?,
            Action::BeatAnswered(w) => {
                let slot = &mut next.slots[usize::from(w)];
                let Beat::Applied(age) = std::mem::take(&mut slot.heartbeat) else { return None };
                slot.valid = slot.valid.max(self.validity_of(slot) - age);
            }
            Action::BeatLost(w) => {
                let slot = &mut next.slots[usize::from(w)];
                slot.unseen |= matches!(std::mem::take(&mut slot.heartbeat), Beat::Applied(_));
            }
            Action::BeatLate(w) => {
                let slot = &mut next.slots[usize::from(w)];
                (slot.heartbeat, slot.late_beat) = (Beat::Idle, true);
            }
            Action::LateBeatArrives(w) => {
                let slot = &mut next.slots[usize::from(w)];
                (slot.late_beat, slot.unseen) = (false, true);
                slot.still = [0; SLOTS];
                slot.silent &= self.has(Flaw::FenceWithoutBeat);
            }
            Action::BeatRefused(w) => next.end_process(usize::from(w)),
            Action::Fence(w) => {
                let fenced = next.slots[usize::from(w)].row == Row::Dead;
                takes_effect(WorkerWrite::Fence, fenced, true).then(|| next.end_row(usize::from(w)))?;
            }
            Action::Acquire { worker, lease, fate } => {
                self.acquire(&mut next, worker, lease.into(), fate);
            }
            Action::TakeUp { worker, lease, fate } => {
                let slot = &mut next.slots[usize::from(worker)];
                let belief = if fate == Fate::ReplyLate { &mut slot.late } else { &mut slot.holds };
                belief[usize::from(lease)] = Hold::Current;
            }
            Action::LateReply { worker, lease } => self.late_reply(&mut next, worker.into(), lease.into()),
            Action::Checkpoint { worker, lease, fate } => {
                self.checkpoint(&mut next, worker, lease.into(), fate);
            }
            Action::HandOver { worker, lease, to, fate } => {
                self.hand_over(&mut next, worker, lease.into(), to, fate);
            }
            Action::Notice { worker, lease } => {
                self.give_up(&mut next, worker.into(), lease.into());
            }
            Action::Claim { worker, lease, fate } => {
                let over = next.leases[usize::from(lease)].claim;
                if fate == Fate::Delayed {
                    send(&mut next, Request { lease, by: worker, what: What::Claim(over) });
                } else {
                    next.write(lease.into(), LeaseWrite::Claim { by: worker, over }, self.remembers());
                }
            }
            Action::Unclaim { worker, lease } => {
                next.write(lease.into(), LeaseWrite::Unclaim { by: worker }, self.remembers());
            }
            Action::Seek(lease) => {
                next.write(lease.into(), LeaseWrite::Seek, self.remembers());
                next.leases[usize::from(lease)].set_in_place = self.has(Flaw::SeekWithoutEpoch);
            }
            Action::Remake(lease) => {
                next.remake(lease.into(), self.remembers());
                next.leases[usize::from(lease)].set_in_place = self.has(Flaw::RepeatsEpochs);
            }
            Action::Arrives(n) => self.arrives(&mut next, n.into()),
        }
        (next != *world).then_some(next)
    }
}

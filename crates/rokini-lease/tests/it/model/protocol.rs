//! The protocol: what each worker may do next, and what comes of it.

use std::sync::Arc;

use stateright::{Model, Property};

use super::recovery::Plans;
use super::world::{Beat, Broken, Hold, LEASES, REQUESTS, Remembers, Row, SLOTS, Slot, World};

pub(crate) const ONE_HOLDER: &str = "at most one valid holder of a lease";
pub(crate) const DEAD_INVALID: &str = "a fenced worker is not valid";
pub(crate) const STALE_REFUSED: &str = "a stale owner's checkpoint is refused";
pub(crate) const NEVER_FALLS: &str = "a position never falls within an epoch";
pub(crate) const RECOVERS: &str = "a quiet fleet comes to rest with every lease held";
/// Situations that have to occur, so that the statements above are about something.
pub(crate) const ALL_HOLD: &str = "every lease has a valid holder while every worker is valid";
pub(crate) const TAKEN_UNNOTICED: &str = "a lease is held by another before its fenced owner notices";
pub(crate) const OUTLIVED: &str = "a request is under way whose sender has crashed";
pub(crate) const LATE_BEAT: &str = "a heartbeat is under way for longer than a tick";

/// The protocol with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    /// Workers that run at one time. Any of them may crash, and others join, any number of times.
    pub(crate) workers: usize,
    pub(crate) leases: usize,
    /// Ticks of a worker's own clock for which it is valid after the start of a heartbeat.
    pub(crate) validity: u8,
    /// Ticks of a watcher's own clock for which a beat must stand still.
    pub(crate) failover: u8,
    /// Ticks by which a clock may be ahead of another, over any time: 0 or 1.
    pub(crate) drift: u8,
    /// Requests that may be under way, given up by their sender, at one time.
    pub(crate) delayed: usize,
    /// Whether checkpoints are among them. They matter for the checkpoint properties only.
    pub(crate) delayed_checkpoints: bool,
    /// Whether beats that their worker gave up on may still arrive.
    pub(crate) late_beats: bool,
    /// Whether failover times differ, by one tick, as in a rolling change of the setting.
    pub(crate) differing: bool,
    /// Whether operators set positions, and leases are deleted and made anew.
    pub(crate) seeks: bool,
    /// Whether a reply that tells of a new lease may come after anything else the worker does.
    pub(crate) late_replies: bool,
    /// Whether workers claim leases and leave in order. Both only matter for recovery.
    pub(crate) claims: bool,
    /// The plans of this fleet, where recovery is checked.
    pub(crate) recovery: Option<Arc<Plans>>,
    pub(crate) flaw: Option<Flaw>,
}

/// What could be wrong with the protocol: the model has to notice each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// LeaseValidity counts from the answer to a heartbeat instead of its start.
    ValidFromTheAnswer,
    /// A checkpoint's condition has neither owner nor epoch in it.
    CheckpointWithoutEpoch,
    /// A seek leaves the epoch as it is, so that a checkpoint from before still meets its condition.
    SeekWithoutEpoch,
    /// A checkpoint's condition does not look at the position stored.
    CheckpointWithoutOrder,
    /// A worker believes in a lease until the write that moves it is answered.
    BelievesWhileMoving,
    /// A worker takes up a lease that names it under an epoch it gave up.
    TakesUpWhatItGaveUp,
    /// A late reply about a lease is believed although the worker gave up that epoch meanwhile.
    BelievesLateReplies,
    /// A fence is not conditional on the beat that was seen.
    FenceWithoutBeat,
    /// A lease is taken whose owner is missing in a listing, without a look at the owner's row.
    TrustsListings,
    /// A claim binds although the worker that made it is dead.
    DeadClaimBinds,
    /// A beat that is refused because an earlier one took effect is taken for that one, so that the validity counts from
    /// the later call.
    RecognisesEarlierBeats,
    /// A watcher judges others by its own failover time.
    JudgesByItsOwnFailover,
    /// The epochs of a lease that is made anew begin anew.
    RepeatsEpochs,
    /// A lease that its owner gave up stays with it although the write that moved it was lost.
    ForgetsWhatItGaveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// True time passes by one. The workers in this set have clocks that are ahead afterwards.
    Tick(u8),
    Join {
        worker: u8,
        slow: bool,
    },
    /// A worker that leaves says so with its heartbeat.
    Leave(u8),
    /// A process ends without a word.
    Crash(u8),
    /// A worker begins a heartbeat.
    Beat(u8),
    BeatArrives(u8),
    BeatAnswered(u8),
    /// Its request, where it has not arrived, otherwise its reply.
    BeatLost(u8),
    /// Its worker gives up on it, and it may still arrive.
    BeatLate(u8),
    LateBeatArrives(u8),
    /// A heartbeat is refused: the worker learns that it is dead.
    BeatRefused(u8),
    /// The row of a silent worker, or of one whose death is proven, is fenced or removed.
    Fence(u8),
    Acquire {
        worker: u8,
        lease: u8,
        fate: Fate,
    },
    /// A worker reads that a lease names it.
    TakeUp {
        worker: u8,
        lease: u8,
        fate: Fate,
    },
    /// The reply to an earlier write or read says that a lease is the worker's.
    LateReply {
        worker: u8,
        lease: u8,
    },
    Checkpoint {
        worker: u8,
        lease: u8,
        fate: Fate,
    },
    HandOver {
        worker: u8,
        lease: u8,
        to: Option<u8>,
        fate: Fate,
    },
    /// A worker notices that a lease is not its own any more.
    Notice {
        worker: u8,
        lease: u8,
    },
    Claim {
        worker: u8,
        lease: u8,
        fate: Fate,
    },
    Unclaim {
        worker: u8,
        lease: u8,
    },
    /// An operator sets the position.
    Seek(u8),
    /// A lease that nobody uses is deleted and made anew.
    Remake(u8),
    /// A request arrives whose sender has given up on it.
    Arrives(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It takes effect; the worker does not learn so.
    ReplyLost,
    /// It takes effect; the reply comes at any later time.
    ReplyLate,
    /// The worker gives up on it; it arrives at any later time.
    Delayed,
    /// The worker gives up on it; it never arrives.
    Lost,
}

impl Protocol {
    /// A fleet with perfect clocks. A clock that is ahead by one tick at most makes a validity of *v* ticks last
    /// for v + 1, and a failover time of *f* pass after f - 1: so perfect clocks with a validity as long as the
    /// failover time are the worst case of drifting ones with a failover time that is two ticks longer, which
    /// is the least margin there is.
    pub(crate) fn new(workers: usize, leases: usize) -> Self {
        assert!(workers < SLOTS && leases <= LEASES, "the model has room for fewer");
        Self {
            workers,
            leases,
            validity: 2,
            failover: 2,
            drift: 0,
            delayed: 1,
            delayed_checkpoints: true,
            late_beats: true,
            differing: false,
            seeks: true,
            late_replies: true,
            claims: false,
            recovery: None,
            flaw: None,
        }
    }

    /// The same without what concerns a lease and its owner only: a fleet of two has all of that.
    pub(crate) fn lean(self) -> Self {
        Self { delayed_checkpoints: false, seeks: false, late_replies: false, ..self }
    }

    /// The same with failover times that differ. Beats that arrive late matter without that already.
    pub(crate) fn differing(self) -> Self {
        Self { differing: true, late_beats: false, ..self }
    }

    /// How long a worker is valid after the start of a heartbeat, in ticks of its clock.
    pub(crate) fn validity_of(&self, slot: &Slot) -> u8 {
        self.validity + u8::from(slot.slow)
    }

    /// For how long its beat must stand still for this watcher.
    pub(crate) fn failover_of(&self, slot: &Slot, watcher: &Slot) -> u8 {
        let own = !self.has(Flaw::JudgesByItsOwnFailover) && slot.slow;
        self.failover + u8::from(own || watcher.slow)
    }

    /// The same with clocks that drift, and the least margin for it.
    pub(crate) fn drifting(self) -> Self {
        Self { drift: 1, failover: self.failover + 2, ..self }
    }

    /// The same with claims and leavers, and with every state run to rest. Time is left out: whoever takes part may
    /// be fenced at any time, so that a start is whatever workers may believe and rows may say.
    pub(crate) fn recovering(self) -> Self {
        let plans = Plans::new(self.workers + 1, self.leases);
        Self { claims: true, seeks: true, recovery: Some(Arc::new(plans)), ..self.lean() }
    }

    pub(crate) fn with(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(crate) fn remembers(&self) -> Remembers {
        Remembers { checkpoints: self.delayed_checkpoints, replies: self.has(Flaw::BelievesLateReplies) }
    }

    fn slots<'a>(&self, world: &'a World) -> impl Iterator<Item = (u8, &'a Slot)> + use<'a> {
        (0..).zip(&world.slots[..=self.workers])
    }

    fn has_room(&self, world: &World) -> bool {
        world.requests.iter().flatten().count() < self.delayed.min(REQUESTS)
    }

    fn ticks(&self, world: &World, actions: &mut Vec<Action>) {
        let running = self.slots(world).filter(|(_, slot)| slot.running).fold(0, |set, (n, _)| set | 1 << n);
        let ahead = if self.drift == 0 { 0 } else { running };
        actions.extend((0..=ahead).filter(|set| set & !ahead == 0).map(Action::Tick));
    }

    fn heartbeats(&self, w: u8, slot: &Slot, actions: &mut Vec<Action>) {
        match slot.heartbeat {
            Beat::Sent(_) | Beat::Idle if slot.row == Row::Dead => actions.push(Action::BeatRefused(w)),
            Beat::Idle if self.recovery.is_some() => {}
            Beat::Idle => actions.push(Action::Beat(w)),
            Beat::Sent(_) => {
                actions.extend([Action::BeatArrives(w), Action::BeatLost(w)]);
                // One that an earlier one made wrong changes nothing when it arrives.
                if self.late_beats && !slot.unseen && !slot.late_beat {
                    actions.push(Action::BeatLate(w));
                }
            }
            Beat::Applied(_) => actions.extend([Action::BeatAnswered(w), Action::BeatLost(w)]),
        }
        if slot.late_beat && slot.row != Row::Dead {
            actions.push(Action::LateBeatArrives(w));
        }
    }

    fn about_lease(&self, world: &World, worker: u8, lease: u8, actions: &mut Vec<Action>) {
        let (slot, row) = (&world.slots[usize::from(worker)], &world.leases[usize::from(lease)]);
        let mine = row.owner == Some(worker);
        let room = self.has_room(world);
        let hold = slot.holds[usize::from(lease)];
        if hold != Hold::No {
            if slot.is_valid() {
                actions.push(Action::Checkpoint { worker, lease, fate: Fate::Answered });
                if room && self.delayed_checkpoints {
                    actions.push(Action::Checkpoint { worker, lease, fate: Fate::Delayed });
                }
            }
        } else if slot.row != Row::Leaving {
            if mine && (!row.given_up || self.has(Flaw::TakesUpWhatItGaveUp)) {
                actions.push(Action::TakeUp { worker, lease, fate: Fate::Answered });
                if self.late_replies {
                    actions.push(Action::TakeUp { worker, lease, fate: Fate::ReplyLate });
                }
            }
            let free = row.owner.is_none_or(|owner| world.is_dead(owner) || self.has(Flaw::TrustsListings));
            if slot.is_valid() && if mine { row.given_up } else { free } {
                let fates = [
                    (Fate::Answered, true),
                    (Fate::ReplyLost, true),
                    (Fate::ReplyLate, self.late_replies),
                    (Fate::Delayed, room),
                ];
                actions.extend(
                    fates.into_iter().filter(|(_, possible)| *possible).map(|(fate, _)| Action::Acquire {
                        worker,
                        lease,
                        fate,
                    }),
                );
            }
        }
        if hold == Hold::Current {
            let others = self.slots(world).filter(|(n, other)| *n != worker && other.is_member());
            for to in others.map(|(n, _)| Some(n)).chain([None]) {
                actions.push(Action::HandOver { worker, lease, to, fate: Fate::Answered });
                if self.has(Flaw::BelievesWhileMoving) {
                    // Otherwise an answer makes no difference to what it believes.
                    actions.push(Action::HandOver { worker, lease, to, fate: Fate::ReplyLost });
                }
                if room {
                    actions.push(Action::HandOver { worker, lease, to, fate: Fate::Delayed });
                }
            }
            actions.push(Action::HandOver { worker, lease, to: None, fate: Fate::Lost });
        }
        if hold == Hold::Stale {
            actions.push(Action::Notice { worker, lease });
        }
        if slot.late[usize::from(lease)] != Hold::No {
            actions.push(Action::LateReply { worker, lease });
        }
        if self.claims && slot.row == Row::Alive && !mine && row.owner.is_some() {
            if row.claim == Some(worker) {
                actions.push(Action::Unclaim { worker, lease });
            } else if row.claim.is_none_or(|claimer| world.slots[usize::from(claimer)].row != Row::Alive) {
                actions.push(Action::Claim { worker, lease, fate: Fate::Answered });
                if room {
                    actions.push(Action::Claim { worker, lease, fate: Fate::Delayed });
                }
            }
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        if self.recovery.is_none() {
            self.ticks(world, actions);
        }
        if self.slots(world).filter(|(_, slot)| slot.running).count() < self.workers {
            let free = self.slots(world).find(|(_, slot)| slot.row == Row::Free);
            let joins = free
                .into_iter()
                .flat_map(|(worker, _)| [false, true].map(|slow| Action::Join { worker, slow }));
            let possible = |join: &Action| self.differing || !matches!(join, Action::Join { slow: true, .. });
            actions.extend(joins.filter(possible));
        }
        for (w, slot) in self.slots(world) {
            if slot.is_member() && (slot.silent || !slot.running || self.recovery.is_some()) {
                actions.push(Action::Fence(w));
            }
            if slot.running {
                actions.push(Action::Crash(w));
                self.heartbeats(w, slot, actions);
                if self.claims && slot.row == Row::Alive {
                    actions.push(Action::Leave(w));
                }
                for lease in 0..self.leases {
                    self.about_lease(world, w, lease as u8, actions);
                }
            }
        }
        let seeks = if self.seeks { self.leases } else { 0 };
        actions.extend((0..seeks).map(|lease| Action::Seek(lease as u8)));
        // An operator who takes a lease from a worker that uses it has to force that.
        let free = |lease: &usize| world.leases[*lease].owner.is_none_or(|owner| world.is_dead(owner));
        let unused = (0..seeks).filter(|lease| free(lease) && world.valid_holders(*lease) == 0);
        actions.extend(unused.map(|lease| Action::Remake(lease as u8)));
        let requests = world.requests.iter().enumerate();
        actions.extend(requests.filter(|(_, r)| r.is_some()).map(|(n, _)| Action::Arrives(n as u8)));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let next = self.step(world, action)?.representative(self.leases);
        debug_assert!(next.slots[self.workers + 1..].iter().all(|slot| slot.row == Row::Free), "{next:?}");
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        if self.recovery.is_some() {
            return vec![Property::always(RECOVERS, Self::recovers)];
        }
        vec![
            Property::always(ONE_HOLDER, |model: &Self, world: &World| {
                (0..model.leases).all(|lease| world.valid_holders(lease) <= 1)
            }),
            Property::always(DEAD_INVALID, |_, world: &World| {
                world.slots.iter().all(|slot| slot.row != Row::Dead || !slot.is_valid())
            }),
            Property::always(STALE_REFUSED, |_, world: &World| world.broken != Some(Broken::StaleCheckpoint)),
            Property::always(NEVER_FALLS, |_, world: &World| world.broken != Some(Broken::PositionFell)),
            Property::sometimes(ALL_HOLD, |model: &Self, world: &World| {
                let held = (0..model.leases).all(|lease| world.valid_holders(lease) == 1);
                held && world.slots.iter().filter(|slot| slot.is_valid()).count() == model.workers
            }),
            Property::sometimes(TAKEN_UNNOTICED, |_, world: &World| {
                let unaware = world.slots.iter().any(|slot| slot.row == Row::Dead && slot.running);
                unaware && world.valid_holders(0) == 1
            }),
            Property::sometimes(OUTLIVED, |_, world: &World| {
                world.requests.iter().flatten().any(|r| !world.slots[usize::from(r.by)].running)
            }),
            Property::sometimes(LATE_BEAT, |_, world: &World| {
                world.slots.iter().any(|slot| matches!(slot.heartbeat, Beat::Applied(age) if age > 0))
            }),
        ]
    }
}

//! As many leases for one worker as for another.
//!
//! Leases that nobody has go to the least loaded worker that reads their stream. Then, as long as a worker has
//! two leases more than one to which a chain of leases leads (its lease of one stream to a second worker, that
//! one's of another stream to a third, and so on), the shortest such chain is carried out, from the most to the
//! least loaded. That ends with the most even loads there are: a better spread would need such a chain. Where all
//! workers read the same streams, it also takes the fewest moves there can be.

use std::collections::{BTreeMap, VecDeque};

use super::fleet::{Placement, PlanInput};

/// The worker for each lease; `None` where none is left to have it.
pub(super) fn spread(fleet: &PlanInput<'_>) -> Vec<Option<usize>> {
    let mut plan = EvenPlan::new(fleet);
    plan.enforce_limits();
    plan.place_unassigned();
    plan.level();
    plan.assigned()
}

/// The same, but what somebody has stays there.
pub(super) fn place(fleet: &PlanInput<'_>) -> Vec<Option<usize>> {
    let mut plan = EvenPlan::new(fleet);
    plan.place_unassigned();
    plan.assigned()
}

/// A worker's leases of one stream, by what it costs to move one.
#[derive(Default)]
struct StreamLeases {
    /// To move anyway.
    moving: Vec<usize>,
    at_rest: Vec<usize>,
    /// Brought here by an operator.
    placed: Vec<usize>,
    /// On their way to this worker: they would travel twice.
    pending: Vec<usize>,
}

impl StreamLeases {
    fn is_empty(&self) -> bool {
        self.moving.is_empty() && self.at_rest.is_empty() && self.placed.is_empty() && self.pending.is_empty()
    }

    fn take(&mut self) -> Option<usize> {
        let at_rest = || self.at_rest.pop().or_else(|| self.placed.pop());
        self.moving.pop().or_else(at_rest).or_else(|| self.pending.pop())
    }
}

/// A lease of `stream` goes `from` one worker `to` another.
#[derive(Clone, Copy)]
struct LeaseStep {
    from: usize,
    stream: usize,
    to: usize,
}

struct EvenPlan<'a> {
    fleet: &'a PlanInput<'a>,
    loads: Vec<usize>,
    limits: Vec<usize>,
    leases: Vec<BTreeMap<usize, StreamLeases>>,
    unassigned: Vec<usize>,
    /// Leases that an operator wants to be with a worker: they count for it and never move on.
    pinned: Vec<(usize, usize)>,
}

impl<'a> EvenPlan<'a> {
    fn new(fleet: &'a PlanInput<'a>) -> Self {
        let workers = fleet.workers.len();
        let mut plan = Self {
            fleet,
            loads: vec![0; workers],
            limits: (0..workers).map(|worker| fleet.limit(worker)).collect(),
            leases: (0..workers).map(|_| BTreeMap::new()).collect(),
            unassigned: Vec::new(),
            pinned: Vec::new(),
        };
        // Backwards, so that of equals the first is taken.
        for (n, lease) in fleet.leases.iter().enumerate().rev() {
            if let Some(worker) = lease.pin {
                plan.loads[worker] += 1;
                plan.pinned.push((n, worker));
                continue;
            }
            match lease.placement {
                Placement::Unassigned | Placement::Stray(_) => plan.unassigned.push(n),
                Placement::Held { worker, pending } => {
                    plan.loads[worker] += 1;
                    let leases = plan.leases[worker].entry(lease.stream).or_default();
                    let rest = if lease.placed { &mut leases.placed } else { &mut leases.at_rest };
                    if pending { &mut leases.pending } else { rest }.push(n);
                }
            }
        }
        plan
    }

    fn has_room(&self, worker: usize) -> bool {
        self.loads[worker] < self.limits[worker]
    }

    /// Takes leases from workers that have more than they may, as far as others have room.
    fn enforce_limits(&mut self) {
        for from in 0..self.loads.len() {
            while self.loads[from] > self.limits[from] {
                let Some((_, chain)) = self.chain(&[from], |to| self.has_room(to)) else { break };
                self.carry_out(&chain);
            }
        }
    }

    /// Gives every lease without a holder to the least loaded of those that read it, if need be by making room.
    fn place_unassigned(&mut self) {
        while let Some(lease) = self.unassigned.pop() {
            let stream = self.fleet.leases[lease].stream;
            let readers = &self.fleet.readers[stream];
            let direct = readers.iter().copied().filter(|to| self.has_room(*to));
            let to = match direct.min_by_key(|to| (self.loads[*to], *to)) {
                Some(to) => to,
                None => {
                    // Where there is one lease too many already, one less makes no room.
                    let full = readers.iter().copied().filter(|to| self.loads[*to] <= self.limits[*to]);
                    let full: Vec<usize> = full.collect();
                    let Some((first, chain)) = self.chain(&full, |to| self.has_room(to)) else { continue };
                    self.carry_out(&chain);
                    first
                }
            };
            self.loads[to] += 1;
            self.leases[to].entry(stream).or_default().moving.push(lease);
        }
    }

    /// Moves leases from the most loaded to the least loaded while that makes the spread more even.
    fn level(&mut self) {
        let parts = parts(self.fleet);
        let mut stuck = vec![false; self.loads.len()];
        loop {
            let free = (0..self.loads.len()).filter(|worker| !stuck[*worker]);
            let Some(from) = free.min_by_key(|worker| (std::cmp::Reverse(self.loads[*worker]), *worker))
            else {
                return;
            };
            let (load, over) = (self.loads[from], self.loads[from] > self.limits[from]);
            let fits = |to: usize| self.has_room(to) && (over || self.loads[to] + 2 <= load);
            match self.chain(&[from], fits) {
                Some((_, chain)) => {
                    self.carry_out(&chain);
                    let unstuck = (0..stuck.len()).filter(|worker| parts[*worker] == parts[from]);
                    unstuck.for_each(|worker| stuck[worker] = false);
                }
                None => stuck[from] = true,
            }
        }
    }

    /// The chain of moves from one of the `sources` to the least loaded worker that `fits`, over the fewest
    /// leases that would stay otherwise; with the source it begins at.
    fn chain(&self, sources: &[usize], fits: impl Fn(usize) -> bool) -> Option<(usize, Vec<LeaseStep>)> {
        const FAR: usize = usize::MAX;
        let mut distance = vec![FAR; self.loads.len()];
        let mut reached_by: Vec<Option<LeaseStep>> = vec![None; self.loads.len()];
        let mut expanded = vec![FAR; self.fleet.readers.len()];
        let mut queue: VecDeque<usize> = sources.iter().copied().collect();
        sources.iter().for_each(|source| distance[*source] = 0);
        let lowest = (0..self.loads.len()).filter(|to| fits(*to)).map(|to| self.loads[to]).min()?;
        let mut best: Option<(usize, usize, usize)> = None;
        while let Some(from) = queue.pop_front() {
            if best.is_some_and(|(load, cost, _)| load == lowest && cost <= distance[from]) {
                break;
            }
            for (&stream, leases) in self.leases[from].iter().filter(|(_, leases)| !leases.is_empty()) {
                let cost = distance[from] + usize::from(leases.moving.is_empty());
                if cost >= expanded[stream] {
                    continue;
                }
                expanded[stream] = cost;
                for &to in &self.fleet.readers[stream] {
                    if cost >= distance[to] {
                        continue;
                    }
                    distance[to] = cost;
                    reached_by[to] = Some(LeaseStep { from, stream, to });
                    if cost == distance[from] {
                        queue.push_front(to);
                    } else {
                        queue.push_back(to);
                    }
                    if fits(to) && best.is_none_or(|best| (self.loads[to], cost, to) < best) {
                        best = Some((self.loads[to], cost, to));
                    }
                }
            }
        }
        let (_, _, mut at) = best?;
        let mut chain = Vec::new();
        while let Some(step) = reached_by[at] {
            chain.push(step);
            at = step.from;
        }
        Some((at, chain))
    }

    /// From the end, so that a lease that is passed on is not the one that just came.
    fn carry_out(&mut self, chain: &[LeaseStep]) {
        for step in chain {
            let taken = self.leases[step.from].get_mut(&step.stream).and_then(StreamLeases::take);
            let Some(lease) = taken else { continue };
            self.loads[step.from] -= 1;
            self.loads[step.to] += 1;
            self.leases[step.to].entry(step.stream).or_default().moving.push(lease);
        }
    }

    fn assigned(&self) -> Vec<Option<usize>> {
        let mut assigned = vec![None; self.fleet.leases.len()];
        self.pinned.iter().for_each(|(lease, worker)| assigned[*lease] = Some(*worker));
        for (worker, streams) in self.leases.iter().enumerate() {
            for leases in streams.values() {
                let at_rest = leases.at_rest.iter().chain(&leases.placed);
                for lease in leases.moving.iter().chain(at_rest).chain(&leases.pending) {
                    assigned[*lease] = Some(worker);
                }
            }
        }
        assigned
    }
}

/// Workers of equal numbers are joined by streams that both read, directly or over others.
fn parts(fleet: &PlanInput<'_>) -> Vec<usize> {
    let mut parts: Vec<usize> = (0..fleet.workers.len()).collect();
    for readers in &fleet.readers {
        let Some(least) = readers.iter().map(|worker| parts[*worker]).min() else { continue };
        let joined: std::collections::BTreeSet<usize> = readers.iter().map(|worker| parts[*worker]).collect();
        parts.iter_mut().filter(|part| joined.contains(part)).for_each(|part| *part = least);
    }
    parts
}

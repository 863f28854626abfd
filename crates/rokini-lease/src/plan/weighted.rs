//! As many bytes a second for one worker as for another.
//!
//! Greedy: what nobody has goes, the heaviest first, to the least loaded. Then single leases move from the most
//! loaded workers to the least loaded, each time the one that lowers the higher of the two loads by the most. Two
//! thresholds keep small changes from moving anything: moves begin only where one of them is worth [`START`] of
//! the mean load, and then go on while one is worth [`STOP`] of it.

use super::fleet::{Placement, PlanInput};

/// What the first move must lower the higher of two loads by, as a part of the mean load: 15 %.
const START: f64 = 0.15;
/// What each further move must.
const STOP: f64 = 0.05;
/// What a lease weighs beside its throughput, in bytes a second, so that idle leases are spread by their number.
const IDLE: f64 = 1024.0;

/// The worker for each lease; `None` where none is left to have it.
pub(super) fn spread(fleet: &PlanInput<'_>) -> Vec<Option<usize>> {
    let mut plan = WeightedPlan::new(fleet);
    plan.place();
    plan.enforce_limits();
    plan.level();
    plan.holder
}

struct WeightedPlan<'a> {
    fleet: &'a PlanInput<'a>,
    weights: Vec<f64>,
    holder: Vec<Option<usize>>,
    loads: Vec<f64>,
    counts: Vec<usize>,
    held: Vec<Vec<usize>>,
}

/// A lease that may move, and by how much that lowers the higher of the two loads.
#[derive(Clone, Copy)]
struct Step {
    lease: usize,
    to: usize,
    gain: f64,
}

impl<'a> WeightedPlan<'a> {
    fn new(fleet: &'a PlanInput<'a>) -> Self {
        let workers = fleet.workers.len();
        Self {
            fleet,
            weights: weights(fleet),
            holder: vec![None; fleet.leases.len()],
            loads: vec![0.0; workers],
            counts: vec![0; workers],
            held: vec![Vec::new(); workers],
        }
    }

    fn assign(&mut self, lease: usize, to: usize) {
        if let Some(from) = self.holder[lease].replace(to) {
            self.loads[from] -= self.weights[lease];
            self.counts[from] -= 1;
            self.held[from].retain(|other| *other != lease);
        }
        self.loads[to] += self.weights[lease];
        self.counts[to] += 1;
        self.held[to].push(lease);
    }

    /// What a worker has and no operator keeps with it.
    fn movable(&self, worker: usize) -> impl Iterator<Item = usize> + '_ {
        self.held[worker].iter().copied().filter(|lease| self.fleet.leases[*lease].pin.is_none())
    }

    /// The least loaded worker with room that reads the stream.
    fn least_loaded(&self, stream: usize, but: Option<usize>) -> Option<usize> {
        let room = |to: &usize| self.counts[*to] < self.fleet.limit(*to) && Some(*to) != but;
        let readers = self.fleet.readers[stream].iter().copied().filter(room);
        readers.min_by(|a, b| self.loads[*a].total_cmp(&self.loads[*b]).then(a.cmp(b)))
    }

    fn place(&mut self) {
        for (lease, row) in self.fleet.leases.iter().enumerate() {
            let holder = match row.placement {
                Placement::Held { worker, .. } => Some(worker),
                _ => None,
            };
            if let Some(worker) = row.pin.or(holder) {
                self.assign(lease, worker);
            }
        }
        let mut free: Vec<usize> =
            (0..self.holder.len()).filter(|lease| self.holder[*lease].is_none()).collect();
        free.sort_by(|a, b| self.weights[*b].total_cmp(&self.weights[*a]).then(a.cmp(b)));
        let mut stuck = false;
        for lease in free {
            match self.least_loaded(self.fleet.leases[lease].stream, None) {
                Some(to) => self.assign(lease, to),
                None => stuck = true,
            }
        }
        if stuck {
            self.make_room();
        }
    }

    /// Where limits are in the way, what the even plan does with the rest: it makes room where there can be some.
    fn make_room(&mut self) {
        let mut fleet = self.fleet.clone();
        for (lease, holder) in fleet.leases.iter_mut().zip(&self.holder) {
            lease.placement =
                holder.map_or(Placement::Unassigned, |worker| Placement::Held { worker, pending: false });
        }
        for (lease, to) in super::even::place(&fleet).into_iter().enumerate() {
            if let Some(to) = to.filter(|to| self.holder[lease] != Some(*to)) {
                self.assign(lease, to);
            }
        }
    }

    /// Takes the lightest leases from workers that have more than their limit, where another has room.
    fn enforce_limits(&mut self) {
        for from in 0..self.loads.len() {
            while self.counts[from] > self.fleet.limit(from) {
                let fits =
                    |lease: &usize| self.least_loaded(self.fleet.leases[*lease].stream, Some(from)).is_some();
                let movable = self.movable(from).filter(fits);
                let lightest =
                    movable.min_by(|a, b| self.weights[*a].total_cmp(&self.weights[*b]).then(a.cmp(b)));
                let Some(lease) = lightest else { break };
                let Some(to) = self.least_loaded(self.fleet.leases[lease].stream, Some(from)) else { break };
                self.assign(lease, to);
            }
        }
    }

    fn level(&mut self) {
        let mean = self.loads.iter().sum::<f64>() / self.loads.len() as f64;
        // Where some had nobody, things are on the move anyway.
        let placed = self.fleet.leases.iter().any(|lease| !matches!(lease.placement, Placement::Held { .. }));
        let mut threshold = if placed { STOP } else { START } * mean;
        // Each move lowers the sum of the squares of the loads; the bound is for rounding errors only.
        for _ in 0..self.holder.len() {
            let Some(step) = self.best().filter(|step| step.gain >= threshold && step.gain > 0.0) else {
                return;
            };
            self.assign(step.lease, step.to);
            threshold = STOP * mean;
        }
    }

    /// The best move away from the most loaded worker that has one worth making.
    fn best(&self) -> Option<Step> {
        let mut least: Vec<Option<usize>> = Vec::with_capacity(self.fleet.readers.len());
        least.extend((0..self.fleet.readers.len()).map(|stream| self.least_loaded(stream, None)));
        let mut best: Option<Step> = None;
        for from in 0..self.loads.len() {
            for lease in self.movable(from) {
                let Some(to) = least[self.fleet.leases[lease].stream].filter(|to| *to != from) else {
                    continue;
                };
                let weight = self.weights[lease];
                let gain = weight.min(self.loads[from] - self.loads[to] - weight);
                let better = |best: Step| gain.total_cmp(&best.gain).then(best.lease.cmp(&lease)).is_gt();
                if best.is_none_or(better) {
                    best = Some(Step { lease, to, gain });
                }
            }
        }
        best
    }
}

/// What each lease weighs. One whose throughput is not known yet weighs as much as the mean of the others.
fn weights(fleet: &PlanInput<'_>) -> Vec<f64> {
    let known = |lease: &super::fleet::Lease<'_>| lease.row.metadata.bytes_per_second.map(|rate| rate as f64);
    let rates: Vec<f64> = fleet.leases.iter().filter_map(known).collect();
    let mean = if rates.is_empty() { 0.0 } else { rates.iter().sum::<f64>() / rates.len() as f64 };
    fleet.leases.iter().map(|lease| IDLE + known(lease).unwrap_or(mean)).collect()
}

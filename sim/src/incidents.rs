//! What was done to the fleet: the only thing by which records may come again, or wait. Nothing here is told by the
//! code under test, but for which worker the table of leases says has a shard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rokini_history::{Cause, ExpectedRepeat, Process};

use crate::faults::StorePath;
use crate::shard_ref::{Millis, ShardRef};

/// How long after the failover time the others may take to hold what a dead worker had: the look, the fence, the
/// listing, the acquisition, and the back-offs between them.
const TAKING: Millis = 5_000;
/// How long after the end of a trouble it may still show: back-offs, a read at a silent connection.
const BACK: Millis = 10_000;
/// A worker takes part this long after its start.
const START: Millis = 3_000;
/// The default interval of checkpoints.
const CHECKPOINT_INTERVAL: Millis = 5_000;
/// What a checkpoint may take beyond that: the write, and where single calls fail the back-offs after it.
const CHECKPOINT: Millis = 500;
const FLAKY_CHECKPOINT: Millis = 5_000;
/// A trouble that is shorter costs no lease and no hand-over.
const SHORT: Millis = 2_000;
/// After so long without an answer a shard of which nothing can be read goes to another worker: two times the stall
/// timeout of a minute.
const STALLED: Millis = 150_000;

/// A shard that was taken for ended, because the stream said so for long enough, is begun anew so soon after the stream says
/// what is so again: two audits, each at most a tenth later than a minute after the one before it, and some room.
const AUDITED: Millis = 150_000;

/// What one worker suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Disturbance {
    /// A part of its way to the table fails.
    Table(StorePath),
    /// It reads nothing of the stream.
    Stream,
    /// It stands still.
    Frozen,
    /// Its row cannot be read by anybody.
    Unreadable,
}

impl Disturbance {
    /// The others come to take the worker for dead.
    fn silences(self) -> bool {
        match self {
            Self::Table(path) => path.silences(),
            Self::Frozen => true,
            Self::Stream | Self::Unreadable => false,
        }
    }

    fn keeps_positions_back(self) -> bool {
        self.silences() || matches!(self, Self::Table(path) if path.keeps_positions_back())
    }

    /// The shards that are the worker's may stand still for as long as this lasts, though it is alive to the others.
    fn holds_up(self) -> bool {
        matches!(self, Self::Table(path) if path.keeps_from_taking() || path.keeps_positions_back())
            || self == Self::Unreadable
    }
}

#[derive(Debug, Default)]
struct WorkerLog {
    stream: usize,
    failover: Millis,
    flaky: bool,
    started: Millis,
    ended: Option<Millis>,
    killed: bool,
    troubles: Vec<(Disturbance, Millis, Option<Millis>)>,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    workers: BTreeMap<u32, WorkerLog>,
    /// Who has each shard, and since when.
    owners: BTreeMap<ShardRef, Vec<(Millis, Option<u32>)>>,
    /// What holds shards up whoever has them, by name: since when, and which shards.
    open: BTreeMap<String, (Millis, Scope)>,
    closed: Vec<(Scope, Millis, Millis)>,
    seeks: Vec<(ShardRef, Millis)>,
    /// Shards that were taken for ended while the stream denied that there were such: since when, and when that was taken
    /// back.
    denied: BTreeMap<ShardRef, (Millis, Option<Millis>)>,
    /// Nothing fails any more.
    healed: Option<Millis>,
}

/// What something holds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// A stream.
    Stream(usize),
    /// A shard.
    Shard(ShardRef),
}

impl Scope {
    fn has(&self, shard: &ShardRef) -> bool {
        match self {
            Self::All => true,
            Self::Stream(stream) => *stream == shard.stream,
            Self::Shard(one) => one == shard,
        }
    }
}

/// What the history is to know.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    pub(crate) excuses: Vec<ExpectedRepeat>,
    /// When records of these shards may wait.
    pub(crate) waits: Vec<(Arc<str>, Duration, Duration)>,
}

impl Incidents {
    pub(crate) fn started(
        &mut self,
        worker: u32,
        stream: usize,
        failover: Duration,
        flaky: bool,
        now: Millis,
    ) {
        let failover = failover.as_millis() as Millis;
        let log = WorkerLog { stream, failover, flaky, started: now, ..WorkerLog::default() };
        self.workers.insert(worker, log);
    }

    /// The process is over.
    pub(crate) fn process_ended(&mut self, worker: u32, killed: bool, now: Millis) {
        if let Some(log) = self.workers.get_mut(&worker) {
            log.ended.get_or_insert(now);
            log.killed |= killed;
        }
    }

    pub(crate) fn trouble(&mut self, worker: u32, trouble: Disturbance, on: bool, now: Millis) {
        let Some(log) = self.workers.get_mut(&worker) else { return };
        let open = log.troubles.iter_mut().find(|(kind, _, end)| *kind == trouble && end.is_none());
        match (open, on) {
            (None, true) => log.troubles.push((trouble, now, None)),
            (Some((_, _, end)), false) => *end = Some(now),
            _ => {}
        }
    }

    /// Everything that workers suffer ends.
    pub(crate) fn all_relieved(&mut self, now: Millis) {
        for (_, _, end) in self.workers.values_mut().flat_map(|log| &mut log.troubles) {
            end.get_or_insert(now);
        }
    }

    /// Something that holds shards up begins or ends.
    pub(crate) fn holds_up(&mut self, name: &str, scope: Scope, on: bool, now: Millis) {
        if on {
            self.open.entry(name.to_owned()).or_insert((now, scope));
        } else if let Some((from, scope)) = self.open.remove(name) {
            self.closed.push((scope, from, now + BACK));
        }
    }

    /// A handler got a record of this shard that it fails for ever. Whoever searches for it and tries it again meanwhile
    /// gives others nothing.
    pub(crate) fn poisoned(&mut self, shard: &ShardRef, now: Millis) {
        self.closed.push((Scope::Shard(shard.clone()), now, now + BACK));
    }

    /// The lease of this shard ends without children.
    pub(crate) fn ended(&mut self, shard: &ShardRef, now: Millis) {
        let trouble = |of: &dyn Fn(&Scope) -> bool| {
            self.open.values().any(|(_, scope)| of(scope))
                || self.closed.iter().any(|(scope, _, to)| of(scope) && *to > now)
        };
        // Reads say that there is no such shard, and so do listings.
        let reads = trouble(&|scope| *scope == Scope::Shard(shard.clone()));
        if reads && trouble(&|scope| *scope == Scope::Stream(shard.stream)) {
            self.denied.insert(shard.clone(), (now, None));
        }
    }

    /// Whether the lease of this shard may begin anew, now, because its end was none.
    pub(crate) fn takes_end_back(&mut self, shard: &ShardRef, now: Millis) -> bool {
        match self.denied.get_mut(shard) {
            Some((_, back @ None)) => {
                *back = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Whether what the stream says about its shards has been right for a while.
    pub(crate) fn is_told_right(&self, stream: usize, now: Millis) -> bool {
        let of = |scope: &Scope| *scope == Scope::Stream(stream);
        !self.open.values().any(|(_, scope)| of(scope))
            && !self.closed.iter().any(|(scope, _, to)| of(scope) && *to > now)
    }

    /// All of that ends, and nothing fails from now on.
    pub(crate) fn healed(&mut self, now: Millis) {
        self.healed.get_or_insert(now);
        for (_, (from, scope)) in std::mem::take(&mut self.open) {
            self.closed.push((scope, from, now + BACK));
        }
        self.all_relieved(now);
    }

    pub(crate) fn owner(&mut self, shard: &ShardRef, worker: Option<u32>, now: Millis) {
        let owners = self.owners.entry(shard.clone()).or_default();
        if owners.last().is_none_or(|(_, last)| *last != worker) {
            owners.push((now, worker));
        }
    }

    /// A record was put into this shard.
    pub(crate) fn shard(&mut self, shard: &ShardRef) {
        if !self.owners.contains_key(shard) {
            self.owners.insert(shard.clone(), vec![(0, None)]);
        }
    }

    pub(crate) fn sought(&mut self, shard: &ShardRef, now: Millis) {
        self.seeks.push((shard.clone(), now));
    }

    /// Whether something in the last while lets the others take this worker for dead.
    pub(crate) fn may_be_fenced(&self, worker: u32, now: Millis) -> bool {
        let Some(log) = self.workers.get(&worker) else { return true };
        let recent = |end: &Option<Millis>| end.is_none_or(|end| end + 2 * log.failover + TAKING >= now);
        // One in reserve that cannot read its mailbox does not hear that it is asked for a heartbeat.
        let silences = |kind: &Disturbance| kind.silences() || *kind == Disturbance::Table(StorePath::Reads);
        log.ended.is_some() || log.troubles.iter().any(|(kind, _, end)| silences(kind) && recent(end))
    }

    /// Whether its credentials ever lacked the right to write.
    pub(crate) fn was_denied(&self, worker: u32) -> bool {
        let denied = |(kind, ..): &(Disturbance, Millis, Option<Millis>)| {
            *kind == Disturbance::Table(StorePath::Permission)
        };
        self.workers.get(&worker).is_some_and(|log| log.troubles.iter().any(denied))
    }

    /// Whether anything ever kept this worker from the table.
    pub(crate) fn was_cut_off(&self, worker: u32) -> bool {
        self.workers.get(&worker).is_some_and(|log| !log.troubles.is_empty() || log.flaky)
    }

    /// Whether the worker is well, and has been for a while.
    pub(crate) fn is_well(&self, worker: u32, now: Millis) -> bool {
        let spans = self.workers.get(&worker).map(WorkerLog::well).unwrap_or_default();
        spans.into_iter().any(|(from, to)| from < now && to > now)
    }

    /// What explains that records came again, and that they waited.
    pub(crate) fn explained(&self, now: Millis) -> Explained {
        let mut explained = Explained::default();
        for (number, log) in &self.workers {
            self.excuses(*number, log, now, &mut explained.excuses);
        }
        for (shard, at) in &self.seeks {
            let at = Duration::from_millis(*at);
            let (since, from, to) = (Duration::ZERO, at, at + Duration::from_secs(10));
            let shard = Some(shard.name());
            explained.excuses.push(ExpectedRepeat {
                cause: Cause::Seek,
                process: None,
                shard,
                since,
                from,
                to,
            });
        }
        for (shard, owners) in &self.owners {
            let waits = self.waits(shard, owners, now);
            explained.waits.extend(
                waits
                    .into_iter()
                    .map(|(from, to)| (shard.name(), Duration::from_millis(from), Duration::from_millis(to))),
            );
        }
        explained
    }

    fn excuses(&self, number: u32, log: &WorkerLog, now: Millis, excuses: &mut Vec<ExpectedRepeat>) {
        let process = Some(Process(number as usize));
        let mut excuse = |cause, since, from, to| {
            let [since, from, to] = [since, from, to].map(Duration::from_millis);
            excuses.push(ExpectedRepeat { cause, process, shard: None, since, from, to });
        };
        if let Some(ended) = log.ended.filter(|_| log.killed) {
            excuse(Cause::Crash, log.stored_before(ended, now), ended, ended);
        }
        for (from, to) in log.spans(now, Disturbance::keeps_positions_back) {
            if to - from >= SHORT {
                excuse(Cause::Fence, log.stored_before(from, now), from, to + TAKING);
            }
        }
    }

    /// When the records of a shard may wait.
    fn waits(
        &self,
        shard: &ShardRef,
        owners: &[(Millis, Option<u32>)],
        now: Millis,
    ) -> Vec<(Millis, Millis)> {
        let everywhere = self.open.values().map(|(from, scope)| (scope, *from, now));
        let closed = self.closed.iter().map(|(scope, from, to)| (scope, *from, *to));
        let mut waits: Vec<(Millis, Millis)> = everywhere
            .chain(closed)
            .filter(|(scope, ..)| scope.has(shard))
            .map(|(_, from, to)| (from, to))
            .collect();
        waits.extend(self.nobody_is_well(shard.stream));
        if let Some((from, back)) = self.denied.get(shard) {
            let listings = |scope: &Scope| *scope == Scope::Stream(shard.stream);
            let told = self.closed.iter().filter(|(scope, _, to)| listings(scope) && *to > *from);
            let told_right = told.map(|(_, _, to)| *to).max().unwrap_or(now);
            let to = told_right + AUDITED;
            waits.push((*from, back.map_or(to, |back| to.min(back + BACK))));
        }
        for (n, (begin, owner)) in owners.iter().enumerate() {
            let end = owners.get(n + 1).map_or(now, |(next, _)| *next);
            match owner.and_then(|number| Some((number, self.workers.get(&number)?))) {
                Some((number, log)) => self.waits_for(number, log, *begin, end, now, &mut waits),
                // Whoever is well has to take it.
                None => {
                    let taken = self.taken_over(shard.stream, None, *begin, 0);
                    waits.push((*begin, taken.min(end)));
                }
            }
        }
        waits
    }

    /// When the shards of a worker may wait while it has them.
    fn waits_for(
        &self,
        number: u32,
        log: &WorkerLog,
        begin: Millis,
        end: Millis,
        now: Millis,
        waits: &mut Vec<(Millis, Millis)>,
    ) {
        let failover = self.longest_failover(log.stream);
        if let Some(ended) = log.ended.filter(|ended| *ended <= end) {
            // While its row cannot be read nobody can tell that it is dead.
            let unreadable = log.troubles.iter().filter(|(kind, ..)| *kind == Disturbance::Unreadable);
            let readable = unreadable.map(|(_, _, to)| to.unwrap_or(now)).max().unwrap_or_default();
            waits.push((ended.max(begin), readable.min(end + BACK)));
            let from = ended.max(begin).max(readable);
            waits.push((from, self.taken_over(log.stream, Some(number), from, failover).min(end + BACK)));
        }
        for (kind, from, to) in &log.troubles {
            let to = to.unwrap_or(now) + BACK;
            let (from, to) = ((*from).max(begin), to.min(end + BACK));
            if from >= to {
                continue;
            }
            let limit = if kind.silences() {
                self.taken_over(log.stream, Some(number), from, failover)
            } else if *kind == Disturbance::Stream {
                self.taken_over(log.stream, Some(number), from, STALLED)
            } else if kind.holds_up() {
                to
            } else {
                continue;
            };
            waits.push((from, to.min(limit)));
        }
    }

    /// When somebody else who is well must have taken over what stands still since `from`: there has to be one who was
    /// well for that long.
    fn taken_over(&self, stream: usize, but: Option<u32>, from: Millis, after: Millis) -> Millis {
        let others =
            self.workers.iter().filter(|(number, log)| log.stream == stream && Some(**number) != but);
        let spans = others.flat_map(|(_, log)| log.well());
        let over = |(begin, end): (Millis, Millis)| {
            let taken = begin.max(from) + after + TAKING;
            (taken <= end).then_some(taken)
        };
        spans.filter_map(over).min().unwrap_or(Millis::MAX)
    }

    /// When no worker of the stream is well, and for as long after that as taking a lease may take.
    fn nobody_is_well(&self, stream: usize) -> Vec<(Millis, Millis)> {
        let mut well: Vec<(Millis, Millis)> =
            self.workers.values().filter(|log| log.stream == stream).flat_map(WorkerLog::well).collect();
        well.sort_unstable();
        let (mut spans, mut until) = (Vec::new(), 0);
        for (from, to) in well {
            if from > until {
                spans.push((until, from + TAKING));
            }
            until = until.max(to);
        }
        spans.push((until, Millis::MAX));
        spans
    }

    fn longest_failover(&self, stream: usize) -> Millis {
        let of = self.workers.values().filter(|log| log.stream == stream).map(|log| log.failover);
        of.max().unwrap_or_default()
    }
}

impl WorkerLog {
    /// The spans of the troubles of a kind, those that touch as one.
    fn spans(&self, now: Millis, kind: impl Fn(Disturbance) -> bool) -> Vec<(Millis, Millis)> {
        let mut spans: Vec<(Millis, Millis)> = self
            .troubles
            .iter()
            .filter(|(trouble, ..)| kind(*trouble))
            .map(|(_, from, to)| (*from, to.or(self.ended).unwrap_or(now)))
            .collect();
        spans.sort_unstable();
        let mut merged: Vec<(Millis, Millis)> = Vec::new();
        for (from, to) in spans {
            match merged.last_mut() {
                Some((_, end)) if from <= *end + TAKING => *end = (*end).max(to),
                _ => merged.push((from, to)),
            }
        }
        merged
    }

    /// What could be stored before this had been stored at `at`: an interval of checkpoints passed since in which the
    /// worker could write.
    fn stored_before(&self, at: Millis, now: Millis) -> Millis {
        let slack = if self.flaky || !self.troubles.is_empty() { FLAKY_CHECKPOINT } else { CHECKPOINT };
        let (mut needed, mut end) = (CHECKPOINT_INTERVAL + slack, at);
        for (from, to) in self.spans(now, Disturbance::keeps_positions_back).into_iter().rev() {
            if from >= end {
                continue;
            }
            let free = end.saturating_sub(to.min(end));
            if free >= needed {
                break;
            }
            (needed, end) = (needed - free, from);
        }
        end.saturating_sub(needed)
    }

    /// When the worker is well, so that it can take over what others leave.
    fn well(&self) -> Vec<(Millis, Millis)> {
        let end = self.ended.unwrap_or(Millis::MAX);
        let mut begin = self.started + START;
        let mut spans = Vec::new();
        let mut troubles: Vec<(Millis, Millis)> = self
            .troubles
            .iter()
            .map(|(_, from, to)| (*from, to.map_or(Millis::MAX, |to| to + BACK)))
            .collect();
        troubles.sort_unstable();
        for (from, to) in troubles {
            if from > begin {
                spans.push((begin, from.min(end)));
            }
            begin = begin.max(to);
        }
        if begin < end {
            spans.push((begin, end));
        }
        spans
    }
}

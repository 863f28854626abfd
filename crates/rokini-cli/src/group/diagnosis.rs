//! The state of a shard, and why it does not move. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rokini::lease::{
    GroupView, LeaseKey, LeaseRow, ShardHealth, StreamId, WorkerId, WorkerRow, WorkerTrouble,
};
use rokini::{DrainedWorkers, HealthReason, StallCause, drained_workers, format_time};
use serde::Serialize;

use super::liveness::Liveness;
use super::observe::Observations;
use super::shard_lag::ShardLag;
use crate::text::span;

/// A shard is behind when its oldest record that is not done is older than this, and stuck when nothing was stored for as
/// long.
const BEHIND_MILLIS: u64 = 60_000;

/// The state of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ShardState {
    /// A worker reads it, and it is not far behind.
    Reading,
    /// A worker reads it; the oldest record that is not done is older than a minute.
    Behind,
    /// A worker has it, and it makes no progress, as its worker says; or, where that does not say it, it is behind and nothing was
    /// stored for a minute.
    Stuck,
    /// An operator stopped it.
    Paused,
    /// A shard that it came from is not finished.
    Waiting,
    /// Its owner hands it over.
    Moving,
    /// Its owner is not alive.
    Orphaned,
    /// No worker has it.
    Free,
    /// It does not exist any more.
    Gone,
    /// It is finished.
    Ended,
}

impl ShardState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Behind => "behind",
            Self::Stuck => "stuck",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::Moving => "moving",
            Self::Orphaned => "orphaned",
            Self::Free => "free",
            Self::Gone => "gone",
            Self::Ended => "ended",
        }
    }

    /// Whether it does not move although it is not finished. One that is handed over moves soon, or its owner says why not.
    pub(crate) fn stands_still(self) -> bool {
        !matches!(self, Self::Reading | Self::Behind | Self::Moving | Self::Ended)
    }
}

/// A state with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardDiagnosis {
    pub(crate) state: ShardState,
    pub(crate) why: Option<String>,
    pub(crate) next: Option<String>,
    /// The code of the cause that its worker tells, as in events and metrics.
    pub(crate) cause: Option<String>,
    /// What else its worker tells of the stall.
    pub(crate) told: Option<ShardHealth>,
}

impl ShardDiagnosis {
    fn of(state: ShardState) -> Self {
        Self { state, why: None, next: None, cause: None, told: None }
    }

    /// Whether it moves, is finished, or is about to move. One that is far behind and catches up does; one whose worker tells a
    /// cause does not, even where some of it is done. Readiness of its worker is judged the same way.
    pub(crate) fn moves(&self) -> bool {
        !self.state.stands_still() && self.cause.is_none()
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// Why a live worker does not do its part, beside its shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WorkerDiagnosis {
    worker: String,
    /// As in `/readyz`.
    cause: String,
    pub(crate) why: String,
    pub(crate) next: String,
}

impl WorkerDiagnosis {
    pub(crate) fn sentence(&self) -> String {
        format!("worker {} is not ready: {}", self.worker, self.why)
    }
}

/// Everything a diagnosis is based on.
#[derive(Debug)]
pub(crate) struct DiagnosisInput<'a> {
    pub(crate) group: &'a str,
    pub(crate) view: &'a GroupView,
    pub(crate) observations: &'a Observations,
}

impl DiagnosisInput<'_> {
    pub(crate) fn diagnose(&self, lease: &LeaseRow) -> ShardDiagnosis {
        let (group, shard) = (self.group, &lease.key.shard);
        if lease.position.is_shard_end() {
            return ShardDiagnosis::of(ShardState::Ended);
        }
        let lag = self.observations.lags.get(&lease.key);
        if let Some(ShardLag::Gone(why)) = lag {
            return ShardDiagnosis::of(ShardState::Gone).why(why).next(
                "nothing needs to be done: a running worker retires the lease of a shard that is gone",
            );
        }
        if let Some(at) = self.view.group.paused_at {
            let why = format!("the group was paused at {}", format_time(at));
            return self.paused(lease, why, format!("`rokini group resume {group}`"));
        }
        if lease.paused {
            let next = format!("`rokini group resume {group} --shard {shard}`");
            return self.paused(lease, "this shard was paused on its own".to_owned(), next);
        }
        if let Some(parent) = self.unfinished_parent(lease) {
            return ShardDiagnosis::of(ShardState::Waiting)
                .why(format!("it comes from {}, which is not read to its end yet", parent.key.shard))
                .next(format!("`rokini group why {group} --shard {}`", parent.key.shard));
        }
        match &lease.owner {
            None => self.free(lease),
            Some(owner) => self.owned(lease, owner, lag),
        }
    }

    /// A call that does not return does so whether or not anything is read: a pause does not hide it.
    fn paused(&self, lease: &LeaseRow, why: String, next: String) -> ShardDiagnosis {
        let stalled = self.observations.workers.told(lease).flatten().filter(|told| told.stalled.is_some());
        let beneath = lease.owner.as_ref().zip(stalled).map(|(owner, told)| self.told(owner, &told));
        let paused = ShardDiagnosis::of(ShardState::Paused).next(next);
        match beneath {
            Some(ShardDiagnosis { why: Some(more), cause, told, .. }) => {
                ShardDiagnosis { cause, told, ..paused.why(format!("{why}; besides, {more}")) }
            }
            _ => paused.why(why),
        }
    }

    fn unfinished_parent(&self, lease: &LeaseRow) -> Option<&LeaseRow> {
        lease.parents.iter().find_map(|parent| {
            let key = LeaseKey::new(lease.key.stream.clone(), parent.clone());
            self.view.leases.iter().find(|row| row.key == key && !row.position.is_shard_end())
        })
    }

    fn free(&self, lease: &LeaseRow) -> ShardDiagnosis {
        let free = ShardDiagnosis::of(ShardState::Free);
        let live = |id: &WorkerId| self.observations.workers.liveness.get(id) == Some(&Liveness::Alive);
        let workers: Vec<_> = self.view.workers.iter().filter(|row| live(&row.id)).collect();
        let readers: Vec<_> = workers.iter().filter(|row| row.reads(&lease.key.stream)).collect();
        let held: BTreeMap<&WorkerId, u32> =
            self.view.leases.iter().filter_map(|row| row.owner.as_ref()).fold(
                BTreeMap::new(),
                |mut held, id| {
                    *held.entry(id).or_default() += 1;
                    held
                },
            );
        let full = |id: &WorkerId, most: Option<u32>| {
            most.is_some_and(|most| held.get(id).copied().unwrap_or(0) >= most)
        };
        let stream = self.name_of(&lease.key.stream);
        let drained = drained_workers(self.group, self.view, &lease.key.stream);
        if let Some(DrainedWorkers { who, next, .. }) = drained.filter(|_| readers.is_empty()) {
            let which =
                if workers.is_empty() { "all workers of the group" } else { "all workers that read it" };
            return free.why(format!("{which} are drained: {who}")).next(next);
        }
        if workers.is_empty() {
            return free.why("no worker of the group is alive").next(format!(
                "start its program, such as `rokini run {stream} --group {}` with your handler",
                self.group
            ));
        }
        if readers.is_empty() {
            return free.why(format!("no live worker reads stream `{stream}`")).next(format!(
                "start one that does, such as `rokini run {stream} --group {}` with your handler",
                self.group
            ));
        }
        if readers.iter().all(|row| full(&row.id, row.max_leases)) {
            return free
                .why("every live worker has as many leases as its `max_leases` allows")
                .next("start another worker, or raise `max_leases`");
        }
        free.why("a live worker takes it within seconds")
            .next("look again in a few seconds; if it stays free, the logs of the workers say why")
    }

    fn owned(&self, lease: &LeaseRow, owner: &WorkerId, lag: Option<&ShardLag>) -> ShardDiagnosis {
        let name = &owner.name;
        let orphaned = |why: &str| {
            ShardDiagnosis::of(ShardState::Orphaned)
                .why(format!("{name} has it, but {why}"))
                .next("a live worker takes it over within the failover time; if there is none, start one")
        };
        match self.observations.workers.liveness.get(owner) {
            // A worker that left has no leases, whatever the row says.
            None => return self.free(lease),
            Some(Liveness::Fenced) => return orphaned("was declared dead"),
            Some(Liveness::Silent) => {
                return match &self.observations.workers.unwritable {
                    Some(why) => orphaned(&format!(
                        "no heartbeat of it can arrive: the table takes no writes ({why})"
                    ))
                    .next("give the table more capacity, or set it to on demand: workers go on by themselves then"),
                    None => orphaned("has no heartbeat: it is dead, frozen, or cut off from the table"),
                };
            }
            Some(Liveness::Alive | Liveness::Leaving) => {}
        }
        let age = lag.and_then(ShardLag::millis).unwrap_or(0);
        let told = self.observations.workers.told(lease);
        // A hand-over waits for a handler that hangs, too.
        if let Some(report) = told.iter().flatten().find(|report| report.stalled.is_some()) {
            return self.told(owner, report);
        }
        if let Some(claim) = &lease.claim {
            return ShardDiagnosis::of(ShardState::Moving)
                .why(format!("{name} hands it over to {} when its handler is done", claim.name));
        }
        match told {
            Some(_) if age > BEHIND_MILLIS => {
                return ShardDiagnosis::of(ShardState::Behind).why(format!(
                    "{name} gets on with it; its oldest record that is not done came {} ago",
                    span(age)
                ));
            }
            Some(_) => return ShardDiagnosis::of(ShardState::Reading),
            None => {}
        }
        if age <= BEHIND_MILLIS {
            return ShardDiagnosis::of(ShardState::Reading);
        }
        let stored = lease.checkpointed_at.map(|at| self.observations.now_millis.saturating_sub(at));
        if stored.is_some_and(|ago| ago <= BEHIND_MILLIS) {
            return ShardDiagnosis::of(ShardState::Behind)
                .why(format!("{name} reads it; its oldest record that is not done came {} ago", span(age)));
        }
        let since = stored.map_or_else(
            || "was never stored".to_owned(),
            |ago| format!("was last stored {} ago", span(ago)),
        );
        ShardDiagnosis::of(ShardState::Stuck)
            .why(format!(
                "{name} has it and is alive, but its oldest record that is not done came {} ago and its position {since}: its \
                 handler fails or takes long, or its reads fail",
                span(age)
            ))
            .next(format!("the log and events of {name} about {} say which", lease.key.shard))
    }

    /// What live workers say that keeps them from doing their part, beside their shards: what `/readyz` of each says.
    pub(crate) fn troubles(&self) -> Vec<WorkerDiagnosis> {
        let alive: BTreeSet<&WorkerId> = self.observations.workers.alive().collect();
        let rows = self.observations.workers.rows.iter().filter(|row| alive.contains(&row.id));
        let told = rows.flat_map(|row| row.report.troubles.iter().map(move |trouble| (row, trouble)));
        let diagnosis = |(row, trouble): (&WorkerRow, &WorkerTrouble)| WorkerDiagnosis {
            worker: row.id.name.to_string(),
            cause: trouble.code.clone(),
            why: trouble.message.clone(),
            next: HealthReason::next_step(&trouble.code)
                .replace("GROUP", self.group)
                .replace("WORKER", row.id.name.as_str()),
        };
        told.map(diagnosis).collect()
    }

    /// What its owner says of a shard that makes no progress.
    fn told(&self, owner: &WorkerId, report: &ShardHealth) -> ShardDiagnosis {
        let word = report.stalled.as_deref().unwrap_or_default();
        let cause = StallCause::from_name(word);
        let state = match cause {
            // Some of it is done.
            Some(StallCause::Behind | StallCause::Parked) => ShardState::Behind,
            _ => ShardState::Stuck,
        };
        let error = report.error.as_ref().map(|(error, age)| (error.as_str(), *age));
        let mut why = match cause {
            Some(cause) => format!("{} says: {}", owner.name, cause.sentence(report.lasting, error)),
            // Of a later version.
            None => format!("{} says: no progress: {word}", owner.name),
        };
        if let Some(record) = &report.record {
            why += &format!("; the first record in hand is {record}");
        }
        let diagnosis = ShardDiagnosis {
            cause: report.stalled.clone(),
            told: Some(report.clone()),
            ..ShardDiagnosis::of(state).why(why)
        };
        match cause {
            Some(cause) => diagnosis.next(self.named(cause.next_step(), report)),
            None => diagnosis.next(format!("the log and events of {} say more", owner.name)),
        }
    }

    /// A step with the group, the shard and the record in place of the words for them, so that it can be pasted.
    fn named(&self, step: &str, report: &ShardHealth) -> String {
        let step = step.replace("GROUP", self.group).replace("SHARD", report.key.shard.as_str());
        match &report.record {
            Some(record) => step.replace("RECORD", &record.to_string()),
            None => step,
        }
    }

    fn name_of<'a>(&'a self, id: &'a StreamId) -> &'a str {
        self.view.streams.iter().find(|row| row.id == *id).map_or(id.as_str(), |row| row.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::liveness::WatchedWorkers;
    use super::super::shard_lag::ShardLags;
    use super::*;
    use rokini::lease::{Epoch, OperatorOrder, OrderId, OrderKind, Position, WorkerState};

    const NOW: u64 = 1_700_000_000_000;

    fn id(name: &str) -> WorkerId {
        format!("{name}#1").parse().unwrap()
    }

    fn lease(shard: &str, owner: Option<&str>) -> LeaseRow {
        let mut row = LeaseRow::new(format!("s@1#{shard}").parse().unwrap(), Position::TrimHorizon);
        row.owner = owner.map(id);
        row.epoch = Epoch(1);
        row.checkpointed_at = Some(NOW - 1000);
        row
    }

    /// Leases, the liveness of `w`, the lag of the first lease, its state, and what its reason says.
    type Case = (Vec<LeaseRow>, Option<Liveness>, u64, ShardState, &'static str);

    /// The diagnosis of the first lease, with one worker `w`.
    fn diagnosed(
        leases: &[LeaseRow],
        liveness: Option<Liveness>,
        lag: &ShardLag,
        change: impl Fn(&mut GroupView),
    ) -> ShardDiagnosis {
        let mut worker = WorkerRow::joining(id("w"), None);
        // Of a version that says nothing of its shards.
        worker.report.format = 2;
        let is_there = liveness.is_some();
        let liveness = liveness.map(|liveness| (id("w"), liveness)).into_iter().collect();
        let workers = if is_there { vec![worker] } else { Vec::new() };
        let mut view = GroupView { workers, leases: leases.to_vec(), ..GroupView::default() };
        change(&mut view);
        let lags = [(leases[0].key.clone(), lag.clone())].into();
        let workers = WatchedWorkers { liveness, rows: view.workers.clone(), unwritable: None };
        let observations = Observations { workers, lags, now_millis: NOW };
        DiagnosisInput { group: "g", view: &view, observations: &observations }.diagnose(&leases[0])
    }

    #[test]
    fn every_state_has_its_reason() {
        let (held, free) = (lease("a", Some("w")), lease("a", None));
        let alive = Some(Liveness::Alive);
        let change = |row: &LeaseRow, change: &dyn Fn(&mut LeaseRow)| {
            let mut row = row.clone();
            change(&mut row);
            row
        };
        let old = change(&held, &|row| row.checkpointed_at = Some(NOW - 600_000));
        let never = change(&held, &|row| row.checkpointed_at = None);
        let ended = change(&held, &|row| row.position = Position::ShardEnd);
        let paused = change(&held, &|row| row.paused = true);
        let claimed = change(&held, &|row| row.claim = Some(id("x")));
        let child = change(&free, &|row| row.parents = vec!["p".parse().unwrap()]);
        let parent = lease("p", Some("w"));
        let done = change(&parent, &|row| row.position = Position::ShardEnd);
        let cases: [Case; 16] = [
            (vec![held.clone()], alive, 0, ShardState::Reading, ""),
            (vec![held.clone()], alive, 60_000, ShardState::Reading, ""),
            (vec![held.clone()], alive, 60_001, ShardState::Behind, "60s ago"),
            (vec![old.clone()], alive, 0, ShardState::Reading, ""),
            (vec![old], alive, 120_000, ShardState::Stuck, "last stored 10m ago"),
            (vec![never], alive, 120_000, ShardState::Stuck, "never stored"),
            (vec![ended], None, 0, ShardState::Ended, ""),
            (vec![paused], alive, 0, ShardState::Paused, "this shard"),
            (vec![claimed], alive, 0, ShardState::Moving, "over to x"),
            (vec![child.clone(), parent], alive, 0, ShardState::Waiting, "it comes from p"),
            (vec![child, done], alive, 0, ShardState::Free, "within seconds"),
            (vec![held.clone()], None, 0, ShardState::Free, "no worker of the group is alive"),
            (vec![held.clone()], Some(Liveness::Fenced), 0, ShardState::Orphaned, "declared dead"),
            (vec![held.clone()], Some(Liveness::Silent), 0, ShardState::Orphaned, "has no heartbeat"),
            (vec![held.clone()], Some(Liveness::Leaving), 0, ShardState::Reading, ""),
            (
                vec![free.clone()],
                Some(Liveness::Silent),
                0,
                ShardState::Free,
                "no worker of the group is alive",
            ),
        ];
        for (leases, liveness, millis, state, why) in cases {
            let diagnosis = diagnosed(&leases, liveness, &ShardLag::Millis(millis), |_| {});
            assert_eq!(diagnosis.state, state, "{leases:?}");
            assert!(diagnosis.why.as_deref().unwrap_or_default().contains(why), "{diagnosis:?}");
            assert_eq!(diagnosis.why.is_some(), !why.is_empty(), "{diagnosis:?}");
            assert!(diagnosis.next.is_some() || !state.stands_still(), "{diagnosis:?}");
        }
        let caught_up = ShardLag::Millis(0);
        // What keeps it from being handed over says its owner.
        let claimed = change(&held, &|row| row.claim = Some(id("x")));
        let hangs = diagnosed(std::slice::from_ref(&claimed), alive, &caught_up, |view| {
            let mut report = ShardHealth::new(claimed.key.clone(), "handling", Duration::ZERO);
            report.stalled = Some("handler".to_owned());
            view.workers[0].report = WorkerRow::joining(id("w"), None).report;
            view.workers[0].report.shards.push(report);
        });
        assert_eq!((hangs.state, hangs.cause.as_deref()), (ShardState::Stuck, Some("handler")));
        let full = diagnosed(&[free.clone(), lease("b", Some("w"))], alive, &caught_up, |view| {
            view.workers[0].max_leases = Some(1);
        });
        assert!(full.why.unwrap().contains("max_leases"));
        let other = diagnosed(&[free], alive, &caught_up, |view| {
            view.workers[0].streams = Some(["t@1".parse().unwrap()].into());
        });
        assert!(other.why.unwrap().contains("no live worker reads stream"));
        let group =
            diagnosed(std::slice::from_ref(&held), alive, &caught_up, |view| view.group.paused_at = Some(0));
        assert_eq!(
            (group.state, group.next.as_deref()),
            (ShardState::Paused, Some("`rokini group resume g`"))
        );
        let gone = diagnosed(&[held], alive, &ShardLag::Gone("no such shard".to_owned()), |_| {});
        assert_eq!((gone.state, gone.why.as_deref()), (ShardState::Gone, Some("no such shard")));
    }

    #[test]
    fn o12_drained_workers_are_named_and_how_they_take_part_again() {
        let mut order = OperatorOrder::new(OrderId(NOW), OrderKind::Drain, "worker w");
        order.worker = Some("w".parse().unwrap());
        let free = lease("a", None);
        let diagnosed = |liveness, change: &dyn Fn(&mut GroupView)| {
            diagnosed(std::slice::from_ref(&free), Some(liveness), &ShardLag::Millis(0), |view| {
                view.workers[0].state = WorkerState::Leaving;
                view.group.orders.push(order.clone());
                change(view);
            })
        };
        let drained = diagnosed(Liveness::Leaving, &|_| {});
        assert_eq!(
            (drained.state, drained.why.as_deref()),
            (
                ShardState::Free,
                Some(
                    "all workers of the group are drained: w since 2023-11-14T22:13:20.000Z by order 18bcfe56800"
                )
            )
        );
        assert!(drained.next.unwrap().starts_with("`rokini group undo g 18bcfe56800`"));
        let other = diagnosed(Liveness::Leaving, &|view| {
            view.workers[0].streams = Some(["t@1".parse().unwrap()].into());
        });
        assert!(other.why.unwrap().contains("no worker of the group is alive"), "it would not have it");
        let stopping = diagnosed(Liveness::Leaving, &|view| view.group.orders.clear());
        assert!(stopping.why.unwrap().contains("no worker of the group is alive"));
        let back = diagnosed(Liveness::Alive, &|view| view.workers[0].state = WorkerState::Alive);
        assert!(back.why.unwrap().contains("within seconds"));
    }

    #[test]
    fn o12_what_keeps_a_worker_from_its_part_and_a_table_that_takes_no_writes_are_told() {
        let mut worker = WorkerRow::joining(id("w"), None);
        let stalled =
            WorkerTrouble::new("coordination-stalled", "the worker rows have not been read for 12 s");
        worker.report.troubles.push(stalled);
        let held = lease("a", Some("w"));
        let view = GroupView { workers: vec![worker], leases: vec![held.clone()], ..GroupView::default() };
        let observed = |liveness, unwritable: Option<&str>| Observations {
            workers: WatchedWorkers {
                liveness: [(id("w"), liveness)].into(),
                rows: view.workers.clone(),
                unwritable: unwritable.map(str::to_owned),
            },
            lags: ShardLags::new(),
            now_millis: NOW,
        };
        let input = |observations| DiagnosisInput { group: "g", view: &view, observations };
        let alive = observed(Liveness::Alive, None);
        let told = input(&alive).troubles();
        assert_eq!(told[0].sentence(), "worker w is not ready: the worker rows have not been read for 12 s");
        assert!(told[0].next.contains("dynamodb:Query"), "{told:?}");
        let silent = observed(Liveness::Silent, Some("UpdateItem is throttled"));
        assert!(input(&silent).troubles().is_empty(), "what it said is old");
        let orphaned = input(&silent).diagnose(&held);
        assert_eq!(orphaned.state, ShardState::Orphaned);
        assert!(orphaned.why.unwrap().contains("takes no writes (UpdateItem is throttled)"));
        assert!(orphaned.next.unwrap().contains("capacity"));
    }

    #[test]
    fn what_the_worker_says_is_repeated() {
        let held = lease("a", Some("w"));
        let told = |report: Option<ShardHealth>| {
            let lag = ShardLag::told(report.as_ref());
            diagnosed(std::slice::from_ref(&held), Some(Liveness::Alive), &lag, |view| {
                view.workers[0].report.format = 3;
                view.workers[0].report.shards.extend(report.clone());
            })
        };
        assert_eq!(told(None).state, ShardState::Reading);
        let seconds = Duration::from_secs;
        let mut report = ShardHealth::new(held.key.clone(), "handling", seconds(90));
        assert_eq!(told(Some(report.clone())).state, ShardState::Behind);
        report.stalled = Some("failing".to_owned());
        report.lasting = seconds(12);
        report.record = Some("7".parse().unwrap());
        let stuck = told(Some(report.clone().with_error("no room", seconds(2))));
        assert_eq!(
            stuck.why.as_deref(),
            Some(
                "w says: no progress for 12 s: its handler fails again and again; 2 s ago: no room; the first record in hand \
                 is 7"
            )
        );
        assert_eq!((stuck.state, stuck.cause.as_deref()), (ShardState::Stuck, Some("failing")));
        let next = stuck.next.unwrap();
        assert!(
            next.contains("dead_letter") && next.contains("`rokini group seek g --shard a --to after:7`"),
            "{next}"
        );
        let mut paused = held.clone();
        paused.paused = true;
        let paused = diagnosed(&[paused], Some(Liveness::Alive), &ShardLag::Millis(0), |view| {
            view.workers[0].report.shards.push(report.clone());
        });
        assert_eq!(
            (paused.state, paused.cause.as_deref()),
            (ShardState::Paused, Some("failing")),
            "{paused:?}"
        );
        report.stalled = Some("parked".to_owned());
        assert_eq!(told(Some(report.clone())).state, ShardState::Behind);
        assert!(!told(Some(report.clone())).moves(), "a partition key waits");
        report.stalled = None;
        let catches_up = told(Some(report.clone()));
        assert!(catches_up.moves() && catches_up.state == ShardState::Behind, "{catches_up:?}");
        report.stalled = Some("of-later".to_owned());
        assert!(told(Some(report)).why.unwrap().contains("of-later"));
    }
}

//! What a shard does, and why it does not move. Pure.

use std::collections::BTreeMap;

use rokini::lease::{LeaseKey, LeaseRow, StreamId, View, WorkerId};
use serde::Serialize;

use super::backlog::{Backlog, Backlogs};
use super::fleet::{Life, Lives};
use crate::line::time;

/// A record older than this means that a shard is behind; nothing stored for so long, that it is stuck.
const BEHIND_MILLIS: u64 = 60_000;

/// What a shard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// A worker reads it, and it is not far behind.
    Reading,
    /// A worker reads it; the oldest record that is not done is older than a minute.
    Behind,
    /// As behind, and nothing was stored for a minute.
    Stuck,
    /// An operator stopped it.
    Paused,
    /// A shard that it came from is not finished.
    Waiting,
    /// It changes hands.
    Moving,
    /// Its owner does not live.
    Orphaned,
    /// Nobody has it.
    Free,
    /// It does not exist any more.
    Gone,
    /// It is finished.
    Ended,
}

impl State {
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

    /// Whether somebody should know why.
    pub(crate) fn stands_still(self) -> bool {
        !matches!(self, Self::Reading | Self::Behind | Self::Ended)
    }
}

/// A state with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    pub(crate) why: Option<String>,
    pub(crate) next: Option<String>,
}

impl Verdict {
    fn of(state: State) -> Self {
        Self { state, why: None, next: None }
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

/// Everything a verdict is based on.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) group: &'a str,
    pub(crate) view: &'a View,
    pub(crate) lives: &'a Lives,
    pub(crate) backlogs: &'a Backlogs,
    pub(crate) now_millis: u64,
}

impl Facts<'_> {
    pub(crate) fn judge(&self, lease: &LeaseRow) -> Verdict {
        let (group, shard) = (self.group, &lease.key.shard);
        if lease.position.is_shard_end() {
            return Verdict::of(State::Ended);
        }
        let backlog = self.backlogs.get(&lease.key);
        if let Some(Backlog::Gone(why)) = backlog {
            return Verdict::of(State::Gone)
                .why(why)
                .next("nothing is to be done: a running worker retires the lease of a shard that is gone");
        }
        if let Some(at) = self.view.group.paused_at {
            return Verdict::of(State::Paused)
                .why(format!("the group was paused at {}", time(at)))
                .next(format!("`rokini group resume {group}`"));
        }
        if lease.paused {
            return Verdict::of(State::Paused)
                .why("this shard was paused")
                .next(format!("`rokini group resume {group} --shard {shard}`"));
        }
        if let Some(parent) = self.unfinished_parent(lease) {
            return Verdict::of(State::Waiting)
                .why(format!("{}, which it came from, is not read to its end", parent.key.shard))
                .next(format!("`rokini group why {group} --shard {}`", parent.key.shard));
        }
        match &lease.owner {
            None => self.free(lease),
            Some(owner) => self.owned(lease, owner, backlog),
        }
    }

    fn unfinished_parent(&self, lease: &LeaseRow) -> Option<&LeaseRow> {
        lease.parents.iter().find_map(|parent| {
            let key = LeaseKey::new(lease.key.stream.clone(), parent.clone());
            self.view.leases.iter().find(|row| row.key == key && !row.position.is_shard_end())
        })
    }

    fn free(&self, lease: &LeaseRow) -> Verdict {
        let free = Verdict::of(State::Free);
        let live = |id: &WorkerId| self.lives.get(id) == Some(&Life::Alive);
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
        if workers.is_empty() {
            return free
                .why("nobody has it: no worker of the group is alive")
                .next(format!("start one, such as `rokini consume {stream} --group {}`", self.group));
        }
        if readers.is_empty() {
            return free.why(format!("nobody has it: no live worker reads stream `{stream}`")).next(format!(
                "start one that does, such as `rokini consume {stream} --group {}`",
                self.group
            ));
        }
        if readers.iter().all(|row| full(&row.id, row.max_leases)) {
            return free
                .why("nobody has it: every live worker has as many leases as its `max_leases` allows")
                .next("start another worker, or raise `max_leases`");
        }
        free.why("nobody has it yet: it falls to a live worker within seconds")
            .next("look again; if it stays free, the workers' logs say why")
    }

    fn owned(&self, lease: &LeaseRow, owner: &WorkerId, backlog: Option<&Backlog>) -> Verdict {
        let name = &owner.name;
        let orphaned = |why: &str| {
            Verdict::of(State::Orphaned)
                .why(format!("{name} has it, but {why}"))
                .next("a live worker takes it over within the failover time; if there is none, start one")
        };
        match self.lives.get(owner) {
            // Who left has nothing, whatever the lease says.
            None => return self.free(lease),
            Some(Life::Fenced) => return orphaned("was declared dead"),
            Some(Life::Silent) => {
                return orphaned("does not beat: it is dead, frozen, or cut off from the table");
            }
            Some(Life::Alive | Life::Leaving) => {}
        }
        if let Some(claim) = &lease.claim {
            return Verdict::of(State::Moving)
                .why(format!("{name} hands it over to {} when its handler is done", claim.name));
        }
        let age = backlog.and_then(Backlog::millis).unwrap_or(0);
        if age <= BEHIND_MILLIS {
            return Verdict::of(State::Reading);
        }
        let stored = lease.checkpointed_at.map(|at| self.now_millis.saturating_sub(at));
        if stored.is_some_and(|ago| ago <= BEHIND_MILLIS) {
            return Verdict::of(State::Behind).why(format!(
                "{name} works on it; its oldest record that is not done came {} ago",
                span(age)
            ));
        }
        let since = stored.map_or_else(
            || "was never stored".to_owned(),
            |ago| format!("was last stored {} ago", span(ago)),
        );
        Verdict::of(State::Stuck)
            .why(format!(
                "{name} has it and beats, but its oldest record that is not done came {} ago and its position {since}: its \
                 handler fails or takes long, or its reads fail",
                span(age)
            ))
            .next(format!("the log and events of {name} about {} say which", lease.key.shard))
    }

    fn name_of<'a>(&'a self, id: &'a StreamId) -> &'a str {
        self.view.streams.iter().find(|row| row.id == *id).map_or(id.as_str(), |row| row.name.as_str())
    }
}

/// A length of time for people.
pub(crate) fn span(millis: u64) -> String {
    match millis {
        0 => "0".to_owned(),
        1..10_000 => format!("{}.{}s", millis / 1000, millis % 1000 / 100),
        _ => match millis / 1000 {
            seconds @ ..120 => format!("{seconds}s"),
            seconds @ ..7200 => format!("{}m", seconds / 60),
            seconds @ ..172_800 => format!("{}h", seconds / 3600),
            seconds => format!("{}d", seconds / 86_400),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini::lease::{Epoch, Position, WorkerRow};

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

    /// Leases, the life of `w`, the lag of the first lease, its state, and what its reason says.
    type Case = (Vec<LeaseRow>, Option<Life>, u64, State, &'static str);

    /// The verdict about the first lease, with one worker `w` that lives as told.
    fn judged(
        leases: &[LeaseRow],
        life: Option<Life>,
        backlog: &Backlog,
        change: impl Fn(&mut View),
    ) -> Verdict {
        let worker = WorkerRow::joining(id("w"), None);
        let lives: Lives = life.map(|life| (id("w"), life)).into_iter().collect();
        let workers = if life.is_some() { vec![worker] } else { Vec::new() };
        let mut view = View { workers, leases: leases.to_vec(), ..View::default() };
        change(&mut view);
        let backlogs = [(leases[0].key.clone(), backlog.clone())].into();
        let facts = Facts { group: "g", view: &view, lives: &lives, backlogs: &backlogs, now_millis: NOW };
        facts.judge(&leases[0])
    }

    #[test]
    fn every_state_has_its_reason() {
        let (held, free) = (lease("a", Some("w")), lease("a", None));
        let alive = Some(Life::Alive);
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
            (vec![held.clone()], alive, 0, State::Reading, ""),
            (vec![held.clone()], alive, 60_000, State::Reading, ""),
            (vec![held.clone()], alive, 60_001, State::Behind, "60s ago"),
            (vec![old.clone()], alive, 0, State::Reading, ""),
            (vec![old], alive, 120_000, State::Stuck, "last stored 10m ago"),
            (vec![never], alive, 120_000, State::Stuck, "never stored"),
            (vec![ended], None, 0, State::Ended, ""),
            (vec![paused], alive, 0, State::Paused, "this shard"),
            (vec![claimed], alive, 0, State::Moving, "over to x"),
            (vec![child.clone(), parent], alive, 0, State::Waiting, "p, which it came from"),
            (vec![child, done], alive, 0, State::Free, "within seconds"),
            (vec![held.clone()], None, 0, State::Free, "no worker of the group is alive"),
            (vec![held.clone()], Some(Life::Fenced), 0, State::Orphaned, "declared dead"),
            (vec![held.clone()], Some(Life::Silent), 0, State::Orphaned, "does not beat"),
            (vec![held.clone()], Some(Life::Leaving), 0, State::Reading, ""),
            (vec![free.clone()], Some(Life::Silent), 0, State::Free, "no worker of the group is alive"),
        ];
        for (leases, life, millis, state, why) in cases {
            let verdict = judged(&leases, life, &Backlog::Millis(millis), |_| {});
            assert_eq!(verdict.state, state, "{leases:?}");
            assert!(verdict.why.as_deref().unwrap_or_default().contains(why), "{verdict:?}");
            assert_eq!(verdict.why.is_some(), !why.is_empty(), "{verdict:?}");
            assert!(verdict.next.is_some() || !state.stands_still() || state == State::Moving, "{verdict:?}");
        }
        let caught_up = Backlog::Millis(0);
        let full = judged(&[free.clone(), lease("b", Some("w"))], alive, &caught_up, |view| {
            view.workers[0].max_leases = Some(1);
        });
        assert!(full.why.unwrap().contains("max_leases"));
        let other = judged(&[free], alive, &caught_up, |view| {
            view.workers[0].streams = Some(["t@1".parse().unwrap()].into());
        });
        assert!(other.why.unwrap().contains("no live worker reads stream"));
        let group =
            judged(std::slice::from_ref(&held), alive, &caught_up, |view| view.group.paused_at = Some(0));
        assert_eq!((group.state, group.next.as_deref()), (State::Paused, Some("`rokini group resume g`")));
        let gone = judged(&[held], alive, &Backlog::Gone("no such shard".to_owned()), |_| {});
        assert_eq!((gone.state, gone.why.as_deref()), (State::Gone, Some("no such shard")));
    }

    #[test]
    fn spans() {
        for (millis, shown) in [
            (0, "0"),
            (1, "0.0s"),
            (1234, "1.2s"),
            (119_999, "119s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
            (900_000_000, "10d"),
        ] {
            assert_eq!(span(millis), shown);
        }
    }
}

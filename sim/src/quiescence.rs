//! What has to hold at rest and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng;
use rokini_history::History;
use rokini_lease::{LeaseKey, LeaseRow, ShardId, WorkerState};
use tokio::runtime;
use tokio::time::{Instant, sleep};

use crate::check::Check;
use crate::shard_ref::ShardRef;
use crate::worker::WorkerSpec;
use crate::world::{Summary, World};

const SECOND: Duration = Duration::from_secs(1);
/// Everything put must have reached a handler this long after the last fault.
const PATIENCE: Duration = Duration::from_secs(120);
/// The fleet must be at rest this long after that: fences, the last moves, and the rows of the dead. Those fall to a
/// worker by the hash of its own wall clock, so with clocks minutes apart some intervals have nobody.
const REST: Duration = Duration::from_secs(300);
/// How long a record may take at rest: the look of a reader at the tip, a slow handler, and for a successor its start.
const ANSWER: Duration = Duration::from_secs(10);

impl World {
    /// A consumer that was not stopped has not ended.
    pub async fn check_that_all_run(&mut self) {
        let ended: Vec<u32> =
            self.workers.iter().filter(|(_, w)| w.is_over()).map(|(number, _)| *number).collect();
        for worker in ended.iter().filter_map(|number| self.workers.remove(number)).collect::<Vec<_>>() {
            self.recorder.ended(worker.number, true);
            let how = match worker.running.await {
                Ok(Ok(())) => "without being stopped".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            self.recorder.violate(Check::Running, format!("{} ended: {how}", worker.name));
        }
    }

    /// What is wrong with the rows of a fleet that is at rest.
    async fn unsettled(&self) -> Vec<(Check, String)> {
        let mut wrong = Vec::new();
        for group in 0..self.groups.len() {
            let view = self.view(group).await;
            let mut loads: BTreeMap<_, usize> = BTreeMap::new();
            for row in &view.workers {
                match row.state {
                    WorkerState::Alive => drop(loads.insert(row.id.clone(), 0)),
                    _ => wrong.push((Check::Tidy, format!("the row of {} stays, {}", row.id, row.state))),
                }
                if !row.mailbox.is_empty() {
                    wrong.push((Check::Still, format!("{} has unread notes: {:?}", row.id, row.mailbox)));
                }
            }
            let live = self.workers.values().filter(|worker| worker.stream == group).count();
            if loads.len() != live {
                wrong.push((Check::Tidy, format!("{live} workers live, the table has {}", loads.len())));
            }
            if live == 0 {
                continue;
            }
            for lease in view.leases.iter().filter(|lease| is_active(lease, &view.leases)) {
                match lease.owner.as_ref().and_then(|owner| loads.get_mut(owner)) {
                    Some(load) => *load += 1,
                    None => wrong.push((Check::Owned, format!("nobody alive holds {lease:?}"))),
                }
                // A claim of the dead binds nobody and may stay.
                if lease.claim.as_ref().is_some_and(|id| loads.contains_key(id)) {
                    wrong.push((Check::Still, format!("a claim stands on {lease:?}")));
                }
            }
            let (least, most) = (loads.values().min().copied(), loads.values().max().copied());
            if self.is_even(group) && most > least.map(|least| least + 1) {
                wrong.push((Check::Even, format!("uneven: {loads:?}")));
            }
            let open = self.groups[group].stream.open_shards().unwrap_or_default();
            let leases: BTreeSet<&str> = view.leases.iter().map(|row| row.key.shard.as_str()).collect();
            for (shard, _) in open.iter().filter(|(shard, _)| !leases.contains(shard.as_str())) {
                wrong.push((Check::Covered, format!("{shard} has no lease")));
            }
        }
        wrong
    }

    /// Whether shards are spread by their number, by everybody.
    fn is_even(&self, group: usize) -> bool {
        let mut workers = self.workers.values().filter(|worker| worker.stream == group);
        workers.all(|worker| !worker.spec.by_throughput && worker.spec.max_leases.is_none())
    }

    /// Waits until the fleet is at rest, then watches that it stays so: nothing moves, no condition fails.
    pub async fn check_rest(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut before = self.leases().await;
        let mut still = 0;
        while still < 3 {
            self.run_for(2 * SECOND).await;
            let now = self.leases().await;
            let wrong = self.unsettled().await;
            let changed: Vec<&LeaseRow> =
                now.iter().filter(|(key, row)| before.get(key) != Some(row)).map(|(_, row)| row).collect();
            still = if changed.is_empty() && wrong.is_empty() { still + 1 } else { 0 };
            if still == 0 && Instant::now() >= deadline {
                for (check, what) in wrong {
                    self.recorder.violate(check, what);
                }
                self.recorder
                    .violate(Check::Still, format!("no rest within {within:?}, changed: {changed:?}"));
                return;
            }
            before = now;
        }
        self.recorder.note("at rest");
        let counts = self.counts();
        // Longer than the interval of reconciliation (33 s), and now and then of the audit (66 s).
        let watch = if self.rng.random_bool(0.2) { 70 } else { 36 };
        self.run_for(watch * SECOND).await;
        for (check, what) in self.unsettled().await {
            self.recorder.violate(check, what);
        }
        // By throughput they may move at any look.
        if (0..self.groups.len()).all(|group| self.is_even(group)) && self.leases().await != before {
            self.recorder.violate(Check::Still, "leases moved or changed at rest");
        }
        let refused = self.counts().refused() - counts.refused();
        if refused > 0 {
            self.recorder.violate(Check::NoConflicts, format!("{refused} conditions failed at rest"));
        }
        self.check_answers(Check::Answers, "rest").await;
    }

    /// One record that is put into every open shard is done within a few seconds.
    async fn check_answers(&mut self, check: Check, key: &str) {
        self.put_everywhere(key);
        if !self.complete(ANSWER).await {
            let waiting = self.recorder.history(History::findings).left_behind;
            self.recorder.violate(check, format!("not done after {ANSWER:?}: {waiting:?}"));
        }
    }

    async fn leases(&self) -> BTreeMap<(usize, LeaseKey), LeaseRow> {
        let mut all = BTreeMap::new();
        for group in 0..self.groups.len() {
            all.extend(self.view(group).await.leases.into_iter().map(|row| ((group, row.key.clone()), row)));
        }
        all
    }

    /// Waits until every record is done; `false` where that takes long and nothing more comes to be done. To search a backlog for
    /// the records that fail for ever takes its time.
    async fn complete_or_stuck(&mut self) -> bool {
        let waiting = |world: &Self| world.recorder.history(|history| history.findings().waiting);
        let mut complete = self.complete(PATIENCE).await;
        while !complete {
            let before = waiting(self);
            complete = self.complete(PATIENCE / 4).await;
            if !complete && waiting(self) >= before {
                return false;
            }
        }
        true
    }

    /// Every check of a run: completes it, watches it rest, stops it. `bound` is the longest unexplained wait
    /// of a record.
    pub async fn check_all(&mut self, bound: Duration) -> Summary {
        let records = self.recorder.history(|history| history.so_far().put);
        let complete = self.complete_or_stuck().await;
        self.check_that_all_run().await;
        if complete {
            self.check_rest(REST).await;
        } else {
            for (check, what) in self.unsettled().await {
                self.recorder.violate(check, what);
            }
        }
        self.check_end(complete).await;
        self.tell_lineage();
        let (findings, violations, digest) = self.recorder.findings(bound);
        let longest_wait = findings.longest_wait.as_millis() as u64;
        Summary { records, longest_wait, causes: findings.causes, violations, digest }
    }

    /// Which shards came from which.
    fn tell_lineage(&self) {
        for (stream, group) in self.groups.iter().enumerate() {
            for shard in group.stream.shards().unwrap_or_default() {
                let of = |id: &ShardId| ShardRef { stream, shard: id.to_string() };
                self.recorder.child(&of(&shard.id), shard.parents.iter().map(of));
            }
        }
    }

    /// Stops everybody, in order, and looks for what stays behind.
    pub async fn check_end(&mut self, complete: bool) {
        self.stop_all().await;
        if complete {
            for stream in 0..self.groups.len() {
                if let Err(error) = self.join(&WorkerSpec { stream, ..WorkerSpec::default() }).await {
                    self.recorder.violate(Check::Resumes, format!("no successor: {error}"));
                }
            }
            self.check_answers(Check::Resumes, "end").await;
            self.stop_all().await;
        }
        for group in 0..self.groups.len() {
            // The last one that leaves keeps its row, as a dead one's, to say until when its shards were caught up.
            let rows = self.view(group).await.workers;
            for row in rows.into_iter().filter(|row| row.state != WorkerState::Fenced) {
                self.recorder
                    .violate(Check::Tidy, format!("the row of {} stays at the end: {}", row.id, row.state));
            }
        }
    }

    async fn stop_all(&mut self) {
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.leave(number));
        let alive = || runtime::Handle::current().metrics().num_alive_tasks();
        for _ in 0..60 {
            if alive() == 0 {
                break;
            }
            sleep(SECOND).await;
        }
        if alive() > 0 {
            self.recorder.violate(Check::Tidy, format!("{} tasks stay behind", alive()));
        }
    }
}

/// Whether a lease is to be held by somebody: it has not ended, and its parents have.
fn is_active(lease: &LeaseRow, all: &[LeaseRow]) -> bool {
    let unfinished = |parent: &ShardId| {
        let of = |row: &&LeaseRow| row.key.stream == lease.key.stream && row.key.shard == *parent;
        all.iter().find(of).is_some_and(|row| !row.position.is_shard_end())
    };
    !lease.position.is_shard_end() && !lease.parents.iter().any(unfinished)
}

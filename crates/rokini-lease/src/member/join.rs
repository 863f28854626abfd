//! Entering the group under a name that may have been used before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use tokio::time::{Instant, sleep};

use super::config::MemberConfig;
use super::heartbeat::CallValues;
use crate::clock::ClockReading;
use crate::error::{StoreError, StoreErrorKind};
use crate::process::ProcessIdentity;
use crate::row::{WorkerNotification, WorkerRow, WorkerState};
use crate::store::{LeaseStore, LeaseStoreExt, Listing};
use crate::types::{GroupId, Incarnation, WorkerId, WorkerName};
use crate::update::WorkerUpdate;
use crate::write::WriteOutcome;

/// Why a worker could not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A live worker of the group has this name already.
    #[error(
        "a live worker of group `{group}` is named `{name}` already (incarnation {incarnation}): stop it, or start \
         this one under another name"
    )]
    DuplicateName {
        /// The group.
        group: GroupId,
        /// The name both have.
        name: WorkerName,
        /// The other one.
        incarnation: Incarnation,
    },
    /// The settings contradict each other.
    #[error("{0}")]
    Config(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tries of one start to join a group: one value for all of them. It begins the member's randomness, and remembers the rows
/// that tries which failed may have left behind. A later one removes them, where it would take them for another process of its
/// name, and wait until that is certainly dead.
#[derive(Debug)]
pub struct JoinAttempts(Mutex<Attempts>);

#[derive(Debug)]
struct Attempts {
    /// Of the next try.
    seed: u64,
    /// With the call that wrote each of them.
    left: BTreeMap<WorkerId, u64>,
}

impl JoinAttempts {
    /// None so far. Draw the seed at random for each start: the member's incarnation comes of it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Attempts { seed, left: BTreeMap::new() }))
    }

    fn with<T>(&self, with: impl FnOnce(&mut Attempts) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The randomness of the next try.
    pub(super) fn rng(&self) -> StdRng {
        self.with(|attempts| {
            let rng = StdRng::seed_from_u64(attempts.seed);
            // Another try is another incarnation.
            attempts.seed = rng.clone().random();
            rng
        })
    }

    fn left(&self) -> BTreeMap<WorkerId, u64> {
        self.with(|attempts| attempts.left.clone())
    }

    /// This row may be there from now on, without a process that beats on it.
    fn leaves(&self, id: &WorkerId, call: u64) {
        self.with(|attempts| attempts.left.insert(id.clone(), call));
    }

    /// This row has its process, or is gone.
    fn settled(&self, id: &WorkerId) {
        self.with(|attempts| attempts.left.remove(id));
    }
}

/// A worker that has its row.
pub(super) struct Joined {
    pub(super) me: WorkerId,
    /// When the call began that wrote the row.
    pub(super) begun: ClockReading,
}

/// Inserts a row once no other live incarnation of the name is left.
pub(super) async fn join(
    store: &dyn LeaseStore,
    group: &GroupId,
    name: &WorkerName,
    config: &MemberConfig,
    calls: &mut CallValues,
    attempts: &JoinAttempts,
    rng: &mut StdRng,
) -> Result<Joined, JoinError> {
    // Nobody beats on what they left. A row that arrives late is removed by the next try. One of the same incarnation that
    // another call wrote is a live process of a machine that was copied.
    let mut left = BTreeSet::new();
    for (id, call) in attempts.left() {
        match store.worker(group, &id).await? {
            Some(row) if row.call != call || row.heartbeat > 0 => attempts.settled(&id),
            _ => {
                store.delete_worker(group, &id).await?;
                left.insert(id);
            }
        }
    }
    let namesakes = async |me: &WorkerId| namesakes(store, group, me, &left).await;
    let mut me = WorkerId::new(name.clone(), Incarnation::new(rng.random()));
    let mut found = namesakes(&me).await?;
    loop {
        wait_for_death(store, group, config, found).await?;
        let (begun, call) = (calls.clock.read(), calls.next());
        let row = WorkerRow {
            streams: config.streams.clone(),
            max_leases: config.max_leases,
            call,
            report: config.report(),
            ..WorkerRow::joining(me.clone(), config.process.clone())
        };
        attempts.leaves(&me, call);
        if !insert(store, group, &row).await? {
            // A process with the same randomness has it, such as a copy of this machine.
            attempts.settled(&me);
            me = WorkerId::new(name.clone(), Incarnation::new(rng.random()));
            found = namesakes(&me).await?;
            continue;
        }
        found = namesakes(&me).await?;
        if !found.is_empty() && !steps_back(&me, &found) {
            // Newcomers like this one, that either saw this row and step back, or begin to send heartbeats.
            sleep(config.pace().first_heartbeat() * 3 / 2).await;
            found = namesakes(&me).await?;
        }
        if !steps_back(&me, &found) {
            attempts.settled(&me);
            return Ok(Joined { me, begun });
        }
        store.delete_worker(group, &me).await?;
        attempts.settled(&me);
    }
}

/// Of two newcomers of one name that see each other the lower incarnation stays; one that sends heartbeats stays in any
/// case. Who steps back then watches whether the other lives.
fn steps_back(me: &WorkerId, namesakes: &[WorkerRow]) -> bool {
    namesakes.iter().any(|row| row.id < *me || row.heartbeat > 0)
}

/// Whether the row is there by this insert.
async fn insert(store: &dyn LeaseStore, group: &GroupId, row: &WorkerRow) -> Result<bool, StoreError> {
    match store.insert_worker(group, row).await {
        Err(error) if error.is_ambiguous() => match store.worker(group, &row.id).await {
            Ok(Some(found)) => Ok(found.call == row.call),
            Ok(None) => Err(error),
            // Whatever it is, it is not this worker's: another incarnation has a row of its own.
            Err(unreadable) if unreadable.kind() == StoreErrorKind::InvalidRow => Ok(false),
            Err(error) => Err(error),
        },
        Ok(WriteOutcome::Refused { current: Some(found) }) => Ok(found.call == row.call),
        outcome => outcome.map(|outcome| outcome.is_applied()),
    }
}

async fn namesakes(
    store: &dyn LeaseStore,
    group: &GroupId,
    me: &WorkerId,
    left: &BTreeSet<WorkerId>,
) -> Result<Vec<WorkerRow>, JoinError> {
    // Of two that insert their rows and then look, at least one sees the other.
    let mut rows = store.list(group, Listing::WorkersNow).await?.workers;
    let is_other = |row: &WorkerRow| row.id.name == me.name && row.id != *me && !left.contains(&row.id);
    rows.retain(|row| is_other(row) && row.state != WorkerState::Fenced);
    Ok(rows)
}

/// A row of the same name, while it is not certain whether its process lives.
struct SameNameWorker {
    row: WorkerRow,
    moves: u32,
    silent_since: Instant,
}

/// Heartbeats that must be seen before a namesake counts as alive: the first may be a dead process's last
/// one, arriving late.
const HEARTBEATS_TO_PROVE_ALIVE: u32 = 2;

/// Watches each namesake until it proves alive (an error) or has been silent for long enough (fenced).
async fn wait_for_death(
    store: &dyn LeaseStore,
    group: &GroupId,
    config: &MemberConfig,
    found: Vec<WorkerRow>,
) -> Result<(), JoinError> {
    // By consistent reads: a listing may show an older counter after a newer one, which is no sign of life.
    let mut waiting = Vec::new();
    for row in found {
        if let Some(row) = unless_dead(store, group, &row.id).await? {
            waiting.push(SameNameWorker { row, moves: 0, silent_since: Instant::now() });
        }
    }
    while !waiting.is_empty() {
        sleep(config.pace().first_heartbeat()).await;
        let mut still = Vec::new();
        for mut namesake in waiting {
            let Some(row) = unless_dead(store, group, &namesake.row.id).await? else { continue };
            if row.heartbeat != namesake.row.heartbeat {
                // A leaving namesake sends heartbeats while it drains: it is given the time to finish.
                namesake.moves += u32::from(row.state == WorkerState::Alive);
                namesake.silent_since = Instant::now();
            }
            namesake.row = row;
            if namesake.moves >= HEARTBEATS_TO_PROVE_ALIVE {
                return Err(duplicate(group, &namesake.row));
            }
            if namesake.row.mailbox.is_empty() {
                // Whoever lives answers with a heartbeat as soon as it looks, long before the next one is due.
                let ask = WorkerUpdate::Notify(WorkerNotification::GroupChanged);
                store.update_worker(group, &namesake.row.id, &ask).await?;
            }
            if namesake.silent_since.elapsed() < silence(&namesake.row, config)
                || !fence(store, group, &namesake.row).await?
            {
                still.push(namesake);
            }
        }
        waiting = still;
    }
    Ok(())
}

async fn unless_dead(
    store: &dyn LeaseStore,
    group: &GroupId,
    id: &WorkerId,
) -> Result<Option<WorkerRow>, StoreError> {
    match store.worker(group, id).await {
        Ok(row) => Ok(row.filter(|row| row.state != WorkerState::Fenced)),
        // As in a listing, which passes over it: it proves nothing, and must not keep a worker from starting.
        Err(error) if error.kind() == StoreErrorKind::InvalidRow => Ok(None),
        Err(error) => Err(error),
    }
}

/// How long a namesake must be silent before it may be fenced.
fn silence(row: &WorkerRow, config: &MemberConfig) -> Duration {
    let proven =
        config.unique_worker_names || row.process.as_ref().is_some_and(ProcessIdentity::is_proven_gone);
    if proven { config.pace().first_heartbeat() * 2 } else { config.failover.max(row.report.failover) }
}

/// Fences it under the counter seen. `false` when that moved meanwhile.
async fn fence(store: &dyn LeaseStore, group: &GroupId, row: &WorkerRow) -> Result<bool, JoinError> {
    let fence = WorkerUpdate::Fence { seen: row.heartbeat };
    Ok(match store.update_worker(group, &row.id, &fence).await? {
        WriteOutcome::Applied { .. } | WriteOutcome::Refused { current: None } => true,
        WriteOutcome::Refused { current: Some(current) } => current.state == WorkerState::Fenced,
    })
}

fn duplicate(group: &GroupId, row: &WorkerRow) -> JoinError {
    JoinError::DuplicateName {
        group: group.clone(),
        name: row.id.name.clone(),
        incarnation: row.id.incarnation,
    }
}

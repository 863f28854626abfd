//! Entering the group under a name that may have been used before.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{JoinError, MemberConfig};
use crate::{
    GroupId, LeaseStore, Listing, Outcome, ProcessMark, WorkerId, WorkerRow, WorkerState, WorkerUpdate,
};

/// Inserts the row of `me` once no other live incarnation of its name is left. Returns until when the worker is
/// valid.
pub(super) async fn join(
    store: &dyn LeaseStore,
    group: &GroupId,
    me: &WorkerId,
    config: &MemberConfig,
) -> Result<Instant, JoinError> {
    let namesakes = namesakes(store, group, me).await?;
    wait_for_death(store, group, me, config, namesakes).await?;
    let begun = Instant::now();
    store.insert_worker(group, &WorkerRow::joining(me.clone(), config.process.clone())).await?;
    // Two newcomers of one name that saw nobody both see each other now; the lower incarnation stays.
    let rival = self::namesakes(store, group, me).await?.into_iter().find(|row| row.id < *me);
    if let Some(rival) = rival {
        store.delete_worker(group, me).await?;
        return Err(duplicate(group, &rival));
    }
    Ok(begun + config.validity())
}

async fn namesakes(
    store: &dyn LeaseStore,
    group: &GroupId,
    me: &WorkerId,
) -> Result<Vec<WorkerRow>, JoinError> {
    let mut rows = store.list(group, Listing::Workers).await?.workers;
    rows.retain(|row| row.id.name == me.name && row.id != *me && row.state != WorkerState::Fenced);
    Ok(rows)
}

/// A row of the same name, while it is not certain whether its process lives.
struct Namesake {
    row: WorkerRow,
    moves: u32,
    silent_since: Instant,
}

/// Beats that must be seen moving before a namesake counts as alive: the first may be a dead process's last
/// one, arriving late.
const MOVES_OF_THE_LIVING: u32 = 2;

/// Watches each namesake until it proves alive (an error) or has been silent for long enough (fenced).
async fn wait_for_death(
    store: &dyn LeaseStore,
    group: &GroupId,
    me: &WorkerId,
    config: &MemberConfig,
    found: Vec<WorkerRow>,
) -> Result<(), JoinError> {
    let now = Instant::now();
    let mut waiting: Vec<Namesake> =
        found.into_iter().map(|row| Namesake { row, moves: 0, silent_since: now }).collect();
    while !waiting.is_empty() {
        sleep(config.heartbeat).await;
        let rows = namesakes(store, group, me).await?;
        let mut still = Vec::new();
        for mut namesake in waiting {
            let Some(row) = rows.iter().find(|row| row.id == namesake.row.id) else { continue };
            if row.beat != namesake.row.beat {
                // A leaving namesake beats on while it drains: it is given the time to finish.
                namesake.moves += u32::from(row.state == WorkerState::Alive);
                namesake.silent_since = Instant::now();
            }
            namesake.row = row.clone();
            if namesake.moves >= MOVES_OF_THE_LIVING {
                return Err(duplicate(group, row));
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

/// How long a namesake must be silent before it may be fenced.
fn silence(row: &WorkerRow, config: &MemberConfig) -> Duration {
    let proven = config.unique_worker_names || row.process.as_ref().is_some_and(ProcessMark::is_proven_gone);
    if proven { config.heartbeat * 2 } else { config.failover }
}

/// Fences it under the beat seen. `false` when that moved meanwhile.
async fn fence(store: &dyn LeaseStore, group: &GroupId, row: &WorkerRow) -> Result<bool, JoinError> {
    let fence = WorkerUpdate::Fence { seen: row.beat };
    Ok(match store.update_worker(group, &row.id, &fence).await? {
        Outcome::Applied { .. } | Outcome::Refused { current: None } => true,
        Outcome::Refused { current: Some(current) } => current.state == WorkerState::Fenced,
    })
}

fn duplicate(group: &GroupId, row: &WorkerRow) -> JoinError {
    JoinError::DuplicateName {
        group: group.clone(),
        name: row.id.name.clone(),
        incarnation: row.id.incarnation,
    }
}

//! Many at once: each write stays one atomic change.

use crate::store::ext::LeaseStoreExt;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::fixtures::{self, lease_key, sequence, worker_id};
use super::suite::ConformanceSuite;
use crate::position::Position;
use crate::row::{
    CheckpointMetadata, LeaseRow, WorkerLoad, WorkerNotification, WorkerReport, WorkerRow, WorkerState,
};
use crate::types::{Epoch, HashRange, WorkerId};
use crate::update::{LeaseUpdate, MAILBOX_LIMIT, WorkerUpdate};
use crate::write::WriteOutcome;

/// How many fight.
const WORKERS: u32 = 8;

pub(super) async fn run(suite: &ConformanceSuite) {
    inserts(suite).await;
    acquisitions(suite).await;
    checkpoints(suite).await;
    notifications(suite).await;
}

fn contenders(suite: &ConformanceSuite, part: u64) -> Vec<WorkerId> {
    let rng = &mut fixtures::rng(suite.seed, part);
    (0..WORKERS).map(|index| worker_id(&format!("w{index}"), rng)).collect()
}

async fn inserts(suite: &ConformanceSuite) {
    let group = suite.group("race-inserts");
    for round in 0..20 {
        let mut tasks = JoinSet::new();
        for index in 0..WORKERS {
            let (store, group) = (Arc::clone(&suite.store), group.clone());
            let range = HashRange { start: u128::from(index), end: u128::from(index) };
            let row = LeaseRow::new(lease_key(round), Position::TrimHorizon).with_hash_range(range);
            tasks.spawn(async move { store.insert_lease(&group, &row).await.expect("an insert") });
        }
        let outcomes = tasks.join_all().await;
        let winners: Vec<_> = outcomes.iter().cloned().filter_map(WriteOutcome::applied).collect();
        assert_eq!(winners.len(), 1, "exactly one of many inserts applies");
        for outcome in outcomes {
            if let WriteOutcome::Refused { current } = outcome {
                assert_eq!(current.as_ref(), winners.first(), "a refused insert returns the winner's row");
            }
        }
    }
}

async fn acquisitions(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("race-acquisitions"));
    let key = lease_key(0);
    store.insert_lease(&group, &LeaseRow::new(key.clone(), Position::TrimHorizon)).await.expect("an insert");
    // All begin each round together.
    let round = Arc::new(Barrier::new(WORKERS as usize));
    let mut tasks = JoinSet::new();
    for by in contenders(suite, 9) {
        let (store, group, key) = (Arc::clone(store), group.clone(), key.clone());
        let (rounds, round) = (u64::from(suite.races), Arc::clone(&round));
        tasks.spawn(async move {
            let mut won = Vec::new();
            for seen in (0..rounds).map(Epoch) {
                round.wait().await;
                let acquire =
                    LeaseUpdate::Acquire { by: by.clone(), seen, at_least: Epoch(0), caught_up_millis: None };
                match store.update_lease(&group, &key, &acquire).await.expect("an update") {
                    WriteOutcome::Applied { after, .. } => {
                        assert_eq!(after.owner.as_ref(), Some(&by), "the winner owns the lease");
                        assert_eq!(after.epoch, seen.next(), "a change of owner raises the epoch by one");
                        won.push(after.epoch);
                    }
                    WriteOutcome::Refused { current } => {
                        let current = current.expect("the lease");
                        assert_eq!(current.epoch, seen.next(), "a refusal returns the row as it stands");
                        assert_ne!(current.owner.as_ref(), Some(&by), "the loser does not own the lease");
                    }
                }
            }
            won
        });
    }
    let won = tasks.join_all().await;
    let mut epochs: Vec<Epoch> = won.concat();
    epochs.sort_unstable();
    let every: Vec<Epoch> = (1..=u64::from(suite.races)).map(Epoch).collect();
    assert_eq!(epochs, every, "exactly one worker wins each epoch");
    let row = store.lease(&group, &key).await.expect("a read").expect("the lease");
    assert_eq!(row.epoch, Epoch(u64::from(suite.races)), "every epoch was won by someone");
}

async fn checkpoints(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("race-checkpoints"));
    let owner = worker_id("w", &mut fixtures::rng(suite.seed, 10));
    let row = LeaseRow { owner: Some(owner.clone()), ..LeaseRow::new(lease_key(0), Position::TrimHorizon) };
    store.insert_lease(&group, &row).await.expect("an insert");
    let mut tasks = JoinSet::new();
    for number in 0..WORKERS * 8 {
        let (store, group, owner) = (Arc::clone(store), group.clone(), owner.clone());
        let position = Position::after(sequence(u64::from(number)));
        let checkpoint = LeaseUpdate::Checkpoint {
            owner,
            epoch: Epoch(0),
            position,
            at: 1,
            metadata: CheckpointMetadata::default(),
            settles: false,
        };
        tasks.spawn(async move {
            store.update_lease(&group, &lease_key(0), &checkpoint).await.expect("an update")
        });
    }
    for outcome in tasks.join_all().await {
        if let WriteOutcome::Applied { before: Some(before), after } = outcome {
            assert!(before.position <= after.position, "a checkpoint never lowers the position");
        }
    }
    let row = store.lease(&group, &lease_key(0)).await.expect("a read").expect("the lease");
    let highest = Position::after(sequence(u64::from(WORKERS * 8 - 1)));
    assert_eq!(row.position, highest, "of checkpoints in any order the highest stays");
}

/// Notifications arrive between heartbeats: each comes out with exactly one heartbeat, or is still there.
async fn notifications(suite: &ConformanceSuite) {
    let (store, group) = (&suite.store, suite.group("race-notifications"));
    let id = worker_id("w", &mut fixtures::rng(suite.seed, 11));
    store.insert_worker(&group, &WorkerRow::joining(id.clone(), None)).await.expect("an insert");
    let mut tasks = JoinSet::new();
    let each = MAILBOX_LIMIT as u32 / WORKERS;
    for writer in 0..WORKERS {
        let (store, group, id, lost_replies) =
            (Arc::clone(store), group.clone(), id.clone(), suite.lost_replies);
        tasks.spawn(async move {
            for index in 0..each {
                let update =
                    WorkerUpdate::Notify(WorkerNotification::Assigned(lease_key(writer * each + index)));
                match store.update_worker(&group, &id, &update).await {
                    Ok(outcome) => {
                        assert!(outcome.is_applied(), "a notification for a live worker with room applies");
                    }
                    // A heartbeat may have taken it before it was looked for.
                    Err(error) => assert!(lost_replies && error.is_ambiguous(), "an update: {error}"),
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut got: Vec<WorkerNotification> = Vec::new();
    let mut seen = 0;
    while !tasks.is_empty() {
        if let Some(done) = tasks.try_join_next() {
            done.expect("a writer of notifications panicked");
        }
        let heartbeat = WorkerUpdate::Heartbeat {
            seen,
            call: 1,
            load: WorkerLoad::default(),
            state: WorkerState::Alive,
            streams: None,
            report: WorkerReport::default(),
        };
        match store.update_worker(&group, &id, &heartbeat).await.expect("an update") {
            WriteOutcome::Applied { before, after } => {
                got.extend(before.into_iter().flat_map(|row| row.mailbox));
                seen = after.heartbeat;
            }
            WriteOutcome::Refused { current } => {
                panic!("the worker's own heartbeat was refused: {current:?}")
            }
        }
        tokio::task::yield_now().await;
    }
    let left = store.worker(&group, &id).await.expect("a read").expect("the worker").mailbox;
    got.extend(left);
    // Where replies are lost, the mailbox of a lost heartbeat is lost, and a notification may come twice: it is a hint.
    if !suite.lost_replies {
        let distinct: BTreeSet<WorkerNotification> = got.iter().cloned().collect();
        assert_eq!(distinct.len(), (each * WORKERS) as usize, "every notification arrives");
        assert_eq!(got.len(), distinct.len(), "no notification comes twice");
    }
}

//! Orders to a running fleet.

use super::*;
use crate::row::GroupView;
use crate::store::{LeaseStoreExt, Listing, StoreOperation};
use crate::{Operator, OperatorError, Scope};

pub(super) fn operator(store: &(impl LeaseStore + Clone)) -> Operator {
    Operator::new(Arc::new(store.clone()), group(), WallClock::from_fn(|| 1_700_000_000_000))
}

async fn view(store: &MemoryStore) -> GroupView {
    store.list(&group(), Listing::All).await.unwrap()
}

async fn fleet(store: &MemoryStore, names: &[&str]) -> Vec<Worker> {
    let mut workers = Vec::new();
    for name in names {
        workers.push(Worker::join(store, name).await.unwrap());
    }
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), 5 * SECOND).await;
    workers
}

async fn live(workers: &mut [Worker], time: Duration) {
    live_all(&mut workers.iter_mut().collect::<Vec<_>>(), time).await;
}

#[tokio::test(start_paused = true)]
async fn o1_a_seek_of_a_running_fleet_and_its_undoing_are_not_overwritten() {
    let store = store_with(4).await;
    let mut workers = fleet(&store, &["a", "b"]).await;
    for lease in workers.iter().flat_map(|worker| worker.leases.values()) {
        lease
            .checkpoint(
                at(9),
                CheckpointMetadata { caught_up_millis: Some(1), ..CheckpointMetadata::default() },
            )
            .await
            .unwrap();
        lease.prepare(at(11), bytes::Bytes::from_static(b"x")).await.unwrap();
    }
    let (operator, before) = (operator(&store), view(&store).await);
    let to = Position::AtTimestamp(5);

    let plan = operator.seek(&Scope::Group, to, true).await.unwrap();
    assert!(plan.dry_run && plan.steps.len() == 4 && plan.steps.iter().all(|step| !step.written));
    assert_eq!(view(&store).await, before, "a dry run changes nothing");

    let report = operator.seek(&Scope::Group, to, false).await.unwrap();
    assert!(report.steps.iter().all(|step| step.written && (step.from, step.to) == (at(9), to)));
    assert!(report.steps.iter().all(|step| step.owner.is_some()));
    for lease in workers.iter().flat_map(|worker| worker.leases.values()) {
        lease.checkpoint(at(10), CheckpointMetadata::default()).await.unwrap_err();
        assert_eq!(lease.lost().await, LeaseLostReason::Seek);
    }
    live(&mut workers, 2 * SECOND).await;
    for lease in workers.iter().flat_map(|worker| worker.leases.values()) {
        assert_eq!(
            (lease.position(), lease.pending(), lease.row().metadata),
            (to, None, CheckpointMetadata::default())
        );
        lease.checkpoint(at(6), CheckpointMetadata::default()).await.unwrap();
    }
    assert_eq!(counts(&workers.iter().collect::<Vec<_>>()), [2, 2], "no lease changed hands");

    operator.undo_seek(&Scope::Group, false).await.unwrap();
    live(&mut workers, 2 * SECOND).await;
    assert!(workers.iter().flat_map(|worker| worker.leases.values()).all(|lease| lease.position() == at(9)));
    operator.undo_seek(&Scope::Group, false).await.unwrap();
    assert!(view(&store).await.leases.iter().all(|row| row.position == at(6)), "undone twice is redone");
}

/// Whoever gave it, and whatever ended it: what it did so far is an order, and is taken back as one.
#[tokio::test(start_paused = true)]
async fn o13_a_seek_that_fails_midway_is_remembered_and_taken_back() {
    let set = |rows: &[LeaseRow]| rows.iter().filter(|row| row.position == Position::AtTimestamp(5)).count();
    for dropped in [false, true] {
        let store = store_with(5).await;
        let link = FaultyStore::new(store.clone(), 1);
        let (failing, operator) = (operator(&link), operator(&store));
        let to = Position::AtTimestamp(5);
        let order = if dropped {
            // A signal ends the command, while a write is on its way.
            link.chance(StoreOperation::Seek, StoreFault::Delay(SECOND), 1.0);
            let seek = failing.seek(&Scope::Group, to, false);
            timeout(SECOND * 5 / 2, seek).await.unwrap_err();
            operator.history().await.unwrap()[0].id
        } else {
            link.chance(StoreOperation::Seek, StoreFault::DelayReply(SECOND), 1.0);
            let outage = async {
                sleep(SECOND * 3 / 2).await;
                link.outage(true);
            };
            let (failed, ()) = tokio::join!(failing.seek(&Scope::Group, to, false), outage);
            let failed = failed.unwrap_err();
            let OperatorError::Partly { order, written, of, .. } = failed else { panic!("{failed}") };
            assert_eq!((written, of), (2, 5));
            order
        };
        assert_eq!(set(&view(&store).await.leases), 2);
        let history = operator.history().await.unwrap();
        assert_eq!((history.len(), history[0].id, history[0].shards), (1, order, 5));

        let undone = operator.undo(Some(order), false).await.unwrap();
        assert_eq!(undone.steps.iter().filter(|step| step.written).count(), 2, "{undone:?}");
        assert_eq!(set(&view(&store).await.leases), 0);
        let again = operator.undo(Some(order), false).await.unwrap_err();
        assert!(again.to_string().contains("taken back already"), "{again}");
    }
}

/// One that wrote nothing is told of, and hides no order before it.
#[tokio::test(start_paused = true)]
async fn o13_a_seek_that_set_nothing_and_an_undoing_that_fails_midway() {
    let store = store_with(4).await;
    let link = FaultyStore::new(store.clone(), 1);
    let (failing, operator) = (operator(&link), operator(&store));
    let order = operator.seek(&Scope::Group, Position::AtTimestamp(5), false).await.unwrap().order.unwrap();
    link.next(StoreOperation::Seek, StoreFault::FailBefore, 1);
    failing.seek(&Scope::Group, Position::AtTimestamp(9), false).await.unwrap_err();
    let nothing = operator.undo(None, false).await.unwrap_err().to_string();
    assert!(nothing.contains("before it set a position"), "{nothing}");

    link.chance(StoreOperation::Seek, StoreFault::DelayReply(SECOND), 1.0);
    let outage = async {
        sleep(SECOND * 3 / 2).await;
        link.outage(true);
    };
    let (failed, ()) = tokio::join!(failing.undo(Some(order), false), outage);
    assert!(matches!(failed, Err(OperatorError::Partly { written: 2, of: 4, .. })), "{failed:?}");
    let rest = operator.undo(Some(order), false).await.unwrap();
    assert_eq!(rest.steps.len(), 2);
    assert!(view(&store).await.leases.iter().all(|row| row.position == Position::TrimHorizon));

    // A later order on one of its shards has to be taken back before it.
    let first = operator.seek(&Scope::Group, Position::AtTimestamp(5), false).await.unwrap().order.unwrap();
    let one = Scope::Leases(vec![key(1)]);
    let later = operator.seek(&one, Position::AtTimestamp(7), false).await.unwrap().order.unwrap();
    let refused = operator.undo(Some(first), false).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("order {later} set positions")), "{refused}");
}

/// Both read the row before either writes it.
#[tokio::test(start_paused = true)]
async fn o13_of_orders_given_at_once_none_is_lost() {
    let store = store_with(6).await;
    let link = FaultyStore::new(store.clone(), 1);
    link.chance(FaultTarget::Reads, StoreFault::DelayReply(SECOND), 1.0);
    link.chance(StoreOperation::UpdateGroup, StoreFault::Retry, 0.5);
    link.chance(StoreOperation::UpdateGroup, StoreFault::LoseReply, 0.3);
    let seeks = (0..6).map(async |shard| {
        let scope = Scope::Leases(vec![key(shard)]);
        operator(&link).seek(&scope, Position::AtTimestamp(shard as u64), false).await.unwrap().order.unwrap()
    });
    let mut given = futures::future::join_all(seeks).await;
    given.sort();
    given.dedup();
    let remembered: Vec<_> = operator(&store).history().await.unwrap().iter().map(|order| order.id).collect();
    assert_eq!((given.len(), &given), (6, &remembered));
    for (shard, order) in view(&store).await.leases.iter().zip(0..) {
        assert!(given.contains(&shard.order.unwrap()), "{order}");
    }
}

#[tokio::test(start_paused = true)]
async fn o13_a_pause_of_many_shards_is_taken_back_and_leaves_those_paused_before() {
    let store = store_with(40).await;
    let operator = operator(&store);
    let keys = |range: std::ops::Range<usize>| Scope::Leases(range.map(key).collect());
    operator.pause(&keys(3..5)).await.unwrap();
    let plan = operator.pause_plan(&keys(0..30), true).await.unwrap();
    assert_eq!((plan.changed.len(), plan.order), (28, None));
    assert_eq!(
        view(&store).await.leases.iter().filter(|row| row.paused).count(),
        2,
        "a plan changes nothing"
    );
    let order = operator.pause(&keys(0..30)).await.unwrap().order;
    operator.undo(order, true).await.unwrap();
    assert_eq!(view(&store).await.leases.iter().filter(|row| row.paused).count(), 30);
    operator.undo(order, false).await.unwrap();
    let paused: Vec<LeaseKey> =
        view(&store).await.leases.into_iter().filter(|row| row.paused).map(|row| row.key).collect();
    assert_eq!(paused, [key(3), key(4)]);
}

/// A lost reply must not make the position of before unknown: the seek is found done, not done again.
#[tokio::test(start_paused = true)]
async fn o1_a_seek_whose_reply_is_lost_is_made_once() {
    let store = store_with(1).await;
    let link = FaultyStore::new(store.clone(), 1);
    link.next(StoreOperation::Seek, StoreFault::LoseReply, 1);
    let report = operator(&link).seek(&Scope::Group, Position::AtTimestamp(5), false).await.unwrap();
    assert!(report.steps[0].written);
    let row = store.lease(&group(), &key(0)).await.unwrap().unwrap();
    assert_eq!(
        (row.epoch.0, row.position, row.previous),
        (1, Position::AtTimestamp(5), Some(Position::TrimHorizon))
    );
}

#[tokio::test(start_paused = true)]
async fn o1_a_seek_that_makes_no_sense_is_refused_and_one_of_a_single_lease_leaves_the_others() {
    let store = store_with(2).await;
    let operator = operator(&store);
    let refused = |result: Result<_, OperatorError>| matches!(result, Err(OperatorError::Invalid(_)));
    assert!(refused(operator.seek(&Scope::Group, Position::ShardEnd, false).await));
    assert!(refused(operator.seek(&Scope::Group, at(7), false).await));
    assert!(refused(operator.undo_seek(&Scope::Group, false).await));
    let error = operator.seek(&Scope::Leases(vec![key(9)]), at(7), false).await.unwrap_err();
    assert!(error.to_string().contains("shard-009"), "{error}");
    operator.seek(&Scope::Leases(vec![key(1)]), at(7), false).await.unwrap();
    let rows = view(&store).await.leases;
    assert_eq!((rows[0].position, rows[1].position), (Position::TrimHorizon, at(7)));
    let again = operator.seek(&Scope::Leases(vec![key(1)]), at(7), false).await.unwrap();
    assert!(!again.steps[0].written, "it is there already, and nobody holds it");
}

/// A group that is set back reads parents before their children again, whoever holds them.
#[tokio::test(start_paused = true)]
async fn o1_a_child_that_was_set_back_with_its_parent_waits_for_it_again() {
    for same_worker in [true, false] {
        let store = store_with(1).await;
        let mut workers = vec![Worker::join(&store, "a").await.unwrap()];
        live(&mut workers, SECOND).await;
        let child = LeaseRow::new(key(7), Position::TrimHorizon).with_parents(vec![key(0).shard]);
        workers[0].leases.remove(&key(0)).unwrap().finish(vec![child]).await.unwrap();
        live(&mut workers, SECOND).await;
        workers[0].leases[&key(7)].checkpoint(at(5), CheckpointMetadata::default()).await.unwrap();
        if !same_worker {
            workers.push(Worker::join(&store, "b").await.unwrap());
            live(&mut workers, 3 * SECOND).await;
        }
        operator(&store).seek(&Scope::Group, Position::TrimHorizon, false).await.unwrap();
        live(&mut workers, 40 * SECOND).await;
        let held: Vec<LeaseKey> = workers.iter().flat_map(|worker| worker.leases.keys().cloned()).collect();
        assert_eq!(held, [key(0)], "the child waits");
        let parent = workers.iter_mut().find_map(|worker| worker.leases.remove(&key(0))).unwrap();
        let child = LeaseRow::new(key(7), Position::TrimHorizon).with_parents(vec![key(0).shard]);
        parent.finish(vec![child]).await.unwrap();
        live(&mut workers, 2 * SECOND).await;
        let held: Vec<LeaseKey> = workers.iter().flat_map(|worker| worker.leases.keys().cloned()).collect();
        assert_eq!(held, [key(7)], "and begins once it is done");
    }
}

#[tokio::test(start_paused = true)]
async fn o11_a_paused_group_keeps_its_leases_and_pauses_those_acquired_later() {
    let store = store_with(4).await;
    let mut workers = fleet(&store, &["a", "b"]).await;
    let operator = operator(&store);
    operator.pause(&Scope::Group).await.unwrap();
    live(&mut workers, 2 * SECOND).await;
    let paused = |workers: &[Worker]| -> Vec<bool> {
        workers.iter().flat_map(|worker| worker.leases.values()).map(Lease::is_paused).collect()
    };
    assert_eq!(paused(&workers), [true; 4], "within a look");
    let before = view(&store).await.leases;
    live(&mut workers, 120 * SECOND).await;
    assert_eq!(view(&store).await.leases, before, "nothing expires and nothing moves");
    workers[0]
        .leases
        .values()
        .next()
        .unwrap()
        .checkpoint(at(3), CheckpointMetadata::default())
        .await
        .unwrap();

    workers.remove(0).die();
    workers.push(Worker::join(&store, "c").await.unwrap());
    live(&mut workers, 20 * SECOND).await;
    assert_eq!(paused(&workers), [true; 4], "acquired while paused, also by a worker that came later");

    operator.resume(&Scope::Group).await.unwrap();
    live(&mut workers, SECOND + SECOND / 10).await;
    assert_eq!(paused(&workers), [false; 4]);
}

#[tokio::test(start_paused = true)]
async fn o11_one_paused_shard_is_apart_from_the_others_and_from_the_group() {
    let store = store_with(2).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let (operator, one) = (operator(&store), Scope::Leases(vec![key(0)]));
    operator.pause(&one).await.unwrap();
    operator.pause(&one).await.unwrap();
    timeout(SECOND + SECOND / 10, a.leases[&key(0)].until_paused(true)).await.unwrap();
    assert!(!a.leases[&key(1)].is_paused());
    operator.pause(&Scope::Group).await.unwrap();
    operator.resume(&Scope::Group).await.unwrap();
    a.live(2 * SECOND).await;
    assert!(a.leases[&key(0)].is_paused() && !a.leases[&key(1)].is_paused());
    // Its next holder finds it paused.
    let lease = a.leases.remove(&key(0)).unwrap();
    drop(lease);
    a.live(SECOND).await;
    assert!(a.leases[&key(0)].is_paused());
    operator.resume(&one).await.unwrap();
    timeout(SECOND + SECOND / 10, a.leases[&key(0)].until_paused(false)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn o11_a_pause_whose_note_is_lost_is_noticed_by_reconciliation() {
    let store = store_with(2).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let link = FaultyStore::new(store.clone(), 1);
    link.chance(StoreOperation::Notify, StoreFault::FailBefore, 1.0);
    operator(&link).pause(&Scope::Leases(vec![key(0)])).await.unwrap();
    operator(&link).pause(&Scope::Group).await.unwrap();
    a.live(35 * SECOND).await;
    assert!(a.leases.values().all(Lease::is_paused));
}

#[tokio::test(start_paused = true)]
async fn a_group_is_deleted_only_when_its_workers_are_gone_unless_forced() {
    let store = store_with(3).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let operator = operator(&store);
    let error = operator.delete_group(false).await.unwrap_err();
    assert!(matches!(&error, OperatorError::Alive { workers, .. } if workers == "a"), "{error}");
    assert_eq!(view(&store).await.leases.len(), 3);
    a.die();
    operator.pause(&Scope::Group).await.unwrap();
    let begun = Instant::now();
    let report = operator.delete_group(false).await.unwrap();
    assert!(begun.elapsed() >= 10 * SECOND, "its silence is waited for: {:?}", begun.elapsed());
    assert_eq!((report.workers, report.leases), (1, 3));
    assert_eq!(view(&store).await, GroupView::default(), "nothing is left, also no pause");

    let store = store_with(3).await;
    let mut b = Worker::join(&store, "b").await.unwrap();
    b.live(SECOND).await;
    self::operator(&store).delete_group(true).await.unwrap();
    b.live(3 * SECOND).await;
    assert!(b.fenced && b.leases.is_empty(), "whoever lives learns that it is over");
}

/// The command's own settings are not those of the group.
#[tokio::test(start_paused = true)]
async fn l4_a_live_group_with_a_longer_failover_time_than_the_operators_is_not_deleted() {
    let store = store_with(2).await;
    let slow = MemberConfig {
        heartbeat: 15 * SECOND,
        failover: 60 * SECOND,
        process: None,
        ..MemberConfig::default()
    };
    let mut a = Worker::join_with(&store, "a", slow).await.unwrap();
    a.live(SECOND).await;
    let operator = operator(&store);
    let deleting = operator.delete_group(false);
    let error = tokio::select! {
        deleted = deleting => deleted.unwrap_err(),
        () = a.live(200 * SECOND) => panic!("it waits for ever"),
    };
    assert!(error.to_string().contains("live workers (a)"), "{error}");
    assert_eq!(view(&store).await.leases.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_deleted_whatever_its_failover_time_or_it_is_told_why_not() {
    for (failover, slow) in [(SECOND, false), (SECOND, true), (60 * SECOND, false)] {
        let store = store_with(1).await;
        let config =
            MemberConfig { heartbeat: failover / 5, failover, process: None, ..MemberConfig::default() };
        Worker::join_with(&store, "a", config).await.unwrap().die();
        let link = FaultyStore::new(store.clone(), 1);
        let reply = if slow { SECOND } else { SECOND / 100 };
        link.chance(StoreOperation::ListWorkers, StoreFault::DelayReply(reply), 1.0);
        let deleting = operator(&link).failover(failover);
        match timeout(2 * failover + 10 * SECOND, deleting.delete_group(false)).await.unwrap() {
            Ok(_) => assert_eq!(view(&store).await, GroupView::default()),
            Err(error) => assert!(slow && error.to_string().contains("too slowly"), "{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l4_whoever_joins_while_a_group_is_deleted_is_left_alone() {
    let store = store_with(20).await;
    Worker::join(&store, "a").await.unwrap().die();
    let link = FaultyStore::new(store.clone(), 1);
    link.chance(FaultTarget::Writes, StoreFault::DelayReply(SECOND / 2), 1.0);
    let operator = operator(&link);
    let joining = async {
        sleep(14 * SECOND).await;
        let mut b = Worker::join(&store, "b").await.unwrap();
        b.live(20 * SECOND).await;
        b
    };
    let (deleted, b) = tokio::join!(operator.delete_group(false), joining);
    let error = deleted.unwrap_err();
    assert!(error.to_string().contains("live workers (b)"), "{error}");
    assert!(!b.fenced && view(&store).await.workers.iter().any(|row| row.id == *b.member.id()));
}

/// Removed by force and made anew before its holder hears of it: its epochs begin anew, too.
#[tokio::test(start_paused = true)]
async fn c5_a_lease_that_was_removed_and_made_anew_has_one_owner() {
    for (told, high) in [(true, true), (true, false), (false, true), (false, false)] {
        let store = store_with(2).await;
        let mut a = Worker::join(&store, "a").await.unwrap();
        a.live(SECOND).await;
        let mut b = Worker::join(&store, "b").await.unwrap();
        live_all(&mut [&mut a, &mut b], 3 * SECOND).await;
        let key = a.leases.keys().next().unwrap().clone();
        for _ in 0..if high { 5 } else { 0 } {
            // Its task dies: it goes on under an epoch that the new row will not reach.
            drop(a.leases.remove(&key));
            live_all(&mut [&mut a, &mut b], SECOND).await;
        }
        let link = FaultyStore::new(store.clone(), 1);
        link.chance(StoreOperation::Notify, StoreFault::FailBefore, if told { 0.0 } else { 1.0 });
        operator(&link).retire(&key, true).await.unwrap();
        store.insert_lease(&group(), &LeaseRow::new(key.clone(), Position::TrimHorizon)).await.unwrap();
        let by = b.member.id().clone();
        let acquire = LeaseUpdate::Acquire {
            by,
            seen: crate::types::Epoch(0),
            at_least: crate::types::Epoch(0),
            caught_up_millis: None,
        };
        assert!(store.update_lease(&group(), &key, &acquire).await.unwrap().is_applied());
        live_all(&mut [&mut a, &mut b], if told { SECOND + SECOND / 10 } else { 34 * SECOND }).await;
        for worker in [&a, &b] {
            for (key, lease) in &worker.leases {
                let row = store.lease(&group(), key).await.unwrap().unwrap();
                assert_eq!((row.owner.as_ref(), row.epoch), (Some(worker.member.id()), lease.epoch()));
            }
        }
        live_all(&mut [&mut a, &mut b], 34 * SECOND).await;
        assert_eq!(counts(&[&a, &b]), [1, 1], "told: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_retires_ended_leases_and_others_only_by_force() {
    let store = store_with(2).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let operator = operator(&store);
    let error = operator.retire(&key(0), false).await.unwrap_err();
    assert!(matches!(error, OperatorError::NotEnded { .. }), "{error}");
    a.leases.remove(&key(1)).unwrap().finish(Vec::new()).await.unwrap();
    assert!(operator.retire(&key(1), false).await.unwrap().position.is_shard_end());
    assert!(matches!(operator.retire(&key(1), false).await, Err(OperatorError::UnknownLease { .. })));
    operator.retire(&key(0), true).await.unwrap();
    let lost = timeout(SECOND + SECOND / 10, a.leases[&key(0)].lost()).await.unwrap();
    assert_eq!(lost, LeaseLostReason::Deleted);
}

/// What it has names it again, at the operator's position; and of a lease that nobody has, only the leaver was told.
#[tokio::test(start_paused = true)]
async fn l2_leases_that_an_operator_moved_under_a_worker_that_leaves_are_taken_by_the_next() {
    for cut_off in [false, true] {
        let store = store_with(5).await;
        let link = FaultyStore::new(store.clone(), 1);
        let config = MemberConfig { process: None, ..MemberConfig::default() };
        let mut leaver = Worker::join_with(&link, "a", config).await.unwrap();
        leaver.live(5 * SECOND).await;
        leaver.leases.remove(&key(4)).unwrap().finish(Vec::new()).await.unwrap();
        leaver.live(15 * SECOND).await;
        let mut next = Worker::join(&store, "b").await.unwrap();
        next.live(SECOND / 2).await;
        link.outage(cut_off);
        leaver.member.begin_leave();
        operator(&store).seek(&Scope::Group, Position::TrimHorizon, false).await.unwrap();
        next.live(2 * SECOND).await;
        link.outage(false);
        for lease in std::mem::take(&mut leaver.leases).into_values() {
            lease.hand_over(None, CheckpointMetadata::default()).await.unwrap_err();
        }
        leaver.member.leave(Instant::now() + SECOND).await;
        next.live(5 * SECOND).await;
        assert_eq!(next.leases.len(), 5, "cut off: {cut_off}");
    }
}

//! Leases that an operator keeps with a worker, and orders about many leases at once.

use super::operator::operator;
use super::*;
use crate::OperatorError;
use crate::plan::pins;
use crate::row::OrderId;
use crate::update::GroupUpdate;

async fn owners(store: &MemoryStore) -> Vec<String> {
    let view = store.list(&group(), Listing::All).await.unwrap();
    view.leases.iter().map(|row| row.owner.as_ref().unwrap().name.to_string()).collect()
}

async fn pinned(store: &MemoryStore) -> Vec<LeaseKey> {
    pins(&store.list(&group(), Listing::All).await.unwrap()).into_keys().collect()
}

async fn two_workers(store: &MemoryStore) -> (Worker, Worker) {
    let mut a = Worker::join(store, "a").await.unwrap();
    a.live(5 * SECOND).await;
    let mut b = Worker::join(store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 20 * SECOND).await;
    assert_eq!(counts(&[&a, &b]), [2, 2]);
    (a, b)
}

#[tokio::test(start_paused = true)]
async fn o13_a_moved_lease_stays_while_its_worker_lives_and_goes_back_when_that_is_undone() {
    let store = store_with(4).await;
    let (mut a, mut b) = two_workers(&store).await;
    let operator = operator(&store);
    let name = |name: &str| WorkerName::new(name).unwrap();
    let of_a: Vec<LeaseKey> = a.leases.keys().cloned().collect();
    let order = operator.move_lease(&of_a[0], &name("b")).await.unwrap();
    live_all(&mut [&mut a, &mut b], 120 * SECOND).await;
    assert!(b.leases.contains_key(&of_a[0]) && a.leases.len() == 2, "{:?}", owners(&store).await);
    assert_eq!(pinned(&store).await, [of_a[0].clone()]);

    // The rest follows: all of them with one worker, as far as they can go, and nothing moves any more.
    operator.move_lease(&of_a[1], &name("b")).await.unwrap();
    live_all(&mut [&mut a, &mut b], 20 * SECOND).await;
    let stood = owners(&store).await;
    assert_eq!(counts(&[&a, &b]), [2, 2]);
    live_all(&mut [&mut a, &mut b], 120 * SECOND).await;
    assert_eq!(owners(&store).await, stood);

    // Back to where it was, though another has its place there: that one goes.
    operator.undo(Some(order), false).await.unwrap();
    live_all(&mut [&mut a, &mut b], 120 * SECOND).await;
    assert!(a.leases.contains_key(&of_a[0]), "{:?}", owners(&store).await);
    assert_eq!((counts(&[&a, &b]), pinned(&store).await), (vec![2, 2], vec![of_a[1].clone()]));

    // With the worker the pin ends, and one of its name begins without.
    b.die();
    a.live(20 * SECOND).await;
    assert_eq!((a.leases.len(), pinned(&store).await.len()), (4, 0));
    let mut b = Worker::join(&store, "b").await.unwrap();
    live_all(&mut [&mut a, &mut b], 60 * SECOND).await;
    assert_eq!((counts(&[&a, &b]), pinned(&store).await.len()), (vec![2, 2], 0));
}

/// The rows of workers of the release before: whoever goes by them spreads everything.
#[tokio::test(start_paused = true)]
async fn o13_a_fleet_of_several_releases_does_not_pass_a_lease_to_and_fro() {
    let store = store_with(4).await;
    let (mut a, mut b) = two_workers(&store).await;
    let mut old = crate::row::WorkerRow::joining("old#0000000000000001".parse().unwrap(), None);
    // It lives and takes nothing.
    (old.max_leases, old.report.plan.version) = (Some(0), 2);
    store.insert_worker(&group(), &old).await.unwrap();
    let one = a.leases.keys().next().unwrap().clone();
    operator(&store).move_lease(&one, &WorkerName::new("b").unwrap()).await.unwrap();
    let mut moves = 0;
    let mut before = owners(&store).await;
    for _ in 0..8 {
        live_all(&mut [&mut a, &mut b], SECOND).await;
        let now = owners(&store).await;
        moves += before.iter().zip(&now).filter(|(before, now)| before != now).count();
        before = now;
    }
    assert!(pinned(&store).await.is_empty());
    assert!(moves <= 2, "there, and another one or the same back: {moves}");
}

#[tokio::test(start_paused = true)]
async fn o13_moves_that_make_no_sense_are_refused_and_a_pin_can_be_taken_away() {
    let store = store_with(4).await;
    let (mut a, mut b) = two_workers(&store).await;
    let operator = operator(&store);
    let (one, name) = (a.leases.keys().next().unwrap().clone(), WorkerName::new("a").unwrap());
    let refused = |result: Result<OrderId, OperatorError>| result.unwrap_err().to_string();
    assert!(refused(operator.unpin(&one).await).contains("no order keeps lease"));
    // Kept where it is.
    let order = operator.move_lease(&one, &name).await.unwrap();
    assert_eq!(pinned(&store).await, std::slice::from_ref(&one));
    assert!(refused(operator.move_lease(&one, &name).await).contains("has lease"));
    let unpinned = operator.unpin(&one).await.unwrap();
    assert!(pinned(&store).await.is_empty());
    operator.undo(Some(unpinned), false).await.unwrap();
    assert_eq!(pinned(&store).await, std::slice::from_ref(&one));
    let later = operator.undo(Some(order), false).await.unwrap_err().to_string();
    assert!(later.contains("undo that first"), "{later}");
    // On its way to another.
    operator.move_lease(&one, &WorkerName::new("b").unwrap()).await.unwrap();
    let on_its_way = refused(operator.move_lease(&one, &name).await);
    assert!(on_its_way.contains("on its way from worker `a` to `b`"), "{on_its_way}");
    live_all(&mut [&mut a, &mut b], 5 * SECOND).await;
    assert!(b.leases.contains_key(&one));
}

/// What the group's row cannot name is found by the rows of the leases.
#[tokio::test(start_paused = true)]
async fn o13_a_pause_of_hundreds_of_scattered_shards_is_taken_back_as_one() {
    let store = store_with(900).await;
    let operator = operator(&store);
    let keys = |keep: fn(usize) -> bool| Scope::Leases((0..900).filter(|n| keep(*n)).map(key).collect());
    let paused = async || {
        let leases = store.list(&group(), Listing::All).await.unwrap().leases;
        leases.into_iter().filter(|row| row.paused).map(|row| row.key).collect::<Vec<_>>()
    };
    operator.pause(&keys(|n| n == 4)).await.unwrap();
    let many = operator.pause(&keys(|n| n % 2 == 0)).await.unwrap().order;
    let order = operator.history().await.unwrap().pop().unwrap();
    assert!(order.shards == 449 && !order.names_all(), "{order}");
    // One of them goes on meanwhile, and is paused anew.
    operator.resume(&keys(|n| n == 8)).await.unwrap();
    operator.pause(&keys(|n| n == 8)).await.unwrap();
    operator.undo(many, true).await.unwrap();
    assert_eq!(paused().await.len(), 450, "a dry run changes nothing");
    let undone = operator.undo(many, false).await.unwrap().order;
    assert_eq!(paused().await, [key(4), key(8)], "those of other orders are left");
    assert!(operator.undo(many, false).await.unwrap_err().to_string().contains("taken back already"));
    operator.undo(undone, false).await.unwrap();
    assert_eq!(paused().await.len(), 450);
}

/// Its leases say nothing: it has those that it names.
#[tokio::test(start_paused = true)]
async fn o13_a_pause_of_an_earlier_release_is_taken_back() {
    let store = store_with(4).await;
    for n in [1, 3] {
        let update = LeaseUpdate::Pause { paused: true, order: None };
        store.update_lease(&group(), &key(n), &update).await.unwrap();
    }
    let old = crate::row::OperatorOrder::new(OrderId(7), crate::row::OrderKind::Pause, "single shards");
    let old = GroupUpdate::Remember(old.about([key(1), key(3)]));
    store.update_group(&group(), &old).await.unwrap();
    operator(&store).undo(Some(OrderId(7)), false).await.unwrap();
    let leases = store.list(&group(), Listing::All).await.unwrap().leases;
    assert!(leases.iter().all(|row| !row.paused));
}

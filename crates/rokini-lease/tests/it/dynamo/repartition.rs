//! Groups whose leases go to other partition keys while stores use them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use rokini_lease::conformance::ConformanceSuite;
use rokini_lease::{
    CheckpointMetadata, DynamoStore, Epoch, GroupView, LeaseRow, LeaseStore, LeaseStoreExt, LeaseUpdate,
    Listing, ListingQuery, Position, Repartition, RepartitionError, WorkerNotification, WorkerUpdate,
};

use super::partitions::{keys, places};
use super::proxy::{Proxy, ProxyAction};
use super::server::{Server, TABLE, group, id, lease, store, worker};

/// At once, without waiting for workers, of which there are none.
fn soon() -> Repartition {
    let mut how = Repartition::default();
    how.rows_per_second = 100_000;
    how.settle = Some(Duration::from_millis(1));
    how
}

async fn repartition(store: &DynamoStore, count: u16) -> Result<u64, RepartitionError> {
    let report = store.repartition(&group(), keys(count), &soon(), |_| {}).await?;
    assert_eq!(report.to, keys(count));
    Ok(report.rows)
}

/// Two workers, a lease that one of them has, with a position, and others.
async fn fill(store: &DynamoStore) -> GroupView {
    for name in ["a", "b"] {
        store.insert_worker(&group(), &worker(name)).await.unwrap();
    }
    for n in 0..5 {
        store.insert_lease(&group(), &lease(&format!("s-{n}"))).await.unwrap();
    }
    acquire(store, "s-1").await;
    store.list(&group(), Listing::All).await.unwrap()
}

async fn acquire(store: &DynamoStore, shard: &str) -> LeaseRow {
    let key = lease(shard).key;
    let seen = store.lease(&group(), &key).await.unwrap().unwrap().epoch;
    let update = LeaseUpdate::Acquire { by: id("a"), seen, at_least: Epoch(0), caught_up_millis: None };
    store.update_lease(&group(), &key, &update).await.unwrap().applied().unwrap()
}

async fn pages(store: &DynamoStore) -> GroupView {
    let (mut view, mut from) = (GroupView::default(), None);
    loop {
        let page = store.list_part(&group(), &ListingQuery::Page { from, rows: 2 }).await.unwrap();
        view.workers.extend(page.view.workers);
        view.leases.extend(page.view.leases);
        view.streams.extend(page.view.streams);
        from = page.next;
        if from.is_none() {
            view.sort();
            return view;
        }
    }
}

#[tokio::test]
async fn a_group_grows_and_shrinks_while_stores_that_do_not_know_go_on() {
    let server = Server::with_table().await;
    let operator = store(&server.address);
    let whole = fill(&operator).await;
    let mut held = acquire(&operator, "s-2").await;
    let mut heartbeats = 0;
    for (n, count) in [4, 8, 1, 3].into_iter().enumerate() {
        let stale: Vec<DynamoStore> = (0..8).map(|_| store(&server.address)).collect();
        for store in &stale {
            // What it knows from now on is old.
            store.list(&group(), Listing::All).await.unwrap();
        }
        let before = operator.list(&group(), Listing::All).await.unwrap();
        let moved = repartition(&operator, count).await.unwrap();
        assert_eq!(moved, (before.leases.len() + before.workers.len()) as u64);
        assert_eq!(operator.lease_keys(&group()).await.unwrap().now, keys(count));
        assert_eq!(operator.list(&group(), Listing::All).await.unwrap(), before);
        assert!(places(&server).await.len() <= usize::from(count) + 2, "what was left is gone");

        assert_eq!(stale[0].list(&group(), Listing::All).await.unwrap(), before);
        assert_eq!(pages(&stale[1]).await, before);
        assert_eq!(stale[2].list(&group(), Listing::WorkersNow).await.unwrap().workers, before.workers);
        assert_eq!(stale[3].lease(&group(), &held.key).await.unwrap().unwrap(), held);
        // A holder stores its position, and keeps its epoch.
        let position = Position::after((n as u128 + 1).into());
        let checkpoint = LeaseUpdate::Checkpoint {
            owner: id("a"),
            epoch: held.epoch,
            position,
            at: 1,
            metadata: CheckpointMetadata::default(),
            settles: false,
        };
        let outcome = stale[4].update_lease(&group(), &held.key, &checkpoint).await.unwrap();
        held = outcome.applied().unwrap();
        assert_eq!(held.position, position);
        // A lease that is there is not made anew, one that is not is.
        assert!(!stale[5].insert_lease_if_missing(&group(), &lease("s-0")).await.unwrap());
        let new = lease(&format!("new-{n}"));
        assert!(stale[5].insert_lease_if_missing(&group(), &new).await.unwrap());
        let tell = WorkerUpdate::Notify(WorkerNotification::Assigned(new.key.clone()));
        assert!(stale[6].update_worker(&group(), &id("b"), &tell).await.unwrap().is_applied());
        let fence = WorkerUpdate::Fence { seen: 99 };
        assert!(!stale[6].update_worker(&group(), &id("b"), &fence).await.unwrap().is_applied());
        heartbeats += 1;
        let row = operator.worker(&group(), &id("b")).await.unwrap().unwrap();
        assert_eq!(row.mailbox.len(), heartbeats);
        assert!(stale[7].delete_lease(&group(), &new.key, Epoch(0)).await.unwrap());
        assert_eq!(operator.lease(&group(), &new.key).await.unwrap(), None);
        let joined = format!("late-{n}");
        assert!(stale[7].insert_worker(&group(), &worker(&joined)).await.unwrap().is_applied());
        let workers = operator.list(&group(), Listing::Workers).await.unwrap().workers;
        assert!(workers.iter().any(|row| row.id == id(&joined)));
        assert_eq!(operator.list(&group(), Listing::All).await.unwrap().leases.len(), whole.leases.len());
    }
    assert_eq!(repartition(&operator, 3).await.unwrap(), 0, "it is so already");
    // A number that is set says nothing of a group that was changed.
    let configured = store(&server.address).partitions(keys(7));
    assert_eq!(configured.list(&group(), Listing::All).await.unwrap().leases.len(), whole.leases.len());
}

/// As DynamoDB answers a write that meets a transaction on its row.
#[tokio::test]
async fn a_write_that_meets_a_row_on_its_way_is_tried_again() {
    let server = Server::with_table().await;
    fill(&store(&server.address)).await;
    let (mut writes, conflicts) = (0, 2);
    let proxy = Proxy::start(&server.address, move |request| {
        writes += usize::from(request.action == "UpdateItem");
        match request.action == "UpdateItem" && writes <= conflicts {
            true => ProxyAction::refuse("TransactionConflictException"),
            false => ProxyAction::Forward,
        }
    })
    .await;
    let through = store(&proxy.address);
    let held = acquire(&through, "s-3").await;
    assert_eq!(held.owner, Some(id("a")));
    let tries = proxy.seen().into_iter().filter(|action| action == "UpdateItem").count();
    assert_eq!(tries, conflicts + 1, "the refused ones had no effect");
}

/// Whatever write it ends before, the group goes on, and the next call goes on where it ended.
#[tokio::test]
async fn a_repartition_that_ends_at_any_write_loses_nothing_and_is_resumed() {
    for writes in 0.. {
        let server = Server::with_table().await;
        let direct = store(&server.address);
        let whole = fill(&direct).await;
        let stale = store(&server.address);
        stale.list(&group(), Listing::All).await.unwrap();
        let mut left = writes;
        let proxy = Proxy::start(&server.address, move |request| {
            if !matches!(request.action.as_str(), "GetItem" | "Query") {
                if left == 0 {
                    return ProxyAction::refuse("AccessDeniedException");
                }
                left -= 1;
            }
            ProxyAction::Forward
        })
        .await;
        let ended = repartition(&store(&proxy.address), 3).await.is_ok();
        let fresh = store(&server.address);
        for store in [&stale, &fresh] {
            assert_eq!(store.list(&group(), Listing::All).await.unwrap(), whole, "after {writes} writes");
            assert_eq!(pages(store).await, whole, "after {writes} writes");
            let workers = store.list(&group(), Listing::Workers).await.unwrap().workers;
            assert_eq!(workers, whole.workers, "after {writes} writes");
            for row in &whole.leases {
                assert_eq!(store.lease(&group(), &row.key).await.unwrap().as_ref(), Some(row));
                assert!(
                    !store.insert_lease_if_missing(&group(), &lease(row.key.shard.as_str())).await.unwrap()
                );
            }
        }
        let held = acquire(&stale, "s-3").await;
        assert!(fresh.insert_lease(&group(), &lease("late")).await.unwrap().is_applied());
        assert!(!stale.insert_lease_if_missing(&group(), &lease("late")).await.unwrap());
        assert!(stale.insert_worker(&group(), &worker("late")).await.unwrap().is_applied());
        let before = fresh.list(&group(), Listing::All).await.unwrap();
        assert_eq!((before.leases.len(), before.workers.len()), (6, 3), "after {writes} writes");
        if !ended {
            let underway = fresh.lease_keys(&group()).await.unwrap();
            if underway.next.is_some() {
                let error = repartition(&fresh, 9).await.unwrap_err();
                assert!(matches!(error, RepartitionError::Begun { .. }), "{error}");
            }
            repartition(&fresh, 3).await.unwrap();
        }
        assert_eq!(fresh.lease_keys(&group()).await.unwrap().now, keys(3));
        assert_eq!(fresh.list(&group(), Listing::All).await.unwrap(), before, "after {writes} writes");
        assert_eq!(fresh.lease(&group(), &held.key).await.unwrap(), Some(held));
        let places = places(&server).await;
        // One generation is left, of three keys and that of the workers.
        let generations: BTreeSet<&str> =
            places.iter().filter_map(|place| Some(place.split_once('#')?.1.split_once('.')?.0)).collect();
        assert!(generations.len() == 1 && places.len() <= 5, "{places:?}");
        if ended {
            assert_eq!(
                writes,
                7 * 2 + 3,
                "one for each row that goes and for what it leaves, three for the layout"
            );
            return;
        }
    }
}

/// A group that is repartitioned again and again keeps the contract.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_keeps_the_contract_while_it_is_repartitioned() {
    let server = Server::with_table().await;
    let ended = Arc::new(AtomicBool::new(false));
    let moved = Arc::new(AtomicU64::new(0));
    let background = {
        let (operator, ended, moved) = (store(&server.address), Arc::clone(&ended), Arc::clone(&moved));
        tokio::spawn(async move {
            let mut count = 1;
            while !ended.load(Ordering::Acquire) {
                count = count % 4 + 1;
                for part in operator.groups().await.unwrap() {
                    match operator.repartition(&part, keys(count), &soon(), |_| {}).await {
                        Ok(report) => drop(moved.fetch_add(report.rows, Ordering::AcqRel)),
                        // Rows as others may have written them are part of the suite.
                        Err(RepartitionError::Overtaken { .. } | RepartitionError::OldWorkers { .. }) => {}
                        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
                    }
                }
            }
        })
    };
    let report = ConformanceSuite::new(Arc::new(store(&server.address)))
        .seed(5)
        .races(20)
        .sequences(4)
        .listed(30)
        .run()
        .await;
    ended.store(true, Ordering::Release);
    background.await.unwrap();
    assert!(report.applied > 100, "{report:?}");
    // How many go beside the suite is for the machine to say.
    assert!(moved.load(Ordering::Acquire) > 20, "{moved:?} rows went meanwhile");
}

/// Stores with old and new knowledge write counters into leases, while rows go, in an order that chance decides at each
/// request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_order_of_requests_a_joiner_and_its_leases_are_found() {
    for seed in 0..12 {
        interleaved(seed).await;
    }
}

async fn interleaved(seed: u64) {
    let server = Server::with_table().await;
    let direct = store(&server.address);
    let whole = fill(&direct).await;
    let mut rng = StdRng::seed_from_u64(seed);
    // Each request of three links takes a time of its own.
    let mut gates = Vec::new();
    for _ in 0..3 {
        let mut rng = StdRng::from_rng(&mut rng);
        let pause = move |_: &mut _| ProxyAction::Delay(Duration::from_micros(rng.random_range(0..4_000)));
        gates.push(Proxy::start(&server.address, pause).await);
    }
    let [mover, joiner, other] = [0, 1, 2].map(|n| store(&gates[n].address));
    for store in [&joiner, &other] {
        if rng.random() {
            store.list(&group(), Listing::All).await.unwrap();
        }
    }
    let begin = Duration::from_micros(rng.random_range(0..60_000));
    let joining = async {
        tokio::time::sleep(begin).await;
        assert!(joiner.insert_worker(&group(), &worker("late")).await.unwrap().is_applied());
        let is_new = joiner.insert_lease_if_missing(&group(), &lease("new")).await.unwrap();
        assert!(!joiner.insert_lease_if_missing(&group(), &lease("s-0")).await.unwrap());
        let seen = joiner.list(&group(), Listing::All).await.unwrap();
        assert_eq!((seen.leases.len(), seen.workers.len()), (6, 3), "seed {seed}");
        is_new
    };
    let others = async {
        let is_new = other.insert_lease_if_missing(&group(), &lease("new")).await.unwrap();
        let mut held = acquire(&other, "s-4").await;
        for n in 1..6_u128 {
            let checkpoint = LeaseUpdate::Checkpoint {
                owner: id("a"),
                epoch: held.epoch,
                position: Position::after(n.into()),
                at: 1,
                metadata: CheckpointMetadata::default(),
                settles: false,
            };
            // A call that meets a transaction is tried again, as workers do.
            held = loop {
                match other.update_lease(&group(), &held.key, &checkpoint).await {
                    Ok(outcome) => break outcome.applied().unwrap(),
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            };
            let leases = other.list(&group(), Listing::All).await.unwrap().leases.len();
            assert!((5..=6).contains(&leases), "seed {seed}: {leases} leases");
        }
        (is_new, held)
    };
    let (moved, first, (second, held)) = tokio::join!(repartition(&mover, 3), joining, others);
    moved.unwrap();
    assert!(first != second, "seed {seed}: one of two made the lease");
    let fresh = store(&server.address);
    // What the last of them put where nobody looks is taken along.
    let after = fresh.list(&group(), Listing::All).await.unwrap();
    assert_eq!((after.leases.len(), after.workers.len()), (whole.leases.len() + 1, 3), "seed {seed}");
    assert_eq!(fresh.lease(&group(), &held.key).await.unwrap(), Some(held));
}

#[tokio::test]
async fn what_a_deleted_group_left_behind_holds_up_no_other() {
    let server = Server::with_table().await;
    let direct = store(&server.address);
    fill(&direct).await;
    // It ends with rows on their way.
    let mut left = 5;
    let proxy = Proxy::start(&server.address, move |request| match request.action.as_str() {
        "GetItem" | "Query" => ProxyAction::Forward,
        _ if left == 0 => ProxyAction::refuse("AccessDeniedException"),
        _ => {
            left -= 1;
            ProxyAction::Forward
        }
    })
    .await;
    repartition(&store(&proxy.address), 2).await.unwrap_err();
    let operator = rokini_lease::Operator::new(
        Arc::new(store(&server.address)),
        group(),
        rokini_lease::WallClock::system(),
    );
    operator.delete_group(true).await.unwrap();
    assert!(places(&server).await.is_empty(), "{:?}", places(&server).await);
    // One that somebody put back.
    let forwarding = format!("lease#{}", lease("s-0").key);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = server.client().put_item().table_name(TABLE).item("group", text("billing"));
    put.item("row", text(&forwarding)).item("moved", text("x")).send().await.unwrap();
    let anew = store(&server.address);
    assert_eq!(anew.lease(&group(), &lease("s-0").key).await.unwrap(), None);
    assert!(anew.insert_lease(&group(), &lease("s-0")).await.unwrap().is_applied());
    assert_eq!(anew.list(&group(), Listing::All).await.unwrap().leases, [lease("s-0")]);
}

#[tokio::test]
async fn workers_that_cannot_follow_hold_a_repartition_up() {
    let server = Server::with_table().await;
    let direct = store(&server.address);
    let mut old = worker("old");
    old.report.format = 3;
    direct.insert_worker(&group(), &old).await.unwrap();
    let error = repartition(&direct, 2).await.unwrap_err().to_string();
    assert!(error.contains("`old`") && error.contains("upgrade"), "{error}");
    assert_eq!(places(&server).await, ["billing".to_owned()].into());
    let fence = WorkerUpdate::Fence { seen: 0 };
    direct.update_worker(&group(), &old.id, &fence).await.unwrap();
    repartition(&direct, 2).await.unwrap();
}

#[tokio::test]
async fn a_row_that_changes_between_its_read_and_its_move_goes_as_it_is_then() {
    let server = Server::with_table().await;
    let direct = store(&server.address);
    fill(&direct).await;
    let key = lease("s-0").key;
    // Neither of them changes an attribute that was there before.
    let updates = [
        LeaseUpdate::Claim { by: id("b"), seen: Epoch(0), over: None },
        LeaseUpdate::Pause { paused: true, order: None },
        LeaseUpdate::Pin { to: Some(id("b")) },
    ];
    for (count, update) in (2..).zip(updates) {
        let row = key.to_string();
        let (told, mut is_on_its_way) = tokio::sync::mpsc::unbounded_channel();
        let proxy = Proxy::start(&server.address, move |request| {
            let is_move = request.action == "TransactWriteItems" && request.body.contains(&row);
            match is_move && told.send(()).is_ok() {
                true => ProxyAction::Delay(Duration::from_millis(500)),
                false => ProxyAction::Forward,
            }
        })
        .await;
        let write = async {
            is_on_its_way.recv().await.unwrap();
            let outcome = direct.update_lease(&group(), &key, &update).await.unwrap();
            drop(is_on_its_way);
            outcome.applied().unwrap()
        };
        let mover = store(&proxy.address);
        let (moved, written) = tokio::join!(repartition(&mover, count), write);
        moved.unwrap();
        assert_eq!(direct.lease(&group(), &key).await.unwrap(), Some(written));
    }
}

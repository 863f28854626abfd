//! "Applied, but the reply was lost", on every write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use rokini_lease::{
    CheckpointMetadata, DynamoStore, Epoch, LeaseStoreExt, LeaseUpdate, Position, StoreErrorKind, StreamRow,
    WorkerLoad, WorkerNotification, WorkerReport, WorkerState, WorkerUpdate, WriteOutcome,
};

use super::proxy::{Proxy, ProxyAction};
use super::server::{Server, TABLE, config, group, id, lease, worker};

/// A store behind a link that loses the reply to the next write whenever it is told to.
struct Link {
    store: DynamoStore,
    proxy: Proxy,
    lose: Arc<AtomicBool>,
    _server: Server,
}

impl Link {
    /// With the SDK's retries, or left to read the row back.
    async fn new(retries: bool) -> Self {
        let server = Server::with_table().await;
        let lose = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&lose);
        let proxy = Proxy::start(&server.address, move |request| {
            let write = matches!(request.action.as_str(), "PutItem" | "UpdateItem" | "DeleteItem");
            if write && told.swap(false, Ordering::SeqCst) {
                ProxyAction::DropReply
            } else {
                ProxyAction::Forward
            }
        })
        .await;
        let mut config = config(&proxy.address).into_builder();
        if !retries {
            config = config.retry_config(RetryConfig::disabled());
        }
        let store = DynamoStore::new(&config.build(), TABLE);
        // It asks once how the group is spread.
        store.worker(&group(), &id("nobody")).await.unwrap();
        Self { store, proxy, lose, _server: server }
    }

    /// Loses the next reply, and says which requests were made since the last look.
    fn lose(&self) {
        self.proxy.seen();
        self.lose.store(true, Ordering::SeqCst);
    }

    fn check(&self, action: &str, retries: bool) {
        assert!(!self.lose.load(Ordering::SeqCst), "no reply was lost");
        let second = if retries { action } else { "GetItem" };
        assert_eq!(self.proxy.seen(), [action, second]);
    }

    /// What a first try may have removed is looked for where rows may have gone.
    fn check_delete(&self, retries: bool) {
        assert!(!self.lose.load(Ordering::SeqCst), "no reply was lost");
        let second = if retries { "DeleteItem" } else { "GetItem" };
        assert_eq!(self.proxy.seen(), ["DeleteItem", second, "GetItem"]);
    }

    /// An insert looks where rows belong afterwards.
    fn check_insert(&self, retries: bool) {
        assert!(!self.lose.load(Ordering::SeqCst), "no reply was lost");
        let second = if retries { "PutItem" } else { "GetItem" };
        assert_eq!(self.proxy.seen(), ["PutItem", second, "GetItem"]);
    }
}

#[tokio::test]
async fn c13_the_lost_reply_of_every_lease_update_is_settled() {
    let updates = [
        LeaseUpdate::Acquire { by: id("a"), seen: Epoch(0), at_least: Epoch(0), caught_up_millis: None },
        LeaseUpdate::Checkpoint {
            owner: id("a"),
            epoch: Epoch(1),
            position: Position::AtTimestamp(5),
            at: 1,
            metadata: CheckpointMetadata::default(),
            settles: false,
        },
        LeaseUpdate::Claim { by: id("c"), seen: Epoch(1), over: None },
        LeaseUpdate::Unclaim { by: id("c") },
        LeaseUpdate::Claim { by: id("b"), seen: Epoch(1), over: None },
        LeaseUpdate::HandOver {
            owner: id("a"),
            epoch: Epoch(1),
            to: Some(id("b")),
            position: Some(Position::AtTimestamp(6)),
            at: 2,
            metadata: CheckpointMetadata::default(),
            settles: false,
        },
        LeaseUpdate::Seek { seen: Epoch(2), to: Position::TrimHorizon, order: None },
        LeaseUpdate::HandOver {
            owner: id("b"),
            epoch: Epoch(3),
            to: None,
            position: None,
            at: 3,
            metadata: CheckpointMetadata::default(),
            settles: true,
        },
        LeaseUpdate::Acquire { by: id("c"), seen: Epoch(4), at_least: Epoch(0), caught_up_millis: None },
        LeaseUpdate::Finish { owner: id("c"), epoch: Epoch(5), children: vec!["s".parse().unwrap()], at: 4 },
    ];
    for retries in [true, false] {
        let link = Link::new(retries).await;
        let mut row = lease("s-0");
        link.lose();
        let inserted = link.store.insert_lease(&group(), &row).await.unwrap();
        assert_eq!(inserted, WriteOutcome::Applied { before: None, after: row.clone() });
        link.check_insert(retries);
        for update in &updates {
            let expected = update.apply(&row).unwrap();
            link.lose();
            let outcome = link.store.update_lease(&group(), &row.key, update).await.unwrap();
            assert_eq!(
                outcome,
                WriteOutcome::Applied { before: None, after: expected.clone() },
                "{update:?}"
            );
            link.check("UpdateItem", retries);
            row = expected;
        }
        assert_eq!(link.store.lease(&group(), &row.key).await.unwrap(), Some(row.clone()));
        link.lose();
        assert!(link.store.delete_lease(&group(), &row.key, row.epoch).await.unwrap());
        link.check_delete(retries);
    }
}

#[tokio::test]
async fn c13_the_lost_reply_of_every_worker_update_is_settled() {
    let note = WorkerUpdate::Notify(WorkerNotification::Assigned(lease("s-0").key));
    let beat = WorkerUpdate::Heartbeat {
        seen: 0,
        call: 1,
        load: WorkerLoad { leases: 2 },
        state: WorkerState::Leaving,
        streams: None,
        report: WorkerReport::default(),
    };
    for retries in [true, false] {
        let link = Link::new(retries).await;
        let mut row = worker("w");
        // The first worker of a group looks how the group is spread.
        link.store.insert_worker(&group(), &worker("first")).await.unwrap();
        link.proxy.seen();
        link.lose();
        let inserted = link.store.insert_worker(&group(), &row).await.unwrap();
        assert_eq!(inserted, WriteOutcome::Applied { before: None, after: row.clone() });
        link.check_insert(retries);
        for update in [&note, &beat, &WorkerUpdate::Fence { seen: 1 }] {
            let expected = update.apply(&row).unwrap();
            link.lose();
            let outcome = link.store.update_worker(&group(), &row.id, update).await.unwrap();
            assert_eq!(
                outcome,
                WriteOutcome::Applied { before: None, after: expected.clone() },
                "{update:?}"
            );
            link.check("UpdateItem", retries);
            row = expected;
        }
        // A beat of a fenced worker is refused, with the reply lost or not.
        link.lose();
        let late = WorkerUpdate::Heartbeat {
            seen: 1,
            call: 1,
            load: WorkerLoad::default(),
            state: WorkerState::Alive,
            streams: None,
            report: WorkerReport::default(),
        };
        let outcome = link.store.update_worker(&group(), &row.id, &late).await.unwrap();
        assert_eq!(outcome, WriteOutcome::Refused { current: Some(row.clone()) });
        link.lose();
        link.store.delete_worker(&group(), &row.id).await.unwrap();
        link.check_delete(retries);
    }
}

#[tokio::test]
async fn c13_the_lost_reply_of_a_stream_row_is_settled() {
    for retries in [true, false] {
        let link = Link::new(retries).await;
        let row = StreamRow::new("orders@1".parse().unwrap(), "orders", Position::TrimHorizon);
        link.lose();
        let outcome = link.store.insert_stream(&group(), &row).await.unwrap();
        assert_eq!(outcome, WriteOutcome::Applied { before: None, after: row.clone() });
        link.check("PutItem", retries);
        // Another worker's decision stands, with the reply lost or not.
        let other = StreamRow::new(row.id.clone(), "orders", Position::AtTimestamp(1));
        link.lose();
        let outcome = link.store.insert_stream(&group(), &other).await.unwrap();
        assert_eq!(outcome, WriteOutcome::Refused { current: Some(row) });
    }
}

#[tokio::test]
async fn a_retry_that_finds_its_first_try_unapplied_keeps_the_mailbox() {
    let server = Server::with_table().await;
    let first = AtomicU32::new(0);
    let proxy = Proxy::start(&server.address, move |request| {
        let update = request.action == "UpdateItem" && request.body.contains("#beat");
        if update && first.fetch_add(1, Ordering::SeqCst) == 0 {
            ProxyAction::DropRequest
        } else {
            ProxyAction::Forward
        }
    })
    .await;
    let store = super::server::store(&proxy.address);
    store.insert_worker(&group(), &worker("w")).await.unwrap();
    let note = WorkerNotification::Assigned(lease("s-0").key);
    store.update_worker(&group(), &id("w"), &WorkerUpdate::Notify(note.clone())).await.unwrap();
    let beat = WorkerUpdate::Heartbeat {
        seen: 0,
        call: 1,
        load: WorkerLoad::default(),
        state: WorkerState::Alive,
        streams: None,
        report: WorkerReport::default(),
    };
    let outcome = store.update_worker(&group(), &id("w"), &beat).await.unwrap();
    let WriteOutcome::Applied { before: Some(before), .. } = outcome else { panic!("{outcome:?}") };
    assert!(before.mailbox.contains(&note), "the note came with the beat that took it");
}

#[tokio::test]
async fn what_a_read_cannot_settle_is_said_to_be_ambiguous() {
    let server = Server::with_table().await;
    // The requests of writes are lost, so that their conditions still hold: they may yet arrive.
    let proxy = Proxy::start(&server.address, |request| match request.action.as_str() {
        "PutItem" | "UpdateItem" | "DeleteItem" => ProxyAction::DropRequest,
        _ => ProxyAction::Forward,
    })
    .await;
    let direct = super::server::store(&server.address);
    direct.insert_lease(&group(), &lease("s-0")).await.unwrap();
    direct.insert_worker(&group(), &worker("w")).await.unwrap();

    let store = super::server::store(&proxy.address);
    let acquire = |seen| LeaseUpdate::Acquire {
        by: id("w"),
        seen: Epoch(seen),
        at_least: Epoch(0),
        caught_up_millis: None,
    };
    let (here, missing) = (lease("s-0"), lease("s-1"));
    for error in [
        store.update_lease(&group(), &here.key, &acquire(0)).await.unwrap_err(),
        store.insert_lease(&group(), &missing).await.unwrap_err(),
        store.delete_worker(&group(), &id("w")).await.unwrap_err(),
        store.delete_lease(&group(), &here.key, Epoch(0)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_ambiguous()), (StoreErrorKind::Unavailable, true), "{error}");
    }
    // Where the condition does not hold any more, nothing can come of the write: the row says it all.
    let refused = WriteOutcome::Refused { current: Some(here.clone()) };
    assert_eq!(store.update_lease(&group(), &here.key, &acquire(7)).await.unwrap(), refused);
    let mut other = here.clone();
    other.epoch = Epoch(7);
    assert_eq!(store.insert_lease(&group(), &other).await.unwrap(), refused);
    assert!(!store.delete_lease(&group(), &here.key, Epoch(7)).await.unwrap());
    let refused = WriteOutcome::Refused { current: None };
    assert_eq!(store.update_lease(&group(), &missing.key, &acquire(0)).await.unwrap(), refused);
    store.delete_worker(&group(), &id("nobody")).await.unwrap();
}

#[tokio::test]
async fn a_server_fault_may_hide_an_effect() {
    let server = Server::with_table().await;
    let proxy = Proxy::start(&server.address, |request| match request.action.as_str() {
        "GetItem" => ProxyAction::Forward,
        _ => ProxyAction::Answer(500, r#"{"__type":"InternalServerError","message":"sorry"}"#.to_owned()),
    })
    .await;
    let direct = super::server::store(&server.address);
    direct.insert_lease(&group(), &lease("s-0")).await.unwrap();
    let store = super::server::store(&proxy.address);
    let acquire =
        LeaseUpdate::Acquire { by: id("w"), seen: Epoch(0), at_least: Epoch(0), caught_up_millis: None };
    let error = store.update_lease(&group(), &lease("s-0").key, &acquire).await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (StoreErrorKind::Unavailable, true), "{error}");
    // It did take effect.
    direct.update_lease(&group(), &lease("s-0").key, &acquire).await.unwrap();
    let outcome = store.update_lease(&group(), &lease("s-0").key, &acquire).await.unwrap();
    assert!(outcome.is_applied());
}

#[tokio::test]
async fn p7_a_call_ends_in_time_when_the_reply_never_comes() {
    let server = Server::with_table().await;
    let proxy = Proxy::start(&server.address, |request| match request.action.as_str() {
        "UpdateItem" => ProxyAction::Hang,
        _ => ProxyAction::Forward,
    })
    .await;
    let direct = super::server::store(&server.address);
    direct.insert_worker(&group(), &worker("w")).await.unwrap();
    let operation = Duration::from_millis(900);
    let store = super::server::store(&proxy.address).timeouts(Duration::from_millis(200), operation);
    let beat = WorkerUpdate::Heartbeat {
        seen: 0,
        call: 1,
        load: WorkerLoad::default(),
        state: WorkerState::Alive,
        streams: None,
        report: WorkerReport::default(),
    };
    let started = std::time::Instant::now();
    let error = store.update_worker(&group(), &id("w"), &beat).await.unwrap_err();
    assert!(error.is_ambiguous());
    // Without the bound it would wait for ever.
    assert!(started.elapsed() < operation + Duration::from_secs(10), "{:?}", started.elapsed());
}

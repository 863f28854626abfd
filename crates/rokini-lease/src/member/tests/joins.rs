//! Joins that fail midway and are tried again.

use super::*;

/// How long a worker takes to join a group in which another one is, and to get its half, where the first try fails midway.
/// With a value of its own for each try, a try does not know what the one before left.
async fn joins_after(fault: impl Fn(&FaultyStore<MemoryStore>), is_remembered: bool) -> Duration {
    let store = store_with(10).await;
    let mut a = Worker::join(&store, "a").await.unwrap();
    a.live(SECOND).await;
    let link = FaultyStore::new(store.clone(), 1);
    let mut config = MemberConfig { process: None, ..MemberConfig::default() };
    config.failover = 20 * SECOND;
    config.heartbeat = 8 * SECOND;
    let (begun, clock) = (Instant::now(), WallClock::from_fn(|| 0));
    let (mut attempts, mut tries) = (JoinAttempts::new(7), 0);
    fault(&link);
    let joined = loop {
        tries += 1;
        let name = WorkerName::new("b").unwrap();
        let joining =
            Member::join(Arc::new(link.clone()), group(), name, config.clone(), clock.clone(), &attempts);
        let outcome = {
            let mut joining = std::pin::pin!(joining);
            loop {
                tokio::select! {
                    outcome = &mut joining => break outcome,
                    () = a.live(SECOND / 10) => {}
                }
            }
        };
        match outcome {
            Ok(joined) => break joined,
            Err(JoinError::Store(_)) => sleep(SECOND / 10).await,
            Err(error) => panic!("{error}"),
        }
        if !is_remembered {
            attempts = JoinAttempts::new(7 + tries);
        }
    };
    assert!(tries > 1, "the first try failed");
    let (member, events) = joined;
    let mut b = Worker { member, events, leases: BTreeMap::new(), fenced: false, panics: Vec::new() };
    while counts(&[&a, &b]) != vec![5, 5] {
        assert!(begun.elapsed() < 90 * SECOND, "{:?}", counts(&[&a, &b]));
        live_all(&mut [&mut a, &mut b], SECOND / 10).await;
    }
    let workers = store.list(&group(), Listing::Workers).await.unwrap().workers;
    if is_remembered {
        assert_eq!(workers.len(), 2, "no row is left that nobody beats on");
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn c13_a_join_whose_reply_is_lost_takes_a_retry() {
    type Fault = fn(&FaultyStore<MemoryStore>);
    let faults: [(&str, Fault); 3] = [
        ("the reply is lost, and nothing can be read", |link| {
            link.next(StoreOperation::Insert, StoreFault::LoseReply, 1);
            link.next(StoreOperation::Read, StoreFault::FailBefore, 1);
        }),
        ("twice", |link| {
            link.next(StoreOperation::Insert, StoreFault::LoseReply, 2);
            link.next(StoreOperation::Read, StoreFault::FailBefore, 2);
        }),
        ("the look for namesakes after it fails", |link| {
            link.next(StoreOperation::Insert, StoreFault::DelayReply(SECOND), 1);
            let link = link.clone();
            TaskTracker::new().spawn(async move {
                sleep(SECOND / 2).await;
                link.outage(true);
                sleep(SECOND).await;
                link.outage(false);
            });
        }),
    ];
    for (what, fault) in faults {
        let took = joins_after(fault, true).await;
        assert!(took < 6 * SECOND, "{what}: {took:?}");
    }
    // Where tries know nothing of each other, the row of the first is another process for the second.
    let took = joins_after(faults[0].1, false).await;
    assert!(took > 20 * SECOND, "{took:?}");
}

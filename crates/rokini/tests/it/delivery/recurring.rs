//! Defects that recur among consumers of streams, with records that flow.

use std::time::Duration;

use rokini::lease::{FaultyStore, LeaseRow, MemoryStore, Position};
use rokini::{ConsumerBuilder, Event, EventKind};
use tokio::time::sleep;

use crate::harness::{Log, Running, after, builder, leases, position, until_leases, until_position};
use crate::stream::{Stream, shard_id};

/// Ten of them make a while.
const AUDIT: Duration = Duration::from_secs(30);
const WHILE: Duration = Duration::from_secs(300);

fn audited(stream: &Stream, store: &MemoryStore, name: &str) -> ConsumerBuilder {
    builder(stream, store.clone(), name).audit_interval(AUDIT)
}

fn row(rows: &[LeaseRow], shard: usize) -> Option<&LeaseRow> {
    rows.iter().find(|row| row.key.shard == shard_id(shard))
}

fn owner(rows: &[LeaseRow], shard: usize) -> Option<&str> {
    row(rows, shard)?.owner.as_ref().map(|owner| owner.name.as_str())
}

/// Every text of these, once.
fn assert_each_once(log: &Log, expected: impl IntoIterator<Item = String>) {
    let (mut seen, mut expected) = (log.texts(), expected.into_iter().collect::<Vec<_>>());
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

/// A position that grows older than the retention is none: what events without records say of the place keeps it young.
#[tokio::test(start_paused = true)]
async fn t4_how_far_an_idle_shard_is_read_is_stored_now_and_then() {
    let (stream, store, log) =
        (Stream::new(1).poll(Duration::from_secs(60)), MemoryStore::new(), Log::default());
    stream.put(0, "a");
    let worker = Running::logging(builder(&stream, store.clone(), "w"), &log).await;
    log.until_count(1).await;
    until_position(&store, after(1)).await;
    stream.say_read_to(after(9));
    let hours = |hours: u64| sleep(Duration::from_secs(hours * 3_600));
    hours(5).await;
    assert_eq!(position(&store, &shard_id(0)).await, after(1), "no write for each event");
    hours(2).await;
    assert_eq!(position(&store, &shard_id(0)).await, after(9));
    assert!(worker.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn r4_a_closed_shard_that_was_read_to_its_end_is_never_leased_again() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put_all(0, &["a", "b"]);
    let first = Running::logging(audited(&stream, &store, "w1"), &log).await;
    log.until_count(2).await;
    let (low, _) = stream.split(0);
    stream.put(low, "c");
    log.until_count(3).await;
    let ended = |rows: &[LeaseRow]| row(rows, 0).is_some_and(|row| row.position.is_shard_end());
    let before = row(&until_leases(&store, ended).await, 0).unwrap().clone();
    // The stream lists it all the time: while workers audit, join, leave and start anew, nobody takes it.
    let mut started = vec![first.handle.events()];
    sleep(WHILE).await;
    let second = Running::logging(audited(&stream, &store, "w2"), &log).await;
    started.push(second.handle.events());
    sleep(WHILE).await;
    first.stop().await;
    let third = Running::logging(audited(&stream, &store, "w1").seed(3), &log).await;
    started.push(third.handle.events());
    sleep(WHILE).await;
    second.stop().await;
    stream.put(low, "d");
    stream.put(1, "e");
    log.until_count(5).await;
    assert_eq!(row(&leases(&store).await, 0), Some(&before), "nothing was written to it");
    for mut events in started {
        while let Ok(event) = events.try_recv() {
            let again = matches!(&event, Event { shard: Some(shard), kind: EventKind::ShardStarted { .. }, .. } if *shard == shard_id(0));
            assert!(!again, "{event:?}");
        }
    }
    assert_each_once(&log, ["a", "b", "c", "d", "e"].map(str::to_owned));
    third.stop().await;
}

#[tokio::test(start_paused = true)]
async fn r6_rows_of_ended_shards_stay_while_a_child_needs_them_or_the_stream_lists_them() {
    let (stream, store, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    stream.put_each(2, "parent");
    let mut running = Running::logging(audited(&stream, &store, "w0"), &log).await;
    log.until_count(2).await;
    // Of one parent a child gets no records yet; of the other both get some.
    let (forgotten, listed) = (stream.split(0), stream.split(1));
    for child in [forgotten.0, listed.0, listed.1] {
        stream.put(child, "child");
    }
    log.until_count(5).await;
    stream.forget(0);
    for life in 1..=3 {
        sleep(WHILE).await;
        running.stop().await;
        let rows = leases(&store).await;
        assert_eq!(rows.len(), 6, "life {life}");
        assert_eq!(row(&rows, forgotten.1).unwrap().position, Position::TrimHorizon);
        running = Running::logging(audited(&stream, &store, &format!("w{life}")), &log).await;
    }
    stream.put(forgotten.1, "late");
    log.until_count(6).await;
    // Nothing needs the one row any more. The other parent would come back without its row.
    until_leases(&store, |rows| row(rows, 0).is_none()).await;
    for life in 4..=6 {
        sleep(WHILE).await;
        running.stop().await;
        let rows = leases(&store).await;
        assert_eq!((rows.len(), row(&rows, 0)), (5, None), "life {life}");
        running = Running::logging(audited(&stream, &store, &format!("w{life}")), &log).await;
    }
    for child in [forgotten.0, forgotten.1, listed.0, listed.1] {
        stream.put(child, "last");
    }
    log.until_count(10).await;
    sleep(WHILE).await;
    let texts = [["parent"; 2].as_slice(), &["child"; 3], &["late"], &["last"; 4]].concat();
    assert_each_once(&log, texts.into_iter().map(str::to_owned));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn l6_with_the_row_of_a_shard_its_records_move_in_order_and_leave_their_old_worker() {
    let (stream, inner, log) = (Stream::new(2), MemoryStore::new(), Log::default());
    let link = FaultyStore::new(inner.clone(), 1);
    let first = Running::logging(builder(&stream, link.clone(), "w1"), &log).await;
    until_leases(&inner, |rows| (0..2).all(|shard| owner(rows, shard) == Some("w1"))).await;
    let (producer, count) = (stream.clone(), 600);
    let producing = tokio::spawn(async move {
        for number in 0..count {
            producer.put(number % 2, &number.to_string());
            sleep(Duration::from_millis(100)).await;
        }
    });
    log.until_count(40).await;

    // A share, from a live worker: nothing comes twice.
    let second = Running::logging(builder(&stream, inner.clone(), "w2"), &log).await;
    let rows = until_leases(&inner, |rows| (0..2).any(|shard| owner(rows, shard) == Some("w2"))).await;
    let moved = (0..2).find(|shard| owner(&rows, *shard) == Some("w2")).unwrap();
    let kept = 1 - moved;
    log.until(|seen| seen.iter().filter(|seen| seen.worker == "w2").count() >= 20).await;
    let of = |shard: usize| {
        let seen = log.seen().into_iter().filter(move |seen| seen.shard == shard_id(shard));
        seen.map(|seen| (seen.worker, seen.text.parse::<usize>().unwrap())).collect::<Vec<_>>()
    };
    let in_order = |came: &[(String, usize)]| came.windows(2).all(|pair| pair[0].1 + 2 == pair[1].1);
    let (came, stayed) = (of(moved), of(kept));
    let turn = came.iter().position(|(worker, _)| worker == "w2").unwrap();
    assert!(turn > 0 && came[turn..].iter().all(|(worker, _)| worker == "w2"), "{came:?}");
    assert!(stayed.iter().all(|(worker, _)| worker == "w1"), "{stayed:?}");
    assert!(in_order(&came) && in_order(&stayed), "each once, and in order");

    // The rest, by force, from one that is cut off and lives on: it handles nothing after its successor's first call.
    link.outage(true);
    until_leases(&inner, |rows| owner(rows, kept) == Some("w2")).await;
    producing.await.unwrap();
    let last = count - 2 + kept;
    log.until(|seen| seen.iter().any(|seen| seen.text == last.to_string())).await;
    sleep(Duration::from_secs(20)).await;
    let stayed = of(kept);
    let turn = stayed.iter().position(|(worker, _)| worker == "w2").unwrap();
    assert!(stayed[turn..].iter().all(|(worker, _)| worker == "w2"), "{stayed:?}");
    assert!(in_order(&stayed[..turn]) && in_order(&stayed[turn..]), "{stayed:?}");
    let (before, after) = (stayed[turn - 1].1, stayed[turn].1);
    assert!(after <= before + 2, "{after} after {before}: something was left out");
    assert!(in_order(&of(moved)), "the other shard does not notice");
    first.kill().await;
    second.stop().await;
}

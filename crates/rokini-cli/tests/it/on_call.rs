//! What whoever is called at night asks a group, and is told: drained workers, a table that throttles, frames that come at once.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rokini_local::{Database, Fault, FaultRule, Faults, LocalDynamo, LocalKinesis};
use rustix::process::Signal;
use serde_json::Value;

use crate::monitoring::Probe;
use crate::support::{Ended, Endpoints, LONGEST_WAIT, Local, Member};

/// With faults of the table.
async fn with_faults() -> (Local, Faults) {
    let (kinesis, faults) =
        (LocalKinesis::builder().stream("orders", 2).start().await.unwrap(), Faults::new(1));
    let (database, address) = (Database::memory().unwrap(), (Ipv4Addr::LOCALHOST, 0).into());
    let dynamo = LocalDynamo::with_faults(database, address, faults.clone()).await.unwrap();
    let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
    (Local { kinesis, dynamo, endpoints }, faults)
}

/// A worker with a probe, whose calls to the table carry this access key.
async fn worker(local: &Local, key: &str, more: &[&str]) -> (Member, Probe) {
    let monitored = ["--set", "monitoring=prometheus", "--set", "monitoring_listen=127.0.0.1:0"];
    let arguments = ["consume", "orders", "--group", "g", "--worker", "w", "--json"];
    let mut command = local.rokini(&[&arguments[..], &monitored, more].concat());
    command.env("AWS_ACCESS_KEY_ID", key);
    let mut member = Member::spawn(command);
    let probe = Probe::of(&mut member).await;
    probe.until_ready().await;
    member.until("its shards", |member| member.stderr().matches("started at").count() == 2).await;
    (member, probe)
}

/// What `group why` says, until it is as wanted.
async fn until_why(local: &Local, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let ended = local.run(&["group", "why", "g", "--json"]).await;
        let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        if wanted(&said) {
            return said;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{what}: {said:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn o12_drained_workers_are_said_to_be_drained_and_how_to_take_that_back() {
    let local = Local::start(2).await;
    let (mut member, _probe) = worker(&local, "local", &[]).await;
    let drained = local.run(&["group", "drain", "g", "w", "--json"]).await;
    let order: Value = serde_json::from_str(&drained.stdout).unwrap();
    let order = order["order"].as_str().unwrap().to_owned();
    let said = until_why(&local, "nobody has them", |said| {
        said["shards"].as_array().unwrap().iter().all(|shard| shard["state"] == "free")
    });
    let said = said.await;
    let undo = format!("`rokini group undo g {order}`");
    for shard in said["shards"].as_array().unwrap() {
        let text = |member: &str| shard[member].as_str().unwrap().to_owned();
        assert!(text("why").contains("are drained: w since ") && text("why").contains(&order), "{shard}");
        assert!(text("next").starts_with(&undo), "{shard}");
    }
    let shown = local.run(&["group", "show", "g"]).await.done();
    assert!(shown.contains("drained"), "{shown}");
    local.run(&["group", "undo", "g", &order, "--yes"]).await.done();
    let well = until_why(&local, "it takes part", |said| said["moves"] == true).await;
    assert_eq!(well["shards"].as_array().unwrap().len(), 0, "{well}");
    assert_eq!(member.stop().await, Some(0));
}

#[tokio::test]
async fn o12_a_table_that_throttles_is_named_whatever_it_throttles() {
    let (local, faults) = with_faults().await;
    let (mut member, probe) = worker(&local, "theirs", &["--failover", "5s"]).await;
    let until_not_ready = async |code: &str| {
        let begun = Instant::now();
        loop {
            let (status, said) = probe.get("/readyz").await;
            if status == 503 && said.contains(code) {
                return;
            }
            assert!(begun.elapsed() < LONGEST_WAIT, "{code}: {status} {said}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let throttle = |operation: &str| FaultRule::on(operation, Fault::Throttle);

    // What only that worker is refused: it says so itself, with the heartbeats that go through.
    let rule = faults.add(throttle("Query").caller("theirs"));
    until_not_ready("coordination-stalled").await;
    let said = until_why(&local, "the worker says it", |said| !said["workers"][0].is_null()).await;
    assert_eq!(
        (&said["workers"][0]["cause"], &said["moves"]),
        (&"coordination-stalled".into(), &true.into())
    );
    assert!(said["workers"][0]["why"].as_str().unwrap().contains("have not been read for"), "{said}");
    assert!(said["workers"][0]["next"].as_str().unwrap().contains("dynamodb:Query"), "{said}");
    let text = local.run(&["group", "why", "g"]).await;
    assert!(text.status == Some(1) && text.stdout.contains("worker w is not ready: "), "{text:?}");
    let shown = local.run(&["group", "show", "g"]).await.done();
    assert!(shown.contains("w is not ready: the worker rows have not been read"), "{shown}");
    assert!(faults.remove(rule));
    until_why(&local, "it reads them again", |said| said["workers"].as_array().unwrap().is_empty()).await;
    probe.until_ready().await;

    // Reads of everybody: nobody can tell, and that is said.
    let rule = faults.add(throttle("Query"));
    local
        .run(&["group", "why", "g"])
        .await
        .refused(4, &["DynamoDB slows down", "next: give the table more capacity"]);
    assert!(faults.remove(rule));

    // Writes of everybody: no heartbeat arrives, and the table is asked why.
    let rule = faults.add(throttle("UpdateItem"));
    until_not_ready("no-heartbeat").await;
    let said = until_why(&local, "nobody writes", |said| said["shards"][0]["state"] == "orphaned").await;
    let (why, next) =
        (said["shards"][0]["why"].as_str().unwrap(), said["shards"][0]["next"].as_str().unwrap());
    assert!(why.contains("the table takes no writes") && next.contains("capacity"), "{said}");
    assert!(faults.remove(rule));
    until_why(&local, "it beats again", |said| said["moves"] == true).await;

    // All of it.
    faults.add(FaultRule::always(Fault::Throttle));
    let refused = local.run(&["group", "why", "g"]).await;
    faults.clear();
    refused.refused(4, &["DynamoDB slows down", "next: give the table more capacity"]);
    member.signal(Signal::KILL);
    member.ended().await;
}

#[tokio::test]
async fn o4_frames_of_a_watch_come_at_once_though_nobody_beats() {
    let local = Local::start(2).await;
    let mut member = local.consume("orders", "g", "w", &["--failover", "30s"]);
    member.until("its shards", |member| member.stderr().matches("started at").count() == 2).await;
    member.signal(Signal::STOP);
    for command in ["show", "lag"] {
        let begun = Instant::now();
        let mut shown = Member::spawn(local.rokini(&["group", command, "g", "--watch=200ms", "--json"]));
        shown.until("three frames", |shown| shown.lines().len() >= 3).await;
        // A heartbeat would be waited for by 30 s of 12 s each.
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        assert!(shown.stop().await.is_some());
    }
    member.signal(Signal::CONT);
    assert_eq!(member.stop().await, Some(0));
}

#[tokio::test]
async fn o13_a_seek_of_a_shard_that_is_caught_up_says_that_no_record_is_in_between() {
    let local = Local::start(1).await;
    let mut member = local.consume("orders", "g", "w", &["--start", "trim_horizon"]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    let says = async |to: &str| seek_says(&local, to).await;
    // Nothing ever came.
    for to in ["latest", "trim_horizon", "-1m"] {
        assert_eq!(says(to).await["direction"], "nowhere", "{to}");
    }
    local.put_evenly("orders", ["a".to_owned()]).await;
    member.until("the record", |member| member.lines().len() == 1).await;
    assert_eq!(member.stop().await, Some(0));
    // The stream's time has whole seconds: until the next one the record comes again.
    until(&local, "nowhere").await;
    let back = says("trim_horizon").await;
    assert_eq!(back["direction"], "back", "{back}");
    local.put_evenly("orders", ["b".to_owned()]).await;
    until(&local, "forward").await;
}

/// What a dry run says of the only shard.
async fn seek_says(local: &Local, to: &str) -> Value {
    let arguments = ["group", "seek", "g", "--to", to, "--dry-run", "--json"];
    let shown: Value = serde_json::from_str(&local.run(&arguments).await.done()).unwrap();
    shown["shards"][0].clone()
}

/// Until a seek to the tip leads there.
async fn until(local: &Local, direction: &str) {
    let begun = Instant::now();
    loop {
        let said = seek_says(local, "latest").await;
        if said["direction"] == direction {
            return;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{direction}: {said}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn o13_a_refused_undo_names_the_order_that_can_be_taken_back() {
    let local = Local::start(2).await;
    let mut member = local.consume("orders", "g", "w", &["--start", "latest"]);
    member.until("its shards", |member| member.stderr().matches("started at").count() == 2).await;
    assert_eq!(member.stop().await, Some(0));
    local.run(&["group", "undo", "g", "--yes"]).await.refused(
        2,
        &[
            "there is no order to undo",
            "next: `rokini group history g` lists the orders; none of them can be taken back now",
        ],
    );
    let seek = async |to: &str| -> String {
        let arguments = ["group", "seek", "g", "--to", to, "--yes", "--json"];
        let done: Value = serde_json::from_str(&local.run(&arguments).await.done()).unwrap();
        done["order"].as_str().unwrap().to_owned()
    };
    let (first, second) = (seek("trim_horizon").await, seek("latest").await);
    let can = format!("`rokini group undo g {second}`");
    for order in [first.as_str(), "0"] {
        let refused: Ended = local.run(&["group", "undo", "g", order, "--yes"]).await;
        refused.refused(2, &["error: ", "next: `rokini group history g`", &can]);
    }
}

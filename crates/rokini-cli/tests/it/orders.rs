//! Orders to a running fleet: each says what it will do, does that and nothing else, and is taken back as one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::support::{LONGEST_WAIT, Local, Member};

const QUICK: [&str; 6] = ["--failover", "30s", "--heartbeat", "300ms", "--checkpoint-interval", "0s"];

async fn json(local: &Local, arguments: &[&str]) -> Value {
    let ended = local.run(&[&["group"], arguments, &["--json"]].concat()).await;
    serde_json::from_str(&ended.done()).unwrap()
}

/// By shard: owner and position.
async fn leases(local: &Local) -> BTreeMap<String, (Value, Value)> {
    let shown = json(local, &["show", "g", "--quick"]).await;
    let leases = shown["leases"].as_array().unwrap().iter();
    leases
        .map(|lease| {
            let shard = lease["shard"].as_str().unwrap().to_owned();
            (shard, (lease["owner"].clone(), lease["position"].clone()))
        })
        .collect()
}

async fn until(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
    while !wanted().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn o13_an_order_is_taken_back_as_one_and_leaves_the_rest_alone() {
    let local = Local::start(2).await;
    let mut member = local.consume("orders", "g", "w", &QUICK);
    let put = local.put_evenly("orders", (0..20).map(|n| n.to_string())).await;
    member.until("the records", |member| member.data().len() == 20).await;
    assert_eq!(member.stop().await, Some(0));
    let stood = leases(&local).await;
    let (zero, one) = ("shardId-000000000000", "shardId-000000000001");
    let position = async |shard: &str| leases(&local).await[shard].1.clone();

    // What it says it will do.
    let sought = put.iter().find(|(shard, _)| shard == zero).unwrap();
    let to = format!("after:{}", sought.1);
    let seek = ["seek", "g", "--shard", "0", "--to", &to];
    let dry = json(&local, &[&seek[..], &["--dry-run"]].concat()).await;
    assert_eq!((&dry["shards"][0]["direction"], &dry["order"]), (&"back".into(), &Value::Null), "{dry}");
    assert!(dry["shards"][0]["over_millis"].is_u64(), "{dry}");
    assert_eq!(leases(&local).await, stood);

    // A record that the shard cannot have is refused before anything is written.
    for bad in ["after:123", "at:123"] {
        let bad = local.run(&["group", "seek", "g", "--shard", "0", "--to", bad, "--yes"]).await;
        bad.refused(2, &["cannot have record 123", "next:"]);
        assert!(!bad.stderr.contains("report it"), "{}", bad.stderr);
    }
    assert_eq!(leases(&local).await, stood);

    let first = json(&local, &[&seek[..], &["--yes"]].concat()).await;
    let first = first["order"].as_str().unwrap().to_owned();
    let second = json(&local, &["seek", "g", "--shard", "1", "--to", "trim_horizon", "--yes"]).await;
    let second = second["order"].as_str().unwrap().to_owned();

    // The first alone.
    json(&local, &["undo", "g", &first, "--yes"]).await;
    assert_eq!(position(zero).await, stood[zero].1);
    assert_eq!(position(one).await, "TRIM_HORIZON");
    local.run(&["group", "undo", "g", &first, "--yes"]).await.refused(2, &["taken back already"]);
    json(&local, &["undo", "g", &second, "--yes"]).await;
    assert_eq!(leases(&local).await, stood);
    // The last one is that undoing: taken back in its turn.
    json(&local, &["undo", "g", "--yes"]).await;
    assert_eq!((position(zero).await, position(one).await), (stood[zero].1.clone(), "TRIM_HORIZON".into()));

    // One whose positions were set again since.
    json(&local, &["seek", "g", "--to", "trim_horizon", "--yes"]).await;
    let later = local.run(&["group", "undo", "g", "0", "--yes"]).await;
    later.refused(2, &["there is no order 0"]);

    json(&local, &["pause", "g", "--shard", "1"]).await;
    json(&local, &["undo", "g", "--yes"]).await;
    let shown = json(&local, &["show", "g", "--quick"]).await;
    assert!(shown["leases"].as_array().unwrap().iter().all(|lease| lease["paused"] == false), "{shown}");

    let history = json(&local, &["history", "g"]).await;
    let kinds: Vec<&str> =
        history["orders"].as_array().unwrap().iter().map(|order| order["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["seek", "seek", "undo", "undo", "undo", "seek", "pause", "resume"]);
    assert_eq!((&history["orders"][0]["order"], &history["orders"][0]["shards"]), (&first.into(), &1.into()));
    local.run(&["group", "history", "g"]).await.done();
}

#[tokio::test]
async fn o13_shards_move_and_a_worker_is_emptied() {
    let local = Local::start(4).await;
    let mut a = local.consume("orders", "g", "a", &QUICK);
    a.until("all shards", |a| a.stderr().matches("started at").count() == 4).await;
    let mut b = local.consume("orders", "g", "b", &QUICK);
    b.until("its share", |b| b.stderr().matches("started at").count() == 2).await;
    let owned = async |name: &str| {
        let leases = leases(&local).await;
        leases.into_iter().filter(|(_, (owner, _))| owner == name).map(|(shard, _)| shard).collect::<Vec<_>>()
    };
    until("two each", async || owned("a").await.len() == 2 && owned("b").await.len() == 2).await;
    assert_eq!(json(&local, &["audit", "g"]).await["findings"], Value::Array(Vec::new()));

    let shard = owned("a").await[0].clone();
    let stood = (leases(&local).await, json(&local, &["history", "g"]).await);
    let planned = json(&local, &["move", "g", &shard, "b", "--dry-run"]).await;
    assert_eq!((&planned["dry_run"], &planned["order"]), (&true.into(), &Value::Null), "{planned}");
    assert_eq!(planned["leases"][0].as_str().unwrap().rsplit_once('#').unwrap().1, shard);
    let planned = json(&local, &["drain", "g", "a", "--dry-run"]).await;
    let would_go: Vec<&str> =
        planned["leases"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(would_go.len(), 2, "{planned}");
    assert!(owned("a").await.iter().all(|shard| would_go.iter().any(|lease| lease.ends_with(shard))));
    assert_eq!((leases(&local).await, json(&local, &["history", "g"]).await), stood, "nothing was done");

    let moved = json(&local, &["move", "g", &shard, "b"]).await;
    assert_eq!(moved["done"], true);
    // It stays there, and another one makes up for it.
    until("two each again", async || owned("a").await.len() == 2 && owned("b").await.len() == 2).await;
    assert!(owned("b").await.contains(&shard), "{:?}", leases(&local).await);
    let shown = json(&local, &["show", "g", "--quick"]).await;
    for lease in shown["leases"].as_array().unwrap() {
        let kept = if lease["shard"] == shard.as_str() { "b".into() } else { Value::Null };
        assert_eq!(lease["pinned_to"], kept, "{lease}");
    }
    let why = local.run(&["group", "why", "g", "--shard", &shard]).await.done();
    assert!(why.contains("an operator keeps it with b: `rokini group move g"), "{why}");
    local.run(&["group", "move", "g", &shard, "b"]).await.refused(2, &["`b` has lease", "already"]);
    let unpinned = json(&local, &["move", "g", &shard, "--unpin"]).await;
    assert_eq!(json(&local, &["why", "g", "--shard", &shard]).await["shards"][0]["pinned_to"], Value::Null);
    json(&local, &["undo", "g", unpinned["order"].as_str().unwrap(), "--yes"]).await;
    assert_eq!(json(&local, &["why", "g", "--shard", &shard]).await["shards"][0]["pinned_to"], "b");
    json(&local, &["move", "g", &shard, "--unpin"]).await;
    until("two each", async || owned("a").await.len() == 2 && owned("b").await.len() == 2).await;
    let shard = owned("a").await[0].clone();
    let moved = json(&local, &["move", "g", &shard, "b"]).await;
    // Taken back, and that too.
    for (owner, other) in [("a", "b"), ("b", "a")] {
        json(&local, &["undo", "g", "--dry-run"]).await;
        assert!(owned(other).await.contains(&shard), "a dry run does nothing");
        json(&local, &["undo", "g", "--yes"]).await;
        until("the shard is back", async || owned(owner).await.contains(&shard)).await;
    }
    local
        .run(&["group", "undo", "g", moved["order"].as_str().unwrap(), "--yes"])
        .await
        .refused(2, &["taken back"]);
    local.run(&["group", "move", "g", &shard, "nobody"]).await.refused(2, &["no live worker `nobody`"]);

    let drained = json(&local, &["drain", "g", "b"]).await;
    assert_eq!(drained["done"], true);
    assert!(owned("b").await.is_empty(), "{:?}", leases(&local).await);
    until("all of it", async || owned("a").await.len() == 4).await;
    let listed = json(&local, &["list"]).await;
    assert_eq!(listed["groups"][0]["workers"], 2, "it lives, without work");

    // It takes part again, and is drained once more.
    json(&local, &["undo", "g", "--yes"]).await;
    until("its share again", async || owned("b").await.len() == 2).await;
    // Whoever deletes the group learns of both.
    let delete = local.run(&["group", "delete", "g", "--yes"]).await;
    delete.refused(1, &["error: group `g` has live workers: a, b", "next: stop them first"]);
    json(&local, &["undo", "g", "--yes"]).await;
    until("all of it again", async || owned("a").await.len() == 4).await;

    // Who is killed is not counted.
    b.signal(rustix::process::Signal::KILL);
    b.ended().await;
    let listed = json(&local, &["list"]).await;
    assert_eq!(listed["groups"][0]["workers"], 1, "{listed}");
    // And is given no order, which it would not carry out.
    let shard = owned("a").await[0].clone();
    let orders = json(&local, &["history", "g"]).await["orders"].clone();
    for order in [&["group", "drain", "g", "b"][..], &["group", "move", "g", &shard, "b"]] {
        local.run(order).await.refused(1, &["error: worker `b` has no heartbeat", "next: "]);
    }
    assert_eq!(json(&local, &["history", "g"]).await["orders"], orders);
    until_well(&mut a).await;
}

async fn until_well(member: &mut Member) {
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
}

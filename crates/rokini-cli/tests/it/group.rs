//! `group`: looks at a running fleet, and orders to it.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini_local::LocalKinesis;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Endpoints, LONGEST_WAIT, Local, Member};

const QUICK: [&str; 6] = ["--failover", "30s", "--heartbeat", "300ms", "--checkpoint-interval", "0s"];

async fn json(endpoints: &Endpoints, arguments: &[&str]) -> Value {
    let ended = endpoints.run(&[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&ended.done()).unwrap()
}

async fn leases(endpoints: &Endpoints) -> Vec<Value> {
    json(endpoints, &["group", "show", "g", "--quick"]).await["leases"].as_array().unwrap().clone()
}

/// By shard.
async fn positions(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let text = |lease: &Value, name: &str| lease[name].as_str().unwrap().to_owned();
    leases(endpoints).await.iter().map(|lease| (text(lease, "shard"), text(lease, "position"))).collect()
}

async fn put(endpoints: &Endpoints, numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
    endpoints.put_evenly("orders", numbers.map(|n| n.to_string())).await
}

/// How often each number came, to all of them.
fn counts(members: &[&Member]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for data in members.iter().flat_map(|member| member.data()) {
        *counts.entry(data.parse().unwrap()).or_default() += 1;
    }
    counts
}

/// How often they began to read a shard.
fn starts(members: &[&Member]) -> usize {
    members.iter().map(|member| member.stderr().matches("started at").count()).sum()
}

async fn until(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
    while !wanted().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The position of each shard once these records are done.
fn behind(put: &[(String, String)]) -> BTreeMap<String, String> {
    put.iter().map(|(shard, sequence)| (shard.clone(), format!("AFTER:{sequence}"))).collect()
}

/// Waits until these are the positions: a record is written to standard output before its position is stored.
async fn until_stored(endpoints: &Endpoints, wanted: &BTreeMap<String, String>) {
    until("the positions", async || positions(endpoints).await == *wanted).await;
}

/// Two members with two shards each, which have read and stored these records.
async fn fleet(local: &Local, numbers: u32) -> (Member, Member) {
    let mut a = local.consume("orders", "g", "a", &QUICK);
    a.until("all shards", |a| a.stderr().matches("started at").count() == 4).await;
    let mut b = local.consume("orders", "g", "b", &QUICK);
    b.until("its share", |b| b.stderr().matches("started at").count() == 2).await;
    let numbers = 0..numbers;
    let put = put(local, numbers.clone()).await;
    until("the records", async || counts(&[&a, &b]).len() == numbers.len()).await;
    until_stored(local, &behind(&put)).await;
    (a, b)
}

#[tokio::test]
async fn o1_seek_by_time_sequence_horizon_and_latest_on_a_running_fleet() {
    let local = Local::start(4).await;
    let (mut a, mut b) = fleet(&local, 20).await;
    let between = local.kinesis.model().now().millis() + 1;
    until("the next millisecond", async || local.kinesis.model().now().millis() > between).await;
    let second = put(&local, 20..40).await;
    until("the records", async || counts(&[&a, &b]).len() == 40).await;
    let stood = behind(&second);
    until_stored(&local, &stood).await;
    let before = leases(&local).await;

    // A dry run tells and does nothing.
    let dry = json(&local, &["group", "seek", "g", "--to", "trim_horizon", "--dry-run"]).await;
    assert_eq!((dry["dry_run"].as_bool(), dry["shards"].as_array().unwrap().len()), (Some(true), 4));
    for step in dry["shards"].as_array().unwrap() {
        assert_eq!(
            (&step["from"], &step["to"]),
            (&stood[step["shard"].as_str().unwrap()].as_str().into(), &"TRIM_HORIZON".into())
        );
        assert_eq!(step["written"], false);
    }
    assert_eq!(positions(&local).await, stood);

    // From the horizon everything comes once more, under new epochs.
    json(&local, &["group", "seek", "g", "--to", "trim_horizon", "--yes"]).await;
    until("everything again", async || counts(&[&a, &b]).values().all(|count| *count == 2)).await;
    until_stored(&local, &stood).await;
    for (old, new) in before.iter().zip(leases(&local).await) {
        assert!(new["epoch"].as_u64() > old["epoch"].as_u64(), "{old}\n{new}");
    }

    // From a time, only what came since.
    json(&local, &["group", "seek", "g", "--to", &between.to_string(), "--yes"]).await;
    let expected = |number: &u32| if *number < 20 { 2 } else { 3 };
    until("the second half again", async || counts(&[&a, &b]).iter().all(|(n, count)| *count == expected(n)))
        .await;
    until_stored(&local, &stood).await;

    // One shard from a record on: the first of the second half that went there.
    let (shard, sequence) = &second[0];
    let to = format!("at:{sequence}");
    let told = json(&local, &["group", "seek", "g", "--to", &to, "--shard", shard, "--yes"]).await;
    assert_eq!(
        (told["shards"].as_array().unwrap().len(), &told["shards"][0]["shard"]),
        (1, &shard.as_str().into())
    );
    let again = (20..)
        .zip(&second)
        .filter(|(_, (on, _))| on == shard)
        .map(|(number, _)| number)
        .collect::<Vec<u32>>();
    let expected = |number: &u32| expected(number) + usize::from(again.contains(number));
    until("that shard again", async || counts(&[&a, &b]).iter().all(|(n, count)| *count == expected(n)))
        .await;
    until_stored(&local, &stood).await;

    // To the tip: nothing comes again, and what comes is new once the holders have heard of it. The stream's time
    // has whole seconds.
    let put_by = local.kinesis.model().now().millis() + 1000;
    until("the next second", async || local.kinesis.model().now().millis() > put_by).await;
    // Lines and messages come by two pipes: 4 shards by a, 2 handed to b, 4 and 4 and 1 sought.
    until("the starts so far", async || starts(&[&a, &b]) >= 15).await;
    let started = starts(&[&a, &b]);
    json(&local, &["group", "seek", "g", "--to", "latest", "--yes"]).await;
    until("all to begin anew", async || starts(&[&a, &b]) >= started + 4).await;
    put(&local, 40..50).await;
    until("the new records", async || counts(&[&a, &b]).len() == 50).await;
    assert!(counts(&[&a, &b]).iter().all(|(n, count)| *count == if *n < 40 { expected(n) } else { 1 }));
    for member in [&mut a, &mut b] {
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
}

#[tokio::test]
async fn o1_undo_takes_a_seek_back() {
    let local = Local::start(2).await;
    let mut member = local.consume("orders", "g", "w", &QUICK);
    put(&local, 0..10).await;
    member.until("the records", |member| member.data().len() == 10).await;
    assert_eq!(member.stop().await, Some(0));
    let stood = positions(&local).await;
    local
        .run(&["group", "undo", "g", "--yes"])
        .await
        .refused(2, &["error: ", "seek", "next: `rokini group history g`"]);

    json(&local, &["group", "seek", "g", "--to", "trim_horizon", "--yes"]).await;
    assert!(positions(&local).await.values().all(|position| position == "TRIM_HORIZON"));
    let dry = json(&local, &["group", "undo", "g", "--dry-run"]).await;
    assert_eq!(dry["shards"].as_array().unwrap().len(), 2);
    assert!(positions(&local).await.values().all(|position| position == "TRIM_HORIZON"));
    json(&local, &["group", "undo", "g", "--yes"]).await;
    assert_eq!(positions(&local).await, stood);

    put(&local, 10..12).await;
    let mut member = local.consume("orders", "g", "w", &QUICK);
    member.until("what is new", |member| member.data().len() == 2).await;
    assert_eq!(member.stop().await, Some(0));
    let mut data = member.data();
    data.sort();
    assert_eq!(data, ["10", "11"], "nothing came again");
}

/// The member is frozen while it holds the lease, thawed after the seek, and has a position of its own to store when it stops.
#[tokio::test]
async fn o1_no_stale_checkpoint_overwrites_a_seek() {
    let local = Local::start(1).await;
    let manual = ["--failover", "30s", "--heartbeat", "300ms", "--checkpoint-interval", "10m"];
    let mut member = local.consume("orders", "g", "w", &manual);
    for part in 0..3 {
        put(&local, part * 10..part * 10 + 10).await;
        member.until("the records", |member| member.data().len() == part as usize * 10 + 10).await;
    }
    member.signal(Signal::STOP);
    let told = json(&local, &["group", "seek", "g", "--to", "trim_horizon", "--yes"]).await;
    assert_eq!((&told["shards"][0]["owner"], &told["shards"][0]["written"]), (&"w".into(), &true.into()));
    member.signal(Signal::CONT);
    member.until("everything again", |member| counts(&[member]).values().all(|count| *count == 2)).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(positions(&local).await["shardId-000000000000"].starts_with("AFTER:"));
}

#[tokio::test]
async fn o4_one_view_says_where_each_shard_is_and_why_it_does_not_move() {
    let local = Local::start(4).await;
    let (mut a, mut b) = fleet(&local, 40).await;
    let show = async || json(&local, &["group", "show", "g"]).await;
    let shown = show().await;
    for lease in shown["leases"].as_array().unwrap() {
        assert_eq!(
            (&lease["state"], &lease["lag_millis"], &lease["why"]),
            (&"reading".into(), &0.into(), &Value::Null)
        );
        assert!(["a", "b"].contains(&lease["owner"].as_str().unwrap()) && lease["epoch"].as_u64() > Some(0));
        assert!(lease["position"].as_str().unwrap().starts_with("AFTER:"));
    }
    local.run(&["group", "why", "g"]).await.done();

    // One of them is frozen: its shards stand, and the age of what waits there grows.
    b.signal(Signal::STOP);
    let wanted = behind(&put(&local, 40..80).await);
    let has = |lease: &&Value| lease["owner"] == "a";
    until("a's part", async || {
        let (leases, stored) = (leases(&local).await, positions(&local).await);
        let shards = leases.iter().filter(has).map(|lease| lease["shard"].as_str().unwrap());
        shards.clone().count() == 2 && shards.into_iter().all(|shard| stored[shard] == wanted[shard])
    })
    .await;
    let put_by = local.kinesis.model().now().millis();
    until("that age", async || local.kinesis.model().now().millis() > put_by + 1200).await;
    let shown = show().await;
    let lives: BTreeMap<_, _> = shown["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| (w["name"].as_str().unwrap(), w["state"].as_str().unwrap()))
        .collect();
    assert_eq!(lives, BTreeMap::from([("a", "alive"), ("b", "silent")]));
    for lease in shown["leases"].as_array().unwrap() {
        let frozen = lease["owner"] == "b";
        assert_eq!(lease["state"], if frozen { "orphaned" } else { "reading" }, "{lease}");
        assert_eq!(lease["lag_millis"].as_u64().unwrap() >= 1000, frozen, "{lease}");
        assert_eq!(
            lease["why"].as_str().is_some_and(|why| why.contains("b has it, but has no heartbeat")),
            frozen
        );
    }
    let why = local.run(&["group", "why", "g"]).await;
    assert_eq!((why.status, why.stdout.matches(" is orphaned: b has it").count()), (Some(1), 2), "{why:?}");
    b.signal(Signal::CONT);
    until("the rest", async || counts(&[&a, &b]).len() == 80).await;
    until_stored(&local, &wanted).await;

    // Nobody is left: the shards are free, and lag still rises.
    for member in [&mut a, &mut b] {
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
    put(&local, 80..120).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let table = local.run(&["group", "show", "g"]).await.done();
    assert_eq!(table.matches("free   no worker of the group is alive").count(), 4, "{table}");
    let lag = local.run(&["group", "lag", "g", "--json"]).await.done();
    let lag: Value = serde_json::from_str(&lag).unwrap();
    assert!(lag["most_millis"].as_u64().unwrap() >= 1000, "{lag}");
    assert_eq!(lag["shards"].as_array().unwrap().len(), 4);
}

/// How long ago a member last read.
async fn quiet_for(local: &Local) -> Duration {
    let reads = local.kinesis.calls().into_iter().filter(|call| call.operation == "GetRecords");
    let last = reads.map(|call| call.at.millis()).max().unwrap_or(0);
    Duration::from_millis(u64::try_from(local.kinesis.model().now().millis() - last).unwrap())
}

#[tokio::test]
async fn o11_a_pause_keeps_the_leases_stops_the_reads_and_expires_nothing() {
    let local = Local::start(4).await;
    let (mut a, mut b) = fleet(&local, 20).await;
    let held = leases(&local).await;
    let (began, paused) = (local.kinesis.model().now().millis(), Duration::from_secs(3));
    assert_eq!(json(&local, &["group", "pause", "g"]).await["paused"], true);
    until("no reads", async || quiet_for(&local).await > paused).await;
    let last = local.kinesis.calls().iter().rev().find(|call| call.operation == "GetRecords").unwrap().at;
    eprintln!("the last read came {} ms after the command began", last.millis() - began);

    put(&local, 20..40).await;
    // Every iterator expires; a member that comes keeps to the pause too.
    local.kinesis.advance(Duration::from_secs(360));
    let mut c = local.consume("orders", "g", "c", &QUICK);
    c.until("its share", |c| c.stderr().contains("started at")).await;
    let shown = json(&local, &["group", "show", "g"]).await;
    assert!(shown["paused_at"].is_string());
    for lease in shown["leases"].as_array().unwrap() {
        assert_eq!((&lease["state"], &lease["owner"].is_string()), (&"paused".into(), &true), "{lease}");
        let before = held.iter().find(|row| row["shard"] == lease["shard"]).unwrap();
        assert!(lease["owner"] == "c" || lease["epoch"] == before["epoch"], "{before}\n{lease}");
    }
    assert_eq!(counts(&[&a, &b, &c]).len(), 20, "nothing came");

    // One shard stays paused by itself.
    let told = json(&local, &["group", "pause", "g", "--shard", "0"]).await;
    assert_eq!(told["leases"].as_array().unwrap().len(), 1);
    let resumed = local.run(&["group", "resume", "g"]).await;
    assert!(resumed.stderr.contains("`rokini group resume g --shard shardId-000000000000`"), "{resumed:?}");
    let others = |members: &[&Member]| {
        let lines = members.iter().flat_map(|member| member.lines());
        let shards = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        shards
            .filter(|line| line["data"].as_str().unwrap().parse::<u32>().unwrap() >= 20)
            .map(|line| line["shard"].as_str().unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    until("the other shards", async || others(&[&a, &b, &c]).len() == 3).await;
    assert!(!others(&[&a, &b, &c]).contains("shardId-000000000000"));
    json(&local, &["group", "resume", "g", "--shard", "0"]).await;
    until("all of it", async || counts(&[&a, &b, &c]).len() == 40).await;
    assert!(counts(&[&a, &b, &c]).values().all(|count| *count == 1), "each once");
    for member in [&mut a, &mut b, &mut c] {
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
}

#[tokio::test]
async fn a_finished_shard_and_its_children() {
    let local = Local::start(1).await;
    let mut member = local.consume("orders", "g", "w", &QUICK);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    let client = crate::fleet::kinesis(&local);
    let split = client.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key((1u128 << 127).to_string()).send().await.unwrap();
    member.until("the children", |member| member.stderr().matches("started at").count() == 3).await;
    let shown = json(&local, &["group", "show", "g"]).await;
    let states: Vec<_> =
        shown["leases"].as_array().unwrap().iter().map(|lease| lease["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["ended", "reading", "reading"]);
    let why = local.run(&["group", "why", "g", "--shard", "0"]).await.done();
    assert_eq!(why, "shardId-000000000000 is ended\n");
    assert_eq!(member.stop().await, Some(0));
}

/// The rows have a stream's bare name, and the commands ask the caller's account.
#[tokio::test]
async fn o4_a_stream_of_another_account_is_not_taken_for_gone() {
    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    const HINT: &str = "if it is another account's, `--stream arn:aws:kinesis:REGION:ACCOUNT:stream/orders`";
    let local = Local::start(2).await;
    let mut member = local.consume(ARN, "g", "w", &QUICK);
    let wanted = behind(&put(&local, 0..10).await);
    member.until("the records", |member| member.data().len() == 10).await;
    until_stored(&local, &wanted).await;

    let other = LocalKinesis::builder().start().await.unwrap();
    let there = Endpoints::new(other.endpoint_url(), local.dynamo.endpoint_url());
    let lag = there.run(&["group", "lag", "g"]).await;
    assert!(lag.status == Some(1) && lag.stdout.contains(HINT), "{lag:?}");
    let show = there.run(&["group", "show", "g"]).await;
    assert!(
        show.status == Some(0) && !show.stdout.contains("gone") && show.stderr.contains(HINT),
        "{show:?}"
    );
    let why = there.run(&["group", "why", "g"]).await;
    assert!(why.status == Some(1) && !why.stdout.contains("nothing needs to be done"), "{why:?}");
    assert!(why.stderr.contains(HINT), "{why:?}");
    let seek = ["group", "seek", "g", "--to", "-10m", "--dry-run"];
    there.run(&seek).await.refused(2, &["stream `orders` does not exist", "next: ", HINT]);

    // Named in full it is found, or is gone for certain.
    let named = json(&local, &["group", "lag", "g", "--stream", ARN]).await;
    assert_eq!((&named["most_millis"], named["shards"].as_array().unwrap().len()), (&0.into(), 2));
    assert_eq!(json(&local, &[&seek[..], &["--stream", ARN]].concat()).await["dry_run"], true);
    let shown = json(&there, &["group", "show", "g", "--stream", ARN]).await;
    assert!(shown["leases"].as_array().unwrap().iter().all(|lease| lease["state"] == "gone"), "{shown:#}");
    let lag = there.run(&["group", "lag", "g", "--stream", ARN, "--json"]).await;
    assert!(lag.status == Some(1) && lag.stdout.contains("does not exist"), "{lag:?}");
    assert_eq!(member.stop().await, Some(0));
}

#[tokio::test]
async fn groups_are_listed_and_deleted() {
    let local = Local::start(2).await;
    let mut g = local.consume("orders", "g", "w", &QUICK);
    let mut h = local.consume("orders", "h", "w", &QUICK);
    for member in [&mut g, &mut h] {
        member.until("its shards", |member| member.stderr().matches("started at").count() == 2).await;
    }
    let listed = json(&local, &["group", "list"]).await;
    let names: Vec<_> = listed["groups"].as_array().unwrap().iter().map(|group| &group["group"]).collect();
    assert_eq!(names, ["g", "h"]);
    assert_eq!(
        (&listed["groups"][0]["leases"], &listed["groups"][0]["streams"][0]),
        (&2.into(), &"orders".into())
    );

    local
        .run(&["group", "delete", "g"])
        .await
        .refused(
            2,
            &[
                "error: not confirmed, so nothing was done: delete group g for good, with the positions of 2 shards in 1 \
                 stream\n",
                "why: there is no terminal to ask on",
                "next: `rokini group delete g --yes`",
            ],
        );
    let alive = local.run(&["group", "delete", "g", "--yes"]).await;
    alive.refused(1, &["error: group `g` has live workers: w", "next: stop them first"]);
    assert_eq!(g.stop().await, Some(0));
    let asked = local.run(&["group", "delete", "g", "--json"]).await;
    asked.refused(2, &["not confirmed", "`--json` does not ask"]);
    let deleted = json(&local, &["group", "delete", "g", "--yes"]).await;
    assert_eq!((&deleted["leases"], &deleted["streams"]), (&2.into(), &1.into()));
    local.run(&["group", "show", "g"]).await.refused(2, &["no group `g`", "`rokini group list`"]);
    let listed = json(&local, &["group", "list"]).await;
    assert_eq!(listed["groups"].as_array().unwrap().len(), 1, "the other group is untouched");
    assert_eq!(h.stop().await, Some(0));
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused_with_the_next_step() {
    let local = Local::start(2).await;
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("its shards", |member| member.stderr().matches("started at").count() == 2).await;
    assert_eq!(member.stop().await, Some(0));
    let cases: [(&[&str], &[&str]); 7] = [
        (
            &["seek", "g", "--to", "trim_horizon"],
            &[
                "error: not confirmed",
                "move 2 shards of group g to other positions",
                "next: ",
                "`--dry-run`",
                "`--yes`",
            ],
        ),
        (
            &["seek", "g", "--to", "yesterday", "--yes"],
            &["expected `trim_horizon`", "after:<sequence number>"],
        ),
        (
            &["seek", "g", "--to", "at:5", "--yes"],
            &[
                "error: a sequence number belongs to one shard, but the order is for 2 shards",
                "next: name one by `--shard`",
            ],
        ),
        (&["seek", "g", "--to", "2199-01-01T00:00:00Z", "--yes"], &["error: ", "in the future"]),
        (&["seek", "nope", "--to", "latest", "--yes"], &["no group `nope`", "next: "]),
        (
            &["pause", "g", "--shard", "7"],
            &[
                "error: group `g` has no shard `7`",
                "next: its shards are shardId-000000000000, shardId-000000000001",
            ],
        ),
        (
            &["resume", "g", "--stream", "nope"],
            &["error: group `g` has no stream `nope`", "next: its streams are orders"],
        ),
    ];
    for (arguments, said) in cases {
        local.run(&[&["group"], arguments].concat()).await.refused(2, said);
    }
}

#[tokio::test]
async fn t4_a_group_with_fan_out_says_so_and_takes_its_registration_back_when_it_is_deleted() {
    let local = Local::start(2).await;
    let options = ["--set", "retrieval=fan_out", "--checkpoint-interval", "0s"];
    for (group, consumer) in [("g", "g"), ("h", "theirs")] {
        let named = format!("fan_out_consumer={consumer}");
        let mut member = local.consume("orders", group, "w", &[&options[..], &["--set", &named]].concat());
        local.put_evenly("orders", (0..10).map(|n| n.to_string())).await;
        member.until("the records", |member| member.lines().len() >= 10).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        let shown = json(&local, &["group", "show", group, "--quick"]).await;
        let stream = &shown["streams"][0];
        assert_eq!((&stream["consumer"], &stream["consumer_owned"]), (&consumer.into(), &true.into()));
        for lease in shown["leases"].as_array().unwrap() {
            assert_eq!(lease["retrieval"], "fan_out", "{lease}");
        }
    }
    let deleted = json(&local, &["group", "delete", "g", "--yes"]).await;
    assert_eq!(deleted["consumers"], serde_json::json!(["orders/g"]));
    // It is not there any more: another group of that name makes it anew.
    let kept = json(&local, &["group", "delete", "h", "--yes", "--keep-consumers"]).await;
    assert_eq!(kept["consumers"], serde_json::json!([]));
    let mut found =
        local.consume("orders", "i", "w", &[&options[..], &["--set", "fan_out_consumer=theirs"]].concat());
    found.until("the records", |member| member.lines().len() >= 20).await;
    assert_eq!(found.stop().await, Some(0));
    let deleted = json(&local, &["group", "delete", "i", "--yes"]).await;
    assert_eq!(deleted["consumers"], serde_json::json!([]), "it was there before");
}

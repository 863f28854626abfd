//! `import` and `export`: positions in the tables of other consumers, as those write them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_kinesis::types::StreamStatus;
use serde_json::Value;

use crate::fleet::kinesis;
use crate::support::{Local, Member, dynamodb};

type Item = HashMap<String, AttributeValue>;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.map(|(name, value)| (name.to_owned(), value)).into()
}

async fn make_table(client: &Client, table: &str, keys: &[&str]) {
    let mut call = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        let attribute = AttributeDefinition::builder().attribute_name(*name);
        call = call.attribute_definitions(attribute.attribute_type(ScalarAttributeType::S).build().unwrap());
        call = call
            .key_schema(KeySchemaElement::builder().attribute_name(*name).key_type(kind).build().unwrap());
    }
    call.send().await.unwrap();
}

async fn put_items(client: &Client, table: &str, items: impl IntoIterator<Item = Item>) {
    for item in items {
        client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }
}

/// What a group delivers until it is at the tip, in no order.
async fn delivered(local: &Local, group: &str, count: usize) -> BTreeSet<String> {
    let quick = ["--failover", "5s", "--heartbeat", "300ms", "--checkpoint-interval", "0s"];
    let mut member = local.consume("orders", group, "w", &quick);
    member.until("the records", |member: &Member| member.lines().len() >= count).await;
    member.stop().await;
    let data = member.data();
    assert_eq!(data.len(), count, "{data:?}");
    data.into_iter().collect()
}

/// A stream whose first shard was split, with records before and after, by shard.
async fn split_stream() -> (Local, BTreeMap<String, Vec<(String, String)>>) {
    let local = Local::start(2).await;
    let mut records: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut put = async |numbers: std::ops::Range<u32>| {
        let data: Vec<String> = numbers.map(|n| n.to_string()).collect();
        let places = local.put_evenly("orders", data.clone()).await;
        for ((shard, sequence), data) in places.into_iter().zip(data) {
            records.entry(shard).or_default().push((sequence, data));
        }
    };
    put(0..20).await;
    let split = kinesis(&local).split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key((1u128 << 126).to_string()).send().await.unwrap();
    until_active(&local).await;
    put(20..60).await;
    assert_eq!(records.len(), 4, "{records:?}");
    (local, records)
}

fn lease(shard: &str, checkpoint: &str, sub: u64) -> Item {
    item([
        ("leaseKey", s(shard)),
        ("leaseCounter", n(12)),
        ("ownerSwitchesSinceCheckpoint", n(0)),
        ("checkpoint", s(checkpoint)),
        ("checkpointSubSequenceNumber", n(sub)),
    ])
}

/// What a take-over from a table of the KCL would do, as JSON.
const DRY_RUN: [&str; 11] = [
    "import",
    "--from",
    "kcl",
    "--table",
    "app",
    "--stream",
    "orders",
    "--group",
    "g",
    "--dry-run",
    "--json",
];

#[tokio::test]
async fn a_group_goes_on_where_the_kcl_stopped_and_the_kcl_where_the_group_did() {
    let (local, records) = split_stream().await;
    let client = dynamodb(&local);
    make_table(&client, "app", &["leaseKey"]).await;
    let shard = |number: u32| format!("shardId-{number:012}");
    let [one, two] = [&records[&shard(1)], &records[&shard(2)]];
    let mut ended = lease(&shard(0), "SHARD_END", 0);
    ended.insert("childShardIds".to_owned(), AttributeValue::Ss(vec![shard(2), shard(3)]));
    let mut owned = lease(&shard(1), &one[3].0, 0);
    owned.insert("leaseOwner".to_owned(), s("java-worker"));
    let mut child = lease(&shard(2), &two[4].0, 0);
    child.insert("parentShardId".to_owned(), AttributeValue::Ss(vec![shard(0)]));
    let leader =
        item([("leaseKey", s("Leader")), ("entityType", s("LEADER")), ("ownerName", s("java-worker"))]);
    put_items(&client, "app", [ended, owned, child, lease(&shard(3), "TRIM_HORIZON", 0), leader]).await;

    let import = ["import", "--from", "kcl", "--table", "app", "--stream", "orders", "--group", "g"];
    let dry = local.run(&[&import[..], &["--dry-run", "--json"]].concat()).await.done();
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert_eq!(dry["shards"].as_array().unwrap().len(), 4, "{dry}");
    assert_eq!(dry["shards"][1]["position"], format!("AFTER:{}", one[3].0));
    assert_eq!(dry["shards"][1]["old_owner"], "java-worker");
    local.run(&["group", "show", "g"]).await.refused(2, &["table `rokini` does not exist"]);

    local.run(&[&import[..], &["--yes", "--json"]].concat()).await.done();
    let rest = |done: &[(&str, usize)]| -> BTreeSet<String> {
        let done: BTreeMap<&str, usize> = done.iter().copied().collect();
        let left = records
            .iter()
            .flat_map(|(shard, records)| &records[done.get(shard.as_str()).copied().unwrap_or(0)..]);
        left.map(|(_, data)| data.clone()).collect()
    };
    let (a, b, c) = (shard(0), shard(1), shard(2));
    let expected = rest(&[(&a, records[&a].len()), (&b, 4), (&c, 5)]);
    assert_eq!(delivered(&local, "g", expected.len()).await, expected);

    // Back: what comes after the last record of each shard, and nothing else.
    let more: Vec<String> = (60..80).map(|n| n.to_string()).collect();
    local.put_evenly("orders", more.clone()).await;
    let export = ["export", "--to", "kcl", "--kcl-table", "back", "--create-table", "g", "--yes"];
    local.run(&export).await.done();
    let rows = client.scan().table_name("back").send().await.unwrap();
    assert_eq!(rows.items().len(), 4);
    for row in rows.items() {
        let text = |name: &str| row[name].as_s().unwrap().as_str();
        let number = |name: &str| row[name].as_n().unwrap().parse::<u64>().unwrap();
        // What the KCL cannot do without.
        assert_eq!((number("leaseCounter"), number("ownerSwitchesSinceCheckpoint")), (1, 0));
        number("checkpointSubSequenceNumber");
        assert_eq!(text("checkpoint") == "SHARD_END", text("leaseKey") == a, "{row:?}");
        assert_eq!(
            row.contains_key("parentShardId"),
            [shard(2), shard(3)].contains(&text("leaseKey").to_owned())
        );
        assert!(!text("startingHashKey").is_empty() && !text("endingHashKey").is_empty());
    }
    let import =
        ["import", "--from", "kcl", "--table", "back", "--stream", "orders", "--group", "h", "--yes"];
    local.run(&import).await.done();
    assert_eq!(delivered(&local, "h", more.len()).await, more.into_iter().collect());
}

#[tokio::test]
async fn a_live_fleet_is_not_taken_over() {
    let (local, records) = split_stream().await;
    let client = dynamodb(&local);
    make_table(&client, "app", &["leaseKey"]).await;
    let shard = "shardId-000000000001";
    let row = move |counter: u64, checkpoint: &str| {
        let mut row = lease(shard, checkpoint, 0);
        row.insert("leaseCounter".to_owned(), n(counter));
        row.insert("leaseOwner".to_owned(), s("java-worker"));
        row
    };
    let checkpoint = records[shard][0].0.clone();
    put_items(&client, "app", [row(1, &checkpoint)]).await;
    let renews = tokio::spawn({
        let client = client.clone();
        async move {
            for counter in 2.. {
                put_items(&client, "app", [row(counter, &checkpoint)]).await;
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
        }
    });
    let import = ["import", "--from", "kcl", "--table", "app", "--stream", "orders", "--group", "g", "--yes"];
    local.run(&import).await.refused(1, &["still write: java-worker", "next:", "--force"]);
    local.run(&["group", "show", "g"]).await.refused(2, &["table `rokini` does not exist"]);
    let forced = local.run(&[&import[..], &["--force"]].concat()).await.done();
    assert!(forced.contains("java-worker"), "{forced}");
    renews.abort();
    // A group that has positions is left alone.
    let seek = ["group", "seek", "g", "--shard", "1", "--to", "trim_horizon", "--yes"];
    local.run(&seek).await.done();
    local
        .run(&[&import[..], &["--force"]].concat())
        .await
        .refused(2, &["has positions", "next:", "group delete g"]);
}

#[tokio::test]
async fn rows_of_every_other_tool_are_read() {
    let (local, records) = split_stream().await;
    let client = dynamodb(&local);
    let shard = |number: u32| format!("shardId-{number:012}");
    let at = |number: u32, index: usize| records[&shard(number)][index].0.as_str();
    let past = s("2020-01-02T03:04:05Z");
    let id = 1_700_000_000;

    make_table(&client, "gokini", &["ShardID"]).await;
    let mut gokini: Vec<Item> = Vec::new();
    let mut vmware: Vec<Item> = Vec::new();
    for number in [0, 1, 2] {
        let row = |name: &str| {
            item([
                ("ShardID", s(&shard(number))),
                (name, s(at(number, 4))),
                ("LeaseTimeout", past.clone()),
                ("AssignedTo", s("w")),
            ])
        };
        gokini.push(row("SequenceID"));
        vmware.push(row("Checkpoint"));
    }
    gokini[0] = item([
        ("ShardID", s(&shard(0))),
        ("SequenceID", s(at(0, records[&shard(0)].len() - 1))),
        ("Closed", AttributeValue::Bool(true)),
    ]);
    gokini[1].insert("ClaimRequest".to_owned(), s("thief"));
    vmware[0].insert("Checkpoint".to_owned(), s("SHARD_END"));
    put_items(&client, "gokini", gokini).await;
    make_table(&client, "vmware", &["ShardID"]).await;
    put_items(&client, "vmware", vmware).await;

    make_table(&client, "app_checkpoints", &["Shard"]).await;
    let checkpoint = |number: u32, finished: Option<u64>| {
        let mut row =
            item([("Shard", s(&shard(number))), ("SequenceNumber", s(at(number, 4))), ("LastUpdate", n(id))]);
        row.extend(finished.map(|at| ("Finished".to_owned(), n(at))));
        row
    };
    let mut kinsumer = vec![checkpoint(0, Some(id)), checkpoint(1, None), checkpoint(2, None)];
    kinsumer[0].insert("SequenceNumber".to_owned(), s(at(0, records[&shard(0)].len() - 1)));
    put_items(&client, "app_checkpoints", kinsumer).await;

    make_table(&client, "harlow", &["namespace", "shard_id"]).await;
    let harlow = |namespace: &str, number: u32, index: usize| {
        item([
            ("namespace", s(namespace)),
            ("shard_id", s(&shard(number))),
            ("sequence_number", s(at(number, index))),
        ])
    };
    let last = records[&shard(0)].len() - 1;
    let rows = [
        harlow("app-orders", 0, last),
        harlow("app-orders", 1, 4),
        harlow("app-orders", 2, 4),
        harlow("app-payments", 1, 9),
    ];
    put_items(&client, "harlow", rows).await;

    make_table(&client, "redpanda", &["StreamID", "ShardID"]).await;
    let redpanda = |stream: &str, number: u32, index: usize| {
        item([
            ("StreamID", s(stream)),
            ("ShardID", s(&shard(number))),
            ("SequenceNumber", s(at(number, index))),
            ("ClientID", s("c")),
            ("LeaseTimeout", past.clone()),
        ])
    };
    put_items(
        &client,
        "redpanda",
        [
            redpanda("orders", 0, last),
            redpanda("orders", 1, 4),
            redpanda("orders", 2, 4),
            redpanda("payments", 1, 9),
        ],
    )
    .await;

    let after = |number: u32, index: usize| Value::from(format!("AFTER:{}", at(number, index)));
    for (tool, table, first) in [
        ("gokini", "gokini", after(0, last)),
        ("vmware", "vmware", "SHARD_END".into()),
        ("kinsumer", "app_checkpoints", after(0, last)),
        ("harlow", "harlow", after(0, last)),
        ("redpanda", "redpanda", after(0, last)),
    ] {
        let import = [
            "import", "--from", tool, "--table", table, "--stream", "orders", "--group", tool, "--json",
            "--yes",
        ];
        let shown: Value = serde_json::from_str(&local.run(&import).await.done()).unwrap();
        let positions: Vec<&Value> =
            shown["shards"].as_array().unwrap().iter().map(|step| &step["position"]).collect();
        assert_eq!(positions, [&first, &after(1, 4), &after(2, 4)], "{tool}");
        let notices = shown["notices"].to_string();
        assert!(notices.contains("shardId-000000000003 has no row"), "{tool}: {notices}");
        assert_eq!(notices.contains("claimed by thief from w"), tool == "gokini", "{notices}");
        // Everything after the fifth record of both, and all of the shard without a row, which comes from one that is done.
        let done = [(shard(0), last + 1), (shard(1), 5), (shard(2), 5), (shard(3), 0)];
        let expected: BTreeSet<String> = done
            .iter()
            .flat_map(|(shard, done)| &records[shard][*done..])
            .map(|(_, data)| data.clone())
            .collect();
        assert_eq!(delivered(&local, tool, expected.len()).await, expected, "{tool}");
    }
}

#[tokio::test]
async fn a_table_of_another_is_no_target_of_an_export() {
    let local = Local::start(1).await;
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));
    let client = dynamodb(&local);
    make_table(&client, "gokini", &["ShardID"]).await;
    make_table(&client, "any", &["id"]).await;
    for (table, whose, key) in [
        ("gokini", "one of gokini's", "ShardID"),
        ("rokini", "a table of Rokini's", "group and row"),
        ("any", "none of a tool", "id"),
    ] {
        for how in [&["--dry-run"][..], &["--create-table", "--yes"]] {
            let export = ["export", "--to", "kcl", "--kcl-table", table, "g"];
            let refused = local.run(&[&export[..], how].concat()).await;
            refused.refused(2, &[table, whose, key, "leaseKey", "next: name another one by `--kcl-table`"]);
        }
    }
}

#[tokio::test]
async fn what_a_table_does_not_say_is_asked_for() {
    let (local, _) = split_stream().await;
    let client = dynamodb(&local);
    make_table(&client, "app", &["leaseKey"]).await;
    let id = stream_id(&local).await;
    let seconds = id.split_once('@').unwrap().1.parse::<u64>().unwrap() / 1000;
    let key = |seconds: u64, stream: &str, shard: u32| {
        format!("123456789012:{stream}:{seconds}:shardId-{shard:012}")
    };
    let rows = [
        lease(&key(seconds, "orders", 1), "LATEST", 0),
        lease(&key(seconds, "payments", 1), "TRIM_HORIZON", 0),
        lease(&key(seconds - 100, "orders", 0), "TRIM_HORIZON", 0),
        lease(&key(seconds, "orders", 99), "SHARD_END", 0),
    ];
    put_items(&client, "app", rows).await;
    local.run(&DRY_RUN[..DRY_RUN.len() - 1]).await.refused(2, &["shardId-000000000001", "LATEST", "--start"]);
    let shown = local.run(&[&DRY_RUN[..], &["--start", "-1h"]].concat()).await.done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["shards"].as_array().unwrap().len(), 2, "{shown}");
    assert!(shown["shards"][0]["position"].as_str().unwrap().starts_with("AT_TIMESTAMP:"), "{shown}");
    assert!(shown["shards"][1]["left_out"].as_str().unwrap().contains("trimmed"), "{shown}");
    let notices = shown["notices"].to_string();
    assert!(notices.contains("1 row of other streams") && notices.contains("older stream"), "{notices}");

    // Another tool's table, one that is missing, and one that is empty.
    let from = |tool: &'static str, table: &'static str| {
        ["import", "--from", tool, "--table", table, "--stream", "orders", "--group", "g", "--yes"]
    };
    local.run(&from("gokini", "app")).await.refused(2, &["no positions of gokini", "ShardID", "--from kcl"]);
    local.run(&from("kcl", "none")).await.refused(2, &["table `none` does not exist"]);
    make_table(&client, "empty", &["leaseKey"]).await;
    local.run(&from("kcl", "empty")).await.refused(2, &["`empty` is empty"]);
}

#[tokio::test]
async fn rows_that_cannot_be_right_are_not_taken() {
    let (local, records) = split_stream().await;
    let client = dynamodb(&local);
    let (zero, one, two) = ("shardId-000000000000", "shardId-000000000001", "shardId-000000000002");
    let row = |shard: &str, name: &str, number: &str| item([("ShardID", s(shard)), (name, s(number))]);
    let number = &records[one][0].0;
    let row_of = |shard: &str, number: &str| item([("ShardID", s(shard)), ("SequenceID", s(number))]);
    make_table(&client, "gokini", &["ShardID"]).await;
    put_items(&client, "gokini", [row(one, "SequenceID", number)]).await;
    make_table(&client, "closed", &["ShardID"]).await;
    let closed = item([("ShardID", s(one)), ("Closed", AttributeValue::Bool(true))]);
    put_items(&client, "closed", [closed, item([("ShardID", s(two))])]).await;
    make_table(&client, "vmware", &["ShardID"]).await;
    put_items(&client, "vmware", [row(one, "Checkpoint", number)]).await;
    make_table(&client, "neither", &["ShardID"]).await;
    put_items(&client, "neither", [item([("ShardID", s(one))])]).await;
    let from = |tool: &'static str, table: &'static str| {
        ["import", "--from", tool, "--table", table, "--stream", "orders", "--group", "g", "--yes"]
    };
    let refused: [(&str, &str, &[&str]); 4] = [
        ("vmware", "gokini", &["looks like one of gokini", "--from gokini"]),
        ("vmware", "closed", &["looks like one of gokini"]),
        ("gokini", "vmware", &["looks like one of vmware"]),
        ("gokini", "closed", &[one, "open", "--force"]),
    ];
    for (tool, table, words) in refused {
        local.run(&from(tool, table)).await.refused(2, words);
    }
    for tool in ["gokini", "vmware"] {
        local.run(&[&from(tool, "neither")[..], &["--dry-run"]].concat()).await.done();
    }

    // A number of another shard, and one that is none.
    make_table(&client, "wrong", &["leaseKey"]).await;
    put_items(&client, "wrong", [lease(one, number, 0), lease(two, number, 3)]).await;
    local.run(&from("kcl", "wrong")).await.refused(2, &[two, "cannot have", number]);
    make_table(&client, "text", &["leaseKey"]).await;
    put_items(
        &client,
        "text",
        [lease(zero, "SHARD_END", 0), lease(one, number, 0), lease(two, "nonsense", 0)],
    )
    .await;
    let row = format!("the row `leaseKey` = `{two}`: its `checkpoint` is `nonsense`");
    local
        .run(&from("kcl", "text"))
        .await
        .refused(2, &[&row, "not a sequence number", "next: mend", "--force"]);
    // Cut by a digit or a letter.
    make_table(&client, "cut", &["ShardID"]).await;
    put_items(&client, "cut", [row_of(&one[..one.len() - 1], number)]).await;
    local
        .run(&from("gokini", "cut"))
        .await
        .refused(2, &["the row `ShardID` = `shardId-00000000000`", "12 digits", "next: "]);
    make_table(&client, "shorter", &["ShardID"]).await;
    put_items(&client, "shorter", [row_of(one, &number[..number.len() - 1])]).await;
    let shorter = local.run(&from("gokini", "shorter")).await;
    shorter.refused(2, &[one, "cannot have record", "next: ", "`SequenceID` of that row of table `shorter`"]);
    local.run(&["group", "show", "g"]).await.refused(2, &["table `rokini` does not exist"]);
    // Forced, nothing is lost.
    let forced = local.run(&[&from("gokini", "closed")[..], &["--force", "--json"]].concat()).await.done();
    let shown: Value = serde_json::from_str(&forced).unwrap();
    assert_eq!(shown["shards"][0]["position"], "TRIM_HORIZON", "{shown}");
    assert!(shown["notices"].to_string().contains("is still open"), "{shown}");
}

#[tokio::test]
async fn a_packed_record_goes_on_inside() {
    let (local, records) = split_stream().await;
    let client = dynamodb(&local);
    make_table(&client, "app", &["leaseKey"]).await;
    // Only its first bytes are looked at here.
    let packed = kinesis(&local)
        .put_record()
        .stream_name("orders")
        .partition_key("k")
        .explicit_hash_key(u128::MAX.to_string())
        .data(aws_sdk_kinesis::primitives::Blob::new([0xf3, 0x89, 0x9a, 0xc2, 1, 2, 3]));
    let packed = packed.send().await.unwrap();
    let (one, two) = ("shardId-000000000001", "shardId-000000000002");
    assert_eq!(packed.shard_id(), one);
    put_items(&client, "app", [lease(one, packed.sequence_number(), 0), lease(two, &records[two][0].0, 7)])
        .await;
    let shown: Value = serde_json::from_str(&local.run(&DRY_RUN).await.done()).unwrap();
    assert_eq!(shown["shards"][0]["position"], format!("AFTER:{}/0", packed.sequence_number()));
    assert_eq!(shown["shards"][1]["position"], format!("AFTER:{}/7", records[two][0].0));
}

async fn stream_id(local: &Local) -> String {
    let summary = kinesis(local).describe_stream_summary().stream_name("orders").send().await.unwrap();
    let made = summary.stream_description_summary().unwrap().stream_creation_timestamp().to_millis().unwrap();
    format!("orders@{made}")
}

async fn until_active(local: &Local) {
    let client = kinesis(local);
    loop {
        let summary = client.describe_stream_summary().stream_name("orders").send().await.unwrap();
        if *summary.stream_description_summary().unwrap().stream_status() == StreamStatus::Active {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

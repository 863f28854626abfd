//! `stream`.

use serde_json::Value;

use crate::support::{Endpoints, Local};

async fn shards(endpoints: &Endpoints, more: &[&str]) -> Vec<(String, bool)> {
    let shown = endpoints.run(&[&["stream", "describe", "made", "--json"], more].concat()).await.done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let shards = shown["shards"].as_array().unwrap().iter();
    shards.map(|shard| (shard["shard"].as_str().unwrap()[18..].to_owned(), shard["open"] == true)).collect()
}

#[tokio::test]
async fn a_stream_is_made_resharded_and_deleted() {
    let local = Local::start(1).await;
    let made =
        local.run(&["stream", "create", "made", "--shards", "2", "--retention", "48h", "--json"]).await;
    let made: Value = serde_json::from_str(&made.done()).unwrap();
    assert_eq!((&made["shards"], &made["retention_hours"]), (&Value::from(2), &Value::from(48)));
    assert!(local.run(&["stream", "list"]).await.done().lines().any(|name| name == "made"));

    // Records that were there before a split come before those of its children.
    local.run(&["put", "made", "--key", "k", "before"]).await.done();
    let split = local.run(&["stream", "split", "made", "0"]).await.done();
    assert_eq!(split, "shardId-000000000000 -> shardId-000000000002 + shardId-000000000003\n");
    let merged = local.run(&["stream", "merge", "made", "3"]).await.done();
    assert_eq!(merged, "shardId-000000000003 + shardId-000000000001 -> shardId-000000000004\n");
    let open = |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), true)).collect::<Vec<_>>();
    assert_eq!(shards(&local, &[]).await, open(&["02", "04"]));
    assert_eq!(shards(&local, &["--all"]).await.len(), 5);
    let scaled = local.run(&["stream", "scale", "made", "4"]).await.done();
    assert_eq!(scaled, "scaled stream made from 2 to 4 open shards\n");
    let shown = local.run(&["stream", "describe", "made"]).await.done();
    assert!(
        shown.starts_with("made  ACTIVE  provisioned  4 open shards\n") && shown.contains(" kept for 48 h,"),
        "{shown}"
    );
    assert!(shown.lines().all(|line| line.len() <= 110) && shown.contains("25.00 %"), "{shown}");
    local.run(&["put", "made", "--key", "k", "after"]).await.done();
    let all = local.run(&["tail", "made", "--from", "trim_horizon", "--no-follow"]).await.done();
    assert_eq!(
        all.lines().map(|line| line.rsplit(' ').next().unwrap()).collect::<Vec<_>>(),
        ["before", "after"]
    );

    // Nothing on this machine is asked about.
    let deleted = local.run(&["stream", "delete", "made"]).await.done();
    assert_eq!(deleted, "deleted stream made: 4 open shards\n");
    local.run(&["stream", "describe", "made"]).await.refused(2, &["`made`", "next: "]);
}

#[tokio::test]
async fn what_cannot_be_done_to_a_stream_is_said() {
    let local = Local::start(4).await;
    for (arguments, status, said) in [
        (&["create", "orders"][..], 2, &["ResourceInUseException"][..]),
        (&["split", "orders", "9"], 2, &["has no shard `9`", "open shards: shardId-000000000000"]),
        (
            &["split", "orders", "0", "--at", "0"],
            2,
            &["cannot be split at 0", "next: choose a hash key from 1 to"],
        ),
        (&["merge", "orders", "0", "2"], 2, &["are no neighbours", "`rokini stream describe orders`"]),
        (&["merge", "orders", "3"], 2, &["no open shard of stream `orders` follows"]),
        (&["scale", "orders", "100"], 2, &["kinesis:UpdateShardCount", "why: "]),
        (&["create", "more", "--retention", "1h"], 2, &["24h to 8760h"]),
        (&["describe", "absent"], 2, &["`absent`"]),
    ] {
        local.run(&[&["stream"], arguments].concat()).await.refused(status, said);
    }
    local.run(&["stream", "split", "orders", "0"]).await.done();
    local.run(&["stream", "split", "orders", "0"]).await.refused(2, &["is closed", "open shards: "]);
}

#[tokio::test]
async fn a_stream_that_spreads_records_by_itself_is_made() {
    let local = Local::start(1).await;
    let create =
        ["stream", "create", "logs", "--on-demand", "--record-distribution-strategy", "AUTO", "--json"];
    let made: Value = serde_json::from_str(&local.run(&create).await.done()).unwrap();
    assert_eq!(
        (&made["mode"], &made["record_distribution_strategy"]),
        (&"ON_DEMAND".into(), &"AUTO".into()),
        "{made}"
    );
    local.run(&["put", "logs", "--keyless", "one", "two"]).await.done();
    let shown = local.run(&["stream", "describe", "logs"]).await.done();
    assert!(shown.starts_with("logs  ACTIVE  on demand (AUTO)  4 open shards\n"), "{shown}");
    let provisioned = ["stream", "create", "more", "--record-distribution-strategy", "auto"];
    local.run(&provisioned).await.refused(2, &["--on-demand"]);
}

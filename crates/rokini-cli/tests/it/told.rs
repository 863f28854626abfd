//! More shards in trouble than a worker's row tells of one by one: each is told of all the same, and nobody reads a shard to find
//! out.

use std::collections::BTreeSet;
use std::time::Instant;

use rokini_local::LocalKinesis;
use serde_json::Value;

use crate::support::{Endpoints, LONGEST_WAIT, Local, Member};

const STALLED: usize = 20;

/// Takes every record, and acknowledges those of the last shard alone.
const HANDLER: &str = r#"while read -r line; do case "$line" in *well*)
    token=$(printf '%s' "$line" | sed 's/^{"token":\([0-9]*\),.*/\1/'); printf '{"ack":%s}\n' "$token";;
  esac; done"#;

async fn json(local: &Endpoints, arguments: &[&str]) -> Value {
    let mut command = local.rokini(&[arguments, &["--json"]].concat());
    // As another caller than the worker, so that its reads can be told from those of that.
    command.env("AWS_ACCESS_KEY_ID", "observer");
    let ended = crate::support::Ended::of(command).await;
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {ended:?}"))
}

fn shards(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test]
async fn o12_twenty_stalled_shards_of_one_worker_are_all_told_and_none_is_read_to_find_out() {
    let kinesis = LocalKinesis::builder().stream("orders", 21).start().await.unwrap();
    let dynamo = rokini_local::LocalDynamo::in_memory().await.unwrap();
    let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
    let local = Local { kinesis, dynamo, endpoints };
    let mut command = local.rokini(&[
        "run",
        "orders",
        "--group",
        "g",
        "--worker",
        "w",
        "--handler",
        "lines",
        "--",
        "sh",
        "-c",
        HANDLER,
    ]);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut worker = Member::spawn(command);
    worker.until("all shards", |worker| worker.stderr().matches("started at").count() == STALLED + 1).await;
    let mut events = Member::spawn(local.rokini(&["group", "events", "g", "--follow", "--json"]));
    let page = ["group", "page", "g", "--listen", "127.0.0.1:0", "--json"];
    let mut page = Member::spawn(local.rokini(&page));
    page.until("its address", |page| !page.lines().is_empty()).await;
    let hashes = (0..=STALLED as u128).map(|shard| u128::MAX / 21 * shard + 1_000);
    let data = hashes.zip(0..).map(|(hash, shard)| {
        (hash, if shard == STALLED { "well".to_owned() } else { format!("stuck {shard}") })
    });
    local.put_hashed("orders", data.collect::<Vec<_>>()).await;

    let wanted: BTreeSet<String> = (0..STALLED).map(|shard| format!("shardId-{shard:012}")).collect();
    let named = |rows: &[Value]| -> BTreeSet<String> {
        let stalled = rows.iter().filter(|row| row["cause"] == "acks");
        stalled.map(|row| row["shard"].as_str().unwrap().to_owned()).collect()
    };
    let begun = Instant::now();
    loop {
        let why = json(&local, &["group", "why", "g"]).await;
        if named(shards(&why["shards"])) == wanted {
            assert_eq!((shards(&why["shards"]).len(), &why["moves"]), (STALLED, &false.into()), "{why:#}");
            let lasting = |row: &Value| row["lasting_millis"].as_u64() > Some(0);
            assert!(shards(&why["shards"]).iter().all(lasting), "{why:#}");
            break;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{why:#}");
    }
    let shown = json(&local, &["group", "show", "g"]).await;
    assert_eq!(named(shards(&shown["leases"])), wanted, "{shown:#}");
    let lag = json(&local, &["group", "lag", "g"]).await;
    assert_eq!(named(shards(&lag["shards"])), wanted, "{lag:#}");
    let healthy = shards(&lag["shards"]).iter().find(|row| row["cause"].is_null()).unwrap();
    assert_eq!(healthy["lag_millis"], 0, "{lag:#}");
    let read = local.kinesis.calls().into_iter().filter(|call| {
        call.caller.as_deref() == Some("observer")
            && ["GetRecords", "GetShardIterator"].contains(&call.operation.as_str())
    });
    assert_eq!(read.count(), 0, "a live worker tells what its shards are like");

    events.until("every stall", |events| codes(events, "stalled").len() == STALLED).await;
    let told: Value = serde_json::from_str(&page.lines()[0]).unwrap();
    let address =
        told["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let begun = Instant::now();
    loop {
        let group = crate::group_page::group(&address).await;
        let stalled = shards(&group["streams"][0]["shards"]).iter().filter(|shard| shard["cause"] == "acks");
        if stalled.count() == STALLED {
            break;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{group:#}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(codes(&events, "recovered").is_empty(), "{:?}", events.lines());
    worker.signal(rustix::process::Signal::KILL);
    events.signal(rustix::process::Signal::INT);
    assert_eq!(page.stop().await, Some(0));
}

/// The shards of the events of this code.
fn codes(events: &Member, code: &str) -> BTreeSet<String> {
    let lines = events.lines();
    let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("every line is JSON"));
    events.filter(|event| event["code"] == code).map(|event| event["shard"].to_string()).collect()
}

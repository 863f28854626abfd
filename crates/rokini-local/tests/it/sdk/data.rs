//! Streams that outlive the process.

use std::path::Path;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rokini_local::wire::Timestamp;
use rokini_local::wire::shapes::record::{GetRecordsRequest, GetShardIteratorRequest};
use rokini_local::wire::shapes::stream::DescribeStreamRequest;
use rokini_local::{LocalKinesis, LocalKinesisBuilder};

use super::client;

fn builder(directory: &Path, hour: i64) -> LocalKinesisBuilder {
    let now = Timestamp::from_secs(1_700_000_000 + 3600 * hour);
    LocalKinesis::builder().virtual_time(now).data(directory).stream("orders", 1)
}

/// Everything a reader can see, as text.
fn visible(local: &LocalKinesis) -> Vec<String> {
    let request = DescribeStreamRequest::new().stream_name("orders");
    let mut seen = vec![format!("{:?}", local.model().call(&request).unwrap())];
    for shard in local.model().call(&request).unwrap().stream_description.shards {
        let request = GetShardIteratorRequest::new(shard.shard_id, "TRIM_HORIZON").stream_name("orders");
        let shard_iterator = local.model().call(&request).unwrap().shard_iterator.unwrap();
        let request = GetRecordsRequest::new(shard_iterator);
        let records = local.model().call(&request).unwrap().records;
        seen.extend(records.iter().map(|record| format!("{record:?} {:?}", record.data.0)));
    }
    seen
}

async fn fill(local: &LocalKinesis) {
    let client = client::kinesis(local);
    let entry = |i: i32| {
        let data = Blob::new(vec![7; 300_000]);
        PutRecordsRequestEntry::builder().partition_key(i.to_string()).data(data).build().unwrap()
    };
    let put = client.put_records().stream_name("orders").set_records(Some((0..5).map(entry).collect()));
    assert_eq!(put.send().await.unwrap().failed_record_count(), Some(2), "the rate of the shard");
    let put = client.put_records().stream_name("orders").set_records(Some((0..2).map(entry).collect()));
    assert_eq!(put.send().await.unwrap().failed_record_count(), Some(2), "not one is written");
    let split = client.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
    let put = client.put_record().stream_name("orders").partition_key("k").data(Blob::new("after the split"));
    put.send().await.unwrap();
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    client.register_stream_consumer().stream_arn(arn).consumer_name("c").send().await.unwrap();
    client.add_tags_to_stream().stream_name("orders").tags("a", "b").send().await.unwrap();
}

#[tokio::test]
async fn a_restart_changes_nothing_and_retention_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let local = builder(directory.path(), 0).start().await.unwrap();
    fill(&local).await;
    let before = visible(&local);
    assert_eq!(before.len(), 1 + 3 + 1);
    let at = client::iterator(&client::kinesis(&local), "shardId-000000000002").await;
    local.shutdown().await;

    // From the log, then from the log that was begun anew.
    for _ in 0..2 {
        let local = builder(directory.path(), 0).start().await.unwrap();
        assert_eq!(visible(&local), before);
        let client = client::kinesis(&local);
        let answer = client.get_records().shard_iterator(&at).send().await.unwrap();
        assert_eq!(answer.records().len(), 1, "an iterator goes on");
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
        let consumers = client.list_stream_consumers().stream_arn(arn).send().await.unwrap();
        assert_eq!(consumers.consumers().len(), 1);
        let tags = client.list_tags_for_stream().stream_name("orders").send().await.unwrap();
        assert_eq!(tags.tags().len(), 1);
        local.shutdown().await;
    }
    let local = builder(directory.path(), 25).start().await.unwrap();
    assert_eq!(visible(&local).len(), 1, "a day has passed");
}

#[tokio::test]
async fn a_cut_process_loses_nothing_it_answered() {
    let directory = tempfile::tempdir().unwrap();
    let local = builder(directory.path(), 0).start().await.unwrap();
    fill(&local).await;
    let before = visible(&local);
    // The files as a killed process leaves them: copied while they are open.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let local = builder(copy.path(), 0).start().await.unwrap();
    assert_eq!(visible(&local), before);
}

#[tokio::test]
async fn a_model_that_is_given_replaces_what_was_kept() {
    let directory = tempfile::tempdir().unwrap();
    builder(directory.path(), 0).stream("old", 1).start().await.unwrap().shutdown().await;
    let other = LocalKinesis::builder().stream("payments", 1).start().await.unwrap();
    let model = other.model().with_model(|model, _| model.clone());
    let local = LocalKinesis::builder().model(model).data(directory.path()).start().await.unwrap();
    local.put("payments", "k", "x").unwrap();
    local.shutdown().await;
    let local = LocalKinesis::builder().data(directory.path()).start().await.unwrap();
    local.put("payments", "k", "y").unwrap();
    assert!(local.put("old", "k", "z").is_err());
}

#[tokio::test]
async fn what_cannot_be_used_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let first = builder(directory.path(), 0).start().await.unwrap();
    let second = builder(directory.path(), 0).start().await.unwrap_err();
    assert!(second.to_string().contains("kinesis.lock"), "in use: {second}");
    assert!(second.to_string().contains("give another directory"), "what next: {second}");
    drop(first);
    let file = tempfile::NamedTempFile::new().unwrap();
    let no_directory = builder(file.path(), 0).start().await.unwrap_err();
    assert!(no_directory.to_string().contains("cannot open the streams kept in"), "{no_directory}");
}

#[tokio::test]
async fn an_endpoint_that_is_dropped_frees_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    drop(builder(directory.path(), 0).start().await.unwrap());
    // Its tasks end when they are next asked.
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while builder(directory.path(), 0).start().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is never freed");
}

/// Set in the process that is killed: its directory.
pub(super) const KILLED_IN: &str = "ROKINI_TEST_KILLED_IN";

/// Not a test of its own: what [`whatever_was_answered_before_a_kill_is_there`] starts and kills.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(directory) = std::env::var(KILLED_IN) else { return };
    let local = LocalKinesis::builder().data(&directory).stream("orders", 4).throughput_limits(false);
    let local = local.start().await.unwrap();
    let written = Path::new(&directory).join("endpoint.new");
    std::fs::write(&written, local.endpoint_url()).unwrap();
    std::fs::rename(&written, Path::new(&directory).join("endpoint")).unwrap();
    std::future::pending::<()>().await;
}

/// The endpoint of another process, once it is there.
pub(super) async fn endpoint_in(directory: &Path) -> String {
    loop {
        if let Ok(url) = std::fs::read_to_string(directory.join("endpoint")) {
            return url;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_answered_before_a_kill_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut answered = std::collections::BTreeMap::new();
    // Each process finds what the one before was killed over.
    for round in 0..3 {
        let mut process = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sdk::data::the_process_that_is_killed"])
            .env(KILLED_IN, directory.path())
            .kill_on_drop(true)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let client = client::kinesis_at(&endpoint_in(directory.path()).await);
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1000);
        for writer in 0..8 {
            let (client, sender) = (client.clone(), sender.clone());
            tokio::spawn(async move {
                for i in 0.. {
                    let data = format!("{round} {writer} {i}");
                    let put = client.put_record().stream_name("orders").partition_key(&data);
                    let Ok(answer) = put.data(Blob::new(data.clone())).send().await else { return };
                    if sender.send((answer.sequence_number, data)).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for _ in 0..200 {
            answered.extend(receiver.recv().await);
        }
        // While eight calls are under way.
        process.start_kill().unwrap();
        while let Some(one) = receiver.recv().await {
            answered.extend([one]);
        }
        process.wait().await.unwrap();
        std::fs::remove_file(directory.path().join("endpoint")).unwrap();
    }
    let local = LocalKinesis::builder().data(directory.path()).start().await.unwrap();
    assert_eq!(local.set_aside(), [] as [std::path::PathBuf; 0], "what was being written is no damage");
    let kept = local.records_of("orders").unwrap();
    let kept: std::collections::BTreeMap<String, String> = kept
        .iter()
        .map(|record| (record.sequence_number.to_string(), String::from_utf8(record.data.to_vec()).unwrap()))
        .collect();
    for (number, data) in &answered {
        assert_eq!(kept.get(number), Some(data), "answered with {number}");
    }
    assert!(kept.len() - answered.len() <= 3 * 8, "and at most what was under way besides");
}

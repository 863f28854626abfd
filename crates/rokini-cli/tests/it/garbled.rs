//! Answers of which a part is not what it should be, at random.

use std::time::Duration;

use rokini_local::{Fault, FaultRule};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Local, Member};

/// How long records may take once the answers are good again.
const AFTER: Duration = Duration::from_secs(30);

/// Nothing is lost, whatever comes twice.
#[tokio::test]
async fn a5_put_and_tail_lose_nothing_to_garbled_answers() {
    let local = Local::start(2).await;
    let faults = local.kinesis.faults();
    for operation in ["PutRecords", "GetRecords", "GetShardIterator", "ListShards"] {
        faults.add(FaultRule::on(operation, Fault::Garble).probability(0.3));
    }
    let mut live = Member::spawn(local.rokini(&["tail", "orders", "--from", "horizon"]));
    let put = local.run_with_input(&["put", "orders"], &crate::put_tail::numbers(1..=200)).await;
    faults.clear();
    assert!(put.stderr.contains("records"), "{}", put.stderr);
    local.run(&["put", "orders", "last"]).await.done();
    let last = live.until("every record that is there", |live| live.lines().contains(&"last".to_owned()));
    tokio::time::timeout(AFTER, last).await.expect("the last record within 30 s");
    let there = local.run(&["tail", "orders", "--from", "horizon", "--no-follow"]).await.done();
    live.until("what the stream has", |live| {
        there.lines().all(|line| live.lines().iter().any(|seen| seen == line))
    })
    .await;
    // What was said to be put is there.
    if put.status == Some(0) {
        let there: std::collections::BTreeSet<&str> = there.lines().collect();
        assert!((1..=200).all(|number: u32| there.contains(&*number.to_string())), "{}", put.stderr);
    }
    live.signal(Signal::INT);
    assert_eq!(live.ended().await, Some(0));
}

/// Each command does what it says or names what is wrong, and no order goes anywhere but where it should.
#[tokio::test]
async fn a5_group_commands_are_not_misled_by_garbled_answers() {
    let local = Local::start(2).await;
    local.run_with_input(&["put", "orders"], &crate::put_tail::numbers(1..=50)).await.done();
    let mut worker = local.consume("orders", "g", "a", &["--checkpoint-interval", "0s"]);
    worker.until("all records", |worker| worker.data().len() == 50).await;
    assert_eq!(worker.stop().await, Some(0));
    // What came after it: there is a lag to find out.
    local.run_with_input(&["put", "orders"], &crate::put_tail::numbers(51..=60)).await.done();
    let leases = async || {
        let shown = local.run(&["group", "show", "g", "--quick", "--json"]).await.done();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["leases"].clone()
    };
    let before = leases().await;
    let faults = local.kinesis.faults();
    for operation in ["GetRecords", "GetShardIterator", "ListShards", "DescribeStreamSummary"] {
        faults.add(FaultRule::on(operation, Fault::Garble).probability(0.5));
    }
    let mut failed = 0;
    for _ in 0..5 {
        for command in [
            &["group", "show", "g"][..],
            &["group", "lag", "g"],
            &["group", "why", "g"],
            &["group", "audit", "g"],
            &["group", "seek", "g", "--to", "-10m", "--dry-run"],
            &["group", "seek", "g", "--to", "latest", "--dry-run"],
        ] {
            let ended = local.run(command).await;
            // 1 is an answer too: somebody has to look.
            assert!(
                matches!(ended.status, Some(0 | 1 | 3 | 4)),
                "{command:?}: {:?}\n{}",
                ended.status,
                ended.stderr
            );
            assert!(!ended.stderr.contains("report this"), "{command:?}\n{}", ended.stderr);
            failed += usize::from(ended.status > Some(1));
        }
    }
    faults.clear();
    println!("{failed} of 30 commands said that they got no usable answer");
    assert_eq!(leases().await, before, "nothing was ordered");
}

//! Which worker gets which shard.

use std::collections::BTreeMap;
use std::time::Duration;

use rokini::lease::{AssignmentPolicy, GroupView, LeaseRow, MemoryStore};
use rokini::{Balance, ConfigKey};
use tokio::time::sleep;

use crate::harness::{Log, Running, builder, leases, until_leases};
use crate::stream::Stream;

fn owner(row: &LeaseRow) -> Option<&str> {
    row.owner.as_ref().map(|id| id.name.as_str())
}

fn held_by(rows: &[LeaseRow], name: &str) -> Vec<usize> {
    (0..rows.len()).filter(|shard| owner(&rows[*shard]) == Some(name)).collect()
}

#[tokio::test(start_paused = true)]
async fn by_throughput_two_hot_shards_end_on_different_workers() {
    for balance in [Balance::Even, Balance::Throughput] {
        let (stream, store, log) = (Stream::new(4), MemoryStore::new(), Log::default());
        let start = |name| builder(&stream, store.clone(), name).balance(balance);
        let first = Running::logging(start("w1"), &log).await;
        let second = Running::logging(start("w2"), &log).await;
        let rows = until_leases(&store, |rows| {
            rows.len() == 4 && ["w1", "w2"].iter().all(|name| held_by(rows, name).len() == 2)
        })
        .await;
        let hot = held_by(&rows, "w1");
        let producing = {
            let (stream, hot) = (stream.clone(), hot.clone());
            tokio::spawn(async move {
                let text = "x".repeat(1_000);
                for tick in 0_u64.. {
                    // The others get a little.
                    for shard in (0..4).filter(|shard| tick % 10 == 0 && !hot.contains(shard)) {
                        stream.put(shard, "a");
                    }
                    for shard in &hot {
                        stream.put_keyed(*shard, "k", &text);
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            })
        };
        sleep(Duration::from_secs(180)).await;
        let rows = leases(&store).await;
        for shard in &hot {
            let rate = rows[*shard].metadata.bytes_per_second.unwrap();
            assert!((9_500..=10_500).contains(&rate), "10 kB a second: {rate}");
        }
        let apart = owner(&rows[hot[0]]) != owner(&rows[hot[1]]);
        assert_eq!(apart, balance == Balance::Throughput, "{balance}: {rows:#?}");
        let epochs = |rows: &[LeaseRow]| rows.iter().map(|row| row.epoch).collect::<Vec<_>>();
        let settled = epochs(&rows);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(epochs(&leases(&store).await), settled, "{balance}: what is level stays");
        producing.abort();
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_ones_own_decides() {
    let all_to_the_second = AssignmentPolicy::custom("second", |view: &GroupView| {
        let second = view.workers.iter().find(|row| row.id.name.as_str() == "w2");
        let all = view.leases.iter().filter_map(|row| Some((row.key.clone(), second?.id.clone())));
        all.collect::<BTreeMap<_, _>>()
    });
    let (stream, store, log) = (Stream::new(4), MemoryStore::new(), Log::default());
    let start = |name| builder(&stream, store.clone(), name).balance_policy(all_to_the_second.clone());
    let first = Running::logging(start("w1"), &log).await;
    until_leases(&store, |rows| held_by(rows, "w1").len() == 4).await;
    let second = Running::logging(start("w2"), &log).await;
    until_leases(&store, |rows| held_by(rows, "w2").len() == 4).await;
    first.stop().await;
    second.stop().await;

    let both = start("w3").set(ConfigKey::Balance, "throughput").for_each(|_| async { Ok(()) });
    let refused = both.build().await.unwrap_err().to_string();
    assert!(refused.contains("`balance = throughput`") && refused.contains("no effect"), "{refused}");
}

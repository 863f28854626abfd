//! Readers of two groups on one shard.

use std::time::Duration;

use rokini_lease::Position;
use tokio::time::{Instant, sleep};

use super::tests::open;
use crate::source::testing::{Bench, EPOCH_MILLIS};

/// The reader as a whole, with the SDK, against the local Kinesis.
#[tokio::test(start_paused = true)]
async fn t2_two_groups_on_one_shard_get_its_records_equally_young() {
    let bench = Bench::new(1);
    let run = Duration::from_secs(100);
    let begun = Instant::now();
    let read = |late: u64| {
        let bench = &bench;
        async move {
            sleep(Duration::from_millis(late)).await;
            let mut reader = open(bench, Position::TrimHorizon).await;
            let mut ages = Vec::new();
            while begun.elapsed() < run {
                let Ok(fetched) = reader.next().await else { continue };
                let now = EPOCH_MILLIS + u64::try_from(begun.elapsed().as_millis()).unwrap();
                ages.extend(fetched.records.iter().map(|record| now.saturating_sub(record.arrival_millis)));
            }
            ages.iter().sum::<u64>() as f64 / ages.len() as f64 / 1000.0
        }
    };
    let write = async {
        for number in 0..2_000 {
            bench.put(0, &*number.to_string());
            sleep(Duration::from_millis(50)).await;
        }
    };
    let (first, second, ()) = tokio::join!(read(0), read(700), write);
    assert!(first.max(second) < 0.6 && first.max(second) < 1.5 * first.min(second), "{first} s, {second} s");
}

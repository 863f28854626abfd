//! As much as a shard gives, and records as large as there are.

use std::time::Duration;

use rokini_local::LocalSettings;
use rokini_local::wire::shapes::stream::{DescribeStreamSummaryRequest, UpdateMaxRecordSizeRequest};
use tokio::time::sleep;

use super::tests::{bounded, data, open};
use super::*;
use crate::config::ConfigKey;
use crate::source::stream_source::StreamSource;
use crate::source::testing::{Bench, shard};

#[tokio::test(start_paused = true)]
async fn p9_records_of_ten_mebibytes_are_read_in_either_encoding() {
    const SIZE: usize = (10 << 20) - 3;
    for wire in ["cbor", "json"] {
        let mut settings = LocalSettings::default();
        settings.throughput_limits = false;
        let bench = Bench::with_settings(1, settings);
        let update = UpdateMaxRecordSizeRequest::new(10_240);
        let described = bench.service.call(&DescribeStreamSummaryRequest::new().stream_name("s")).unwrap();
        let arn = described.stream_description_summary.stream_arn;
        bench.service.call(&update.stream_arn(arn)).unwrap();
        sleep(Duration::from_secs(60)).await;
        let source = bench.source_with(&[(ConfigKey::Wire, wire)]);
        let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
        for fill in [b'a', b'b'] {
            bench.put(0, vec![fill; SIZE]);
        }
        for fill in [b'a', b'b'] {
            let record = bounded(async {
                loop {
                    if let Some(record) = reader.next().await.unwrap().records.into_iter().next() {
                        return record;
                    }
                }
            })
            .await;
            assert!(record.data().len() == SIZE && record.data().iter().all(|byte| *byte == fill), "{wire}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn p9_catching_up_takes_all_that_a_shard_gives() {
    let bench = Bench::new(1).latency(Duration::from_millis(20));
    // 60 s of writing at the limit of the shard.
    for _ in 0..240 {
        bench.put(0, vec![b'x'; 250_000]);
        sleep(Duration::from_millis(250)).await;
    }
    let started = Instant::now();
    let mut reader = open(&bench, Position::TrimHorizon).await;
    let mut count = 0;
    while count < 240 {
        count += data(&bounded(reader.next()).await.unwrap()).len();
    }
    // 60 MB at 2 MB a second, of which the last answer need not be paid for.
    let rate = 60e6 / started.elapsed().as_secs_f64();
    assert!((1.9e6..2.6e6).contains(&rate), "{rate} bytes a second");
}

//! Records without a partition key.

use std::time::Duration;

use rokini::OnFailure;
use rokini::lease::MemoryStore;
use tokio::time::sleep;

use crate::delivery::policy::Sink;
use crate::harness::{Log, Running, after, builder, failure, position, until_position};
use crate::stream::{Stream, shard_id};

#[tokio::test(start_paused = true)]
async fn e1_records_without_a_partition_key_go_through_in_the_order_of_their_shard() {
    for lanes in [1, 8] {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        let calls = log.clone();
        let building = builder(&stream, store.clone(), "w").concurrency(lanes).for_each_batch(move |batch| {
            calls.add(&batch);
            assert!(
                batch
                    .iter()
                    .all(|record| record.partition_key().is_none() == record.data().starts_with(b"no"))
            );
            async { Ok(()) }
        });
        let running = Running::start(building).await;
        for number in 0..100 {
            stream.put_keyless(0, &format!("no {number}"));
            stream.put_keyed(0, &format!("key-{}", number % 5), &number.to_string());
        }
        log.until_count(200).await;
        assert!(running.stop().await.is_clean());
        assert_eq!(position(&store, &shard_id(0)).await, after(200));
        let texts = log.texts();
        if lanes == 1 {
            let sent = (0..100).flat_map(|number| [format!("no {number}"), number.to_string()]);
            assert_eq!(texts, sent.collect::<Vec<_>>());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn e1_a_failing_record_without_a_partition_key_holds_up_itself_alone_and_goes_to_the_dead_letters() {
    for park in [true, false] {
        let (stream, store, log) = (Stream::new(1), MemoryStore::new(), Log::default());
        let sink = Sink::default();
        let calls = log.clone();
        let building = builder(&stream, store.clone(), "w")
            .park(park)
            .on_failure(OnFailure::DeadLetter)
            .max_attempts(4)
            .dead_letter_sink(sink.clone())
            .for_each_batch(move |batch| {
                let bad = batch.iter().any(|record| record.data() == b"bad");
                if !bad {
                    calls.add(&batch);
                }
                async move { if bad { failure("no") } else { Ok(()) } }
            });
        let running = Running::start(building).await;
        for text in ["a", "bad", "b", "c"] {
            stream.put_keyless(0, text);
        }
        until_position(&store, after(4)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(log.texts(), ["a", "b", "c"], "park = {park}");
        let letters = sink.0.lock().unwrap().1.clone();
        let given_up: Vec<_> = letters.iter().flat_map(|letter| &letter.records).collect();
        assert_eq!(
            given_up.iter().map(|record| (record.data(), record.partition_key())).collect::<Vec<_>>(),
            [(&b"bad"[..], None)]
        );
        running.stop().await;
    }
}

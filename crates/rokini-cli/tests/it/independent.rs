//! The fleet scenario against servers that others wrote.
//!
//! Needs `AWS_ENDPOINT_URL_KINESIS` and `AWS_ENDPOINT_URL_DYNAMODB`, and `INDEPENDENT_SERVERS=1` to say that these
//! are meant; `.ci/independent.sh` starts such servers and runs it.

use std::time::Duration;

use aws_sdk_kinesis::types::StreamStatus;
use rokini::Retrieval;

#[tokio::test]
#[ignore = "needs servers that others wrote: .ci/independent.sh starts them"]
async fn one_killed_one_stopped_nothing_lost() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(_), Some(kinesis), Some(dynamodb)) = (
        variable("INDEPENDENT_SERVERS"),
        variable("AWS_ENDPOINT_URL_KINESIS"),
        variable("AWS_ENDPOINT_URL_DYNAMODB"),
    ) else {
        crate::skipped(
            "set INDEPENDENT_SERVERS=1, AWS_ENDPOINT_URL_KINESIS and AWS_ENDPOINT_URL_DYNAMODB to servers \
             on this machine, or run .ci/independent.sh",
        );
        return;
    };
    let endpoints = crate::support::Endpoints::new(kinesis, dynamodb);
    let client = crate::fleet::kinesis(&endpoints);
    for (stream, retrieval) in [("polled", Retrieval::Polling), ("pushed", Retrieval::FanOut)] {
        client.create_stream().stream_name(stream).shard_count(4).send().await.unwrap();
        loop {
            let summary = client.describe_stream_summary().stream_name(stream).send().await.unwrap();
            if summary.stream_description_summary.unwrap().stream_status == StreamStatus::Active {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        crate::fleet::one_killed_one_stopped(&endpoints, stream, retrieval).await;
    }
}

//! PutRecords, and what to do about the records it refuses.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use rand::Rng;
use rokini::{ErrorKind, StreamRef};
use rokini_types::Backoff;

use super::queue::Entry;
use crate::aws::{Aws, Service};
use crate::error::{CliError, Status};
use crate::text::count;

/// How long one attempt to put records may take, and all of its attempts.
const ATTEMPT: Duration = Duration::from_secs(10);
const OPERATION: Duration = Duration::from_secs(30);
/// How long nothing at all may be accepted before the command gives up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// The pauses after requests of which records were refused.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// Sends requests.
pub(super) struct Sender {
    aws: Aws,
    stream: StreamRef,
    client: Client,
    /// Requests in a row of which nothing was accepted.
    rejected_requests: u32,
    last_accepted: Instant,
}

/// What a stream takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of data and key of a record. 1 MiB where the stream does not say it: such servers know no other limit.
    pub(super) record_bytes: usize,
    /// Whether it takes records without a partition key.
    pub(super) takes_keyless: bool,
}

/// A record that the stream has.
pub(super) struct Accepted {
    pub(super) entry: Entry,
    pub(super) shard: String,
    pub(super) sequence: String,
}

impl Accepted {
    pub(super) fn is_where_it_was_meant(&self) -> bool {
        self.entry.record.shard.as_ref().is_none_or(|shard| shard.as_str() == self.shard)
    }
}

/// The outcome of a request.
pub(super) struct Sent {
    pub(super) accepted: Vec<Accepted>,
    /// To be put again, in order.
    pub(super) refused: Vec<Entry>,
    /// How long to wait before the next request.
    pub(super) pause: Option<Duration>,
}

/// Why a request failed.
pub(super) struct SendError {
    pub(super) error: CliError,
    /// Whether it got no answer: the stream may have taken its records.
    pub(super) may_have_arrived: bool,
}

impl From<CliError> for SendError {
    /// An answer, or none was asked for.
    fn from(error: CliError) -> Self {
        Self { error, may_have_arrived: false }
    }
}

impl Sender {
    pub(super) fn new(aws: Aws, stream: StreamRef) -> Result<Self, CliError> {
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build();
        let client = Client::from_conf(Builder::from(&aws.config).timeout_config(timeouts).build());
        Ok(Self { aws, stream, client, rejected_requests: 0, last_accepted: Instant::now() })
    }

    /// What the stream takes.
    pub(super) async fn limits(&self) -> Result<Limits, CliError> {
        let call = Client::new(&self.aws.config).describe_stream_summary();
        let call = match self.stream.arn() {
            Some(arn) => call.stream_arn(arn),
            None => call.stream_name(self.stream.name()),
        };
        let answer = Box::pin(call.send()).await.map_err(|error| {
            let region = self.aws.region();
            let action = "kinesis:DescribeStreamSummary";
            let error = rokini::explain_kinesis_error(error, action, &self.stream, region);
            self.aws.explain(error, Service::Kinesis)
        })?;
        let summary = answer.stream_description_summary.as_ref();
        let kib = summary.and_then(|summary| summary.max_record_size_in_kib);
        let kib = kib.and_then(|kib| usize::try_from(kib).ok()).filter(|kib| *kib > 0).unwrap_or(1024);
        let strategy = summary.and_then(|summary| summary.record_distribution_strategy.as_ref());
        let takes_keyless = strategy.is_some_and(|strategy| strategy.as_str() == "AUTO");
        Ok(Limits { record_bytes: kib << 10, takes_keyless })
    }

    /// Sends one request.
    pub(super) async fn send(&mut self, entries: Vec<Entry>) -> Result<Sent, SendError> {
        let request = entries.iter().map(|Entry { record, .. }| {
            let data = Blob::from_maybe_shared(record.data.clone());
            let key = Some(record.partition_key.clone()).filter(|key| !key.is_empty());
            PutRecordsRequestEntry::builder()
                .set_partition_key(key)
                .set_explicit_hash_key(record.explicit_hash_key.map(|hash| hash.to_string()))
                .data(data)
                .build()
        });
        let request = request.collect::<Result<Vec<_>, _>>();
        let request = request.map_err(|error| {
            CliError::new(Status::DEFECT, "cannot make a PutRecords request").because(&error)
        })?;
        let call = self.client.put_records().set_records(Some(request));
        let call = match self.stream.arn() {
            Some(arn) => call.stream_arn(arn),
            None => call.stream_name(self.stream.name()),
        };
        let (sent, reason) = match Box::pin(call.send()).await {
            Ok(answer) => split(entries, answer)?,
            Err(error) if error.code() == Some("ProvisionedThroughputExceededException") => {
                let reason = error.message().unwrap_or("the rate is exceeded").to_owned();
                (Sent { accepted: Vec::new(), refused: to_be_retried(entries), pause: None }, Some(reason))
            }
            Err(error) => {
                let region = self.aws.region();
                let error = rokini::explain_kinesis_error(error, "kinesis:PutRecords", &self.stream, region);
                let may_have_arrived = error.kind() == ErrorKind::Retry;
                let error = self.aws.explain(error, Service::Kinesis);
                return Err(SendError { error, may_have_arrived });
            }
        };
        Ok(self.pause_or_give_up(sent, reason)?)
    }

    /// Decides how long to wait before the refused records are put again, or that it is no use.
    fn pause_or_give_up(&mut self, mut sent: Sent, reason: Option<String>) -> Result<Sent, CliError> {
        if !sent.accepted.is_empty() {
            self.rejected_requests = 0;
            self.last_accepted = Instant::now();
        } else if !sent.refused.is_empty() {
            self.rejected_requests += 1;
        }
        if sent.refused.is_empty() {
            return Ok(sent);
        }
        if self.last_accepted.elapsed() > GIVE_UP_AFTER {
            let what =
                format!("stream `{}` has accepted no record for {} s", self.stream, GIVE_UP_AFTER.as_secs());
            let next =
                format!("give a lower `--rate`, or add shards: `rokini stream scale {} N`", self.stream);
            let mut error = CliError::new(Status::UNAVAILABLE, what).next(next);
            error.why.extend(reason);
            return Err(error);
        }
        tracing::debug!(refused = sent.refused.len(), reason, "records are put again");
        let share = rand::rng().random_range(Backoff::JITTER);
        sent.pause = Some(PAUSE.jittered(self.rejected_requests + 1, share));
        Ok(sent)
    }
}

fn to_be_retried(entries: Vec<Entry>) -> Vec<Entry> {
    entries.into_iter().map(|entry| Entry { refusals: entry.refusals + 1, ..entry }).collect()
}

/// Splits a request into accepted and refused records, each in the order of the request.
fn split(entries: Vec<Entry>, answer: PutRecordsOutput) -> Result<(Sent, Option<String>), CliError> {
    if answer.records.len() != entries.len() {
        let what = format!(
            "the answer to `kinesis:PutRecords` has {} for {}",
            count(answer.records.len(), "result"),
            count(entries.len(), "record")
        );
        return Err(CliError::new(Status::DEFECT, what).next("check that the endpoint is a Kinesis endpoint"));
    }
    let (mut accepted, mut refused, mut reason) = (Vec::new(), Vec::new(), None);
    for (entry, result) in entries.into_iter().zip(answer.records) {
        match (result.sequence_number, result.shard_id) {
            (Some(sequence), Some(shard)) => accepted.push(Accepted { entry, shard, sequence }),
            _ => {
                reason = result.error_message.or(result.error_code).or(reason);
                refused.push(entry);
            }
        }
    }
    Ok((Sent { accepted, refused: to_be_retried(refused), pause: None }, reason))
}

//! How old the oldest record is that a group has not done: as its live owner says with its heartbeat, and otherwise from the
//! stream itself, so that it is also known for shards that no worker has.
//!
//! That reads one record after the position of each such shard, by GetShardIterator and GetRecords. That is one of the
//! five reads a second that a shard has.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use futures::{StreamExt, stream};
use rokini::lease::{
    LeaseKey, LeaseRow, Position, Progress, SequenceNumber, ShardHealth, ShardId, StreamRow,
};
use rokini::{StreamRef, StreamSource};
use tokio::time::{Instant, sleep, timeout_at};

use super::group_handle::GroupHandle;
use super::liveness::WatchedWorkers;

/// Shards read at a time.
const CONCURRENT: usize = 16;
/// Reads of one shard at most: after empty and throttled ones another follows.
const MAX_READS: u32 = 12;
/// Longer than all reads take.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// Between two reads of a shard.
const PAUSE: Duration = Duration::from_millis(250);

/// How far a shard is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShardLag {
    /// It is read to its end.
    Ended,
    /// The oldest record that is not done came so many milliseconds ago; 0 where there is none.
    Millis(u64),
    /// The stream or the shard does not exist any more.
    Gone(String),
    /// It is not known, and why.
    Unknown(String),
}

impl ShardLag {
    /// As the shard's owner says, which leaves out what is behind by less than two seconds.
    pub(crate) fn told(report: Option<&ShardHealth>) -> Self {
        Self::Millis(report.map_or(0, |report| u64::try_from(report.lag.as_millis()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn millis(&self) -> Option<u64> {
        match self {
            Self::Millis(millis) => Some(*millis),
            Self::Ended => Some(0),
            _ => None,
        }
    }
}

/// By lease.
pub(crate) type ShardLags = BTreeMap<LeaseKey, ShardLag>;

/// `limit`: what is not known by then is left unknown.
pub(crate) async fn measure(
    handle: &GroupHandle,
    leases: &[&LeaseRow],
    workers: &WatchedWorkers,
    limit: Option<Duration>,
) -> ShardLags {
    let deadline = Instant::now() + limit.unwrap_or(FOREVER);
    let late = || ShardLag::Unknown("the stream has not answered yet".to_owned());
    let aws = &handle.table.aws;
    let mut streams = BTreeMap::new();
    for row in &handle.view.streams {
        if leases.iter().any(|lease| lease.key.stream == row.id) {
            let described = timeout_at(deadline, describe(handle, row)).await;
            streams.insert(row.id.clone(), described.unwrap_or_else(|_| Err(late())));
        }
    }
    let client = Client::new(&aws.config);
    let measured = leases.iter().map(|lease| async {
        let lag = match streams.get(&lease.key.stream) {
            _ if lease.position.is_shard_end() => ShardLag::Ended,
            // Reads would take from those of the owner, who knows better.
            Some(Ok(stream)) => match workers.told(lease) {
                Some(told) => ShardLag::told(told.as_ref()),
                None => timeout_at(deadline, measure_shard(&client, stream, lease))
                    .await
                    .unwrap_or_else(|_| late()),
            },
            Some(Err(lag)) => lag.clone(),
            None => ShardLag::Unknown("the group has no row for its stream".to_owned()),
        };
        (lease.key.clone(), lag)
    });
    stream::iter(measured.collect::<Vec<_>>()).buffer_unordered(CONCURRENT).collect().await
}

/// A stream that exists.
pub(super) struct LiveStream {
    reference: StreamRef,
    pub(super) now_millis: u64,
}

pub(super) async fn describe(handle: &GroupHandle, row: &StreamRow) -> Result<LiveStream, ShardLag> {
    let unknown = |error: &dyn std::fmt::Display| ShardLag::Unknown(error.to_string());
    let reference = handle.reference(row).map_err(|error| unknown(&error))?;
    let config = &handle.table.aws.config;
    let source =
        rokini::KinesisSource::new(config, reference.clone(), &rokini::Settings::default(), rand::random())
            .map_err(|error| unknown(&error))?;
    let gone = match source.describe().await {
        Ok(stream) if stream.is(&row.id) => {
            return Ok(LiveStream { reference, now_millis: stream.now_millis });
        }
        Ok(stream) => format!("stream `{}` was deleted and made again as `{}`", row.id, stream.id),
        Err(error) if error.kind() == rokini::ErrorKind::Configuration => error.to_string(),
        Err(error) => return Err(unknown(&error)),
    };
    // A bare name means a stream of the caller's account and region.
    Err(match reference.arn() {
        Some(_) => ShardLag::Gone(gone),
        None => ShardLag::Unknown(format!("{gone}; {}", other_account_hint(&row.name))),
    })
}

/// What to do about a stream that is not found by its bare name.
pub(crate) fn other_account_hint(name: &str) -> String {
    format!("if it is another account's, `--stream arn:aws:kinesis:REGION:ACCOUNT:stream/{name}` names it")
}

async fn measure_shard(client: &Client, stream: &LiveStream, lease: &LeaseRow) -> ShardLag {
    match first_record(client, stream, &lease.key.shard, lease.position).await {
        FirstRecord::Found { arrival, behind, .. } => {
            let age = arrival.map_or(behind, |arrival| stream.now_millis.saturating_sub(arrival));
            // The stream's time has whole seconds, but a record that waits has an age above zero.
            ShardLag::Millis(age.max(behind).max(1))
        }
        FirstRecord::None => ShardLag::Millis(0),
        FirstRecord::Gone(why) => ShardLag::Gone(why),
        FirstRecord::Unknown(why) => ShardLag::Unknown(why),
    }
}

/// What comes first in a shard from a position on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirstRecord {
    /// A record, when it arrived, and how far behind the tip it is, in milliseconds.
    Found { number: Option<SequenceNumber>, arrival: Option<u64>, behind: u64 },
    /// Nothing: the position is at the tip, or at the end of the shard.
    None,
    /// The shard does not exist any more.
    Gone(String),
    /// It is not known, and why.
    Unknown(String),
}

pub(super) async fn first_record(
    client: &Client,
    stream: &LiveStream,
    shard: &ShardId,
    position: Position,
) -> FirstRecord {
    let mut iterator: Option<String> = None;
    let mut reason = String::new();
    for read in 0..MAX_READS {
        if read > 0 {
            sleep(PAUSE).await;
        }
        let at = match iterator.take() {
            Some(at) => at,
            None => match shard_iterator(client, stream, shard, position).await {
                Ok(at) => at,
                Err(ReadFailure::Retry(why)) => {
                    reason = why;
                    continue;
                }
                Err(ReadFailure::Final(found)) => return found,
            },
        };
        let read = client.get_records().shard_iterator(&at).limit(1);
        match read.set_stream_arn(stream.reference.arn().map(str::to_owned)).send().await {
            Ok(page) => {
                let behind = u64::try_from(page.millis_behind_latest().unwrap_or(0)).unwrap_or(0);
                if let Some(record) = page.records().first() {
                    let arrival = record.approximate_arrival_timestamp().and_then(|at| at.to_millis().ok());
                    let arrival = arrival.and_then(|millis| u64::try_from(millis).ok());
                    let number = record.sequence_number().parse().ok();
                    return FirstRecord::Found { number, arrival, behind };
                }
                if behind == 0 || page.next_shard_iterator().is_none() {
                    return FirstRecord::None;
                }
                "the shard has long stretches without records".clone_into(&mut reason);
                iterator = page.next_shard_iterator;
            }
            Err(error) => {
                reason = error_text(&error);
                match ReadFailure::of(error.code(), &reason) {
                    ReadFailure::Retry(_) => iterator = Some(at),
                    ReadFailure::Final(found) => return found,
                }
            }
        }
    }
    FirstRecord::Unknown(reason)
}

async fn shard_iterator(
    client: &Client,
    stream: &LiveStream,
    shard: &ShardId,
    position: Position,
) -> Result<String, ReadFailure> {
    let call = client.get_shard_iterator().shard_id(shard.as_str());
    let call = match stream.reference.arn() {
        Some(arn) => call.stream_arn(arn),
        None => call.stream_name(stream.reference.name()),
    };
    let call = match position {
        Position::TrimHorizon | Position::ShardEnd => {
            call.shard_iterator_type(ShardIteratorType::TrimHorizon)
        }
        Position::AtTimestamp(millis) => call
            .shard_iterator_type(ShardIteratorType::AtTimestamp)
            // Kinesis refuses a time in the future, which a stored one can be where clocks differ.
            .timestamp(DateTime::from_millis(
                i64::try_from(millis.min(stream.now_millis)).unwrap_or(i64::MAX),
            )),
        Position::Sequence(number, Progress::Whole) => call
            .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
            .starting_sequence_number(number.to_string()),
        Position::Sequence(number, _) => call
            .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
            .starting_sequence_number(number.to_string()),
    };
    match call.send().await {
        Ok(answer) => answer.shard_iterator.ok_or_else(|| {
            ReadFailure::Final(FirstRecord::Unknown("the answer of Kinesis has no shard iterator".to_owned()))
        }),
        Err(error) => Err(ReadFailure::of(error.code(), &error_text(&error))),
    }
}

/// A call that failed.
enum ReadFailure {
    Retry(String),
    Final(FirstRecord),
}

impl ReadFailure {
    fn of(code: Option<&str>, text: &str) -> Self {
        match code {
            Some("ResourceNotFoundException") => {
                Self::Final(FirstRecord::Gone("the shard does not exist any more".to_owned()))
            }
            Some(
                "ProvisionedThroughputExceededException" | "LimitExceededException" | "ThrottlingException",
            ) => Self::Retry(text.to_owned()),
            _ => Self::Final(FirstRecord::Unknown(text.to_owned())),
        }
    }
}

fn error_text<E: ProvideErrorMetadata>(
    error: &aws_sdk_kinesis::error::SdkError<E, aws_sdk_kinesis::config::http::HttpResponse>,
) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => "Kinesis did not answer".to_owned(),
    }
}

//! How old the oldest record is that a group has not done, from the streams themselves: also for shards nobody holds.
//!
//! Each unfinished shard is asked for one record after its position: GetShardIterator and a GetRecords of one record, of
//! the five reads a second that a shard has.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use futures::{StreamExt, stream};
use rokini::lease::{LeaseKey, LeaseRow, Position, Progress, StreamRow};
use rokini::{StreamRef, StreamSource};
use tokio::time::sleep;

use super::opened::{Opened, ScopeArgs};

/// Shards asked at a time.
const AT_ONCE: usize = 16;
/// Reads of one shard: empty ones are passed over, and throttled ones tried again.
const READS: u32 = 12;
/// Between two reads of a shard.
const PACE: Duration = Duration::from_millis(250);

/// How far a shard is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// It is read to its end.
    Ended,
    /// The oldest record that is not done came so many milliseconds ago; 0 where there is none.
    Millis(u64),
    /// The stream or the shard does not exist any more.
    Gone(String),
    /// It could not be learnt, and why.
    Unknown(String),
}

impl Backlog {
    pub(crate) fn millis(&self) -> Option<u64> {
        match self {
            Self::Millis(millis) => Some(*millis),
            Self::Ended => Some(0),
            _ => None,
        }
    }
}

/// By lease.
pub(crate) type Backlogs = BTreeMap<LeaseKey, Backlog>;

pub(crate) async fn measure(opened: &Opened, scope: &ScopeArgs, leases: &[&LeaseRow]) -> Backlogs {
    let aws = &opened.table.aws;
    let mut streams = BTreeMap::new();
    for row in &opened.view.streams {
        if leases.iter().any(|lease| lease.key.stream == row.id) {
            streams.insert(row.id.clone(), describe(opened, scope, row).await);
        }
    }
    let client = Client::new(&aws.config);
    let asked = leases.iter().map(|lease| async {
        let backlog = match streams.get(&lease.key.stream) {
            _ if lease.position.is_shard_end() => Backlog::Ended,
            Some(Ok(stream)) => ask(&client, stream, lease).await,
            Some(Err(backlog)) => backlog.clone(),
            None => Backlog::Unknown("the group has no row of its stream".to_owned()),
        };
        (lease.key.clone(), backlog)
    });
    stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await
}

/// A stream that can be asked.
struct Known {
    named: StreamRef,
    now_millis: u64,
}

async fn describe(opened: &Opened, scope: &ScopeArgs, row: &StreamRow) -> Result<Known, Backlog> {
    let unknown = |error: &dyn std::fmt::Display| Backlog::Unknown(error.to_string());
    let named = opened.reference(scope, row).map_err(|error| unknown(&error))?;
    let config = &opened.table.aws.config;
    let source =
        rokini::KinesisSource::new(config, named.clone(), &rokini::Settings::default(), rand::random())
            .map_err(|error| unknown(&error))?;
    let gone = match source.describe().await {
        Ok(stream) if stream.id == row.id => return Ok(Known { named, now_millis: stream.now_millis }),
        Ok(stream) => format!("stream `{}` was deleted and made again as `{}`", row.id, stream.id),
        Err(error) if error.kind() == rokini::ErrorKind::Configuration => error.to_string(),
        Err(error) => return Err(unknown(&error)),
    };
    // A bare name is one of the caller's account and region.
    Err(match named.arn() {
        Some(_) => Backlog::Gone(gone),
        None => Backlog::Unknown(format!("{gone}; {}", elsewhere(&row.name))),
    })
}

/// What to do about a stream that is not found by its bare name.
pub(crate) fn elsewhere(name: &str) -> String {
    format!("if it is another account's, `--stream arn:aws:kinesis:REGION:ACCOUNT:stream/{name}` names it")
}

async fn ask(client: &Client, stream: &Known, lease: &LeaseRow) -> Backlog {
    let mut iterator: Option<String> = None;
    let mut last = String::new();
    for read in 0..READS {
        if read > 0 {
            sleep(PACE).await;
        }
        let at = match iterator.take() {
            Some(at) => at,
            None => match begin(client, stream, lease).await {
                Ok(at) => at,
                Err(Trouble::Later(why)) => {
                    last = why;
                    continue;
                }
                Err(Trouble::Final(backlog)) => return backlog,
            },
        };
        let read = client.get_records().shard_iterator(&at).limit(1);
        match read.set_stream_arn(stream.named.arn().map(str::to_owned)).send().await {
            Ok(page) => {
                if let Some(record) = page.records().first() {
                    let arrival = record.approximate_arrival_timestamp().and_then(|at| at.to_millis().ok());
                    let arrival = arrival.and_then(|millis| u64::try_from(millis).ok());
                    let behind = u64::try_from(page.millis_behind_latest().unwrap_or(0)).unwrap_or(0);
                    let age = arrival.map_or(behind, |arrival| stream.now_millis.saturating_sub(arrival));
                    // The stream says its time in whole seconds: a record is there, so it is not nothing.
                    return Backlog::Millis(age.max(behind).max(1));
                }
                if page.millis_behind_latest().unwrap_or(0) == 0 || page.next_shard_iterator().is_none() {
                    return Backlog::Millis(0);
                }
                "it has long stretches without records".clone_into(&mut last);
                iterator = page.next_shard_iterator;
            }
            Err(error) => {
                last = said(&error);
                match Trouble::of(error.code(), &last) {
                    Trouble::Later(_) => iterator = Some(at),
                    Trouble::Final(backlog) => return backlog,
                }
            }
        }
    }
    Backlog::Unknown(last)
}

async fn begin(client: &Client, stream: &Known, lease: &LeaseRow) -> Result<String, Trouble> {
    let ask = client.get_shard_iterator().shard_id(lease.key.shard.as_str());
    let ask = match stream.named.arn() {
        Some(arn) => ask.stream_arn(arn),
        None => ask.stream_name(stream.named.name()),
    };
    let ask = match lease.position {
        Position::TrimHorizon | Position::ShardEnd => ask.shard_iterator_type(ShardIteratorType::TrimHorizon),
        Position::AtTimestamp(millis) => ask
            .shard_iterator_type(ShardIteratorType::AtTimestamp)
            // Kinesis refuses the future, which a clock may be ahead into.
            .timestamp(DateTime::from_millis(
                i64::try_from(millis.min(stream.now_millis)).unwrap_or(i64::MAX),
            )),
        Position::Sequence(number, Progress::Whole) => ask
            .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
            .starting_sequence_number(number.to_string()),
        Position::Sequence(number, _) => ask
            .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
            .starting_sequence_number(number.to_string()),
    };
    match ask.send().await {
        Ok(answer) => answer
            .shard_iterator
            .ok_or_else(|| Trouble::Final(Backlog::Unknown("no iterator came".to_owned()))),
        Err(error) => Err(Trouble::of(error.code(), &said(&error))),
    }
}

/// What to do about an error.
enum Trouble {
    Later(String),
    Final(Backlog),
}

impl Trouble {
    fn of(code: Option<&str>, said: &str) -> Self {
        match code {
            Some("ResourceNotFoundException") => {
                Self::Final(Backlog::Gone("the shard does not exist any more".to_owned()))
            }
            Some(
                "ProvisionedThroughputExceededException" | "LimitExceededException" | "ThrottlingException",
            ) => Self::Later(said.to_owned()),
            _ => Self::Final(Backlog::Unknown(said.to_owned())),
        }
    }
}

fn said<E: ProvideErrorMetadata>(
    error: &aws_sdk_kinesis::error::SdkError<E, aws_sdk_kinesis::config::http::HttpResponse>,
) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => "Kinesis did not answer".to_owned(),
    }
}

//! `rokini restore`: puts the records of a dump into a stream.

use std::path::PathBuf;

use rokini::StreamRef;
use serde::Serialize;

use super::input::{Input, KeyChoice};
use super::job::{Job, put};
use super::line_file::LineFile;
use super::pack::Packing;
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use crate::text::seconds;

/// Put the records of a dump into a stream
///
/// What `rokini dump` wrote, with the partition keys, explicit hash keys and data that it has, as fast as the stream takes
/// them; `rokini put --replay` keeps the time between them. The stream has to be there, with any number of shards. Records
/// of one key keep their order. They get new sequence numbers and times. A KPL aggregate with user records of several shards, as
/// the stream has them now, is put as one for each of these; others stay as they are. A line that is no record of a dump, or is
/// too large for the stream, is named, and what stands before it is put. A dump without any record is an error.
///
/// With --json standard output gets one object at the end: stream, file, records (user records, where there are aggregates), bytes,
/// retried, unknown and seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// The dump, compressed or not; - is standard input
    file: PathBuf,
    /// Put at most N records a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini restore orders-copy orders.jsonl.gz
  rokini dump orders | rokini restore orders-copy -
  rokini restore orders-copy orders.jsonl.gz --rate 500 --json";

#[derive(Debug, Serialize)]
struct Summary {
    stream: String,
    file: String,
    records: u64,
    /// Of their data.
    bytes: u64,
    /// Records that the stream refused at first.
    retried: u64,
    /// Records besides these that may have been put: their request got no answer.
    unknown: u64,
    seconds: f64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let (stream, file) = (args.stream.to_string(), args.file.display().to_string());
    let job = Job {
        stream: args.stream,
        packing: Packing::Cut,
        // Records of a dump bring theirs along.
        key: KeyChoice::Random,
        rate: args.rate,
        keys_may_share: false,
        output: None,
    };
    let input = Input::Dump(LineFile::new(Some(args.file), None), None);
    let (counts, ended) = put(&args.aws, job, input, context).await?;
    if context.json {
        let seconds = seconds(counts.started.elapsed());
        let (records, bytes, retried) = (counts.records, counts.bytes, counts.refused_at_first);
        let unknown = counts.unknown;
        let summary = Summary { stream, file, records, bytes, retried, unknown, seconds };
        Output::stdout()?.json(&summary).await?;
    }
    ended
}

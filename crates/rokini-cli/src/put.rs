//! `rokini put`: puts records into a stream. `rokini restore`: those of a dump.

mod input;
mod job;
mod line_file;
mod pace;
mod pack;
mod queue;
mod restore;
mod send;

use std::path::PathBuf;

use rokini::StreamRef;

use crate::aws::AwsArgs;
use crate::compression::Decompress;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use input::{Input, KeyChoice};
use job::{Job, put};
use line_file::LineFile;
use pack::Packing;
pub(crate) use restore::{Args as RestoreArgs, run as restore};

/// Put records into a stream
///
/// Each argument is the data of a record. Without arguments each line of standard input or of a file is one, without its line
/// feed; with --random the data are made up. With --key all records have that partition key and are put in their order; with
/// --keyless they have none, for streams that spread records by themselves (AUTO); otherwise each gets a random one. Records
/// that the stream refuses for its limits are put again. One that is too large for the stream is named, and what stands
/// before it is put. With --json standard output gets an object for each record accepted: shard, sequence, key, bytes, and
/// sub_sequence where it is in an aggregate.
///
/// With --replay the records of a dump are put with their keys, as far apart in time as they came to their stream, and as
/// `rokini restore` puts them.
///
/// With --aggregate records of one shard are packed into aggregates of up to 50 KB, as the Kinesis Producer Library (KPL)
/// does it: a shard takes many more records a second then. Consumers have to unpack them, as Rokini and the KCL do. What
/// landed in another shard because the stream was split meanwhile is put again, since the KCL would leave it out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// The data of the records; without any, the lines of standard input
    data: Vec<String>,
    /// Read the lines of this file, in place of standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "random"])]
    from_file: Option<PathBuf>,
    /// Put the records of this dump, each as long after the first as it was; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "random", "from_file", "key", "keyless", "aggregate"])]
    replay: Option<PathBuf>,
    /// So many times as fast, with --replay [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    speed: Option<f64>,
    /// What becomes of compressed input
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Decompress::Auto, conflicts_with_all = ["data", "random"])]
    decompress: Decompress,
    /// The partition key of all records. Default: a random one for each, so that they spread over all shards
    #[arg(long, short, value_name = "KEY", value_parser = key)]
    key: Option<String>,
    /// Put records without partition keys, into a stream whose RecordDistributionStrategy is AUTO
    #[arg(long, conflicts_with_all = ["key", "aggregate"])]
    keyless: bool,
    /// Put N records with made-up data
    #[arg(long, value_name = "N", conflicts_with = "data")]
    random: Option<u64>,
    /// The size of made-up data, in bytes
    #[arg(long, value_name = "BYTES", requires = "random", conflicts_with = "data", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=10 << 20))]
    size: u32,
    /// Put at most N records a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Put the records of the key many at a time: faster, but those that the stream refuses at first come after others
    #[arg(long, requires = "key")]
    unordered: bool,
    /// Pack records of one shard into aggregates of the KPL
    #[arg(long)]
    aggregate: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini put orders hello world
  rokini put orders --key customer-7 < events.jsonl  # in order, all on one shard
  rokini put orders --from-file events.jsonl.gz      # unpacked on the way
  tail -f app.log | rokini put logs
  rokini put orders --random 10000 --size 512 --rate 500
  rokini put orders --random 1000000 --aggregate     # many small records, packed
  rokini put orders --replay orders.jsonl.gz --speed 10
  rokini put orders hello --json                     # shows the sequence number";

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("expected a number greater than 0, such as `2` or `0.5`".to_owned()),
    }
}

/// Limit of Kinesis: 1 to 256 characters.
fn key(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=256 => Ok(text.to_owned()),
        _ => Err("a partition key has 1 to 256 characters".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    if args.speed.is_some() && args.replay.is_none() {
        return Err(CliError::usage("`--speed` has no effect without `--replay`")
            .next("name a dump by `--replay FILE`, or limit the rate by `--rate`"));
    }
    let key = match (args.key, args.keyless) {
        (Some(key), _) => KeyChoice::Fixed(key),
        (None, true) => KeyChoice::None,
        (None, false) => KeyChoice::Random,
    };
    let stdin_is_input =
        args.random.is_none() && args.data.is_empty() && args.from_file.is_none() && args.replay.is_none();
    let input = match (args.random, args.replay) {
        (Some(count), _) => Input::Random { count, size: args.size },
        (None, Some(dump)) => {
            Input::Dump(LineFile::new(Some(dump), Some(args.decompress)), Some(args.speed.unwrap_or(1.0)))
        }
        (None, None) if !args.data.is_empty() => Input::Arguments(args.data),
        (None, None) => Input::Lines(LineFile::new(args.from_file, Some(args.decompress))),
    };
    if stdin_is_input && std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        context.ui.info("each line becomes a record; Ctrl-D ends the input");
    }
    // Made-up keys have no order among each other.
    let keys_may_share = args.unordered || (args.aggregate && key == KeyChoice::Random);
    let packing = match (&input, args.aggregate) {
        (Input::Dump(..), _) => Packing::Cut,
        (_, true) => Packing::Aggregate,
        (_, false) => Packing::AsTheyAre,
    };
    let output = if context.json { Some(Output::stdout()?) } else { None };
    let job = Job { stream: args.stream, packing, key, rate: args.rate, keys_may_share, output };
    let (_, ended) = put(&args.aws, job, input, context).await?;
    ended
}

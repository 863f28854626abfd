//! `rokini dump`: the records of a stream as lines of a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use rokini::StartPosition;
use serde::Serialize;
use tokio::task::block_in_place;

use super::merge::{Merge, Run};
use super::select::{ReadArgs, select, start_help};
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use crate::record_dump::DumpedRecord;
use crate::text::{count, seconds};

/// Write the records of a stream to a file, from which `restore` and `put --replay` put them again
///
/// Reads each shard to its newest record, parents before their children, and writes one JSON object a line: time, shard,
/// sequence, key, hash_key and data (base64), in the order of their times. Aggregates stay as they are. hash_key is there where
/// the partition key alone would lead to another shard: the first hash of the shard the record was in, since the stream does
/// not hand out the one it was put with.
///
/// A file whose name ends in .gz is compressed. It is called FILE.part until it is whole. With --json standard output gets one
/// object at the end: stream, file, records, bytes, shards, first, last and seconds; without --out standard error gets it,
/// since standard output has the records.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    reading: ReadArgs,
    /// The file; without it, standard output. One that is there is not overwritten
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where to start
    #[arg(long, alias = "start", value_name = "POSITION", default_value = "trim_horizon", allow_hyphen_values = true,
          long_help = start_help())]
    from: StartPosition,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini dump orders --out orders.jsonl.gz
  rokini dump orders --from -1h | gzip > last-hour.jsonl.gz
  rokini dump orders --shard 3 --out shard-3.jsonl --json";

/// Bytes that are written at once.
const CHUNK: usize = 256 << 10;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize)]
struct Summary {
    stream: String,
    file: Option<String>,
    records: u64,
    /// Of their data.
    bytes: u64,
    shards: usize,
    /// The times of the oldest and the newest record.
    first: Option<String>,
    last: Option<String>,
    seconds: f64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    if let Some(file) = &args.out {
        check_name(file)?;
    }
    let aws = args.aws.load().await?;
    let begun = Instant::now();
    let selection = tokio::select! {
        selection = select(&args.reading, args.from, &aws) => selection?,
        () = context.stop.requested() => return Ok(context.stop.status()),
    };
    let mut target = Target::open(args.out.clone())?;
    let mut summary = Summary {
        stream: args.reading.stream.to_string(),
        file: args.out.as_ref().map(|file| file.display().to_string()),
        records: 0,
        bytes: 0,
        shards: 0,
        first: None,
        last: None,
        seconds: 0.0,
    };
    let written = tokio::select! {
        written = write(Merge::new(selection), &mut target, &mut summary, context) => written.map(|()| true),
        () = context.stop.requested() => Ok(false),
    };
    context.ui.progress_done();
    let whole = match written {
        Ok(whole) => whole,
        Err(error) => return Err(target.unfinished(error)),
    };
    summary.seconds = seconds(begun.elapsed());
    if !whole {
        let kept = target.part().map(|part| format!("; they are in {}", part.display())).unwrap_or_default();
        context.ui.warn(format_args!("interrupted after {}{kept}", count(summary.records, "record")));
        return Ok(context.stop.status());
    }
    target.finish().await?;
    show(&summary, context).await?;
    Ok(Status::DONE)
}

async fn show(summary: &Summary, context: &Context) -> Result<(), CliError> {
    match (context.json, &summary.file) {
        (true, Some(_)) => Output::stdout()?.json(summary).await?,
        (true, None) => context.ui.object("dump", summary),
        (false, _) => context.ui.info(format_args!(
            "dumped {} ({}) of `{}` in {:.1} s",
            count(summary.records, "record"),
            count(summary.bytes, "byte"),
            summary.stream,
            summary.seconds
        )),
    }
    Ok(())
}

fn check_name(file: &Path) -> Result<(), CliError> {
    if file.exists() {
        return Err(CliError::usage(format!("{} is there already", file.display()))
            .next("give another name, or remove it"));
    }
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if ["zst", "zstd", "bz2", "xz", "lz4"].contains(&extension) {
        return Err(CliError::usage(format!("a dump is not compressed as .{extension}"))
            .next("name it .jsonl or .jsonl.gz, or pipe standard output through a program"));
    }
    Ok(())
}

async fn write(
    mut merge: Merge,
    target: &mut Target,
    summary: &mut Summary,
    context: &Context,
) -> Result<(), CliError> {
    let (mut lines, mut shards) = (Vec::new(), std::collections::BTreeSet::new());
    let mut shown = Instant::now();
    while let Some(Run { shard, range, records }) = merge.next(context).await? {
        for record in &records {
            let dumped = DumpedRecord::of(record, &shard, range);
            serde_json::to_writer(&mut lines, &dumped)
                .map_err(|error| CliError::new(Status::DEFECT, "cannot write JSON").because(&error))?;
            lines.push(b'\n');
            summary.records += 1;
            summary.bytes += record.data().len() as u64;
            summary.first.get_or_insert_with(|| dumped.time.clone());
            summary.last = Some(dumped.time);
            if lines.len() >= CHUNK {
                target.write(std::mem::take(&mut lines)).await?;
            }
        }
        shards.insert(shard);
        summary.shards = shards.len();
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            let until = summary.last.as_deref().unwrap_or("-");
            context.ui.progress(format_args!("{}, up to {until}", count(summary.records, "record")));
        }
    }
    target.write(lines).await
}

/// Where the lines go.
enum Target {
    Stdout(Output),
    File { file: PathBuf, part: PathBuf, writer: FileWriter },
}

enum FileWriter {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Target {
    fn open(file: Option<PathBuf>) -> Result<Self, CliError> {
        let Some(file) = file else { return Ok(Self::Stdout(Output::stdout()?)) };
        let mut part = file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let opened = File::create(&part).map_err(|error| cannot_write(&part, &error))?;
        let opened = BufWriter::with_capacity(CHUNK, opened);
        let packed = file.extension().is_some_and(|extension| extension == "gz");
        let writer = match packed {
            true => FileWriter::Gzip(GzEncoder::new(opened, flate2::Compression::default())),
            false => FileWriter::Plain(opened),
        };
        Ok(Self::File { file, part, writer })
    }

    fn part(&self) -> Option<&Path> {
        match self {
            Self::Stdout(_) => None,
            Self::File { part, .. } => Some(part),
        }
    }

    /// Says where the records are that were read before it failed.
    fn unfinished(&self, error: CliError) -> CliError {
        match (self.part(), &error.next) {
            (Some(part), None) => error.next(format!("what was read so far is in {}", part.display())),
            _ => error,
        }
    }

    async fn write(&mut self, lines: Vec<u8>) -> Result<(), CliError> {
        match self {
            Self::Stdout(output) => output.write(lines).await,
            Self::File { part, writer, .. } => block_in_place(|| match writer {
                FileWriter::Plain(writer) => writer.write_all(&lines),
                FileWriter::Gzip(writer) => writer.write_all(&lines),
            })
            .map_err(|error| cannot_write(part, &error)),
        }
    }

    /// Gives the file its name once all of it is on the disk.
    async fn finish(self) -> Result<(), CliError> {
        let Self::File { file, part, writer } = self else { return Ok(()) };
        let finish = || -> io::Result<()> {
            let written = match writer {
                FileWriter::Plain(writer) => writer,
                FileWriter::Gzip(writer) => writer.finish()?,
            };
            written.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            std::fs::rename(&part, &file)
        };
        block_in_place(finish).map_err(|error| cannot_write(&part, &error))
    }
}

fn cannot_write(file: &Path, error: &io::Error) -> CliError {
    CliError::new(Status::FAILED, format!("cannot write {}", file.display()))
        .because(error)
        .next("give a place with enough room by `--out`")
}

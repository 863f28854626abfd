//! `rokini put`: puts records into a stream.

mod input;
mod queue;
mod send;

use std::time::{Duration, Instant};

use rokini::StreamRef;
use serde_json::json;
use tokio::sync::mpsc;

use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use crate::text::count;
use input::Input;
use queue::{Entry, Queue};
use send::{Accepted, Sender};

/// Put records into a stream
///
/// Each argument is the data of a record. Without arguments each line of standard input is one, and with --random the
/// data are made up. With --key all records have that partition key and are put in their order; without it each gets a
/// random one. Records that the stream refuses for its limits are put again. With --json standard output gets an object
/// for each record accepted: shard, sequence, key, bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// The data of the records; without any, the lines of standard input
    data: Vec<String>,
    /// The partition key of all records. Default: a random one for each, so that they spread over all shards
    #[arg(long, short, value_name = "KEY", value_parser = key)]
    key: Option<String>,
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
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini put orders hello world
  rokini put orders --key customer-7 < events.jsonl  # in order, all on one shard
  tail -f app.log | rokini put logs
  rokini put orders --random 10000 --size 512 --rate 500
  rokini put orders hello --json                     # shows the sequence number";

/// Limit of Kinesis: 1 to 256 characters.
fn key(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=256 => Ok(text.to_owned()),
        _ => Err("a partition key has 1 to 256 characters".to_owned()),
    }
}

/// How long a request waits for more records to go along.
const LINGER: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let aws = args.aws.load().await?;
    let (_, described) = tokio::select! {
        opened = aws.open(&args.stream) => opened?,
        () = context.stop.requested() => return Ok(context.stop.status()),
    };
    tracing::debug!(stream = %described.id, "the stream exists");
    let sender = Sender::new(aws, args.stream.clone())?;
    let output = if context.json { Some(Output::stdout()?) } else { None };
    let input = match (args.random, args.data.is_empty()) {
        (Some(count), _) => Input::random(count, args.size),
        (None, false) => Input::arguments(args.data),
        (None, true) => {
            if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                context.ui.info("each line becomes a record; Ctrl-D ends the input");
            }
            Input::stdin()
        }
    };
    let entries = input.start(args.key, args.rate);
    let mut put = Put { sender, output, entries, queue: Queue::new(args.unordered), counts: Counts::new() };
    let result = put.run(context).await;
    context.ui.progress_done();
    put.summary(&args.stream, context);
    match result? {
        End::Everything => Ok(Status::DONE),
        End::Interrupted => Ok(context.stop.status()),
    }
}

struct Put {
    sender: Sender,
    /// Gets a line for each record that was accepted.
    output: Option<Output>,
    entries: mpsc::Receiver<Result<Entry, CliError>>,
    queue: Queue,
    counts: Counts,
}

enum End {
    Everything,
    Interrupted,
}

impl Put {
    async fn run(&mut self, context: &Context) -> Result<End, CliError> {
        let mut more = true;
        loop {
            let filled = tokio::select! {
                biased;
                () = context.stop.requested() => None,
                filled = self.fill(&mut more) => Some(filled),
            };
            match filled {
                None => return Ok(End::Interrupted),
                // What was read before the input failed is put first.
                Some(Err(error)) => {
                    while !self.queue.is_empty() && !context.stop.token().is_cancelled() {
                        self.send(context).await?;
                    }
                    return Err(error);
                }
                Some(Ok(())) => {}
            }
            if self.queue.is_empty() {
                return Ok(End::Everything);
            }
            self.send(context).await?;
        }
    }

    /// Waits for a record, and a moment longer for those that come right after.
    async fn fill(&mut self, more: &mut bool) -> Result<(), CliError> {
        let linger = tokio::time::sleep(LINGER);
        tokio::pin!(linger);
        while *more && !self.queue.is_full() {
            let next = if self.queue.is_empty() {
                self.entries.recv().await
            } else if self.queue.fills_a_request() {
                match self.entries.try_recv() {
                    Ok(next) => Some(next),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => None,
                }
            } else {
                tokio::select! {
                    next = self.entries.recv() => next,
                    () = &mut linger => break,
                }
            };
            match next {
                Some(entry) => self.queue.push(entry?),
                None => *more = false,
            }
        }
        Ok(())
    }

    async fn send(&mut self, context: &Context) -> Result<(), CliError> {
        let request = self.queue.next_request();
        let sent = self.sender.send(request).await?;
        self.queue.put_back(sent.refused);
        self.counts.add(&sent.accepted);
        if let Some(output) = &self.output {
            let mut lines = Vec::new();
            for Accepted { entry, shard, sequence } in &sent.accepted {
                let line = json!({
                    "shard": shard, "sequence": sequence, "key": entry.key, "bytes": entry.data.len(),
                });
                lines.extend(line.to_string().into_bytes());
                lines.push(b'\n');
            }
            match output.write(lines).await {
                // The records matter more than the list of them.
                Err(error) if error.reader_gone => self.output = None,
                written => written?,
            }
        }
        self.counts.progress(context);
        if let Some(pause) = sent.pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = context.stop.requested() => {}
            }
        }
        Ok(())
    }

    fn summary(&self, stream: &StreamRef, context: &Context) {
        let Counts { records, bytes, refused_at_first: refused, .. } = self.counts;
        let seconds = self.counts.started.elapsed().as_secs_f64();
        let refused =
            if refused > 0 { format!(", {refused} of them refused at first") } else { String::new() };
        let left = match self.queue.len() {
            0 => String::new(),
            left => format!("; {} more read but not put", count(left, "record")),
        };
        let (records, bytes) = (count(records, "record"), count(bytes, "byte"));
        context
            .ui
            .info(format_args!("put {records} ({bytes}) into `{stream}` in {seconds:.1} s{refused}{left}"));
    }
}

struct Counts {
    started: Instant,
    shown: Instant,
    records: u64,
    bytes: u64,
    /// Of these records.
    refused_at_first: u64,
}

impl Counts {
    fn new() -> Self {
        let now = Instant::now();
        Self { started: now, shown: now, records: 0, bytes: 0, refused_at_first: 0 }
    }

    fn add(&mut self, accepted: &[Accepted]) {
        self.records += accepted.len() as u64;
        self.bytes += accepted.iter().map(|accepted| accepted.entry.data.len() as u64).sum::<u64>();
        self.refused_at_first +=
            accepted.iter().filter(|accepted| accepted.entry.refusals > 0).count() as u64;
    }

    fn progress(&mut self, context: &Context) {
        if self.shown.elapsed() > Duration::from_millis(200) {
            self.shown = Instant::now();
            let rate = self.records as f64 / self.started.elapsed().as_secs_f64();
            let records = count(self.records, "record");
            context.ui.progress(format_args!("{records} put, {rate:.0} a second"));
        }
    }
}

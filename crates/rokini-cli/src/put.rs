//! `rokini put`: puts records into a stream.

mod input;
mod pack;
mod queue;
mod send;

use std::time::{Duration, Instant};

use rokini::{StreamRef, UserRecord};
use serde_json::json;
use tokio::sync::mpsc;

use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use crate::text::count;
use input::Input;
use pack::{LINGER, Packer};
use queue::Queue;
use send::{Accepted, Sender};

/// Put records into a stream
///
/// Each argument is the data of a record. Without arguments each line of standard input is one, and with --random the
/// data are made up. With --key all records have that partition key and are put in their order; without it each gets a
/// random one. Records that the stream refuses for its limits are put again. With --json standard output gets an object
/// for each record accepted: shard, sequence, key, bytes, and sub_sequence where it is in an aggregate.
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
  tail -f app.log | rokini put logs
  rokini put orders --random 10000 --size 512 --rate 500
  rokini put orders --random 1000000 --aggregate     # many small records, packed
  rokini put orders hello --json                     # shows the sequence number";

/// Limit of Kinesis: 1 to 256 characters.
fn key(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=256 => Ok(text.to_owned()),
        _ => Err("a partition key has 1 to 256 characters".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let aws = args.aws.load().await?;
    let (source, described) = tokio::select! {
        opened = aws.open(&args.stream) => opened?,
        () = context.stop.requested() => return Ok(context.stop.status()),
    };
    tracing::debug!(stream = %described.id, "the stream exists");
    let packer = Packer::new(aws.clone(), args.aggregate.then_some(source)).await?;
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
    // Made-up keys have no order among each other.
    let keys_may_share = args.unordered || (args.aggregate && args.key.is_none());
    let queue = Queue::new(keys_may_share);
    let records = input.start(args.key, args.rate);
    let mut put = Put { sender, output, records, packer, queue, counts: Counts::new() };
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
    records: mpsc::Receiver<Result<UserRecord, CliError>>,
    packer: Packer,
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
                    self.take_packed(true);
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

    fn take_packed(&mut self, all: bool) {
        self.packer.take(all).into_iter().for_each(|record| self.queue.push(record.into()));
    }

    /// Waits for a record, and a moment longer for those that come right after.
    async fn fill(&mut self, more: &mut bool) -> Result<(), CliError> {
        let linger = tokio::time::sleep(LINGER);
        tokio::pin!(linger);
        while *more && !self.queue.is_full() {
            let next = if self.queue.is_empty() && self.packer.waiting() == 0 {
                self.records.recv().await
            } else if self.queue.fills_a_request() {
                match self.records.try_recv() {
                    Ok(next) => Some(next),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => None,
                }
            } else {
                tokio::select! {
                    next = self.records.recv() => next,
                    () = &mut linger => break,
                }
            };
            match next {
                Some(record) => {
                    self.packer.push(record?).into_iter().for_each(|record| self.queue.push(record.into()));
                }
                None => *more = false,
            }
        }
        // What is not full may fill up while a full request is on its way.
        self.take_packed(!*more || !self.queue.fills_a_request());
        Ok(())
    }

    async fn send(&mut self, context: &Context) -> Result<(), CliError> {
        let request = self.queue.next_request();
        let mut sent = self.sender.send(request).await?;
        self.queue.put_back(sent.refused);
        let again = self.packer.repack(&mut sent.accepted).await?;
        again.into_iter().for_each(|record| self.queue.push(record.into()));
        self.counts.add(&sent.accepted);
        if let Some(output) = &self.output {
            let mut lines = Vec::new();
            sent.accepted.iter().for_each(|accepted| write_lines(accepted, &mut lines));
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
        let left = match self.queue.len() + self.packer.waiting() {
            0 => String::new(),
            left => format!("; {} more read but not put", count(left, "record")),
        };
        let (records, bytes) = (count(records, "record"), count(bytes, "byte"));
        context
            .ui
            .info(format_args!("put {records} ({bytes}) into `{stream}` in {seconds:.1} s{refused}{left}"));
    }
}

/// A line for each record of users in it.
fn write_lines(Accepted { entry, shard, sequence }: &Accepted, lines: &mut Vec<u8>) {
    let several = entry.record.user_records.len() > 1;
    for (sub, record) in entry.record.user_records.iter().enumerate() {
        let mut line = json!({
            "shard": shard, "sequence": sequence, "key": record.partition_key, "bytes": record.data.len(),
        });
        if several {
            line["sub_sequence"] = sub.into();
        }
        lines.extend(line.to_string().into_bytes());
        lines.push(b'\n');
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
        for Accepted { entry, .. } in accepted {
            let records = &entry.record.user_records;
            self.records += records.len() as u64;
            self.bytes += records.iter().map(|record| record.data.len() as u64).sum::<u64>();
            self.refused_at_first += if entry.refusals > 0 { records.len() as u64 } else { 0 };
        }
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

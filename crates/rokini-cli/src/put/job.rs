//! Puts all records of an input, however often the stream refuses some.

use std::time::{Duration, Instant};

use rokini::{StreamRef, UserRecord};
use serde_json::json;
use tokio::sync::mpsc;

use super::input::{Input, KeyChoice, Terms};
use super::pack::{LINGER, Packer, Packing};
use super::queue::Queue;
use super::send::{Accepted, Limits, SendError, Sender};
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use crate::text::count;

/// What to put, and how.
pub(super) struct Job {
    pub(super) stream: StreamRef,
    pub(super) packing: Packing,
    pub(super) key: KeyChoice,
    pub(super) rate: Option<u32>,
    /// Whether records of one key may be in one request.
    pub(super) keys_may_share: bool,
    /// Gets a line for each record that was accepted.
    pub(super) output: Option<Output>,
}

/// Puts all of an input. Returns what was put, also where it ended early.
pub(super) async fn put(
    aws: &AwsArgs,
    job: Job,
    input: Input,
    context: &Context,
) -> Result<(Counts, Result<Status, CliError>), CliError> {
    let Job { stream, packing, key, rate, keys_may_share, output } = job;
    let aws = aws.load().await?;
    let open = async {
        let (source, _) = aws.open(&stream).await?;
        let sender = Sender::new(aws.clone(), stream.clone())?;
        let limits = sender.limits().await?;
        Ok::<_, CliError>((source, sender, limits))
    };
    let (source, sender, limits) = tokio::select! {
        opened = open => opened?,
        () = context.stop.requested() => return Ok((Counts::new(), Ok(context.stop.status()))),
    };
    if key == KeyChoice::None && !limits.takes_keyless {
        return Err(CliError::usage(format!("stream `{stream}` takes no records without a partition key"))
            .reason("its RecordDistributionStrategy is not AUTO")
            .next("leave out `--keyless`, or `aws kinesis update-stream-record-distribution-strategy`"));
    }
    let Limits { record_bytes, takes_keyless } = limits;
    // Where the stream places records by itself, no shard is a key's own.
    let packing = if takes_keyless && packing == Packing::Cut { Packing::AsTheyAre } else { packing };
    let packer = Packer::new(aws.clone(), source, packing, record_bytes).await?;
    let terms = Terms { key, most_bytes: record_bytes, takes_keyless, rate };
    let is_dump = matches!(input, Input::Dump(..));
    let records = input.start(terms)?;
    let queue = Queue::new(keys_may_share);
    let mut put = Put { sender, output, records, packer, queue, counts: Counts::new() };
    let result = put.run(context).await;
    context.ui.progress_done();
    put.summary(&stream, context);
    let ended = result.and_then(|end| match end {
        End::Everything if is_dump && put.counts.records == 0 => Err(empty_dump()),
        End::Everything => Ok(Status::DONE),
        End::Interrupted => Ok(context.stop.status()),
    });
    Ok((put.counts, ended))
}

/// What wrote it into a pipe may have failed: nothing but this tells.
fn empty_dump() -> CliError {
    CliError::new(Status::FAILED, "the dump has no record at all")
        .next("check that whatever wrote it ended well; `rokini dump` writes such a one of a stream without records")
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
        let records: usize = request.iter().map(|entry| entry.record.user_records.len()).sum();
        let mut sent = match self.sender.send(request).await {
            Ok(sent) => sent,
            Err(SendError { error, may_have_arrived }) => {
                if may_have_arrived {
                    self.counts.unknown += records as u64;
                }
                return Err(error);
            }
        };
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
        let Counts { records, bytes, refused_at_first: refused, unknown, .. } = self.counts;
        let seconds = self.counts.started.elapsed().as_secs_f64();
        let refused =
            if refused > 0 { format!(", {refused} of them refused at first") } else { String::new() };
        let unknown = match unknown {
            0 => String::new(),
            unknown => format!("; whether {} more arrived is not known", count(unknown, "record")),
        };
        let left = match self.queue.len() + self.packer.waiting() {
            0 => String::new(),
            left => format!("; {} more read but not put", count(left, "record")),
        };
        let (records, bytes) = (count(records, "record"), count(bytes, "byte"));
        context.ui.info(format_args!(
            "put {records} ({bytes}) into `{stream}` in {seconds:.1} s{refused}{unknown}{left}"
        ));
    }
}

/// A line for each record of users in it.
fn write_lines(Accepted { entry, shard, sequence }: &Accepted, lines: &mut Vec<u8>) {
    let several = entry.record.user_records.len() > 1;
    for (sub, record) in entry.record.user_records.iter().enumerate() {
        let key = Some(&record.partition_key).filter(|key| !key.is_empty());
        let mut line = json!({
            "shard": shard, "sequence": sequence, "key": key, "bytes": record.data.len(),
        });
        if several {
            line["sub_sequence"] = sub.into();
        }
        lines.extend(line.to_string().into_bytes());
        lines.push(b'\n');
    }
}

pub(super) struct Counts {
    pub(super) started: Instant,
    shown: Instant,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Of these records.
    pub(super) refused_at_first: u64,
    /// Besides these, those of a request that got no answer: the stream may have taken them.
    pub(super) unknown: u64,
}

impl Counts {
    fn new() -> Self {
        let now = Instant::now();
        Self { started: now, shown: now, records: 0, bytes: 0, refused_at_first: 0, unknown: 0 }
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

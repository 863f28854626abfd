//! Where the records to put come from.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rokini::UserRecord;
use tokio::sync::mpsc;

use super::line_file::{LineFile, Lines};
use super::pace::{Timed, WAITING, paced};
use crate::error::{CliError, Status};
use crate::record_dump::DumpedRecord;

/// Where the records come from.
pub(super) enum Input {
    Arguments(Vec<String>),
    /// Each line is the data of one.
    Lines(LineFile),
    /// Each line is a record of a dump. With a speed they come as they came to the stream, so many times as fast.
    Dump(LineFile, Option<f64>),
    Random {
        count: u64,
        size: u32,
    },
}

/// What every record gets, and what it may have at most.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) key: KeyChoice,
    /// Bytes of data and key, as the stream takes them.
    pub(super) most_bytes: usize,
    /// Whether the stream takes records without a partition key.
    pub(super) takes_keyless: bool,
    /// Records a second.
    pub(super) rate: Option<u32>,
}

/// The partition keys of records that bring none along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyChoice {
    Fixed(String),
    Random,
    /// The stream places them by itself. An empty key stands for none: those of Kinesis have a character at least.
    None,
}

/// The longest line of a dump: a record of 10 MiB in base64, and what stands around it.
const DUMP_LINE: usize = 15 << 20;

impl Input {
    /// Reads on a thread of its own: files and standard input have no other way. An error is the last that comes.
    pub(super) fn start(
        self,
        terms: Terms,
    ) -> Result<mpsc::Receiver<Result<UserRecord, CliError>>, CliError> {
        let (records, timed) = mpsc::channel::<Result<Timed, CliError>>(WAITING);
        let rate = terms.rate;
        let read = move || {
            let mut produce = |record: Result<Timed, CliError>| {
                let failed = record.is_err();
                records.blocking_send(record).is_ok() && !failed
            };
            if let Err(error) = self.produce(&terms, &mut produce) {
                produce(Err(error));
            }
        };
        let started = thread::Builder::new().name("input".to_owned()).spawn(read);
        started.map_err(|error| CliError::new(Status::FAILED, "cannot read the input").because(&error))?;
        Ok(paced(timed, rate))
    }

    /// Hands out one record after the other until nobody wants more.
    fn produce(
        self,
        terms: &Terms,
        produce: &mut dyn FnMut(Result<Timed, CliError>) -> bool,
    ) -> Result<(), CliError> {
        match self {
            Self::Arguments(data) => {
                for (index, data) in data.into_iter().enumerate() {
                    let place = || format!("argument {}", index + 1);
                    terms.check_size(data.len(), terms.key_len(), place)?;
                    if !produce(Ok((terms.record(data.into()), None))) {
                        break;
                    }
                }
            }
            Self::Random { count, size } => {
                terms.check_size(size as usize, terms.key_len(), || "a record of `--size`".to_owned())?;
                let mut left = count;
                while left > 0 && produce(Ok((terms.record(random_data(size)), None))) {
                    left -= 1;
                }
            }
            Self::Lines(file) => {
                let mut lines = file.open()?;
                let most = terms.most_bytes.saturating_sub(terms.key_len());
                while let Some(line) = lines.next(most, |place| terms.too_large(place, None, most))? {
                    if !produce(Ok((terms.record(line.into()), None))) {
                        break;
                    }
                }
            }
            Self::Dump(file, speed) => {
                let mut lines = file.open()?;
                let mut first = None;
                while let Some(line) =
                    lines.next(DUMP_LINE, |place| terms.too_large(place, None, DUMP_LINE))?
                {
                    let (record, at_millis) = terms.dumped(&line, &lines)?;
                    let first = *first.get_or_insert(at_millis);
                    let after = Duration::from_millis(at_millis.saturating_sub(first));
                    let due = speed.map(|speed| Duration::try_from_secs_f64(after.as_secs_f64() / speed));
                    let due = due.map(|due| due.unwrap_or(Duration::MAX / 4));
                    if !produce(Ok((record, due))) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Terms {
    /// A record that brings no key along.
    fn record(&self, data: Bytes) -> UserRecord {
        let partition_key = match &self.key {
            KeyChoice::Fixed(key) => key.clone(),
            KeyChoice::Random => random_key(),
            KeyChoice::None => String::new(),
        };
        UserRecord::new(partition_key, data)
    }

    /// Bytes of the key of a record that brings none along.
    fn key_len(&self) -> usize {
        match &self.key {
            KeyChoice::Fixed(key) => key.len(),
            KeyChoice::Random => 32,
            KeyChoice::None => 0,
        }
    }

    /// A line as a record of a dump, and when the stream took it.
    fn dumped(&self, line: &[u8], lines: &Lines) -> Result<(UserRecord, u64), CliError> {
        let (record, at_millis) = DumpedRecord::parse(line).map_err(|why| {
            CliError::usage(format!("{} is not a record of a dump", lines.place()))
                .reason(why)
                .next("`rokini dump STREAM --out FILE` writes such files; the lines before it are put")
        })?;
        if record.partition_key.is_empty() && !self.takes_keyless {
            return Err(CliError::usage(format!(
                "{} has no partition key, and the stream takes no such records",
                lines.place()
            ))
            .reason("the RecordDistributionStrategy of the stream is not AUTO")
            .next(
                "restore it into one where it is: `aws kinesis update-stream-record-distribution-strategy`",
            ));
        }
        self.check_size(record.data.len(), record.partition_key.len(), || lines.place())?;
        Ok((record, at_millis))
    }

    fn check_size(&self, data: usize, key: usize, place: impl Fn() -> String) -> Result<(), CliError> {
        let most = self.most_bytes.saturating_sub(key);
        if data > most { Err(self.too_large(&place(), Some(data), most)) } else { Ok(()) }
    }

    fn too_large(&self, place: &str, bytes: Option<usize>, most: usize) -> CliError {
        let has = bytes.map_or_else(|| format!("more than {most} bytes"), |bytes| format!("{bytes} bytes"));
        let takes = self.most_bytes;
        CliError::usage(format!(
            "{place} has {has}: with its key it is too large for the stream, which takes {takes}"
        ))
        .next(
            "split it, or let the stream take up to 10 MiB: `aws kinesis update-max-record-size`; what stands before it \
             is put",
        )
    }
}

fn random_key() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// Letters and digits, so that the data show well.
fn random_data(size: u32) -> Bytes {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(size as usize).collect()
}

//! Where the records to put come from.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rokini::{StartPosition, UserRecord};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::compression::{Decompress, reader};
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

/// A file of lines.
#[derive(Debug, Clone)]
pub(super) struct LineFile {
    /// `None` for standard input.
    pub(super) path: Option<PathBuf>,
    pub(super) decompress: Decompress,
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

/// A record, and when it is to be put, counted from the time of the first.
type Timed = (UserRecord, Option<Duration>);

/// The longest line of a dump: a record of 10 MiB in base64, and what stands around it.
const DUMP_LINE: usize = 15 << 20;
/// Records that wait between reading and packing.
const WAITING: usize = 64;

impl LineFile {
    /// The name `-` is standard input.
    pub(super) fn new(path: Option<PathBuf>, decompress: Decompress) -> Self {
        Self { path: path.filter(|path| path.as_os_str() != "-"), decompress }
    }

    fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard input".to_owned(),
        }
    }

    fn open(&self) -> Result<Lines, CliError> {
        let input: io::Result<Box<dyn BufRead + Send>> = match &self.path {
            Some(path) => File::open(path)
                .and_then(|file| reader(BufReader::with_capacity(64 << 10, file), self.decompress)),
            None => reader(BufReader::with_capacity(64 << 10, io::stdin()), self.decompress),
        };
        let input = input.map_err(|error| self.unreadable(&error))?;
        Ok(Lines { file: self.clone(), input, number: 0 })
    }

    fn unreadable(&self, error: &io::Error) -> CliError {
        CliError::new(Status::FAILED, format!("cannot read {}", self.name()))
            .because(error)
            .next("check the name and that it is whole; `--decompress none` takes it as it is")
    }
}

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
        let timed = |data: Bytes| -> Timed {
            let partition_key = match &terms.key {
                KeyChoice::Fixed(key) => key.clone(),
                KeyChoice::Random => random_key(),
                KeyChoice::None => String::new(),
            };
            (UserRecord { partition_key, explicit_hash_key: None, data }, None)
        };
        match self {
            Self::Arguments(data) => {
                for (index, data) in data.into_iter().enumerate() {
                    let place = || format!("argument {}", index + 1);
                    check_size(data.len(), terms.key_len(), terms, place)?;
                    if !produce(Ok(timed(data.into()))) {
                        break;
                    }
                }
            }
            Self::Random { count, size } => {
                check_size(size as usize, terms.key_len(), terms, || "a record of `--size`".to_owned())?;
                let mut left = count;
                while left > 0 && produce(Ok(timed(random_data(size)))) {
                    left -= 1;
                }
            }
            Self::Lines(file) => {
                let mut lines = file.open()?;
                let most = terms.most_bytes.saturating_sub(terms.key_len());
                while let Some(line) = lines.next(most, terms)? {
                    if !produce(Ok(timed(line.into()))) {
                        break;
                    }
                }
            }
            Self::Dump(file, speed) => {
                let mut lines = file.open()?;
                let mut first = None;
                while let Some(line) = lines.next(DUMP_LINE, terms)? {
                    let (record, at_millis) = lines.dumped(&line)?;
                    if record.partition_key.is_empty() && !terms.takes_keyless {
                        return Err(lines.keyless());
                    }
                    let size = record.data.len();
                    check_size(size, record.partition_key.len(), terms, || lines.place())?;
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
    /// Bytes of the key of a record that brings none along.
    fn key_len(&self) -> usize {
        match &self.key {
            KeyChoice::Fixed(key) => key.len(),
            KeyChoice::Random => 32,
            KeyChoice::None => 0,
        }
    }
}

/// Lines of a file, with their numbers.
struct Lines {
    file: LineFile,
    input: Box<dyn BufRead + Send>,
    number: u64,
}

impl Lines {
    fn place(&self) -> String {
        format!("line {} of {}", self.number, self.file.name())
    }

    /// The next line without its line break; `None` at the end. Holds no more than `most` bytes of it.
    fn next(&mut self, most: usize, terms: &Terms) -> Result<Option<Vec<u8>>, CliError> {
        self.number += 1;
        let mut line = Vec::new();
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.file.unreadable(&error)),
            };
            let end = line_end(available);
            let part = &available[..end.unwrap_or(available.len())];
            if line.len() + part.len() > most {
                return Err(too_large(&self.place(), None, most, terms));
            }
            line.extend_from_slice(part);
            let (read, is_end) = (part.len(), available.is_empty());
            self.input.consume(read + usize::from(end.is_some()));
            match (end, is_end) {
                (Some(_), _) => return Ok(Some(line)),
                (None, true) => return Ok((!line.is_empty()).then_some(line)),
                (None, false) => {}
            }
        }
    }

    /// A line as a record of a dump, and when the stream took it.
    fn dumped(&self, line: &[u8]) -> Result<(UserRecord, u64), CliError> {
        let wrong = |why: String| {
            CliError::usage(format!("{} is not a record of a dump", self.place()))
                .reason(why)
                .next("`rokini dump STREAM --out FILE` writes such files; the lines before it are put")
        };
        let dumped: DumpedRecord = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        let Ok(StartPosition::AtTimestamp(at_millis)) = dumped.time.parse() else {
            return Err(wrong(format!(
                "`time` is {}, not a time such as 2026-01-31T12:00:00.000Z",
                dumped.time
            )));
        };
        let explicit_hash_key = dumped.hash_key.as_deref().map(str::parse).transpose();
        let explicit_hash_key =
            explicit_hash_key.map_err(|_| wrong("`hash_key` is not a hash".to_owned()))?;
        let data = dumped.data().map_err(wrong)?.into();
        let partition_key = dumped.key.unwrap_or_default();
        if partition_key.chars().count() > 256 {
            return Err(wrong("`key` has more than 256 characters".to_owned()));
        }
        Ok((UserRecord { partition_key, explicit_hash_key, data }, at_millis))
    }

    fn keyless(&self) -> CliError {
        CliError::usage(format!(
            "{} has no partition key, and the stream takes no such records",
            self.place()
        ))
        .reason("the RecordDistributionStrategy of the stream is not AUTO")
        .next("restore it into one where it is: `aws kinesis update-stream-record-distribution-strategy`")
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

fn check_size(data: usize, key: usize, terms: &Terms, place: impl Fn() -> String) -> Result<(), CliError> {
    let most = terms.most_bytes.saturating_sub(key);
    if data > most { Err(too_large(&place(), Some(data), most, terms)) } else { Ok(()) }
}

fn too_large(place: &str, bytes: Option<usize>, most: usize, terms: &Terms) -> CliError {
    let has = bytes.map_or_else(|| format!("more than {most} bytes"), |bytes| format!("{bytes} bytes"));
    CliError::usage(format!("{place} has {has}: with its key it is too large for the stream, which takes {}", terms.most_bytes))
        .next(
            "split it, or let the stream take up to 10 MiB: `aws kinesis update-max-record-size`; what stands before it \
             is put",
        )
}

/// Hands records on no faster than `rate` a second, and no sooner than they are due.
fn paced(
    mut timed: mpsc::Receiver<Result<Timed, CliError>>,
    rate: Option<u32>,
) -> mpsc::Receiver<Result<UserRecord, CliError>> {
    let (records, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let started = Instant::now();
        let mut count = 0_u32;
        while let Some(next) = timed.recv().await {
            let record = match next {
                Ok((record, due)) => {
                    if let Some(due) = due.and_then(|due| started.checked_add(due)) {
                        sleep_until(due).await;
                    }
                    if let Some(rate) = rate {
                        sleep_until(started + Duration::from_secs(1) / rate * count).await;
                        count += 1;
                    }
                    Ok(record)
                }
                Err(error) => Err(error),
            };
            if records.send(record).await.is_err() {
                return;
            }
        }
    });
    receiver
}

fn random_key() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// Letters and digits, so that the data show well.
fn random_data(size: u32) -> Bytes {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(size as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn terms(most_bytes: usize) -> Terms {
        Terms { key: KeyChoice::None, most_bytes, takes_keyless: true, rate: None }
    }

    fn lines(text: &[u8]) -> Lines {
        let input = BufReader::with_capacity(4, Cursor::new(text.to_vec()));
        Lines { file: LineFile::new(None, Decompress::None), input: Box::new(input), number: 0 }
    }

    #[test]
    fn lines_are_whole_and_bounded() {
        let mut read = lines(b"one\r\n\ntwo and more\nend");
        let mut next =
            |most| read.next(most, &terms(10)).map(|line| line.map(|line| String::from_utf8(line).unwrap()));
        assert_eq!(next(4).unwrap().as_deref(), Some("one\r"), "a carriage return is data");
        assert_eq!(next(4).unwrap().as_deref(), Some(""));
        let error = next(4).unwrap_err();
        assert!(error.what.starts_with("line 3 of standard input has more than 4 bytes"), "{}", error.what);
        let mut read = lines(b"one\nend");
        assert_eq!(read.next(3, &terms(3)).unwrap().unwrap(), b"one");
        assert_eq!(read.next(3, &terms(3)).unwrap().unwrap(), b"end", "without a line break");
        assert_eq!(read.next(3, &terms(3)).unwrap(), None);
    }

    #[test]
    fn lines_of_a_dump_are_records_with_their_times() {
        let read = lines(b"");
        let line = br#"{"time":"2026-01-31T12:00:00.250Z","shard":"s","sequence":"1","key":"k","hash_key":"7","data":"eA=="}"#;
        let (record, at) = read.dumped(line).unwrap();
        assert_eq!(
            (record.partition_key.as_str(), record.explicit_hash_key, &record.data[..]),
            ("k", Some(7), &b"x"[..])
        );
        assert_eq!(at % 1000, 250);
        let long = format!("\"{}\"", "k".repeat(257));
        for (from, to) in [
            ("2026", "x"),
            ("\"7\"", "\"seven\""),
            ("eA==", "?"),
            ("\"data\"", "\"payload\""),
            ("\"k\"", &long),
        ] {
            let wrong = String::from_utf8(line.to_vec()).unwrap().replace(from, to);
            assert!(
                read.dumped(wrong.as_bytes()).unwrap_err().what.contains("not a record of a dump"),
                "{wrong}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn records_come_when_they_are_due() {
        let record =
            || UserRecord { partition_key: "k".to_owned(), explicit_hash_key: None, data: Bytes::new() };
        let (sender, timed) = mpsc::channel(8);
        for due in [0, 500, 400, 2_000] {
            sender.send(Ok((record(), Some(Duration::from_millis(due))))).await.unwrap();
        }
        drop(sender);
        let (mut records, begun) = (paced(timed, None), Instant::now());
        let mut came = Vec::new();
        while records.recv().await.is_some() {
            came.push(begun.elapsed().as_millis());
        }
        assert_eq!(came, [0, 500, 500, 2_000]);
    }
}

//! A record of a dead letter as JSON, whole or in parts.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::letter::DeadLetter;
use crate::types::error::{Error, ErrorKind};
use crate::types::record::Record;

/// The most of a failure's text that is kept, in bytes: a message that quotes its record would not fit elsewhere.
const FAILURE_KEPT: usize = 4 << 10;

/// Kept free for what differs between two letters with one record, so that its parts do not: the failure (each byte can
/// take 6 in JSON), and below 400 bytes of worker, epoch, attempts and first failure.
#[cfg(any(feature = "aws", test))]
const RESERVE: usize = 6 * FAILURE_KEPT + (1 << 10);

/// The least a limit can be: every entry without its data is shorter. Names have up to 255 bytes each, a partition
/// key up to 256 characters, each of which can take 6 bytes in JSON, as can each byte of a failure's text.
#[cfg(any(feature = "aws", test))]
pub(super) const LIMIT_LEAST: usize = 64 << 10;

/// A record that was given up, as the file, the stream and the queue of dead letters keep it: one JSON object.
///
/// The data are in `text` where they are readable text, otherwise in `base64`. Where an entry would be larger than
/// the place takes, its data are spread over several entries of the same `key`, each with its number in `part`; put
/// together in that order they are the data, byte by byte.
///
/// ```
/// use rokini::DeadLetterEntry;
///
/// let line = br#"{"key":"billing#orders@17#shardId-000000000000#49","group":"billing","stream":"orders@17",
///     "shard":"shardId-000000000000","sequence_number":"49","partition_key":"ann","arrival_millis":1700000000000,
///     "worker":"w#0000000000000001","epoch":3,"failure":"no such customer","attempts":5,"text":"{}"}"#;
/// let entry = DeadLetterEntry::parse(line)?;
/// assert_eq!((entry.attempts, &entry.data()?[..]), (5, &b"{}"[..]));
/// # Ok::<(), rokini::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterEntry {
    /// [`DeadLetter::key`]: the same each time the record is put.
    pub key: String,
    /// The group whose handler failed.
    pub group: String,
    /// The stream the record comes from.
    pub stream: String,
    /// The shard the record comes from.
    pub shard: String,
    /// The sequence number of the stream record.
    pub sequence_number: String,
    /// Which user record inside an aggregated stream record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_sequence_number: Option<u64>,
    /// The partition key; absent where the record has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// When the stream received the record, in milliseconds since the Unix epoch.
    pub arrival_millis: u64,
    /// The worker whose handler failed last.
    pub worker: String,
    /// The epoch under which it had the shard.
    pub epoch: u64,
    /// The last failure. Of a text longer than 4 KiB the beginning, and how much more there was.
    pub failure: String,
    /// How often the handler was called with the record.
    pub attempts: u32,
    /// When the handler failed first, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure_millis: Option<u64>,
    /// Which part of the data this entry has; absent where it has them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<DeadLetterPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Says which record it is about and why, for people.
impl fmt::Display for DeadLetterEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence_number, shard, stream, failure, attempts, .. } = self;
        write!(f, "record {sequence_number} ")?;
        match &self.partition_key {
            Some(key) => write!(f, "with partition key `{key}`")?,
            None => f.write_str("without a partition key")?,
        }
        write!(f, " of shard {shard} of stream {stream} was given up after {attempts} attempts: {failure}")?;
        match self.part {
            Some(DeadLetterPart { number, of }) => write!(f, " (part {number} of {of})"),
            None => Ok(()),
        }
    }
}

/// Which part of a record's data an entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterPart {
    /// From 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl DeadLetterEntry {
    /// Reads an entry: a line of the file, the data of a stream record, the body of a message.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] when it is not an entry. In a file that is a line that was cut off by a crash: it was
    /// never confirmed, and the record is in another line.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(json)
            .map_err(|error| Error::new(ErrorKind::Data, "not an entry of a dead letter").with_source(error))
    }

    /// The data, or this part of them.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] when there are none, or they are not base64.
    pub fn data(&self) -> Result<Bytes, Error> {
        match (&self.text, &self.base64) {
            (Some(text), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            (None, Some(text)) => BASE64.decode(text).map(Bytes::from).map_err(|error| {
                Error::new(ErrorKind::Data, format!("the data of entry `{}` are not base64", self.key))
                    .with_source(error)
            }),
            _ => Err(Error::new(
                ErrorKind::Data,
                format!("entry `{}` has not one of `text` and `base64`", self.key),
            )),
        }
    }

    /// What is the same in whatever letter the record is.
    #[cfg(any(feature = "aws", test))]
    fn of_record(letter: &DeadLetter, record: &Record) -> Self {
        Self {
            worker: String::new(),
            epoch: 0,
            failure: String::new(),
            attempts: 0,
            first_failure_millis: None,
            ..Self::without_data(letter, record)
        }
    }

    fn without_data(letter: &DeadLetter, record: &Record) -> Self {
        Self {
            key: letter.key(record),
            group: letter.group.to_string(),
            stream: letter.stream.to_string(),
            shard: letter.shard.to_string(),
            sequence_number: record.sequence_number.to_string(),
            sub_sequence_number: record.sub_sequence_number,
            partition_key: record.partition_key().map(str::to_owned),
            arrival_millis: record.arrival_millis,
            worker: letter.worker.to_string(),
            epoch: letter.epoch.0,
            failure: shortened(letter.failure.to_string()),
            attempts: letter.attempts,
            first_failure_millis: letter.first_failure_millis,
            part: None,
            text: None,
            base64: None,
        }
    }

    fn json(&self) -> Result<String, Error> {
        let json = serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Bug, "a dead letter is no JSON").with_source(error))?;
        // Amazon SQS takes neither. In JSON they can only be inside of a text, where an escape means the same.
        Ok(match json.contains(['\u{fffe}', '\u{ffff}']) {
            true => json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"),
            false => json,
        })
    }
}

fn shortened(mut text: String) -> String {
    let all = text.len();
    if all > FAILURE_KEPT {
        text.truncate(text.floor_char_boundary(FAILURE_KEPT));
        let more = all - text.len();
        text.push_str(&format!(" ({more} bytes more)"));
    }
    text
}

/// Text that a person can read, and that JSON keeps short.
fn readable(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(plain).then_some(text)
}

/// A record as one JSON object, whatever its size.
pub(super) fn whole(letter: &DeadLetter, record: &Record) -> Result<String, Error> {
    let mut entry = DeadLetterEntry::without_data(letter, record);
    match readable(record.data()) {
        Some(text) => entry.text = Some(text.to_owned()),
        None => entry.base64 = Some(BASE64.encode(record.data())),
    }
    entry.json()
}

/// A record as JSON objects of at most `limit` bytes each, [`LIMIT_LEAST`] or more. Which of the data are in which
/// depends on record and limit alone: parts out of two letters with one record, of which a FIFO queue may keep some of
/// the one and some of the other, are together the data.
#[cfg(any(feature = "aws", test))]
pub(super) fn parts(letter: &DeadLetter, record: &Record, limit: usize) -> Result<Vec<String>, Error> {
    // JSON is never shorter than the data in it.
    let mut entry = DeadLetterEntry::without_data(letter, record);
    let mut fixed = DeadLetterEntry::of_record(letter, record);
    let limit = limit.saturating_sub(RESERVE);
    if record.data().len() < limit {
        let whole = whole(letter, record)?;
        let differs = entry.json()?.len() - fixed.json()?.len();
        if whole.len() - differs <= limit {
            return Ok(vec![whole]);
        }
    }
    fixed.part = Some(DeadLetterPart { number: usize::MAX, of: usize::MAX });
    fixed.base64 = Some(String::new());
    let room = limit.saturating_sub(fixed.json()?.len());
    let step = (room / 4 * 3).max(1);
    let of = record.data().len().div_ceil(step);
    let part = |(index, data): (usize, &[u8])| {
        entry.part = Some(DeadLetterPart { number: index + 1, of });
        entry.base64 = Some(BASE64.encode(data));
        entry.json()
    };
    record.data().chunks(step).enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::tests::letter;
    use crate::types::failure::HandlerFailure;
    use proptest::prelude::*;
    use rokini_lease::SequenceNumber;

    fn record(key: &str, data: impl AsRef<[u8]>) -> Record {
        Record::new(SequenceNumber::from(7u128), key, data, 1_700_000_000_000)
    }

    fn put_together(parts: &[String]) -> Vec<u8> {
        let mut entries: Vec<_> =
            parts.iter().map(|part| DeadLetterEntry::parse(part.as_bytes()).unwrap()).collect();
        entries.reverse();
        entries.sort_by_key(|entry| entry.part.map(|part| part.number));
        assert!(entries.iter().all(|entry| entry.part.is_none_or(|part| part.of == entries.len())));
        entries.iter().flat_map(|entry| entry.data().unwrap()).collect()
    }

    #[test]
    fn an_entry_says_what_where_and_why() {
        let mut letter = letter("billing", 5, vec![record("ann", "grüße\n")]);
        letter.first_failure_millis = Some(1_700_000_100_000);
        let json = whole(&letter, &letter.records[0]).unwrap();
        assert_eq!(
            json,
            format!(
                "{{\"key\":\"billing#orders@17#shardId-000000000003#7\",\"group\":\"billing\",\"stream\":\"orders@17\",\
                 \"shard\":\"shardId-000000000003\",\"sequence_number\":\"7\",\"partition_key\":\"ann\",\
                 \"arrival_millis\":1700000000000,\"worker\":\"{}\",\"epoch\":0,\"failure\":\"no\",\"attempts\":5,\
                 \"first_failure_millis\":1700000100000,\"text\":\"grüße\\n\"}}",
                letter.worker
            )
        );
    }

    #[test]
    fn only_readable_data_are_text() {
        for (data, text) in
            [(&b"plain"[..], true), (b"a\tb", true), (b"\0", false), (b"\xff", false), (b"", true)]
        {
            let letter = letter("g", 1, vec![record("k", Bytes::from_static(data))]);
            let json = whole(&letter, &letter.records[0]).unwrap();
            assert_eq!(json.contains("\"text\""), text, "{json}");
            assert_eq!(put_together(&[json]), data);
        }
    }

    #[test]
    fn a_failure_that_quotes_its_record_is_shortened_and_says_so() {
        let mut letter = letter("g", 1, vec![record("k", "x")]);
        letter.failure = HandlerFailure::Error("ä".repeat(1 << 20));
        let json = whole(&letter, &letter.records[0]).unwrap();
        let failure = DeadLetterEntry::parse(json.as_bytes()).unwrap().failure;
        assert!(failure.len() < FAILURE_KEPT + 40 && failure.ends_with(" (2093056 bytes more)"), "{failure}");
    }

    #[test]
    fn the_largest_entry_without_data_is_below_the_least_limit() {
        let name = "n".repeat(255);
        let mut letter = letter(&name, 1, vec![record(&"\u{1}".repeat(256), vec![0; 1 << 20])]);
        letter.stream = rokini_lease::StreamId::new(&name).unwrap();
        letter.shard = rokini_lease::ShardId::new(&name).unwrap();
        letter.failure = HandlerFailure::Panic("\u{1}".repeat(1 << 20));
        let parts = parts(&letter, &letter.records[0], LIMIT_LEAST).unwrap();
        assert!(parts.iter().all(|part| part.len() <= LIMIT_LEAST));
        assert_eq!(put_together(&parts).len(), 1 << 20);
    }

    /// The data of each part.
    fn data(parts: &[String]) -> Vec<Bytes> {
        parts.iter().map(|part| DeadLetterEntry::parse(part.as_bytes()).unwrap().data().unwrap()).collect()
    }

    /// A letter about the same records with as little, and one with as much around them as there can be.
    fn short_and_long(record: &Record) -> [DeadLetter; 2] {
        let short = letter("g", 1, vec![record.clone()]);
        let mut long = short.clone();
        let name = rokini_lease::WorkerName::new("w".repeat(255)).unwrap();
        long.worker = rokini_lease::WorkerId { name, incarnation: short.worker.incarnation };
        long.epoch = rokini_lease::Epoch(u64::MAX);
        long.failure = HandlerFailure::Panic("\u{1}".repeat(1 << 20));
        long.attempts = u32::MAX;
        long.first_failure_millis = Some(u64::MAX);
        [short, long]
    }

    #[test]
    fn a1_a_record_has_the_same_parts_whatever_letter_it_is_in() {
        // Among them lengths with which only the shorter of the two letters would have fitted in one entry.
        for length in (0..LIMIT_LEAST).step_by(1_000).chain([1 << 20]) {
            for byte in [b'x', 0] {
                let record = record("ann", vec![byte; length]);
                let [short, long] = short_and_long(&record);
                let some = parts(&short, &record, LIMIT_LEAST).unwrap();
                let others = parts(&long, &record, LIMIT_LEAST).unwrap();
                assert!(data(&some) == data(&others), "{length} times {byte}");
                assert!(some.iter().chain(&others).all(|part| part.len() <= LIMIT_LEAST));
                assert_eq!(data(&some).concat(), record.data());
            }
        }
    }

    proptest! {
        // Each takes tens of milliseconds without optimisation.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a1_parts_fit_and_are_the_data_byte_by_byte(
            data in prop::collection::vec(any::<u8>(), 0..2_000),
            times in 1..200usize,
            limit in LIMIT_LEAST..200_000,
            key in "\\PC{1,40}",
        ) {
            let data = data.repeat(times);
            let letter = letter("g", 1, vec![record(&format!("{key}\u{ffff}"), data.clone())]);
            let parts = parts(&letter, &letter.records[0], limit).unwrap();
            for part in &parts {
                prop_assert!(part.len() <= limit);
                let taken = |c: char| c >= ' ' && !['\u{fffe}', '\u{ffff}'].contains(&c);
                prop_assert!(part.chars().all(taken));
            }
            prop_assert_eq!(put_together(&parts), data);
        }
    }
}

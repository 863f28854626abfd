//! Answers in CBOR.

mod cursor;

use bytes::Bytes;

use self::cursor::{Cursor, Header};
use super::error::{AnswerError, ParseFault, Spot};
use super::place::{Members, Place, RecordPlace, RecordsAnswer, sequence_number};
use crate::cbor::decode;

/// The fewest bytes a record takes, so that a told length reserves no memory that the body does not warrant.
const RECORD_LEAST: usize = 32;

pub(super) fn read(body: Bytes) -> Result<RecordsAnswer, AnswerError> {
    if body.len() > Place::MAX_BODY {
        return Err(AnswerError::body("is longer than 4 GiB"));
    }
    let mut spot = Spot::default();
    let mut reader = Reader { cursor: Cursor::new(&body), spot: &mut spot };
    match reader.answer() {
        Ok(answer) => Ok(RecordsAnswer { body, ..answer }),
        // Places are of whole strings. Nobody sends records in pieces, so that may cost a copy.
        Err(fault) if fault.what == cursor::IN_PIECES => match cursor::in_one_piece(&body) {
            Ok(whole) => read(whole.into()),
            Err(fault) => Err(Spot::default().error(fault)),
        },
        Err(fault) => Err(spot.error(fault)),
    }
}

struct Reader<'a, 'b> {
    cursor: Cursor<'a>,
    spot: &'b mut Spot,
}

impl Reader<'_, '_> {
    fn answer(&mut self) -> Result<RecordsAnswer, ParseFault> {
        let mut answer = RecordsAnswer::default();
        let mut records = None;
        let mut members = self.cursor.map()?;
        while self.cursor.more(&mut members)? {
            self.spot.member = None;
            match self.cursor.text()? {
                b"Records" => {
                    self.spot.member = Some("Records");
                    records = Some(self.records()?);
                }
                b"NextShardIterator" => {
                    self.spot.member = Some("NextShardIterator");
                    answer.next_shard_iterator = self.string()?;
                }
                b"ContinuationSequenceNumber" => {
                    self.spot.member = Some("ContinuationSequenceNumber");
                    answer.continuation_sequence_number = self.string()?;
                }
                b"MillisBehindLatest" => {
                    self.spot.member = Some("MillisBehindLatest");
                    answer.millis_behind_latest = self.integer()?;
                }
                b"ChildShards" => {
                    self.spot.member = Some("ChildShards");
                    let at = self.cursor.at();
                    let value = self.cursor.skip()?;
                    answer.child_shards =
                        decode(value).map_err(|_| ParseFault { what: "no list of child shards", at })?;
                }
                _ => {
                    self.cursor.skip()?;
                }
            }
        }
        self.spot.member = None;
        let whole = self.cursor.is_at_end();
        let at = self.cursor.at();
        if !whole {
            return Err(ParseFault { what: "goes on after its end", at });
        }
        self.spot.member = Some("Records");
        answer.records = records.ok_or(ParseFault { what: "missing", at })?;
        Ok(answer)
    }

    fn records(&mut self) -> Result<Vec<RecordPlace>, ParseFault> {
        let mut items = self.cursor.array()?;
        let most = self.cursor.left() / RECORD_LEAST;
        let mut records = Vec::with_capacity(items.told().unwrap_or(most).min(most));
        while self.cursor.more(&mut items)? {
            self.spot.record = Some(records.len());
            let begin = self.cursor.at();
            records.push(self.record()?);
            self.cursor.touch_ahead(self.cursor.at() - begin);
        }
        self.spot.record = None;
        Ok(records)
    }

    fn record(&mut self) -> Result<RecordPlace, ParseFault> {
        self.spot.member = None;
        let begin = self.cursor.at();
        let mut record = Members::default();
        let mut members = self.cursor.map()?;
        while self.cursor.more(&mut members)? {
            self.spot.member = None;
            match self.cursor.text()? {
                b"Data" => {
                    self.spot.member = Some("Data");
                    let (start, end) = self.cursor.bytes()?;
                    record.data = Some(Place::new(start, end));
                }
                b"SequenceNumber" => {
                    self.spot.member = Some("SequenceNumber");
                    let at = self.cursor.at();
                    let digits = self.cursor.text()?;
                    let number =
                        sequence_number(digits).ok_or(ParseFault { what: "no sequence number", at })?;
                    record.sequence_number = Some(number);
                }
                b"PartitionKey" => {
                    self.spot.member = Some("PartitionKey");
                    record.key = if self.cursor.null() { None } else { Some(self.key()?) };
                }
                b"ApproximateArrivalTimestamp" => {
                    self.spot.member = Some("ApproximateArrivalTimestamp");
                    record.arrival_millis = if self.cursor.null() { None } else { Some(self.millis()?) };
                }
                _ => {
                    self.cursor.skip()?;
                }
            }
        }
        self.spot.member = None;
        record.record().map_err(|lacks| {
            self.spot.member = Some(lacks);
            ParseFault { what: "missing", at: begin }
        })
    }

    fn key(&mut self) -> Result<Place, ParseFault> {
        let at = self.cursor.at();
        let text = self.cursor.text()?;
        if std::str::from_utf8(text).is_err() {
            return Err(ParseFault { what: "no UTF-8", at });
        }
        let (length, end) = (text.len(), self.cursor.at());
        Ok(Place::new(end - length, end))
    }

    fn string(&mut self) -> Result<Option<String>, ParseFault> {
        if self.cursor.null() {
            return Ok(None);
        }
        let at = self.cursor.at();
        let text =
            std::str::from_utf8(self.cursor.text()?).map_err(|_| ParseFault { what: "no UTF-8", at })?;
        Ok(Some(text.to_owned()))
    }

    fn integer(&mut self) -> Result<Option<i64>, ParseFault> {
        if self.cursor.null() { Ok(None) } else { self.cursor.integer().map(Some) }
    }

    /// Tag 1 around an integer of milliseconds, as the service writes it; the tag may be missing. A number with a fraction
    /// is of seconds.
    fn millis(&mut self) -> Result<i64, ParseFault> {
        let at = self.cursor.at();
        let time = match self.cursor.header()? {
            Header::Tag(1) => self.cursor.header()?,
            untagged => untagged,
        };
        match time {
            Header::Integer(millis) => Ok(millis),
            Header::Float(secs) => {
                let millis = (secs * 1_000.0).round();
                // Beyond 2^53 a float no longer counts milliseconds; nothing real is there.
                if millis.abs() < 9.0e15 {
                    Ok(millis as i64)
                } else {
                    Err(ParseFault { what: "no time", at })
                }
            }
            _ => Err(ParseFault { what: "no time", at }),
        }
    }
}

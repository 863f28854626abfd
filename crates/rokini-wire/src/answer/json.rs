//! Answers in JSON.

mod cursor;
mod decimal;

use bytes::{Bytes, BytesMut};

use self::cursor::Cursor;
use self::decimal::Decimal;
use super::error::{AnswerError, ParseFault, Spot};
use super::place::{Members, Place, RecordPlace, RecordsAnswer, sequence_number};

/// What begins an answer with one record, at least: how much room for records is worth reserving.
const RECORD_LEAST: usize = 128;

pub(super) fn read(body: Bytes) -> Result<RecordsAnswer, AnswerError> {
    if body.len() > Place::MAX_BODY {
        return Err(AnswerError::body("is longer than 4 GiB"));
    }
    // The only reference is the reader's, so nothing is copied but for callers who keep one.
    let mut bytes = body.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let mut spot = Spot::default();
    let mut reader = Reader { cursor: Cursor::new(&mut bytes), spot: &mut spot };
    match reader.answer() {
        Ok(answer) => Ok(RecordsAnswer { body: bytes.freeze(), ..answer }),
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
        let mut first = true;
        self.cursor.open(b'{', "expected an object")?;
        while self.cursor.more(b'}', &mut first)? {
            self.spot.member = None;
            let (start, end) = self.cursor.name()?;
            match self.cursor.part(start, end) {
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
                    answer.millis_behind_latest = self.number(0)?;
                }
                b"ChildShards" => {
                    self.spot.member = Some("ChildShards");
                    let (start, end) = self.cursor.skip()?;
                    answer.child_shards = serde_json::from_slice(self.cursor.part(start, end))
                        .map_err(|_| ParseFault { what: "no list of child shards", at: start })?;
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
        self.cursor.open(b'[', "expected a list")?;
        let mut records = Vec::new();
        let mut first = true;
        while self.cursor.more(b']', &mut first)? {
            self.spot.record = Some(records.len());
            let begin = self.cursor.at();
            records.push(self.record()?);
            if records.len() == 1 {
                // As many as there are, if all are like the first.
                let like = (self.cursor.at() - begin).max(RECORD_LEAST);
                records.reserve(self.cursor.left() / like);
            }
        }
        self.spot.record = None;
        Ok(records)
    }

    fn record(&mut self) -> Result<RecordPlace, ParseFault> {
        self.spot.member = None;
        let begin = self.cursor.at();
        let mut record = Members::default();
        let mut first = true;
        self.cursor.open(b'{', "expected an object")?;
        while self.cursor.more(b'}', &mut first)? {
            self.spot.member = None;
            let (start, end) = self.cursor.name()?;
            match self.cursor.part(start, end) {
                b"Data" => {
                    self.spot.member = Some("Data");
                    let (start, end) = self.cursor.base64()?;
                    record.data = Some(Place::new(start, end));
                }
                b"SequenceNumber" => {
                    self.spot.member = Some("SequenceNumber");
                    let (start, end) = self.cursor.text()?;
                    let number = sequence_number(self.cursor.part(start, end));
                    record.sequence_number =
                        Some(number.ok_or(ParseFault { what: "no sequence number", at: start })?);
                }
                b"PartitionKey" => {
                    self.spot.member = Some("PartitionKey");
                    record.key = if self.cursor.null()? { None } else { Some(self.key()?) };
                }
                b"ApproximateArrivalTimestamp" => {
                    self.spot.member = Some("ApproximateArrivalTimestamp");
                    record.arrival_millis = self.number(3)?;
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
        let (start, end) = self.cursor.text()?;
        match std::str::from_utf8(self.cursor.part(start, end)) {
            Ok(_) => Ok(Place::new(start, end)),
            Err(_) => Err(ParseFault { what: "no UTF-8", at: start }),
        }
    }

    fn string(&mut self) -> Result<Option<String>, ParseFault> {
        if self.cursor.null()? {
            return Ok(None);
        }
        let (start, end) = self.cursor.text()?;
        let text = std::str::from_utf8(self.cursor.part(start, end));
        text.map(|text| Some(text.to_owned())).map_err(|_| ParseFault { what: "no UTF-8", at: start })
    }

    /// A number times ten to the power of `scale`, rounded to the nearest whole.
    fn number(&mut self, scale: i32) -> Result<Option<i64>, ParseFault> {
        if self.cursor.null()? {
            return Ok(None);
        }
        let (start, end) = self.cursor.number()?;
        let value = Decimal::parse(self.cursor.part(start, end)).and_then(|value| value.scaled(scale));
        value.map(Some).ok_or(ParseFault { what: "a number out of range", at: start })
    }
}

//! Answers with records, read in place: of GetRecords, and the events of SubscribeToShard.
//!
//! Nothing is allocated for a record, and nothing copied: what is read are places in the body. CBOR is read as it is. In
//! JSON the data are base64, which is decoded over its own text; the body is copied only where somebody else holds it too.
//!
//! The bodies are read strictly. Members that are not known are passed over, whatever is in them. Maps, lists and texts of
//! untold length (CBOR), members in any order, `null`, white space and escapes (JSON) are read as the formats have them.
//! What is wrong comes back as an [`AnswerError`] that says what and where.

mod cbor;
mod error;
mod json;
mod place;

use bytes::Bytes;
use rokini_types::SequenceNumber;

pub use error::AnswerError;
pub use place::RecordPlace;

use crate::shapes::shard::ChildShard;

/// Deepest nesting passed over; what is known needs five.
const MAX_DEPTH: usize = 32;

/// An answer with records, read in place.
///
/// ```
/// use bytes::Bytes;
/// use rokini_wire::RecordsAnswer;
///
/// let body = r#"{"Records":[{"SequenceNumber":"49","Data":"aGVsbG8=","PartitionKey":"ann",
///     "ApproximateArrivalTimestamp":1700000000.123}],"NextShardIterator":"AAA","MillisBehindLatest":0}"#;
/// let answer = RecordsAnswer::read(Bytes::from(body))?;
/// let record = &answer.records[0];
/// assert_eq!(answer.body[record.data()], *b"hello");
/// assert_eq!(record.partition_key().map(|key| &answer.body[key]), Some(&b"ann"[..]));
/// assert_eq!(record.arrival_millis, Some(1_700_000_000_123));
/// # Ok::<(), rokini_wire::AnswerError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordsAnswer {
    /// What the places of the records are in. In an answer in JSON the data stand decoded there.
    pub body: Bytes,
    /// The records, in order.
    pub records: Vec<RecordPlace>,
    /// Where to go on, in an answer to GetRecords; `None` where it is absent or null.
    pub next_shard_iterator: Option<String>,
    /// Where the next subscription goes on, in an event; `None` where it is absent or null.
    pub continuation_sequence_number: Option<String>,
    /// How far behind the tip of the shard the answer is, in milliseconds.
    pub millis_behind_latest: Option<i64>,
    /// The shards that continue this one; only at its end.
    pub child_shards: Option<Vec<ChildShard>>,
}

impl RecordsAnswer {
    /// Reads a body in CBOR or JSON, whichever it is: its first byte says so, since servers answer JSON to those who ask in
    /// CBOR.
    ///
    /// # Errors
    /// [`AnswerError`] where the body is neither, is cut off or malformed, or lacks what an answer must have: the list
    /// `Records`, and in each record a sequence number and the data.
    pub fn read(body: Bytes) -> Result<Self, AnswerError> {
        match body.first() {
            None => Err(AnswerError::body("is empty")),
            Some(0xa0..=0xbf) => cbor::read(body),
            Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => json::read(body),
            Some(b'<') => Err(AnswerError::body("is HTML or XML")),
            Some(_) => Err(AnswerError::body("is neither CBOR nor JSON")),
        }
    }
}

/// The number in a text of digits.
fn sequence_number(digits: &[u8]) -> Option<SequenceNumber> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;

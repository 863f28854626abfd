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

pub use error::AnswerError;
pub(crate) use place::Place;
pub use place::{RecordPlace, RecordsAnswer};

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

#[cfg(test)]
mod tests;

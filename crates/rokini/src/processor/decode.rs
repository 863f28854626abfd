//! Records as values.

use std::error::Error as StdError;
use std::fmt;

use rokini_lease::SequenceNumber;

use super::batch::Batch;
use crate::types::failure::HandlerError;
use crate::types::record::Record;

/// Reads a value out of a record. Closures do it too: `|record: &Record| Ok(Order::decode(record.data())?)`.
///
/// To be quick and without effects: it is called for each delivery of a record, in the shard's own task.
pub trait Decode: Send + Sync + 'static {
    /// What a record is.
    type Value: Send;

    /// Reads it.
    ///
    /// # Errors
    /// When the record is no such value.
    fn decode(&self, record: &Record) -> Result<Self::Value, HandlerError>;
}

impl<F, T> Decode for F
where
    F: Fn(&Record) -> Result<T, HandlerError> + Send + Sync + 'static,
    T: Send,
{
    type Value = T;

    fn decode(&self, record: &Record) -> Result<T, HandlerError> {
        self(record)
    }
}

/// Reads values of a serde type out of JSON.
#[cfg(feature = "json")]
pub struct Json<T>(std::marker::PhantomData<fn() -> T>);

#[cfg(feature = "json")]
impl<T> Json<T> {
    /// A reader of JSON.
    #[must_use]
    pub fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

#[cfg(feature = "json")]
impl<T> Default for Json<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "json")]
impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}

#[cfg(feature = "json")]
impl<T: serde::de::DeserializeOwned + Send + 'static> Decode for Json<T> {
    type Value = T;

    fn decode(&self, record: &Record) -> Result<T, HandlerError> {
        Ok(serde_json::from_slice(record.data())?)
    }
}

/// A record that is not the value it should be. It names the record; why is its `source()`.
///
/// Returned by a handler it goes the way of every failure: the record comes again, and what becomes of it then says
/// the failure policy.
#[derive(Debug)]
pub struct DecodeError {
    sequence_number: SequenceNumber,
    partition_key: Option<Box<str>>,
    bytes: usize,
    source: HandlerError,
}

impl DecodeError {
    fn new(record: &Record, source: HandlerError) -> Self {
        Self {
            sequence_number: record.sequence_number,
            partition_key: record.partition_key().map(Box::from),
            bytes: record.data().len(),
            source,
        }
    }

    /// The sequence number of the record.
    #[must_use]
    pub fn sequence_number(&self) -> SequenceNumber {
        self.sequence_number
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} ", self.sequence_number)?;
        match &self.partition_key {
            Some(key) => write!(f, "with partition key `{key}`")?,
            None => f.write_str("without a partition key")?,
        }
        write!(f, " ({} bytes) cannot be decoded", self.bytes)
    }
}

impl StdError for DecodeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl Record {
    /// The value that a decoder reads out of the record.
    ///
    /// # Errors
    /// [`DecodeError`], which names the record.
    pub fn decode<D: Decode>(&self, decoder: &D) -> Result<D::Value, DecodeError> {
        decoder.decode(self).map_err(|error| DecodeError::new(self, error))
    }

    /// The record as a value of a serde type, out of JSON. May borrow from the record.
    ///
    /// # Errors
    /// [`DecodeError`], which names the record.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        serde_json::from_slice(self.data()).map_err(|error| DecodeError::new(self, error.into()))
    }
}

impl Batch {
    /// The values that a decoder reads out of the records, in order. The first that is none fails the whole batch:
    /// decode record by record where the others are to go on.
    ///
    /// # Errors
    /// [`DecodeError`], which names the record.
    pub fn decode<D: Decode>(&self, decoder: &D) -> Result<Vec<D::Value>, DecodeError> {
        self.iter().map(|record| record.decode(decoder)).collect()
    }

    /// The records as values of a serde type, out of JSON, in order. The first that is none fails the whole batch.
    ///
    /// # Errors
    /// [`DecodeError`], which names the record.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<Vec<T>, DecodeError> {
        self.iter().map(Record::json).collect()
    }
}

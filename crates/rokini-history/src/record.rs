//! What is recorded of a run.

use std::sync::Arc;
use std::time::Duration;

use rokini_types::SequenceNumber;

/// A worker process, by the order of its start. A worker that is started again is another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub usize);

/// Where a user record stands in its shard, in the order of reading: a record of the stream can pack several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedSequenceNumber {
    /// The sequence number of the record in the stream.
    pub sequence: SequenceNumber,
    /// Its place in that record, from 0; 0 where the record packs none.
    pub sub: u64,
}

impl ExtendedSequenceNumber {
    /// One of the user records that a record of the stream packs.
    #[must_use]
    pub fn new(sequence: SequenceNumber, sub: u64) -> Self {
        Self { sequence, sub }
    }

    /// Behind everything that a record of the stream packs.
    #[must_use]
    pub fn last(sequence: SequenceNumber) -> Self {
        Self { sequence, sub: u64::MAX }
    }
}

/// A record of the stream that packs none, or the first that it packs.
impl From<SequenceNumber> for ExtendedSequenceNumber {
    fn from(sequence: SequenceNumber) -> Self {
        Self { sequence, sub: 0 }
    }
}

/// A record that the stream acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The partition key.
    pub key: Arc<str>,
    /// Counts the records of the key from 0, in the order of their puts.
    pub number: u64,
    /// The shard that took it.
    pub shard: Arc<str>,
    /// Its sequence number.
    pub sequence: ExtendedSequenceNumber,
    /// When the acknowledgement came: from then on the record could be read.
    pub at: Duration,
}

/// How far a shard is done, as a position says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing is done.
    Beginning,
    /// What was put before this time is done, or was never asked for.
    Before(Duration),
    /// Everything before this record is done.
    At(ExtendedSequenceNumber),
    /// Everything up to this record is done.
    After(ExtendedSequenceNumber),
    /// Everything is done.
    End,
}

impl Place {
    /// Whether a record that was put at this time is done.
    pub(crate) fn covers(self, sequence: ExtendedSequenceNumber, put: Duration) -> bool {
        match self {
            Self::Beginning => false,
            Self::Before(time) => put < time,
            Self::At(next) => sequence < next,
            Self::After(last) => sequence <= last,
            Self::End => true,
        }
    }
}

/// A record that reached a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The worker whose handler it was.
    pub process: Process,
    /// The epoch of the worker's hold of the shard.
    pub epoch: u64,
    /// The shard it was read from.
    pub shard: Arc<str>,
    /// The partition key.
    pub key: Arc<str>,
    /// The number that the record says it has among those of its key.
    pub number: u64,
    /// Its sequence number.
    pub sequence: ExtendedSequenceNumber,
    /// When it was handled.
    pub at: Duration,
    /// How it was observed.
    pub observed: Observed,
}

/// How a delivery was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// At the moment it happened, in this call.
    InCall(CallId),
    /// The same, in a call that stands for a token: whoever got the record acks it in any order.
    ByToken(CallId),
    /// In this round of reading the output of all workers. Rounds never fall. A line of one worker can be read in the
    /// round after that of a line of another worker that was written later.
    InRound(u64),
}

/// A handler call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(crate) usize);

impl CallId {
    /// Counts the calls of a run from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// How a handler call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// With `Ok`.
    Done,
    /// With an error.
    Failed,
    /// It was dropped.
    Dropped,
}

/// A worker's hold of a shard, as one delivery shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedHold {
    /// The worker.
    pub process: Process,
    /// The epoch of the hold.
    pub epoch: u64,
    /// When the record was handled.
    pub at: Duration,
    /// The call it was handled in, where calls are observed.
    pub call: Option<CallId>,
}

impl Delivery {
    pub(crate) fn hold(&self) -> ObservedHold {
        let call = match self.observed {
            Observed::InCall(call) | Observed::ByToken(call) => Some(call),
            Observed::InRound(_) => None,
        };
        ObservedHold { process: self.process, epoch: self.epoch, at: self.at, call }
    }
}

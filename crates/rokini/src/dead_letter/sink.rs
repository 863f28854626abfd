//! Where dead letters go, as a contract.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::letter::DeadLetter;
use crate::types::error::Error;

/// Keeps records that a failure policy gave up.
///
/// The contract:
/// - **Confirmed.** [`put`](Self::put) returns `Ok` only once every record of the letter is as durable as the place
///   it goes to can make it. Only then does the position of the shard pass the records. Nothing is cut or left out
///   to make a record fit.
/// - **At least once.** After an error, after a lost answer, and when the worker dies between `put` and the next
///   stored position, the same records are put again, perhaps by another worker, in a letter with other neighbours
///   and another failure. [`DeadLetter::key`] is the same each time: let it name the entry where the place can
///   replace an entry, and let readers take the first of several.
/// - **An error stops the shard**, not the consumer: the letter is put again, with back-off, for as long as the lease
///   is held. [`Error::is_retryable`] says whether waiting can help, or whether somebody has to act.
/// - **Dropped calls.** A call is dropped at an `await` when the lease is lost, when a shutdown's deadline comes, and
///   when it takes longer than 5 minutes, which is an error like others; so is a panic. What it had written by then is
///   what "at least once" is about. Code that blocks its thread cannot be stopped.
/// - Calls for different shards run at the same time.
#[async_trait]
pub trait DeadLetterSink: fmt::Debug + Send + Sync + 'static {
    /// Called once by [`ConsumerBuilder::build`](crate::ConsumerBuilder::build), whose error it becomes: the time to
    /// say that the place cannot be used, before any record depends on it. Does nothing unless a sink overrides it.
    ///
    /// # Errors
    /// When letters could not be kept, and waiting would not help.
    async fn open(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Keeps the records of a letter.
    ///
    /// # Errors
    /// When not every record is known to be kept.
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error>;
}

#[async_trait]
impl<S: DeadLetterSink + ?Sized> DeadLetterSink for Arc<S> {
    async fn open(&self) -> Result<(), Error> {
        (**self).open().await
    }

    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        (**self).put(letter).await
    }
}

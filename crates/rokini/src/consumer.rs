//! The consumer: what a program builds, holds and runs.

use std::sync::Arc;

use crate::{Error, Handle, ShutdownReport};

pub(crate) mod builder;
pub(crate) mod control;
pub(crate) mod engine;
pub(crate) mod handle;
pub(crate) mod run;
mod shard_tasks;
pub(crate) mod shutdown_report;
pub(crate) mod start;
pub(crate) mod status;

pub use builder::ConsumerBuilder;
pub use builder::stream::{Delivered, Deliveries};
use run::Runner;

/// One worker of a group: works on its share of the shards of a stream.
///
/// ```no_run
/// use rokini::lease::MemoryStore;
/// use rokini::{Consumer, Error, StartPosition};
///
/// # async fn example(aws: aws_types::SdkConfig) -> Result<(), Error> {
/// let consumer = Consumer::builder()
///     .group("billing")
///     .stream("orders")
///     .start(StartPosition::TrimHorizon)
///     .store(MemoryStore::new())
///     .aws(&aws)
///     .for_each(|record| async move {
///         println!("{}: {} bytes", record.partition_key, record.data.len());
///         Ok(())
///     })
///     .build()
///     .await?;
/// let handle = consumer.handle(); // for shutdown, status, events
/// # drop(handle);
/// consumer.run().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    runner: Runner,
}

impl Consumer {
    /// A consumer with nothing set.
    pub fn builder() -> ConsumerBuilder {
        ConsumerBuilder::default()
    }

    /// A handle to stop and watch this consumer, before, while and after it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.runner.control))
    }

    /// Runs until [`Handle::shutdown`]. Dropping the returned future stops the work at once, without handing
    /// over: the others wait for the failover time.
    ///
    /// # Errors
    /// What cannot pass by itself, with the same kinds as [`Error::kind`]:
    /// - at the start, [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) and
    ///   [`ErrorKind::Permission`](crate::ErrorKind::Permission) at once, and what passes by itself
    ///   ([`Error::is_retryable`]) when it has not passed within a minute;
    /// - later only a second live worker of the same name.
    pub async fn run(self) -> Result<ShutdownReport, Error> {
        self.runner.run().await
    }
}

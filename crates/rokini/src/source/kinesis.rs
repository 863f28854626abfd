//! Amazon Kinesis as a [`StreamSource`], through the AWS SDK.

mod adaptive_batch;
mod client;
mod convert;
mod fan_out;
mod poll_schedule;
mod polling;
mod rate_limiter;
mod server_info;
mod stuck_reader;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::error::BuildError;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType, StreamStatus};
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{Position, ShardId, WallClock};
use tokio::time::Instant;

use client::{LIST_SHARDS, ListError, StreamClient};
use polling::{Polling, PollingReader};

use crate::config::Settings;
use crate::source::selection::select_shards;
use crate::source::stream_source::{
    FanOut, ShardDescription, ShardReader, ShardSelection, StreamDescription, StreamSource,
};
use crate::types::error::{Error, ErrorKind};
use crate::types::stream_ref::StreamRef;

/// How long a stream may stay CREATING while somebody waits for it. AWS takes about half a minute.
const CREATION_TOTAL: Duration = Duration::from_secs(300);
/// How often it is looked at: DescribeStreamSummary is limited to 20 calls a second and account.
const CREATION_POLL: Duration = Duration::from_millis(500);
/// How often a listing is begun again whose token expired (it lives for 5 minutes).
const LISTING_TRIES: usize = 3;

/// A stream of Amazon Kinesis, read by polling and by enhanced fan-out.
#[derive(Clone)]
pub struct KinesisSource {
    client: Arc<StreamClient>,
    polling: Polling,
    rng: Arc<Mutex<SmallRng>>,
    wall: WallClock,
}

impl KinesisSource {
    /// Reads `stream` with this AWS configuration: region, credentials, endpoint and HTTP client are taken over,
    /// timeouts and retries are the library's own. Calls nothing yet.
    ///
    /// Polls as `settings` say (`poll_floor`, `poll_ceiling`, `max_records`, `wire`). `seed` decides the jitter of
    /// retries: take a random one.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] without a region, or with another region than the stream's ARN names.
    pub fn new(aws: &SdkConfig, stream: StreamRef, settings: &Settings, seed: u64) -> Result<Self, Error> {
        Ok(Self {
            client: Arc::new(StreamClient::new(aws, stream, settings.wire)?),
            polling: settings.into(),
            rng: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))),
            wall: WallClock::system(),
        })
    }

    /// Randomness for one reader.
    fn fork(&self) -> SmallRng {
        let seed = self.rng.lock().unwrap_or_else(PoisonError::into_inner).random();
        SmallRng::seed_from_u64(seed)
    }

    /// Takes the time from this clock where the stream's answers do not tell it. Default: the host's.
    #[must_use]
    pub fn wall_clock(mut self, clock: WallClock) -> Self {
        self.wall = clock;
        self
    }
}

impl fmt::Debug for KinesisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisSource")
            .field("client", &self.client)
            .field("polling", &self.polling)
            .finish_non_exhaustive()
    }
}

fn filter(which: ShardSelection) -> Result<Option<ShardFilter>, BuildError> {
    let builder = ShardFilter::builder();
    let builder = match which {
        ShardSelection::All => return Ok(None),
        ShardSelection::Latest => builder.r#type(ShardFilterType::AtLatest),
        ShardSelection::TrimHorizon => builder.r#type(ShardFilterType::AtTrimHorizon),
        ShardSelection::AtTimestamp(millis) => {
            let time = DateTime::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
            builder.r#type(ShardFilterType::AtTimestamp).timestamp(time)
        }
    };
    builder.build().map(Some)
}

#[async_trait]
impl StreamSource for KinesisSource {
    /// Waits up to 5 minutes for a stream that is being created.
    async fn describe(&self) -> Result<StreamDescription, Error> {
        let stream = &self.client.stream;
        let deadline = Instant::now() + CREATION_TOTAL;
        loop {
            let summary = self.client.describe().await?;
            match summary.stream_status {
                StreamStatus::Creating if Instant::now() >= deadline => {
                    let message = format!(
                        "stream `{stream}` is still being created after {} s: look at it in the AWS console",
                        CREATION_TOTAL.as_secs()
                    );
                    return Err(Error::new(ErrorKind::Retry, message));
                }
                StreamStatus::Creating => {
                    tracing::debug!(%stream, "waiting for the stream to be created");
                    tokio::time::sleep(CREATION_POLL).await;
                }
                StreamStatus::Deleting => {
                    let message =
                        format!("stream `{stream}` is being deleted: name another one, or create it again");
                    return Err(Error::new(ErrorKind::Configuration, message));
                }
                // A status that is not known yet does not keep anybody from reading.
                _ => return self.client.description(&summary, || self.wall.millis()),
            }
        }
    }

    fn reference(&self) -> Option<&StreamRef> {
        Some(&self.client.stream)
    }

    fn now_millis(&self) -> Option<u64> {
        self.client.stream_now()
    }

    fn places_by_hash(&self) -> bool {
        self.client.places_by_hash()
    }

    async fn list_shards(&self, which: ShardSelection) -> Result<Vec<ShardDescription>, Error> {
        let call = || self.client.call(LIST_SHARDS, None);
        let mut filter =
            filter(which).map_err(|error| call().malformed("cannot be asked for").with_source(error))?;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.client.list(filter.clone()).await {
                // No shard was open at a time before the stream was made or before what it keeps.
                Ok(shards) if shards.is_empty() && matches!(which, ShardSelection::AtTimestamp(_)) => {
                    return self.list_shards(ShardSelection::TrimHorizon).await;
                }
                Ok(shards) => return Ok(select_shards(shards, which)),
                Err(error) => error,
            };
            match error.code() {
                Some("ExpiredNextTokenException") if tries < LISTING_TRIES => {
                    tracing::debug!("a page token expired: the listing is begun again");
                }
                // A server that knows no filters: the selection is made here.
                Some("InvalidArgumentException" | "ValidationException" | "SerializationException")
                    if filter.is_some() =>
                {
                    filter = None;
                }
                Some("ExpiredNextTokenException") => {
                    let message = format!(
                        "{}: its pages expired {LISTING_TRIES} times before the last one was there; it is tried again",
                        call()
                    );
                    return Err(Error::new(ErrorKind::Retry, message));
                }
                _ => {
                    return Err(match error {
                        ListError::Call(error) => self.client.error(*error, LIST_SHARDS, None),
                        ListError::Other(error) => error,
                    });
                }
            }
        }
    }

    async fn open(&self, shard: &ShardId, at: &Position) -> Result<Box<dyn ShardReader>, Error> {
        let client = Arc::clone(&self.client);
        let reader = PollingReader::new(client, shard.clone(), *at, self.polling, self.fork())?;
        Ok(Box::new(reader))
    }

    fn fan_out(&self) -> Option<&dyn FanOut> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;

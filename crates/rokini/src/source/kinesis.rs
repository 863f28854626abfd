//! Amazon Kinesis as a [`StreamSource`], through the AWS SDK.

mod convert;
mod observer;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::BuildError;
use aws_sdk_kinesis::operation::list_shards::ListShardsError;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType, StreamDescriptionSummary, StreamStatus};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::SdkConfig;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini_lease::{Position, ShardId, StreamId, WallClock};
use tokio::time::Instant;

use super::polling::PollingReader;
use super::selection::select_shards;
use super::stream_ref::StreamRef;
use crate::aws::error::{Call, from_sdk};
use crate::{Error, ErrorKind, Settings, ShardDescription, ShardReader, ShardSelection, StreamDescription};
use crate::{StreamSource, aws};
pub(super) use convert::{child_shard, records};
use convert::{millis, shard};
use observer::Observer;

/// How long one try of GetRecords may take: an answer has up to 10 MB.
pub(super) const READ_ATTEMPT: Duration = Duration::from_secs(10);
/// How long one try of another call may take, and all its tries together.
const CONTROL_ATTEMPT: Duration = Duration::from_secs(5);
const CONTROL_TOTAL: Duration = Duration::from_secs(20);
const CONTROL_TRIES: u32 = 3;
/// How long a stream may stay CREATING while somebody waits for it. AWS takes about half a minute.
const CREATION_TOTAL: Duration = Duration::from_secs(300);
/// How often it is looked at: DescribeStreamSummary is limited to 20 calls a second and account.
const CREATION_POLL: Duration = Duration::from_millis(500);
/// How often a listing is begun again whose token expired (it lives for 5 minutes).
const LISTING_TRIES: usize = 3;

/// A stream of Amazon Kinesis, read by polling.
#[derive(Clone)]
pub struct KinesisSource {
    shared: Arc<Shared>,
    wall: WallClock,
}

pub(super) struct Shared {
    stream: StreamRef,
    region: String,
    control: Client,
    /// Without retries: the schedule decides when a read is tried again.
    pub(super) data: Client,
    observer: Observer,
    polling: Polling,
    rng: Mutex<SmallRng>,
}

/// How shards are polled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polling {
    pub(super) floor: Duration,
    pub(super) ceiling: Duration,
    pub(super) max_records: u16,
}

impl From<&Settings> for Polling {
    fn from(settings: &Settings) -> Self {
        Self { floor: settings.poll_floor, ceiling: settings.poll_ceiling, max_records: settings.max_records }
    }
}

impl KinesisSource {
    /// Reads `stream` with this AWS configuration: region, credentials, endpoint and HTTP client are taken over,
    /// timeouts and retries are the library's own. Calls nothing yet.
    ///
    /// Polls as `settings` say (`poll_floor`, `poll_ceiling`, `max_records`). `seed` decides the jitter of
    /// retries: take a random one.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] without a region, or with another region than the stream's ARN names.
    pub fn new(aws: &SdkConfig, stream: StreamRef, settings: &Settings, seed: u64) -> Result<Self, Error> {
        let region = aws::region(aws, Some(&stream))?;
        let observer = Observer::default();
        let mut base = Builder::from(aws).interceptor(observer.clone());
        if aws.behavior_version().is_none() {
            base = base.behavior_version(aws::behavior());
        }
        if aws.http_client().is_none() {
            base = base.http_client(aws::http_client()?);
        }
        let limits = |attempt, total| {
            TimeoutConfig::builder()
                .connect_timeout(CONTROL_ATTEMPT)
                .operation_attempt_timeout(attempt)
                .operation_timeout(total)
                .build()
        };
        let control = base
            .clone()
            .retry_config(RetryConfig::standard().with_max_attempts(CONTROL_TRIES))
            .timeout_config(limits(CONTROL_ATTEMPT, CONTROL_TOTAL));
        let data =
            base.retry_config(RetryConfig::disabled()).timeout_config(limits(READ_ATTEMPT, READ_ATTEMPT));
        let shared = Shared {
            stream,
            region,
            control: Client::from_conf(control.build()),
            data: Client::from_conf(data.build()),
            observer,
            polling: settings.into(),
            rng: Mutex::new(SmallRng::seed_from_u64(seed)),
        };
        Ok(Self { shared: Arc::new(shared), wall: WallClock::system() })
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
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisSource")
            .field("stream", &self.stream)
            .field("region", &self.region)
            .field("polling", &self.polling)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn polling(&self) -> Polling {
        self.polling
    }

    /// A generator for one reader.
    pub(super) fn rng(&self) -> SmallRng {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        SmallRng::seed_from_u64(rng.random())
    }

    /// The stream's time, if any answer told it: never later than it is.
    pub(super) fn stream_now(&self) -> Option<u64> {
        self.observer.now()
    }

    pub(super) fn call<'a>(&'a self, action: &'static str, shard: Option<&'a ShardId>) -> Call<'a> {
        Call { action, stream: &self.stream, shard, region: &self.region, endpoint: self.observer.endpoint() }
    }

    pub(super) fn error<E>(
        &self,
        error: SdkError<E, HttpResponse>,
        action: &'static str,
        shard: Option<&ShardId>,
    ) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        from_sdk(error, &self.call(action, shard))
    }

    /// The name where the stream is not named by its ARN: calls take one of the two.
    pub(super) fn name(&self) -> Option<String> {
        self.stream.arn().is_none().then(|| self.stream.name().to_owned())
    }

    pub(super) fn arn(&self) -> Option<String> {
        self.stream.arn().map(str::to_owned)
    }

    pub(super) fn control(&self) -> &Client {
        &self.control
    }

    async fn describe_once(&self) -> Result<StreamDescriptionSummary, Error> {
        let action = "kinesis:DescribeStreamSummary";
        let call =
            self.control.describe_stream_summary().set_stream_name(self.name()).set_stream_arn(self.arn());
        let answer = Box::pin(call.send()).await.map_err(|error| self.error(error, action, None))?;
        let missing = || self.call(action, None).malformed("has no StreamDescriptionSummary");
        answer.stream_description_summary.ok_or_else(missing)
    }

    fn description(
        &self,
        summary: &StreamDescriptionSummary,
        wall: &WallClock,
    ) -> Result<StreamDescription, Error> {
        let missing = |what| self.call("kinesis:DescribeStreamSummary", None).malformed(what);
        // The SDK fills in the epoch where the answer has no time.
        let created = millis(&summary.stream_creation_timestamp).filter(|millis| *millis > 0);
        let created = created.ok_or_else(|| missing("has no StreamCreationTimestamp"))?;
        let hours = u64::try_from(summary.retention_period_hours).ok().filter(|hours| *hours > 0);
        let hours = hours.ok_or_else(|| missing("has no RetentionPeriodHours"))?;
        let name = self.stream.name();
        Ok(StreamDescription {
            name: name.to_owned(),
            id: StreamId::new(format!("{name}@{created}"))
                .map_err(|error| missing("gives no usable id").with_source(error))?,
            now_millis: stream_time(self.stream_now(), created, || wall.millis()),
            retention: Duration::from_secs(hours * 3_600),
        })
    }

    /// Every page of one listing.
    async fn list(&self, filter: Option<ShardFilter>) -> Result<Vec<ShardDescription>, ListError> {
        let mut shards = Vec::new();
        let mut token = None;
        loop {
            let call = self.control.list_shards();
            // The token stands for the stream and the filter; the API refuses them beside it.
            let call = match token.take() {
                Some(token) => call.next_token(token),
                None => {
                    let call = call.set_stream_name(self.name()).set_stream_arn(self.arn());
                    call.set_shard_filter(filter.clone())
                }
            };
            let page = Box::pin(call.send()).await?;
            for listed in page.shards.unwrap_or_default() {
                let described = shard(listed, &self.call(LIST_SHARDS, None)).map_err(ListError::Other)?;
                shards.push(described);
            }
            match page.next_token {
                Some(next) if !next.is_empty() => token = Some(next),
                _ => return Ok(shards),
            }
        }
    }
}

const LIST_SHARDS: &str = "kinesis:ListShards";

/// Why a listing broke off.
enum ListError {
    /// In a call.
    Call(Box<SdkError<ListShardsError, HttpResponse>>),
    /// On what an answer said.
    Other(Error),
}

impl From<SdkError<ListShardsError, HttpResponse>> for ListError {
    fn from(error: SdkError<ListShardsError, HttpResponse>) -> Self {
        Self::Call(Box::new(error))
    }
}

impl ListError {
    fn code(&self) -> Option<&str> {
        match self {
            Self::Call(error) => error.code(),
            Self::Other(_) => None,
        }
    }
}

/// The stream's time as far as it is known. What the answer said counts unless it is before the stream was made.
fn stream_time(answered: Option<u64>, created: u64, wall: impl FnOnce() -> u64) -> u64 {
    // The answer is cut to the second.
    let plausible = answered.filter(|millis| millis.saturating_add(1_000) > created);
    plausible.unwrap_or_else(wall).max(created)
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
        let stream = &self.shared.stream;
        let deadline = Instant::now() + CREATION_TOTAL;
        loop {
            let summary = self.shared.describe_once().await?;
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
                _ => return self.shared.description(&summary, &self.wall),
            }
        }
    }

    fn reference(&self) -> Option<&StreamRef> {
        Some(&self.shared.stream)
    }

    fn now_millis(&self) -> Option<u64> {
        self.shared.stream_now()
    }

    async fn list_shards(&self, which: ShardSelection) -> Result<Vec<ShardDescription>, Error> {
        let call = || self.shared.call(LIST_SHARDS, None);
        let mut filter =
            filter(which).map_err(|error| call().malformed("cannot be asked for").with_source(error))?;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.shared.list(filter.clone()).await {
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
                        ListError::Call(error) => self.shared.error(*error, LIST_SHARDS, None),
                        ListError::Other(error) => error,
                    });
                }
            }
        }
    }

    async fn open(&self, shard: &ShardId, at: &Position) -> Result<Box<dyn ShardReader>, Error> {
        Ok(Box::new(PollingReader::new(Arc::clone(&self.shared), shard.clone(), *at)?))
    }
}

#[cfg(test)]
mod tests;

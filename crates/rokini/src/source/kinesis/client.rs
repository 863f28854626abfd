//! Calls about one stream, by the AWS SDK, and their errors in our words.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::operation::list_shards::ListShardsError;
use aws_sdk_kinesis::types::{RecordDistributionStrategy, ShardFilter, StreamDescriptionSummary, StreamMode};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::SdkConfig;
use rokini_lease::{ShardId, StreamId};
use rokini_wire::Codec;

use crate::aws::buffer_pool::BufferPool;
use crate::aws::error::{ApiCall, from_sdk};
use crate::aws::{self, HttpOptions};
use crate::config::Wire;
use crate::source::kinesis::convert::{millis, shard};
use crate::source::kinesis::server_info::{ServerInfo, ServerInfoInterceptor};
use crate::source::kinesis::wire::{RecordsProtocol, WireChoice};
use crate::source::stream_source::{ShardDescription, StreamDescription};
use crate::types::error::Error;
use crate::types::stream_ref::StreamRef;

/// How long one try of GetRecords may take: an answer has up to 10 MB.
pub(super) const READ_ATTEMPT: Duration = Duration::from_secs(10);
/// How long one try of another call may take, and all its tries together.
const CONTROL_ATTEMPT: Duration = Duration::from_secs(4);
/// An endpoint that does not answer is to be known within 10 s: somebody watches the start.
const CONTROL_TOTAL: Duration = Duration::from_secs(9);
const CONTROL_TRIES: u32 = 3;

/// What calls about one stream need.
pub(super) struct StreamClient {
    pub(super) stream: StreamRef,
    region: String,
    /// For every other call.
    pub(super) control: Client,
    /// For GetRecords and SubscribeToShard in CBOR and JSON. Without retries: the schedule decides when a read is tried again.
    cbor: Client,
    json: Client,
    pub(super) wire: WireChoice,
    /// The same for subscriptions, which may be another server's.
    pub(super) subscription_wire: WireChoice,
    /// For the events of subscriptions.
    pub(super) buffers: Arc<BufferPool>,
    server: Arc<ServerInfo>,
    /// Whether the stream spreads records by itself, as it said last.
    spreads: AtomicBool,
}

impl fmt::Debug for StreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamClient")
            .field("stream", &self.stream)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl StreamClient {
    pub(super) fn new(aws: &SdkConfig, stream: StreamRef, wire: Wire) -> Result<Self, Error> {
        let region = aws::region(aws, Some(&stream))?;
        let aws = aws::complete(aws.clone(), &HttpOptions::default())?;
        let server = Arc::<ServerInfo>::default();
        let config = |attempt, total, tries| {
            let config = Builder::from(&aws::bounded(&aws, attempt, total, tries)?);
            Ok::<_, Error>(config.interceptor(ServerInfoInterceptor(Arc::clone(&server))))
        };
        let records = config(READ_ATTEMPT, READ_ATTEMPT, 1)?;
        let records = |codec| Client::from_conf(records.clone().protocol(RecordsProtocol(codec)).build());
        Ok(Self {
            stream,
            region,
            control: Client::from_conf(config(CONTROL_ATTEMPT, CONTROL_TOTAL, CONTROL_TRIES)?.build()),
            cbor: records(Codec::Cbor),
            json: records(Codec::Json),
            wire: WireChoice::new(wire),
            subscription_wire: WireChoice::new(wire),
            buffers: Arc::default(),
            server,
            spreads: AtomicBool::new(false),
        })
    }

    /// For GetRecords and SubscribeToShard in this encoding; of the former the answer is the data of one record, as it came.
    pub(super) fn records(&self, codec: Codec) -> &Client {
        match codec {
            Codec::Json => &self.json,
            _ => &self.cbor,
        }
    }

    /// The stream's time, if any answer told it: never later than it is.
    pub(super) fn stream_now(&self) -> Option<u64> {
        self.server.now()
    }

    pub(super) fn call<'a>(&'a self, action: &'static str, shard: Option<&'a ShardId>) -> ApiCall<'a> {
        ApiCall {
            action,
            stream: &self.stream,
            shard,
            region: &self.region,
            endpoint: self.server.endpoint(),
        }
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

    /// Whether the stream places records by the hash of their keys, as it said last.
    pub(super) fn places_by_hash(&self) -> bool {
        !self.spreads.load(Ordering::Relaxed)
    }

    /// The name where the stream is not named by its ARN: calls take one of the two.
    pub(super) fn name(&self) -> Option<String> {
        self.stream.arn().is_none().then(|| self.stream.name().to_owned())
    }

    pub(super) fn arn(&self) -> Option<String> {
        self.stream.arn().map(str::to_owned)
    }

    pub(super) async fn describe(&self) -> Result<StreamDescriptionSummary, Error> {
        let action = "kinesis:DescribeStreamSummary";
        let call =
            self.control.describe_stream_summary().set_stream_name(self.name()).set_stream_arn(self.arn());
        let answer = Box::pin(call.send()).await.map_err(|error| self.error(error, action, None))?;
        let missing = || self.call(action, None).malformed("has no StreamDescriptionSummary");
        let summary = answer.stream_description_summary.ok_or_else(missing)?;
        let strategy = summary.record_distribution_strategy();
        self.spreads.store(strategy == Some(&RecordDistributionStrategy::Auto), Ordering::Relaxed);
        Ok(summary)
    }

    pub(super) fn description(
        &self,
        summary: &StreamDescriptionSummary,
        wall: impl FnOnce() -> u64,
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
            now_millis: stream_time(self.stream_now(), created, wall),
            retention: Duration::from_secs(hours * 3_600),
            on_demand: summary
                .stream_mode_details
                .as_ref()
                .is_some_and(|details| details.stream_mode == StreamMode::OnDemand),
        })
    }

    /// Every page of one listing.
    pub(super) async fn list(&self, filter: Option<ShardFilter>) -> Result<Vec<ShardDescription>, ListError> {
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

pub(super) const LIST_SHARDS: &str = "kinesis:ListShards";

/// Why a listing broke off.
pub(super) enum ListError {
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
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Call(error) => error.code(),
            Self::Other(_) => None,
        }
    }
}

/// How far the host's clock may be ahead of the stream's: signatures that are off by more are refused.
const CLOCK_TOLERANCE_MILLIS: u64 = 300_000;

/// The stream's time as far as it is known, never later than it is. What the answer said counts unless it is before the stream was made.
pub(super) fn stream_time(answered: Option<u64>, created: u64, wall: impl FnOnce() -> u64) -> u64 {
    // The answer is cut to the second.
    let plausible = answered.filter(|millis| millis.saturating_add(1_000) > created);
    plausible.unwrap_or_else(|| wall().saturating_sub(CLOCK_TOLERANCE_MILLIS)).max(created)
}

#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]
#![doc = include_str!("../README.md")]

#[cfg(feature = "aws")]
mod aws;
#[cfg(not(feature = "aws"))]
#[path = "aws/absent.rs"]
mod aws;
mod catalog;
mod checkpoint;
mod config;
mod consumer;
mod dead_letter;
mod delivery;
mod events;
mod processor;
mod producer;
mod shard;
mod signals;
mod source;
mod telemetry;
mod types;

// What a program starts with.
#[cfg(feature = "aws")]
pub use aws::error::explain_kinesis_error;
#[cfg(feature = "aws")]
pub use aws::http::{EndpointProbe, HttpOptions, ProbeError, ProbeStep, Proxies, TlsProbe, http_client};
#[cfg(feature = "aws")]
pub use aws::{AwsOptions, check_credentials, credentials_end, credentials_problem};
pub use consumer::builder::ConsumerBuilder;
pub use consumer::builder::stream::{Delivered, Deliveries};
pub use consumer::handle::Handle;
pub use consumer::run::Consumer;
pub use signals::{Signal, Signals};
pub use types::error::{Error, ErrorKind};

// Handlers and what they get.
pub use delivery::acks::AckToken;
pub use processor::batch::{Batch, IntoAcks};
#[cfg(feature = "json")]
pub use processor::decode::Json;
pub use processor::decode::{Decode, DecodeError};
pub use processor::prepared::{PendingCheckpoint, PreparedCheckpoint};
pub use processor::record_processor::RecordProcessor;
pub use processor::shard_context::ShardContext;
pub use types::failure::{HandlerCall, HandlerError, HandlerFailure, OnFailure};
pub use types::record::{Record, RecordBuffer};

// Settings.
pub use config::{
    Balance, CloudWatchDimension, CloudWatchLevel, ConfigKey, ConfigOrigin, ConsumerConfig, KplHashRange,
    MEMORY_OVERHEAD, Monitoring, OnDataLoss, Retrieval, Settings, Wire,
};
pub use types::dead_letter_target::DeadLetterTarget;
pub use types::drained::{DrainedWorkers, drained_workers};
pub use types::duration::parse_duration;
pub use types::rfc3339::format_time;
pub use types::start_position::StartPosition;
pub use types::stream_ref::StreamRef;

// Dead letters.
#[cfg(feature = "sqs")]
pub use dead_letter::DeadLetterQueue;
#[cfg(all(feature = "aws", feature = "json"))]
pub use dead_letter::DeadLetterStream;
pub use dead_letter::{DeadLetter, DeadLetterSink};
#[cfg(feature = "json")]
pub use dead_letter::{DeadLetterEntry, DeadLetterFile, DeadLetterPart};

// Watching a consumer.
pub use consumer::shutdown_report::{ShardReport, ShardStop, ShutdownReport};
pub use consumer::status::{Status, StreamStatus};
pub use events::event::Event;
pub use events::table::{EventCode, EventKind};
pub use shard::status::ShardStatus;
pub use telemetry::group_changes::{GroupChange, group_changes};
pub use telemetry::handler_stats::HandlerStats;
pub use telemetry::health::{Health, HealthReason};
#[cfg(feature = "page")]
pub use telemetry::page_server::GroupPage;
pub use telemetry::scale::ScalingRecommendation;
pub use types::phase::ConsumerPhase;
pub use types::shard_state::ShardState;
pub use types::stall::StallCause;

// Metrics and traces.
/// The recorders that [`ConsumerBuilder::recorder`] takes.
pub use metrics;
#[cfg(feature = "cloudwatch")]
pub use telemetry::cloudwatch::cloudwatch_metrics;
pub use telemetry::metric::{Metric, MetricKind, MetricScope, MetricStability, MetricUnit};
#[cfg(feature = "otlp")]
pub use telemetry::otlp::OtlpTraces;

// Sources of records.
pub use source::deaggregate::{Deaggregator, DroppedAggregates, MalformedAggregates, Unpacked};
#[cfg(feature = "aws")]
pub use source::kinesis::KinesisSource;
pub use source::selection::select_shards;
pub use source::stream_source::{
    ConsumerState, FanOut, ReadResponse, RegisteredConsumer, ShardDescription, ShardEnd, ShardReader,
    ShardSelection, SourceEvent, StreamDescription, StreamSource, SubscriptionCounts,
};

// Putting records.
pub use producer::{AggregateLimits, Aggregator, StreamRecord, UserRecord};

/// The stores, and the words of coordination.
pub use rokini_lease as lease;

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

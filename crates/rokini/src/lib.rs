//! Consume Amazon Kinesis Data Streams: lose nothing, say what is going on, hand over within a second.
//!
//! - [`Consumer::builder`] is where a program starts: one of the closures ([`ConsumerBuilder::for_each`],
//!   [`ConsumerBuilder::for_each_batch`]) or a [`RecordProcessor`] per shard.
//! - [`Handle`] stops and watches it: [`Handle::shutdown`], [`Handle::status`], [`Handle::events`].
//! - [`ConfigKey`] lists every setting, [`AwsOptions`] loads region, credentials and endpoints.
//! - [`lease`] has the stores ([`lease::DynamoStore`], [`lease::MemoryStore`]) and the words of coordination.
//! - [`StreamSource`] is the seam for other sources of records, tests among them.

mod aws;
mod catalog;
mod checkpoint;
mod config;
mod consumer;
mod dead_letter;
mod delivery;
mod events;
mod processor;
mod shard;
mod signals;
mod source;
mod telemetry;
mod types;

pub use aws::{AwsOptions, http_client};
pub use config::{
    Balance, CloudWatchDimension, CloudWatchLevel, ConfigKey, ConfigOrigin, ConsumerConfig, Monitoring,
    OnDataLoss, Settings,
};
pub use consumer::control::Phase;
pub use consumer::handle::Handle;
pub use consumer::shutdown_report::{ShardReport, ShardStop, ShutdownReport};
pub use consumer::status::{Status, StreamStatus};
pub use consumer::{Consumer, ConsumerBuilder, Delivered, Deliveries};
#[cfg(feature = "sqs")]
pub use dead_letter::DeadLetterQueue;
pub use dead_letter::{DeadLetter, DeadLetterSink};
#[cfg(feature = "json")]
pub use dead_letter::{DeadLetterEntry, DeadLetterFile, DeadLetterPart, DeadLetterStream};
pub use delivery::acks::AckToken;
pub use events::{Event, EventCode};
pub use metrics;
pub use processor::batch::{Batch, IntoAcks};
#[cfg(feature = "json")]
pub use processor::decode::Json;
pub use processor::decode::{Decode, DecodeError};
pub use processor::prepared::{PendingCheckpoint, PreparedCheckpoint};
pub use processor::record_processor::RecordProcessor;
pub use processor::shard_context::ShardContext;
pub use rokini_lease as lease;
pub use shard::status::{ShardState, ShardStatus};
pub use signals::{Signal, Signals};
pub use source::kinesis::KinesisSource;
pub use source::selection::select_shards;
pub use source::stream_source::{
    ReadResponse, ShardDescription, ShardEnd, ShardReader, ShardSelection, StreamDescription, StreamSource,
};
pub use telemetry::defs::{Metric, MetricKind, MetricScope, Stability};
pub use telemetry::health::{Health, HealthReason};
#[cfg(feature = "otlp")]
pub use telemetry::otlp::OtlpTraces;
pub use telemetry::scale::Scale;
pub use telemetry::stall::StallCause;
pub use types::dead_letter_target::DeadLetterTarget;
pub use types::duration::parse_duration;
pub use types::error::{Error, ErrorKind};
pub use types::failure::{HandlerCall, HandlerError, HandlerFailure, OnFailure};
pub use types::record::Record;
pub use types::start_position::StartPosition;
pub use types::stream_ref::StreamRef;

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

//! Consume Amazon Kinesis Data Streams.

mod aws;
mod checkpoint;
mod config;
mod consumer;
mod delivery;
mod error;
mod events;
mod handle;
mod processor;
mod record;
mod shard;
mod source;

pub use aws::{AwsOptions, http_client};
pub use config::{Billing, ConfigKey, ConfigOrigin, ConsumerConfig, Settings, StartPosition};
pub use consumer::{Consumer, ConsumerBuilder};
pub use error::{Error, ErrorKind};
pub use events::{Event, HandlerCall, HandlerFailure};
pub use handle::{Handle, Phase, ShardReport, ShardStop, ShutdownReport, Status};
pub use processor::{Batch, HandlerError, RecordProcessor};
pub use record::Record;
pub use rokini_lease as lease;
pub use shard::{ShardContext, ShardState, ShardStatus};
pub use source::kinesis::KinesisSource;
pub use source::selection::select_shards;
pub use source::stream_ref::StreamRef;
pub use source::{
    Fetched, ShardDescription, ShardEnd, ShardReader, ShardSelection, StreamDescription, StreamSource,
};

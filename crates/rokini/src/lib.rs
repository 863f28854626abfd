//! Consume Amazon Kinesis Data Streams.

mod config;
mod error;
mod record;
mod source;

pub use config::{Billing, ConfigKey, ConfigOrigin, ConsumerConfig, Settings, StartPosition};
pub use error::{Error, ErrorKind};
pub use record::Record;
pub use rokini_lease as lease;
pub use source::stream_ref::StreamRef;
pub use source::{
    Fetched, ShardDescription, ShardEnd, ShardReader, ShardSelection, StreamDescription, StreamSource,
};

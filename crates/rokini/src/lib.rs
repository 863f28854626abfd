//! Consume Amazon Kinesis Data Streams.

mod error;
mod record;
mod source;

pub use error::{Error, ErrorKind};
pub use record::Record;
pub use rokini_lease as lease;
pub use source::{
    Fetched, ShardDescription, ShardEnd, ShardReader, ShardSelection, StreamDescription, StreamSource,
};

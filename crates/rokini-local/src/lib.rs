//! A Kinesis that can be believed, in process: for tests, simulation and development.
//!
//! - [`Model`] is Kinesis as pure code: requests and the time go in, answers come out.
//! - [`Service`] is a shared model with a clock.
//! - [`LocalKinesis`] serves it over HTTP to any AWS SDK, [`LocalDynamo`] an embedded DynamoDB beside it.

mod clock;
#[cfg(feature = "dynamo")]
mod dynamo;
mod faults;
mod http;
mod journal;
mod local;
mod model;
mod server;
mod service;
mod settings;
#[cfg(feature = "data")]
mod store;

pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "dynamo")]
pub use dynamo::{Database, DynamoError, LocalDynamo, open_file};
pub use faults::{Call, Fault, Faults, Installed, Rule};
pub use journal::CallRecord;
pub use local::{Builder, LocalKinesis, StartError};
pub use model::{Model, Push, Serve, Subscription};
pub use rokini_wire as wire;
pub use service::Service;
pub use settings::{EndOfShard, Settings};
#[cfg(feature = "data")]
pub use store::DataError;

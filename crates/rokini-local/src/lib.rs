#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]
#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
mod client;
mod clock;
#[cfg(feature = "dynamo")]
mod dynamo;
mod environment;
mod faults;
mod http;
mod in_process;
mod journal;
mod local;
mod model;
mod readers;
mod server;
mod service;
mod settings;
#[cfg(feature = "data")]
mod store;
#[cfg(feature = "tls")]
mod tls;
mod wake_ups;

#[cfg(feature = "client")]
pub use aws_sdk_kinesis;
pub use rokini_wire as wire;

pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "dynamo")]
pub use dynamo::{Database, DynamoError, DynamoSettings, LocalDynamo, open_file, read_file};
pub use faults::{Fault, FaultCall, FaultRule, Faults, InstalledRule};
pub use http::body::ConnectionCut;
pub use in_process::InProcess;
pub use journal::CallRecord;
pub use local::{LocalKinesis, LocalKinesisBuilder, StartError};
pub use model::{Caller, Changed, Model, ModelRequest, Subscription, SubscriptionPoll};
pub use readers::NotConsumed;
pub use service::Service;
pub use settings::{EndOfShard, LocalSettings};
#[cfg(feature = "data")]
pub use store::DataError;
#[cfg(feature = "tls")]
pub use tls::TlsError;

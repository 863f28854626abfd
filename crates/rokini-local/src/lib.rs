//! A Kinesis that can be believed, in process: for tests, simulation and development.
//!
//! - [`Model`] is Kinesis as pure code: requests and the time go in, answers come out.
//! - [`Service`] is a shared model with a clock.
//! - [`LocalKinesis`] serves it over HTTP to any AWS SDK, [`LocalDynamo`] an embedded DynamoDB beside it.
//!
//! ```
//! use std::time::Duration;
//!
//! use rokini_local::{Fault, LocalKinesis, Rule};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kinesis = LocalKinesis::builder().stream("orders", 4).start().await?;
//! // Point any SDK at this URL, with any region and any credentials.
//! println!("{}", kinesis.endpoint_url());
//! kinesis.put("orders", "key", "hello")?;
//! // The next GetRecords call loses its answer.
//! kinesis.faults().add(Rule::on("GetRecords", Fault::DropAfter).times(1));
//! // A day passes, and what was written is gone.
//! kinesis.advance(Duration::from_secs(24 * 3600 + 1));
//! // What was asked, by whom, and what came of it.
//! assert!(kinesis.calls().is_empty());
//! kinesis.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//! - On-demand streams do not grow with their traffic. Warm throughput, record distribution and resource policies are not
//!   modelled; their operations answer UnknownOperationException.
//! - Signatures are read and not verified.
//!
//! # Features
//! | feature | default | brings |
//! |---|---|---|
//! | `data` | yes | [`Builder::data`]: streams kept in a file, by redb |
//! | `tls` | yes | [`Builder::tls`]: HTTPS, by rustls with ring |
//! | `dynamo` | yes | [`LocalDynamo`], by dynoxide and SQLite |

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
#[cfg(feature = "tls")]
mod tls;

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
#[cfg(feature = "tls")]
pub use tls::TlsError;

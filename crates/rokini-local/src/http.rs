//! The model over HTTP: reads requests, applies faults to them, answers as documented.

mod auth;
mod backend;
pub(crate) mod body;
mod control;
mod entry;
mod garble;
mod handler;
mod hosts;
mod kinesis;
mod long_poll;
mod long_work;
mod origins;
mod page;
mod partial_faults;
mod read_request;
mod request_ids;
mod subscription;

pub(crate) use backend::Backend;
pub(crate) use entry::Entry;
#[cfg(any(feature = "dynamo", test))]
pub(crate) use entry::RequestBody;
pub(crate) use handler::Handler;
pub(crate) use hosts::Hosts;
pub(crate) use kinesis::KinesisHandler;
pub(crate) use long_work::LongWork;
pub(crate) use origins::Origins;
// What the DynamoDB beside it needs as well.
#[cfg(feature = "dynamo")]
pub(crate) use {
    auth::signature,
    body::{Body, BodyBreak, ConnectionCut, full_body, full_or_broken_body},
    handler::target_header,
};

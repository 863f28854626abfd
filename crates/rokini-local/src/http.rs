//! The model over HTTP: reads requests, applies faults to them, answers as documented.

mod auth;
mod backend;
mod body;
mod control;
mod garble;
mod handler;
mod kinesis;
mod partial_faults;
mod request_ids;
mod subscription;

pub(crate) use backend::Backend;
pub(crate) use handler::Handler;
pub(crate) use kinesis::KinesisHandler;
// What the DynamoDB beside it needs as well.
#[cfg(feature = "dynamo")]
pub(crate) use {
    auth::caller,
    body::{Body, BodyBreak, ConnectionCut, full_body, full_or_broken_body},
    handler::target_header,
};

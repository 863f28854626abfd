//! How records are asked for and read: GetRecords in CBOR, or in JSON where an endpoint wants that, its answers handed over
//! as they came.

mod choice;
mod protocol;
mod request;
#[cfg(test)]
mod sdk_codec;
mod take_body;
mod whole_body;

pub(super) use choice::{Outcome, WireChoice};
pub(super) use protocol::RecordsProtocol;
pub(super) use take_body::TakeBody;

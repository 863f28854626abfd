//! KPL aggregates by prost and md-5, as programs without a library for them unpack what the SDK brings.

use md5::{Digest, Md5};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) records: Vec<UserRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UserRecord {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    pub(super) data: Vec<u8>,
}

/// `None` where it is no aggregate.
pub(super) fn unpack(data: &[u8]) -> Option<AggregatedRecord> {
    let (message, check_sum) = data.strip_prefix(&[0xf3, 0x89, 0x9a, 0xc2])?.split_last_chunk::<16>()?;
    if Md5::digest(message)[..] != check_sum[..] {
        return None;
    }
    AggregatedRecord::decode(message).ok()
}

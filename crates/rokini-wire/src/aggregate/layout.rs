//! How an aggregate is laid out.

/// What an aggregate begins with.
pub(super) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// The length of the check sum at its end.
pub(super) const CHECK_SUM: usize = 16;

/// Fields of the message, and of a user record in it.
pub(super) mod field {
    pub(in crate::aggregate) const PARTITION_KEY: u64 = 1;
    pub(in crate::aggregate) const EXPLICIT_HASH_KEY: u64 = 2;
    pub(in crate::aggregate) const RECORD: u64 = 3;

    pub(in crate::aggregate) const RECORD_PARTITION_KEY: u64 = 1;
    pub(in crate::aggregate) const RECORD_EXPLICIT_HASH_KEY: u64 = 2;
    pub(in crate::aggregate) const RECORD_DATA: u64 = 3;
}

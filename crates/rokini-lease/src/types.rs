//! The words of coordination as types: who takes part, what is leased, which hold is current.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::serde_as_text;

/// A name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid {what}: use 1 to {max} characters out of letters, digits, `.`, `_`, `-`, `@` and `/`, got `{given}`"
)]
pub struct InvalidName {
    what: &'static str,
    max: usize,
    given: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 255 characters out of letters, digits, `.`, `_`, `-`, `@` and `/`.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps the name.
            ///
            /// # Errors
            /// [`InvalidName`] when it is empty, longer than 255 characters or has another character than
            /// those listed.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                checked(text.as_ref(), $what).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

const MAX_NAME: usize = 255;

fn checked(text: &str, what: &'static str) -> Result<Arc<str>, InvalidName> {
    // `#` separates the parts of a stored key, so no part may have it.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-@/".contains(c);
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(allowed) {
        return Err(InvalidName { what, max: MAX_NAME, given: text.chars().take(80).collect() });
    }
    Ok(text.into())
}

name!(
    /// The consumers that share the shards of one or several streams. Called *application* in the KCL.
    GroupId,
    "group"
);
name!(
    /// The stable name of a worker. No two live workers of a group share it.
    WorkerName,
    "worker name"
);
name!(
    /// A stream, with the time of its creation in it, so that a deleted and recreated stream never meets old
    /// positions.
    StreamId,
    "stream id"
);
name!(
    /// A shard within its stream.
    ShardId,
    "shard id"
);

/// One run of a worker: new at each start, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The incarnation of this number, which is drawn at random at each start of a worker.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text in a stored row, or a stored key, that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: `{given}`")]
pub struct InvalidKey {
    what: &'static str,
    given: String,
}

impl InvalidKey {
    pub(crate) fn new(what: &'static str, given: &str) -> Self {
        Self { what, given: given.chars().take(160).collect() }
    }
}

/// A worker incarnation: the holder of leases. Its text form is `<name>#<incarnation>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// The stable name.
    pub name: WorkerName,
    /// This run of it.
    pub incarnation: Incarnation,
}

impl WorkerId {
    /// This incarnation of `name`.
    #[must_use]
    pub const fn new(name: WorkerName, incarnation: Incarnation) -> Self {
        Self { name, incarnation }
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.incarnation)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for WorkerId {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let parse = || {
            let (name, incarnation) = text.split_once('#')?;
            let incarnation = Incarnation(u64::from_str_radix(incarnation, 16).ok()?);
            Some(Self { name: WorkerName::new(name).ok()?, incarnation })
        };
        parse().ok_or_else(|| InvalidKey::new("a worker id", text))
    }
}

/// What a lease is for: one shard of one stream. Its text form is `<stream id>#<shard id>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey {
    /// The stream.
    pub stream: StreamId,
    /// The shard of it.
    pub shard: ShardId,
}

impl LeaseKey {
    /// The key of a shard's lease.
    #[must_use]
    pub fn new(stream: StreamId, shard: ShardId) -> Self {
        Self { stream, shard }
    }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.stream, self.shard)
    }
}

impl fmt::Debug for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LeaseKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let parse = || {
            let (stream, shard) = text.split_once('#')?;
            Some(Self::new(StreamId::new(stream).ok()?, ShardId::new(shard).ok()?))
        };
        parse().ok_or_else(|| InvalidKey::new("a lease key", text))
    }
}

serde_as_text!(GroupId, WorkerName, StreamId, ShardId, WorkerId, LeaseKey, HashRange);

/// The fencing token of a lease. It grows at every change of owner, and of position by an operator, and is never below the
/// time, in milliseconds since the Unix epoch, at which the lease was last acquired: so a lease that was deleted and made
/// anew goes on above the epochs it had, as far as clocks agree.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that the next change of owner gives.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The range of partition-key hashes a shard takes, both ends included. Its text form is `<start>-<end>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    /// The first hash.
    pub start: u128,
    /// The last hash.
    pub end: u128,
}

impl fmt::Display for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl FromStr for HashRange {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let parse = || {
            let (start, end) = text.split_once('-')?;
            Some(Self { start: start.parse().ok()?, end: end.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidKey::new("a hash range", text))
    }
}

/// A place in a listing of everything, in the words of the store that named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    /// A store's own words for it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What the store said.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_would_break_a_key() {
        for bad in ["", "a#b", "a b", "ä", &"x".repeat(256)] {
            let error = GroupId::new(bad).unwrap_err().to_string();
            assert!(error.contains("invalid group") && error.contains("letters, digits"), "{error}");
        }
        assert!(WorkerName::new("ip-10-0-0-1.ec2.internal").is_ok());
    }

    #[test]
    fn keys_round_trip() {
        let key = LeaseKey::new(
            StreamId::new("orders@1700000000123").unwrap(),
            ShardId::new("shardId-000000000007").unwrap(),
        );
        assert_eq!(key.to_string().parse::<LeaseKey>().unwrap(), key);
        let id = WorkerId { name: WorkerName::new("w").unwrap(), incarnation: Incarnation(255) };
        assert_eq!(id.to_string(), "w#00000000000000ff");
        assert_eq!(id.to_string().parse::<WorkerId>().unwrap(), id);
        assert!("w".parse::<WorkerId>().is_err());
        assert!("w#zz".parse::<WorkerId>().is_err());
    }
}

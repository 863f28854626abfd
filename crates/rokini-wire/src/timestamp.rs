//! Points in time on the wire.

use std::fmt;
use std::time::Duration;

use ciborium::tag::{Accepted, Required};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch. In JSON a number of seconds with three decimals; in CBOR tag 1 around an integer of
/// milliseconds, which is what the service means although RFC 8949 would have seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time `by` later, whole milliseconds only.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time `by` earlier, whole milliseconds only.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(0)
    }

    fn from_float_secs(secs: f64) -> Option<Self> {
        let millis = (secs * 1000.0).round();
        // Beyond 2^53 a float no longer counts milliseconds; nothing real is there.
        (millis.abs() < 9.0e15).then_some(Self(millis as i64))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.div_euclid(1000), self.0.rem_euclid(1000))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            Required::<i64, 1>(self.0).serialize(serializer)
        } else if self.0 % 1000 == 0 {
            serializer.serialize_i64(self.0 / 1000)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(Number { millis_in_integer: 1000 });
        }
        Accepted::<Binary, 1>::deserialize(deserializer).map(|tagged| tagged.0.0)
    }
}

/// What stands inside the tag.
struct Binary(Timestamp);

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number { millis_in_integer: 1 }).map(Self)
    }
}

/// An integer counts as its encoding says; a number with a fraction is always seconds.
struct Number {
    millis_in_integer: i64,
}

impl Visitor<'_> for Number {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time since the epoch")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Timestamp, E> {
        number
            .checked_mul(self.millis_in_integer)
            .map(Timestamp)
            .ok_or_else(|| E::custom("a time out of range"))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Timestamp, E> {
        i64::try_from(number).map_err(E::custom).and_then(|number| self.visit_i64(number))
    }

    fn visit_f64<E: Error>(self, secs: f64) -> Result<Timestamp, E> {
        Timestamp::from_float_secs(secs).ok_or_else(|| E::custom("a time out of range"))
    }
}

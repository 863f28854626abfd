//! Sequence numbers: decimal integers of up to 186 bits, ordered as numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The position of a record in its shard, as the stream names it.
///
/// Sequence numbers are decimal integers of up to 186 bits without a leading zero (Amazon Kinesis documents
/// the pattern `0|([1-9]\d{0,128})`; the numbers it hands out have 56 digits). They are compared as numbers,
/// never as text.
///
/// ```
/// use rokini_lease::SequenceNumber;
/// let short: SequenceNumber = "999".parse()?;
/// let long: SequenceNumber = "49590338271490256608559692538361571095921575989136588898".parse()?;
/// assert!(short < long);
/// # Ok::<(), rokini_lease::InvalidSequenceNumber>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SequenceNumber([u64; 3]);

/// The text is not a sequence number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number: expected a decimal integer of at most 57 digits, got `{0}`")]
pub struct InvalidSequenceNumber(String);

const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;

impl SequenceNumber {
    /// Digits that hold every sequence number; the width to which [`SequenceNumber::padded`] fills.
    pub const MAX_DIGITS: usize = 57;

    /// The text filled with zeros to a fixed width, so that text order is numeric order. Stores use it in
    /// conditions.
    #[must_use]
    pub fn padded(&self) -> String {
        format!("{:0>width$}", self.to_string(), width = Self::MAX_DIGITS)
    }

    fn times_plus(self, factor: u64, addend: u64) -> Option<Self> {
        let mut words = self.0;
        let mut carry = u128::from(addend);
        for word in words.iter_mut().rev() {
            carry += u128::from(*word) * u128::from(factor);
            *word = carry as u64;
            carry >>= 64;
        }
        (carry == 0).then_some(Self(words))
    }

    fn divided(self, divisor: u64) -> (Self, u64) {
        let mut words = self.0;
        let mut rest = 0u128;
        for word in &mut words {
            let part = (rest << 64) | u128::from(*word);
            *word = (part / u128::from(divisor)) as u64;
            rest = part % u128::from(divisor);
        }
        (Self(words), rest as u64)
    }
}

impl From<u128> for SequenceNumber {
    fn from(value: u128) -> Self {
        Self([0, (value >> 64) as u64, value as u64])
    }
}

impl FromStr for SequenceNumber {
    type Err = InvalidSequenceNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSequenceNumber(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.is_empty() || digits.len() > Self::MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return Err(invalid());
        }
        digits
            .chunks(CHUNK_DIGITS)
            .try_fold(Self::default(), |number, chunk| {
                let part = chunk.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                number.times_plus(10u64.pow(chunk.len() as u32), part)
            })
            .ok_or_else(invalid)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rest, low) = self.divided(CHUNK);
        let (rest, middle) = rest.divided(CHUNK);
        // 3 * 19 = 57 digits hold every 186-bit number, and the remainder of a 192-bit one fits the same word.
        let high = rest.0[2];
        let text = match (high, middle) {
            (0, 0) => format!("{low}"),
            (0, _) => format!("{middle}{low:019}"),
            _ => format!("{high}{middle:019}{low:019}"),
        };
        f.pad(&text)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SequenceNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_not_a_number() {
        for text in ["", "-1", "12a", "SHARD_END", &"9".repeat(58), " 1", "1 "] {
            assert!(text.parse::<SequenceNumber>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn holds_186_bits_and_more() {
        let largest_186_bit = "98079714615416886934934209737619787751599303819750539263";
        assert_eq!(largest_186_bit.parse::<SequenceNumber>().unwrap().to_string(), largest_186_bit);
        let digits = "9".repeat(SequenceNumber::MAX_DIGITS);
        assert_eq!(digits.parse::<SequenceNumber>().unwrap().to_string(), digits);
    }

    proptest! {
        #[test]
        fn text_round_trips(text in "0|[1-9][0-9]{0,56}") {
            let number: SequenceNumber = text.parse().unwrap();
            prop_assert_eq!(number.to_string(), text);
        }

        #[test]
        fn order_is_numeric(a in "0|[1-9][0-9]{0,56}", b in "0|[1-9][0-9]{0,56}") {
            let numeric = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
            let (a, b): (SequenceNumber, SequenceNumber) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(a.cmp(&b), numeric);
            prop_assert_eq!(a.padded().cmp(&b.padded()), numeric);
        }
    }
}

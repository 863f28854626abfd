//! Sequence numbers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A sequence number: a decimal integer of up to 192 bits (Kinesis uses 186), ordered as a number.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber([u64; 3]);

/// Text that is no sequence number: empty, not all digits, or above 192 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number: a decimal integer below 2^192 is wanted")]
pub struct ParseSequenceNumberError;

/// Largest power of ten in a `u64`.
const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;
/// Digits of 2^192 - 1.
const MAX_DIGITS: usize = 58;

impl SequenceNumber {
    /// From three 64-bit digits, the most significant first.
    #[must_use]
    pub const fn from_limbs(limbs: [u64; 3]) -> Self {
        Self(limbs)
    }

    /// As three 64-bit digits, the most significant first.
    #[must_use]
    pub const fn limbs(self) -> [u64; 3] {
        self.0
    }

    /// Writes the decimal text into `buffer` and returns it, without allocating.
    pub fn write(self, buffer: &mut [u8; MAX_DIGITS]) -> &str {
        let mut limbs = self.0;
        let mut at = buffer.len();
        loop {
            let mut rest = divide(&mut limbs);
            let last = limbs == [0; 3];
            for _ in 0..CHUNK_DIGITS {
                if (last && rest == 0) || at == 0 {
                    break;
                }
                at -= 1;
                buffer[at] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            if last {
                break;
            }
        }
        if at == buffer.len() {
            at -= 1;
            buffer[at] = b'0';
        }
        std::str::from_utf8(&buffer[at..]).unwrap_or_default()
    }
}

/// Divides by [`CHUNK`] in place and returns the remainder.
fn divide(limbs: &mut [u64; 3]) -> u64 {
    let mut rest = 0u64;
    for limb in limbs {
        let wide = (u128::from(rest) << 64) | u128::from(*limb);
        *limb = (wide / u128::from(CHUNK)) as u64;
        rest = (wide % u128::from(CHUNK)) as u64;
    }
    rest
}

impl FromStr for SequenceNumber {
    type Err = ParseSequenceNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ParseSequenceNumberError);
        }
        let mut limbs = [0u64; 3];
        for byte in text.bytes() {
            if !byte.is_ascii_digit() {
                return Err(ParseSequenceNumberError);
            }
            let mut carry = u64::from(byte - b'0');
            for limb in limbs.iter_mut().rev() {
                let wide = u128::from(*limb) * 10 + u128::from(carry);
                *limb = wide as u64;
                carry = (wide >> 64) as u64;
            }
            if carry != 0 {
                return Err(ParseSequenceNumberError);
            }
        }
        Ok(Self(limbs))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.write(&mut [0; MAX_DIGITS]))
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; MAX_DIGITS]))
    }
}

impl<'de> Deserialize<'de> for SequenceNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_and_number() {
        let cases = [
            ("0", [0, 0, 0]),
            ("18446744073709551615", [0, 0, u64::MAX]),
            ("18446744073709551616", [0, 1, 0]),
            ("340282366920938463463374607431768211456", [1, 0, 0]),
            ("6277101735386680763835789423207666416102355444464034512895", [u64::MAX; 3]),
        ];
        for (text, limbs) in cases {
            assert_eq!(text.parse(), Ok(SequenceNumber(limbs)), "{text}");
            assert_eq!(SequenceNumber(limbs).to_string(), text);
        }
        for bad in ["", "-1", "1a", " 1", "6277101735386680763835789423207666416102355444464034512896"] {
            assert_eq!(bad.parse::<SequenceNumber>(), Err(ParseSequenceNumberError), "{bad}");
        }
    }

    #[test]
    fn order_is_numeric_not_textual() {
        let nine: SequenceNumber = "9".parse().unwrap();
        let ten: SequenceNumber = "10".parse().unwrap();
        assert!(nine < ten);
    }

    proptest! {
        #[test]
        fn every_number_survives_its_text(limbs: [u64; 3]) {
            let number = SequenceNumber(limbs);
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }
    }
}

//! Sequence numbers: decimal integers of up to 57 digits, ordered as numbers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The position of a record in its shard, as the stream names it: a decimal integer of at most 57 digits.
///
/// Amazon Kinesis documents the pattern `0|([1-9]\d{0,128})`, and the numbers it hands out have 186 bits, hence at most
/// 56 digits. The limit here is the largest number of digits that always fits 192 bits: every text of that length is a
/// number, and [`SequenceNumber::padded`] has one width for all of them, which stored positions depend on.
///
/// Sequence numbers are compared as numbers, never as text.
///
/// ```
/// use rokini_types::SequenceNumber;
/// let short: SequenceNumber = "999".parse()?;
/// let long: SequenceNumber = "49590338271490256608559692538361571095921575989136588898".parse()?;
/// assert!(short < long);
/// # Ok::<(), rokini_types::InvalidSequenceNumber>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SequenceNumber([u64; 3]);

/// The text is not a sequence number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number: expected a decimal integer of at most 57 digits, got `{found}`")]
pub struct InvalidSequenceNumber {
    found: String,
}

impl InvalidSequenceNumber {
    /// The text that was found instead, its first 80 characters.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }
}

/// The largest power of ten in a `u64`.
const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;

impl SequenceNumber {
    /// Digits that hold every sequence number; the width to which [`SequenceNumber::padded`] fills.
    pub const MAX_DIGITS: usize = 3 * CHUNK_DIGITS;

    /// The largest one: 57 nines.
    pub const MAX: Self = Self([0x28c8_7cb5_c89a_2571, 0xebfd_cb54_864a_da83, 0x49ff_ffff_ffff_ffff]);

    /// From three 64-bit limbs, the most significant first. What is above [`SequenceNumber::MAX`] becomes that.
    #[must_use]
    pub const fn from_limbs(limbs: [u64; 3]) -> Self {
        let [high, middle, low] = Self::MAX.0;
        let above = limbs[0] > high
            || (limbs[0] == high && (limbs[1] > middle || (limbs[1] == middle && limbs[2] > low)));
        if above { Self::MAX } else { Self(limbs) }
    }

    /// As three 64-bit limbs, the most significant first.
    #[must_use]
    pub const fn limbs(self) -> [u64; 3] {
        self.0
    }

    /// The second since the Unix epoch in which the record arrived, as the number of a record of Amazon Kinesis says it.
    ///
    /// The service documents no layout, so `None` for every number that is not in all of its parts as those of records are:
    /// from the top `2`, the second in which the shard was made (36 bits), the low four bits of the shard's number, a counter of
    /// 63 bits with a 0 before it, a zero byte, the second of arrival (36 bits), the shard's number (32) and `2` (4).
    #[must_use]
    pub fn arrival_second(self) -> Option<u64> {
        const SECONDS: u64 = (1 << 36) - 1;
        let [high, middle, low] = self.0;
        let made = (high >> 20) & SECONDS;
        let arrived = ((middle & 0xff) << 28) | (low >> 36);
        let shard = (low >> 4) & 0xffff_ffff;
        let is_of_a_record = high >> 56 == 2
            && (high >> 16) & 0xf == shard & 0xf
            && high & 0x8000 == 0
            && (middle >> 8) & 0xff == 0
            && low & 0xf == 2
            && (1..=arrived).contains(&made);
        is_of_a_record.then_some(arrived)
    }

    /// Writes the decimal text into `buffer` and returns it, without allocating.
    pub fn write(self, buffer: &mut [u8; Self::MAX_DIGITS]) -> &str {
        let mut limbs = self.0;
        for chunk in buffer.rchunks_exact_mut(CHUNK_DIGITS) {
            let mut rest = divide_by_chunk(&mut limbs);
            for digit in chunk.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        let zeros = buffer.iter().take_while(|digit| **digit == b'0').count();
        // The number zero keeps its last digit.
        std::str::from_utf8(&buffer[zeros.min(Self::MAX_DIGITS - 1)..]).unwrap_or_default()
    }

    /// The text filled with zeros to a fixed width, so that text order is numeric order. Stores use it in
    /// conditions.
    #[must_use]
    pub fn padded(&self) -> String {
        format!("{self:0>width$}", width = Self::MAX_DIGITS)
    }
}

/// Divides by [`CHUNK`] in place and returns the remainder.
fn divide_by_chunk(limbs: &mut [u64; 3]) -> u64 {
    let mut rest = 0;
    for limb in limbs {
        let wide = (u128::from(rest) << 64) | u128::from(*limb);
        *limb = (wide / u128::from(CHUNK)) as u64;
        rest = (wide % u128::from(CHUNK)) as u64;
    }
    rest
}

/// `a * b + c` where that has at most 192 bits, and `a` and `b` at most 107.
#[inline]
fn product_plus(a: u128, b: u128, c: u128) -> [u64; 3] {
    let parts = |value: u128| (value >> 64, value & u128::from(u64::MAX));
    let ((a_high, a_low), (b_high, b_low), (c_high, c_low)) = (parts(a), parts(b), parts(c));
    let low = a_low * b_low + c_low;
    let (carry, low) = parts(low);
    let first = a_high * b_low;
    let second = a_low * b_high;
    let (first_high, first_low) = parts(first);
    let (second_high, second_low) = parts(second);
    let middle = first_low + second_low + carry + c_high;
    let (carry, middle) = parts(middle);
    let high = a_high * b_high + first_high + second_high + carry;
    [high as u64, middle as u64, low as u64]
}

/// The number that eight ASCII digits say: neighbours become pairs, pairs fours, fours the eight.
#[inline]
fn eight_digits(digits: [u8; 8]) -> u64 {
    let value = u64::from_le_bytes(digits) & 0x0f0f_0f0f_0f0f_0f0f;
    let value = (value.wrapping_mul(2561) >> 8) & 0x00ff_00ff_00ff_00ff;
    let value = (value.wrapping_mul(6_553_601) >> 16) & 0x0000_ffff_0000_ffff;
    value.wrapping_mul(42_949_672_960_001) >> 32
}

impl From<u128> for SequenceNumber {
    fn from(value: u128) -> Self {
        Self([0, (value >> 64) as u64, value as u64])
    }
}

impl FromStr for SequenceNumber {
    type Err = InvalidSequenceNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_digits(text.as_bytes())
            .ok_or_else(|| InvalidSequenceNumber { found: text.chars().take(80).collect() })
    }
}

impl SequenceNumber {
    /// The number that these ASCII digits say; `None` where they are none, too many, or something else.
    #[must_use]
    #[inline]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        if digits.is_empty() || digits.len() > Self::MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // 57 digits always fit 192 bits. There is one number in each record, so eight digits are read at once.
        let (first, eights) = digits.split_at(digits.len() % 8);
        let first = first.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        let (eights, _) = eights.as_chunks::<8>();
        // At most 31 digits, and at most 32 after them: either is an u128.
        let (high, low) = eights.split_at(eights.len().min(3));
        let joined = |sum: u128, eight: &[u8; 8]| sum * 100_000_000 + u128::from(eight_digits(*eight));
        let high = high.iter().fold(u128::from(first), joined);
        let low_value = low.iter().fold(0, joined);
        let factor = [1, 100_000_000, 10_u128.pow(16), 10_u128.pow(24), 10_u128.pow(32)][low.len().min(4)];
        Some(Self(product_plus(high, factor, low_value)))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.write(&mut [0; Self::MAX_DIGITS]))
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; Self::MAX_DIGITS]))
    }
}

impl<'de> Deserialize<'de> for SequenceNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_not_a_number() {
        for text in ["", "-1", "1a", "12a", "SHARD_END", &"9".repeat(58), " 1", "1 "] {
            let error = text.parse::<SequenceNumber>().unwrap_err();
            assert_eq!(error.found(), text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn text_and_limbs() {
        let cases = [
            ("0", [0, 0, 0]),
            ("18446744073709551615", [0, 0, u64::MAX]),
            ("18446744073709551616", [0, 1, 0]),
            ("340282366920938463463374607431768211456", [1, 0, 0]),
        ];
        for (text, limbs) in cases {
            assert_eq!(text.parse(), Ok(SequenceNumber(limbs)), "{text}");
            assert_eq!(SequenceNumber(limbs).to_string(), text);
        }
    }

    #[test]
    fn holds_186_bits_and_more() {
        let largest_186_bit = "98079714615416886934934209737619787751599303819750539263";
        assert_eq!(largest_186_bit.parse::<SequenceNumber>().unwrap().to_string(), largest_186_bit);
        let digits = "9".repeat(SequenceNumber::MAX_DIGITS);
        assert_eq!(digits.parse(), Ok(SequenceNumber::MAX));
        assert_eq!(SequenceNumber::MAX.to_string(), digits);
    }

    #[test]
    fn a_record_s_number_says_when_it_arrived() {
        for (text, second) in [
            // As answers of the service look in its documentation.
            ("49590338271490256608559692538361571095921575989136588898", Some(1_545_084_650)),
            ("49590338271490256608559692540925702759324208523137515618", Some(1_545_084_709)),
            ("49546986683135544286507457936321625675700192471156785154", Some(1_421_279_386)),
            ("49568749374218235080373793662003016116473266703358230578", Some(1_484_245_765)),
            // The starting number of a shard, and numbers of another make.
            ("49543463076548007577105092703039560359975228518395012686", None),
            ("49653120345378904560000000000000000000000000000000000000", None),
            ("21269319989652663814458848515492872193", None),
            ("7", None),
            ("0", None),
        ] {
            let number: SequenceNumber = text.parse().unwrap();
            assert_eq!(number.arrival_second(), second, "{text}");
        }
        assert_eq!(SequenceNumber::MAX.arrival_second(), None);
    }

    #[test]
    fn json_is_text() {
        let number: SequenceNumber = serde_json::from_str("\"00042\"").unwrap();
        assert_eq!(serde_json::to_string(&number).unwrap(), "\"42\"");
        assert!(serde_json::from_str::<SequenceNumber>("42").is_err());
    }

    proptest! {
        #[test]
        fn zeros_in_front_change_nothing(text in "0{0,9}[1-9][0-9]{0,47}") {
            let number: SequenceNumber = text.parse().unwrap();
            prop_assert_eq!(number.to_string(), text.trim_start_matches('0'));
        }

        #[test]
        fn text_round_trips(text in "0|[1-9][0-9]{0,56}") {
            let number: SequenceNumber = text.parse().unwrap();
            prop_assert_eq!(number.to_string(), text);
        }

        #[test]
        fn every_number_survives_its_text_and_its_limbs(limbs: [u64; 3]) {
            let number = SequenceNumber::from_limbs(limbs);
            prop_assert_eq!(number.to_string().parse(), Ok(number));
            prop_assert_eq!(SequenceNumber::from_limbs(number.limbs()), number);
            prop_assert_eq!(number, SequenceNumber(limbs).min(SequenceNumber::MAX));
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

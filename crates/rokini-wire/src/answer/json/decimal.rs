//! Decimal numbers without floating point: a float of seconds does not tell every millisecond.

/// Digits beyond these change nothing that an `i64` could hold after scaling.
const MOST_DIGITS: u32 = 30;

/// `digits` times ten to the power of `exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: u128,
    exponent: i64,
}

impl Decimal {
    /// A number as JSON has it; `None` where it has no digits or its exponent is no `i32`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
        let e = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (mantissa, exponent) = match e {
            Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let mut value = Self { negative, digits: 0, exponent: i64::from(exponent) };
        let (mut count, mut after_point) = (0, false);
        for byte in mantissa {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    let kept = count < MOST_DIGITS;
                    if kept {
                        value.digits = value.digits * 10 + u128::from(byte - b'0');
                        count += u32::from(value.digits > 0);
                    }
                    // A digit behind the point is a tenth; one that was not kept made the others ten times as much.
                    value.exponent += i64::from(!kept) - i64::from(after_point);
                }
                _ => return None,
            }
        }
        Some(value)
    }

    /// Times ten to the power of `scale`, rounded to the nearest whole, half away from zero.
    pub(super) fn scaled(self, scale: i32) -> Option<i64> {
        let exponent = self.exponent + i64::from(scale);
        let magnitude = if self.digits == 0 {
            0
        } else if exponent >= 0 {
            let factor = 10_u128.checked_pow(u32::try_from(exponent).ok()?)?;
            self.digits.checked_mul(factor)?
        } else {
            match u32::try_from(-exponent).ok().and_then(|power| 10_u128.checked_pow(power)) {
                Some(divisor) => (self.digits + divisor / 2) / divisor,
                None => 0,
            }
        };
        let magnitude = i64::try_from(magnitude).ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_time_is_exact() {
        for (text, millis) in [
            ("1700000000.123", 1_700_000_000_123),
            ("1.700000000123E9", 1_700_000_000_123),
            ("1.7E9", 1_700_000_000_000),
            ("1.7e+9", 1_700_000_000_000),
            ("1700000000", 1_700_000_000_000),
            ("1700000000123e-3", 1_700_000_000_123),
            // As floating-point numbers are printed whose last digits are noise.
            ("1700000000.1229999", 1_700_000_000_123),
            ("1700000000.1230001", 1_700_000_000_123),
            ("1700000000.12300000000000000000000000000000000000001", 1_700_000_000_123),
            ("0", 0),
            ("0.0005", 1),
            ("0.0004", 0),
            ("-0.5", -500),
            ("0.00000000000000000000000000000000000001e40", 100_000),
            ("0e999", 0),
            ("1e-999", 0),
        ] {
            let value = Decimal::parse(text.as_bytes());
            assert_eq!(value.and_then(|value| value.scaled(3)), Some(millis), "{text}");
        }
        for text in ["1e17", "1e99", "99999999999999999999999999999999999999999", "1e99999999999"] {
            assert_eq!(Decimal::parse(text.as_bytes()).and_then(|value| value.scaled(3)), None, "{text}");
        }
    }

    #[test]
    fn no_millisecond_is_lost() {
        for millis in (1_700_000_000_000_i64..1_700_000_002_000).chain(4_102_444_799_000..4_102_444_800_000) {
            for text in [
                format!("{}.{:03}", millis / 1_000, millis % 1_000),
                format!("{}", millis as f64 / 1_000.0),
                format!("{:e}", millis as f64 / 1_000.0),
            ] {
                let value = Decimal::parse(text.as_bytes()).unwrap();
                assert_eq!(value.scaled(3), Some(millis), "{text}");
            }
        }
    }
}

//! As much of protobuf's encoding as aggregates need.

use std::ops::Range;

/// What is wrong at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ParseFault {
    pub(super) what: &'static str,
    pub(super) at: usize,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Bytes(Range<usize>),
    /// Of a type that no field of an aggregate has.
    Other,
}

/// Reads fields, one after the other.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// Up to the end of the message.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Those of the message in this range of `bytes`, which lies within it.
    pub(super) fn new(bytes: &'a [u8], message: Range<usize>) -> Self {
        Self { bytes: &bytes[..message.end], at: message.start }
    }

    /// The next field: its number and value; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value)>, ParseFault> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let begin = self.at;
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.pass(8)?,
            2 => {
                let at = self.at;
                let length = self.number()?;
                match usize::try_from(length) {
                    Ok(length) if length <= self.bytes.len() - self.at => {
                        let start = self.at;
                        self.at += length;
                        Value::Bytes(start..self.at)
                    }
                    _ => return Err(ParseFault { what: "a length beyond the end", at }),
                }
            }
            5 => self.pass(4)?,
            _ => return Err(ParseFault { what: "a field of no type that is known", at: begin }),
        };
        match tag >> 3 {
            0 => Err(ParseFault { what: "a field with the number 0", at: begin }),
            number => Ok(Some((number, value))),
        }
    }

    fn pass(&mut self, length: usize) -> Result<Value, ParseFault> {
        if length > self.bytes.len() - self.at {
            return Err(ParseFault { what: "cut off", at: self.at });
        }
        self.at += length;
        Ok(Value::Other)
    }

    /// A number of seven bits a byte, the lowest first.
    #[inline(always)]
    fn number(&mut self) -> Result<u64, ParseFault> {
        // Nearly all have one byte.
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, ParseFault> {
        let begin = self.at;
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(ParseFault { what: "cut off", at: begin });
            };
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                // The tenth byte has room for one bit.
                let fits = shift < 63 || *byte <= 1;
                return if fits {
                    Ok(number)
                } else {
                    Err(ParseFault { what: "a number beyond 64 bits", at: begin })
                };
            }
        }
        Err(ParseFault { what: "a number beyond 64 bits", at: begin })
    }
}

/// Appends a number.
pub(super) fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// How many bytes a number takes.
pub(super) fn number_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a field with a number.
pub(super) fn put_number_field(to: &mut Vec<u8>, field: u64, number: u64) {
    put_number(to, field << 3);
    put_number(to, number);
}

/// Appends a field with bytes.
pub(super) fn put_bytes_field(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_number(to, field << 3 | 2);
    put_number(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// How many bytes a field with so many bytes takes. The fields of aggregates have numbers of one byte.
pub(super) fn bytes_field_len(length: usize) -> usize {
    1 + number_len(length as u64) + length
}

//! Constraints on the members of requests.

use std::fmt::Display;
use std::ops::RangeInclusive;

use rokini_wire::{ErrorCode, ServiceError};

/// Collects broken constraints and reports them together, as the service does.
#[derive(Debug, Default)]
pub(crate) struct Validator(Vec<String>);

impl Validator {
    pub(crate) fn fail(&mut self, value: impl Display, member: &str, rule: impl Display) {
        self.0
            .push(format!("Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}"));
    }

    /// A member that must be there.
    pub(crate) fn null(&mut self, member: &str) {
        self.0
            .push(format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
    }

    /// Length of a text in characters.
    pub(crate) fn length(&mut self, value: &str, member: &str, range: RangeInclusive<usize>) {
        let length = value.chars().count();
        if length < *range.start() {
            self.fail(value, member, format_args!("have length greater than or equal to {}", range.start()));
        } else if length > *range.end() {
            self.fail(value, member, format_args!("have length less than or equal to {}", range.end()));
        }
    }

    pub(crate) fn range(&mut self, value: i32, member: &str, range: RangeInclusive<i32>) {
        if value < *range.start() {
            self.fail(value, member, format_args!("have value greater than or equal to {}", range.start()));
        } else if value > *range.end() {
            self.fail(value, member, format_args!("have value less than or equal to {}", range.end()));
        }
    }

    /// A name of a stream, consumer or shard: 1 to 128 of `a-zA-Z0-9_.-`.
    pub(crate) fn name(&mut self, value: &str, member: &str) {
        self.length(value, member, 1..=128);
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !value.is_empty() && !value.bytes().all(legal) {
            self.fail(value, member, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
        }
    }

    /// A decimal number as hash key: digits without leading zeros.
    pub(crate) fn hash_key(&mut self, value: &str, member: &str) {
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        if !digits || value.len() > 39 || (value.len() > 1 && value.starts_with('0')) {
            self.fail(value, member, r"satisfy regular expression pattern: 0|([1-9]\d{0,38})");
        }
    }

    /// A value that must be one of a list.
    pub(crate) fn one_of<T: PartialEq + Display>(&mut self, value: &T, member: &str, known: &[T]) {
        if !known.contains(value) {
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            self.fail(value, member, format_args!("satisfy enum value set: [{}]", known.join(", ")));
        }
    }

    pub(crate) fn finish(self) -> Result<(), ServiceError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let plural = if self.0.len() == 1 { "" } else { "s" };
        let message = format!("{} validation error{plural} detected: {}", self.0.len(), self.0.join("; "));
        Err(ServiceError::new(ErrorCode::Validation, message))
    }
}

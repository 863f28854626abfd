//! The attributes of an item of DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Reads attributes; one of another type counts as missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a Item);

impl<'a> Attributes<'a> {
    /// A text that is not empty.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_s().ok().map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A text on which a position depends: one of another type is not taken for none.
    ///
    /// # Errors
    /// What is wrong with it, where it is there and no text.
    pub(super) fn stored_text(self, name: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(name) {
            None | Some(AttributeValue::Null(_) | AttributeValue::S(_)) => Ok(self.text(name)),
            Some(_) => Err(format!("its `{name}` is not a text, as its tool writes it")),
        }
    }

    /// A number as DynamoDB writes it.
    pub(super) fn number(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_n().ok().map(String::as_str)
    }

    pub(super) fn is_true(self, name: &str) -> bool {
        self.0.get(name).and_then(|value| value.as_bool().ok()) == Some(&true)
    }

    pub(super) fn bytes(self, name: &str) -> Option<&'a [u8]> {
        self.0.get(name)?.as_b().ok().map(AsRef::as_ref)
    }

    /// A time, as the Go tools write it: RFC 3339, in milliseconds since the Unix epoch.
    pub(super) fn time(self, name: &str) -> Option<u64> {
        match self.text(name)?.parse() {
            Ok(rokini::StartPosition::AtTimestamp(millis)) => Some(millis),
            _ => None,
        }
    }
}

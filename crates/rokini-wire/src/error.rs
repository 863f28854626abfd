//! Errors: those the service answers with, and bodies that cannot be read.

use serde::{Deserialize, Serialize};

use crate::enums::ErrorCode;

/// An error as the service answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct ServiceError {
    /// Code of the error.
    #[serde(rename = "__type")]
    pub code: ErrorCode,
    /// The error in words, for people.
    #[serde(default, alias = "Message")]
    pub message: String,
}

/// The payload of an exception in an event stream, whose code stands in a header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExceptionBody {
    /// The exception in words, for people.
    #[serde(default, alias = "Message")]
    pub message: String,
}

impl ServiceError {
    /// An error of this code and text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The HTTP status that goes with the code.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.code {
            ErrorCode::InternalFailure | ErrorCode::InternalFailureException => 500,
            ErrorCode::ServiceUnavailable => 503,
            _ => 400,
        }
    }
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A required member is absent.
    #[error("missing member `{0}`")]
    Missing(String),
    /// The body is not what its content type says, or a member has the wrong type.
    #[error("malformed body: {0}")]
    Malformed(String),
}

impl DecodeError {
    /// Serde reports an absent member only as text.
    pub(crate) fn from_text(text: &str) -> Self {
        let name = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        match name {
            Some(name) => Self::Missing(name.to_owned()),
            None => Self::Malformed(text.to_owned()),
        }
    }
}

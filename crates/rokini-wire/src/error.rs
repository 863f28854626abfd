//! Errors of the service.

use serde::{Deserialize, Serialize};

use crate::ErrorCode;

/// An error as the service answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// Which error.
    #[serde(rename = "__type")]
    pub code: ErrorCode,
    /// The same for people.
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

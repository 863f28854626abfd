//! The two encodings of requests and responses.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DecodeError;
use crate::{cbor, json};

/// How a body is encoded. The service answers as it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// `application/x-amz-json-1.1`.
    Json,
    /// `application/x-amz-cbor-1.1`.
    Cbor,
}

impl Codec {
    /// The encoding a `Content-Type` header names; whatever is not CBOR is taken for JSON.
    #[must_use]
    pub fn from_content_type(value: &str) -> Self {
        if value.trim_start().starts_with(cbor::CONTENT_TYPE) { Self::Cbor } else { Self::Json }
    }

    /// The value of the `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => json::CONTENT_TYPE,
            Self::Cbor => cbor::CONTENT_TYPE,
        }
    }

    /// Writes a body.
    #[must_use]
    pub fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        match self {
            Self::Json => json::encode(value),
            Self::Cbor => cbor::encode(value),
        }
    }

    /// Reads a body. An empty body is an empty object.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not of this encoding or not this shape.
    pub fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, DecodeError> {
        match self {
            Self::Json => json::decode(body),
            Self::Cbor => cbor::decode(body),
        }
    }
}

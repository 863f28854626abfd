//! The two encodings of requests and answers.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use rokini_wire::{DecodeError, ErrorCode, ServiceError, cbor, json};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How a body is encoded. A caller is answered as it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Cbor,
}

impl Codec {
    /// By content type; whatever is not CBOR is taken for JSON.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if given.trim_start().starts_with(cbor::CONTENT_TYPE) { Self::Cbor } else { Self::Json }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => json::CONTENT_TYPE,
            Self::Cbor => cbor::CONTENT_TYPE,
        }
    }

    pub(crate) fn encode<T: Serialize>(self, value: &T) -> Bytes {
        match self {
            Self::Json => json::encode(value).into(),
            Self::Cbor => cbor::encode(value).into(),
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, ServiceError> {
        let decoded = match self {
            Self::Json => json::decode(body),
            Self::Cbor => cbor::decode(body),
        };
        decoded.map_err(unreadable)
    }
}

fn unreadable(error: DecodeError) -> ServiceError {
    match error {
        DecodeError::Missing(member) => {
            let mut letters = member.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            let member: String = first.into_iter().chain(letters).collect();
            let message = format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be \
                 null"
            );
            ServiceError::new(ErrorCode::Validation, message)
        }
        other => ServiceError::new(ErrorCode::Serialization, other.to_string()),
    }
}

//! JSON bodies, `application/x-amz-json-1.1`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DecodeError;

/// The content type of a JSON body.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Reads a body. An empty body is an empty object.
///
/// # Errors
/// [`DecodeError`] if it is not JSON or not this shape.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|e| DecodeError::from_text(&e.to_string()))
}

/// Writes a body.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // No shape has a key that is not text, the only thing JSON cannot say.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::record::{GetRecordsResponse, PutRecordRequest, Record};
    use crate::shapes::shard::{ListShardsRequest, ShardFilter};
    use crate::{SequenceNumber, ShardFilterType, Timestamp};

    #[test]
    fn a_request_as_the_sdk_sends_it() {
        let body = br#"{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k\u00e9","Future":[1]}"#;
        let request: PutRecordRequest = decode(body).unwrap();
        assert_eq!(request.stream_name.as_deref(), Some("s"));
        assert_eq!(&request.data[..], b"hello");
        assert_eq!(request.partition_key.as_deref(), Some("k\u{e9}"));
    }

    #[test]
    fn a_response_as_the_sdk_reads_it() {
        let record = Record::new("4959".parse::<SequenceNumber>().unwrap(), &b"hello"[..])
            .partition_key("k")
            .approximate_arrival_timestamp(Timestamp::from_millis(1_700_000_000_123));
        let response = GetRecordsResponse::new([record]);
        let text = String::from_utf8(encode(&response)).unwrap();
        assert_eq!(
            text,
            r#"{"Records":[{"SequenceNumber":"4959","ApproximateArrivalTimestamp":1700000000.123,"Data":"aGVsbG8=","PartitionKey":"k"}]}"#
        );
        assert_eq!(decode::<GetRecordsResponse>(text.as_bytes()), Ok(response));
    }

    #[test]
    fn members_with_names_that_are_no_pascal_case() {
        let body = br#"{"StreamARN":"a","ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":1.7e9}}"#;
        let request: ListShardsRequest = decode(body).unwrap();
        assert_eq!(request.stream_arn.as_deref(), Some("a"));
        let filter =
            ShardFilter::new(ShardFilterType::AtTimestamp).timestamp(Timestamp::from_secs(1_700_000_000));
        assert_eq!(request.shard_filter, Some(filter));
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        assert_eq!(
            decode::<PutRecordRequest>(br#"{"PartitionKey":"k"}"#),
            Err(DecodeError::Missing("Data".into()))
        );
        assert!(matches!(decode::<PutRecordRequest>(b"{"), Err(DecodeError::Malformed(_))));
        assert!(matches!(
            decode::<PutRecordRequest>(br#"{"Data":"%","PartitionKey":"k"}"#),
            Err(DecodeError::Malformed(_))
        ));
    }
}

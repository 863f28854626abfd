//! CBOR bodies, `application/x-amz-cbor-1.1`: the members of the JSON bodies, data as byte strings.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DecodeError;

/// The content type of a CBOR body.
pub const CONTENT_TYPE: &str = "application/x-amz-cbor-1.1";

/// Deepest nesting read; the shapes need five.
const MAX_DEPTH: usize = 32;

/// Reads a body. An empty body is an empty map; bytes after the value are an error.
///
/// # Errors
/// [`DecodeError`] if it is not CBOR or not this shape.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let mut rest = if body.is_empty() { &[0xa0][..] } else { body };
    let value =
        ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH).map_err(
            |error| match error {
                ciborium::de::Error::Semantic(_, text) => DecodeError::from_text(&text),
                other => DecodeError::Malformed(other.to_string()),
            },
        )?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Malformed(format!("{} bytes after the body", rest.len())))
    }
}

/// Writes a body.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut body = Vec::new();
    // Writing to memory does not fail, and no shape holds what CBOR cannot say.
    if ciborium::into_writer(value, &mut body).is_err() {
        body.clear();
    }
    body
}

#[cfg(test)]
mod tests {
    use ciborium::{Value, cbor};

    use super::*;
    use crate::shapes::record::{GetRecordsResponse, GetShardIteratorRequest, PutRecordRequest, Record};
    use crate::{SequenceNumber, Timestamp};

    fn value(body: &[u8]) -> Value {
        ciborium::from_reader(body).unwrap()
    }

    #[test]
    fn data_is_a_byte_string_and_time_a_tagged_integer_of_milliseconds() {
        let record = Record::new("4959".parse::<SequenceNumber>().unwrap(), &b"hello"[..])
            .partition_key("k")
            .approximate_arrival_timestamp(Timestamp::from_millis(1_700_000_000_123));
        let response = GetRecordsResponse::new([record]);
        let body = encode(&response);
        let arrival = Value::Tag(1, Box::new(Value::from(1_700_000_000_123_i64)));
        let data = Value::Bytes(b"hello".to_vec());
        let expected = cbor!({ "Records" => [{
            "SequenceNumber" => "4959", "ApproximateArrivalTimestamp" => arrival, "Data" => data, "PartitionKey" => "k",
        }] });
        assert_eq!(value(&body), expected.unwrap());
        assert_eq!(decode(&body), Ok(response));
    }

    #[test]
    fn times_are_read_as_clients_write_them() {
        let cases: [(&str, &[u8]); 4] = [
            ("tagged milliseconds", b"\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"),
            ("bare milliseconds", b"\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"),
            ("tagged seconds with a fraction", b"\xc1\xfb\x41\xd9\x54\xfc\x40\x07\xdf\x3b"),
            ("seconds with a fraction", b"\xfb\x41\xd9\x54\xfc\x40\x07\xdf\x3b"),
        ];
        for (name, bytes) in cases {
            assert_eq!(decode(bytes), Ok(Timestamp::from_millis(1_700_000_000_123)), "{name}");
        }
    }

    #[test]
    fn indefinite_lengths_unknown_members_and_nulls_are_read() {
        // {_ "Data": (_ h'6865', h'79'), "PartitionKey": (_ "k"), "Future": [1], "ExplicitHashKey": null}
        let body = b"\xbf\x64Data\x5f\x42he\x41y\xff\x6cPartitionKey\x7f\x61k\xff\x66Future\x81\x01\x6fExplicitHashKey\xf6\xff";
        let request: PutRecordRequest = decode(body).unwrap();
        assert_eq!((&request.data[..], request.partition_key.as_deref()), (&b"hey"[..], Some("k")));
        assert_eq!(request.explicit_hash_key, None);
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let missing = decode::<GetShardIteratorRequest>(b"\xa0").unwrap_err();
        assert_eq!(missing, DecodeError::Missing("ShardId".into()));
        for body in [&b"\xa1"[..], b"\xff", b"\xa0\x00", b"\xa1\x01\x02\x03", &[0x9f; 4096]] {
            assert!(matches!(
                decode::<PutRecordRequest>(body),
                Err(DecodeError::Malformed(_) | DecodeError::Missing(_))
            ));
        }
    }
}

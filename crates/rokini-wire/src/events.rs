//! Event-stream frames, `application/vnd.amazon.eventstream`: how SubscribeToShard pushes.
//!
//! A frame is: total length and header length (four bytes each, big endian), their CRC-32, headers, payload, and the
//! CRC-32 of all before it.

use bytes::{Buf, Bytes};

/// The content type of a body made of frames.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Header: `event`, `exception` or `error`.
pub const MESSAGE_TYPE: &str = ":message-type";
/// Header: which event.
pub const EVENT_TYPE: &str = ":event-type";
/// Header: which exception.
pub const EXCEPTION_TYPE: &str = ":exception-type";
/// Header: the code of an error that is no modelled exception.
pub const ERROR_CODE: &str = ":error-code";
/// Header: encoding of the payload.
pub const PAYLOAD_TYPE: &str = ":content-type";
/// The event that stands first in every stream.
pub const INITIAL_RESPONSE: &str = "initial-response";
/// The event with records.
pub const SUBSCRIBE_TO_SHARD_EVENT: &str = "SubscribeToShardEvent";

/// Length of the prelude with its checksum.
const PRELUDE: usize = 12;
/// Length of the checksum at the end.
const TRAILER: usize = 4;
/// Largest frame accepted: the protocol's limits of 24 MiB of payload and 128 KiB of headers.
const MAX_FRAME: usize = (24 << 20) + (128 << 10) + PRELUDE + TRAILER;
/// Type byte of a text header.
const TEXT: u8 = 7;

/// One frame. The payload shares the buffer it was read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Names and values of the headers that are text; the service sends no others.
    pub headers: Vec<(String, String)>,
    /// What the frame carries.
    pub payload: Bytes,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A checksum does not fit.
    #[error("checksum of an event-stream frame does not match")]
    Checksum,
    /// The lengths contradict each other or the limits.
    #[error("impossible length in an event-stream frame")]
    Length,
    /// A header cannot be read.
    #[error("malformed header in an event-stream frame")]
    Header,
}

impl Frame {
    /// An event with its payload.
    #[must_use]
    pub fn event(name: &str, content_type: &str, payload: Bytes) -> Self {
        Self::new([(EVENT_TYPE, name), (PAYLOAD_TYPE, content_type), (MESSAGE_TYPE, "event")], payload)
    }

    /// An exception, which ends a stream.
    #[must_use]
    pub fn exception(name: &str, content_type: &str, payload: Bytes) -> Self {
        Self::new(
            [(EXCEPTION_TYPE, name), (PAYLOAD_TYPE, content_type), (MESSAGE_TYPE, "exception")],
            payload,
        )
    }

    fn new(headers: [(&str, &str); 3], payload: Bytes) -> Self {
        Self { headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), payload }
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Appends the frame to `out`. Header names are cut at 255 bytes and values at 32,767, the most a frame can say.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; PRELUDE]);
        for (name, value) in &self.headers {
            let name = &name.as_bytes()[..name.len().min(255)];
            let value = &value.as_bytes()[..value.len().min(32_767)];
            out.push(name.len() as u8);
            out.extend(name);
            out.push(TEXT);
            out.extend((value.len() as u16).to_be_bytes());
            out.extend(value);
        }
        let headers = out.len() - start - PRELUDE;
        out.extend(&self.payload);
        let total = out.len() - start + TRAILER;
        let prelude = &mut out[start..start + PRELUDE];
        prelude[..4].copy_from_slice(&(total as u32).to_be_bytes());
        prelude[4..8].copy_from_slice(&(headers as u32).to_be_bytes());
        let check = crc32fast::hash(&prelude[..8]);
        prelude[8..].copy_from_slice(&check.to_be_bytes());
        let check = crc32fast::hash(&out[start..]);
        out.extend(check.to_be_bytes());
    }

    /// The frame by itself.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out);
        out.into()
    }

    /// Takes the first frame off `buffer`. `None`, and nothing taken, if it is not complete yet.
    ///
    /// # Errors
    /// [`FrameError`]; the rest of the buffer then means nothing.
    pub fn read(buffer: &mut Bytes) -> Result<Option<Self>, FrameError> {
        let Some(prelude) = buffer.first_chunk::<PRELUDE>() else { return Ok(None) };
        let mut numbers = &prelude[..];
        let (total, headers, check) =
            (numbers.get_u32() as usize, numbers.get_u32() as usize, numbers.get_u32());
        if crc32fast::hash(&prelude[..8]) != check {
            return Err(FrameError::Checksum);
        }
        if total > MAX_FRAME || total < PRELUDE + TRAILER + headers {
            return Err(FrameError::Length);
        }
        if buffer.len() < total {
            return Ok(None);
        }
        let mut frame = buffer.split_to(total);
        let mut trailer = frame.split_off(total - TRAILER);
        if crc32fast::hash(&frame) != trailer.get_u32() {
            return Err(FrameError::Checksum);
        }
        let payload = frame.split_off(PRELUDE + headers);
        Ok(Some(Self { headers: read_headers(&frame[PRELUDE..])?, payload }))
    }
}

fn read_headers(mut bytes: &[u8]) -> Result<Vec<(String, String)>, FrameError> {
    let mut headers = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(take::<1>(&mut bytes)?[0]);
        let name = text(&mut bytes, length)?;
        let [kind] = take(&mut bytes)?;
        let length = match kind {
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            6 | TEXT => usize::from(u16::from_be_bytes(take(&mut bytes)?)),
            9 => 16,
            _ => return Err(FrameError::Header),
        };
        if kind == TEXT {
            headers.push((name, text(&mut bytes, length)?));
        } else {
            bytes = bytes.get(length..).ok_or(FrameError::Header)?;
        }
    }
    Ok(headers)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], FrameError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(FrameError::Header)?;
    *bytes = rest;
    Ok(*taken)
}

fn text(bytes: &mut &[u8], length: usize) -> Result<String, FrameError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(FrameError::Header)?;
    *bytes = rest;
    std::str::from_utf8(taken).map(str::to_owned).map_err(|_| FrameError::Header)
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn another_implementation_reads_our_frames() {
        let frame =
            Frame::event(SUBSCRIBE_TO_SHARD_EVENT, "application/x-amz-json-1.1", Bytes::from_static(b"{}"));
        let message = read_message_from(&mut &frame.to_bytes()[..]).unwrap();
        let headers: Vec<_> = message
            .headers()
            .iter()
            .map(|h| (h.name().as_str(), h.value().as_string().unwrap().as_str()))
            .collect();
        assert_eq!(
            headers,
            [
                (":event-type", "SubscribeToShardEvent"),
                (":content-type", "application/x-amz-json-1.1"),
                (":message-type", "event")
            ]
        );
        assert_eq!(message.payload(), &frame.payload);
    }

    #[test]
    fn we_read_frames_of_another_implementation_with_headers_of_every_type() {
        let message = Message::new(Bytes::from_static(b"payload"))
            .add_header(Header::new("true", HeaderValue::Bool(true)))
            .add_header(Header::new("byte", HeaderValue::Byte(1)))
            .add_header(Header::new("i16", HeaderValue::Int16(1)))
            .add_header(Header::new("i32", HeaderValue::Int32(1)))
            .add_header(Header::new("i64", HeaderValue::Int64(1)))
            .add_header(Header::new("bytes", HeaderValue::ByteArray(Bytes::from_static(b"xyz"))))
            .add_header(Header::new("uuid", HeaderValue::Uuid(7)))
            .add_header(Header::new("text", HeaderValue::String("value".into())));
        let mut out = Vec::new();
        write_message_to(&message, &mut out).unwrap();
        let frame = Frame::read(&mut Bytes::from(out)).unwrap().unwrap();
        assert_eq!(frame.headers, [("text".to_owned(), "value".to_owned())]);
        assert_eq!(frame.payload, "payload");
    }

    #[test]
    fn a_payload_is_a_slice_of_the_buffer() {
        let bytes = Frame::event("e", "c", Bytes::from_static(b"payload")).to_bytes();
        let frame = Frame::read(&mut bytes.clone()).unwrap().unwrap();
        assert!(bytes.as_ptr_range().contains(&frame.payload.as_ptr()));
    }

    proptest! {
        #[test]
        fn frames_survive_in_any_pieces(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..5), piece in 1_usize..40) {
            let frames: Vec<Frame> = payloads.into_iter().map(|p| Frame::event("name", "type", p.into())).collect();
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
            let mut buffer = bytes::BytesMut::new();
            let mut read = Vec::new();
            for piece in bytes.chunks(piece) {
                buffer.extend_from_slice(piece);
                let mut whole = buffer.split().freeze();
                while let Some(frame) = Frame::read(&mut whole).unwrap() {
                    read.push(frame);
                }
                buffer.extend_from_slice(&whole);
            }
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn one_wrong_bit_is_noticed(payload: Vec<u8>, at: prop::sample::Index, bit in 0..8) {
            let mut bytes = Frame::event("name", "type", payload.into()).to_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(Frame::read(&mut bytes.into()).is_err());
        }

        #[test]
        fn random_bytes_are_no_panic(bytes: Vec<u8>) {
            let _ = Frame::read(&mut bytes.into());
        }
    }
}

//! Iterators and page tokens: opaque to callers, checked on return.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rokini_wire::{Timestamp, md5};

/// Numbers and a text that callers get as one opaque text. A text that was not made here does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) made: Timestamp,
    /// Creation of the stream: a stream made anew under the same name is another one.
    pub(crate) stream_created: Timestamp,
    pub(crate) shard: u32,
    pub(crate) offset: u64,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Iterator = 1,
    ShardPage = 2,
    StreamPage = 3,
    ConsumerPage = 4,
    QueuePage = 5,
    Receipt = 6,
}

/// Bytes of the numbers.
const FIXED: usize = 1 + 8 + 8 + 4 + 8;
const CHECKSUM: usize = 16;

impl Token {
    pub(crate) fn seal(&self, seed: u64) -> String {
        let mut bytes = Vec::with_capacity(FIXED + self.text.len() + CHECKSUM);
        bytes.push(self.kind as u8);
        bytes.extend(self.made.millis().to_be_bytes());
        bytes.extend(self.stream_created.millis().to_be_bytes());
        bytes.extend(self.shard.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.text.as_bytes());
        bytes.extend(checksum(&bytes, seed));
        STANDARD.encode(bytes)
    }

    pub(crate) fn open(text: &str, kind: TokenKind, seed: u64) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let (bytes, expected) = bytes.split_last_chunk::<CHECKSUM>()?;
        if checksum(bytes, seed) != *expected {
            return None;
        }
        let (first, rest) = bytes.split_first()?;
        let (made, rest) = rest.split_first_chunk()?;
        let (stream_created, rest) = rest.split_first_chunk()?;
        let (shard, rest) = rest.split_first_chunk()?;
        let (offset, text) = rest.split_first_chunk()?;
        (*first == kind as u8).then_some(Self {
            kind,
            made: Timestamp::from_millis(i64::from_be_bytes(*made)),
            stream_created: Timestamp::from_millis(i64::from_be_bytes(*stream_created)),
            shard: u32::from_be_bytes(*shard),
            offset: u64::from_be_bytes(*offset),
            text: String::from_utf8(text.to_vec()).ok()?,
        })
    }
}

fn checksum(bytes: &[u8], seed: u64) -> [u8; CHECKSUM] {
    md5(&[&seed.to_be_bytes(), bytes].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            kind: TokenKind::Iterator,
            made: Timestamp::from_millis(5),
            stream_created: Timestamp::from_millis(4),
            shard: 3,
            offset: 2,
            text: "orders".to_owned(),
        }
    }

    #[test]
    fn only_what_was_sealed_opens() {
        let sealed = token().seal(7);
        assert_eq!(Token::open(&sealed, TokenKind::Iterator, 7), Some(token()));
        assert_eq!(Token::open(&sealed, TokenKind::ShardPage, 7), None, "another kind");
        assert_eq!(Token::open(&sealed, TokenKind::Iterator, 8), None, "another maker");
        for bad in ["", "x", "AAAA", &sealed[4..], &STANDARD.encode([0; 64])] {
            assert_eq!(Token::open(bad, TokenKind::Iterator, 7), None, "{bad}");
        }
    }
}

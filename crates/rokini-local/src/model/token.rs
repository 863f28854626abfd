//! Iterators and page tokens: opaque to callers, checked on return.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rokini_wire::Timestamp;

/// Numbers and a text behind one opaque word. A word that was not made here does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) made: Timestamp,
    /// Creation of the stream: a stream made anew under the same name is another one.
    pub(crate) stream_created: Timestamp,
    pub(crate) shard: u32,
    pub(crate) place: u64,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Iterator = 1,
    ShardPage = 2,
    StreamPage = 3,
    ConsumerPage = 4,
}

const FIXED: usize = 1 + 8 + 8 + 4 + 8;
const CHECK: usize = 16;

impl Token {
    pub(crate) fn seal(&self, seed: u64) -> String {
        let mut bytes = Vec::with_capacity(FIXED + self.text.len() + CHECK);
        bytes.push(self.kind as u8);
        bytes.extend(self.made.millis().to_be_bytes());
        bytes.extend(self.stream_created.millis().to_be_bytes());
        bytes.extend(self.shard.to_be_bytes());
        bytes.extend(self.place.to_be_bytes());
        bytes.extend(self.text.as_bytes());
        bytes.extend(check(&bytes, seed));
        STANDARD.encode(bytes)
    }

    pub(crate) fn open(word: &str, kind: Kind, seed: u64) -> Option<Self> {
        let bytes = STANDARD.decode(word).ok()?;
        let (bytes, mark) = bytes.split_last_chunk::<CHECK>()?;
        if check(bytes, seed) != *mark {
            return None;
        }
        let (head, rest) = bytes.split_first()?;
        let (made, rest) = rest.split_first_chunk()?;
        let (stream_created, rest) = rest.split_first_chunk()?;
        let (shard, rest) = rest.split_first_chunk()?;
        let (place, text) = rest.split_first_chunk()?;
        (*head == kind as u8).then_some(Self {
            kind,
            made: Timestamp::from_millis(i64::from_be_bytes(*made)),
            stream_created: Timestamp::from_millis(i64::from_be_bytes(*stream_created)),
            shard: u32::from_be_bytes(*shard),
            place: u64::from_be_bytes(*place),
            text: String::from_utf8(text.to_vec()).ok()?,
        })
    }
}

fn check(bytes: &[u8], seed: u64) -> [u8; CHECK] {
    let mut hash = Md5::new();
    hash.update(seed.to_be_bytes());
    hash.update(bytes);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            kind: Kind::Iterator,
            made: Timestamp::from_millis(5),
            stream_created: Timestamp::from_millis(4),
            shard: 3,
            place: 2,
            text: "orders".to_owned(),
        }
    }

    #[test]
    fn only_what_was_sealed_opens() {
        let word = token().seal(7);
        assert_eq!(Token::open(&word, Kind::Iterator, 7), Some(token()));
        assert_eq!(Token::open(&word, Kind::ShardPage, 7), None, "another kind");
        assert_eq!(Token::open(&word, Kind::Iterator, 8), None, "another maker");
        for bad in ["", "x", "AAAA", &word[4..], &STANDARD.encode([0; 64])] {
            assert_eq!(Token::open(bad, Kind::Iterator, 7), None, "{bad}");
        }
    }
}

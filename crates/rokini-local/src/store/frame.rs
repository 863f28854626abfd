//! How an effect stands in a file: a mark, its length, a checksum, and the effect. What is damaged costs itself and nothing after it.

use std::ops::Range;

use rokini_wire::{Timestamp, cbor};
use serde::{Deserialize, Serialize};

use crate::model::Effect;

/// Begins every frame, so that the next one is found behind a damaged one. Its last byte is the version of the format.
const MARK: [u8; 4] = *b"RKN\x01";
/// The mark, the length of the body, and the checksum of length and body.
const HEAD: usize = MARK.len() + 4 + 4;

/// The number of a file that nothing is added to any more, and its bytes.
pub(super) type FileLength = (u64, u64);

/// What stands at a place in a file.
#[derive(Debug)]
pub(super) enum Piece {
    /// An effect, the time it took place, and where.
    Frame(Timestamp, Effect, Range<usize>),
    /// The files that are needed beside the one it stands in, and where.
    Files(Vec<FileLength>, Range<usize>),
    /// Nothing that can be read.
    Damaged(Range<usize>),
    /// The beginning of a frame at the end of the file: what a process that ended was writing, and never answered.
    Torn(usize),
}

/// What is in a frame.
enum Content {
    Effect(Timestamp, Effect),
    Files(Vec<FileLength>),
}

/// A list of files, as it is encoded: unlike an effect, which is an array.
#[derive(Serialize, Deserialize)]
struct Files {
    needed: Vec<FileLength>,
}

/// Adds a frame with an effect.
pub(super) fn write(to: &mut Vec<u8>, at: Timestamp, effect: &Effect) {
    write_body(to, &cbor::encode(&(at, effect)));
}

/// Adds a frame that says which files are needed beside this one, so that one is missed that is not there, or was cut.
pub(super) fn write_files(to: &mut Vec<u8>, needed: Vec<FileLength>) {
    write_body(to, &cbor::encode(&Files { needed }));
}

fn write_body(to: &mut Vec<u8>, body: &[u8]) {
    // A call is limited to far less.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    to.extend(MARK);
    to.extend(length);
    to.extend(checksum(length, body).to_le_bytes());
    to.extend(body);
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// Everything in the bytes of a file, in its order.
pub(super) fn pieces(bytes: &[u8]) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let begin = at;
        if let Some((content, end)) = frame_at(bytes, begin) {
            at = end;
            return Some(match content {
                Content::Effect(time, effect) => Piece::Frame(time, effect, begin..end),
                Content::Files(needed) => Piece::Files(needed, begin..end),
            });
        }
        at = (begin + 1..bytes.len())
            .find(|next| bytes[*next..].starts_with(&MARK) && frame_at(bytes, *next).is_some())
            .unwrap_or(bytes.len());
        let torn = at == bytes.len() && is_beginning(&bytes[begin..]);
        Some(if torn { Piece::Torn(begin) } else { Piece::Damaged(begin..at) })
    })
}

/// Whether bytes could be the first ones of a frame.
fn is_beginning(bytes: &[u8]) -> bool {
    let known = bytes.len().min(MARK.len());
    let complete = body_range(bytes).is_some_and(|body| body.end <= bytes.len());
    bytes[..known] == MARK[..known] && !complete
}

fn body_range(bytes: &[u8]) -> Option<Range<usize>> {
    let length = u32::from_le_bytes(bytes.get(MARK.len()..)?.first_chunk().copied()?);
    Some(HEAD..HEAD.checked_add(usize::try_from(length).ok()?)?)
}

fn frame_at(bytes: &[u8], begin: usize) -> Option<(Content, usize)> {
    let bytes = &bytes[begin..];
    let body = body_range(bytes).filter(|_| bytes.starts_with(&MARK))?;
    let length: [u8; 4] = bytes[MARK.len()..].first_chunk().copied()?;
    let expected = u32::from_le_bytes(bytes.get(MARK.len() + 4..)?.first_chunk().copied()?);
    let end = body.end;
    let body = bytes.get(body)?;
    if checksum(length, body) != expected {
        return None;
    }
    let content = match cbor::decode(body) {
        Ok((at, effect)) => Content::Effect(at, effect),
        Err(_) => Content::Files(cbor::decode::<Files>(body).ok()?.needed),
    };
    Some((content, begin + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(count: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for id in 0..count {
            write(&mut bytes, Timestamp::from_millis(7), &Effect::StreamGone { id });
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> (Vec<u64>, usize, bool) {
        let (mut ids, mut damaged, mut torn) = (Vec::new(), 0, false);
        for piece in pieces(bytes) {
            match piece {
                Piece::Frame(_, Effect::StreamGone { id }, _) => ids.push(id),
                Piece::Frame(..) | Piece::Files(..) => panic!("another effect"),
                Piece::Damaged(_) => damaged += 1,
                Piece::Torn(_) => torn = true,
            }
        }
        (ids, damaged, torn)
    }

    #[test]
    fn any_flipped_byte_costs_its_own_frame_alone() {
        let (bytes, ends) = file(3);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x55;
            let own = ends.iter().position(|end| at < *end).unwrap() as u64;
            let others: Vec<u64> = (0..3).filter(|id| *id != own).collect();
            let (ids, damaged, torn) = read(&flipped);
            assert_eq!(ids, others, "byte {at}");
            // A length that reaches beyond the end of the file looks like a frame that was being written.
            assert_eq!(damaged + usize::from(torn), 1, "byte {at}");
            assert!(!torn || own == 2, "byte {at}");
        }
    }

    #[test]
    fn any_cut_leaves_the_frames_before_it() {
        let (bytes, ends) = file(3);
        for length in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count() as u64;
            let between = length != 0 && !ends.contains(&length);
            assert_eq!(read(&bytes[..length]), ((0..whole).collect(), 0, between), "{length} bytes");
        }
        let zeros = [&bytes[..], &[0; 100]].concat();
        assert_eq!(read(&zeros), (vec![0, 1, 2], 1, false), "zeros are no beginning");
    }
}

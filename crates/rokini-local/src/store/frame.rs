//! How an effect stands in a file: a mark, its length, a checksum, and the effect. What is damaged costs itself and nothing after it.

use std::ops::Range;

use rokini_wire::{Timestamp, cbor};

use crate::model::Effect;

/// Begins every frame, so that the next one is found behind a damaged one. Its last byte is the version of the format.
const MARK: [u8; 4] = *b"RKN\x01";
/// The mark, the length of the body, and the checksum of length and body.
const HEAD: usize = MARK.len() + 4 + 4;

/// What stands at a place in a file.
#[derive(Debug)]
pub(super) enum Piece {
    /// An effect, the time it took place, and where.
    Frame(Timestamp, Effect, Range<usize>),
    /// Nothing that can be read.
    Damaged(Range<usize>),
    /// The beginning of a frame at the end of the file: what a process that ended was writing, and never answered.
    Torn(usize),
}

/// Adds a frame.
pub(super) fn write(to: &mut Vec<u8>, at: Timestamp, effect: &Effect) {
    let body = cbor::encode(&(at, effect));
    // A call is limited to far less.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    to.extend(MARK);
    to.extend(length);
    to.extend(checksum(length, &body).to_le_bytes());
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
        if let Some((time, effect, end)) = frame_at(bytes, begin) {
            at = end;
            return Some(Piece::Frame(time, effect, begin..end));
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

fn frame_at(bytes: &[u8], begin: usize) -> Option<(Timestamp, Effect, usize)> {
    let bytes = &bytes[begin..];
    let body = body_range(bytes).filter(|_| bytes.starts_with(&MARK))?;
    let length: [u8; 4] = bytes[MARK.len()..].first_chunk().copied()?;
    let expected = u32::from_le_bytes(bytes.get(MARK.len() + 4..)?.first_chunk().copied()?);
    let end = body.end;
    let body = bytes.get(body)?;
    if checksum(length, body) != expected {
        return None;
    }
    let (at, effect) = cbor::decode(body).ok()?;
    Some((at, effect, begin + end))
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
                Piece::Frame(..) => panic!("another effect"),
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

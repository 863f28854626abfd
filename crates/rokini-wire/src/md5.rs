//! MD5 (RFC 1321): the check sum of KPL aggregates, and how Kinesis hashes partition keys.
//!
//! Not for secrets: MD5 protects against mistakes only. It is here because builds for FIPS have none, and because the
//! messages of an answer can be hashed side by side: MD5 of one message is a chain that leaves most of a processor idle.

/// An MD5 digest.
pub type Md5Digest = [u8; 16];

const BLOCK: usize = 64;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The state of RFC 1321 before the first block.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// How far each step rotates: a row for each round.
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// `floor(2^32 * abs(sin(i + 1)))`
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// The MD5 of a message.
///
/// ```
/// assert_eq!(rokini_wire::md5(b"abc")[..4], [0x90, 0x01, 0x50, 0x98]);
/// ```
#[must_use]
pub fn md5(message: &[u8]) -> Md5Digest {
    let (blocks, tail) = blocks_of(message);
    let mut state = START.map(|word| [word]);
    for block in blocks.iter().chain(tail.blocks()) {
        rounds(&mut state, [block]);
    }
    digest(state.map(|[word]| word))
}

/// The MD5 of each message, in their order. Several at a time, which takes a fraction of the time that [`md5`] takes for
/// each.
///
/// ```
/// assert_eq!(rokini_wire::md5_each(&[b"a", b"b"]), [rokini_wire::md5(b"a"), rokini_wire::md5(b"b")]);
/// ```
#[must_use]
pub fn md5_each<M: AsRef<[u8]>>(messages: &[M]) -> Vec<Md5Digest> {
    let mut digests = vec![Md5Digest::default(); messages.len()];
    // A lane without a message costs as much as one with one, so a few messages go one by one.
    match messages.len() {
        0..3 => {
            for (digest, message) in digests.iter_mut().zip(messages) {
                *digest = md5(message.as_ref());
            }
        }
        _ => vectors::each(messages, &mut digests),
    }
    digests
}

/// The hash by which Kinesis finds the shard of a partition key: the MD5 of its UTF-8 bytes as an unsigned number of 128
/// bits.
#[must_use]
pub fn partition_key_hash(key: &str) -> u128 {
    u128::from_be_bytes(md5(key.as_bytes()))
}

/// Its whole blocks, and what follows them with the padding.
fn blocks_of(message: &[u8]) -> (&[[u8; BLOCK]], Tail) {
    let (blocks, rest) = message.as_chunks();
    let mut tail = Tail { bytes: [[0; BLOCK]; 2], blocks: if rest.len() + 9 <= BLOCK { 1 } else { 2 } };
    let bytes = tail.bytes.as_flattened_mut();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()] = 0x80;
    let bits = (message.len() as u64).wrapping_mul(8);
    bytes[tail.blocks * BLOCK - 8..tail.blocks * BLOCK].copy_from_slice(&bits.to_le_bytes());
    (blocks, tail)
}

#[derive(Clone, Copy)]
struct Tail {
    bytes: [[u8; BLOCK]; 2],
    blocks: usize,
}

impl Tail {
    const NONE: Self = Self { bytes: [ZEROS; 2], blocks: 0 };

    fn blocks(&self) -> &[[u8; BLOCK]] {
        &self.bytes[..self.blocks]
    }
}

fn digest(state: [u32; 4]) -> Md5Digest {
    let mut digest = Md5Digest::default();
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// One block of each lane. Written so that the compiler makes vectors of the lanes.
#[inline(always)]
fn rounds<const N: usize>(state: &mut [[u32; N]; 4], blocks: [&[u8; BLOCK]; N]) {
    let mut words = [[0; N]; 16];
    for (lane, block) in blocks.into_iter().enumerate() {
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            word[lane] = u32::from_le_bytes(*bytes);
        }
    }
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! round {
        ($round:literal, $index:expr, $mix:expr) => {
            for step in 0..16 {
                let (at, shift) = ($round * 16 + step, SHIFTS[$round][step % 4]);
                let word = &words[$index(step) % 16];
                let mut next = [0_u32; N];
                for lane in 0..N {
                    let mixed: u32 = $mix(b[lane], c[lane], d[lane]);
                    let sum = a[lane].wrapping_add(mixed).wrapping_add(word[lane]).wrapping_add(SINES[at]);
                    next[lane] = b[lane].wrapping_add(sum.rotate_left(shift));
                }
                (a, d, c, b) = (d, c, b, next);
            }
        };
    }
    round!(0, |step| step, |b: u32, c: u32, d: u32| d ^ (b & (c ^ d)));
    round!(1, |step| 5 * step + 1, |b: u32, c: u32, d: u32| c ^ (d & (b ^ c)));
    round!(2, |step| 3 * step + 5, |b: u32, c: u32, d: u32| b ^ c ^ d);
    round!(3, |step| 7 * step, |b: u32, c: u32, d: u32| c ^ (b | !d));
    for (sum, add) in state.iter_mut().zip([a, b, c, d]) {
        for lane in 0..N {
            sum[lane] = sum[lane].wrapping_add(add[lane]);
        }
    }
}

/// A message on its way through a lane; none where `message` is none.
#[derive(Clone, Copy)]
struct Lane<'a> {
    message: Option<usize>,
    /// What is left of its whole blocks.
    blocks: &'a [[u8; BLOCK]],
    tail: Tail,
    /// How many blocks of the tail are done.
    tail_done: usize,
}

impl Lane<'_> {
    const IDLE: Self = Self { message: None, blocks: &[], tail: Tail::NONE, tail_done: 0 };
}

/// Each lane takes the next message as soon as it is through with one, so that messages of any lengths fill all of them.
#[inline(always)]
fn in_lanes<const N: usize, M: AsRef<[u8]>>(messages: &[M], digests: &mut [Md5Digest]) {
    let mut state = [[0; N]; 4];
    let mut lanes = [Lane::IDLE; N];
    let mut waiting = messages.iter().map(AsRef::as_ref).enumerate();
    loop {
        for (at, lane) in lanes.iter_mut().enumerate() {
            if lane.message.is_some() && (!lane.blocks.is_empty() || lane.tail_done < lane.tail.blocks) {
                continue;
            }
            if let Some(done) = lane.message.take() {
                digests[done] = digest(state.map(|words| words[at]));
            }
            *lane = Lane::IDLE;
            if let Some((message, bytes)) = waiting.next() {
                let (blocks, tail) = blocks_of(bytes);
                *lane = Lane { message: Some(message), blocks, tail, tail_done: 0 };
                for (words, start) in state.iter_mut().zip(START) {
                    words[at] = start;
                }
            }
        }
        let busy = lanes.iter().filter(|lane| lane.message.is_some());
        let Some(run) = busy.map(|lane| lane.blocks.len()).min() else { return };
        // All that have a message have so many blocks left: nothing else is to be looked at for so long.
        for block in 0..run {
            let blocks = lanes.each_ref().map(|lane| lane.blocks.get(block).unwrap_or(&ZEROS));
            rounds(&mut state, blocks);
        }
        lanes.iter_mut().for_each(|lane| lane.blocks = lane.blocks.get(run..).unwrap_or_default());
        // One of them at least is at its tail.
        rounds(
            &mut state,
            lanes.each_ref().map(|lane| match lane.blocks {
                [first, ..] => first,
                [] => lane.tail.bytes.get(lane.tail_done).unwrap_or(&ZEROS),
            }),
        );
        for lane in &mut lanes {
            match lane.blocks {
                [_, rest @ ..] => lane.blocks = rest,
                [] => lane.tail_done += 1,
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    //! The same code, compiled for processors with wider vectors than all of this architecture have.

    use super::{Md5Digest, in_lanes};

    #[target_feature(enable = "avx512f,avx512vl")]
    fn of_512_bits<M: AsRef<[u8]>>(messages: &[M], digests: &mut [Md5Digest]) {
        in_lanes::<16, _>(messages, digests);
    }

    #[target_feature(enable = "avx2")]
    fn of_256_bits<M: AsRef<[u8]>>(messages: &[M], digests: &mut [Md5Digest]) {
        match messages.len() {
            0..=8 => in_lanes::<8, _>(messages, digests),
            // Two vectors, since one waits for its own last step.
            _ => in_lanes::<16, _>(messages, digests),
        }
    }

    #[expect(
        unsafe_code,
        reason = "a function for a feature of the processor may be called where that is there"
    )]
    pub(super) fn each<M: AsRef<[u8]>>(messages: &[M], digests: &mut [Md5Digest]) {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the processor has these instructions, as was just asked.
            unsafe { of_512_bits(messages, digests) }
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has these instructions, as was just asked.
            unsafe { of_256_bits(messages, digests) }
        } else {
            in_lanes::<4, _>(messages, digests);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod vectors {
    use super::{Md5Digest, in_lanes};

    /// With vectors of 128 bits, as all processors of AArch64 have them.
    pub(super) fn each<M: AsRef<[u8]>>(messages: &[M], digests: &mut [Md5Digest]) {
        in_lanes::<4, _>(messages, digests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use md5::Digest;
    use proptest::prelude::*;

    fn hex(digest: Md5Digest) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_vectors_of_rfc_1321() {
        for (message, expected) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex(md5(message.as_bytes())), expected, "{message}");
        }
    }

    /// As in the documentation of the KPL: the digest read as one large number.
    #[test]
    fn a_key_is_hashed_to_an_unsigned_number() {
        assert_eq!(partition_key_hash("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
        assert_eq!(partition_key_hash("abc"), 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72, "the highest bit");
        assert_eq!(partition_key_hash("\u{fc}"), u128::from_be_bytes(md5(&[0xc3, 0xbc])));
    }

    /// Around every border of the padding.
    #[test]
    fn messages_of_every_length() {
        let message: Vec<u8> = (0..600_u32).map(|at| (at * 7 % 251) as u8).collect();
        let messages: Vec<&[u8]> = (0..message.len()).map(|length| &message[..length]).collect();
        let expected: Vec<Md5Digest> =
            messages.iter().map(|message| md5::Md5::digest(message).into()).collect();
        let one_by_one: Vec<Md5Digest> = messages.iter().map(|message| md5(message)).collect();
        assert_eq!(one_by_one, expected);
        assert_eq!(md5_each(&messages), expected);
    }

    proptest! {
        /// With lanes of every width that some processor gets, whichever this one has.
        #[test]
        fn many_at_once_are_as_one_by_one(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40)) {
            let expected: Vec<Md5Digest> = messages.iter().map(|message| md5::Md5::digest(message).into()).collect();
            prop_assert_eq!(&md5_each(&messages), &expected);
            let mut digests = vec![Md5Digest::default(); messages.len()];
            in_lanes::<4, _>(&messages, &mut digests);
            prop_assert_eq!(&digests, &expected);
            in_lanes::<8, _>(&messages, &mut digests);
            prop_assert_eq!(&digests, &expected);
            in_lanes::<16, _>(&messages, &mut digests);
            prop_assert_eq!(&digests, &expected);
        }
    }
}

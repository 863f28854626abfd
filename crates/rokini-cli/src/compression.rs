//! Compressed data: gzip and Zstandard, known by how they begin.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use clap::ValueEnum;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// What becomes of compressed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decompress {
    /// gzip and Zstandard are recognised by their first bytes and unpacked
    Auto,
    /// Everything stays as it is
    None,
}

/// A format of compressed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

/// How the formats begin (RFC 1952 2.3.1 with the only method there is, RFC 8878 3.1.1).
const MAGIC: [(&[u8], Compression); 2] =
    [(&[0x1f, 0x8b, 0x08], Compression::Gzip), (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd)];

impl Compression {
    /// The format that data begin like.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        MAGIC.iter().find(|(magic, _)| data.starts_with(magic)).map(|(_, found)| *found)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Unpacks data that are here as a whole.
    ///
    /// # Errors
    /// When they are broken, or have more than `most` MiB unpacked: a few kilobytes can hold gigabytes.
    pub(crate) fn unpack(self, data: &[u8], most: u64) -> io::Result<Vec<u8>> {
        let bytes = most << 20;
        let mut unpacked = Vec::new();
        let reader = self.reader(Cursor::new(data.to_vec()));
        reader.take(bytes + 1).read_to_end(&mut unpacked)?;
        if unpacked.len() as u64 > bytes {
            return Err(io::Error::other(format!("it has more than {most} MiB unpacked")));
        }
        Ok(unpacked)
    }

    fn reader(self, packed: impl BufRead + Send + 'static) -> Box<dyn Read + Send> {
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Zstd => Box::new(ZstdFrames { packed: Some(packed), frame: None }),
        }
    }
}

/// Reads on, unpacked where the input begins like compressed data and that is wanted. Reads no further than it needs to tell.
///
/// # Errors
/// Those of the input.
pub(crate) fn reader(
    mut input: impl BufRead + Send + 'static,
    decompress: Decompress,
) -> io::Result<Box<dyn BufRead + Send>> {
    if decompress == Decompress::None {
        return Ok(Box::new(input));
    }
    let mut begin = Vec::new();
    while Compression::of(&begin).is_none() && MAGIC.iter().any(|(magic, _)| magic.starts_with(&begin)) {
        let mut byte = [0];
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => begin.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let found = Compression::of(&begin);
    let whole = Cursor::new(begin).chain(input);
    Ok(match found {
        Some(found) => Box::new(BufReader::with_capacity(64 << 10, found.reader(whole))),
        None => Box::new(whole),
    })
}

/// One frame after the other: a file may have several.
struct ZstdFrames<R: BufRead> {
    /// Between two frames.
    packed: Option<R>,
    frame: Option<Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>>,
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(to)?;
                if read > 0 || to.is_empty() {
                    return Ok(read);
                }
            }
            if let Some(frame) = self.frame.take() {
                self.packed = Some(frame.into_inner());
            }
            let Some(mut packed) = self.packed.take() else { return Ok(0) };
            if packed.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.frame = Some(Box::new(StreamingDecoder::new(packed).map_err(io::Error::other)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(data).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    #[test]
    fn both_formats_are_unpacked_also_in_several_parts() {
        let text = b"one line\nand another\n".repeat(50_000);
        for (pack, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
            let packed = [pack(&text), pack(b"more")].concat();
            let found = Compression::of(&packed).unwrap();
            assert_eq!(found.name(), name);
            let wanted = [&text[..], b"more"].concat();
            assert_eq!(found.unpack(&packed, 2).unwrap(), wanted);
            let most = found.unpack(&[pack(&[0; 1 << 20]), pack(b"x")].concat(), 1).unwrap_err();
            assert_eq!(most.to_string(), "it has more than 1 MiB unpacked");
            assert_eq!(found.unpack(&pack(&[0; 1 << 20]), 1).unwrap().len(), 1 << 20);
            assert!(found.unpack(&packed[..packed.len() / 2], 1_000).is_err(), "{name}: cut off");
            let mut read = Vec::new();
            reader(Cursor::new(packed.clone()), Decompress::Auto).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, wanted);
            read.clear();
            reader(Cursor::new(packed.clone()), Decompress::None).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, packed);
        }
    }

    #[test]
    fn what_only_begins_alike_stays_as_it_is() {
        for data in [&b""[..], b"\x1f", b"\x1f\x8b", b"(", b"(\n", b"\x28\xb5\x2f", b"text"] {
            let mut read = Vec::new();
            reader(Cursor::new(data.to_vec()), Decompress::Auto).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, data);
        }
    }
}

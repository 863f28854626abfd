//! The items of CBOR, one after the other (RFC 8949).

use super::super::error::ParseFault;
use super::super::place::MAX_DEPTH;

/// Why a string cannot be told as one place.
pub(super) const IN_PIECES: &str = "a string in pieces";

/// From which distance on the processor does not see by itself what is read next. Records of 1 KB that are not in its cache take
/// an eighth less time with it, those that are take the same.
const FAR: usize = 256;

/// The head of an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Header {
    Integer(i64),
    /// An integer that has no `i64`.
    Huge,
    /// Length; `None` for strings in pieces.
    Bytes(Option<usize>),
    Text(Option<usize>),
    /// Items; `None` where a break ends them.
    Array(Option<usize>),
    /// Pairs.
    Map(Option<usize>),
    Tag(u64),
    Float(f64),
    Null,
    /// True, false, undefined, and values that are not assigned.
    Simple,
    Break,
}

/// What is left of a list or map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Items(Option<usize>);

impl Items {
    /// How many there are, where that was told.
    pub(super) fn told(self) -> Option<usize> {
        self.0
    }
}

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.left() == 0
    }

    /// Items of about this length follow: asks for the beginning of the one after the next, so that it need not be waited for
    /// then. What a body has between them is long, and read by nobody here.
    #[inline]
    pub(super) fn touch_ahead(&self, length: usize) {
        if length >= FAR {
            let ahead = self.at.saturating_add(2 * length);
            std::hint::black_box(self.bytes.get(ahead).copied());
            std::hint::black_box(self.bytes.get(ahead + 64).copied());
        }
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, ParseFault> {
        Err(ParseFault { what, at: self.at })
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], ParseFault> {
        match self.bytes[self.at..].get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => self.fault("cut off"),
        }
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], ParseFault> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => self.fault("cut off"),
        }
    }

    #[inline]
    pub(super) fn header(&mut self) -> Result<Header, ParseFault> {
        let at = self.at;
        let [first] = self.array_of()?;
        let (major, minor) = (first >> 5, first & 31);
        let argument = match minor {
            0..24 => Some(u64::from(minor)),
            24 => Some(u64::from(self.array_of::<1>()?[0])),
            25 => Some(u64::from(u16::from_be_bytes(self.array_of()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.array_of()?))),
            27 => Some(u64::from_be_bytes(self.array_of()?)),
            31 => None,
            _ => return Err(ParseFault { what: "a reserved length", at }),
        };
        let length = || match argument {
            None => Ok(None),
            // More items or bytes than there are bytes left cannot come.
            Some(told) => usize::try_from(told).map(Some).map_err(|_| ParseFault { what: "cut off", at }),
        };
        Ok(match (major, argument) {
            (0, Some(value)) => i64::try_from(value).map_or(Header::Huge, Header::Integer),
            (1, Some(value)) => {
                i64::try_from(value).map_or(Header::Huge, |value| Header::Integer(-1 - value))
            }
            (2, _) => Header::Bytes(length()?),
            (3, _) => Header::Text(length()?),
            (4, _) => Header::Array(length()?),
            (5, _) => Header::Map(length()?),
            (6, Some(tag)) => Header::Tag(tag),
            (7, None) => Header::Break,
            (7, Some(value)) => match minor {
                22 => Header::Null,
                25 => Header::Float(half(value as u16)),
                26 => Header::Float(f64::from(f32::from_bits(value as u32))),
                27 => Header::Float(f64::from_bits(value)),
                _ => Header::Simple,
            },
            _ => return Err(ParseFault { what: "an item without a length", at }),
        })
    }

    fn expected<T>(&self, at: usize, what: &'static str) -> Result<T, ParseFault> {
        Err(ParseFault { what, at })
    }

    pub(super) fn map(&mut self) -> Result<Items, ParseFault> {
        let at = self.at;
        match self.header()? {
            Header::Map(items) => Ok(Items(items)),
            _ => self.expected(at, "expected a map"),
        }
    }

    pub(super) fn array(&mut self) -> Result<Items, ParseFault> {
        let at = self.at;
        match self.header()? {
            Header::Array(items) => Ok(Items(items)),
            _ => self.expected(at, "expected a list"),
        }
    }

    /// Whether another item (pair, in a map) comes; takes the break that says that none does.
    #[inline]
    pub(super) fn more(&mut self, items: &mut Items) -> Result<bool, ParseFault> {
        match &mut items.0 {
            Some(left) => {
                let more = *left > 0;
                *left = left.saturating_sub(1);
                Ok(more)
            }
            None => match self.bytes.get(self.at) {
                Some(0xff) => {
                    self.at += 1;
                    Ok(false)
                }
                Some(_) => Ok(true),
                None => self.fault("cut off"),
            },
        }
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a [u8], ParseFault> {
        let at = self.at;
        // Names, and most texts: the length is in the first byte.
        if let Some(first @ 0x60..=0x77) = self.bytes.get(at) {
            self.at += 1;
            return self.take(usize::from(first - 0x60));
        }
        if let Some([0x78, length, ..]) = self.bytes.get(at..) {
            self.at += 2;
            return self.take(usize::from(*length));
        }
        match self.header()? {
            Header::Text(Some(length)) => self.take(length),
            Header::Text(None) => self.expected(at, IN_PIECES),
            _ => self.expected(at, "expected text"),
        }
    }

    /// From where to where a byte string is.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<(usize, usize), ParseFault> {
        let at = self.at;
        match self.header()? {
            Header::Bytes(Some(length)) => {
                let start = self.at;
                self.take(length)?;
                Ok((start, self.at))
            }
            Header::Bytes(None) => self.expected(at, IN_PIECES),
            _ => self.expected(at, "expected a byte string"),
        }
    }

    pub(super) fn integer(&mut self) -> Result<i64, ParseFault> {
        let at = self.at;
        match self.header()? {
            Header::Integer(value) => Ok(value),
            _ => self.expected(at, "expected a whole number"),
        }
    }

    /// Takes a null, if one comes.
    #[inline]
    pub(super) fn null(&mut self) -> bool {
        let null = self.bytes.get(self.at) == Some(&0xf6);
        self.at += usize::from(null);
        null
    }

    /// Passes over one value, and returns it.
    pub(super) fn skip(&mut self) -> Result<&'a [u8], ParseFault> {
        let start = self.at;
        self.skip_within(0)?;
        Ok(&self.bytes[start..self.at])
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), ParseFault> {
        let at = self.at;
        if depth >= MAX_DEPTH {
            return self.fault("nested too deeply");
        }
        match self.header()? {
            Header::Bytes(Some(length)) | Header::Text(Some(length)) => {
                self.take(length)?;
            }
            Header::Bytes(None) => while self.piece(at, true)?.is_some() {},
            Header::Text(None) => while self.piece(at, false)?.is_some() {},
            Header::Array(items) => {
                let mut items = Items(items);
                while self.more(&mut items)? {
                    self.skip_within(depth + 1)?;
                }
            }
            Header::Map(items) => {
                let mut items = Items(items);
                while self.more(&mut items)? {
                    self.skip_within(depth + 1)?;
                    self.skip_within(depth + 1)?;
                }
            }
            Header::Tag(_) => self.skip_within(depth + 1)?,
            Header::Integer(_) | Header::Huge | Header::Float(_) | Header::Null | Header::Simple => {}
            Header::Break => return self.expected(at, "a break without a beginning"),
        }
        Ok(())
    }

    /// The next piece of a string that began at `begin`.
    fn piece(&mut self, begin: usize, bytes: bool) -> Result<Option<&'a [u8]>, ParseFault> {
        match (self.header()?, bytes) {
            (Header::Break, _) => Ok(None),
            (Header::Bytes(Some(length)), true) | (Header::Text(Some(length)), false) => {
                self.take(length).map(Some)
            }
            _ => self.expected(begin, "a string of pieces that are none"),
        }
    }
}

/// The number in two bytes of floating point.
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let value = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { value } else { -value }
}

/// The same value with every string in one piece.
pub(super) fn in_one_piece(bytes: &[u8]) -> Result<Vec<u8>, ParseFault> {
    let mut cursor = Cursor::new(bytes);
    let mut whole = Vec::with_capacity(bytes.len());
    copy(&mut cursor, &mut whole, 0)?;
    whole.extend(&bytes[cursor.at()..]);
    Ok(whole)
}

fn copy(from: &mut Cursor<'_>, to: &mut Vec<u8>, depth: usize) -> Result<(), ParseFault> {
    let begin = from.at;
    if depth >= MAX_DEPTH {
        return from.fault("nested too deeply");
    }
    let header = from.header()?;
    match header {
        Header::Bytes(None) | Header::Text(None) => {
            let is_bytes = matches!(header, Header::Bytes(None));
            let mut joined: Vec<u8> = Vec::new();
            while let Some(piece) = from.piece(begin, is_bytes)? {
                joined.extend_from_slice(piece);
            }
            to.push(if is_bytes { 0x5b } else { 0x7b });
            to.extend((joined.len() as u64).to_be_bytes());
            to.extend(joined);
        }
        Header::Array(items) | Header::Map(items) => {
            to.extend(&from.bytes[begin..from.at]);
            let pairs = matches!(header, Header::Map(_));
            let mut left = Items(items);
            while from.more(&mut left)? {
                copy(from, to, depth + 1)?;
                if pairs {
                    copy(from, to, depth + 1)?;
                }
            }
            if items.is_none() {
                to.push(0xff);
            }
        }
        Header::Tag(_) => {
            to.extend(&from.bytes[begin..from.at]);
            copy(from, to, depth + 1)?;
        }
        Header::Break => return from.expected(begin, "a break without a beginning"),
        Header::Bytes(Some(length)) | Header::Text(Some(length)) => {
            from.take(length)?;
            to.extend(&from.bytes[begin..from.at]);
        }
        _ => to.extend(&from.bytes[begin..from.at]),
    }
    Ok(())
}

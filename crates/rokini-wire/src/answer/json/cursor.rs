//! The tokens of JSON, one after the other (RFC 8259). Texts are unescaped where they stand: no escape is shorter than
//! what it means.

use super::super::error::ParseFault;
use super::super::place::MAX_DEPTH;

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn part(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, ParseFault> {
        Err(ParseFault { what: if self.left() == 0 { "cut off" } else { what }, at: self.at })
    }

    #[inline]
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Takes the bracket that begins an object or a list.
    pub(super) fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), ParseFault> {
        if self.peek() != Some(bracket) {
            return self.fault(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another member or item comes; takes the comma before it, or the bracket that says that none does.
    #[inline]
    pub(super) fn more(&mut self, bracket: u8, first: &mut bool) -> Result<bool, ParseFault> {
        let first = std::mem::take(first);
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if first => Ok(true),
            _ => self.fault("expected a comma"),
        }
    }

    /// The name of a member, and its colon.
    #[inline]
    pub(super) fn name(&mut self) -> Result<(usize, usize), ParseFault> {
        let name = self.text()?;
        if self.peek() != Some(b':') {
            return self.fault("expected a colon");
        }
        self.at += 1;
        Ok(name)
    }

    /// Takes a null, if one comes.
    pub(super) fn null(&mut self) -> Result<bool, ParseFault> {
        match self.peek() {
            Some(b'n') => self.literal(b"null").map(|()| true),
            _ => Ok(false),
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), ParseFault> {
        if !self.bytes[self.at..].starts_with(literal) {
            return self.fault("expected a value");
        }
        self.at += literal.len();
        Ok(())
    }

    /// From where to where a text is, unescaped.
    #[inline]
    pub(super) fn text(&mut self) -> Result<(usize, usize), ParseFault> {
        self.open(b'"', "expected text")?;
        let start = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok((start, self.at - 1));
                }
                b'\\' => return self.unescape(start),
                0..0x20 => return self.fault("a control character in text"),
                _ => self.at += 1,
            }
        }
        self.fault("cut off")
    }

    fn unescape(&mut self, start: usize) -> Result<(usize, usize), ParseFault> {
        let mut end = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok((start, end));
                }
                b'\\' => {
                    let (character, length) = self.escape()?;
                    let mut buffer = [0; 4];
                    let encoded = character.encode_utf8(&mut buffer).as_bytes();
                    self.bytes[end..end + encoded.len()].copy_from_slice(encoded);
                    end += encoded.len();
                    self.at += length;
                }
                0..0x20 => return self.fault("a control character in text"),
                _ => {
                    self.bytes[end] = byte;
                    end += 1;
                    self.at += 1;
                }
            }
        }
        self.fault("cut off")
    }

    /// What the escape here means, and how long it is.
    fn escape(&self) -> Result<(char, usize), ParseFault> {
        let simple = |character| Ok((character, 2));
        match self.bytes.get(self.at + 1) {
            Some(b'"') => simple('"'),
            Some(b'\\') => simple('\\'),
            Some(b'/') => simple('/'),
            Some(b'b') => simple('\u{8}'),
            Some(b'f') => simple('\u{c}'),
            Some(b'n') => simple('\n'),
            Some(b'r') => simple('\r'),
            Some(b't') => simple('\t'),
            Some(b'u') => self.unicode_escape(),
            Some(_) => self.fault("an unknown escape"),
            None => Err(ParseFault { what: "cut off", at: self.bytes.len() }),
        }
    }

    fn unicode_escape(&self) -> Result<(char, usize), ParseFault> {
        let unit = |at: usize| {
            let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
            let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
            u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let Some(first) = unit(self.at) else { return self.fault("a malformed escape") };
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first.into())
                .map_or_else(|| self.fault("a malformed escape"), |c| Ok((c, 6)));
        }
        let pair = unit(self.at + 6).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
        match pair.filter(|pair| *pair >= '\u{10000}') {
            Some(character) => Ok((character, 12)),
            None => self.fault("half a surrogate pair"),
        }
    }

    /// From where to where the bytes are that a text in base64 stands for.
    #[inline]
    pub(super) fn base64(&mut self) -> Result<(usize, usize), ParseFault> {
        self.open(b'"', "expected text")?;
        let start = self.at;
        let Some(length) = memchr::memchr(b'"', &self.bytes[start..]) else {
            self.at = self.bytes.len();
            return self.fault("cut off");
        };
        let mut end = start + length;
        if memchr::memchr(b'\\', &self.bytes[start..end]).is_some() {
            // Some writers escape the slash.
            (_, end) = self.unescape(start)?;
        } else {
            self.at = end + 1;
        }
        match base64_simd::STANDARD.decode_inplace(&mut self.bytes[start..end]) {
            Ok(decoded) => Ok((start, start + decoded.len())),
            Err(_) => Err(ParseFault { what: "no base64", at: start }),
        }
    }

    /// From where to where a number is.
    pub(super) fn number(&mut self) -> Result<(usize, usize), ParseFault> {
        self.peek();
        let start = self.at;
        let sign = self.bytes.get(self.at) == Some(&b'-');
        self.at += usize::from(sign);
        let leading_zero = self.bytes.get(self.at) == Some(&b'0');
        let integer = self.digits();
        if integer == 0 || (leading_zero && integer > 1) {
            return self.fault("expected a number");
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.fault("expected a number");
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fault("expected a number");
            }
        }
        Ok((start, self.at))
    }

    fn digits(&mut self) -> usize {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// Passes over one value, as it is; from where to where.
    pub(super) fn skip(&mut self) -> Result<(usize, usize), ParseFault> {
        self.peek();
        let start = self.at;
        self.skip_within(0)?;
        Ok((start, self.at))
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), ParseFault> {
        if depth >= MAX_DEPTH {
            return self.fault("nested too deeply");
        }
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let mut first = true;
                while self.more(b'}', &mut first)? {
                    self.skip_text()?;
                    self.open(b':', "expected a colon")?;
                    self.skip_within(depth + 1)?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.at += 1;
                let mut first = true;
                while self.more(b']', &mut first)? {
                    self.skip_within(depth + 1)?;
                }
                Ok(())
            }
            Some(b'"') => self.skip_text(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            _ => self.fault("expected a value"),
        }
    }

    fn skip_text(&mut self) -> Result<(), ParseFault> {
        self.open(b'"', "expected text")?;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.at += self.escape()?.1,
                0..0x20 => return self.fault("a control character in text"),
                _ => self.at += 1,
            }
        }
        self.fault("cut off")
    }
}

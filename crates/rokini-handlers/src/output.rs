//! What processes write, line by line, of bounded length and at a bounded rate.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::time::Instant;

/// Reads lines. One that is too long comes in several pieces, so that a process that writes no line ends costs no memory.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    from: R,
    longest: usize,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without its end.
    pub(crate) bytes: Vec<u8>,
    /// Whether it is a whole line.
    pub(crate) whole: bool,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    pub(crate) fn new(from: R, longest: usize) -> Self {
        Self { from, longest }
    }

    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        loop {
            let available = self.from.fill_buf().await?;
            if available.is_empty() {
                return Ok((!bytes.is_empty()).then_some(Line { bytes, whole: true }));
            }
            let room = self.longest - bytes.len();
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(available.len()).min(room);
            bytes.extend_from_slice(&available[..taken]);
            let ended = end == Some(taken);
            self.from.consume(taken + usize::from(ended));
            if ended {
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                return Ok(Some(Line { bytes, whole: true }));
            }
            if bytes.len() == self.longest {
                return Ok(Some(Line { bytes, whole: false }));
            }
        }
    }
}

/// Lets so many lines through in a second, and ten times as many after a silence.
#[derive(Debug)]
pub(crate) struct OutputLimiter {
    rate: f64,
    allowed: f64,
    since: Instant,
    suppressed: u64,
}

impl OutputLimiter {
    pub(crate) fn new(lines_per_second: u32, now: Instant) -> Self {
        let rate = f64::from(lines_per_second);
        Self { rate, allowed: rate * 10.0, since: now, suppressed: 0 }
    }

    /// Whether the line is shown, and how many were held back before it.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        let earned = now.duration_since(self.since).as_secs_f64() * self.rate;
        (self.allowed, self.since) = ((self.allowed + earned).min(self.rate * 10.0), now);
        if self.allowed < 1.0 {
            self.suppressed += 1;
            return None;
        }
        self.allowed -= 1.0;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// How many lines were held back that nobody was told of yet.
    pub(crate) fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn lines_end_where_they_should_and_long_ones_come_in_pieces() {
        let mut lines = LineReader::new(&b"a\n\r\nlonger\nthe rest"[..], 4);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            read.push((String::from_utf8(line.bytes).unwrap(), line.whole));
        }
        let wanted =
            [("a", true), ("", true), ("long", false), ("er", true), ("the ", false), ("rest", false)];
        assert_eq!(read, wanted.map(|(text, whole)| (text.to_owned(), whole)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_and_counted() {
        let mut limiter = OutputLimiter::new(10, Instant::now());
        let shown = (0..1000).filter(|_| limiter.admit(Instant::now()).is_some()).count();
        assert_eq!((shown, limiter.suppressed), (100, 900));
        tokio::time::advance(Duration::from_millis(150)).await;
        assert_eq!(limiter.admit(Instant::now()), Some(900));
        assert_eq!(limiter.admit(Instant::now()), None);
        assert_eq!(limiter.take_suppressed(), 1);
    }
}

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

/// So much in a second, and ten times as much after a silence.
#[derive(Debug)]
struct Allowance {
    rate: f64,
    left: f64,
}

impl Allowance {
    fn new(per_second: u32) -> Self {
        let rate = f64::from(per_second);
        Self { rate, left: rate * 10.0 }
    }

    fn earn(&mut self, seconds: f64) {
        self.left = (self.left + seconds * self.rate).min(self.rate * 10.0);
    }
}

/// What becomes of a line, or of a piece of a long one. The numbers are those of lines that were held back since the last time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Shown(u64),
    Held,
    /// The beginning of its line was shown; this and the rest are not.
    Cut(u64),
}

/// Lets so many lines, and so many bytes of them, through in a second, and ten times as many after a silence. A line that is held
/// back somewhere is held back from there to its end.
#[derive(Debug)]
pub(crate) struct OutputLimiter {
    lines: Allowance,
    bytes: Allowance,
    since: Instant,
    suppressed: u64,
    /// Of the line that is read: whether some of it was shown, and whether some was held back.
    is_shown: bool,
    is_held: bool,
}

impl OutputLimiter {
    pub(crate) fn new(lines_per_second: u32, bytes_per_second: u32, now: Instant) -> Self {
        let (lines, bytes) = (Allowance::new(lines_per_second), Allowance::new(bytes_per_second));
        Self { lines, bytes, since: now, suppressed: 0, is_shown: false, is_held: false }
    }

    /// What comes now is of another line.
    pub(crate) fn begin_line(&mut self) {
        (self.is_shown, self.is_held) = (false, false);
    }

    /// Whether a line, or the next piece of it, is shown.
    pub(crate) fn admit(&mut self, length: usize, now: Instant) -> Admission {
        let seconds = now.duration_since(self.since).as_secs_f64();
        self.since = now;
        self.lines.earn(seconds);
        self.bytes.earn(seconds);
        if self.is_held {
            return Admission::Held;
        }
        // What one line has beyond the bytes that are left is owed by the next.
        if self.lines.left < 1.0 || self.bytes.left <= 0.0 {
            self.is_held = true;
            self.suppressed += 1;
            return match self.is_shown {
                true => Admission::Cut(self.take_suppressed()),
                false => Admission::Held,
            };
        }
        self.lines.left -= 1.0;
        self.bytes.left -= length as f64;
        self.is_shown = true;
        Admission::Shown(self.take_suppressed())
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
    async fn a_flood_of_lines_is_cut_and_counted() {
        let mut limiter = OutputLimiter::new(10, 1_000, Instant::now());
        let mut admit = |length| {
            limiter.begin_line();
            limiter.admit(length, Instant::now())
        };
        let shown = (0..1000).filter(|_| matches!(admit(5), Admission::Shown(_))).count();
        assert_eq!(shown, 100);
        tokio::time::advance(Duration::from_millis(150)).await;
        assert_eq!(admit(5), Admission::Shown(900));
        assert_eq!(admit(5), Admission::Held);
        assert_eq!(limiter.take_suppressed(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn long_lines_are_cut_by_their_bytes_and_each_counts_once() {
        let mut limiter = OutputLimiter::new(100, 1_000, Instant::now());
        limiter.begin_line();
        let admitted: Vec<_> = (0..20).map(|_| limiter.admit(4_000, Instant::now())).collect();
        assert!(admitted[..3].iter().all(|one| *one == Admission::Shown(0)), "{admitted:?}");
        assert_eq!(admitted[3], Admission::Cut(1), "it is told at once");
        assert!(admitted[4..].iter().all(|one| *one == Admission::Held), "{admitted:?}");
        // The rest of this line is not shown when there is room again, because its middle is missing.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(limiter.admit(1, Instant::now()), Admission::Held);
        limiter.begin_line();
        assert_eq!(limiter.admit(1, Instant::now()), Admission::Shown(0));
    }
}

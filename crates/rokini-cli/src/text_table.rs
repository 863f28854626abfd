//! Tables for people.

use std::fmt::Write as _;

/// What a terminal has at least.
const COLUMNS: usize = 80;
/// What the last column has at least.
const LAST: usize = 20;
/// What another column has at least, where it has more.
const LEAST: usize = 8;

/// Columns of text under a heading. Lines have 80 columns at most: the last column is broken at words, or within one that is
/// longer than it, and the widest of the others are cut in their middle, as far as that is needed.
#[derive(Debug)]
pub(crate) struct TextTable<const N: usize> {
    heading: [&'static str; N],
    rows: Vec<[String; N]>,
    limit: usize,
}

impl<const N: usize> TextTable<N> {
    pub(crate) fn new(heading: [&'static str; N]) -> Self {
        Self { heading, rows: Vec::new(), limit: COLUMNS }
    }

    /// The same with lines as long as it takes.
    pub(crate) fn unlimited(mut self) -> Self {
        self.limit = usize::MAX;
        self
    }

    pub(crate) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Each line ends with a line break; the last column is not filled up.
    pub(crate) fn text(&self, colors: bool) -> String {
        let widths = self.widths();
        let mut text = String::new();
        if colors {
            text.push_str("\x1b[1m");
        }
        line(&mut text, &self.heading.map(str::to_owned), widths);
        if colors {
            text.insert_str(text.len() - 1, "\x1b[0m");
        }
        for row in &self.rows {
            let mut cells: [String; N] = std::array::from_fn(|n| match n + 1 == N {
                true => row[n].clone(),
                false => cut(&row[n], widths[n]),
            });
            let mut rest = words(cells.last().map_or("", String::as_str), widths[N - 1]).into_iter();
            if let Some(last) = cells.last_mut() {
                *last = rest.next().unwrap_or_default();
            }
            line(&mut text, &cells, widths);
            for more in rest {
                let mut cells: [String; N] = std::array::from_fn(|_| String::new());
                cells[N - 1] = more;
                line(&mut text, &cells, widths);
            }
        }
        text
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = self.heading.map(|cell| cell.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let over =
            |widths: &[usize; N]| (widths.iter().sum::<usize>() + 2 * (N - 1)).saturating_sub(self.limit);
        let last = widths[N - 1];
        widths[N - 1] = last.saturating_sub(over(&widths)).max(LAST.min(last));
        // The widest first, as far as what is left of it can be told from others.
        for _ in 0..N - 1 {
            let spare = |n: usize| widths[n].saturating_sub(self.heading[n].len().max(LEAST));
            let Some(widest) = (0..N - 1).max_by_key(|n| spare(*n)) else { break };
            let spared = over(&widths).min(spare(widest));
            widths[widest] -= spared;
        }
        widths
    }
}

/// A text of this width at most, without its middle.
fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let (front, back) = ((width - 1) / 2, width - 1 - (width - 1) / 2);
    let chars: Vec<char> = text.chars().collect();
    chars[..front].iter().chain(&['…']).chain(&chars[length - back..]).collect()
}

/// A text in lines of this width; a word that is longer is broken where a line ends.
fn words(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => {
                let letters: Vec<char> = word.chars().collect();
                let parts = letters.chunks(width.max(1)).map(|part| part.iter().collect());
                lines.extend(parts);
                if word.is_empty() {
                    lines.push(String::new());
                }
            }
        }
    }
    lines
}

fn line<const N: usize>(text: &mut String, cells: &[String; N], widths: [usize; N]) {
    let begins = text.len();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(text, "{cell:width$}  ");
    }
    text.truncate(begins + text[begins..].trim_end().len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = TextTable::new(["A", "LONG", "C"]);
        table.row(["1".into(), "2".into(), "3".into()]);
        table.row(["four".into(), "5".into(), "-".into()]);
        assert_eq!(table.text(false), "A     LONG  C\n1     2     3\nfour  5     -\n");
        assert!(table.text(true).starts_with("\x1b[1mA     LONG  C\x1b[0m\n1 "));
    }

    #[test]
    fn lines_have_eighty_columns_at_most() {
        let mut table = TextTable::new(["SHARD", "OWNER", "STATE", "WHY"]);
        let why =
            "it is behind because its handler has failed again and again for a long time, and nobody looks";
        let owner = "orders-consumer-7d9f8b6c5d-x2x4z-0123456789.eu-central-1.compute.internal-17";
        table.row(["shardId-000000000000".into(), owner.into(), "stuck".into(), why.into()]);
        let text = table.text(false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let said: Vec<&str> =
            text.lines().skip(1).map(|line| line.split("  ").last().unwrap().trim()).collect();
        assert_eq!(said.join(" ").replace("stuck ", ""), why, "{text}");
        assert!(text.contains("orders-") && text.contains("internal-17"), "{text}");
        assert_eq!(table.unlimited().text(false).lines().count(), 2);

        // Two long names, and a word that is longer than any line.
        let mut table = TextTable::new(["SHARD", "LAG", "OWNER", "STREAM", "WHY"]);
        let url = format!("https://{}/", "x".repeat(150));
        let stream = "a-stream-with-a-very-long-name-that-nobody-would-give@1700000000000";
        table.row(["shardId-000000000000".into(), "3s".into(), owner.into(), stream.into(), url.clone()]);
        let text = table.text(false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let said: String = text.lines().skip(1).map(|line| line.split("  ").last().unwrap().trim()).collect();
        assert_eq!(said, url, "{text}");
    }
}

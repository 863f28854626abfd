//! Tables for people.

use std::fmt::Write as _;

/// Columns of text under a heading.
#[derive(Debug)]
pub(crate) struct TextTable<const N: usize> {
    heading: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> TextTable<N> {
    pub(crate) fn new(heading: [&'static str; N]) -> Self {
        Self { heading, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Each line ends with a line break; the last column is not filled up.
    pub(crate) fn text(&self, colors: bool) -> String {
        let mut widths = self.heading.map(|cell| cell.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        if colors {
            text.push_str("\x1b[1m");
        }
        line(&mut text, self.heading, widths);
        if colors {
            text.insert_str(text.len() - 1, "\x1b[0m");
        }
        for row in &self.rows {
            line(&mut text, row.each_ref().map(String::as_str), widths);
        }
        text
    }
}

fn line<const N: usize>(text: &mut String, cells: [&str; N], widths: [usize; N]) {
    let begins = text.len();
    for (cell, width) in cells.into_iter().zip(widths) {
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
}

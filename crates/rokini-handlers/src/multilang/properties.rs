//! The format of `java.util.Properties`.

use rokini::{Error, ErrorKind};

/// An error of the application's properties.
pub(super) fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

/// The entries of a file, in its order. A key that is there twice has its last value.
pub(super) fn parse(bytes: &[u8]) -> Vec<(String, String)> {
    // ISO 8859-1: each byte is a character. What is UTF-8 is read as such: Java would garble it.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in logical_lines(&text) {
        let (key, value) = split(&line);
        match entries.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => entries.push((key, value)),
        }
    }
    entries
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Lines without comments, those that go on in the next one joined.
fn logical_lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.split('\n') {
        let line = line.trim_start_matches(is_blank);
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        let backslashes = line.chars().rev().take_while(|c| *c == '\\').count();
        if backslashes % 2 == 1 {
            whole.push_str(&line[..line.len() - 1]);
            open = Some(whole);
        } else {
            whole.push_str(line);
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}

/// Key and value of a line, unescaped. Blanks at the end of a value are left out: they are never meant.
fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let ends = !escaped && (is_blank(*c) || matches!(c, '=' | ':'));
        escaped = !escaped && *c == '\\';
        ends
    });
    let end = end.map_or(line.len(), |(at, _)| at);
    let rest = line[end..].trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    (unescape(&line[..end]), unescape(rest).trim_end().to_owned())
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = rest.clone().take(4).collect();
                if let Some(c) = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                    plain.push(c);
                    rest.nth(3);
                }
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_properties_are_read_as_java_reads_them() {
        let text = b"# comment\n! another = one\n\n  key = value  \nkey2:value2\nkey3 value3\nkey4=a=b\nkey5\n\
            long = one,\\\n   two,\\\n\ttwo and a half\nesc\\ aped\\=key = tab\\there \\u20ac\nwindows=c:\\\\dir\\\\\r\nkey=last\n\
            latin=gr\xfcn\n";
        let wanted = [
            ("key", "last"),
            ("key2", "value2"),
            ("key3", "value3"),
            ("key4", "a=b"),
            ("key5", ""),
            ("long", "one,two,two and a half"),
            ("esc aped=key", "tab\there \u{20ac}"),
            ("windows", "c:\\dir\\"),
            ("latin", "gr\u{fc}n"),
        ];
        let parsed = parse(text);
        let parsed: Vec<_> = parsed.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(parsed, wanted);
    }
}

//! What keeps a worker from doing its part, beside what its shards say.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;
use crate::types::InvalidKey;

/// The most characters of a message.
const MESSAGE_CHARACTERS: usize = 160;
/// The most characters of a code.
const CODE_CHARACTERS: usize = 32;

/// Why a worker that sends heartbeats does not do its part, apart from its shards: its looks at the table fail, for example.
///
/// Its text form is the code, a space, and the message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WorkerTrouble {
    /// A stable code: a word without spaces.
    pub code: String,
    /// What it is, for people: one line.
    pub message: String,
}

impl WorkerTrouble {
    /// Code and message, cut to the 160 characters that a row has room for, in one line.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Self {
        let code = code.split_whitespace().next().unwrap_or("unknown");
        let one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            code: code.chars().take(CODE_CHARACTERS).collect(),
            message: one_line.chars().take(MESSAGE_CHARACTERS).collect(),
        }
    }
}

serde_as_text!(WorkerTrouble);

impl fmt::Display for WorkerTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

impl FromStr for WorkerTrouble {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        match text.split_once(' ') {
            Some((code, message)) if !code.is_empty() => {
                Ok(Self { code: code.to_owned(), message: message.to_owned() })
            }
            _ => Err(InvalidKey::new("a worker's trouble", text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_have_a_text_form_and_are_cut() {
        let trouble = WorkerTrouble::new("coordination-stalled", "not read\n for 12 s: Throttling");
        assert_eq!(trouble.message, "not read for 12 s: Throttling");
        assert_eq!(trouble.to_string().parse(), Ok(trouble));
        let long = WorkerTrouble::new(&"c".repeat(99), &"ä".repeat(999));
        assert_eq!((long.code.len(), long.message.chars().count()), (CODE_CHARACTERS, MESSAGE_CHARACTERS));
        for bad in ["", "code", " message"] {
            assert!(bad.parse::<WorkerTrouble>().is_err(), "{bad}");
        }
    }
}

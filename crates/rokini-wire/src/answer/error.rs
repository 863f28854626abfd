//! Why an answer could not be read.

use std::fmt;

/// Why the body of an answer could not be read, and where: `Records[17].Data: expected a byte string at byte 1234`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerError {
    what: &'static str,
    at: Option<usize>,
    record: Option<usize>,
    member: Option<&'static str>,
}

impl AnswerError {
    /// About the body as a whole.
    pub(super) fn body(what: &'static str) -> Self {
        Self { what, at: None, record: None, member: None }
    }

    /// The byte of the body at which it shows; `None` where it is about the body as a whole.
    #[must_use]
    pub fn at(&self) -> Option<usize> {
        self.at
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.record, self.member) {
            (Some(record), Some(member)) => write!(f, "`Records[{record}].{member}`: ")?,
            (Some(record), None) => write!(f, "`Records[{record}]`: ")?,
            (None, Some(member)) => write!(f, "`{member}`: ")?,
            (None, None) if self.at.is_some() => f.write_str("the body: ")?,
            (None, None) => f.write_str("the body ")?,
        }
        f.write_str(self.what)?;
        self.at.map_or(Ok(()), |at| write!(f, " at byte {at}"))
    }
}

impl std::error::Error for AnswerError {}

/// What is being read, for errors.
#[derive(Debug, Default)]
pub(super) struct Spot {
    pub(super) record: Option<usize>,
    pub(super) member: Option<&'static str>,
}

impl Spot {
    pub(super) fn error(&self, fault: ParseFault) -> AnswerError {
        AnswerError { what: fault.what, at: Some(fault.at), record: self.record, member: self.member }
    }
}

/// What is wrong at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ParseFault {
    pub(super) what: &'static str,
    pub(super) at: usize,
}

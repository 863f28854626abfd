//! The error of this crate: what kind, what happened, what to do next.

use std::error::Error as StdError;
use std::fmt;

use rokini_lease::{StoreError, StoreErrorKind};

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Passing: unreachable, timed out, overloaded. The library retries these by itself.
    Retry,
    /// Refused by a rate limit: goes through later and slower. The library backs off by itself.
    Throttled,
    /// The lease or the worker was given up or taken over. Nothing of it may be used any more.
    Fenced,
    /// A setting is wrong or unknown, or names something that does not exist.
    Configuration,
    /// The credentials do not allow an action.
    Permission,
    /// The records asked for are not there (trimmed, or the shard or stream is gone).
    Data,
    /// User code failed: a processor could not be made or initialised.
    Handler,
    /// A defect of this library or an answer that the API does not document. Please report it.
    Bug,
}

/// An error with a prescriptive kind. The message is one lower-case sentence that says what, where, and what to
/// do next; the cause, if any, is its `source()`.
///
/// `Debug` is a report for people, as `main() -> Result<(), rokini::Error>` prints it: the message, the kind, and each
/// cause on a line of its own.
pub struct Error {
    kind: ErrorKind,
    message: String,
    code: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with its message.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None, source: None }
    }

    /// An [`ErrorKind::Configuration`].
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, message)
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with the code by which a service refused.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The code by which a service refused, such as `AccessDeniedException`. `None` where none did: nobody answered, say.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Retry | ErrorKind::Throttled)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.message, self.kind)?;
        let mut shown = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let text = plain(&error.to_string()).to_owned();
            // Some errors repeat what lies below them.
            if !shown.ends_with(&text) {
                write!(f, "\n  caused by: {text}")?;
            }
            shown = text;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<StoreErrorKind> for ErrorKind {
    fn from(kind: StoreErrorKind) -> Self {
        match kind {
            StoreErrorKind::Unavailable => Self::Retry,
            StoreErrorKind::Throttled => Self::Throttled,
            StoreErrorKind::Permission => Self::Permission,
            StoreErrorKind::MissingTable | StoreErrorKind::InvalidSchema | StoreErrorKind::Configuration => {
                Self::Configuration
            }
            StoreErrorKind::InvalidRow => Self::Data,
            _ => Self::Bug,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = error.kind().into();
        let message = error.to_string();
        match StdError::source(&error) {
            // The message is taken over, so only what lies below it is the source.
            None => Self::new(kind, message),
            Some(_) => Self::new(kind, message).with_source(error),
        }
    }
}

/// The text of an error without the answer that some errors of the SDK put behind it as a value of Rust, body and all.
pub(crate) fn plain(text: &str) -> &str {
    text.split_once(" Response {").map_or(text, |(plain, _)| plain.trim_end_matches('.'))
}

/// The message of an error and of what lies below it.
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = plain(&error.to_string()).to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(plain(&error.to_string()));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_sdk_are_not_dumped() {
        let text = "error response from IMDS (code: 500). Response { status: StatusCode(500), body: SdkBody { inner: ... } }";
        assert_eq!(plain(text), "error response from IMDS (code: 500)");
        assert_eq!(plain("connection reset"), "connection reset");
    }

    #[test]
    fn debug_is_a_report_for_people() {
        let io = std::io::Error::other("connection reset");
        let below = Error::new(ErrorKind::Retry, "the endpoint did not answer").with_source(io);
        let error =
            Error::new(ErrorKind::Permission, "stream `s` cannot be read: allow it").with_source(below);
        assert_eq!(
            format!("{error:?}"),
            "stream `s` cannot be read: allow it (Permission)\n  caused by: the endpoint did not answer\n  \
             caused by: connection reset"
        );
        assert_eq!(
            with_causes(&error),
            "stream `s` cannot be read: allow it: the endpoint did not answer: connection reset"
        );
    }
}

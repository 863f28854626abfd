//! How a command ends: the exit statuses, and an error that says what happened, why, and what to do next.

use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

use rokini::ErrorKind;

/// An exit status. `rokini --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u8);

impl Status {
    pub(crate) const DONE: Self = Self(0);
    pub(crate) const FAILED: Self = Self(1);
    pub(crate) const USAGE: Self = Self(2);
    pub(crate) const PERMISSION: Self = Self(3);
    pub(crate) const UNAVAILABLE: Self = Self(4);
    pub(crate) const DEFECT: Self = Self(70);

    /// The status that shells give to a process ended by a signal.
    pub(crate) fn signal(number: u8) -> Self {
        Self(128 + number)
    }

    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Retry | ErrorKind::Throttled => Self::UNAVAILABLE,
            ErrorKind::Configuration => Self::USAGE,
            ErrorKind::Permission => Self::PERMISSION,
            ErrorKind::Fenced | ErrorKind::Data | ErrorKind::Handler => Self::FAILED,
            _ => Self::DEFECT,
        }
    }

    /// For the `--json` form of an error.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DONE => "done",
            Self::FAILED => "failed",
            Self::USAGE => "configuration",
            Self::PERMISSION => "permission",
            Self::UNAVAILABLE => "unavailable",
            Self::DEFECT => "defect",
            _ => "interrupted",
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.0)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) status: Status,
    /// What happened and where, in a sentence without a full stop.
    pub(crate) what: String,
    /// Why, the nearest cause first.
    pub(crate) why: Vec<String>,
    /// What to do or which command to run next.
    pub(crate) next: Option<String>,
    /// The reader of standard output went away: no failure of the command.
    pub(crate) reader_gone: bool,
}

/// Layers of the SDK whose own message only says that there is a cause below.
const SAYS_NOTHING: &[&str] =
    &["io error", "service error", "dispatch failure", "unhandled error", "client error"];

impl CliError {
    pub(crate) fn new(status: Status, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), why: Vec::new(), next: None, reader_gone: false }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Status::USAGE, what)
    }

    /// Adds a cause and the causes below it. What one repeats of the text so far is left out.
    pub(crate) fn because(mut self, cause: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors of the SDK put the answer behind, as a value of Rust.
            let text = text.split_once(" Response {").map_or(text.as_str(), |(text, _)| text).to_owned();
            let says_nothing = SAYS_NOTHING.contains(&text.as_str()) || was_taken_for_a_defect(cause);
            if !says_nothing
                && !self.what.contains(&text)
                && self.why.last().is_none_or(|last| !last.contains(&text))
            {
                self.why.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Adds a cause that has no error of its own.
    pub(crate) fn reason(mut self, reason: impl Into<String>) -> Self {
        self.why.push(reason.into());
        self
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// A failed write to standard output.
    pub(crate) fn output(kind: io::ErrorKind, message: &str) -> Self {
        let mut error = Self::new(Status::FAILED, format!("cannot write to standard output: {message}"));
        error.reader_gone = kind == io::ErrorKind::BrokenPipe;
        error
    }
}

/// An answer that nothing is known about at first, by itself. Whoever caught it knows what it means, and its cause has the
/// service's own words.
fn was_taken_for_a_defect(cause: &(dyn StdError + 'static)) -> bool {
    let defect = cause.downcast_ref::<rokini::Error>().filter(|error| error.kind() == ErrorKind::Bug);
    defect.is_some_and(|error| error.source().is_some())
}

impl From<rokini::Error> for CliError {
    fn from(error: rokini::Error) -> Self {
        let text = error.to_string();
        // A consumer goes on trying; a command ends.
        let what = text.split_once(": it is tried again").map_or(text.as_str(), |(what, _)| what);
        let mut result = Self::new(Status::of(error.kind()), what);
        if error.kind() == ErrorKind::Bug {
            result = result.next("report this");
        }
        match StdError::source(&error) {
            Some(cause) => result.because(cause),
            None => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_not_repeated() {
        let inner = rokini::Error::new(ErrorKind::Retry, "connection refused");
        let outer = rokini::Error::new(ErrorKind::Retry, "no answer: connection refused").with_source(inner);
        let outermost = rokini::Error::new(ErrorKind::Retry, "cannot describe").with_source(outer);
        let error = CliError::from(outermost);
        assert_eq!(error.status, Status::UNAVAILABLE);
        assert_eq!(
            (error.what.as_str(), error.why),
            ("cannot describe", vec!["no answer: connection refused".into()])
        );
    }

    #[test]
    fn what_is_explained_above_is_no_defect() {
        let service = rokini::Error::new(ErrorKind::Data, "the number is invalid");
        let unknown = || rokini::Error::new(ErrorKind::Bug, "should not happen: please report it");
        let known = rokini::Error::new(ErrorKind::Data, "the position is of another shard");
        let error = CliError::from(known.with_source(unknown().with_source(service)));
        assert_eq!(error.why, ["the number is invalid"]);
        let error = CliError::usage("it is refused").because(&unknown());
        assert_eq!(error.why, ["should not happen: please report it"], "where nothing else is known");
    }

    #[test]
    fn a_command_does_not_say_that_it_goes_on_trying() {
        for (said, shown) in [
            (
                "kinesis:PutRecords on stream `a` is throttled (X): it is tried again more slowly",
                "is throttled (X)",
            ),
            ("no answer in time: it is tried again", "no answer in time"),
            ("cannot be reached: check the network", "cannot be reached: check the network"),
        ] {
            let error = CliError::from(rokini::Error::new(ErrorKind::Retry, said));
            assert!(error.what.ends_with(shown), "{}", error.what);
        }
    }

    #[test]
    fn a_defect_is_not_a_mistake_of_the_user() {
        for (kind, status) in [
            (ErrorKind::Bug, Status::DEFECT),
            (ErrorKind::Configuration, Status::USAGE),
            (ErrorKind::Permission, Status::PERMISSION),
            (ErrorKind::Throttled, Status::UNAVAILABLE),
        ] {
            assert_eq!(CliError::from(rokini::Error::new(kind, "x")).status, status);
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert!(CliError::output(io::ErrorKind::BrokenPipe, "x").reader_gone);
        assert!(!CliError::output(io::ErrorKind::StorageFull, "x").reader_gone);
    }
}

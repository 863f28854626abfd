//! One thing that was looked at.

use std::time::Duration;

use serde::Serialize;

/// How long a check may wait for one call: all of it is over within 10 s also where an endpoint is silent, which is waited
/// for once for each service.
pub(super) const CALL_WAIT: Duration = Duration::from_secs(3);

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckStatus {
    Ok,
    /// It works, and may not for long or at a price.
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) status: CheckStatus,
    /// A stable name.
    pub(super) name: String,
    pub(super) what: String,
    pub(super) next: Option<String>,
}

impl Check {
    fn new(status: CheckStatus, name: impl Into<String>, what: impl Into<String>) -> Self {
        Self { status, name: name.into(), what: what.into(), next: None }
    }

    pub(super) fn ok(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(CheckStatus::Ok, name, what)
    }

    pub(super) fn warn(name: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..Self::new(CheckStatus::Warn, name, what) }
    }

    pub(super) fn fail(name: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..Self::new(CheckStatus::Fail, name, what) }
    }
}

/// A line for each, and the next step below those that are not well.
pub(super) fn text(checks: &[Check], colors: bool) -> String {
    let mut text = String::new();
    for check in checks {
        let (word, color) = match check.status {
            CheckStatus::Ok => ("ok  ", "\x1b[32m"),
            CheckStatus::Warn => ("warn", "\x1b[33m"),
            CheckStatus::Fail => ("FAIL", "\x1b[1;31m"),
        };
        let (color, reset) = if colors { (color, "\x1b[0m") } else { ("", "") };
        text += &format!("{color}{word}{reset}  {}: {}\n", check.name, check.what);
        text += &check.next.as_ref().map(|next| format!("      next: {next}\n")).unwrap_or_default();
    }
    text
}

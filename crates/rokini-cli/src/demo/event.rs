//! Something that happened in a run.

use std::time::Duration;

use serde::Serialize;

use super::format::millis;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunEvent {
    #[serde(rename = "at_ms", serialize_with = "millis")]
    pub(crate) at: Duration,
    pub(crate) event: &'static str,
    pub(crate) text: String,
}

impl RunEvent {
    pub(crate) fn new(at: Duration, event: &'static str, text: String) -> Self {
        Self { at, event, text }
    }
}

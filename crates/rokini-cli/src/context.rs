//! What every command gets.

use crate::stop::Stop;
use crate::ui::Ui;

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// `--json`
    pub(crate) json: bool,
    /// Standard error.
    pub(crate) ui: Ui,
    /// Cancelled by the first signal.
    pub(crate) stop: Stop,
}

//! Why kept streams cannot be used.

use std::path::{Path, PathBuf};

/// Why the streams kept in a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the streams kept in `{}`: {next}", path.display())]
pub struct DataError {
    action: &'static str,
    next: &'static str,
    path: PathBuf,
    source: BoxError,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl DataError {
    pub(super) fn new(
        action: &'static str,
        next: &'static str,
        path: &Path,
        source: impl Into<BoxError>,
    ) -> Self {
        Self { action, next, path: path.to_owned(), source: source.into() }
    }
}

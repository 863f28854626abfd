//! The tables of DynamoDB in a file.

use std::path::{Path, PathBuf};

use rokini_local::{Database, DynamoError, open_file};

use crate::context::Context;

/// What is damaged is set aside, and the streams are served. What cannot be opened for another reason, such as a full disk, stays
/// as it is.
pub(super) fn open_database(file: &Path, context: &Context) -> Result<Database, DynamoError> {
    let error = match open_file(file) {
        Err(error @ DynamoError::Damaged(_)) => error,
        opened => return opened,
    };
    let named = |number: u32| PathBuf::from(format!("{}.damaged-{number}", file.display()));
    let Some(aside) = (1..=99).map(named).find(|aside| !aside.exists()) else { return Err(error) };
    if std::fs::rename(file, &aside).is_err() {
        return Err(error);
    }
    for beside in ["-wal", "-shm"] {
        // They belong to it, where there are any.
        let _ =
            std::fs::rename(format!("{}{beside}", file.display()), format!("{}{beside}", aside.display()));
    }
    context.ui.warn(format_args!(
        "the tables in `{}` cannot be read ({error}): the file is set aside as `{}`, and DynamoDB begins empty",
        file.display(),
        aside.display()
    ));
    open_file(file)
}

//! The tables of DynamoDB in a file.

use std::path::{Path, PathBuf};

use rokini_local::{Database, DynamoError, open_file, read_file};

use crate::context::Context;

/// The tables, and whether changes are kept.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) is_kept: bool,
}

/// What is damaged is set aside, and the streams are served. What cannot be opened for another reason, such as a full disk, stays
/// as it is: it is served if it can be read, and not changed.
pub(super) fn open_database(file: &Path, context: &Context) -> Result<Opened, DynamoError> {
    let kept = |database| Opened { database, is_kept: true };
    let error = match open_file(file) {
        Ok(database) => return Ok(kept(database)),
        Err(error @ DynamoError::Damaged(_)) => error,
        Err(error) => {
            let database = match file.try_exists() {
                Ok(true) => read_file(file).map_err(|_| error)?,
                // The streams were there before it: nobody has used a table yet.
                Ok(false) => Database::memory().map_err(|error| DynamoError::Open(error.to_string()))?,
                Err(_) => return Err(error),
            };
            context.ui.warn(format_args!(
                "`{}` cannot be written: its tables are served as they are, and changes are refused until the next start",
                file.display()
            ));
            return Ok(Opened { database, is_kept: false });
        }
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
    open_file(file).map(kept)
}

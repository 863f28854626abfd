//! The Rust files of this repository.

use std::fs;
use std::path::{Path, PathBuf};

/// A file and its text.
pub(crate) struct Source {
    /// From the folder that was asked about.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The Rust files below a folder in the order of their paths, without what was built.
pub(crate) fn rust_files(folder: &Path) -> Result<Vec<Source>, String> {
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Source { path: path.strip_prefix(folder).unwrap_or(&path).to_owned(), text })
    };
    paths.into_iter().map(read).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let wrong = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != ".git" {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

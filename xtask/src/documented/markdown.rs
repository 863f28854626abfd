//! The commands in a Markdown text: lines of its shell blocks, and code spans that begin like one.

use std::path::{Path, PathBuf};

use super::words;

/// A command, and where it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) place: String,
    pub(crate) command: String,
}

/// The Markdown files of the repository, from its root.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(root.join(&folder))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.filter_map(Result::ok) {
            let path = folder.join(entry.file_name());
            // Links lead to files that are looked at where they are.
            let kind = entry.file_type().map_err(|error| error.to_string())?;
            if kind.is_dir() && path != Path::new("target") && path != Path::new(".git") {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The commands of one text.
pub(crate) fn commands(path: &Path, text: &str) -> Vec<Shown> {
    let mut found = Vec::new();
    // The language of the block that a line is in.
    let mut block: Option<&str> = None;
    let mut begun = String::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(fence.trim()) };
            continue;
        }
        let mut add = |command: &str| {
            found.extend(
                words::commands(command).into_iter().map(|command| Shown { place: place.clone(), command }),
            );
        };
        match block {
            Some("sh" | "bash" | "shell" | "console") => {
                let line = line.trim().trim_start_matches("$ ");
                if let Some(line) = line.strip_suffix('\\') {
                    begun.push_str(line);
                } else {
                    add(&format!("{begun}{line}"));
                    begun.clear();
                }
            }
            Some(_) => {}
            None => {
                let spans = line.split('`').skip(1).step_by(2);
                spans
                    .filter(|span| ["cargo ", "rokini ", ".ci/"].iter().any(|begin| span.starts_with(begin)))
                    .for_each(add);
            }
        }
    }
    found
}

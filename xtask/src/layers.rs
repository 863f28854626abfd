//! Which file imports which, held against the order of the rooms.
//!
//! An arrow goes from a file to the deepest module file that a path in it names; tests are left out, and `mod x;` alone is
//! no arrow. What is wrong: a circle of files, an arrow to a room that is not below, an import through the crate's root,
//! a crate or a part of `std` that the table does not give to this one.

mod graph;
mod imports;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use self::graph::Arrow;
use self::imports::{Import, imports};
use self::table::{CrateRules, Table};
use crate::shell::{Outcome, root};
use crate::sources::{Source, rust_files};
use crate::tokens::{tokens, without_tests};

pub(crate) fn task(_: &[String]) -> Outcome {
    let found = check(&root())?;
    if found.is_empty() { Ok(()) } else { Err(found.join("\nerror: ")) }
}

/// What the crates of a workspace import that the table in `xtask/layers.txt` does not allow, with both files and the line.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(root.join("xtask/layers.txt"))
        .map_err(|error| format!("xtask/layers.txt: {error}"))?;
    let table = Table::parse(&text)?;
    let mut found = unnamed(root, &table)?;
    for rules in &table.crates {
        found.extend(Package::read(root, &rules.folder)?.check(rules, &table));
    }
    Ok(found)
}

/// Folders of crates that the table does not name: nobody would read them.
fn unnamed(root: &Path, table: &Table) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(root.join("crates")).map_err(|error| format!("crates: {error}"))?;
    let mut folders: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| format!("crates/{}", entry.file_name().to_string_lossy()))
        .filter(|folder| !table.crates.iter().any(|rules| rules.folder == *folder))
        .map(|folder| format!("{folder}: xtask/layers.txt does not name this crate"))
        .collect();
    folders.sort();
    Ok(folders)
}

/// A module file.
struct File {
    /// From the root of the workspace.
    path: PathBuf,
    imports: Vec<Import>,
    /// The binary's root beside a library.
    is_program: bool,
}

/// The module files of a package by their place in its tree of modules.
struct Package {
    files: BTreeMap<Vec<String>, File>,
}

impl Package {
    fn read(root: &Path, folder: &str) -> Result<Self, String> {
        let source = Path::new(folder).join("src");
        Ok(Self::new(&source, &rust_files(&root.join(&source))?))
    }

    /// Out of the files below a folder.
    fn new(folder: &Path, sources: &[Source]) -> Self {
        let has_library = sources.iter().any(|source| source.path == Path::new("lib.rs"));
        let (mut files, mut for_tests) = (BTreeMap::new(), Vec::new());
        for Source { path, text } in sources {
            let mut module: Vec<String> =
                path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
            let is_program = has_library && module == ["main"];
            if module == ["lib"] || module == ["main"] && !has_library {
                module.clear();
            }
            let (kept, test_modules) = without_tests(&tokens(text));
            for_tests.extend(test_modules.into_iter().map(|name| [&module[..], &[name]].concat()));
            files.insert(module, File { path: folder.join(path), imports: imports(&kept), is_program });
        }
        files.retain(|module, _| !for_tests.iter().any(|test| module.starts_with(test)));
        Self { files }
    }

    /// The module file that a path of the module leads to, where it leads to one of this package.
    fn target(&self, module: &[String], path: &[String]) -> Option<usize> {
        let up = path.iter().take_while(|segment| *segment == "super").count();
        let (mut base, rest) = match path.first().map(String::as_str)? {
            "crate" => (Vec::new(), &path[1..]),
            "self" => {
                let up = path[1..].iter().take_while(|segment| *segment == "super").count();
                (module[..module.len().checked_sub(up)?].to_vec(), &path[1 + up..])
            }
            "super" => (module[..module.len().checked_sub(up)?].to_vec(), &path[up..]),
            first if self.files.contains_key(&[module, &[first.to_owned()]].concat()) => {
                (module.to_vec(), path)
            }
            _ => return None,
        };
        for segment in rest {
            base.push(segment.clone());
            if !self.files.contains_key(&base) {
                base.pop();
                break;
            }
        }
        self.files.keys().position(|known| *known == base)
    }

    fn check(&self, rules: &CrateRules, table: &Table) -> Vec<String> {
        let files: Vec<(&Vec<String>, &File)> = self.files.iter().collect();
        let mut found = Vec::new();
        let mut arrows: Vec<Arrow> = Vec::new();
        for (from, (module, file)) in files.iter().enumerate() {
            for Import { path, line } in &file.imports {
                match self.target(module, path).filter(|_| !file.is_program) {
                    Some(to)
                        if to == from || arrows.iter().any(|arrow| (arrow.from, arrow.to) == (from, to)) => {}
                    Some(to) => arrows.push(Arrow { from, to, line: *line }),
                    None => {
                        let why = table.refuses(rules, module, path);
                        found.extend(why.map(|why| format!("{}:{line} {why}", file.path.display())));
                    }
                }
            }
        }
        for arrow in &arrows {
            let ((from, file), (to, target)) = (files[arrow.from], files[arrow.to]);
            let place = format!("{}:{} imports {}", file.path.display(), arrow.line, target.path.display());
            if to.is_empty() {
                found.push(format!("{place}: name the file that defines the thing, not the crate's root"));
            } else if !from.is_empty() && !rules.below(&to[0], &from[0]) {
                found.push(format!("{place}: the room `{}` is not below `{}`", to[0], from[0]));
            }
        }
        for (module, file) in &files {
            if let Some(room) = module.first().filter(|room| !file.is_program && !rules.has_room(room)) {
                found.push(format!("{}: the room `{room}` is not in the table", file.path.display()));
            }
        }
        for circle in graph::circles(files.len(), &inner(&files, &arrows)) {
            let lines: Vec<String> = circle
                .iter()
                .map(|arrow| {
                    let (from, to) = (files[arrow.from].1, files[arrow.to].1);
                    format!("\n    {}:{} imports {}", from.path.display(), arrow.line, to.path.display())
                })
                .collect();
            found.push(format!("a circle of {} files:{}", circle.len(), lines.concat()));
        }
        found.dedup();
        found
    }
}

/// Without the arrows to and from the root, which imports everything and is imported by nobody.
fn inner(files: &[(&Vec<String>, &File)], arrows: &[Arrow]) -> Vec<Arrow> {
    let is_root = |file: usize| files[file].0.is_empty();
    arrows.iter().copied().filter(|arrow| !is_root(arrow.from) && !is_root(arrow.to)).collect()
}

#[cfg(test)]
mod tests;

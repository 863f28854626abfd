//! The table in `xtask/layers.txt`.

/// What all crates may import.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) crates: Vec<CrateRules>,
}

/// What one crate may import, and the order of its rooms.
#[derive(Debug, Default)]
pub(crate) struct CrateRules {
    pub(crate) name: String,
    /// From the root of the workspace.
    pub(crate) folder: String,
    /// Other crates of the workspace.
    may: Vec<String>,
    /// Bottom to top; the rooms of a line do not import each other.
    layers: Vec<Vec<String>>,
    /// Paths outside of the crate that it may not name, with the room that may not, or all.
    never: Vec<(Option<String>, Vec<String>)>,
}

impl Table {
    /// A crate begins with `[folder]`; its lines are `may import CRATE...`, `never PATH...`, `ROOM never
    /// PATH...`, and `layer ROOM...` from the bottom to the top. `#` begins a comment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let wrong = || format!("xtask/layers.txt:{}: `{line}` is not understood", number + 1);
            if let Some(folder) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                let name = folder.rsplit('/').next().unwrap_or(folder).to_owned();
                table.crates.push(CrateRules { name, folder: folder.to_owned(), ..CrateRules::default() });
                continue;
            }
            let paths =
                |words: &[String]| words.iter().map(|path| (None, segments(path))).collect::<Vec<_>>();
            match (&words[..], table.crates.last_mut()) {
                ([], _) => {}
                ([may, import, crates @ ..], Some(rules)) if may == "may" && import == "import" => {
                    rules.may.extend_from_slice(crates);
                }
                ([never, words @ ..], Some(rules)) if never == "never" => rules.never.extend(paths(words)),
                ([layer, rooms @ ..], Some(rules)) if layer == "layer" => rules.layers.push(rooms.to_vec()),
                ([room, never, words @ ..], Some(rules)) if never == "never" => {
                    rules.never.extend(words.iter().map(|path| (Some(room.clone()), segments(path))));
                }
                _ => return Err(wrong()),
            }
        }
        Ok(table)
    }

    /// Why this crate may not name this path outside of itself.
    pub(crate) fn refuses(&self, rules: &CrateRules, module: &[String], path: &[String]) -> Option<String> {
        let first = path.first()?;
        let other = self.crates.iter().find(|other| other.name.replace('-', "_") == *first);
        if let Some(other) =
            other.filter(|other| other.name != rules.name && !rules.may.contains(&other.name))
        {
            let name = &rules.name;
            return Some(format!(
                "imports {}/src/lib.rs: `{name}` may not import `{}`",
                other.folder, other.name
            ));
        }
        let forbidden = |(room, never): &&(Option<String>, Vec<String>)| {
            path.starts_with(never) && room.as_ref().is_none_or(|room| module.first() == Some(room))
        };
        let (room, never) = rules.never.iter().find(forbidden)?;
        let who = room.as_ref().unwrap_or(&rules.name);
        Some(format!("names `{}`: `{who}` may not use `{}`", path.join("::"), never.join("::")))
    }
}

impl CrateRules {
    fn height(&self, room: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.iter().any(|other| other == room))
    }

    /// Crates without layers are looked through for circles only.
    pub(crate) fn has_room(&self, room: &str) -> bool {
        self.layers.is_empty() || self.height(room).is_some()
    }

    /// Whether the room `above` may import the room `below`. A room imports itself as it likes.
    pub(crate) fn below(&self, below: &str, above: &str) -> bool {
        match (self.height(below), self.height(above)) {
            _ if below == above => true,
            (Some(below), Some(above)) => below < above,
            _ => true,
        }
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

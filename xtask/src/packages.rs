//! What would be published, and which features there are.

use std::fs;
use std::path::PathBuf;

use crate::shell::{Outcome, cargo, output, root};
use crate::sources::rust_files;
use crate::tokens::tokens;

/// Libraries whose names are not those of their packages.
const NAMES: [(&str, &str); 2] = [("dynoxide-rs", "dynoxide"), ("md-5", "md5")];
/// What every package holds.
const FILES: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// A manifest, read line by line: as much of it as the tasks need.
pub(crate) struct Manifest {
    pub(crate) folder: PathBuf,
    text: String,
}

impl Manifest {
    /// Those of the workspace.
    pub(crate) fn all() -> Result<Vec<Self>, String> {
        let entries = fs::read_dir(root().join("crates")).map_err(|error| error.to_string())?;
        let mut folders: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        folders.sort();
        folders.extend(["sim", "benches", "xtask"].map(|name| root().join(name)));
        let read = |folder: PathBuf| match fs::read_to_string(folder.join("Cargo.toml")) {
            Ok(text) => Ok(Self { folder, text }),
            Err(error) => Err(format!("{}: {error}", folder.display())),
        };
        folders.into_iter().map(read).collect()
    }

    /// The keys and values of a table.
    fn table(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let header = format!("[{name}]");
        let lines = self.text.lines().skip_while(move |line| *line != header).skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "))
    }

    pub(crate) fn name(&self) -> &str {
        self.table("package").find(|(key, _)| *key == "name").map_or("", |(_, value)| value.trim_matches('"'))
    }

    pub(crate) fn is_published(&self) -> bool {
        !self.table("package").any(|(key, value)| key == "publish" && value == "false")
    }

    /// The names of its programs, where they are given.
    pub(crate) fn programs(&self) -> Vec<String> {
        let blocks = self.text.split("[[bin]]").skip(1);
        let named = blocks.filter_map(|block| block.split("name = \"").nth(1)?.split('"').next());
        let named: Vec<String> = named.map(str::to_owned).collect();
        let has_program = named.is_empty() && self.folder.join("src/main.rs").exists();
        if has_program { vec![self.name().to_owned()] } else { named }
    }

    fn features(&self) -> Vec<&str> {
        self.table("features").map(|(feature, _)| feature).filter(|feature| *feature != "default").collect()
    }

    /// Dependencies that no file names: those of the library in its sources, those of the tests anywhere.
    fn unused(&self) -> Result<Vec<String>, String> {
        let mut unused = Vec::new();
        for (table, folders) in
            [("dependencies", &["src"][..]), ("dev-dependencies", &["src", "tests", "examples"])]
        {
            let mut named = std::collections::BTreeSet::new();
            for folder in
                folders.iter().map(|folder| self.folder.join(folder)).filter(|folder| folder.exists())
            {
                for source in rust_files(&folder)? {
                    named.extend(
                        tokens(&source.text).iter().filter_map(|token| token.word().map(str::to_owned)),
                    );
                }
            }
            if table == "dev-dependencies" {
                named.extend(self.documented_words()?);
            }
            for (key, _) in self.table(table) {
                let package = key.strip_suffix(".workspace").unwrap_or(key);
                let library =
                    NAMES.iter().find(|(name, _)| *name == package).map_or(package, |(_, library)| library);
                if !named.contains(&library.replace('-', "_")) {
                    unused.push(format!("{}: `{package}` stands in [{table}] and is not used", self.name()));
                }
            }
        }
        Ok(unused)
    }

    /// The words of the page at the root, where its programs are documentation tests of this crate.
    fn documented_words(&self) -> Result<Vec<String>, String> {
        let library = fs::read_to_string(self.folder.join("src/lib.rs")).unwrap_or_default();
        if !library.contains("include_str!(\"../../../README.md\")") {
            return Ok(Vec::new());
        }
        let page =
            fs::read_to_string(root().join("README.md")).map_err(|error| format!("README.md: {error}"))?;
        Ok(page.split(|c: char| c != '_' && !c.is_alphanumeric()).map(str::to_owned).collect())
    }
}

fn unused() -> Result<Vec<String>, String> {
    let unused: Result<Vec<_>, _> = Manifest::all()?.iter().map(Manifest::unused).collect();
    Ok(unused?.concat())
}

/// The options that leave out what is not published.
pub(crate) fn published() -> Result<Vec<String>, String> {
    let kept: Vec<Manifest> = Manifest::all()?.into_iter().filter(Manifest::is_published).collect();
    Ok(kept.iter().flat_map(|manifest| ["--package".to_owned(), manifest.name().to_owned()]).collect())
}

/// Packs every crate that is published as crates.io gets it, and builds it from there.
pub(crate) fn package(arguments: &[String]) -> Outcome {
    let unused = unused()?;
    if !unused.is_empty() {
        return Err(unused.join("\nerror: "));
    }
    for manifest in Manifest::all()?.iter().filter(|manifest| manifest.is_published()) {
        let list =
            output(env!("CARGO"), &["package", "--list", "--allow-dirty", "--package", manifest.name()])?;
        for file in FILES {
            if !list.lines().any(|line| line == file) {
                return Err(format!("{}: its package has no {file}", manifest.name()));
            }
        }
    }
    let packages = published()?;
    let more = packages.iter().chain(arguments).map(String::as_str);
    cargo(&["package", "--locked", "--allow-dirty"].into_iter().chain(more).collect::<Vec<_>>())
}

/// Builds the examples and tests of every crate that has features without any, with each alone, and with all.
pub(crate) fn features(_: &[String]) -> Outcome {
    for manifest in Manifest::all()? {
        let features = manifest.features();
        if features.is_empty() {
            continue;
        }
        let check = |sets: &[&str]| {
            let target =
                ["clippy", "--quiet", "--package", manifest.name(), "--all-targets", "--no-default-features"];
            cargo(&[&target[..], sets, &["--", "--deny", "warnings"]].concat())
        };
        check(&[])?;
        for feature in features {
            check(&["--features", feature])?;
        }
        check(&["--all-features"])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Manifest, root};

    fn manifest(text: &str) -> Manifest {
        let folder = std::env::temp_dir().join(format!("rokini-manifest-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(
            folder.join("src/lib.rs"),
            "// thiserror::Error\nuse tokio::time; fn f() { md5::of(); }",
        )
        .unwrap();
        Manifest { folder, text: text.to_owned() }
    }

    #[test]
    fn a_dependency_that_is_not_used_is_found() {
        let manifest = manifest(
            "[package]\nname = \"a\"\n\n[features]\ndefault = [\"b\"]\nb = []\n\n[dependencies]\nthiserror.workspace = true\n\
             tokio.workspace = true\nmd-5.workspace = true\n\n[dev-dependencies]\naws-x = { workspace = true }\n",
        );
        assert_eq!(
            manifest.unused().unwrap(),
            [
                "a: `thiserror` stands in [dependencies] and is not used",
                "a: `aws-x` stands in [dev-dependencies] and is not used",
            ]
        );
        assert_eq!((manifest.name(), manifest.features()), ("a", vec!["b"]));
        std::fs::remove_dir_all(&manifest.folder).unwrap();
    }

    #[test]
    fn the_table_of_features_on_the_front_page_is_whole() {
        let manifest = Manifest::all().unwrap().into_iter().find(|one| one.name() == "rokini").unwrap();
        let page = std::fs::read_to_string(manifest.folder.join("README.md")).unwrap();
        let default = manifest.table("features").find(|(feature, _)| *feature == "default").unwrap().1;
        let expected = |feature: &&str| {
            let is_default = if default.contains(&format!("\"{feature}\"")) { "yes " } else { "" };
            format!("| `{feature}` | {is_default}| ")
        };
        let lines = page.lines().filter(|line| line.starts_with("| `"));
        let mut features = manifest.features();
        features.sort_unstable();
        let mut shown: Vec<&str> = lines.clone().filter_map(|line| line.split('`').nth(1)).collect();
        shown.sort_unstable();
        assert_eq!(shown, features);
        for feature in &features {
            assert!(lines.clone().any(|line| line.starts_with(&expected(feature))), "{}", expected(feature));
        }
    }

    #[test]
    fn every_fuzz_target_runs_nightly() {
        let manifest = std::fs::read_to_string(root().join("crates/rokini-wire/fuzz/Cargo.toml")).unwrap();
        let programs = manifest.split("[[bin]]").skip(1);
        let mut targets: Vec<&str> = programs.map(|program| program.split('"').nth(1).unwrap()).collect();
        targets.sort_unstable();
        let workflow = std::fs::read_to_string(root().join(".github/workflows/nightly.yml")).unwrap();
        assert!(workflow.contains(&format!("target: [{}]", targets.join(", "))), "{targets:?}");
    }

    #[test]
    fn every_dependency_of_this_workspace_is_used() {
        let unused: Vec<String> =
            Manifest::all().unwrap().iter().flat_map(|one| one.unused().unwrap()).collect();
        assert_eq!(unused, [""; 0]);
    }
}

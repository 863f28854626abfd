//! The recipes of images, read line by line: no container engine is needed to see that what they name is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const RECIPES: [&str; 2] = ["deploy/Dockerfile", "deploy/static/Dockerfile"];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What one `FROM` begins.
#[derive(Debug, Default)]
struct Stage {
    base: String,
    instructions: Vec<(String, String)>,
}

impl Stage {
    fn of<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a str> {
        self.instructions.iter().filter(move |(name, _)| name == wanted).map(|(_, rest)| rest.as_str())
    }

    /// What a `RUN` makes of a path, or what is said to be there by the packages it installs.
    fn makes(&self, path: &str) -> bool {
        let runs = self.of("RUN").flat_map(|run| run.split("&&")).map(str::trim);
        let working = self.of("WORKDIR").last().unwrap_or("/");
        let mut commands = runs.map(|command| command.split_whitespace().collect::<Vec<_>>());
        commands.any(|words| match words[..] {
            ["mkdir", made] => made == path,
            ["apk", "add", ref packages @ ..] => {
                path == "/etc/ssl/certs/ca-certificates.crt" && packages.contains(&"ca-certificates")
            }
            ["cargo", "build", ref arguments @ ..] => {
                let value = |name: &str| arguments.iter().skip_while(|word| **word != name).nth(1).copied();
                let target = value("--target").map(|target| format!("{target}/")).unwrap_or_default();
                let profile = if arguments.contains(&"--release") { "release" } else { "debug" };
                let binary = value("--bin").unwrap();
                path == format!("{working}/target/{target}{profile}/{binary}")
            }
            _ => false,
        })
    }
}

/// The stages of a recipe with their names; the last one has none.
fn stages(recipe: &str) -> Vec<(Option<String>, Stage)> {
    let text = read(recipe).replace("\\\n", " ");
    let mut stages: Vec<(Option<String>, Stage)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, rest) = line.split_once(' ').unwrap();
        if instruction == "FROM" {
            let mut words = rest.split(" AS ");
            let base = words.next().unwrap().to_owned();
            stages.push((words.next().map(str::to_owned), Stage { base, ..Stage::default() }));
        } else {
            let (_, stage) = stages.last_mut().unwrap();
            stage.instructions.push((instruction.to_owned(), rest.to_owned()));
        }
    }
    stages
}

/// Whether a package has this binary, as cargo reads the workspace.
fn has_binary(package: &str, binary: &str) -> bool {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"]))
            .unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let found = packages.find(|one| one["name"] == package);
    found.is_some_and(|package| {
        let targets = package["targets"].as_array().unwrap();
        targets.iter().any(|target| target["name"] == binary && target["kind"][0] == "bin")
    })
}

#[test]
fn what_an_image_copies_is_made_before_and_cargo_knows_what_it_is_told() {
    let help = cargo(&["build", "--help"]);
    for recipe in RECIPES {
        let stages = stages(recipe);
        let (last, before) = stages.split_last().unwrap();
        let named: BTreeMap<&str, &Stage> =
            before.iter().map(|(name, stage)| (name.as_deref().unwrap(), stage)).collect();
        let (mut copied, mut builds) = (BTreeSet::new(), 0);
        for copy in last.1.of("COPY") {
            let words: Vec<&str> = copy.split_whitespace().collect();
            let (options, paths) = words.split_at(words.len() - 2);
            let from = options.iter().find_map(|option| option.strip_prefix("--from=")).unwrap();
            assert!(named[from].makes(paths[0]), "{recipe}: nothing makes {}", paths[0]);
            copied.insert(paths[1]);
            // What is its own is for whoever runs it.
            if let Some(owner) = options.iter().find_map(|option| option.strip_prefix("--chown=")) {
                assert_eq!(last.1.of("USER").last(), Some(owner), "{recipe}");
            }
        }
        let entry: Vec<String> = serde_json::from_str(last.1.of("ENTRYPOINT").last().unwrap()).unwrap();
        assert!(entry.len() == 1 && copied.contains(entry[0].as_str()), "{recipe}: {entry:?}");
        for build in named.values().flat_map(|stage| stage.of("RUN")).flat_map(|run| run.split("&&")) {
            let words: Vec<&str> = build.split_whitespace().collect();
            let ["cargo", "build", ref arguments @ ..] = words[..] else { continue };
            builds += 1;
            for option in arguments.iter().filter(|word| word.starts_with('-')) {
                let is_known = help
                    .split(|c: char| c.is_whitespace() || c == ',')
                    .any(|word| word.split(['=', '[', '<']).next() == Some(*option));
                assert!(is_known, "{recipe}: cargo build has no {option}");
            }
            let value = |name: &str| *arguments.iter().skip_while(|word| **word != name).nth(1).unwrap();
            assert!(has_binary(value("--package"), value("--bin")), "{recipe}: {arguments:?}");
        }
        assert_eq!(builds, 1, "{recipe}");
        assert!(!has_binary("rokini-cli", "rokinid") && !has_binary("rokini-cly", "rokini"));
        let rust = named.values().next().unwrap().base.strip_prefix("rust:").unwrap();
        let wanted = env!("CARGO_PKG_RUST_VERSION").rsplit_once('.').unwrap().0;
        assert!(rust.starts_with(&format!("{wanted}-")), "{recipe}: {rust}");
    }
}

/// `COPY . .` sends what `.dockerignore` leaves: nothing of what is built from may be among what it leaves out.
#[test]
fn what_an_image_is_built_from_is_sent_to_the_engine() {
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> =
        ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let is_ignored = |path: &str| {
        ignored.iter().any(|pattern| match (pattern.strip_prefix("**/"), pattern.strip_prefix("*.")) {
            (Some(name), _) => path.split('/').any(|part| part == name),
            (_, Some(ending)) => path.ends_with(&format!(".{ending}")),
            _ => path == *pattern || path.starts_with(&format!("{pattern}/")),
        })
    };
    assert!(is_ignored("sim/target/debug") && is_ignored("docs/images/a.png") && is_ignored(".git"));
    let mut needed: Vec<String> = ["Cargo.toml", "Cargo.lock", "README.md"].map(str::to_owned).into();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let within = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
            needed.push(within(&path));
            if path.extension().is_some_and(|ending| ending == "rs") && !within(&path).contains("/tests/") {
                let text = std::fs::read_to_string(&path).unwrap();
                let included =
                    text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1));
                for name in included.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name) {
                    let file = path.parent().unwrap().join(name).canonicalize().unwrap();
                    needed.push(
                        file.strip_prefix(root().canonicalize().unwrap()).unwrap().display().to_string(),
                    );
                }
            }
        }
    }
    let missing: Vec<_> = needed.iter().filter(|path| is_ignored(path)).collect();
    assert!(needed.len() > 300 && missing.is_empty(), "left out by .dockerignore: {missing:?}");
}

/// The ports of the recipe, of the composition and of the examples are those that the program has by default.
#[tokio::test]
async fn the_ports_of_an_image_are_those_of_the_program() {
    let nowhere =
        crate::support::Endpoints::new("http://k.example".to_owned(), "http://d.example".to_owned());
    let help = nowhere.run(&["local", "--help"]).await.done();
    let stages = stages("deploy/static/Dockerfile");
    let exposed: Vec<&str> = stages.last().unwrap().1.of("EXPOSE").flat_map(str::split_whitespace).collect();
    assert_eq!(exposed.len(), 2);
    for port in exposed {
        assert!(help.contains(&format!("Default: {port},")), "{port}");
        for name in ["deploy/local/compose.yaml", "docs/LOCAL.md"] {
            assert!(read(name).contains(&format!("127.0.0.1:{port}:{port}")), "{name}: {port}");
        }
    }
}

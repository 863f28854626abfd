//! How a release is made. Without `--execute` it says what it would do.

use std::fs;

use crate::packages::published;
use crate::shell::{Outcome, output, root, run, strings};

/// What is shipped beside the program.
const BESIDE: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

pub(crate) fn task(arguments: &[String]) -> Outcome {
    let arguments = strings(arguments);
    let execute = arguments.contains(&"--execute");
    let version = arguments.iter().find(|argument| !argument.starts_with('-'));
    let version = *version.ok_or("which version? `cargo xtask release 1.2.3` says what would be done")?;
    if version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() != 3 {
        return Err(format!("`{version}` is not a version such as 1.2.3"));
    }
    if execute && !output("git", &["status", "--porcelain"])?.is_empty() {
        return Err("there are changes that are not committed".to_owned());
    }
    let date = output("date", &["--utc", "+%F"])?;
    let old = workspace_version(
        &fs::read_to_string(root().join("Cargo.toml")).map_err(|error| error.to_string())?,
    )?;
    for file in ["Cargo.toml", "sim/Cargo.toml", "CHANGELOG.md"] {
        let path = root().join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        let text = if file == "CHANGELOG.md" {
            println!("- {file}: what is unreleased gets the version");
            cut(&text, version, date.trim())?
        } else {
            println!("- {file}: the version");
            text.replace(&format!("\"{old}\""), &format!("\"{version}\""))
        };
        if execute {
            fs::write(&path, text).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    for step in steps(version)? {
        let words: Vec<&str> = step.iter().map(String::as_str).collect();
        if execute {
            run(words[0], &words[1..], &[])?;
        } else {
            println!("- {}", words.join(" "));
        }
    }
    println!("\nLook at the commit and at the files in target/release-{version}, then:");
    println!("  git push origin HEAD v{version}");
    println!("  cargo publish {}", published()?.join(" "));
    println!("and attach the files to the release of the tag.");
    Ok(())
}

/// The commands, in their order.
fn steps(version: &str) -> Result<Vec<Vec<String>>, String> {
    let host = output("rustc", &["--print", "host-tuple"])?;
    let (host, folder) = (host.trim(), format!("target/release-{version}"));
    let name = format!("rokini-{version}-{host}");
    let stage = format!("{folder}/{name}");
    let mut steps: Vec<Vec<String>> = Vec::new();
    let mut step = |words: &[&str]| steps.push(words.iter().map(|word| (*word).to_owned()).collect());
    step(&["cargo", "update", "--workspace"]);
    step(&[".ci/run"]);
    step(&["cargo", "xtask", "package"]);
    step(&["cargo", "build", "--locked", "--profile", "dist", "--package", "rokini-cli"]);
    step(&["mkdir", "-p", &stage]);
    step(&[&["cp", "target/dist/rokini"], &BESIDE[..], &[&stage]].concat());
    step(&["tar", "-C", &folder, "-czf", &format!("{stage}.tar.gz"), &name]);
    step(&["rm", "-r", &stage]);
    // The list of what is in the program, in the form that scanners read: `cargo install cargo-cyclonedx --locked`.
    step(&[
        "cargo",
        "cyclonedx",
        "--format",
        "json",
        "--manifest-path",
        "crates/rokini-cli/Cargo.toml",
        "--override-filename",
        "sbom",
    ]);
    step(&["mv", "crates/rokini-cli/sbom.json", &format!("{stage}.cdx.json")]);
    step(&["sh", "-c", &format!("cd {folder} && sha256sum * > SHA256SUMS")]);
    step(&["git", "commit", "--all", "--message", &format!("chore: release {version}")]);
    step(&["git", "tag", "--annotate", &format!("v{version}"), "--message", &format!("rokini {version}")]);
    Ok(steps)
}

fn workspace_version(manifest: &str) -> Result<String, String> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    line.map(str::to_owned).ok_or_else(|| "Cargo.toml has no version".to_owned())
}

/// The changelog with what is unreleased under this version.
fn cut(text: &str, version: &str, date: &str) -> Result<String, String> {
    const UNRELEASED: &str = "## Unreleased\n";
    let (before, after) = text.split_once(UNRELEASED).ok_or("CHANGELOG.md has no `## Unreleased`")?;
    let entries = after.split("\n## ").next().unwrap_or_default();
    if !entries.contains("\n- ") {
        return Err("CHANGELOG.md: nothing stands under `## Unreleased`".to_owned());
    }
    Ok(format!("{before}{UNRELEASED}\n## {version} ({date})\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::{cut, workspace_version};

    #[test]
    fn the_changelog_is_cut_where_something_stands() {
        let text = "# Changelog\n\n## Unreleased\n\n### New\n\n- a\n\n## 0.1.0 (2026-01-01)\n\n- b\n";
        let expected = "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-02-03)\n\n### New\n\n- a\n\n## 0.1.0 (2026-01-01)\n\n- b\n";
        assert_eq!(cut(text, "0.2.0", "2026-02-03").unwrap(), expected);
        assert!(cut(expected, "0.3.0", "2026-02-04").unwrap_err().contains("nothing stands"));
        assert!(cut("# Changelog\n", "0.3.0", "2026-02-04").unwrap_err().contains("no `## Unreleased`"));
    }

    #[test]
    fn the_version_is_that_of_the_workspace() {
        assert_eq!(workspace_version("[workspace.package]\nversion = \"0.1.0\"\n").unwrap(), "0.1.0");
    }
}

//! How many lines there are, those of tests apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::shell::{Outcome, root};
use crate::sources::rust_files;
use crate::tokens::{tokens, without_tests};

pub(crate) fn task(_: &[String]) -> Outcome {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for source in rust_files(&root())? {
        let (code, tests) = count(&source.path, &source.text);
        let count = counts.entry(package(&source.path)).or_default();
        *count = (count.0 + code, count.1 + tests);
    }
    println!("{:<24} {:>7} {:>7}", "lines", "code", "tests");
    for (package, (code, tests)) in &counts {
        println!("{package:<24} {code:>7} {tests:>7}");
    }
    let sum = |of: fn(&(usize, usize)) -> usize| counts.values().map(of).sum::<usize>();
    println!("{:<24} {:>7} {:>7}", "all", sum(|count| count.0), sum(|count| count.1));
    Ok(())
}

fn package(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let depth = if parts[0] == "crates" { 2 } else { 1 };
    parts[..depth.min(parts.len())].join("/")
}

/// The lines of a file, comments and empty ones too: of code, and of tests inside and around.
fn count(path: &Path, text: &str) -> (usize, usize) {
    let all = text.lines().count();
    let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs");
    if is_test {
        return (0, all);
    }
    let before = tokens(text);
    let lines =
        |tokens: &[crate::tokens::Token]| tokens.iter().map(|token| token.line).collect::<BTreeSet<_>>();
    let (kept, _) = without_tests(&before);
    let only_tests = lines(&before).difference(&lines(&kept)).copied().collect::<BTreeSet<_>>();
    // What stands between the first and the last line of a block of tests belongs to it.
    let tests = match (only_tests.first(), only_tests.last()) {
        (Some(first), Some(last)) if lines(&kept).range(first..=last).next().is_none() => last - first + 1,
        _ => only_tests.len(),
    };
    (all - tests, tests)
}

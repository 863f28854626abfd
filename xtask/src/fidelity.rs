//! The fidelity table of `docs/LOCAL.md` held against the tests that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::promises::tests;
use crate::shell::root;
use crate::sources::{Source, rust_files};
use crate::tokens::tokens;

const TABLE: &str = "docs/LOCAL.md";
const TESTS: &str = "crates/rokini-local/tests/it";
/// How the tests are named that are a line of the table each.
const LINES: [&str; 2] = ["statement_", "queue_"];

/// What is wrong: lines whose test is not there, and tests that stand in no line.
pub(crate) fn wrong() -> Result<Vec<String>, String> {
    let path = root().join(TABLE);
    let document = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(judge(&document, &rust_files(&root().join(Path::new(TESTS)))?))
}

fn judge(document: &str, sources: &[Source]) -> Vec<String> {
    let (_, table) = document.split_once("## Fidelity").unwrap_or_default();
    let there: BTreeSet<String> = sources.iter().flat_map(|source| tests(&tokens(&source.text))).collect();
    let mut wrong = Vec::new();
    let mut named = BTreeSet::new();
    for line in table.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |")) {
        let cell = line.trim_end_matches("` |").rsplit("| `").next().unwrap_or_default();
        if !there.contains(cell) {
            wrong.push(format!("{TABLE} names the test `{cell}`, which is not there"));
        }
        if !named.insert(cell) {
            wrong.push(format!("{TABLE} names the test `{cell}` twice"));
        }
    }
    if named.is_empty() {
        wrong.push(format!("{TABLE} has no table of fidelity"));
    }
    let lines = there.iter().filter(|test| LINES.iter().any(|begins| test.starts_with(begins)));
    wrong.extend(
        lines
            .filter(|test| !named.contains(test.as_str()))
            .map(|test| format!("{TABLE} does not name the test `{test}`")),
    );
    wrong
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn every_line_has_its_test_and_every_statement_its_line() {
        let document = "| a | `statement_9_no` |\n## Fidelity\n| statement | source | test |\n|---|---|---|\n| a `b` | API | `statement_1_a` |\n";
        let of = |text: &str| judge(document, &[Source { path: "a.rs".into(), text: text.to_owned() }]);
        assert_eq!(of("#[test] fn statement_1_a() {} #[test] fn other() {}"), [""; 0]);
        assert_eq!(
            of("fn statement_1_a() {}"),
            ["docs/LOCAL.md names the test `statement_1_a`, which is not there"]
        );
        assert_eq!(
            of("#[test] fn statement_1_a() {} #[test] fn queue_2_b() {}"),
            ["docs/LOCAL.md does not name the test `queue_2_b`"]
        );
    }

    #[test]
    fn the_table_of_this_repository_is_so() {
        assert_eq!(wrong().unwrap(), [""; 0]);
    }
}

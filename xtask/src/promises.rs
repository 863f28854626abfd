//! `docs/PROMISES.md` held against the names of the tests.
//!
//! A line of the list is `- **c1** what is promised`, or `- **c1** *(open)* what is promised` while it is not kept. A test
//! that keeps a promise is named after it, or after several: `c1_c4_...`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::shell::{Outcome, root};
use crate::sources::{Source, rust_files};
use crate::tokens::{Token, attribute, tokens};

const OPEN: &str = "*(open)* ";

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    open: bool,
    text: String,
}

/// What stands: the promises, the tests of each, and what is wrong.
#[derive(Debug, Default)]
struct Report {
    promises: BTreeMap<String, Promise>,
    tests: BTreeMap<String, BTreeSet<String>>,
    wrong: Vec<String>,
}

pub(crate) fn task(_: &[String]) -> Outcome {
    let report = read()?;
    for (id, promise) in &report.promises {
        let tests = report.tests.get(id).into_iter().flatten();
        let state = if promise.open { "open" } else { "kept" };
        println!("{id:<4} {state}  {}", promise.text);
        tests.for_each(|test| println!("           {test}"));
    }
    let kept = report.promises.values().filter(|promise| !promise.open).count();
    println!("{kept} of {} promises are kept, each with a test named after it", report.promises.len());
    if report.wrong.is_empty() { Ok(()) } else { Err(report.wrong.join("\nerror: ")) }
}

fn read() -> Result<Report, String> {
    let path = root().join("docs/PROMISES.md");
    let list = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(judge(&list, &rust_files(&root())?))
}

fn judge(list: &str, sources: &[Source]) -> Report {
    let mut report = Report::default();
    for line in list.lines() {
        let Some((id, text)) = line.strip_prefix("- **").and_then(|line| line.split_once("** ")) else {
            continue;
        };
        let open = text.starts_with(OPEN);
        let promise = Promise { open, text: text.trim_start_matches(OPEN).to_owned() };
        if report.promises.insert(id.to_owned(), promise).is_some() {
            report.wrong.push(format!("docs/PROMISES.md has `{id}` twice"));
        }
    }
    for source in sources {
        for name in tests(&tokens(&source.text)) {
            for id in name.split('_').take_while(|word| is_id(word)) {
                let place = format!("{} ({})", name, source.path.display());
                if !report.promises.contains_key(id) {
                    report.wrong.push(format!("{place}: docs/PROMISES.md has no promise `{id}`"));
                }
                report.tests.entry(id.to_owned()).or_default().insert(place);
            }
        }
    }
    for (id, promise) in &report.promises {
        if !promise.open && !report.tests.contains_key(id) {
            report
                .wrong
                .push(format!("docs/PROMISES.md says that `{id}` is kept, and no test is named after it"));
        }
    }
    report
}

/// One or two letters and a number.
fn is_id(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
    (1..=2).contains(&(word.len() - digits.len()))
        && !digits.is_empty()
        && digits.chars().all(|c| c.is_ascii_digit())
}

/// The names of the functions that an attribute makes tests.
pub(crate) fn tests(tokens: &[Token]) -> Vec<String> {
    let (mut names, mut at, mut is_test) = (Vec::new(), 0, false);
    while let Some(token) = tokens.get(at) {
        if let Some(end) = attribute(tokens, at) {
            is_test |=
                tokens[at..end].iter().take_while(|token| !token.is('(')).any(|token| token.is_word("test"));
            at = end;
            continue;
        }
        if token.is_word("fn") && is_test {
            names.extend(tokens.get(at + 1).and_then(Token::word).map(str::to_owned));
        }
        is_test &= !token.is('{') && !token.is_word("fn");
        at += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(list: &str, source: &str) -> Vec<String> {
        judge(list, &[Source { path: "a.rs".into(), text: source.to_owned() }]).wrong
    }

    #[test]
    fn a_kept_promise_has_a_test_and_an_open_one_may_have_one() {
        let list = "# Title\n- **c1** a\n- **c2** *(open)* b\n- **o12** c\n- other\n";
        assert_eq!(wrong(list, "#[test] fn c1_o12_x() {} fn c3_is_no_test() {}"), [""; 0]);
        let source = "#[tokio::test(start_paused = true)]\n#[ignore = \"x\"]\nasync fn c1_c2_x() {} #[test] fn o12_() {}";
        assert_eq!(wrong(list, source), [""; 0]);
    }

    #[test]
    fn a_promise_that_is_said_to_be_kept_needs_a_test() {
        let list = "- **c1** a\n";
        let expected = "docs/PROMISES.md says that `c1` is kept, and no test is named after it";
        for source in [
            "",
            "fn c1_x() {}",
            "// #[test] fn c1_x() {}",
            "#[test] fn x_c1() {}",
            "#[test] fn a() { fn c1_x() {} }",
        ] {
            assert_eq!(wrong(list, source), [expected], "{source}");
        }
    }

    #[test]
    fn a_test_is_named_after_a_promise_that_exists() {
        assert_eq!(
            wrong("- **c1** a\n", "#[test] fn c1_x() {} #[test] fn c1_zz9_y() {} #[test] fn utf8() {}"),
            ["c1_zz9_y (a.rs): docs/PROMISES.md has no promise `zz9`"]
        );
    }

    #[test]
    fn a_promise_stands_once() {
        assert_eq!(
            wrong("- **c1** a\n- **c1** b\n", "#[test] fn c1_x() {}"),
            ["docs/PROMISES.md has `c1` twice"]
        );
    }

    /// What stands: the list of this repository and its tests.
    #[test]
    fn the_promises_of_this_repository_are_kept_as_they_say() {
        assert_eq!(read().unwrap().wrong, [""; 0]);
    }
}

//! Each kind of violation, planted.

use std::path::Path;

use super::{Package, Table};
use crate::sources::Source;

const TABLE: &str = "
[crates/low]
  never std::fs
  tidy never tokio::net

[crates/high]
  may import low
  layer types
  layer left right   # side by side
  layer top
";

/// What is found in a crate of these files, which are told apart by their names.
fn found(folder: &str, files: &[(&str, &str)]) -> Vec<String> {
    let table = Table::parse(TABLE).unwrap();
    let rules = table.crates.iter().find(|rules| rules.folder == folder).unwrap();
    let file = |(path, text): &(&str, &str)| Source { path: path.into(), text: (*text).to_owned() };
    let files: Vec<_> = files.iter().map(file).collect();
    let package = Package::new(&Path::new(folder).join("src"), &files);
    package.check(rules, &table)
}

const CLEAN: [(&str, &str); 6] = [
    ("lib.rs", "mod types; mod left; mod right; mod top; pub use top::Top; pub use left::deep::Deep;"),
    (
        "types.rs",
        "//! use crate::top::Top;\npub struct Id; /* crate::top::Top */ const A: &str = \"crate::top::Top\";",
    ),
    ("left.rs", "pub mod deep; #[cfg(test)] mod tests; use crate::types::Id; use deep::Deep;"),
    ("left/deep.rs", "use super::super::types::{self, Id as Name}; fn f() -> types::Id { todo!() }"),
    ("right.rs", "use low::Thing; #[cfg(test)] mod more { use crate::top::Top; }"),
    ("left/tests.rs", "use crate::top::Top; use crate::Deep;"),
];

fn with(change: (&'static str, &'static str)) -> Vec<String> {
    let mut files = CLEAN.to_vec();
    files.push((
        "top.rs",
        "use crate::{left::deep::Deep, right::{Right, *}}; use rand::Rng; fn f() { crate::types::f() }",
    ));
    files.retain(|(path, _)| *path != change.0);
    files.push(change);
    found("crates/high", &files)
}

#[test]
fn a_clean_crate_has_nothing_to_say() {
    assert_eq!(with(("main.rs", "use high::Top; fn main() { low::run() }")), [""; 0]);
}

#[test]
fn an_arrow_that_points_up_or_aside_is_found_however_it_is_written() {
    for (source, line) in [
        ("use crate::top::Top;", 1),
        ("\n\nuse crate::{\n    types::Id,\n    top::{Top, Other},\n};", 5),
        ("use crate::top as above;", 1),
        ("fn f() {\n    crate::top::f()\n}", 2),
        ("fn f(_: &dyn super::top::Top) {}", 1),
        ("mod inside { fn f() { super::super::top::f() } }", 1),
        ("use super::top::{self};", 1),
        ("fn f<T>() where T: Into<crate::top::Top> {}", 1),
        ("macro_rules! f { () => { $crate::top::f() } }", 1),
        ("#[derive(A)]\nstruct B { c: Vec<crate::top::Top> }", 2),
    ] {
        let expected = format!(
            "crates/high/src/types.rs:{line} imports crates/high/src/top.rs: the room `top` is not below `types`"
        );
        // It closes a circle too.
        let found = with(("types.rs", source));
        assert!(found.contains(&expected), "{source}: {found:#?}");
    }
    assert_eq!(
        with(("right.rs", "use crate::left::deep::Deep;")),
        [
            "crates/high/src/right.rs:1 imports crates/high/src/left/deep.rs: the room `left` is not below `right`"
        ]
    );
}

#[test]
fn an_alias_of_a_module_is_followed() {
    let found = with((
        "right.rs",
        "use crate::types as below;\nuse super::left as aside;\nfn f() {\n    aside::deep::f()\n}",
    ));
    assert_eq!(
        found,
        [
            "crates/high/src/right.rs:2 imports crates/high/src/left.rs: the room `left` is not below `right`",
            "crates/high/src/right.rs:4 imports crates/high/src/left/deep.rs: the room `left` is not below `right`",
        ]
    );
}

#[test]
fn a_circle_of_files_inside_of_a_room_is_found() {
    let found = with(("left/deep.rs", "\nuse super::Left;"));
    assert_eq!(
        found,
        ["a circle of 2 files:\
          \n    crates/high/src/left.rs:1 imports crates/high/src/left/deep.rs\
          \n    crates/high/src/left/deep.rs:2 imports crates/high/src/left.rs"]
    );
}

#[test]
fn an_import_through_the_root_is_found() {
    for source in [
        "use crate::Top;",
        "use super::Deep;",
        "fn f() -> crate::Top { todo!() }",
        "use crate::{types::Id, Top};",
    ] {
        assert_eq!(
            with(("right.rs", source)),
            [
                "crates/high/src/right.rs:1 imports crates/high/src/lib.rs: name the file that defines the thing, not the \
              crate's root"
            ],
            "{source}"
        );
    }
}

#[test]
fn a_crate_that_lies_above_is_found() {
    for source in ["use high::Top;", "use high::{Top};", "fn f() { high::run() }", "pub use high as other;"] {
        assert_eq!(
            found("crates/low", &[("lib.rs", "mod a;"), ("a.rs", source)]),
            ["crates/low/src/a.rs:1 imports crates/high/src/lib.rs: `low` may not import `high`"],
            "{source}"
        );
    }
}

#[test]
fn what_a_crate_or_a_room_may_not_use_is_found() {
    let files = [
        ("lib.rs", "mod a; mod tidy;"),
        ("a.rs", "use std::{fs::File, io}; use tokio::net::TcpStream;"),
        ("tidy.rs", "use tokio::net; fn f() { net::TcpStream::connect() }"),
    ];
    assert_eq!(
        found("crates/low", &files),
        [
            "crates/low/src/a.rs:1 names `std::fs::File`: `low` may not use `std::fs`",
            "crates/low/src/tidy.rs:1 names `tokio::net`: `tidy` may not use `tokio::net`",
            "crates/low/src/tidy.rs:1 names `tokio::net::TcpStream::connect`: `tidy` may not use `tokio::net`",
        ]
    );
}

#[test]
fn a_room_that_the_table_does_not_know_is_found() {
    assert_eq!(
        with(("attic.rs", "use crate::types::Id;")),
        ["crates/high/src/attic.rs: the room `attic` is not in the table"]
    );
}

#[test]
fn a_line_of_the_table_that_is_not_understood_is_an_error() {
    for text in ["[a]\n  above b", "layer b", "[a]\n  may b"] {
        assert!(Table::parse(text).unwrap_err().contains("is not understood"), "{text}");
    }
}

/// What stands.
#[test]
fn this_workspace_keeps_to_its_table() {
    assert_eq!(super::check(&crate::shell::root()).unwrap(), [""; 0]);
}

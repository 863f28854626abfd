//! The tasks of this repository, for a machine that has nothing but a Rust toolchain: `cargo xtask` lists them.
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside"))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod documented;
mod fidelity;
mod layers;
mod lines;
mod packages;
mod promises;
mod release;
mod shell;
mod sources;
mod tokens;

use std::process::ExitCode;

use self::shell::{Outcome, cargo, run, strings};

/// A task, what it is given, and what it does.
struct Task {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Outcome,
}

const TASKS: &[Task] = &[
    Task { name: "ci", arguments: "[--keep-going]", help: "every check there is, cheapest first", run: ci },
    Task {
        name: "test",
        arguments: "[NAME]",
        help: "all tests, or those whose names contain NAME",
        run: test,
    },
    Task { name: "sim", arguments: "[SEEDS]", help: "so many seeds of the simulation (200)", run: simulate },
    Task { name: "replay", arguments: "SEED", help: "one seed of the simulation, with its log", run: replay },
    Task { name: "docs", arguments: "", help: "writes the generated pages below docs/ anew", run: docs },
    Task {
        name: "promises",
        arguments: "",
        help: "which promise is kept by which tests",
        run: promises::task,
    },
    Task {
        name: "layers",
        arguments: "",
        help: "who imports whom, held against xtask/layers.txt",
        run: layers::task,
    },
    Task {
        name: "documented",
        arguments: "",
        help: "tries the commands that documents show",
        run: documented::task,
    },
    Task {
        name: "fidelity",
        arguments: "",
        help: "the tests that docs/LOCAL.md names, held against those there are",
        run: fidelity,
    },
    Task { name: "loc", arguments: "", help: "lines by crate, those of tests apart", run: lines::task },
    Task {
        name: "features",
        arguments: "",
        help: "builds every crate with each of its features alone",
        run: packages::features,
    },
    Task {
        name: "package",
        arguments: "",
        help: "packs what is published, and builds it from there",
        run: packages::package,
    },
    Task {
        name: "release",
        arguments: "VERSION",
        help: "says what a release takes; with --execute does it",
        run: release::task,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let task = arguments.first().and_then(|name| TASKS.iter().find(|task| task.name == name));
    let Some(task) = task else {
        println!("{}", help());
        return ExitCode::from(if arguments.is_empty() { 0 } else { 2 });
    };
    match (task.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_empty() {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let task = |task: &Task| {
        format!("\n  cargo xtask {:<20} {}", format!("{} {}", task.name, task.arguments), task.help)
    };
    format!("The tasks of this repository:\n{}", TASKS.iter().map(task).collect::<String>())
}

fn fidelity(_: &[String]) -> Outcome {
    let wrong = fidelity::wrong()?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\nerror: ")) }
}

fn ci(arguments: &[String]) -> Outcome {
    run(".ci/run", &strings(arguments), &[])
}

fn test(arguments: &[String]) -> Outcome {
    cargo(&[&["test", "--workspace"], &strings(arguments)[..]].concat())
}

/// Optimised where the simulation spends its time, with checks for overflow.
const SIM: [&str; 6] = ["run", "--profile", "sim", "--package", "sim", "--"];

fn simulate(arguments: &[String]) -> Outcome {
    let seeds = arguments.first().map_or("200", String::as_str);
    cargo(&[&SIM[..], &["--seeds", seeds]].concat())
}

fn replay(arguments: &[String]) -> Outcome {
    let seed = arguments.first().ok_or("which seed?")?;
    cargo(&[&SIM[..], &["--seeds", "1", "--log", "--from", seed]].concat())
}

fn docs(_: &[String]) -> Outcome {
    let tests = ["test", "--workspace", "--test", "it", "--", "docs::", "cost::"];
    run(env!("CARGO"), &tests, &[("ROKINI_WRITE_DOCS", "1")])
}

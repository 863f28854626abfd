//! Aggregates of other implementations, read here, and those written here, read by them.
//!
//! `kpl/vectors.jsonl` was made by the programs beside it: `aggregates.py make 7` (aws-kinesis-agg 1.2.3 of PyPI),
//! `aggregates.js make 7` (aws-kinesis-agg of npm) and `MakeAggregates.java 7` (amazon-kinesis-aggregator 1.0.3 of Maven). What
//! is written here is read by the first two in this test, where Python and Node with their package indexes are to be had, and
//! by the KCL's own `AggregatorUtil` with `ReadAggregates.java`, by hand.
#![allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rokini_wire::{AggregateBuilder, read_aggregates};
use serde::{Deserialize, Serialize};

const VECTORS: &str = include_str!("kpl/vectors.jsonl");

/// An aggregate, and what is in it.
#[derive(Debug, Deserialize, Serialize)]
struct Vector {
    #[serde(default)]
    by: String,
    data: String,
    records: Vec<UserRecord>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
struct UserRecord {
    key: String,
    hash_key: Option<String>,
    data: String,
}

#[derive(Debug, Deserialize)]
struct Read {
    records: Vec<UserRecord>,
}

fn read(data: &[u8]) -> Vec<UserRecord> {
    let mut read = Vec::new();
    read_aggregates(&[data], |_, aggregate| {
        let text = |range| std::str::from_utf8(&data[range]).unwrap().to_owned();
        read = aggregate
            .unwrap()
            .user_records()
            .map(|record| UserRecord {
                key: text(record.partition_key()),
                hash_key: record.explicit_hash_key().map(text),
                data: STANDARD.encode(&data[record.data()]),
            })
            .collect();
    });
    read
}

/// Each line is read as the other implementation wrote it; returns how many there are of each.
fn check(lines: &str) -> usize {
    for line in lines.lines() {
        let vector: Vector = serde_json::from_str(line).unwrap();
        assert_eq!(read(&STANDARD.decode(&vector.data).unwrap()), vector.records, "by {}", vector.by);
    }
    lines.lines().count()
}

#[test]
fn a3_aggregates_of_other_implementations_are_read() {
    assert_eq!(check(VECTORS), 18);
    for by in ["aws-kinesis-agg of PyPI", "aws-kinesis-agg of npm", "amazon-kinesis-aggregator of Maven"] {
        assert_eq!(VECTORS.lines().filter(|line| line.contains(by)).count(), 6, "{by}");
    }
}

/// Aggregates of this crate with what is in them, a JSON object each.
fn written(seed: u64) -> (String, Vec<Vec<UserRecord>>) {
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut lines, mut all) = (String::new(), Vec::new());
    for _ in 0..30 {
        let (mut builder, mut records) = (AggregateBuilder::default(), Vec::new());
        for _ in 0..=random(60) {
            let key =
                ["a".to_owned(), format!("key-{}", random(200)), "gr\u{fc}n".to_owned(), "x".repeat(256)];
            let key = &key[random(4) as usize];
            // Every record has one, or none has: the reader of npm gives the first of the table to those without.
            let hash_key = (all.len() % 2 == 0).then(|| u128::from(random(1 << 31)) << random(98));
            let data: Vec<u8> = (0..random(300)).map(|_| random(256) as u8).collect();
            builder.push(key, hash_key, &data);
            let (key, data) = (key.clone(), STANDARD.encode(data));
            records.push(UserRecord { key, hash_key: hash_key.map(|hash| hash.to_string()), data });
        }
        let data = builder.build();
        assert_eq!(read(&data), records);
        let vector =
            Vector { by: "rokini".to_owned(), data: STANDARD.encode(data), records: records.clone() };
        // With blanks, as the readers in Java expect it.
        lines += &serde_json::to_string(&vector).unwrap().replace("\",\"records\":", "\", \"records\":");
        lines.push('\n');
        all.push(records);
    }
    (lines, all)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kpl")
}

/// Past the harness, which swallows what a test that passes prints.
fn skipped(reason: &str) {
    let _ = std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes());
}

/// Runs it with this standard input; `None`, with the reason on standard error, where that does not go well.
fn output(command: &mut Command, input: &str) -> Option<String> {
    let shown = format!("{command:?}");
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| skipped(&format!("{shown}: {error}"))).ok()?;
    let (mut stdin, input) = (child.stdin.take()?, input.to_owned());
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().ok()?;
    writer.join().unwrap();
    if !output.status.success() {
        let reason =
            String::from_utf8_lossy(&output.stderr).lines().rev().take(3).collect::<Vec<_>>().join(" | ");
        skipped(&format!("{shown}: {reason}"));
        return None;
    }
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A directory that outlives the test, so that packages are fetched once.
fn packages(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// What the program makes is read here, and what is written here it reads.
fn both_ways(program: &dyn Fn() -> Command) {
    let made = output(program().args(["make", "20"]), "").expect("it makes aggregates");
    assert_eq!(check(&made), 6);
    let (lines, expected) = written(20);
    let read = output(program().arg("read"), &lines).expect("it reads aggregates");
    let read: Vec<Read> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), expected.len());
    for (read, expected) in read.iter().zip(&expected) {
        assert_eq!(read.records, *expected);
    }
}

#[test]
fn a3_both_ways_with_aws_kinesis_agg_of_pypi() {
    let directory = packages("kpl-python");
    let python = directory.join("bin/python");
    if !directory.join("ready").exists() {
        if output(Command::new("python3").args(["-m", "venv"]).arg(&directory), "").is_none() {
            return;
        }
        let mut install = Command::new(&python);
        // It imports `six` without saying so.
        install.args(["-m", "pip", "install", "--quiet", "aws-kinesis-agg==1.2.3", "six"]);
        if output(&mut install, "").is_none() {
            return;
        }
        std::fs::write(directory.join("ready"), "").unwrap();
    }
    both_ways(&|| {
        let mut command = Command::new(&python);
        command.arg(sources().join("aggregates.py"));
        command
    });
}

#[test]
fn a3_both_ways_with_aws_kinesis_agg_of_npm() {
    let directory = packages("kpl-node");
    if !directory.join("node_modules/aws-kinesis-agg").exists() {
        std::fs::write(directory.join("package.json"), "{\"private\":true}").unwrap();
        let mut install = Command::new("npm");
        install.current_dir(&directory).args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "aws-kinesis-agg@4.2.8",
        ]);
        if output(&mut install, "").is_none() {
            return;
        }
    }
    std::fs::copy(sources().join("aggregates.js"), directory.join("aggregates.js")).unwrap();
    both_ways(&|| {
        let mut command = Command::new("node");
        command.current_dir(&directory).arg("aggregates.js");
        command
    });
}

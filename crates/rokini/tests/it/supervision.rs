//! Every background task is supervised: one that panics is an event and begins anew.

use std::path::Path;

/// Tasks that are watched otherwise, by the crate and file that start them: what becomes of a panic.
const WATCHED_OTHERWISE: [(&str, &str, usize, &str); 6] = [
    ("rokini", "telemetry/http.rs", 1, "a connection ends, and the listener goes on"),
    (
        "rokini",
        "aws/http/streaming.rs",
        3,
        "a connection ends, and its calls fail and are tried again on another",
    ),
    ("rokini", "consumer/builder/stream.rs", 1, "the run of the consumer itself: the stream ends with it"),
    (
        "rokini",
        "consumer/shard_tasks.rs",
        2,
        "the tasks of shards: joined, and the shard begins anew (`shard-restarted`)",
    ),
    ("rokini", "shard/task.rs", 1, "a part of the task of its shard, which sees that it ended"),
    ("rokini-lease", "store/conformance/races.rs", 4, "the suite for stores: joined, and the test fails"),
];

/// The places that start a task without supervision: by `supervise`, or by `guard`, which tells of a panic.
fn unsupervised(source: &str) -> usize {
    let own = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines: Vec<&str> = own.lines().collect();
    let starts = |line: &str| {
        // Those start a process.
        let is_process = line.contains(".spawn()") || line.contains("spawner.spawn(");
        line.contains(".spawn(") && !is_process && !line.trim_start().starts_with("//")
    };
    let spawns = (0..lines.len()).filter(|n| starts(lines[*n]));
    let is_supervised = |n: &usize| {
        let near = &lines[n.saturating_sub(6)..(n + 5).min(lines.len())];
        near.iter().any(|line| line.contains("supervise") || line.contains("guard"))
    };
    spawns.filter(|n| !is_supervised(n)).count()
}

fn look(root: &Path, below: &Path, found: &mut Vec<(String, usize)>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let count = unsupervised(&std::fs::read_to_string(&path).unwrap());
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let is_test = name.contains("tests");
            found.extend((count > 0 && !is_test).then_some((name, count)));
        }
    }
}

#[test]
fn l13_every_task_that_is_started_is_supervised_or_watched_otherwise() {
    assert_eq!(unsupervised("a\ntasks.spawn(run());\n"), 1, "it is seen");
    assert_eq!(unsupervised("let run = events.supervise(\"x\", k, f);\ntasks.spawn(run);\n"), 0);
    assert_eq!(unsupervised("tasks.spawn(async move {\n    events.guard(\"x\", run()).await;\n});\n"), 0);
    for of_crate in ["rokini", "rokini-handlers", "rokini-lease"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of_crate).join("src");
        let mut found = Vec::new();
        look(&root, &root, &mut found);
        found.sort();
        let here = WATCHED_OTHERWISE.iter().filter(|(name, ..)| *name == of_crate);
        let mut wanted: Vec<(String, usize)> =
            here.map(|(_, file, count, _)| ((*file).to_owned(), *count)).collect();
        wanted.sort();
        assert_eq!(found, wanted, "{of_crate}: supervise it (`Events::supervise`), or say who watches it");
    }
}

//! Every background task is supervised: one that panics is an event and begins anew.

use std::path::Path;

/// Tasks that are watched otherwise, by the file that starts them: what becomes of a panic.
const WATCHED_OTHERWISE: [(&str, usize, &str); 5] = [
    ("telemetry/http.rs", 1, "a connection ends, and the listener goes on"),
    ("aws/http/streaming.rs", 3, "a connection ends, and its calls fail and are tried again on another"),
    ("consumer/builder/stream.rs", 1, "the run of the consumer itself: the stream ends with it"),
    (
        "consumer/shard_tasks.rs",
        2,
        "the tasks of shards: joined, and the shard begins anew (`shard-restarted`)",
    ),
    ("shard/task.rs", 1, "a part of the task of its shard, which sees that it ended"),
];

/// The places that start a task without supervision.
fn unsupervised(source: &str) -> usize {
    let own = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines: Vec<&str> = own.lines().collect();
    let spawns = (0..lines.len())
        .filter(|n| lines[*n].contains(".spawn(") && !lines[*n].trim_start().starts_with("//"));
    let is_supervised =
        |n: &usize| lines[n.saturating_sub(6)..=*n].iter().any(|line| line.contains("supervise"));
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    look(&root, &root, &mut found);
    found.sort();
    let mut wanted: Vec<(String, usize)> =
        WATCHED_OTHERWISE.iter().map(|(file, count, _)| ((*file).to_owned(), *count)).collect();
    wanted.sort();
    assert_eq!(found, wanted, "supervise it (`Events::supervise`), or say who watches it");
}

//! Chaos over real processes: shards split and merge over HTTP, workers are killed or frozen, calls fail.
//! The long form is `rokini demo --for 30m --workers 4 --shards 16 --rate 2000 --reshard-every 20s --disturb-every 30s
//! --faults 1%`, and the same with `--retrieval fan_out`; these are the short ones.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// A demo that has ended.
struct Run {
    status: Option<i32>,
    /// How all shards and workers stand, about once a second.
    snapshots: Vec<Value>,
    result: Value,
}

fn run(arguments: &str) -> Run {
    let _one = crate::one_fleet();
    let output = Command::new(env!("CARGO_BIN_EXE_rokini"))
        .arg("demo")
        .args(arguments.split_whitespace())
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
    for line in lines.iter().filter(|line| line["event"].is_string()) {
        eprintln!("{:>7} {}", line["at_ms"], line["text"].as_str().unwrap());
    }
    let mut result = lines.last().expect("a last line").clone();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    let snapshots = lines.into_iter().filter(|line| line["workers"].is_array()).collect();
    result.as_object_mut().unwrap().remove("moves");
    eprintln!("{result}");
    Run { status: output.status.code(), snapshots, result }
}

impl Run {
    fn count(&self, path: &str) -> u64 {
        self.result.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {}", self.result))
    }
}

/// Reshards every second while a worker is killed or frozen every three: what happens to whom is the seed's.
const KINDS: [(u64, &str); 2] = [(4, "polling"), (11, "fan_out")];

fn resharded() -> &'static [Run; 2] {
    static RUNS: OnceLock<[Run; 2]> = OnceLock::new();
    RUNS.get_or_init(|| {
        KINDS.map(|(seed, retrieval)| {
            let arguments =
                "--for 16s --failover 2s --shards 4 --rate 400 --reshard-every 1s --disturb-every 3s";
            run(&format!("{arguments} --seed {seed} --retrieval {retrieval}"))
        })
    })
}

#[test]
fn r1_every_hash_is_read_while_shards_split_and_merge_and_workers_die() {
    for run in resharded() {
        assert_eq!((run.status, &run.result["ok"]), (Some(0), &Value::Bool(true)), "{}", run.result);
        // The keys are spread over all hashes, so a hole would show as records that nobody handled.
        assert!(run.count("/produced") > 2000);
        assert_eq!((run.count("/processed"), run.count("/lost")), (run.count("/produced"), 0));
        assert!(run.count("/chaos/splits") >= 4 && run.count("/chaos/merges") >= 3, "{}", run.result);
    }
}

#[test]
fn r2_closed_shards_are_read_to_their_end_although_their_workers_are_killed() {
    let mut kills = 0;
    for run in resharded() {
        kills += run.count("/chaos/kills");
        let ids = |snapshot: &Value, finished: bool| -> BTreeSet<String> {
            let shards = snapshot["shards"].as_array().unwrap().iter();
            let wanted = shards.filter(|shard| shard["finished"] == finished);
            wanted.map(|shard| shard["shard"].as_str().unwrap().to_owned()).collect()
        };
        let last = run.snapshots.last().unwrap();
        let closed = run.count("/chaos/splits") + 2 * run.count("/chaos/merges");
        let finished = ids(last, true).len() as u64;
        assert_eq!(finished, closed, "{last}");
        // A finished shard stays finished.
        for pair in run.snapshots.windows(2) {
            assert!(ids(&pair[0], true).is_disjoint(&ids(&pair[1], false)), "{} {}", pair[0], pair[1]);
        }
    }
    assert!(kills >= 3, "{kills} kills");
}

#[test]
fn r5_order_per_key_holds_while_shards_split_and_merge_and_workers_die() {
    for run in resharded() {
        assert_eq!((run.count("/order_violations"), run.count("/duplicates_unexplained")), (0, 0));
    }
}

#[test]
#[ignore = "takes a minute; `.ci/run` runs it"]
fn l1_a_minute_of_chaos_loses_nothing_and_explains_every_duplicate() {
    a_minute_of_chaos("polling");
}

#[test]
#[ignore = "takes a minute; `.ci/run` runs it"]
fn l1_a_minute_of_chaos_loses_nothing_by_fan_out_either() {
    a_minute_of_chaos("fan_out");
}

fn a_minute_of_chaos(retrieval: &str) {
    let run = run(&format!(
        "--for 60s --workers 4 --shards 16 --rate 600 --failover 4s --reshard-every 4s --disturb-every 6s \
         --faults 1% --seed 30 --retrieval {retrieval}"
    ));
    assert_eq!((run.status, &run.result["ok"]), (Some(0), &Value::Bool(true)), "{}", run.result);
    assert!(run.count("/produced") > 20_000);
    assert_eq!((run.count("/processed"), run.count("/lost")), (run.count("/produced"), 0));
    assert_eq!((run.count("/order_violations"), run.count("/duplicates_unexplained")), (0, 0));
    let explained = run.count("/duplicates_after_kill") + run.count("/duplicates_after_fence");
    assert_eq!(run.count("/duplicates"), explained);
    // Everything happened.
    assert!(run.count("/chaos/kills") >= 2 && run.count("/chaos/freezes") >= 2, "{}", run.result);
    assert!(run.count("/chaos/fences") >= 1, "one was frozen for too long: {}", run.result);
    for service in ["kinesis", "dynamodb"] {
        let (calls, faults) =
            (run.count(&format!("/chaos/{service}/calls")), run.count(&format!("/chaos/{service}/faults")));
        // One in a hundred, by chance.
        assert!(calls > 500 && faults * 400 > calls && faults * 30 < calls, "{service}: {faults} of {calls}");
    }
}

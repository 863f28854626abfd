//! `run --handler lines`: records are done when the program says so, whatever dies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::support::{QUICK, handled, kill_handlers, put, until_handled, until_none_runs};
use crate::support::{Endpoints, Local, Member};

/// Handles a record by appending it to `handled`. What it does besides comes from its environment.
const PROGRAM: &str = r#"
import json, os, random, sys, time
trick = os.environ.get("TRICK", "")
once = os.environ.get("ONCE", "")
def first_time():
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL)); return True
    except FileExistsError:
        return False
with open("pids", "a") as pids:
    pids.write("%d\n" % os.getpid())
handled = open("handled", "a", buffering=1)
count = 0
for line in sys.stdin:
    record = json.loads(line)
    count += 1
    data = record["data"]
    if trick == "crash" and count == 400:
        os._exit(1)
    if trick == "random" and random.random() < 0.001:
        os._exit(1)
    if trick == "hang" and data.startswith("poison") and first_time():
        time.sleep(1000)
    if trick == "poison" and data.startswith("poison"):
        os._exit(3)
    if trick == "fail" and data.startswith("poison"):
        print(json.dumps({"fail": record["token"], "error": "no such customer"}), flush=True)
        continue
    if trick == "noise":
        print("debug: handling", record["token"], "x" * 300)
        print('{"level":"info"}')
        sys.stderr.write("noise\n" * 20)
    handled.write("%s %s\n" % (record["shard"], data))
    print(json.dumps({"ack": record["token"]}) if count % 2 else record["token"], flush=True)
"#;

/// Writes the program, where there is a Python.
fn program(endpoints: &Endpoints) -> Option<PathBuf> {
    std::fs::write(endpoints.home().join("bill.py"), PROGRAM).unwrap();
    super::support::python("json")
}

fn run(endpoints: &Endpoints, python: &Path, worker: &str, trick: &str, more: &[&str]) -> Member {
    let once = endpoints.home().join("once");
    let environment = [("TRICK", trick), ("ONCE", once.to_str().unwrap())];
    let options = [&["--handler", "lines"], more].concat();
    super::support::run(endpoints, python, worker, &options, &["-u", "bill.py"], &environment)
}

/// 1,500 records, and a program that crashes at every 400th.
#[tokio::test]
async fn m1_a_program_that_crashes_again_and_again_loses_nothing() {
    let local = Local::start(1).await;
    let Some(python) = program(&local) else { return };
    let data = put(&local, 1500).await;
    let mut member = run(&local, &python, "w", "crash", &["--set", "batch_max_records=100"]);
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(member.stderr().contains("ended by itself"), "{}", member.stderr());
    until_none_runs(&local).await;
}

/// The handler, the daemon, or both, at random moments.
#[tokio::test]
async fn m1_kills_at_random_moments_lose_nothing_and_leave_no_process() {
    let local = Local::start(2).await;
    let Some(python) = program(&local) else { return };
    let mut data = BTreeSet::new();
    for round in 0..4 {
        let mut member = run(&local, &python, &format!("w{round}"), "random", &QUICK);
        let more: BTreeSet<String> = (0..400).map(|n| format!("{round}-{n}")).collect();
        local.put_evenly("orders", more.iter().cloned()).await;
        data.extend(more);
        sleep(Duration::from_millis(400 + 300 * round)).await;
        match round {
            0 | 2 => member.signal(Signal::KILL),
            1 => {
                kill_handlers(&local);
                sleep(Duration::from_millis(300)).await;
                member.signal(Signal::KILL);
            }
            _ => member.signal(Signal::TERM),
        }
        member.ended().await;
        until_none_runs(&local).await;
    }
    let mut last = run(&local, &python, "last", "random", &QUICK);
    until_handled(&local, &last, &data).await;
    assert_eq!(last.stop().await, Some(0), "{}", last.stderr());
    until_none_runs(&local).await;
}

/// Two shards, one of which has a record that hangs, ends, or is failed by its program.
#[tokio::test]
async fn m4_a_program_that_hangs_or_dies_delays_its_own_shard_only() {
    for trick in ["hang", "poison", "fail"] {
        let local = Local::start(2).await;
        let Some(python) = program(&local) else { return };
        let more = [
            "--set",
            "handler_timeout=2s",
            "--set",
            "on_failure=skip",
            "--set",
            "max_attempts=2",
            "--set",
            "batch_max_records=50",
        ];
        let mut member = run(&local, &python, "w", trick, &more);
        member.until("both shards", |member| member.stderr().matches("started at").count() == 2).await;
        let bad: Vec<String> =
            (0..100).map(|n| if n == 60 { "poison".into() } else { format!("bad-{n}") }).collect();
        let entries = bad.iter().map(|data| (0_u128, data.clone()));
        local.put_hashed("orders", entries.chain((0..100).map(|n| (u128::MAX, format!("good-{n}"))))).await;
        let at = Instant::now();
        let good: BTreeSet<String> = (0..100).map(|n| format!("good-{n}")).collect();
        until_handled(&local, &member, &good).await;
        eprintln!("{trick}: the other shard was done {:?} later", at.elapsed());
        let rest = bad.into_iter().filter(|data| trick == "hang" || data != "poison").collect();
        until_handled(&local, &member, &rest).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        let said = member.stderr();
        match trick {
            "hang" => assert!(said.contains("did not answer within 2s"), "{said}"),
            "poison" => {
                assert!(
                    said.contains("ended by itself") && !handled(&local).contains_key("poison"),
                    "{said}"
                );
            }
            _ => assert!(!said.contains("ended by itself") && said.contains("no such customer"), "{said}"),
        }
        until_none_runs(&local).await;
    }
}

#[tokio::test]
async fn m4_noise_is_shown_at_a_bounded_rate_and_confirms_nothing() {
    let local = Local::start(1).await;
    let Some(python) = program(&local) else { return };
    let data = put(&local, 2000).await;
    let mut member = run(&local, &python, "w", "noise", &[]);
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let said = member.stderr();
    assert!(said.contains("[shardId-000000000000 ") && said.contains("] debug: handling"), "{said}");
    assert!(said.contains("lines of output are not shown"));
    let shown = said.lines().filter(|line| line.contains("noise") || line.contains("debug:")).count();
    assert!(shown < 8_000, "{shown} of 42000 lines are shown");
    assert!(handled(&local).values().all(|times| *times == 1));
}

/// A program that cannot start takes no record with it, whatever the policy, and is started once it can.
#[tokio::test]
async fn m4_a_program_that_does_not_start_costs_no_record() {
    let local = Local::start(1).await;
    let Some(python) = program(&local) else { return };
    std::fs::rename(local.home().join("bill.py"), local.home().join("later.py")).unwrap();
    let data = put(&local, 20).await;
    let more = ["--set", "on_failure=skip", "--set", "max_attempts=2", "--set", "bisect=false"];
    let mut member = run(&local, &python, "w", "", &more);
    member.until("two failures", |member| member.stderr().matches("does not start").count() >= 2).await;
    std::fs::rename(local.home().join("later.py"), local.home().join("bill.py")).unwrap();
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(!member.stderr().contains("skipped"), "{}", member.stderr());
}

#[tokio::test]
async fn o14_what_cannot_act_is_refused() {
    let nowhere = Endpoints::new("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1".to_owned());
    let lines = ["run", "orders", "-g", "g", "--handler", "lines"];
    for (more, said) in [
        (&[][..], &["no program is named", "-- PROGRAM"][..]),
        (&["--", "./nothing-here"], &["there is no program `./nothing-here`", "PATH"]),
        (&["--set", "auto_checkpoint=false", "--", "sh"], &["auto_checkpoint", "no effect here"]),
        (&["--set", "broadcast=true", "--", "sh"], &["broadcast", "no effect here"]),
        (&["--set", "park=true", "--", "./nothing-here"], &["there is no program"]),
    ] {
        nowhere.run(&[&lines, more].concat()).await.refused(2, said);
    }
    let run = ["run", "orders", "-g", "g", "--handler"];
    for (more, said) in [
        (&["lines", "--url", "http://x", "--", "sh"][..], &["`--url` has no effect", "--handler http"][..]),
        (&["lambda", "--http2", "--", "sh"], &["`--http2` has no effect", "--handler http"]),
        (&["http", "--url", "http://x", "--spares", "2"], &["--spares", "runs by itself"]),
        (&["http", "--url", "http://x", "--", "sh"], &["a program", "runs by itself"]),
        (&["http"], &["no URL is named", "--url"]),
        (&["http", "--url", "ftp://x"], &["`ftp://x`"]),
        (
            &["multilang", "--set", "park=true", "--", "sh"],
            &["`park = true` has no effect here", "--handler lines"],
        ),
        (
            &["multilang", "--set", "concurrency=4", "--", "sh"],
            &["concurrency", "one process for each shard"],
        ),
        (&["multilang", "--set", "on_failure=skip", "--", "sh"], &["on_failure", "checkpoints"]),
        (
            &["multilang", "--event-source-mapping", "x", "--", "sh"],
            &["--event-source-mapping", "--handler lambda"],
        ),
    ] {
        let ended = nowhere.run(&[&run, more].concat()).await;
        if more.contains(&"ftp://x") {
            assert_ne!(ended.status, Some(0), "{ended:?}");
        } else {
            ended.refused(2, said);
        }
    }
    let none = nowhere.run(&["run", "orders", "-g", "g", "--", "sh"]).await;
    none.refused(2, &["no kind of handler is named", "--handler lines"]);
}

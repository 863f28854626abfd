//! `run --handler lines`: records are done when the program says so, whatever dies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{handled, put, running, until_handled, until_none_runs};
use crate::support::{Endpoints, LONGEST_WAIT, Local, Member};

/// Handles a record by appending it to `handled`. What it does besides comes from its environment.
const PROGRAM: &str = r#"
import json, os, random, sys, time
trick = os.environ.get("TRICK", "")
once = os.environ.get("ONCE", "")
slow = float(os.environ.get("SLOW", "0"))
def first_time():
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL)); return True
    except FileExistsError:
        return False
with open("pids", "a") as pids:
    pids.write("%d\n" % os.getpid())
if trick == "slow to fail" and len(open("pids").readlines()) <= 3:
    time.sleep(2.5)
    os._exit(1)
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
    if trick == "close" and data == "000009" and first_time():
        os.close(1)
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
    time.sleep(slow)
    handled.write("%s %s\n" % (record["shard"], data))
    print(json.dumps({"ack": record["token"]}) if count % 2 else record["token"], flush=True)
"#;

pub(super) fn write(endpoints: &Endpoints) {
    std::fs::write(endpoints.home().join("bill.py"), PROGRAM).unwrap();
}

/// Writes the program, where there is a Python.
fn program(endpoints: &Endpoints) -> Option<PathBuf> {
    write(endpoints);
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

/// It collects, and answers from the last to the first, some one by one and some together.
#[tokio::test]
async fn m1_tokens_may_come_in_any_order() {
    let local = Local::start(1).await;
    let Some(python) = super::support::python("json") else { return };
    let program = r#"
import json, sys
def answer(kept):
    with open("handled", "a") as out: out.writelines("x %s\n" % record["data"] for record in kept)
    tokens = [record["token"] for record in reversed(kept)]
    for token in tokens[:3]: print(token)
    print(json.dumps({"ack": tokens[3:]}), flush=True)
kept = []
for line in sys.stdin:
    kept.append(json.loads(line))
    if len(kept) == 10: answer(kept); kept = []
answer(kept)
"#;
    std::fs::write(local.home().join("collects.py"), program).unwrap();
    let data = put(&local, 95).await;
    let mut member =
        super::support::run(&local, &python, "w", &["--handler", "lines"], &["-u", "collects.py"], &[]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    let most = data.iter().take(90).cloned().collect();
    until_handled(&local, &member, &most).await;
    // The rest is answered at the end of its input.
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert_eq!(handled(&local), data.into_iter().map(|data| (data, 1)).collect());
    let shown = local.run(&["group", "lag", "g", "--json"]).await.done();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["shards"][0]["lag_millis"], 0, "all of it is stored: {shown}");
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

/// One that lives on, but has closed the output that its answers would come by, is heard of no more.
#[tokio::test]
async fn m4_a_program_that_closes_its_output_is_replaced() {
    let local = Local::start(1).await;
    let Some(python) = program(&local) else { return };
    let data = put(&local, 20).await;
    let mut member = run(&local, &python, "w", "close", &[]);
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(member.stderr().contains("closed its standard output"), "{}", member.stderr());
    until_none_runs(&local).await;
}

/// It looks like one that serves, is given records, and ends without having read any.
#[tokio::test]
async fn m4_a_program_that_takes_long_to_fail_at_its_start_costs_no_record() {
    let local = Local::start(1).await;
    let Some(python) = program(&local) else { return };
    let data = put(&local, 20).await;
    let more =
        ["--set", "on_failure=skip", "--set", "max_attempts=1", "--set", "bisect=false", "--spares", "0"];
    let mut member = run(&local, &python, "w", "slow to fail", &more);
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    assert!(!member.stderr().contains("skipped"), "{}", member.stderr());
}

/// What a program has started in turn ends with the worker too, however that ends; here it hangs and hears of nothing.
#[tokio::test]
async fn m4_a_worker_that_is_killed_leaves_no_process_behind_whatever_its_program_started() {
    let local = Local::start(1).await;
    let Some(python) = program(&local) else { return };
    local.put_hashed("orders", [(0, "poison".to_owned())]).await;
    let command = format!("{} -u bill.py; :", python.display());
    let arguments = ["run", "orders", "--group", "g", "--handler", "lines", "--", "/bin/sh", "-c", &command];
    let mut command = local.rokini(&arguments);
    command.env("TRICK", "hang").env("ONCE", local.home().join("once"));
    let mut member = Member::spawn(command);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    let begun = Instant::now();
    // That of the shard, and a spare.
    while !local.home().join("once").exists() || running(&local).len() < 2 {
        assert!(begun.elapsed() < LONGEST_WAIT, "{}", member.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    member.signal(Signal::KILL);
    member.ended().await;
    until_none_runs(&local).await;
}

/// It takes no notice of the end of its input, nor of SIGTERM.
#[tokio::test]
async fn m4_a_program_that_does_not_stop_is_ended_by_force_within_its_time() {
    let local = Local::start(1).await;
    let Some(python) = super::support::python("json") else { return };
    let program = r#"
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open("pids", "a") as pids: pids.write("%d\n" % os.getpid())
for line in sys.stdin:
    print(json.loads(line)["token"], flush=True)
    open("handled", "a").write("x %s\n" % json.loads(line)["data"])
time.sleep(1000)
"#;
    std::fs::write(local.home().join("stays.py"), program).unwrap();
    let data = put(&local, 5).await;
    let options = ["--handler", "lines", "--stop-timeout", "500ms"];
    let mut member = super::support::run(&local, &python, "w", &options, &["-u", "stays.py"], &[]);
    until_handled(&local, &member, &data).await;
    let begun = Instant::now();
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    // The spare and the one of the shard, each with its second between SIGTERM and SIGKILL.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(member.stderr().contains("did not end within 500ms"), "{}", member.stderr());
    until_none_runs(&local).await;
}

#[tokio::test]
async fn o14_what_cannot_act_is_refused() {
    let nowhere = Endpoints::new("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1".to_owned());
    let lines = ["run", "orders", "-g", "g", "--handler", "lines"];
    std::fs::write(nowhere.home().join("bill.sh"), "#!/bin/sh\n").unwrap();
    for (more, said) in [
        (&["--", "./bill.sh"][..], &["`./bill.sh` may not be executed", "chmod +x ./bill.sh"][..]),
        (&[][..], &["no program is named", "-- PROGRAM"][..]),
        (&["--", "./nothing-here"], &["there is no program `./nothing-here`", "PATH"]),
        (&["--set", "auto_checkpoint=false", "--", "sh"], &["auto_checkpoint", "no effect here"]),
        (&["--set", "broadcast=true", "--", "sh"], &["broadcast", "no effect here"]),
        (&["--set", "park=true", "--", "./nothing-here"], &["there is no program"]),
    ] {
        nowhere.run(&[&lines, more].concat()).await.refused(2, said);
    }
    let run = ["run", "orders", "-g", "g", "--handler"];
    std::fs::write(nowhere.home().join("token"), "hush").unwrap();
    std::fs::write(nowhere.home().join("headers"), "Authorization: Basic hush\n").unwrap();
    for (more, said) in [
        (
            &["http", "--url", "http://x", "--bearer-token-file", "token", "--header-file", "headers"][..],
            &["`headers`", "`Authorization`", "bearer token", "give one of the two"][..],
        ),
        (&["lines", "--url", "http://x", "--", "sh"][..], &["`--url` has no effect", "--handler http"][..]),
        (
            &["lines", "--start-timeout", "5s", "--", "sh"],
            &["`--start-timeout` has no effect", "handler_timeout"],
        ),
        (&["lambda", "--http2", "--", "sh"], &["`--http2` has no effect", "--handler http"]),
        (&["http", "--url", "http://x", "--spares", "2"], &["--spares", "runs by itself"]),
        (&["http", "--url", "http://x", "--", "sh"], &["a program", "runs by itself"]),
        (&["http", "--url", "https://x", "--http2"], &["`--http2` has no effect", "by themselves"]),
        (&["http"], &["no URL is named", "--url"]),
        (
            &["http", "--url", "http://user:hush@x"],
            &["a user or a password", "--header-file", "--bearer-token-file"],
        ),
        (
            &["lines", "--spares", "100000", "--", "/bin/sh"],
            &["`--spares 100000` is more than 1000", "10 MB"],
        ),
        (
            &["lambda", "--spares", "9", "--set", "max_leases=4", "--set", "concurrency=2", "--", "/bin/sh"],
            &["`--spares 9`", "8 processes, by `max_leases` and `concurrency`", "`--spares 8`"],
        ),
        (
            &["lines", "--function-version", "7", "--", "sh"],
            &["`--function-version` has no effect", "--handler lambda"],
        ),
        (&["multilang", "--region-unless-set", "x", "--", "sh"], &["--properties"]),
        (&["http", "--url", "ftp://x"], &["`ftp://x`"]),
        (
            &["multilang", "--set", "park=true", "--", "sh"],
            &["`park = true` has no effect here", "--handler lines"],
        ),
        (
            &["multilang", "--set", "concurrency=4", "--", "sh"],
            &["concurrency", "one process for each shard"],
        ),
        (&["multilang", "--set", "bisect=false", "--", "sh"], &["bisect", "checkpoints"]),
        (&["multilang", "--set", "on_failure=skip", "--", "sh"], &["on_failure", "checkpoints"]),
        (
            &["multilang", "--event-source-mapping", "x", "--", "sh"],
            &["--event-source-mapping", "--handler lambda"],
        ),
    ] {
        let ended = nowhere.run(&[&run, more].concat()).await;
        assert!(!ended.stderr.contains("hush"), "{ended:?}");
        if more.contains(&"ftp://x") {
            assert_ne!(ended.status, Some(0), "{ended:?}");
        } else {
            ended.refused(2, said);
        }
    }
    let none = nowhere.run(&["run", "orders", "-g", "g", "--", "sh"]).await;
    none.refused(2, &["no kind of handler is named", "--handler lines"]);
}

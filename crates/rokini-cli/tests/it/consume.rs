//! `consume`: stops, pipes, hand-over.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rokini::Retrieval;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::pressure::{Pressure, promised};
use crate::support::{Ended, Endpoints, LONGEST_WAIT, Local, Member, dynamodb};

const QUICK: [&str; 4] = ["--failover", "3s", "--heartbeat", "300ms"];

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("{n:0300}\n")).collect()
}

async fn group(endpoints: &Endpoints) -> Value {
    serde_json::from_str(&endpoints.run(&["group", "show", "g", "--json"]).await.done()).unwrap()
}

/// The lease of the only shard.
async fn group_lease(endpoints: &Endpoints, group: &str) -> Value {
    let shown = endpoints.run(&["group", "show", group, "--json"]).await.done();
    serde_json::from_str::<Value>(&shown).unwrap()["leases"][0].take()
}

#[tokio::test]
async fn a_record_is_a_line_and_json_says_where_it_comes_from() {
    let local = Local::start(1).await;
    let put = local.run(&["put", "orders", "a\nb", "-k", "key", "--json"]).await.done();
    let put: Value = serde_json::from_str(&put).unwrap();
    let mut json = local.consume("orders", "json", "w1", &[]);
    json.until("the record", |member| member.lines().len() == 1).await;
    let line: Value = serde_json::from_str(&json.lines()[0]).unwrap();
    let names: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = ["arrival", "data", "epoch", "key", "sequence", "shard", "sub_sequence", "worker"];
    assert_eq!(names, BTreeSet::from(wanted));
    assert_eq!((&line["sequence"], &line["shard"]), (&put["sequence"], &put["shard"]));
    assert_eq!((&line["data"], &line["key"], &line["worker"]), (&"a\nb".into(), &"key".into(), &"w1".into()));
    let held = group_lease(&local, "json").await;
    assert_eq!((&line["epoch"], &line["sub_sequence"]), (&held["epoch"], &Value::Null));
    assert_eq!(json.stop().await, Some(0));

    let mut plain = Member::spawn(local.rokini(&["consume", "orders", "--group", "plain"]));
    plain.until("the record", |member| member.lines() == ["a\\nb"]).await;
    assert_eq!(plain.stop().await, Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn p5_a_worker_has_as_many_threads_as_there_are_cores() {
    let local = Local::start(40).await;
    let mut member = local.consume("orders", "quiet", "w1", &[]);
    member.until("all shards", |member| member.stderr().matches("started at").count() == 40).await;
    let status = format!("/proc/{}/status", member.id().as_raw_nonzero());
    let threads = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
        line.trim().parse::<usize>().unwrap()
    };
    // Beside them the first one, and the one that writes standard output. Those that looked up names or files end 10 s after
    // their work.
    let most = std::thread::available_parallelism().unwrap().get() + 2;
    let begun = Instant::now();
    while threads() > most {
        assert!(begun.elapsed() < LONGEST_WAIT, "{} threads for {most} at most", threads());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(member.stop().await, Some(0));
}

#[tokio::test]
async fn a_start_before_the_stream_was_made_is_its_beginning() {
    let local = Local::start(2).await;
    local.run(&["put", "orders", "hello"]).await.done();
    for (group, from) in [("ago", "-1d"), ("time", "2020-01-01T00:00:00Z")] {
        let mut member = local.consume("orders", group, "w", &["--from", from]);
        member.until("the record", |member| member.data() == ["hello"]).await;
        assert_eq!(member.stop().await, Some(0));
    }
}

#[tokio::test]
async fn group_show_tells_workers_and_leases() {
    let local = Local::start(2).await;
    let mut member = local.consume("orders", "g", "w1", &["--checkpoint-interval", "0s"]);
    local.put_evenly("orders", (0..10).map(|n| n.to_string())).await;
    member.until("the records", |member| member.lines().len() == 10).await;
    member.until("both shards", |member| member.stderr().matches("started at").count() == 2).await;
    let shown = group(&local).await;
    assert_eq!(shown["workers"][0]["name"], "w1");
    assert_eq!((&shown["workers"][0]["state"], &shown["workers"][0]["leases"]), (&"alive".into(), &2.into()));
    for lease in shown["leases"].as_array().unwrap() {
        assert_eq!(lease["owner"], "w1");
        // It begins with the time, so that it never comes again.
        assert!(lease["epoch"].as_u64() > Some(1_700_000_000_000), "{lease}");
    }
    let table = local.run(&["group", "show", "g", "--stream", "orders"]).await.done();
    let heads: Vec<_> = table.lines().filter(|line| line.starts_with(|c: char| c.is_uppercase())).collect();
    assert_eq!(heads.len(), 2, "{table}");
    assert!(table.contains("\nstream orders@") && table.contains("(started at TRIM_HORIZON)"), "{table}");
    assert_eq!(table.matches("shardId-").count(), 2, "{table}");
    assert!(!table.contains('\x1b'), "no colours in a pipe");

    assert_eq!(member.stop().await, Some(0));
    let shown = group(&local).await;
    assert_eq!(shown["workers"], Value::Array(Vec::new()), "it left");
    for lease in shown["leases"].as_array().unwrap() {
        assert_eq!(lease["owner"], Value::Null);
        assert!(lease["position"].as_str().unwrap().starts_with("AFTER:"));
        assert!(lease["checkpointed_at"].as_str().unwrap().starts_with("20"));
    }
}

#[tokio::test]
async fn g3_a_clean_stop_moves_the_shards_without_duplicates() {
    let local = Local::start(4).await;
    let mut first = local.consume("orders", "g", "w1", &QUICK);
    first.until("its shards", |first| first.stderr().matches("started at").count() == 4).await;
    let mut second = local.consume("orders", "g", "w2", &QUICK);
    second.until("its share", |second| second.stderr().matches("started at").count() == 2).await;
    for part in 0..5 {
        local.run_with_input(&["put", "orders"], &lines(part * 20..part * 20 + 20)).await.done();
    }
    let stopped = Instant::now();
    assert_eq!(first.stop().await, Some(0), "{}", first.stderr());
    assert!(first.stderr().contains("handed over to `w2`"), "{}", first.stderr());
    local.run_with_input(&["put", "orders"], &lines(100..120)).await.done();
    let all = |second: &Member| first.data().len() + second.data().len() >= 120;
    second.until("the rest", all).await;
    eprintln!("all processed {:?} after the stop", stopped.elapsed());
    assert_eq!(second.stop().await, Some(0));
    let mut data = [first.data(), second.data()].concat();
    data.sort();
    assert_eq!(data.join("\n") + "\n", lines(0..120), "each once");
}

/// In a process name space of its own, where a signal without a handler does nothing.
#[tokio::test]
async fn g2_as_process_one_a_signal_drains_and_ends_with_zero() {
    let local = Local::start(2).await;
    let space = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let possible = Command::new("unshare").args(space).arg("true").status().await;
    if !possible.as_ref().is_ok_and(std::process::ExitStatus::success) {
        crate::skipped(format_args!("`unshare {}` does not work here: {possible:?}", space.join(" ")));
        return;
    }
    let inner = local.rokini(&["consume", "orders", "--group", "g", "--json"]);
    let inner = inner.as_std();
    let mut command = Command::new("unshare");
    command.args(space).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut member = Member::spawn(command);
    local.run(&["put", "orders", "hello"]).await.done();
    member.until("the record", |member| member.data() == ["hello"]).await;
    assert!(group(&local).await["workers"][0]["name"].as_str().unwrap().ends_with("-1"), "it is process 1");

    let outer = member.id().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    let child = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(child, Signal::TERM).unwrap();
    assert_eq!(member.ended().await, Some(0), "{}", member.stderr());
    let shown = group(&local).await;
    assert_eq!(shown["workers"], Value::Array(Vec::new()));
    assert!(shown["leases"].as_array().unwrap().iter().all(|lease| lease["owner"].is_null()));
}

/// Starts a member whose lines nobody reads, and waits until it hangs on the full pipe.
async fn stuck(local: &Local, more: &[&str]) -> (Member, tokio::process::ChildStdout) {
    local.run_with_input(&["put", "orders", "-k", "k", "--unordered"], &lines(0..3000)).await.done();
    let mut command = local.rokini(&[&["consume", "orders", "--group", "g"], more].concat());
    let mut child = command.spawn().unwrap();
    let pipe = child.stdout.take().unwrap();
    let mut member = Member::of(child);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    let full = || rustix::io::ioctl_fionread(&pipe).unwrap() >= 60 << 10;
    let deadline = Instant::now() + LONGEST_WAIT;
    while !full() {
        assert!(Instant::now() < deadline, "the pipe does not fill\n{}", member.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (member, pipe)
}

#[tokio::test]
async fn g2_a_second_signal_ends_it_at_once() {
    for (second, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let local = Local::start(1).await;
        let (mut member, pipe) = stuck(&local, &[]).await;
        member.signal(Signal::TERM);
        member.until("the stop", |member| member.stderr().contains("stopping")).await;
        // What follows at once is an echo of the first.
        member.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(700)).await;
        let at = Instant::now();
        member.signal(second);
        assert_eq!(member.ended().await, Some(status), "{}", member.stderr());
        assert!(at.elapsed() < Duration::from_secs(2), "{:?}", at.elapsed());
        drop(pipe);
    }
}

#[tokio::test]
async fn g1_a_stop_ends_by_its_deadline_and_says_what_was_not_flushed() {
    let local = Local::start(1).await;
    let (mut member, pipe) = stuck(&local, &["--shutdown-deadline", "2s"]).await;
    let at = Instant::now();
    assert_eq!(member.stop().await, Some(1), "{}", member.stderr());
    assert!(at.elapsed() < Duration::from_secs(4), "{:?}", at.elapsed());
    let said = member.stderr();
    assert!(
        said.contains("error: not everything was flushed and stored by the deadline: shardId-0"),
        "{said}"
    );
    assert!(said.contains("next: ") && said.contains("--shutdown-deadline"), "{said}");
    drop(pipe);

    let mut next = local.consume("orders", "g", "next", &[]);
    next.until("every record", |next| next.lines().len() == 3000).await;
    assert_eq!(next.stop().await, Some(0));
}

/// Reads so many lines, then goes away, as `head -n` does.
async fn head(local: &Local, count: usize) -> Vec<String> {
    let mut child = local.rokini(&["consume", "orders", "--group", "g"]).spawn().unwrap();
    // A line at a time: what it takes ahead of the lines it looks at counts as read.
    let mut lines = BufReader::with_capacity(301, child.stdout.take().unwrap()).lines();
    let mut read = Vec::new();
    while read.len() < count {
        read.push(lines.next_line().await.unwrap().expect("a line"));
    }
    drop(lines);
    let ended = Ended::of_child(child).await;
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert!(!ended.stderr.contains("WARN") && !ended.stderr.contains("error"), "{}", ended.stderr);
    read
}

#[tokio::test]
async fn a_closed_pipe_ends_it_cleanly_and_what_was_not_flushed_comes_again() {
    // 3,000 lines of 301 bytes: much more than a pipe takes, and flushed in several pieces, of which the first is
    // through once 1,200 lines are read.
    for (count, at_least, at_most) in [(1, 3000, 3000), (1200, 1800, 2500)] {
        let local = Local::start(1).await;
        local.run_with_input(&["put", "orders", "-k", "k", "--unordered"], &lines(0..3000)).await.done();
        let read = head(&local, count).await;
        assert_eq!(read.join("\n") + "\n", lines(0..u32::try_from(count).unwrap()));
        let shown = group(&local).await;
        assert_eq!(shown["workers"], Value::Array(Vec::new()), "it handed over and left");

        let mut next = local.consume("orders", "g", "next", &[]);
        let last = format!("{:0300}", 2999);
        next.until("the last record", |next| next.data().last() == Some(&last)).await;
        let rest = next.data();
        assert!((at_least..=at_most).contains(&rest.len()), "{count} read, {} came again", rest.len());
        assert!(count + rest.len() >= 3000, "nothing is lost: {count} read, {} came after", rest.len());
        assert_eq!(next.stop().await, Some(0));
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_noticed_without_records() {
    let local = Local::start(1).await;
    let mut child = local.rokini(&["consume", "orders", "--group", "g"]).spawn().unwrap();
    let pipe = child.stdout.take().unwrap();
    let mut member = Member::of(child);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    drop(pipe);
    assert_eq!(member.ended().await, Some(0), "{}", member.stderr());
    assert_eq!(group(&local).await["workers"], Value::Array(Vec::new()));
}

/// Stops the only worker by this signal; how long a new one needs until it has ten new records.
async fn replaced(signal: Signal) -> Duration {
    let local = Local::start(2).await;
    let mut before = local.consume("orders", "g", "before", &QUICK);
    local.run(&["put", "orders", "marker"]).await.done();
    before.until("the record", |before| before.data() == ["marker"]).await;
    before.signal(signal);
    before.ended().await;
    let gone = Instant::now();
    let mut after = local.consume("orders", "g", "after", &QUICK);
    local.put_evenly("orders", (0..10).map(|n| n.to_string())).await;
    after
        .until("new records", |after| after.data().iter().filter(|data| *data != "marker").count() >= 10)
        .await;
    let silence = gone.elapsed();
    assert_eq!(after.stop().await, Some(0));
    silence
}

#[tokio::test]
async fn l2_the_only_worker_is_replaced() {
    let failover = Duration::from_secs(3);
    for (signal, within) in
        [(Signal::TERM, Duration::from_secs(2)), (Signal::KILL, failover + Duration::from_secs(2))]
    {
        let pressure = Pressure::start();
        let silence = replaced(signal).await;
        let promised = promised(within, pressure.share());
        assert!(silence <= promised, "resumed {silence:?} after {signal:?}, at most {promised:?}");
    }
}

#[tokio::test]
async fn l1_three_processes_one_killed_one_stopped_nothing_lost() {
    let local = Local::start(4).await;
    crate::fleet::one_killed_one_stopped(&local, "orders", Retrieval::Polling).await;
}

#[tokio::test]
async fn l1_three_processes_that_are_pushed_to_one_killed_one_stopped_nothing_lost() {
    let local = Local::start(4).await;
    crate::fleet::one_killed_one_stopped(&local, "orders", Retrieval::FanOut).await;
}

#[tokio::test]
async fn t3_table_partitions_spread_a_new_group_and_stay_with_it() {
    let local = Local::start(16).await;
    let spread = ["--set", "table_partitions=4"];
    let mut member = local.consume("orders", "g", "w1", &spread);
    member.until("all shards", |member| member.stderr().matches("started at").count() == 16).await;
    // So many that not all of them are under one key by chance.
    let rows = dynamodb(&local).scan().table_name("rokini").send().await.unwrap();
    let keys: BTreeSet<String> =
        rows.items().iter().map(|row| row["group"].as_s().unwrap().clone()).collect();
    assert!(keys.iter().filter(|key| key.starts_with("g#")).count() > 1, "{keys:?}");
    let shown = group(&local).await;
    assert_eq!(shown["leases"].as_array().unwrap().len(), 16);
    assert_eq!(member.stop().await, Some(0));

    let mut later = local.consume("orders", "g", "w2", &[]);
    later.until("all shards", |member| member.stderr().matches("started at").count() == 16).await;
    assert_eq!(later.stop().await, Some(0));
    let other = ["consume", "orders", "--group", "g", "--set", "table_partitions=2"];
    local.run(&other).await.refused(2, &["4", "2", "repartition"]);
}

#[tokio::test]
async fn t3_a_group_grows_to_more_partition_keys_while_its_workers_run() {
    let local = Local::start(16).await;
    let mut member = local.consume("orders", "g", "w1", &[]);
    member.until("all shards", |member| member.stderr().matches("started at").count() == 16).await;
    let owned = |shown: &Value| {
        let leases = shown["leases"].as_array().unwrap().iter();
        leases
            .map(|lease| (lease["shard"].clone(), lease["owner"].clone(), lease["epoch"].clone()))
            .collect::<Vec<_>>()
    };
    let before = group(&local).await;
    assert_eq!(before["lease_keys"], 1);
    let command = ["group", "repartition", "g", "4", "--json"];
    local.run(&command).await.refused(2, &["not confirmed"]);
    let json = async |more: &str| {
        let said = local.run(&[&command[..], &[more]].concat()).await.done();
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let dry = json("--dry-run").await;
    assert_eq!((&dry["from"], &dry["to"], &dry["rows"]), (&1.into(), &4.into(), &17.into()), "{dry}");
    let done = json("--yes").await;
    assert_eq!((&done["rows"], &done["resumed"]), (&17.into(), &false.into()), "{done}");
    let rows = dynamodb(&local).scan().table_name("rokini").send().await.unwrap();
    let keys: BTreeSet<String> =
        rows.items().iter().map(|row| row["group"].as_s().unwrap().clone()).collect();
    // Of a later generation than any group begins with.
    assert!(
        keys.iter().filter(|key| key.starts_with("g#") && !key.starts_with("g#1.")).count() > 2,
        "{keys:?}"
    );
    let after = group(&local).await;
    assert_eq!(after["lease_keys"], 4);
    // Nobody lost anything: the same worker has the same leases at the same epochs.
    assert_eq!(owned(&after), owned(&before));
    assert_eq!(after["workers"][0]["incarnation"], before["workers"][0]["incarnation"]);
    assert!(!member.stderr().contains("lost"), "{}", member.stderr());
    // It still reads and stores, and hands over.
    local.put_evenly("orders", (0..40).map(|n| n.to_string())).await;
    member.until("the records", |member| member.lines().len() == 40).await;
    let mut later = local.consume("orders", "g", "w2", &[]);
    later.until("half of the shards", |member| member.stderr().matches("started at").count() == 8).await;
    assert_eq!(member.stop().await, Some(0));
    assert_eq!(later.stop().await, Some(0));
}

//! What commands say on standard error.

use serde_json::Value;

use crate::support::{Local, Member};

fn objects(stderr: &str) -> Vec<Value> {
    stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

#[tokio::test]
async fn lifecycle_lines_have_time_group_and_worker() {
    let local = Local::start(1).await;
    let consume = ["consume", "orders", "--group", "g", "--worker", "w"];
    let mut member = Member::spawn(local.rokini(&consume));
    member.until("a shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));
    for said in ["joined the group as `w`", "shardId-000000000000: started at", "stopping: ", "stopped after"]
    {
        let stderr = member.stderr();
        let line =
            stderr.lines().find(|line| line.contains(said)).unwrap_or_else(|| panic!("{said}: {stderr}"));
        let mut words = line.split(' ');
        let time = words.next().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        assert_eq!(words.next(), Some("g/w"), "{line}");
    }
}

#[tokio::test]
async fn all_of_standard_error_is_json_where_that_is_asked_for() {
    let local = Local::start(1).await;
    local.run(&["put", "orders", "one"]).await.done();
    for (options, stdout_is_json) in
        [(&["--json", "-vv"][..], true), (&["--log-format", "json", "-vv"], false)]
    {
        let group = if stdout_is_json { "a" } else { "b" };
        let consume = [&["consume", "orders", "--group", group, "--worker", "w"][..], options].concat();
        let mut member = Member::spawn(local.rokini(&consume));
        member.until("the record", |member| member.lines().len() == 1).await;
        assert_eq!(member.stop().await, Some(0));
        assert_eq!(member.lines()[0].starts_with('{'), stdout_is_json);
        let objects = objects(&member.stderr());
        assert!(objects.iter().all(|object| object["time"].as_str().unwrap().ends_with('Z')));
        let events: Vec<&Value> =
            objects.iter().map(|object| &object["event"]).filter(|event| !event.is_null()).collect();
        let started = events.iter().find(|event| event["code"] == "shard-started").unwrap();
        assert_eq!((&started["group"], &started["worker"]), (&group.into(), &"w".into()));
        assert_eq!(started["shard"], "shardId-000000000000");
        assert!(started["stream"].as_str().unwrap().starts_with("orders"), "{started}");
        assert!(objects.iter().any(|object| object["log"]["target"].is_string()), "{objects:#?}");
    }
    for arguments in [
        &["tail", "nope", "--log-format", "json"][..],
        &["tail", "nope", "--format", "json"],
        // What is wrong with the arguments themselves.
        &["tail", "orders", "--from", "yesterday", "--log-format", "json"],
        &["tail", "orders", "--from", "yesterday", "--log-format=json"],
        &["tail", "orders", "--from", "yesterday", "--format", "json"],
        &["--json", "nonsense"],
    ] {
        let refused = local.run(arguments).await;
        assert_eq!(objects(&refused.stderr)[0]["error"]["status"], 2, "{arguments:?}");
    }
    // And for people, with data as JSON.
    let put = local.run(&["put", "orders", "x", "--json", "--log-format", "text"]).await;
    assert!(put.stderr.starts_with("put 1 record"), "{}", put.stderr);
}

#[tokio::test]
async fn quiet_leaves_errors_only() {
    let local = Local::start(1).await;
    let consume = ["consume", "orders", "--group", "g", "-q", "--set", "failover=3s"];
    let mut member = Member::spawn(local.rokini(&consume));
    local.run(&["put", "orders", "one"]).await.done();
    member.until("the record", |member| member.lines().len() == 1).await;
    // Something that is warned of otherwise.
    let fault = rokini_local::Fault::Error {
        code: rokini_local::wire::ErrorCode::AccessDenied,
        message: "not for you".to_owned(),
        status: None,
    };
    let rule = local.kinesis.faults().add(rokini_local::FaultRule::on("GetRecords", fault));
    tokio::time::timeout(crate::support::LONGEST_WAIT, async {
        while local.kinesis.faults().list()[0].hits < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    assert!(local.kinesis.faults().remove(rule));
    assert_eq!(member.stop().await, Some(0));
    assert!(!member.stderr().to_lowercase().contains("warn"), "{}", member.stderr());
    assert!(!member.stderr().contains("joined"), "{}", member.stderr());
}

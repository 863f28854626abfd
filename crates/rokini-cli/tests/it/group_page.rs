//! `group page`: the page of a group from a process that is none of its workers.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{LONGEST_WAIT, Local, Member};

/// Status and body.
async fn get(address: &str, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub async fn group(address: &str) -> Value {
    let (status, body) = get(address, address, "/group.json").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Looks until the group is as wanted.
async fn until(address: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let group = group(address).await;
        if wanted(&group) {
            return group;
        }
        assert!(begun.elapsed() < LONGEST_WAIT, "{what}: {group:#}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn the_page_shows_a_group_from_outside_also_when_nobody_is_left_in_it() {
    let local = Local::start(2).await;
    let mut worker = local.consume("orders", "g", "w", &["--failover", "3s"]);
    worker.until("both shards", |worker| worker.stderr().matches("started at").count() == 2).await;

    let mut command = local.rokini(&["group", "page", "g", "--listen", "127.0.0.1:0", "--json"]);
    command.env("AWS_ACCESS_KEY_ID", "observer");
    let mut page = Member::spawn(command);
    page.until("its address", |page| !page.lines().is_empty()).await;
    let told: Value = serde_json::from_str(&page.lines()[0]).unwrap();
    let url = told["url"].as_str().unwrap();
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();

    let (status, html) = get(&address, &address, "/").await;
    assert!(status == 200 && html.contains("<html"), "{html}");
    assert_eq!(get(&address, "evil.example", "/group.json").await.0, 421, "a name of another site");
    assert_eq!(get(&address, &address, "/healthz").await.0, 404, "it is no worker");

    let shards = |group: &Value| group["streams"][0]["shards"].as_array().cloned().unwrap_or_default();
    let shown = until(&address, "both shards are read", |group| {
        shards(group).iter().filter(|shard| shard["state"] == "reading" && shard["owner"] == "w").count() == 2
    })
    .await;
    assert_eq!((&shown["group"], &shown["worker"]), (&"g".into(), &Value::Null), "{shown:#}");
    assert_eq!(shown["workers"].as_array().unwrap().len(), 1);

    // Nobody is left to declare it dead.
    worker.signal(Signal::KILL);
    until(&address, "its shards are orphaned", |group| {
        shards(group).iter().all(|shard| {
            shard["state"] == "orphaned"
                && shard["stands"] == true
                && shard["why"].as_str().unwrap().contains("had no heartbeat")
        })
    })
    .await;
    let mut next = local.consume("orders", "g", "next", &["--failover", "3s"]);
    next.until("both shards", |next| next.stderr().matches("started at").count() == 2).await;
    until(&address, "the next worker has them", |group| {
        shards(group).iter().all(|shard| shard["owner"] == "next" && shard["state"] == "reading")
    })
    .await;
    // What changed came as events, and nothing was read of a stream.
    let mut events = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /events HTTP/1.1\r\nhost: {address}\r\n\r\n");
    events.write_all(request.as_bytes()).await.unwrap();
    let (mut seen, mut part) = (String::new(), [0; 4096]);
    while !(seen.contains("goes from w to next") && seen.contains("next takes part")) {
        let read = tokio::time::timeout(LONGEST_WAIT, events.read(&mut part)).await.unwrap().unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    let calls = local.kinesis.calls();
    assert!(!calls.is_empty() && calls.iter().all(|call| call.caller.as_deref() != Some("observer")));
    assert_eq!(page.stop().await, Some(0));
    assert_eq!(next.stop().await, Some(0));

    local.run(&["group", "page", "nope"]).await.refused(2, &["error: table `rokini`", "next: "]);
    let kept = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = kept.local_addr().unwrap().to_string();
    local
        .run(&["group", "page", "g", "--listen", &taken])
        .await
        .refused(2, &["error: the page cannot be served at", "next: give another address"]);
}

//! Handlers that take nothing: within ten seconds `group why` says so, whatever kind they are, with what they last said.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rokini_local::{Fault, FaultRule};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::pressure::{Pressure, promised};
use crate::support::{Endpoints, Local, Member};

/// How long after its records came the cause of a shard is known.
const LIMIT: Duration = Duration::from_secs(10);

/// The kinds, each with what its last error says.
const KINDS: [(&str, &str); 5] = [
    ("lines", "exit status: 3"),
    ("lambda", "exit status: 3"),
    ("multilang", "exit status: 3"),
    ("http", "HTTP 503"),
    ("refused", "onnection refused"),
];

/// A service that asks for patience.
async fn busy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 16 << 10]).await;
                let answer = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

/// A worker of the group, and of the stream, that is named after the kind.
fn start(endpoints: &Endpoints, kind: &str, url: &str) -> Member {
    let handler = if kind == "refused" { "http" } else { kind };
    let arguments = ["run", "orders", "--group", kind, "--worker", "w", "--handler", handler];
    let more: &[&str] = match handler {
        "http" => &["--url", url],
        _ => &["--", "/bin/sh", "-c", "exit 3"],
    };
    Member::spawn(endpoints.rokini(&[&arguments[..], more].concat()))
}

#[tokio::test]
async fn o12_a_handler_that_takes_nothing_is_the_cause_whatever_its_kind() {
    let local = Local::start(1).await;
    let pressure = Pressure::start();
    let busy = busy().await;
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let url = |kind: &str| if kind == "refused" { nobody.as_str() } else { busy.as_str() };
    let mut members: BTreeMap<_, _> =
        KINDS.iter().map(|(kind, _)| (*kind, start(&local, kind, url(kind)))).collect();
    for (kind, member) in &mut members {
        member.until(kind, |member| member.stderr().contains("started at")).await;
    }
    local.put_hashed("orders", [(0, "waits".to_owned())]).await;
    let known = Instant::now() + promised(LIMIT, pressure.share());
    // They have read it by now. That others take the reads of the shard is no cause: what is read waits.
    tokio::time::sleep(Duration::from_secs(4)).await;
    local.kinesis.faults().add(FaultRule::on("GetRecords", Fault::Throttle).stream("orders"));
    tokio::time::sleep_until(known.into()).await;
    for (kind, says) in KINDS {
        let why = local.run(&["group", "why", kind, "--json"]).await;
        let shown: Value = serde_json::from_str(&why.stdout).unwrap();
        let shard = &shown["shards"][0];
        let said = members[kind].stderr();
        assert_eq!(
            (&shard["state"], &shard["cause"]),
            (&"stuck".into(), &"unavailable".into()),
            "{kind}: {shown}\n{said}"
        );
        for field in ["why", "error"] {
            assert!(shard[field].as_str().is_some_and(|text| text.contains(says)), "{kind}: {shown}\n{said}");
        }
    }
    for member in members.values_mut() {
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
}

//! What the help says of options, and what is shown again and again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Endpoints, Local, Member};

/// The options of a command by the heading that they stand under.
async fn headings(endpoints: &Endpoints, command: &[&str]) -> BTreeMap<String, String> {
    let help = endpoints.run(&[command, &["--help"]].concat()).await.done();
    let (mut options, mut heading) = (BTreeMap::new(), String::new());
    // Examples have options too.
    for line in help.lines().take_while(|line| *line != "Examples:") {
        if let Some(title) = line.strip_suffix(':').filter(|title| !title.starts_with(' ')) {
            heading = title.to_owned();
        }
        let words = line.trim_start().split([' ', ',', '=', '[']);
        if line.starts_with("  ") && line.trim_start().starts_with('-') {
            for option in words.filter(|word| word.starts_with("--")) {
                options.insert(option.to_owned(), heading.clone());
            }
        }
    }
    options
}

#[tokio::test]
async fn options_stand_under_the_heading_that_they_are_about() {
    let endpoints =
        Endpoints::new("https://kinesis.example".to_owned(), "https://dynamodb.example".to_owned());
    let aws = ["--region", "--profile", "--endpoint-url"];
    for (command, own) in [
        (&["group", "seek"][..], &["--to", "--yes", "--dry-run", "--shard", "--stream", "--table"][..]),
        (&["group", "undo"], &["--yes", "--dry-run", "--table"]),
        (&["group", "pause"], &["--shard", "--stream", "--dry-run"]),
        (&["group", "resume"], &["--shard", "--stream", "--dry-run"]),
        (&["group", "move"], &["--stream", "--wait", "--dry-run"]),
        (&["group", "drain"], &["--wait", "--dry-run"]),
        (&["group", "show"], &["--quick", "--wide", "--watch", "--shard"]),
        (&["group", "lag"], &["--watch", "--shard"]),
        (&["group", "why"], &["--shard", "--stream"]),
        (&["doctor"], &["--group", "--policy", "--terraform", "--kms-key", "--config"]),
        (&["put"], &["--key", "--rate"]),
        (&["tail"], &["--from", "--shard"]),
    ] {
        let options = headings(&endpoints, command).await;
        for option in aws {
            assert_eq!(options.get(option).map(String::as_str), Some("AWS options"), "{command:?} {option}");
        }
        for option in own {
            assert_eq!(options.get(*option).map(String::as_str), Some("Options"), "{command:?} {option}");
        }
    }
}

#[tokio::test]
async fn what_is_watched_is_shown_anew_until_it_is_interrupted() {
    let local = Local::start(1).await;
    let mut worker = local.consume("orders", "g", "w", &[]);
    worker.until("its shard", |worker| worker.stderr().contains("started at")).await;
    for command in ["lag", "show"] {
        let watch = ["group", command, "g", "--watch=100ms", "--json"];
        let mut watching = Member::spawn(local.rokini(&watch));
        watching.until("a first and another look", |watching| watching.lines().len() >= 2).await;
        for line in watching.lines() {
            let shown: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(shown["group"], "g", "{shown}");
        }
        assert!(watching.lines().iter().all(|line| !line.contains('\x1b')), "no terminal is cleared");
        watching.signal(rustix::process::Signal::INT);
        assert_eq!(watching.ended().await, Some(130), "{}", watching.stderr());
    }
    local.run(&["group", "lag", "g", "--watch=0s"]).await.refused(2, &["error: ", "--watch"]);
    assert_eq!(worker.stop().await, Some(0));
}

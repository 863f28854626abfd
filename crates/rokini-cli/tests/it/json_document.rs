//! `docs/JSON.md` is what commands print.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Local, Member};

/// Members of each object: their paths, and whether they may be absent.
type Schemas = BTreeMap<String, BTreeMap<String, bool>>;

/// The tables of the document, by the heading above them.
fn documented() -> Schemas {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/JSON.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut schemas, mut heading) = (Schemas::new(), String::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            heading = title.replace('`', "");
        } else if let Some(row) = line.strip_prefix("| `") {
            let (member, rest) = row.split_once('`').unwrap();
            let optional = rest.split('|').nth(1).unwrap().contains("optional");
            schemas.entry(heading.clone()).or_default().insert(member.to_owned(), optional);
        }
    }
    schemas
}

/// Every path of a value: `a.b`, `a[].b`. What has names for keys is `a{}.b` where the document says so.
fn paths(value: &Value, path: &str, maps: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if maps.contains(path) => {
            let below = format!("{path}{{}}");
            if !members.is_empty() {
                found.insert(below.clone());
            }
            members.values().for_each(|member| paths(member, &below, maps, found));
        }
        Value::Object(members) => {
            for (name, member) in members {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.insert(below.clone());
                paths(member, &below, maps, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), maps, found)),
        _ => {}
    }
}

struct Document {
    schemas: Schemas,
    seen: BTreeMap<String, BTreeSet<String>>,
}

impl Document {
    /// Holds objects against their table.
    fn check(&mut self, heading: &str, text: &str) {
        let schema = self.schemas.get(heading).unwrap_or_else(|| panic!("docs/JSON.md has no `{heading}`"));
        let maps: BTreeSet<String> = schema
            .keys()
            .filter_map(|member| member.split_once("{}").map(|(map, _)| map.to_owned()))
            .collect();
        assert!(!text.trim().is_empty(), "{heading}: nothing was printed");
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{heading}: {line}"));
            let mut found = BTreeSet::new();
            paths(&value, "", &maps, &mut found);
            for path in &found {
                // What has names for keys has a row for what is in its values.
                let known = schema.contains_key(path) || maps.contains(path) || path.ends_with("{}");
                assert!(known, "{heading}: `{path}` is not in docs/JSON.md: {line}");
            }
            for (member, optional) in schema {
                let top = !member.contains(['.', '[', '{']);
                assert!(
                    !top || *optional || found.contains(member),
                    "{heading}: `{member}` is not in {line}"
                );
            }
            self.seen.entry(heading.to_owned()).or_default().extend(found);
        }
    }

    /// What the document says and nothing printed.
    fn unseen(&self) -> Vec<String> {
        let mut unseen = Vec::new();
        for (heading, schema) in &self.schemas {
            let none = BTreeSet::new();
            let seen = self.seen.get(heading).unwrap_or(&none);
            let members = schema.iter().filter(|(member, optional)| !**optional && !seen.contains(*member));
            unseen.extend(members.map(|(member, _)| format!("{heading}: {member}")));
        }
        unseen
    }
}

/// The lines of standard error that have this member.
fn lines_with(stderr: &str, member: &str) -> String {
    let has = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line.get(member).is_some());
    stderr.lines().filter(has).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn objects_are_as_the_document_says() {
    let local = Local::start(2).await;
    let mut document = Document { schemas: documented(), seen: BTreeMap::new() };
    let json = async |arguments: &[&str]| {
        let ended = local.run(&[arguments, &["--json"]].concat()).await;
        assert!(matches!(ended.status, Some(0 | 1)), "{arguments:?}: {ended:?}");
        ended
    };

    document.check("put", &json(&["put", "orders", "one", "two", "three"]).await.stdout);
    let tail = ["tail", "orders", "--from", "trim_horizon", "--no-follow", "--stats"];
    let tailed = json(&tail).await;
    document.check("tail", &tailed.stdout);
    document.check("stats", &lines_with(&tailed.stderr, "stats"));
    let dumped = json(&["dump", "orders"]).await;
    document.check("A line of a dump", &dumped.stdout);
    document.check("dump (standard error)", &lines_with(&dumped.stderr, "dump"));
    document.check("dump", &json(&["dump", "orders", "--out", "dump"]).await.stdout);
    document.check("restore", &json(&["restore", "orders", "dump"]).await.stdout);

    document.check("stream create", &json(&["stream", "create", "others", "--shards", "2"]).await.stdout);
    document.check("stream list", &json(&["stream", "list"]).await.stdout);
    document.check("stream describe", &json(&["stream", "describe", "orders"]).await.stdout);
    document.check("stream merge", &json(&["stream", "merge", "others", "0", "1"]).await.stdout);
    document.check("stream split", &json(&["stream", "split", "others", "2"]).await.stdout);
    document.check("stream scale", &json(&["stream", "scale", "others", "4"]).await.stdout);
    let serve = ["local", "--kinesis-port", "0", "--dynamodb-port", "0", "--json"];
    document.check("local", &first_line(&local, &serve).await);

    let mut member = local.consume("orders", "g", "w", &["-vv"]);
    member.until("the records", |member| member.lines().len() >= 6).await;
    document.check("consume", &member.lines().join("\n"));
    for arguments in
        [&["group", "list"][..], &["group", "show", "g"], &["group", "lag", "g"], &["group", "why", "g"]]
    {
        document.check(&arguments[..2].join(" "), &json(arguments).await.stdout);
    }
    document.check("group audit", &json(&["group", "audit", "g"]).await.stdout);
    let page = ["group", "page", "g", "--listen", "127.0.0.1:0", "--json"];
    document.check("group page", &first_line(&local, &page).await);
    let (events, paused) = tokio::join!(json(&["group", "events", "g", "--for", "4s"]), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        json(&["group", "pause", "g"]).await
    });
    document.check("group events", &events.stdout);
    document.check("group pause", &paused.stdout);
    let paused = json(&["group", "why", "g"]).await;
    document.check("group why", &paused.stdout);
    document.check("group resume", &json(&["group", "resume", "g"]).await.stdout);
    document
        .check("group seek", &json(&["group", "seek", "g", "--to", "trim_horizon", "--yes"]).await.stdout);
    document.check("group history", &json(&["group", "history", "g"]).await.stdout);
    document.check("group undo", &json(&["group", "undo", "g", "--yes"]).await.stdout);
    assert_eq!(member.stop().await, Some(0));
    let stderr = member.stderr();
    document.check("event", &lines_with(&stderr, "event"));
    document.check("log", &lines_with(&stderr, "log"));
    document.check("info", &lines_with(&put_info(&local).await, "info"));
    document.check("doctor", &json(&["doctor", "orders", "--group", "g"]).await.stdout);
    document.check("group delete", &json(&["group", "delete", "g", "--yes"]).await.stdout);
    document.check("stream delete", &json(&["stream", "delete", "others", "--yes"]).await.stdout);
    document.check("error", &local.run(&["tail", "nope", "--json"]).await.stderr);
    document.check("warning", &lines_with(&interrupted_dump(&local).await, "warning"));
    assert!(document.unseen().is_empty(), "in docs/JSON.md and never printed: {:#?}", document.unseen());
}

/// What a command says that goes on until it is stopped.
async fn first_line(local: &Local, command: &[&str]) -> String {
    let mut running = Member::spawn(local.rokini(command));
    running.until("its object", |running| !running.lines().is_empty()).await;
    assert_eq!(running.stop().await, Some(0));
    running.lines().remove(0)
}

async fn put_info(local: &Local) -> String {
    local.run(&["put", "orders", "x", "--json"]).await.stderr
}

/// A read that is retried is warned of.
async fn interrupted_dump(local: &Local) -> String {
    let fault = rokini_local::Fault::Error {
        code: rokini_local::wire::ErrorCode::InternalFailure,
        message: "for a moment".to_owned(),
        status: None,
    };
    local.kinesis.faults().add(rokini_local::FaultRule::on("GetRecords", fault).times(12));
    local.run(&["dump", "orders", "--json"]).await.stderr
}

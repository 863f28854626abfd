//! `docs/JSON.md` is what commands print.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Local, Member, dynamodb};

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

pub struct Document {
    schemas: Schemas,
    seen: BTreeMap<String, BTreeSet<String>>,
}

impl Document {
    pub fn read() -> Self {
        Self { schemas: documented(), seen: BTreeMap::new() }
    }

    /// Holds objects against their table.
    pub fn check(&mut self, heading: &str, text: &str) {
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

    /// What the document says under headings such as these, and nothing printed.
    pub fn unseen(&self, about: impl Fn(&str) -> bool) -> Vec<String> {
        let mut unseen = Vec::new();
        for (heading, schema) in self.schemas.iter().filter(|(heading, _)| about(heading)) {
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
    let mut document = Document::read();
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
    document.check("A dead letter", &dead_letters(&local).await);
    document.check("group move", &json(&["group", "move", "g", "0", "w"]).await.stdout);
    document.check("group move", &json(&["group", "move", "g", "0", "--unpin"]).await.stdout);
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
    document.check("group drain", &json(&["group", "drain", "g", "w"]).await.stdout);
    assert_eq!(member.stop().await, Some(0));
    let export = ["export", "--to", "kcl", "--kcl-table", "back", "--create-table", "g", "--yes"];
    document.check("export", &json(&export).await.stdout);
    let import =
        ["import", "--from", "kcl", "--table", "back", "--stream", "orders", "--group", "h", "--yes"];
    document.check("import", &json(&import).await.stdout);
    delete_a_lease(&local, "h").await;
    document.check("group audit", &json(&["group", "audit", "h"]).await.stdout);
    let stderr = member.stderr();
    document.check("event", &lines_with(&stderr, "event"));
    document.check("log", &lines_with(&stderr, "log"));
    document.check("info", &lines_with(&put_info(&local).await, "info"));
    document.check("doctor", &json(&["doctor", "orders", "--group", "g"]).await.stdout);
    let repartition = ["group", "repartition", "g", "2"];
    for how in ["--dry-run", "--yes"] {
        document.check("group repartition", &json(&[&repartition[..], &[how]].concat()).await.stdout);
    }
    document.check("group delete", &json(&["group", "delete", "g", "--yes"]).await.stdout);
    document.check("stream delete", &json(&["stream", "delete", "others", "--yes"]).await.stdout);
    document.check("error", &local.run(&["tail", "nope", "--json"]).await.stderr);
    document.check("warning", &lines_with(&interrupted_dump(&local).await, "warning"));
    // The demo has a test of its own.
    let unseen = document.unseen(|heading| !heading.starts_with("demo"));
    assert!(unseen.is_empty(), "in docs/JSON.md and never printed: {unseen:#?}");
}

/// What a handler that takes nothing leaves.
async fn dead_letters(local: &Local) -> String {
    let handler = r#"while read -r line; do
        token=$(printf '%s' "$line" | sed 's/^{"token":\([0-9]*\),.*/\1/'); printf '{"fail":%s,"error":"no"}\n' "$token"
    done"#;
    let settings = ["--set", "on_failure=dead_letter", "--set", "max_attempts=1"];
    let sink =
        ["--set", "dead_letter=file:letters.jsonl", "--start", "trim_horizon", "--", "sh", "-c", handler];
    let run = ["run", "orders", "--group", "letters", "--worker", "w", "--handler", "lines"];
    let mut command = local.rokini(&[&run[..], &settings, &sink].concat());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut worker = Member::spawn(command);
    let read = || std::fs::read_to_string(local.home().join("letters.jsonl")).unwrap_or_default();
    let begun = tokio::time::Instant::now();
    while read().lines().count() < 3 {
        assert!(begun.elapsed() < crate::support::LONGEST_WAIT, "{}", worker.stderr());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    worker.stop().await;
    read()
}

/// So that there is something to be found.
async fn delete_a_lease(local: &Local, group: &str) {
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let client = dynamodb(local);
    let rows = client.scan().table_name("rokini").send().await.unwrap();
    let of_group = |row: &&std::collections::HashMap<String, _>| row["group"] == text(group);
    let row =
        rows.items().iter().filter(of_group).find(|row| row["row"].as_s().unwrap().starts_with("lease#"));
    let delete = client.delete_item().table_name("rokini").key("group", text(group));
    delete.key("row", row.unwrap()["row"].clone()).send().await.unwrap();
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

//! The service model of AWS against what is here: every operation, every member of its requests.
//!
//! The trimmed model stands in `service-model/`. Where Python with botocore is there, the newest model is asked as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use rokini_local::wire::{AnyRequest, Codec, OPERATIONS};
use serde::Deserialize;
use serde_json::{Value, json};

/// Members that are read and mean nothing here, with the reason.
const IGNORED: [(&str, &str); 6] = [
    ("CreateChannel.EncryptionConfiguration", "channels are refused"),
    ("CreateChannel.LoggingConfiguration", "channels are refused"),
    ("CreateChannel.S3DestinationConfiguration", "channels are refused"),
    ("CreateChannel.S3TablesDestinationConfiguration", "channels are refused"),
    ("CreateChannel.Tags", "channels are refused"),
    ("UpdateChannel.*", "there is no channel to change"),
];

/// Members that shapes know and the model never looks at, with the reason.
const UNUSED: [(&str, &str); 4] = [
    ("channel_name", "channels are refused"),
    ("service_execution_role_arn", "channels are refused"),
    ("stream_id", "reserved by the service"),
    ("wait_time_seconds", "the endpoint waits, not the model"),
];

#[derive(Deserialize)]
struct Model {
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
struct Operation {
    input: Option<String>,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    members: BTreeMap<String, String>,
    member: Option<String>,
    #[serde(rename = "enum", default)]
    values: Vec<String>,
}

fn model(text: &str) -> Model {
    serde_json::from_str(text).unwrap()
}

fn checked_in() -> Model {
    model(include_str!("../../service-model/kinesis.json"))
}

impl Model {
    /// A value with every member there is.
    fn whole(&self, name: &str) -> Value {
        let shape = &self.shapes[name];
        match shape.kind.as_str() {
            "structure" => {
                shape.members.iter().map(|(member, shape)| (member.clone(), self.whole(shape))).collect()
            }
            "list" => json!([self.whole(shape.member.as_ref().unwrap())]),
            "map" => json!({ "a": "b" }),
            "boolean" => json!(true),
            "integer" | "long" => json!(1),
            "timestamp" => json!(1_700_000_000),
            "blob" => json!("AAAA"),
            _ => json!(shape.values.first().map_or("1", String::as_str)),
        }
    }

    /// Members of requests that are passed over on reading.
    fn passed_over(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (name, operation) in &self.operations {
            let request = operation.input.as_ref().map_or_else(|| json!({}), |input| self.whole(input));
            // The name first, so that the request is read as it comes.
            let text = format!(r#"{{"operation":"{name}","request":{request}}}"#);
            let mut reader = serde_json::Deserializer::from_str(&text);
            let read: Result<AnyRequest, _> = serde_ignored::deserialize(&mut reader, |path| {
                let path = path.to_string();
                let members = path.split('.').filter(|part| part.parse::<u32>().is_err() && *part != "?");
                let members: Vec<&str> = members.filter(|part| *part != "request").collect();
                found.insert(format!("{name}.{}", members.join(".")));
            });
            read.unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        }
        found
    }
}

fn is_ignored(path: &str) -> bool {
    IGNORED.iter().any(|(ignored, _)| {
        *ignored == path || ignored.strip_suffix('*').is_some_and(|before| path.starts_with(before))
    })
}

#[test]
fn every_member_of_a_request_is_read_or_listed_as_ignored() {
    let passed_over = checked_in().passed_over();
    let silent: Vec<_> = passed_over.iter().filter(|path| !is_ignored(path)).collect();
    assert!(silent.is_empty(), "neither read nor listed: {silent:?}");
    let exact = IGNORED.iter().filter(|(path, _)| !path.ends_with('*'));
    for (path, _) in exact {
        assert!(passed_over.contains(*path), "{path} is listed as ignored, and read");
    }
}

/// A coarse look: the name of the field stands somewhere in the model's code.
#[test]
fn every_member_that_is_read_is_used_or_listed_as_unused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model");
    let code: String = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let model = checked_in();
    let mut unused = BTreeSet::new();
    let mut structures: Vec<&str> = model.operations.values().filter_map(|op| op.input.as_deref()).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = structures.pop() {
        let channel =
            name.contains("Channel") || name.starts_with("S3") || name.contains("DestinationConfig");
        if !seen.insert(name) || channel {
            continue;
        }
        for (member, shape) in &model.shapes[name].members {
            let inner = &model.shapes[shape];
            let inner = if inner.kind == "list" { inner.member.as_deref().unwrap() } else { shape };
            if model.shapes[inner].kind == "structure" {
                structures.push(inner);
            }
            let field = match member.as_str() {
                "Type" => "kind".to_owned(),
                other => field_name(other),
            };
            let used = code.match_indices(&field).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                let after = code[at + field.len()..].chars().next();
                let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                matches!(before, Some('.' | ' ' | '{')) && !word(after)
            });
            if !used {
                unused.insert(field);
            }
        }
    }
    let listed: BTreeSet<_> = UNUSED.iter().map(|(field, _)| (*field).to_owned()).collect();
    let silent: Vec<_> = unused.difference(&listed).collect();
    assert!(silent.is_empty(), "neither used nor listed: {silent:?}");
}

/// `StreamARN` is `stream_arn`, `MaxRecordSizeInKiB` is `max_record_size_in_kib`.
fn field_name(member: &str) -> String {
    let member = member.replace("ARN", "Arn").replace("KiB", "Kib").replace("MiBps", "Mibps");
    let mut field = String::new();
    for letter in member.chars() {
        if letter.is_ascii_uppercase() && !field.is_empty() {
            field.push('_');
        }
        field.push(letter.to_ascii_lowercase());
    }
    field
}

#[test]
fn a_request_without_a_required_member_is_refused() {
    let model = checked_in();
    for (name, operation) in &model.operations {
        let Some(input) = &operation.input else { continue };
        for required in &model.shapes[input].required {
            let mut request = model.whole(input);
            request.as_object_mut().unwrap().remove(required);
            let body = serde_json::to_vec(&request).unwrap();
            let read = AnyRequest::decode(name, Codec::Json, &body).expect("a known operation");
            assert!(read.is_err(), "{name} without {required} is read");
        }
    }
}

/// What the newest botocore knows, if it is there.
#[test]
fn the_installed_botocore_knows_no_other_operation_and_no_other_required_member() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("service-model/trim.py");
    let output = Command::new("python3").arg(script).arg("-").output();
    let text = match output {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        Ok(output) => {
            crate::skipped(format_args!(
                "python3 with botocore: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
            return;
        }
        Err(error) => {
            crate::skipped(format_args!("python3 is not there: {error}"));
            return;
        }
    };
    let (newest, here) = (model(&text), checked_in());
    let unknown: Vec<_> =
        newest.operations.keys().filter(|name| !OPERATIONS.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "operations that are not here: {unknown:?}");
    for (name, operation) in &newest.operations {
        let Some(input) = &operation.input else { continue };
        for required in &newest.shapes[input].required {
            // An older botocore still requires what the service does not.
            let optional_by_now = required == "PartitionKey";
            let known = here.shapes.get(input).is_some_and(|shape| shape.required.contains(required));
            assert!(known || optional_by_now, "{name} requires {required}, which is not required here");
        }
    }
}

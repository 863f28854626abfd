//! The service model of AWS against what is here: every operation, every member of its requests.
//!
//! The trimmed model stands in `service-model/`. Where Python with botocore is there, the newest model is asked as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use rokini_local::wire::{AnyRequest, Codec, ErrorCode, OPERATIONS, ServiceError};
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

/// Members that shapes know and the operation never looks at, with the reason. `*` stands for any operation.
const UNUSED: [(&str, &str, &str); 8] = [
    ("*", "stream_id", "reserved by the service"),
    ("CreateChannel", "channel_name", "channels are refused"),
    ("CreateChannel", "service_execution_role_arn", "channels are refused"),
    ("ListChannels", "max_results", "there are none"),
    ("ListChannels", "stream_filter", "there are none"),
    ("ReceiveDeadLetterQueueRecords", "wait_time_seconds", "the endpoint waits, not the model"),
    ("ReceiveQueueRecords", "wait_time_seconds", "the endpoint waits, not the model"),
    ("UpdateShardCount", "scaling_type", "there is one, which the service model checks"),
];

#[derive(Deserialize)]
pub(crate) struct Model {
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
pub(crate) struct Operation {
    pub(crate) input: Option<String>,
    pub(crate) output: Option<String>,
    errors: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) required: Vec<String>,
    #[serde(default)]
    pub(crate) members: BTreeMap<String, String>,
    pub(crate) member: Option<String>,
    #[serde(rename = "enum", default)]
    values: Vec<String>,
}

fn model(text: &str) -> Model {
    serde_json::from_str(text).unwrap()
}

/// Errors that every operation may answer, as the API reference has them on its page of common errors; the names of those that the model
/// of Kinesis has too are the model's.
const COMMON_ERRORS: [&str; 3] = ["AccessDeniedException", "ThrottlingException", "ValidationException"];

/// Fails on an error that AWS does not list for the operation: a client has no type for it, and nothing that would handle it.
pub(crate) fn assert_listed(operation: &str, error: &ServiceError) {
    static MODEL: LazyLock<Model> = LazyLock::new(checked_in);
    let code = error.code.as_str();
    let listed = MODEL.operations[operation].errors.iter().any(|listed| listed == code);
    assert!(listed || COMMON_ERRORS.contains(&code), "{operation} does not list {error}");
}

pub(crate) fn checked_in() -> Model {
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
#[should_panic(expected = "ListStreams does not list ResourceInUse")]
fn an_error_that_aws_does_not_list_does_not_pass_unseen() {
    assert_listed("ListStreams", &ServiceError::new(ErrorCode::ResourceInUse, "no"));
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

/// The model's code, the table of operations apart: what a request is about says nothing of whether it is carried out.
fn code() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some() && !path.ends_with("operations.rs"));
    files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// Whether a word stands in a code, after one of these.
fn has_word(code: &str, before: &[&str], word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let begins = before.iter().any(|before| code[..at].ends_with(before));
        let after = code[at + word.len()..].chars().next();
        begins && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The functions that take a request of this type, each with the name it has there.
fn functions<'a>(code: &'a str, request: &str) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    // A function goes from its `fn` to the next.
    let mut starts: Vec<usize> = code.match_indices("fn ").map(|(at, _)| at).collect();
    starts.push(code.len());
    for pair in starts.windows(2) {
        let function = &code[pair[0]..pair[1]];
        let Some((signature, body)) = function.split_once('{') else { continue };
        let typed = format!(": &{request}");
        let Some(at) = signature
            .find(&typed)
            .filter(|at| !signature[at + typed.len()..].starts_with(|c: char| c.is_alphanumeric()))
        else {
            continue;
        };
        let name = signature[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        found.push((name, body));
    }
    found
}

/// Whether a function uses a field: by its name, or by taking the request apart.
fn uses(name: &str, body: &str, request: &str, field: &str) -> bool {
    let apart = body.split_once(&format!("let {request} {{")).and_then(|(_, rest)| rest.split_once('}'));
    has_word(body, &[&format!("{name}.")], field)
        || apart.is_some_and(|(fields, _)| has_word(fields, &[" ", "\n"], field))
}

/// Members that no function of their operation uses, and of how many operations the functions were found.
fn unused_by_operations(model: &Model, code: &str) -> (BTreeSet<(String, String)>, usize) {
    let (mut unused, mut operations) = (BTreeSet::new(), 0);
    for (name, operation) in &model.operations {
        let Some(input) = &operation.input else { continue };
        let request = format!("{name}Request");
        let functions = functions(code, &request);
        let members = &model.shapes[input].members;
        operations += usize::from(!functions.is_empty());
        for member in members.keys() {
            if is_ignored(&format!("{name}.{member}")) {
                continue;
            }
            let field = field_name(member);
            if !functions.iter().any(|(named, body)| uses(named, body, &request, &field)) {
                unused.insert((name.clone(), field));
            }
        }
    }
    (unused, operations)
}

#[test]
fn every_member_of_a_request_is_used_by_its_operation_or_listed_as_unused() {
    let (unused, operations) = unused_by_operations(&checked_in(), &code());
    assert!(operations > 40, "the functions of {operations} operations were found");
    let listed = |name: &str, field: &str| {
        UNUSED
            .iter()
            .any(|(operation, unused, _)| *unused == field && (*operation == "*" || *operation == name))
    };
    let silent: Vec<_> = unused.iter().filter(|(name, field)| !listed(name, field)).collect();
    assert!(silent.is_empty(), "neither used nor listed: {silent:?}");
    let named = UNUSED.iter().filter(|(operation, ..)| *operation != "*");
    let used: Vec<_> = named
        .filter(|(operation, field, _)| !unused.contains(&((*operation).to_owned(), (*field).to_owned())))
        .collect();
    assert!(used.is_empty(), "listed as unused, and used: {used:?}");
}

/// Members of structures within requests, by a coarser look: the name of the field stands somewhere in the model's code.
#[test]
fn every_member_within_a_request_is_used() {
    let (structures, unused) = unused_within(&checked_in(), &code());
    assert!(structures > 5 && unused.is_empty(), "not used: {unused:?}");
}

/// How many structures there are within requests, and their members of which the code knows no field.
fn unused_within(model: &Model, code: &str) -> (usize, BTreeSet<String>) {
    let inner = |shape: &str| {
        let shape = model.shapes[shape].member.as_deref().unwrap_or(shape).to_owned();
        (model.shapes[&shape].kind == "structure").then_some(shape)
    };
    let inputs = model.operations.values().filter_map(|operation| operation.input.as_deref());
    let mut structures: Vec<String> = inputs
        .flat_map(|input| model.shapes[input].members.values())
        .filter_map(|shape| inner(shape))
        .collect();
    let (mut seen, mut unused) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = structures.pop() {
        let channel =
            name.contains("Channel") || name.starts_with("S3") || name.contains("DestinationConfig");
        if channel || !seen.insert(name.clone()) {
            continue;
        }
        for (member, shape) in &model.shapes[&name].members {
            structures.extend(inner(shape));
            let field = if member == "Type" { "kind".to_owned() } else { field_name(member) };
            if !has_word(code, &[".", " ", "{"], &field) {
                unused.insert(format!("{name}.{field}"));
            }
        }
    }
    (seen.len(), unused)
}

/// Whichever member AWS adds to a request, or to a structure within one, is found to be missing here.
#[test]
fn a_member_that_is_added_to_the_model_does_not_pass_unseen() {
    let code = code();
    let added = || ("ColourOfTheDay".to_owned(), "StreamName".to_owned());
    let operations: Vec<(String, String)> = checked_in()
        .operations
        .into_iter()
        .filter_map(|(name, operation)| Some((name, operation.input?)))
        .filter(|(name, _)| !is_ignored(&format!("{name}.ColourOfTheDay")))
        .collect();
    assert!(operations.len() > 40, "{}", operations.len());
    for (name, input) in operations {
        let mut model = checked_in();
        model.shapes.get_mut(&input).unwrap().members.extend([added()]);
        assert!(model.passed_over().contains(&format!("{name}.ColourOfTheDay")), "{name}");
        let (unused, _) = unused_by_operations(&model, &code);
        assert!(unused.contains(&(name.clone(), "colour_of_the_day".to_owned())), "{name}");
    }
    for structure in ["PutRecordsRequestEntry", "StartingPosition", "ShardFilter", "StreamModeDetails"] {
        let mut model = checked_in();
        model.shapes.get_mut(structure).unwrap().members.extend([added()]);
        let (_, unused) = unused_within(&model, &code);
        assert_eq!(unused, BTreeSet::from([format!("{structure}.colour_of_the_day")]));
        assert!(model.passed_over().iter().any(|path| path.ends_with(".ColourOfTheDay")), "{structure}");
    }
}

/// Every operation has an answer over HTTP, be it an error of its own.
#[tokio::test]
async fn every_operation_is_known_over_http() {
    use crate::sdk::safety::{LOCALHOST, ask};
    let local = rokini_local::LocalKinesis::builder().start().await.unwrap();
    for name in OPERATIONS.iter().copied().chain(["GetRecordsOfTomorrow"]) {
        let target = format!("Kinesis_20131202.{name}");
        let answer = ask(local.address(), "POST /", &[LOCALHOST, ("X-Amz-Target", &target)], "{}").await;
        let unknown = answer.contains("UnknownOperationException");
        assert_eq!(unknown, name == "GetRecordsOfTomorrow", "{name}: {answer}");
    }
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

/// The service model of the botocore that is installed, if one is.
pub(crate) fn installed() -> Option<Model> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("service-model/trim.py");
    match Command::new("python3").arg(script).arg("-").output() {
        Ok(output) if output.status.success() => Some(model(&String::from_utf8(output.stdout).unwrap())),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            crate::skipped(format_args!("python3 with botocore: {said}"));
            None
        }
        Err(error) => {
            crate::skipped(format_args!("python3 is not there: {error}"));
            None
        }
    }
}

/// What the newest botocore knows, if it is there.
#[test]
fn the_installed_botocore_knows_no_other_operation_and_no_other_required_member() {
    let (Some(newest), here) = (installed(), checked_in()) else { return };
    let unknown: Vec<_> =
        newest.operations.keys().filter(|name| !OPERATIONS.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "operations that are not here: {unknown:?}");
    for (name, shape) in &newest.shapes {
        for required in &shape.required {
            // An older botocore still requires what the service does not.
            let optional_by_now = required == "PartitionKey";
            let known = here.shapes.get(name).is_some_and(|shape| shape.required.contains(required));
            assert!(known || optional_by_now, "{name} requires {required}, which is not required here");
        }
    }
    let passed_over: Vec<String> =
        newest.passed_over().into_iter().filter(|path| !is_ignored(path)).collect();
    assert!(passed_over.is_empty(), "members that nothing reads: {passed_over:?}");
}

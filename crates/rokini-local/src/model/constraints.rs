//! What the service model says about the members of a request, checked and reported as the service does.
//!
//! The trimmed model in `service-model/kinesis.json` is read once, when the first request is checked. Records are too many and too large
//! to be looked at this way: `put.rs` checks them itself, and a test here compares.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::OnceLock;

use regex_lite::Regex;
use rokini_wire::{Codec, ErrorCode, ServiceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Failures reported together; the service stops there.
const MAX_FAILURES: usize = 10;

#[derive(Debug, Default, Deserialize)]
struct ServiceModel {
    operations: BTreeMap<String, Sides>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
struct Sides {
    input: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shape {
    #[serde(rename = "type")]
    kind: String,
    required: Vec<String>,
    members: BTreeMap<String, String>,
    member: Option<String>,
    key: Option<String>,
    value: Option<String>,
    min: Option<i64>,
    max: Option<i64>,
    pattern: Option<String>,
    #[serde(rename = "enum")]
    values: Vec<String>,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
}

fn model() -> &'static ServiceModel {
    static MODEL: OnceLock<ServiceModel> = OnceLock::new();
    // A test sees that it can be read.
    MODEL.get_or_init(|| {
        serde_json::from_str(include_str!("../../service-model/kinesis.json")).unwrap_or_default()
    })
}

/// Fails as the service does if a member of the request breaks its constraint.
pub(crate) fn check<R: Serialize>(operation: &str, request: &R) -> Result<(), ServiceError> {
    report(&failures_but(operation, request, &[]))
}

/// What is wrong with a request, but for these members, which the operation checks itself.
pub(crate) fn failures_but<R: Serialize>(operation: &str, request: &R, left_out: &[&str]) -> Vec<String> {
    failures(operation, &serde_json::to_value(request).unwrap_or_default(), left_out)
}

/// What is wrong with a value of a shape, such as a record among others.
pub(crate) fn failures_of<V: Serialize>(shape: &str, value: &V, place: Place<'_>) -> Vec<String> {
    let mut failures = Vec::new();
    if let Some(shape) = model().shapes.get(shape) {
        check_value(shape, &serde_json::to_value(value).unwrap_or_default(), &place, &mut failures);
    }
    failures
}

/// [`check`] for a body that cannot be read as its request: members that must be there and are not. `None` if that is not why.
pub(crate) fn fault_in_body(operation: &str, codec: Codec, body: &[u8]) -> Option<ServiceError> {
    report(&failures(operation, &value_of(codec, body)?, &[])).err()
}

/// Says where a body that cannot be read as its request has a value of another kind than belongs there, in the words of the service.
pub(crate) fn wrong_kind_in_body(operation: &str, codec: Codec, body: &[u8]) -> Option<ServiceError> {
    let message = wrong_kind(input_of(operation)?, &value_of(codec, body)?)?;
    Some(ServiceError::new(ErrorCode::Serialization, message))
}

/// What a body holds, of either kind, as far as constraints can be about it.
fn value_of(codec: Codec, body: &[u8]) -> Option<Value> {
    if codec == Codec::Json {
        return serde_json::from_slice(body).ok();
    }
    ciborium::from_reader(body).ok().map(plain)
}

/// A value of CBOR as one of JSON. What data and times are is of no concern to any constraint.
fn plain(value: ciborium::Value) -> Value {
    use ciborium::Value as Cbor;
    match value {
        Cbor::Integer(number) => i64::try_from(number).map_or(Value::Null, Value::from),
        Cbor::Float(number) => number.into(),
        Cbor::Text(text) => text.into(),
        Cbor::Bool(bool) => bool.into(),
        Cbor::Bytes(_) => Value::from(""),
        Cbor::Tag(_, inner) => plain(*inner),
        Cbor::Array(items) => items.into_iter().map(plain).collect(),
        Cbor::Map(entries) => {
            let named = |(name, value): (Cbor, Cbor)| Some((name.into_text().ok()?, plain(value)));
            Value::Object(entries.into_iter().filter_map(named).collect())
        }
        _ => Value::Null,
    }
}

/// Where a value stands in a request, in the words of the service: `records.3.member.partitionKey`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Request,
    Member(&'a Place<'a>, &'a str),
    /// Of a list, counted from 0.
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => Ok(()),
            Self::Member(Place::Request, name) => f.write_str(&lower_first(name)),
            Self::Member(within, name) => write!(f, "{within}.{}", lower_first(name)),
            Self::Item(within, number) => write!(f, "{within}.{}.member", number + 1),
        }
    }
}

/// The first value of another kind than its shape. Null is of every kind: where it cannot be, a constraint says so.
fn wrong_kind(shape: &Shape, value: &Value) -> Option<String> {
    let inner = |name: &Option<String>| name.as_ref().and_then(|name| model().shapes.get(name));
    let target = match shape.kind.as_str() {
        "string" => "a String",
        "integer" => "an Integer",
        "long" => "a Long",
        "boolean" => "a Boolean",
        "timestamp" => "milliseconds since epoch",
        "blob" => "a Blob",
        "list" => "a List",
        "map" => "a Map",
        _ => "a Structure",
    };
    let from = match (target, value) {
        (_, Value::Null)
        | ("a String" | "a Blob", Value::String(_))
        | ("a Boolean", Value::Bool(_))
        | ("milliseconds since epoch", Value::Number(_)) => return None,
        ("an Integer", Value::Number(number))
            if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
        {
            return None;
        }
        ("a Long", Value::Number(number)) if number.is_i64() => return None,
        ("a List", Value::Array(items)) => {
            let member = inner(&shape.member)?;
            return items.iter().find_map(|item| wrong_kind(member, item));
        }
        ("a Map", Value::Object(entries)) => {
            let held = inner(&shape.value)?;
            return entries.values().find_map(|value| wrong_kind(held, value));
        }
        ("a Structure", Value::Object(members)) => {
            let held = |(name, value)| wrong_kind(model().shapes.get(shape.members.get(name)?)?, value);
            return members.iter().find_map(held);
        }
        (_, Value::Array(_)) => return Some("Start of list found where not expected".to_owned()),
        (_, Value::Object(_)) => {
            return Some("Start of structure or map found where not expected.".to_owned());
        }
        (_, Value::String(_)) => "String",
        (_, Value::Bool(_)) => "Boolean",
        (_, Value::Number(number)) => match number.as_i64().map(i32::try_from) {
            Some(Ok(_)) => "Integer",
            Some(Err(_)) => "Long",
            None if number.is_u64() => "BigInteger",
            None => "Double",
        },
    };
    Some(format!("class java.lang.{from} can not be converted to {target}"))
}

fn input_of(operation: &str) -> Option<&'static Shape> {
    model().shapes.get(model().operations.get(operation)?.input.as_ref()?)
}

fn failures(operation: &str, value: &Value, left_out: &[&str]) -> Vec<String> {
    let mut failures = Vec::new();
    if let Some(shape) = input_of(operation) {
        check_members(shape, value, &Place::Request, left_out, &mut failures);
    }
    failures
}

/// The failures as one error, if there are any.
pub(crate) fn report(failures: &[String]) -> Result<(), ServiceError> {
    if failures.is_empty() {
        return Ok(());
    }
    let failures = &failures[..failures.len().min(MAX_FAILURES)];
    let plural = if failures.len() == 1 { "" } else { "s" };
    let message = format!("{} validation error{plural} detected: {}", failures.len(), failures.join("; "));
    Err(ServiceError::new(ErrorCode::Validation, message))
}

fn must_not_be_null(place: &impl fmt::Display) -> String {
    format!("Value null at '{place}' failed to satisfy constraint: Member must not be null")
}

fn check_members(
    shape: &Shape,
    value: &Value,
    within: &Place<'_>,
    left_out: &[&str],
    failures: &mut Vec<String>,
) {
    for (name, inner) in shape.members.iter().filter(|(name, _)| !left_out.contains(&name.as_str())) {
        let place = Place::Member(within, name);
        match value.get(name).filter(|value| !value.is_null()) {
            Some(value) => {
                if let Some(inner) = model().shapes.get(inner) {
                    check_value(inner, value, &place, failures);
                }
            }
            None if shape.required.contains(name) => {
                failures.push(must_not_be_null(&place));
            }
            None => {}
        }
    }
}

fn check_value(shape: &Shape, value: &Value, place: &Place<'_>, failures: &mut Vec<String>) {
    for rule in broken_rules(shape, value) {
        failures.push(format!(
            "Value '{}' at '{place}' failed to satisfy constraint: Member must {rule}",
            shown(value)
        ));
    }
    let inner = |name: &Option<String>| name.as_ref().and_then(|name| model().shapes.get(name));
    match (shape.kind.as_str(), value) {
        ("structure", value) => check_members(shape, value, place, &[], failures),
        ("list", Value::Array(items)) => {
            let Some(member) = inner(&shape.member) else { return };
            let nulls = items.iter().enumerate().filter(|(_, item)| item.is_null());
            failures.extend(nulls.map(|(number, _)| must_not_be_null(&Place::Item(place, number))));
            if member.kind == "structure" {
                for (number, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    check_value(member, item, &Place::Item(place, number), failures);
                }
            } else if items.iter().any(|item| !broken_rules(member, item).is_empty()) {
                let rules = all_rules(member);
                failures.push(format!(
                    "Value '{}' at '{place}' failed to satisfy constraint: Member must satisfy constraint: [{rules}]",
                    shown(value)
                ));
            }
        }
        ("map", Value::Object(entries)) => {
            let nulls = entries.iter().filter(|(_, value)| value.is_null());
            failures.extend(nulls.map(|(key, _)| must_not_be_null(&format!("{place}.{key}.member"))));
            let keys = inner(&shape.key).filter(|shape| {
                entries.keys().any(|key| !broken_rules(shape, &Value::from(key.as_str())).is_empty())
            });
            let values = inner(&shape.value)
                .filter(|shape| entries.values().any(|value| !broken_rules(shape, value).is_empty()));
            for (what, broken) in [("Map keys", keys), ("Map value", values)] {
                if let Some(broken) = broken {
                    failures.push(format!(
                        "Value '{}' at '{place}' failed to satisfy constraint: {what} must satisfy constraint: [{}]",
                        shown(value),
                        all_rules(broken)
                    ));
                }
            }
        }
        _ => {}
    }
}

/// What follows `Member must`, for each rule the value itself breaks.
fn broken_rules(shape: &Shape, value: &Value) -> Vec<String> {
    let (measure, size) = match value {
        Value::String(text) if shape.kind != "blob" => ("length", i64::try_from(text.chars().count()).ok()),
        Value::Array(items) => ("length", i64::try_from(items.len()).ok()),
        Value::Object(entries) if shape.kind == "map" => ("length", i64::try_from(entries.len()).ok()),
        Value::Number(number) => ("value", number.as_i64()),
        _ => ("", None),
    };
    let mut rules = Vec::new();
    if let Some(size) = size {
        if let Some(min) = shape.min.filter(|min| size < *min) {
            rules.push(format!("have {measure} greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| size > *max) {
            rules.push(format!("have {measure} less than or equal to {max}"));
        }
    }
    if let (Some(pattern), Value::String(text)) = (&shape.pattern, value)
        && !fits(shape, pattern, text)
    {
        rules.push(format!("satisfy regular expression pattern: {pattern}"));
    }
    if let Value::String(text) = value
        && !shape.values.is_empty()
        && !shape.values.contains(text)
    {
        rules.push(format!("satisfy enum value set: [{}]", shape.values.join(", ")));
    }
    rules
}

/// Every rule of a shape, as it is told about the members of a list or map.
fn all_rules(shape: &Shape) -> String {
    let measure = if shape.kind == "integer" { "value" } else { "length" };
    let mut rules = Vec::new();
    if let Some(max) = shape.max {
        rules.push(format!("Member must have {measure} less than or equal to {max}"));
    }
    if let Some(min) = shape.min {
        rules.push(format!("Member must have {measure} greater than or equal to {min}"));
    }
    if let Some(pattern) = &shape.pattern {
        rules.push(format!("Member must satisfy regular expression pattern: {pattern}"));
    }
    if !shape.values.is_empty() {
        rules.push(format!("Member must satisfy enum value set: [{}]", shape.values.join(", ")));
    }
    rules.join(", ")
}

fn fits(shape: &Shape, pattern: &str, text: &str) -> bool {
    let compiled = shape.compiled.get_or_init(|| Regex::new(&format!("^(?:{pattern})$")).ok());
    compiled.as_ref().is_none_or(|compiled| compiled.is_match(text))
}

/// The service names members with a small first letter.
pub(crate) fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// A value as the service shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let mut text = String::from("{");
            for (i, (name, value)) in entries.iter().enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                // Writing to memory does not fail.
                let _ = write!(text, "{comma}{name}={}", shown(value));
            }
            text + "}"
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rokini_wire::OPERATIONS;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_model_can_be_read_and_every_pattern_compiles() {
        assert!(model().operations.keys().map(String::as_str).eq(OPERATIONS.iter().copied()));
        for (name, shape) in &model().shapes {
            if let Some(pattern) = &shape.pattern {
                assert!(Regex::new(&format!("^(?:{pattern})$")).is_ok(), "{name}: {pattern}");
            }
        }
    }

    #[test]
    fn what_is_broken_is_reported_together() {
        let value = json!({ "QueueName": "a b", "QueueAttributes": {
            "VisibilityTimeoutSeconds": 43201, "DeadLetterConfiguration": { "TargetType": "SQS" } } });
        let failures = failures("CreateQueue", &value, &[]);
        let told = failures.join("\n");
        for part in [
            "Value 'a b' at 'queueName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
            "Value '43201' at 'queueAttributes.visibilityTimeoutSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200",
            "Value 'SQS' at 'queueAttributes.deadLetterConfiguration.targetType' failed to satisfy constraint: Member must satisfy enum value set: [BUILT_IN, NONE]",
            "Value null at 'streamConfigurationList' failed to satisfy constraint: Member must not be null",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert_eq!(failures.len(), 4);
    }

    /// A body of JSON in CBOR.
    fn cbor(json: &str) -> Vec<u8> {
        let mut body = Vec::new();
        ciborium::into_writer(&serde_json::from_str::<Value>(json).unwrap(), &mut body).unwrap();
        body
    }

    #[test]
    fn what_is_missing_is_told_in_both_encodings() {
        for body in ["{}", r#"{"ShardToSplit":"a b"}"#, r#"{"ShardToSplit":null,"NewStartingHashKey":"-1"}"#]
        {
            let json = fault_in_body("SplitShard", Codec::Json, body.as_bytes()).unwrap();
            assert_eq!(json.code, ErrorCode::Validation);
            assert_eq!(fault_in_body("SplitShard", Codec::Cbor, &cbor(body)), Some(json), "{body}");
        }
        let whole = r#"{"ShardToSplit":"shardId-000000000000","NewStartingHashKey":"1"}"#;
        assert_eq!(fault_in_body("SplitShard", Codec::Cbor, &cbor(whole)), None);
        assert_eq!(fault_in_body("SplitShard", Codec::Cbor, b"\xff"), None);
    }
}

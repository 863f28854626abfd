//! From the body of a request to what it asks, or to an error in the words of the service.

use rokini_wire::{AnyRequest, Codec, DecodeError, ErrorCode, ServiceError};

use crate::model::{fault_in_body, lower_first, wrong_kind_in_body};

/// Reads a body once, however large it is; only one that is wrong is read again, for what to say of it. `None` if there is no such
/// operation.
pub(crate) fn read_request(
    operation: &str,
    codec: Codec,
    body: &[u8],
) -> Option<Result<AnyRequest, ServiceError>> {
    let read = AnyRequest::decode(operation, codec, body)?;
    Some(read.map_err(|error| unreadable(error, operation, codec, body)))
}

/// An error in the words of the service; it names members with a small first letter.
fn unreadable(error: DecodeError, operation: &str, codec: Codec, body: &[u8]) -> ServiceError {
    let fault = wrong_kind_in_body(operation, codec, body);
    if let Some(fault) = fault.or_else(|| fault_in_body(operation, codec, body)) {
        return fault;
    }
    match error {
        DecodeError::Missing(member) => {
            let message = format!(
                "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null",
                lower_first(&member)
            );
            ServiceError::new(ErrorCode::Validation, message)
        }
        other => ServiceError::new(ErrorCode::Serialization, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use ciborium::Value as Cbor;
    use proptest::prelude::*;
    use rokini_wire::OPERATIONS;
    use serde_json::{Map, Value, json};

    use super::*;

    /// What a body is made larger by: more than any limit below which bodies could be looked at twice.
    const PADDING: usize = 70 << 10;

    fn service_model() -> Value {
        serde_json::from_str(include_str!("../../service-model/kinesis.json")).unwrap()
    }

    /// A value for each choice; what belongs there mostly, and else one of another kind or null.
    fn value_for(model: &Value, shape: &str, choices: &mut impl Iterator<Item = u8>) -> Value {
        let about = &model["shapes"][shape];
        let choice = choices.next().unwrap_or(255);
        // One in four.
        match (choice % 4, choice / 8) {
            (0, 0..=3) => return json!([]),
            (0, 4..=7) => return json!(["ON_DEMAND", 1]),
            (0, 8..=11) => return json!({}),
            (0, 12..=15) => return json!("text"),
            (0, 16..=18) => return json!(1.5),
            (0, 19..=21) => return json!(99_999_999_999_i64),
            (0, 22..=24) => return json!(true),
            (0, _) => return Value::Null,
            _ => {}
        }
        let named = |part: &str| about[part].as_str().unwrap().to_owned();
        match about["type"].as_str().unwrap() {
            "string" => about["enum"][usize::from(choice) % 2].as_str().unwrap_or("orders").into(),
            // Its text in JSON.
            "blob" => "AAAA".into(),
            "boolean" => true.into(),
            "list" => {
                let member = named("member");
                (0..choice % 4).map(|_| value_for(model, &member, choices)).collect()
            }
            "map" => {
                let held = named("value");
                (0..choice % 4).map(|n| (n.to_string(), value_for(model, &held, choices))).collect()
            }
            "structure" => members_for(model, shape, choices),
            // Numbers and times.
            _ => choice.into(),
        }
    }

    fn members_for(model: &Value, shape: &str, choices: &mut impl Iterator<Item = u8>) -> Value {
        let about = &model["shapes"][shape];
        let is_required = |name: &str| {
            about["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name))
        };
        let mut members = Map::new();
        for (name, inner) in about["members"].as_object().unwrap() {
            let is_there = if is_required(name) { 20 } else { 128 };
            if choices.next().unwrap_or(255) >= is_there {
                members.insert(name.clone(), value_for(model, inner.as_str().unwrap(), choices));
            }
        }
        members.into()
    }

    /// The same in CBOR, where the bytes of a blob are bytes.
    fn cbor_of(model: &Value, shape: Option<&str>, value: &Value) -> Cbor {
        let about = shape.map(|shape| &model["shapes"][shape]);
        let inner = |part: &str| about.and_then(|about| about[part].as_str());
        match value {
            Value::Null => Cbor::Null,
            Value::Bool(bool) => Cbor::Bool(*bool),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Cbor::Float(number.as_f64().unwrap()), |number| number.into())
            }
            Value::String(text) if about.is_some_and(|about| about["type"] == "blob") && text == "AAAA" => {
                Cbor::Bytes(vec![0; 3])
            }
            Value::String(text) => Cbor::Text(text.clone()),
            Value::Array(items) => {
                Cbor::Array(items.iter().map(|item| cbor_of(model, inner("member"), item)).collect())
            }
            Value::Object(members) => {
                let member = |name: &str| about.and_then(|about| about["members"][name].as_str());
                let entries = members.iter().map(|(name, value)| {
                    let shape = member(name).or_else(|| inner("value"));
                    (name.as_str().into(), cbor_of(model, shape, value))
                });
                Cbor::Map(entries.collect())
            }
        }
    }

    /// A body as JSON and as CBOR, with these members beside its own, which may be there already.
    fn bodies(
        model: &Value,
        operation: &str,
        body: &Value,
        more: &[(String, Value)],
    ) -> [(Codec, Vec<u8>); 2] {
        let input = model["operations"][operation]["input"].as_str();
        let mut cbor = cbor_of(model, input, body);
        let mut json = serde_json::to_string(body).unwrap();
        if let (Cbor::Map(entries), Some(open)) = (&mut cbor, json.strip_suffix('}')) {
            let mut text = open.to_owned();
            for (name, value) in more {
                let comma = if text.len() > 1 { "," } else { "" };
                text = format!("{text}{comma}\"{name}\":{value}");
                entries.push((name.as_str().into(), cbor_of(model, None, value)));
            }
            json = text + "}";
        }
        let mut bytes = Vec::new();
        ciborium::into_writer(&cbor, &mut bytes).unwrap();
        [(Codec::Json, json.into_bytes()), (Codec::Cbor, bytes)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// What a request is answered depends neither on how large it is nor on its encoding, and is what the service model says.
        #[test]
        fn a_verdict_is_the_same_for_small_and_large_bodies_in_both_encodings(
            operation in 0..OPERATIONS.len(),
            choices in prop::collection::vec(any::<u8>(), 0..60),
            repeated in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        ) {
            let (model, operation) = (service_model(), OPERATIONS[operation]);
            let input = model["operations"][operation]["input"].as_str().unwrap();
            let mut choices = choices.into_iter();
            // Rarely the body itself is of another kind.
            let body = match choices.next() {
                Some(0) => json!(["orders"]),
                Some(1) => Value::Null,
                _ => members_for(&model, input, &mut choices),
            };
            let mut more = vec![("Unknown".to_owned(), json!([{"Data": [1]}]))];
            if let (Some(index), Some(members)) = (repeated, body.as_object().filter(|body| !body.is_empty())) {
                let (name, value) = members.iter().nth(index.index(members.len())).unwrap();
                more.push((name.clone(), value.clone()));
            }
            let small = bodies(&model, operation, &body, &more);
            more.push(("Padding".to_owned(), "x".repeat(PADDING).into()));
            let large = bodies(&model, operation, &body, &more);
            let mut verdicts = Vec::new();
            for ((codec, small), (_, large)) in small.iter().zip(&large) {
                let verdict = read_request(operation, *codec, small).unwrap();
                prop_assert_eq!(&verdict, &read_request(operation, *codec, large).unwrap());
                let wrong_kind = wrong_kind_in_body(operation, *codec, small);
                match &verdict {
                    // What a channel is to deliver to is not read.
                    Ok(_) if operation.ends_with("Channel") => {}
                    Ok(_) => prop_assert_eq!(wrong_kind, None),
                    Err(said) if wrong_kind.is_some() => prop_assert_eq!(Some(said), wrong_kind.as_ref()),
                    Err(said) if body.is_object() && more.len() == 2 => {
                        prop_assert_eq!(Some(said.clone()), fault_in_body(operation, *codec, small));
                    }
                    Err(_) => {}
                }
                verdicts.push(verdict);
            }
            prop_assert_eq!(verdicts[0].is_ok(), verdicts[1].is_ok());
            let codes = verdicts.iter().map(|verdict| verdict.as_ref().err().map(|error| &error.code));
            prop_assert_eq!(codes.clone().next(), codes.clone().nth(1));
        }
    }

    #[test]
    fn a_list_is_no_structure_however_large_the_body() {
        let padding = "x".repeat(PADDING);
        for (operation, body) in [
            ("UpdateStreamMode", json!({"StreamARN": "a", "StreamModeDetails": [], "Padding": padding})),
            (
                "CreateStream",
                json!({"StreamName": "a", "StreamModeDetails": ["ON_DEMAND"], "Padding": padding}),
            ),
            ("PutRecords", json!({"StreamName": "a", "Records": [["AAAA", "k", null]], "Padding": padding})),
            ("PutRecords", json!([null, null, null, []])),
        ] {
            for (codec, bytes) in bodies(&service_model(), operation, &body, &[]) {
                let said = read_request(operation, codec, &bytes).unwrap().unwrap_err();
                assert_eq!(said.code, ErrorCode::Serialization, "{operation} {codec:?}");
                assert_eq!(said.message, "Start of list found where not expected", "{operation} {codec:?}");
            }
        }
    }
}

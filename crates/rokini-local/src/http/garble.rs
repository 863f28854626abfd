//! Answers with one part that is not what it should be.

use std::hash::{DefaultHasher, Hash, Hasher};

use ciborium::Value;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rokini_wire::Codec;

/// What of a record can only be missing: shortened or replaced it would still be what it should be, and nobody could tell.
const WHOLE: [&str; 4] = ["Data", "PartitionKey", "SequenceNumber", "ApproximateArrivalTimestamp"];

/// The body with one of its parts dropped, nulled, emptied, repeated, put in another order or cut; which, `choice` decides.
pub(super) fn garbled(body: &[u8], codec: Codec, choice: &str) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    choice.hash(&mut hasher);
    let mut rng = SmallRng::seed_from_u64(hasher.finish());
    let Some(mut value) = read(body, codec) else { return body.to_vec() };
    let parts = count(&value);
    if parts > 0 {
        let chosen = rng.random_range(0..parts);
        change(&mut value, &mut 0, chosen, &mut rng);
    }
    write(&value, codec).unwrap_or_else(|| body.to_vec())
}

fn read(body: &[u8], codec: Codec) -> Option<Value> {
    match codec {
        Codec::Json => Value::serialized(&serde_json::from_slice::<serde_json::Value>(body).ok()?).ok(),
        _ => ciborium::from_reader(body).ok(),
    }
}

fn write(value: &Value, codec: Codec) -> Option<Vec<u8>> {
    match codec {
        Codec::Json => serde_json::to_vec(&value.deserialized::<serde_json::Value>().ok()?).ok(),
        _ => {
            let mut body = Vec::new();
            ciborium::into_writer(value, &mut body).ok()?;
            Some(body)
        }
    }
}

/// The members of maps, at any depth.
fn count(value: &Value) -> usize {
    match value {
        Value::Map(members) => members.iter().map(|(_, value)| 1 + count(value)).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// Changes the chosen member; `at` counts them.
fn change(value: &mut Value, at: &mut usize, chosen: usize, rng: &mut SmallRng) {
    match value {
        Value::Map(members) => {
            for index in 0..members.len() {
                let mine = *at == chosen;
                *at += 1;
                if mine {
                    return change_member(members, index, rng);
                }
                change(&mut members[index].1, at, chosen, rng);
                if *at > chosen {
                    return;
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                change(item, at, chosen, rng);
                if *at > chosen {
                    return;
                }
            }
        }
        _ => {}
    }
}

fn change_member(members: &mut Vec<(Value, Value)>, index: usize, rng: &mut SmallRng) {
    let name = members[index].0.as_text().unwrap_or_default().to_owned();
    let kinds = if WHOLE.contains(&name.as_str()) { 2 } else { 6 };
    // A list of records with fewer of them is an answer like others.
    let shortens = name != "Records";
    let value = &mut members[index].1;
    match (rng.random_range(0..kinds), value) {
        (0, _) => drop(members.remove(index)),
        (1, value) => *value = Value::Null,
        (2, Value::Array(items)) if shortens => items.clear(),
        (2, Value::Text(text)) => text.clear(),
        (2, value @ Value::Integer(_)) => *value = Value::from(0),
        (3, Value::Array(items)) if !items.is_empty() => {
            let item = rng.random_range(0..items.len());
            items.insert(item, items[item].clone());
        }
        (3, Value::Text(text)) => *text = text.repeat(2),
        (4, Value::Array(items)) => items.reverse(),
        (4, _) => members.reverse(),
        (5, Value::Array(items)) if shortens => items.truncate(items.len() / 2),
        (5, Value::Text(text)) => text.truncate(text.floor_char_boundary(text.len() / 2)),
        (_, value) => *value = Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_out_changed_in_either_encoding_and_the_same_for_the_same_choice() {
        let body = serde_json::json!({ "Records": [{ "Data": "AA==", "SequenceNumber": "1" }], "NextShardIterator": "AAAA", "MillisBehindLatest": 5 });
        let cbor = write(&Value::serialized(&body).unwrap(), Codec::Cbor).unwrap();
        let json = serde_json::to_vec(&body).unwrap();
        for (body, codec) in [(&json, Codec::Json), (&cbor, Codec::Cbor)] {
            let mut different = std::collections::HashSet::new();
            for choice in 0..200 {
                let garbled_body = garbled(body, codec, &choice.to_string());
                assert_eq!(garbled_body, garbled(body, codec, &choice.to_string()));
                different.insert(garbled_body);
            }
            assert!(different.len() > 12, "{}", different.len());
        }
    }
}

//! What a function's result says of the records it got.

use rokini::Record;
use serde_json::Value;

/// What became of the records of one event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Those before this one are done; it, and all after it, come again.
    From(usize, String),
    /// None of them is known to be done.
    Failed(String),
}

/// Reads a result (`ReportBatchItemFailures`).
pub(crate) fn read_answer(body: &[u8], records: &[Record]) -> Outcome {
    // A function that reports nothing may return what it likes.
    let Ok(Value::Object(result)) = serde_json::from_slice::<Value>(body) else { return Outcome::Done };
    let failures = match result.get("batchItemFailures") {
        None | Some(Value::Null) => return Outcome::Done,
        Some(Value::Array(failures)) => failures,
        Some(other) => return Outcome::Failed(format!("`batchItemFailures` is no list: {}", short(other))),
    };
    let mut lowest = None;
    for failure in failures {
        let named = failure.get("itemIdentifier").and_then(Value::as_str);
        let index = named
            .and_then(|named| records.iter().position(|record| record.sequence_number.to_string() == named));
        let Some(index) = index else {
            return Outcome::Failed(format!(
                "`batchItemFailures` names no record of the batch: {}",
                short(failure)
            ));
        };
        lowest = Some(lowest.map_or(index, |lowest: usize| lowest.min(index)));
    }
    match lowest {
        None => Outcome::Done,
        Some(index) => {
            let number = records.get(index).map(|record| record.sequence_number.to_string());
            let number = number.unwrap_or_default();
            Outcome::From(index, format!("the function reported record {number} as failed"))
        }
    }
}

/// What `errorType` and `errorMessage` of a result say, where it has both: that the function failed.
pub(crate) fn function_error(body: &[u8]) -> Option<String> {
    let result: Value = serde_json::from_slice(body).ok()?;
    let (kind, message) = (result.get("errorType")?, result.get("errorMessage")?);
    let text = |value: &Value| value.as_str().map_or_else(|| short(value), str::to_owned);
    Some(format!("{}: {}", text(kind), text(message)))
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3_partial_failures_mean_what_lambda_takes_them_for() {
        let records: Vec<_> = (101..=104_u128).map(|n| Record::new(n.into(), "k", "data", 0)).collect();
        let read = |body: &str| match read_answer(body.as_bytes(), &records) {
            Outcome::Done => "done".to_owned(),
            Outcome::From(index, _) => index.to_string(),
            Outcome::Failed(_) => "failed".to_owned(),
        };
        for (body, outcome) in [
            ("", "done"),
            ("null", "done"),
            ("{}", "done"),
            ("\"ok\"", "done"),
            ("{\"statusCode\": 200}", "done"),
            ("not JSON", "done"),
            ("{\"batchItemFailures\": []}", "done"),
            ("{\"batchItemFailures\": null}", "done"),
            ("{\"batchItemFailures\": [{\"itemIdentifier\": \"103\"}]}", "2"),
            ("{\"batchItemFailures\": [{\"itemIdentifier\": \"104\"}, {\"itemIdentifier\": \"102\"}]}", "1"),
            ("{\"batchItemFailures\": [{\"itemIdentifier\": \"101\"}]}", "0"),
            ("{\"batchItemFailures\": [{\"itemIdentifier\": \"\"}]}", "failed"),
            ("{\"batchItemFailures\": [{\"itemIdentifier\": null}]}", "failed"),
            ("{\"batchItemFailures\": [{\"itemIdentifer\": \"103\"}]}", "failed"),
            ("{\"batchItemFailures\": [{\"itemIdentifier\": \"999\"}]}", "failed"),
            (
                "{\"batchItemFailures\": [{\"itemIdentifier\": \"103\"}, {\"itemIdentifier\": \"\"}]}",
                "failed",
            ),
            ("{\"batchItemFailures\": \"103\"}", "failed"),
        ] {
            assert_eq!(read(body), outcome, "{body}");
        }
    }

    #[test]
    fn an_error_of_a_function_is_one_also_in_a_result() {
        let body = br#"{"errorMessage":"boom","errorType":"ValueError","stackTrace":[]}"#;
        assert_eq!(function_error(body).as_deref(), Some("ValueError: boom"));
        for body in [&b"{}"[..], b"null", b"x", br#"{"errorMessage":"boom"}"#] {
            assert_eq!(function_error(body), None);
        }
    }
}

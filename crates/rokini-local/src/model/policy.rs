//! Resource policies: who else may use a stream, a consumer or a queue.

use rokini_wire::{ErrorCode, ServiceError};
use serde_json::Value;

/// Operations on the policy itself, which no policy can forbid to the owner.
const ON_POLICIES: [&str; 3] = ["PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy"];

/// Whether a caller may do this to a resource: the owner may whatever is not denied, others what is allowed.
///
/// Principals are accounts, their roots, users and roles, and `*`. A statement with a condition never allows and always
/// denies: conditions are not evaluated.
pub(crate) fn authorise(
    policy: Option<&str>,
    owner: &str,
    caller: &str,
    action: &str,
    arn: &str,
) -> Result<(), ServiceError> {
    let own = owner == caller;
    if own && (policy.is_none() || ON_POLICIES.contains(&action)) {
        return Ok(());
    }
    let statements = policy.map(statements).unwrap_or_default();
    let applies = |statement: &&Value, effect: &str| {
        statement["Effect"] == effect
            && names(&statement["Principal"], caller)
            && matches_any(&statement["Action"], &format!("kinesis:{action}"), true)
            && (statement.get("Resource").is_none() || matches_any(&statement["Resource"], arn, false))
    };
    let denied = statements.iter().any(|statement| applies(&statement, "Deny"));
    let allowed = statements
        .iter()
        .any(|statement| statement.get("Condition").is_none() && applies(&statement, "Allow"));
    if !denied && (own || allowed) {
        return Ok(());
    }
    let why = if denied { "with an explicit deny in" } else { "because no statement allows it in" };
    Err(not_authorised(caller, action, arn, why))
}

/// The refusal of a caller.
pub(crate) fn not_authorised(caller: &str, action: &str, arn: &str, why: &str) -> ServiceError {
    ServiceError::new(
        ErrorCode::AccessDenied,
        format!(
            "User: arn:aws:iam::{caller}:root is not authorized to perform: kinesis:{action} on resource: {arn} {why} its \
             resource-based policy"
        ),
    )
}

/// What is wrong with a policy, in words; `None` if it can be stored.
pub(crate) fn fault_in(policy: &str) -> Option<String> {
    let parsed: Value = match serde_json::from_str(policy) {
        Ok(parsed) => parsed,
        Err(error) => return Some(format!("The policy is no JSON: {error}")),
    };
    if !parsed.is_object() {
        return Some("The policy must be a JSON object.".to_owned());
    }
    let statements = statements(policy);
    if statements.is_empty() {
        return Some("The policy has no Statement.".to_owned());
    }
    for statement in &statements {
        if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
            return Some("The Effect of a statement must be Allow or Deny.".to_owned());
        }
        if statement.get("Principal").is_none() {
            return Some("A statement has no Principal.".to_owned());
        }
        let actions = texts(&statement["Action"]);
        if actions.is_empty() {
            return Some("A statement has no Action.".to_owned());
        }
        let foreign =
            |action: &&&str| **action != "*" && !action.to_ascii_lowercase().starts_with("kinesis:");
        if let Some(action) = actions.iter().find(foreign) {
            return Some(format!("The Action {action} is none of Kinesis."));
        }
    }
    None
}

/// A policy's statements: one or a list.
fn statements(policy: &str) -> Vec<Value> {
    let parsed: Value = serde_json::from_str(policy).unwrap_or_default();
    match &parsed["Statement"] {
        Value::Array(all) => all.clone(),
        one @ Value::Object(_) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// A text or a list of texts.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn names(principal: &Value, account: &str) -> bool {
    let within = |name: &str| {
        let of_arn = name.split(':').nth(4).filter(|_| name.starts_with("arn:"));
        name == "*" || name == account || of_arn == Some(account)
    };
    texts(principal).contains(&"*") || texts(&principal["AWS"]).into_iter().any(within)
}

fn matches_any(patterns: &Value, text: &str, any_case: bool) -> bool {
    let matches = |pattern: &str| match any_case {
        true => wildcard(pattern.to_ascii_lowercase().as_bytes(), text.to_ascii_lowercase().as_bytes()),
        false => wildcard(pattern.as_bytes(), text.as_bytes()),
    };
    texts(patterns).into_iter().any(matches)
}

/// `*` is anything, `?` any one byte.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kinesis:us-east-1:111111111111:stream/s";

    fn allowed(policy: &str, caller: &str, action: &str) -> bool {
        authorise(Some(policy), "111111111111", caller, action, ARN).is_ok()
    }

    #[test]
    fn wildcards() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*", "abc", true),
            ("", "a", false),
        ] {
            assert_eq!(wildcard(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn others_may_what_is_allowed_and_not_denied() {
        let policy = r#"{"Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": ["kinesis:Get*"], "Resource": "arn:aws:kinesis:us-east-1:111111111111:stream/*"},
            {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::333333333333:user/u"]}, "Action": "kinesis:*"},
            {"Effect": "Allow", "Principal": "*", "Action": "kinesis:PutRecord", "Condition": {"Bool": {}}},
            {"Effect": "Deny", "Principal": "*", "Action": "kinesis:GetRecords"}
        ]}"#;
        assert!(allowed(policy, "222222222222", "GetShardIterator"));
        assert!(!allowed(policy, "222222222222", "GetRecords"), "denied");
        assert!(!allowed(policy, "111111111111", "GetRecords"), "denied to the owner too");
        assert!(allowed(policy, "111111111111", "PutRecord"));
        assert!(!allowed(policy, "222222222222", "PutRecord"), "a condition does not allow");
        assert!(allowed(policy, "333333333333", "DescribeStreamSummary"));
        assert!(!allowed(policy, "444444444444", "DescribeStreamSummary"));
        let elsewhere =
            r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kinesis:*", "Resource": "x"}}"#;
        assert!(!allowed(elsewhere, "222222222222", "GetRecords"));
        let silence = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*"}}"#;
        assert!(allowed(silence, "111111111111", "PutResourcePolicy"), "the owner can always mend it");
    }
}

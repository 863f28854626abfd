//! ARNs of tables: those of the caller's region and account outside, those of the embedded database inside.

use bytes::Bytes;
use serde_json::Value;

use crate::model::partition_of;

/// How every ARN of the embedded database begins.
const INSIDE: &str = "arn:aws:dynamodb:dynoxide:000000000000:";

/// How ARNs begin for one caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArnPrefix(String);

impl ArnPrefix {
    pub(super) fn new(region: &str, account: &str) -> Self {
        Self(format!("arn:{}:dynamodb:{region}:{account}:", partition_of(region)))
    }

    /// A request as the database knows it: its own ARNs, and names where ARNs of tables may stand for names.
    pub(super) fn inwards(&self, body: Bytes) -> Bytes {
        let Some(text) = with_replaced(&body, &self.0, INSIDE) else { return body };
        match serde_json::from_str::<Value>(&text) {
            Ok(mut value) => {
                use_names(&mut value);
                value.to_string().into()
            }
            Err(_) => text.into(),
        }
    }

    /// An answer as the caller knows it; `None` if nothing changes.
    pub(super) fn outwards(&self, body: &Bytes) -> Option<Bytes> {
        with_replaced(body, INSIDE, &self.0).map(Bytes::from)
    }
}

fn with_replaced(body: &Bytes, from: &str, to: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    text.contains(from).then(|| text.replace(from, to))
}

/// Names in place of ARNs: of `TableName` wherever it stands, and of the tables of `RequestItems`.
fn use_names(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(tables)) = members.get_mut("RequestItems") {
                *tables = std::mem::take(tables)
                    .into_iter()
                    .map(|(table, items)| (table_in(&table).unwrap_or(&table).to_owned(), items))
                    .collect();
            }
            if let Some(Value::String(table)) = members.get_mut("TableName")
                && let Some(name) = table_in(table)
            {
                *table = name.to_owned();
            }
            members.values_mut().for_each(use_names);
        }
        Value::Array(items) => items.iter_mut().for_each(use_names),
        _ => {}
    }
}

fn table_in(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix(INSIDE)?.strip_prefix("table/")?;
    Some(name.split('/').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_the_callers_outside_and_names_inside() {
        let prefix = ArnPrefix::new("cn-north-1", "123456789012");
        let outside = "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/leases";
        let request = format!(
            r#"{{"TableName":"{outside}","TransactItems":[{{"Put":{{"TableName":"{outside}"}}}}],"RequestItems":{{"{outside}":[]}},"ResourceArn":"{outside}"}}"#
        );
        let inside: Value = serde_json::from_slice(&prefix.inwards(request.into())).unwrap();
        assert_eq!(inside["TableName"], "leases");
        assert_eq!(inside["TransactItems"][0]["Put"]["TableName"], "leases");
        assert!(inside["RequestItems"]["leases"].is_array());
        assert_eq!(inside["ResourceArn"], format!("{INSIDE}table/leases"));
        let answer = Bytes::from(format!(r#"{{"TableArn":"{INSIDE}table/leases"}}"#));
        assert_eq!(prefix.outwards(&answer).unwrap(), format!(r#"{{"TableArn":"{outside}"}}"#));
        assert_eq!(prefix.outwards(&Bytes::from_static(b"{}")), None);
    }
}

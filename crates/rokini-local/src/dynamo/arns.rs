//! ARNs of tables: those of the caller's region and account outside, those of the embedded database inside.

use bytes::Bytes;
use serde_json::{Map, Value};

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

    /// A request as the database knows it: names where ARNs of tables may stand for names, and its own ARNs. Items are left alone, whatever
    /// is in them.
    pub(super) fn inwards(&self, body: Bytes) -> Bytes {
        if !holds(&body, &self.0) {
            return body;
        }
        let Ok(Value::Object(mut request)) = serde_json::from_slice::<Value>(&body) else { return body };
        for (member, value) in &mut request {
            match (&**member, value) {
                ("TableName", table) => self.use_name(table),
                ("RequestItems", Value::Object(tables)) => {
                    let named = std::mem::take(tables).into_iter();
                    *tables = named
                        .map(|(table, asked)| (self.table_in(&table).unwrap_or(&table).to_owned(), asked))
                        .collect();
                }
                ("TransactItems", Value::Array(steps)) => {
                    let operations =
                        steps.iter_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
                    operations
                        .filter_map(|step| step.get_mut("TableName"))
                        .for_each(|table| self.use_name(table));
                }
                (member, Value::String(arn)) if member.ends_with("Arn") => {
                    if let Some(rest) = arn.strip_prefix(&self.0) {
                        *arn = format!("{INSIDE}{rest}");
                    }
                }
                _ => {}
            }
        }
        Value::Object(request).to_string().into()
    }

    /// An answer as the caller knows it; `None` if nothing changes.
    pub(super) fn outwards(&self, body: &Bytes) -> Option<Bytes> {
        if !holds(body, INSIDE) {
            return None;
        }
        let mut answer: Value = serde_json::from_slice(body).ok()?;
        self.show(&mut answer);
        Some(answer.to_string().into())
    }

    /// Members that are ARNs, and what an error says. In an item every value stands in a structure that names its type, so none is a
    /// text by a name of its own.
    fn show(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text)
                            if name.ends_with("Arn") || name.eq_ignore_ascii_case("message") =>
                        {
                            *text = text.replace(INSIDE, &self.0);
                        }
                        other => self.show(other),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.show(item)),
            _ => {}
        }
    }

    fn use_name(&self, table: &mut Value) {
        if let Some(name) = table.as_str().and_then(|arn| self.table_in(arn)) {
            *table = name.into();
        }
    }

    fn table_in<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let name = arn.strip_prefix(&self.0)?.strip_prefix("table/")?;
        Some(name.split('/').next().unwrap_or(name))
    }
}

fn holds(body: &Bytes, text: &str) -> bool {
    std::str::from_utf8(body).is_ok_and(|body| body.contains(text))
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

    #[test]
    fn items_stay_as_they_are() {
        let prefix = ArnPrefix::new("eu-west-1", "123456789012");
        let outside = "arn:aws:dynamodb:eu-west-1:123456789012:table/leases";
        let item = |arn: &str| {
            format!(
                r#"{{"TableArn":{{"S":"{arn}"}},"TableName":{{"S":"{arn}"}},"RequestItems":{{"M":{{"{arn}":{{"S":"{arn}"}}}}}},"message":{{"S":"{arn}"}}}}"#
            )
        };
        let request = format!(r#"{{"TableName":"{outside}","Item":{}}}"#, item(outside));
        let inside: Value = serde_json::from_slice(&prefix.inwards(request.into())).unwrap();
        assert_eq!(inside["TableName"], "leases");
        assert_eq!(inside["Item"], serde_json::from_str::<Value>(&item(outside)).unwrap());
        let own = format!("{INSIDE}table/leases");
        let answer = format!(r#"{{"Item":{},"Table":{{"TableArn":"{own}"}}}}"#, item(&own));
        let shown: Value = serde_json::from_slice(&prefix.outwards(&answer.into()).unwrap()).unwrap();
        assert_eq!(shown["Item"], serde_json::from_str::<Value>(&item(&own)).unwrap());
        assert_eq!(shown["Table"]["TableArn"], outside);
    }
}

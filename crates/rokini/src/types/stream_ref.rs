//! Which stream is meant: by name, or by ARN.

use std::fmt;
use std::str::FromStr;

use crate::types::error::Error;

/// Names a stream: by its name in the account and region of the credentials, or by its ARN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamRef {
    text: String,
    name_at: usize,
}

impl StreamRef {
    /// The name of the stream.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[self.name_at..]
    }

    /// The ARN, where it was named by one.
    #[must_use]
    pub fn arn(&self) -> Option<&str> {
        (self.name_at > 0).then_some(self.text.as_str())
    }

    /// The region in the ARN, where it was named by one.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.arn()?.split(':').nth(3)
    }
}

/// Refuses two streams of one name that are named differently: positions go by the name and the time of creation, so one
/// would be taken for the other, made again.
pub(crate) fn tell_apart(one: &StreamRef, other: &StreamRef) -> Result<(), Error> {
    if one.name() != other.name() || one == other {
        return Ok(());
    }
    let message = format!(
        "streams `{one}` and `{other}` have one name, by which a group keeps its positions: read them in a group of its \
         own each, or name the stream in one way if both are the same"
    );
    Err(Error::configuration(message))
}

/// Whether both may be the same stream, named in one way or in two. Only different ARNs are surely different streams
/// where the name is one.
pub(crate) fn may_be_one(one: &StreamRef, other: &StreamRef) -> bool {
    let are_arns = one.arn().is_some() && other.arn().is_some();
    one.name() == other.name() && (one == other || !are_arns)
}

/// 1 to 128 letters, digits, `_`, `.`, `-`: what Kinesis allows.
fn is_stream_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

pub(crate) const ACCEPTED: &str = "a stream name (1 to 128 letters, digits, `_`, `.`, `-`) or an ARN such as \
     `arn:aws:kinesis:eu-west-1:123456789012:stream/orders`";

pub(crate) fn parse(text: &str) -> Option<StreamRef> {
    let name_at = if text.starts_with("arn:") {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let [_, partition, "kinesis", region, account, resource] = parts[..] else { return None };
        let complete = !partition.is_empty() && !region.is_empty() && !account.is_empty();
        let name = resource.strip_prefix("stream/").filter(|_| complete)?;
        text.len() - name.len()
    } else {
        0
    };
    is_stream_name(&text[name_at..]).then(|| StreamRef { text: text.to_owned(), name_at })
}

impl FromStr for StreamRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(160).collect();
            Error::configuration(format!("not a stream: expected {ACCEPTED}, got `{shown}`"))
        })
    }
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::error::ErrorKind;

    #[test]
    fn takes_names_and_arns() {
        for (text, name, region) in [
            ("orders", "orders", None),
            ("a.b_c-1", "a.b_c-1", None),
            ("arn:aws:kinesis:eu-west-1:123456789012:stream/orders", "orders", Some("eu-west-1")),
            ("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/o.2", "o.2", Some("cn-north-1")),
        ] {
            let stream: StreamRef = text.parse().unwrap();
            assert_eq!((stream.name(), stream.region()), (name, region));
            assert_eq!(stream.arn().is_some(), region.is_some());
            assert_eq!(stream.to_string(), text);
        }
    }

    #[test]
    fn c14_streams_of_one_name_that_are_named_differently_are_refused() {
        let [orders, here, there, elsewhere, bills] = [
            "orders",
            "arn:aws:kinesis:eu-west-1:111111111111:stream/orders",
            "arn:aws:kinesis:eu-west-1:222222222222:stream/orders",
            "arn:aws:kinesis:eu-west-2:111111111111:stream/orders",
            "arn:aws:kinesis:eu-west-1:222222222222:stream/bills",
        ]
        .map(|text| text.parse::<StreamRef>().unwrap());
        for (one, other, fine) in [
            (&here, &here, true),
            (&here, &bills, true),
            (&orders, &orders, true),
            (&here, &there, false),
            (&here, &elsewhere, false),
            (&orders, &there, false),
        ] {
            let told = tell_apart(one, other);
            assert_eq!(told.is_ok(), fine, "{one} {other}");
            assert!(told.err().is_none_or(|error| error.kind() == ErrorKind::Configuration));
        }
    }

    #[test]
    fn refuses_other_text() {
        for text in [
            "",
            "a b",
            "a/b",
            "ä",
            &"x".repeat(129),
            "arn:aws:kinesis:eu-west-1:123456789012:stream/",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/a/consumer/b:1",
            "arn:aws:sqs:eu-west-1:123456789012:orders",
            "arn:aws:kinesis::123456789012:stream/orders",
        ] {
            let error = text.parse::<StreamRef>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("expected a stream name"), "{error}");
        }
    }
}

//! Accounts, regions, partitions, and the names of resources in them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An account in a region: what stream names are unique in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) account: Arc<str>,
    pub(crate) region: Arc<str>,
}

impl Default for Scope {
    fn default() -> Self {
        Self::new("000000000000", "us-east-1")
    }
}

impl Scope {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self { account: account.into(), region: region.into() }
    }

    /// The ARN of something in it, such as `stream/orders`.
    pub(crate) fn arn(&self, resource: &str) -> String {
        format!("arn:{}:kinesis:{}:{}:{resource}", partition_of(&self.region), self.region, self.account)
    }
}

/// Where a stream is and what it is called there.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey {
    pub(crate) scope: Scope,
    pub(crate) name: String,
}

impl StreamKey {
    pub(crate) fn arn(&self) -> String {
        self.scope.arn(&format!("stream/{}", self.name))
    }

    /// As tokens hold it. Neither part of a scope has a slash in it, nor has a name.
    pub(crate) fn to_text(&self) -> String {
        format!("{}/{}/{}", self.scope.account, self.scope.region, self.name)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (account, rest) = text.split_once('/')?;
        let (region, name) = rest.split_once('/')?;
        Some(Self { scope: Scope::new(account, region), name: name.to_owned() })
    }
}

/// Regions of other partitions than `aws`, by how their names begin; from botocore's `partitions.json`.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
];

/// The partition of a region, the second part of every ARN.
pub(crate) fn partition_of(region: &str) -> &'static str {
    let found = PARTITIONS.iter().find(|(begins, _)| region.starts_with(begins));
    found.map_or("aws", |(_, partition)| partition)
}

/// Says that the partition of an ARN is not that of its region, if that is so.
pub(crate) fn partition_fault(arn: &str) -> Option<String> {
    let mut parts = arn.splitn(6, ':').skip(1);
    let (partition, _, region) = (parts.next()?, parts.next()?, parts.next()?);
    let needed = partition_of(region);
    (needed != partition)
        .then(|| format!("The region {region} is in the partition {needed}, and the ARN says {partition}."))
}

/// Whether a text is an account id: twelve digits.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// An ARN of Kinesis, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) scope: Scope,
    pub(crate) resource: Resource<'a>,
}

/// What an ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    Stream(&'a str),
    /// The stream's name and the consumer's; the time in the ARN tells apart consumers that had the same name.
    Consumer {
        stream: &'a str,
        name: &'a str,
    },
    Queue(&'a str),
    Channel(&'a str),
}

impl<'a> Arn<'a> {
    /// `None` for what is no ARN of Kinesis, and for a region that is not of the partition.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        if arn != "arn" || service != "kinesis" || partition_of(region) != partition || !is_account(account) {
            return None;
        }
        let (kind, rest) = resource.split_once('/').filter(|(_, rest)| !rest.is_empty())?;
        let resource = match kind {
            "stream" => match rest.split_once("/consumer/") {
                None => Resource::Stream(rest),
                Some((stream, name)) => {
                    Resource::Consumer { stream, name: name.rsplit_once(':').map_or(name, |(name, _)| name) }
                }
            },
            "queue" => Resource::Queue(rest),
            "channel" => Resource::Channel(rest),
            _ => return None,
        };
        Some(Self { scope: Scope::new(account, region), resource })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_follow_the_partition_of_the_region() {
        let cases = [
            ("us-east-1", "arn:aws:kinesis:us-east-1:123456789012:stream/s"),
            ("cn-north-1", "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/s"),
            ("us-gov-west-1", "arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/s"),
            ("us-iso-east-1", "arn:aws-iso:kinesis:us-iso-east-1:123456789012:stream/s"),
            ("us-isob-east-1", "arn:aws-iso-b:kinesis:us-isob-east-1:123456789012:stream/s"),
        ];
        for (region, arn) in cases {
            let scope = Scope::new("123456789012", region);
            assert_eq!(scope.arn("stream/s"), arn);
            assert_eq!(Arn::parse(arn), Some(Arn { scope, resource: Resource::Stream("s") }));
        }
        for bad in [
            "",
            "orders",
            "arn:aws:kinesis:us-east-1:123456789012:stream/",
            "arn:aws:kinesis:us-east-1:12345:stream/s",
            "arn:aws:kinesis:cn-north-1:123456789012:stream/s",
            "arn:aws:sqs:us-east-1:123456789012:stream/s",
        ] {
            assert_eq!(Arn::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_partition_that_is_not_the_regions_is_named() {
        let fault = |arn| partition_fault(arn).unwrap_or_default();
        let told = fault("arn:aws:kinesis:cn-north-1:123456789012:stream/s");
        assert_eq!(told, "The region cn-north-1 is in the partition aws-cn, and the ARN says aws.");
        assert_eq!(fault("arn:aws:kinesis:us-east-1:123456789012:stream/s"), "");
        assert_eq!(fault("orders"), "");
    }

    #[test]
    fn a_consumer_is_named_within_its_stream() {
        let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1700000000";
        let resource = Arn::parse(arn).map(|arn| arn.resource);
        assert_eq!(resource, Some(Resource::Consumer { stream: "s", name: "c" }));
    }
}

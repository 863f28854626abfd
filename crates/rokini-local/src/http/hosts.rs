//! Host names: which are answered, and what those of AWS's forms say about the caller.
//!
//! A page of any web site can have its own name resolve to this machine. What it asks for then bears that name, and is refused.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;

use crate::model::is_account;

/// What ends the host names of AWS, from the partitions of botocore.
const AWS_SUFFIXES: [&str; 15] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "api.aws.ic.gov",
    "api.aws.scloud",
    "api.cloud-aws.adc-e.uk",
    "api.aws.hci.ic.gov",
    "on.aws",
];

/// The first labels of the host names of Kinesis, after `control-` or `data-`.
const SERVICES: [&str; 4] = ["kinesis", "kinesis-fips", "kinesis-queues", "kinesis-queues-fips"];

/// The host names that are answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// Names given by an option; `*` is any.
    named: Arc<[String]>,
}

/// What a host name of AWS's forms says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostFacts {
    pub(crate) account: Option<String>,
    pub(crate) region: Option<String>,
}

impl Hosts {
    pub(crate) fn new(named: impl IntoIterator<Item = String>) -> Self {
        Self { named: named.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// What the host of a request says.
    ///
    /// # Errors
    /// The name, if it is not answered.
    pub(crate) fn check(&self, head: &Parts) -> Result<HostFacts, String> {
        let header = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = head.uri.host().or(header).unwrap_or_default();
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        if let Some(facts) = of_aws(&name) {
            return Ok(facts);
        }
        let local = name.is_empty() || name == "localhost" || name.ends_with(".localhost");
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let named = self.named.iter().any(|known| *known == name || known == "*");
        if local || address || named { Ok(HostFacts::default()) } else { Err(name) }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// `kinesis.REGION.SUFFIX`, with ids before it, and `control-`, `data-`, `-queues` and `-fips` in its first label. What others can have
/// under a name of AWS's, such as a bucket `kinesis-x`, is none.
fn of_aws(name: &str) -> Option<HostFacts> {
    let suffix = AWS_SUFFIXES.iter().find(|suffix| name.ends_with(&format!(".{suffix}")))?;
    let labels: Vec<&str> = name.strip_suffix(suffix)?.trim_end_matches('.').split('.').collect();
    let (region, before) = labels.split_last()?;
    let (service, ids) = before.split_last()?;
    let service =
        service.strip_prefix("control-").or_else(|| service.strip_prefix("data-")).unwrap_or(service);
    if !SERVICES.contains(&service) || !is_region(region) {
        return None;
    }
    let account = ids.iter().find(|id| is_account(id)).map(|id| (*id).to_owned());
    Some(HostFacts { account, region: Some((*region).to_owned()) })
}

/// At least two words and a number, as in `us-gov-west-1`; that of a service, as in `s3-us-west-2`, is none.
fn is_region(label: &str) -> bool {
    let Some((words, number)) = label.rsplit_once('-') else { return false };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    words.contains('-')
        && words.split('-').all(is_word)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hosts: &Hosts, host: &str) -> Result<HostFacts, String> {
        let request = http::Request::get("/").header(HOST, host).body(()).unwrap();
        hosts.check(&request.into_parts().0)
    }

    #[test]
    fn names_of_aws_say_where_and_who() {
        let facts = |account: Option<&str>, region: &str| {
            Ok(HostFacts { account: account.map(str::to_owned), region: Some(region.to_owned()) })
        };
        let hosts = Hosts::default();
        let account = Some("123456789012");
        for (host, expected) in [
            ("kinesis.us-east-1.amazonaws.com", facts(None, "us-east-1")),
            ("kinesis-fips.us-gov-west-1.amazonaws.com:443", facts(None, "us-gov-west-1")),
            ("kinesis.cn-north-1.amazonaws.com.cn", facts(None, "cn-north-1")),
            ("kinesis.eu-west-1.api.aws", facts(None, "eu-west-1")),
            ("123456789012.control-kinesis.eu-west-1.amazonaws.com", facts(account, "eu-west-1")),
            ("123456789012.data-kinesis-queues-fips.eu-west-1.api.aws", facts(account, "eu-west-1")),
            ("abcdefghij0123456789.abc.data-kinesis.eu-west-1.amazonaws.com", facts(None, "eu-west-1")),
        ] {
            assert_eq!(of(&hosts, host), expected, "{host}");
        }
    }

    #[test]
    fn names_of_this_machine_are_answered_and_others_by_option() {
        let none = Hosts::default();
        let named = Hosts::new(["Kinesis".to_owned()]);
        let any = Hosts::new(["*".to_owned()]);
        for host in
            ["localhost:4567", "127.0.0.1:4567", "[::1]:4567", "172.17.0.2", "orders.localhost", "localhost."]
        {
            assert_eq!(of(&none, host), Ok(HostFacts::default()), "{host}");
        }
        for host in [
            "evil.example:4567",
            "kinesis:4567",
            "127.0.0.1.evil.example",
            "kinesis.amazonaws.com.evil.example",
            "kinesis-x.s3.amazonaws.com",
            "kinesis.s3.amazonaws.com",
            "kinesis-x.s3.us-east-1.amazonaws.com",
            "kinesis.s3-website-us-east-1.amazonaws.com",
            "kinesis-x.eu-west-1.amazonaws.com",
            "kinesis.s3-us-west-2.amazonaws.com",
        ] {
            assert!(of(&none, host).is_err() && of(&any, host).is_ok(), "{host}");
        }
        assert!(of(&named, "kinesis:4567").is_ok() && of(&named, "kinesis.example").is_err());
    }
}

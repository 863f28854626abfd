//! What a stream is, beyond its shards: who is registered with it, by which key it is encrypted, how it is paid for.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{EncryptionType, StreamDescriptionSummary, StreamMode};
use rokini::{ConsumerConfig, Retrieval, StreamRef};
use tokio::time::timeout;

use super::check::{CALL_WAIT, Check};

/// The most consumers that can be registered with a stream ("Quotas and limits" in the developer guide of Kinesis Data Streams).
const CONSUMERS: u32 = 20;
/// The key that AWS keeps for all streams of an account. Whoever may read a stream may use it.
const AWS_KEY: &str = "alias/aws/kinesis";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamFacts {
    pub(super) arn: String,
    pub(super) open_shards: u32,
    /// Registered for enhanced fan-out.
    consumers: u32,
    /// Paid for by what comes and goes, not by the shard.
    pub(super) on_demand: bool,
    /// By which it is encrypted, as the stream names it.
    key: Option<String>,
}

impl StreamFacts {
    fn of(summary: &StreamDescriptionSummary) -> Self {
        let number = |number: i32| u32::try_from(number).unwrap_or_default();
        let mode = summary.stream_mode_details.as_ref().map(|details| &details.stream_mode);
        let is_encrypted = summary.encryption_type == Some(EncryptionType::Kms);
        Self {
            arn: summary.stream_arn.clone(),
            open_shards: number(summary.open_shard_count),
            consumers: summary.consumer_count.map(number).unwrap_or_default(),
            on_demand: mode == Some(&StreamMode::OnDemand),
            key: summary.key_id.clone().filter(|_| is_encrypted),
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests(open_shards: u32, on_demand: bool) -> Self {
        Self { arn: String::new(), open_shards, consumers: 0, on_demand, key: None }
    }

    /// Asks the stream. What goes wrong was told by the check before.
    pub(super) async fn ask(client: &Client, stream: &StreamRef) -> Option<Self> {
        let call = client.describe_stream_summary();
        let call = match stream.arn() {
            Some(arn) => call.stream_arn(arn),
            None => call.stream_name(stream.name()),
        };
        let answer = timeout(CALL_WAIT, call.send()).await.ok()?.ok()?;
        answer.stream_description_summary.as_ref().map(Self::of)
    }

    pub(super) fn checks(&self, config: &ConsumerConfig) -> Vec<Check> {
        let mut checks = vec![self.limits(), self.consumers(config)];
        checks.extend(self.key.as_deref().map(encryption));
        checks
    }

    /// What the stream takes and gives at most ("Quotas and limits" in the developer guide of Kinesis Data Streams).
    fn limits(&self) -> Check {
        let shards = u64::from(self.open_shards);
        let mode = if self.on_demand { "on demand, at present" } else { "provisioned" };
        let what = format!(
            "{mode}: {} take {shards} MB and {} records a second; each gives 2 MB and 5 reads a second to all groups that poll \
             together, and 2 MB more to each by fan-out",
            crate::text::count(shards, "open shard"),
            shards * 1000
        );
        Check::ok("stream-limits", what)
    }

    fn consumers(&self, config: &ConsumerConfig) -> Check {
        let what = format!("{} of {CONSUMERS} registered for fan-out", self.consumers);
        if config.retrieval == Retrieval::Polling || self.consumers < CONSUMERS {
            return Check::ok("consumers", what);
        }
        let next = "a group that is not registered yet reads by polling: `aws kinesis list-stream-consumers` shows who is, and \
                    accounts with On-demand Advantage have room for 50";
        Check::warn("consumers", what, next)
    }
}

/// Reading a shard without records decrypts nothing, so that the permission cannot be tried.
fn encryption(key: &str) -> Check {
    if key == AWS_KEY || key.ends_with(&format!(":{AWS_KEY}")) {
        return Check::ok("encryption", "by the key that AWS keeps for Kinesis");
    }
    Check::warn(
        "kms:Decrypt",
        format!("the stream is encrypted by {key}; whether that may be used only records tell"),
        "`rokini doctor --policy --kms-key KEY`, with the ARN or id of that key, prints what allows it",
    )
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    fn facts() -> StreamFacts {
        StreamFacts {
            arn: "arn:aws:kinesis:us-east-1:1:stream/orders".to_owned(),
            open_shards: 4,
            consumers: 3,
            on_demand: false,
            key: None,
        }
    }

    #[test]
    fn a_key_of_ones_own_and_a_full_stream_are_warned_of() {
        let polling = ConsumerConfig::from_toml_str("stream = \"orders\"").unwrap();
        let pushed = ConsumerConfig::from_toml_str("stream = \"orders\"\nretrieval = \"fan_out\"").unwrap();
        let status = |facts: &StreamFacts, config: &ConsumerConfig| {
            facts.checks(config)[1..].iter().map(|check| check.status).collect::<Vec<_>>()
        };
        let full = StreamFacts { consumers: 20, ..facts() };
        for (facts, config, wanted) in [
            (facts(), &pushed, vec![CheckStatus::Ok]),
            (full.clone(), &pushed, vec![CheckStatus::Warn]),
            (full, &polling, vec![CheckStatus::Ok]),
            (StreamFacts { key: Some(AWS_KEY.to_owned()), ..facts() }, &polling, vec![CheckStatus::Ok; 2]),
            (
                StreamFacts { key: Some("alias/mine".to_owned()), ..facts() },
                &polling,
                vec![CheckStatus::Ok, CheckStatus::Warn],
            ),
        ] {
            assert_eq!(status(&facts, config), wanted, "{facts:?}");
        }
        let limits = facts().limits().what;
        assert!(
            limits.starts_with("provisioned: 4 open shards take 4 MB and 4000 records a second"),
            "{limits}"
        );
    }
}

//! What a configuration needs of AWS, and how that is said in IAM and Terraform. Pure.

use std::str::FromStr;

use rokini::{ConsumerConfig, DeadLetterTarget, Monitoring, Retrieval, StreamRef};
use serde_json::{Value, json};

use super::check::Check;

/// Actions of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sid: &'static str,
    pub(super) actions: Vec<&'static str>,
    pub(super) resources: Vec<String>,
}

/// A key of KMS, by its ARN or its id. Policies know no aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KmsKey(String);

impl FromStr for KmsKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id =
            text.strip_prefix("arn:").map_or(Some(text), |arn| arn.split_once(":key/").map(|(_, id)| id));
        let is_id =
            |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if id.is_some_and(is_id) {
            return Ok(Self(text.to_owned()));
        }
        Err("give the ARN or the id of the key: `aws kms describe-key --key-id ALIAS` shows both".to_owned())
    }
}

impl KmsKey {
    fn arn(&self, region: &str) -> String {
        match self.0.starts_with("arn:") {
            true => self.0.clone(),
            false => arn("kms", region, &format!("key/{}", self.0)),
        }
    }
}

/// Everything that workers of a configuration call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs(pub(super) Vec<Statement>);

/// To read a stream.
pub(super) const STREAM_ACTIONS: [&str; 4] =
    ["kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"];
/// Whether a consumer is registered.
pub(super) const DESCRIBE_CONSUMER: &str = "kinesis:DescribeStreamConsumer";
/// To read it by enhanced fan-out. It is polled too, while a subscription cannot be had.
const FAN_OUT_ACTIONS: [&str; 3] =
    [DESCRIBE_CONSUMER, "kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"];
/// To coordinate over the table, which was made beforehand.
pub(super) const TABLE_ACTIONS: [&str; 6] = [
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
];

impl Needs {
    /// `makes_table`: where nobody says so, a table on this machine is made. `key`: of the streams, where they are encrypted by
    /// one of their owner's.
    pub(super) fn of(config: &ConsumerConfig, region: &str, makes_table: bool, key: Option<&KmsKey>) -> Self {
        let mut statements = Vec::new();
        let streams: Vec<String> = match config.streams.as_slice() {
            [] => vec![arn("kinesis", region, "stream/STREAM")],
            streams => streams.iter().map(|stream| stream_arn(stream, region)).collect(),
        };
        let (sid, actions) = ("ReadTheStream", STREAM_ACTIONS.to_vec());
        if config.retrieval != Retrieval::Polling {
            let mut actions = FAN_OUT_ACTIONS.to_vec();
            if config.retrieval == Retrieval::Auto {
                actions.push("kinesis:DeregisterStreamConsumer");
            }
            if !config.fan_out_tags.is_empty() {
                actions.push("kinesis:TagResource");
            }
            let consumers = streams.iter().map(|stream| format!("{stream}/consumer/*"));
            let resources = streams.iter().cloned().chain(consumers).collect();
            statements.push(Statement { sid: "ReadByFanOut", actions, resources });
        }
        statements.insert(0, Statement { sid, actions, resources: streams });
        if let Some(key) = key {
            let (sid, actions) = ("DecryptTheStream", vec!["kms:Decrypt"]);
            statements.push(Statement { sid, actions, resources: vec![key.arn(region)] });
        }
        if !config.broadcast {
            let mut actions = TABLE_ACTIONS.to_vec();
            if config.create_table || makes_table {
                actions.insert(0, "dynamodb:CreateTable");
            }
            let resources = vec![arn("dynamodb", region, &format!("table/{}", config.table))];
            statements.push(Statement { sid: "ShareTheShards", actions, resources });
        }
        match &config.dead_letter {
            Some(DeadLetterTarget::Kinesis(stream)) => statements.push(Statement {
                sid: "WriteDeadLetters",
                actions: vec!["kinesis:PutRecords"],
                resources: vec![stream_arn(stream, region)],
            }),
            Some(DeadLetterTarget::Sqs(url)) => statements.push(Statement {
                sid: "WriteDeadLetters",
                actions: vec!["sqs:SendMessage"],
                resources: vec![queue_arn(url, region)],
            }),
            _ => {}
        }
        if config.monitoring.contains(&Monitoring::CloudWatch) {
            // CloudWatch knows no resources.
            let (sid, actions) = ("SendMetrics", vec!["cloudwatch:PutMetricData"]);
            statements.push(Statement { sid, actions, resources: vec!["*".to_owned()] });
        }
        Self(statements)
    }

    /// What cannot be tried without writing something or paying for it. `has_table`: whether one has to be made.
    /// `checks`: what is said already.
    pub(super) fn untried(&self, has_table: bool, checks: &[Check]) -> Vec<Check> {
        let tried = |action: &&str| {
            let has = |actions: &[&str]| actions.contains(action);
            checks.iter().any(|check| check.name == *action)
                || has(&STREAM_ACTIONS)
                || has(&TABLE_ACTIONS)
                || *action == DESCRIBE_CONSUMER
                || (has_table && *action == "dynamodb:CreateTable")
        };
        let actions = self.0.iter().flat_map(|statement| statement.actions.iter().copied());
        let warn = |action: &str| {
            Check::warn(
                action,
                "needed, and not tried: that would write, be billed or take a subscription away, and no dry run can tell",
                "see that the policy allows it: `rokini doctor --policy` prints the whole policy",
            )
        };
        actions.filter(|action| !tried(action)).map(warn).collect()
    }

    fn document(&self) -> Value {
        let statement = |statement: &Statement| {
            json!({
                "Sid": statement.sid,
                "Effect": "Allow",
                "Action": statement.actions,
                "Resource": statement.resources,
            })
        };
        json!({ "Version": "2012-10-17", "Statement": self.0.iter().map(statement).collect::<Vec<_>>() })
    }

    /// The policy as IAM takes it.
    pub(super) fn policy(&self) -> String {
        format!("{:#}\n", self.document())
    }

    /// The table and the policy.
    pub(super) fn terraform(&self, table: &str) -> String {
        let policy = serde_json::to_string_pretty(&self.document()).unwrap_or_default();
        format!(
            r#"resource "aws_dynamodb_table" "rokini" {{
  name         = "{table}"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "group"
  range_key    = "row"

  attribute {{
    name = "group"
    type = "S"
  }}

  attribute {{
    name = "row"
    type = "S"
  }}

  point_in_time_recovery {{
    enabled = true
  }}
}}

resource "aws_iam_policy" "rokini_worker" {{
  name   = "rokini-worker"
  policy = <<-POLICY
{policy}
  POLICY
}}
"#
        )
    }
}

/// `*` stands for the account: an ARN by name does not say it.
fn arn(service: &str, region: &str, resource: &str) -> String {
    let region = if region.is_empty() { "*" } else { region };
    format!("arn:aws:{service}:{region}:*:{resource}")
}

pub(super) fn stream_arn(stream: &StreamRef, region: &str) -> String {
    match stream.arn() {
        Some(arn) => arn.to_owned(),
        None => arn("kinesis", region, &format!("stream/{}", stream.name())),
    }
}

/// A queue's URL ends with its account and its name.
fn queue_arn(url: &str, region: &str) -> String {
    let mut parts = url.rsplit('/');
    let (name, account) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
    format!("arn:aws:sqs:{region}:{account}:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(toml: &str) -> Needs {
        Needs::of(&ConsumerConfig::from_toml_str(toml).unwrap(), "eu-central-1", false, None)
    }

    #[test]
    fn x1_a_policy_has_what_the_mode_needs_and_nothing_else() {
        let plain = needs("stream = \"orders\"\ngroup = \"g\"");
        assert_eq!(plain.0.len(), 2);
        assert_eq!(plain.0[0].resources, ["arn:aws:kinesis:eu-central-1:*:stream/orders"]);
        assert_eq!(plain.0[1].actions, TABLE_ACTIONS);
        let text = plain.policy();
        assert!(!text.contains("CreateTable") && !text.contains("Scan") && !text.contains("\"*\""), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["Version"], "2012-10-17");

        let all = needs(
            "stream = \"arn:aws:kinesis:us-east-1:123456789012:stream/orders\"\ngroup = \"g\"\ncreate_table = true\n\
             dead_letter = \"sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/dead\"\nmonitoring = \"cloudwatch\"",
        );
        assert_eq!(all.0[0].resources, ["arn:aws:kinesis:us-east-1:123456789012:stream/orders"]);
        assert_eq!(all.0[1].actions[0], "dynamodb:CreateTable");
        assert_eq!(all.0[2].resources, ["arn:aws:sqs:eu-central-1:123456789012:dead"]);
        assert_eq!(all.0[3].actions, ["cloudwatch:PutMetricData"]);
        assert_eq!(needs("stream = \"orders\"\nbroadcast = true").0.len(), 1, "no table");

        let pushed = needs("stream = \"orders\"\nretrieval = \"fan_out\"\nfan_out_tags = \"team=billing\"");
        let stream = "arn:aws:kinesis:eu-central-1:*:stream/orders".to_owned();
        assert_eq!(pushed.0[0], plain.0[0], "it is polled too");
        assert_eq!(pushed.0[1].resources, [stream.clone(), format!("{stream}/consumer/*")]);
        for action in ["RegisterStreamConsumer", "SubscribeToShard", "DescribeStreamConsumer", "TagResource"]
        {
            assert!(pushed.0[1].actions.contains(&format!("kinesis:{action}").as_str()), "{action}");
        }
        let deregisters = |retrieval: &str| {
            let needs =
                needs(&format!("stream = \"orders\"\nallow_fan_out = true\nretrieval = \"{retrieval}\""));
            needs.0[1].actions.contains(&"kinesis:DeregisterStreamConsumer")
        };
        assert!(deregisters("auto") && !deregisters("fan_out"), "only what is given back");
    }

    #[test]
    fn a_key_of_the_stream_is_in_the_policy() {
        let config = ConsumerConfig::from_toml_str("stream = \"orders\"").unwrap();
        let arn = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab";
        for (key, resource) in [(arn, arn), ("1234abcd-12ab", "arn:aws:kms:eu-central-1:*:key/1234abcd-12ab")]
        {
            let needs = Needs::of(&config, "eu-central-1", false, Some(&key.parse().unwrap()));
            let decrypts = needs.0.iter().find(|statement| statement.actions == ["kms:Decrypt"]).unwrap();
            assert_eq!(decrypts.resources, [resource]);
            assert!(needs.terraform("t").contains("kms:Decrypt"));
        }
        for bad in ["", "alias/mine", "arn:aws:kms:us-east-1:123456789012:alias/mine", "arn:aws:kms:x:key/"] {
            assert!(bad.parse::<KmsKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_tried_is_named() {
        let untried = |toml: &str, has_table| {
            needs(toml).untried(has_table, &[]).into_iter().map(|check| check.name).collect::<Vec<_>>()
        };
        assert_eq!(untried("stream = \"orders\"\ngroup = \"g\"", true), [""; 0]);
        let all = "stream = \"orders\"\ngroup = \"g\"\ncreate_table = true\nretrieval = \"fan_out\"\n\
                   dead_letter = \"kinesis:dead\"\nmonitoring = \"cloudwatch\"";
        let wanted = [
            "kinesis:RegisterStreamConsumer",
            "kinesis:SubscribeToShard",
            "kinesis:PutRecords",
            "cloudwatch:PutMetricData",
        ];
        assert_eq!(untried(all, true), wanted);
        assert!(untried(all, false).contains(&"dynamodb:CreateTable".to_owned()));
        let said = [Check::ok("kinesis:PutRecords", "allowed, says a dry run")];
        let left = needs(all).untried(true, &said).into_iter().map(|check| check.name).collect::<Vec<_>>();
        assert_eq!(left, [wanted[0], wanted[1], wanted[3]]);
    }

    #[test]
    fn terraform_has_the_layout_of_the_table() {
        let text = needs("stream = \"orders\"").terraform("positions");
        for line in ["name         = \"positions\"", "hash_key     = \"group\"", "range_key    = \"row\""] {
            assert!(text.contains(line), "{text}");
        }
    }
}

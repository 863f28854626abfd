//! What a configuration needs of AWS, and how that is said in IAM and Terraform. Pure.

use rokini::{ConsumerConfig, DeadLetterTarget, Monitoring, Retrieval, StreamRef};
use serde_json::{Value, json};

/// Actions of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sid: &'static str,
    pub(super) actions: Vec<&'static str>,
    pub(super) resources: Vec<String>,
}

/// Everything that workers of a configuration call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs(pub(super) Vec<Statement>);

/// To read a stream.
pub(super) const STREAM_ACTIONS: [&str; 4] =
    ["kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"];
/// To read it by enhanced fan-out. It is polled too, while a subscription cannot be had.
const FAN_OUT_ACTIONS: [&str; 3] =
    ["kinesis:DescribeStreamConsumer", "kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"];
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
    /// `makes_table`: where nobody says so, a table on this machine is made.
    pub(super) fn of(config: &ConsumerConfig, region: &str, makes_table: bool) -> Self {
        let mut statements = Vec::new();
        let streams: Vec<String> = match config.streams.as_slice() {
            [] => vec![arn("kinesis", region, "stream/STREAM")],
            streams => streams.iter().map(|stream| stream_arn(stream, region)).collect(),
        };
        let (sid, actions) = ("ReadTheStream", STREAM_ACTIONS.to_vec());
        if config.retrieval != Retrieval::Polling {
            let mut actions = FAN_OUT_ACTIONS.to_vec();
            if !config.fan_out_tags.is_empty() {
                actions.push("kinesis:TagResource");
            }
            let consumers = streams.iter().map(|stream| format!("{stream}/consumer/*"));
            let resources = streams.iter().cloned().chain(consumers).collect();
            statements.push(Statement { sid: "ReadByFanOut", actions, resources });
        }
        statements.insert(0, Statement { sid, actions, resources: streams });
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

fn stream_arn(stream: &StreamRef, region: &str) -> String {
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
        Needs::of(&ConsumerConfig::from_toml_str(toml).unwrap(), "eu-central-1", false)
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
    }

    #[test]
    fn terraform_has_the_layout_of_the_table() {
        let text = needs("stream = \"orders\"").terraform("positions");
        for line in ["name         = \"positions\"", "hash_key     = \"group\"", "range_key    = \"row\""] {
            assert!(text.contains(line), "{text}");
        }
    }
}

//! An event source mapping of Lambda, as the AWS CLI shows it, as settings.

use rokini::ConfigKey;
use serde_json::{Map, Value};

use crate::error::CliError;

/// What an event source mapping says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EventSourceMapping {
    pub(super) settings: Vec<(ConfigKey, String)>,
    pub(super) function_name: Option<String>,
    pub(super) function_arn: Option<String>,
    /// The version that the ARN ends in, where it does.
    pub(super) function_version: Option<String>,
    /// Whether the function reports which records failed.
    pub(super) reports_failures: bool,
    /// Fields that mean something a little different here.
    pub(super) warnings: Vec<String>,
}

/// Fields that say nothing about how records are handled.
const ABOUT_ITSELF: [&str; 9] = [
    "UUID",
    "EventSourceMappingArn",
    "LastModified",
    "LastProcessingResult",
    "StateTransitionReason",
    "FilterCriteriaError",
    "MetricsConfig",
    "LoggingConfig",
    "Tags",
];

/// Fields of sources that are not Kinesis.
const OTHER_SOURCES: [&str; 9] = [
    "AmazonManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "ProvisionedPollerConfig",
    "Queues",
    "ScalingConfig",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "Topics",
];

fn refused(field: &str, why: &str) -> CliError {
    CliError::usage(format!("`{field}` of the event source mapping has no counterpart here: {why}"))
        .next("take it out of the file where the function does without it")
}

fn wrong(field: &str, value: &Value) -> CliError {
    CliError::usage(format!("`{field}` of the event source mapping cannot be `{value}`"))
}

/// Nothing, an empty list and an empty object say nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.values().all(is_empty),
        _ => false,
    }
}

impl EventSourceMapping {
    /// Reads the JSON of a mapping. Every field means a setting, or nothing for how records are handled, or is refused.
    pub(super) fn read(json: &str) -> Result<Self, CliError> {
        let fields: Map<String, Value> = serde_json::from_str(json).map_err(|error| {
            CliError::usage("the event source mapping is no JSON object")
                .because(&error)
                .next("`aws lambda get-event-source-mapping --uuid ID > mapping.json` writes one")
        })?;
        let mut mapping = Self::default();
        for (field, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
            mapping.take(field, value, &fields)?;
        }
        mapping.give_up(&fields)?;
        Ok(mapping)
    }

    fn set(&mut self, key: ConfigKey, text: impl Into<String>) {
        self.settings.push((key, text.into()));
    }

    fn take(&mut self, field: &str, value: &Value, all: &Map<String, Value>) -> Result<(), CliError> {
        let text = || value.as_str().ok_or_else(|| wrong(field, value));
        match field {
            "BatchSize" => self.set(ConfigKey::BatchMaxRecords, number(field, value)?.to_string()),
            "MaximumBatchingWindowInSeconds" => {
                self.set(ConfigKey::BatchMaxWait, format!("{}s", number(field, value)?));
            }
            "ParallelizationFactor" => self.set(ConfigKey::Concurrency, number(field, value)?.to_string()),
            "BisectBatchOnFunctionError" => {
                let bisect = value.as_bool().ok_or_else(|| wrong(field, value))?;
                self.set(ConfigKey::Bisect, bisect.to_string());
            }
            "StartingPosition" => match text()? {
                "TRIM_HORIZON" => self.set(ConfigKey::Start, "trim_horizon"),
                "LATEST" => self.set(ConfigKey::Start, "latest"),
                "AT_TIMESTAMP" => {
                    let at = all.get("StartingPositionTimestamp").filter(|at| !is_empty(at));
                    let at = at.ok_or_else(|| wrong("StartingPositionTimestamp", &Value::Null))?;
                    self.set(ConfigKey::Start, timestamp(at)?);
                }
                _ => return Err(wrong(field, value)),
            },
            "EventSourceArn" => {
                let arn = text()?;
                let stream = arn.split_once("/consumer/").map_or(arn, |(stream, _)| stream);
                if stream.len() < arn.len() {
                    self.warnings
                        .push(format!("`{field}` is a consumer of enhanced fan-out: its stream is polled"));
                }
                self.set(ConfigKey::Stream, stream);
            }
            "FunctionArn" | "FunctionName" => {
                let given = text()?;
                if given.starts_with("arn:") {
                    self.function_arn = Some(given.to_owned());
                }
                let named = given.split(":function:").last().unwrap_or(given);
                let (name, qualifier) = named.split_once(':').unwrap_or((named, ""));
                self.function_name = Some(name.to_owned());
                // Any other word is an alias, and which version that is stands nowhere here.
                if qualifier == "$LATEST"
                    || !qualifier.is_empty() && qualifier.bytes().all(|byte| byte.is_ascii_digit())
                {
                    self.function_version = Some(qualifier.to_owned());
                }
            }
            "FunctionResponseTypes" => {
                let types = value.as_array().ok_or_else(|| wrong(field, value))?;
                if let Some(other) = types.iter().find(|one| *one != "ReportBatchItemFailures") {
                    return Err(wrong(field, other)
                        .next("Lambda has one response type for streams: `ReportBatchItemFailures`"));
                }
                self.reports_failures = true;
            }
            "TumblingWindowInSeconds" if value == 0 => {}
            "TumblingWindowInSeconds" => return Err(refused(field, "state between invocations is not kept")),
            "FilterCriteria" => return Err(refused(field, "every record goes to the function")),
            "KMSKeyArn" => return Err(refused(field, "it encrypts filters, and there are none")),
            "Enabled" if value == true => {}
            "State" if value == "Enabled" || value == "Creating" || value == "Enabling" => {}
            "Enabled" | "State" => return Err(refused(field, "a mapping that is disabled reads nothing")),
            // Read together, below.
            "MaximumRetryAttempts"
            | "MaximumRecordAgeInSeconds"
            | "DestinationConfig"
            | "StartingPositionTimestamp" => {}
            _ if ABOUT_ITSELF.contains(&field) => {}
            _ if OTHER_SOURCES.contains(&field) => {
                return Err(refused(field, "it is for other sources than Kinesis"));
            }
            _ => return Err(refused(field, "it is not known")),
        }
        Ok(())
    }

    /// When records are given up, and where they go then.
    fn give_up(&mut self, fields: &Map<String, Value>) -> Result<(), CliError> {
        let limit = |field: &str| match fields.get(field).filter(|value| !is_empty(value)) {
            None => Ok(None),
            Some(value) if *value == -1 => Ok(None),
            Some(value) => number(field, value).map(Some),
        };
        let attempts = limit("MaximumRetryAttempts")?;
        let age = limit("MaximumRecordAgeInSeconds")?;
        if let Some(retries) = attempts {
            // The first try is none again.
            self.set(ConfigKey::MaxAttempts, (retries + 1).to_string());
        }
        if let Some(seconds) = age {
            self.set(ConfigKey::MaxFailureAge, format!("{}s", seconds.max(1)));
            self.warnings.push(
                "`MaximumRecordAgeInSeconds` counts from the first failure of a record here, not from its arrival: a backlog \
                 is never dropped"
                    .to_owned(),
            );
        }
        let destinations = fields.get("DestinationConfig").unwrap_or(&Value::Null);
        if !is_empty(&destinations["OnSuccess"]) {
            return Err(refused(
                "DestinationConfig.OnSuccess",
                "streams have no destination for what succeeds",
            ));
        }
        let gives_up = attempts.is_some() || age.is_some();
        match destinations["OnFailure"]["Destination"].as_str() {
            Some(arn) => {
                let target = dead_letter(arn)?;
                if gives_up {
                    self.set(ConfigKey::OnFailure, "dead_letter");
                    self.set(ConfigKey::DeadLetter, target);
                } else {
                    self.warnings.push(
                        "`DestinationConfig` has no effect: without `MaximumRetryAttempts` and `MaximumRecordAgeInSeconds` \
                         no record is given up"
                            .to_owned(),
                    );
                }
            }
            // As Lambda does: what is given up is gone, with a note on the lease.
            None if gives_up => self.set(ConfigKey::OnFailure, "skip"),
            None => {}
        }
        Ok(())
    }
}

/// As text, or in seconds since the Unix epoch, with a fraction where the AWS CLI shows one.
fn timestamp(at: &Value) -> Result<String, CliError> {
    if let Some(text) = at.as_str() {
        return Ok(text.to_owned());
    }
    let wrong = || wrong("StartingPositionTimestamp", at);
    let millis = (at.as_f64().ok_or_else(wrong)? * 1_000.0).round();
    // Exact up to the year 287396.
    let is_time = (0.0..9.0e15).contains(&millis);
    is_time.then(|| rokini::format_time(millis as u64)).ok_or_else(wrong)
}

/// Where services of a partition are.
fn domain(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "amazonaws.com.cn",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

fn number(field: &str, value: &Value) -> Result<u64, CliError> {
    value.as_u64().ok_or_else(|| wrong(field, value))
}

fn dead_letter(arn: &str) -> Result<String, CliError> {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts.as_slice() {
        ["arn", partition, "sqs", region, account, name] => {
            Ok(format!("sqs:https://sqs.{region}.{}/{account}/{name}", domain(partition)))
        }
        ["arn", _, "kinesis", ..] => Ok(format!("kinesis:{arn}")),
        _ => Err(CliError::usage(format!("`{arn}` cannot be a destination here"))
            .next("records that are given up go to a queue of SQS, or by `--set dead_letter=...` to a file or a stream")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(mapping: &EventSourceMapping, key: ConfigKey) -> Option<&str> {
        mapping.settings.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    #[test]
    fn m3_a_mapping_as_the_aws_cli_shows_it_is_settings() {
        let mapping = EventSourceMapping::read(
            r#"{"UUID":"a1","StartingPosition":"TRIM_HORIZON","BatchSize":200,"MaximumBatchingWindowInSeconds":5,
            "ParallelizationFactor":4,"EventSourceArn":"arn:aws:kinesis:us-east-1:123456789012:stream/orders",
            "FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:bill:prod","LastModified":1.5,
            "LastProcessingResult":"OK","State":"Enabled","StateTransitionReason":"User action",
            "DestinationConfig":{"OnSuccess":{},"OnFailure":{"Destination":"arn:aws:sqs:us-east-1:123456789012:dead"}},
            "MaximumRecordAgeInSeconds":-1,"BisectBatchOnFunctionError":true,"MaximumRetryAttempts":2,
            "TumblingWindowInSeconds":0,"FunctionResponseTypes":["ReportBatchItemFailures"],"FilterCriteria":null}"#,
        )
        .unwrap();
        for (key, value) in [
            (ConfigKey::Start, "trim_horizon"),
            (ConfigKey::BatchMaxRecords, "200"),
            (ConfigKey::BatchMaxWait, "5s"),
            (ConfigKey::Concurrency, "4"),
            (ConfigKey::Stream, "arn:aws:kinesis:us-east-1:123456789012:stream/orders"),
            (ConfigKey::Bisect, "true"),
            (ConfigKey::MaxAttempts, "3"),
            (ConfigKey::OnFailure, "dead_letter"),
            (ConfigKey::DeadLetter, "sqs:https://sqs.us-east-1.amazonaws.com/123456789012/dead"),
        ] {
            assert_eq!(setting(&mapping, key), Some(value), "{key}");
        }
        assert_eq!(setting(&mapping, ConfigKey::MaxFailureAge), None);
        assert_eq!(mapping.function_name.as_deref(), Some("bill"));
        assert_eq!(mapping.function_version, None, "an alias");
        assert!(mapping.reports_failures && mapping.warnings.is_empty(), "{mapping:?}");
    }

    #[test]
    fn m3_the_version_is_the_one_that_the_arn_ends_in() {
        for (function, name, version) in [
            ("bill", "bill", None),
            ("bill:7", "bill", Some("7")),
            ("arn:aws:lambda:us-east-1:1:function:bill", "bill", None),
            ("arn:aws:lambda:us-east-1:1:function:bill:17", "bill", Some("17")),
            ("arn:aws:lambda:us-east-1:1:function:bill:prod", "bill", None),
            ("arn:aws:lambda:us-east-1:1:function:bill:$LATEST", "bill", Some("$LATEST")),
        ] {
            let mapping = EventSourceMapping::read(&format!("{{\"FunctionArn\":\"{function}\"}}")).unwrap();
            let told = (mapping.function_name.as_deref(), mapping.function_version.as_deref());
            assert_eq!(told, (Some(name), version), "{function}");
        }
    }

    #[test]
    fn m3_times_have_their_fraction_and_queues_are_where_their_partition_is() {
        for (at, start) in [
            ("1541139109.5", "2018-11-02T06:11:49.500Z"),
            ("1541139109", "2018-11-02T06:11:49.000Z"),
            ("\"2018-11-02T06:11:49.5Z\"", "2018-11-02T06:11:49.5Z"),
        ] {
            let json =
                format!("{{\"StartingPosition\":\"AT_TIMESTAMP\",\"StartingPositionTimestamp\":{at}}}");
            let mapping = EventSourceMapping::read(&json).unwrap();
            assert_eq!(setting(&mapping, ConfigKey::Start), Some(start));
            assert!(start.parse::<rokini::StartPosition>().is_ok(), "{start}");
        }
        for (arn, url) in [
            ("arn:aws:sqs:eu-west-1:1:q", "sqs:https://sqs.eu-west-1.amazonaws.com/1/q"),
            ("arn:aws-cn:sqs:cn-north-1:1:q", "sqs:https://sqs.cn-north-1.amazonaws.com.cn/1/q"),
            ("arn:aws-us-gov:sqs:us-gov-west-1:1:q", "sqs:https://sqs.us-gov-west-1.amazonaws.com/1/q"),
        ] {
            assert_eq!(dead_letter(arn).unwrap(), url);
        }
    }

    #[test]
    fn o14_what_has_no_counterpart_is_refused_with_a_reason() {
        for (json, said) in [
            (r#"{"TumblingWindowInSeconds":30}"#, "state between invocations"),
            (r#"{"FilterCriteria":{"Filters":[{"Pattern":"{}"}]}}"#, "every record goes"),
            (r#"{"Topics":["t"]}"#, "other sources"),
            (r#"{"State":"Disabled"}"#, "reads nothing"),
            (r#"{"SomethingNew":1}"#, "not known"),
            (r#"{"BatchSize":"many"}"#, "cannot be"),
            (
                r#"{"FunctionResponseTypes":["Foo"]}"#,
                "`FunctionResponseTypes` of the event source mapping cannot be `\"Foo\"`",
            ),
            (r#"{"FunctionResponseTypes":["ReportBatchItemFailures",1]}"#, "cannot be `1`"),
            (r#"{"StartingPosition":"AT_TIMESTAMP"}"#, "StartingPositionTimestamp"),
            (
                r#"{"MaximumRetryAttempts":1,"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:sns:r:a:t"}}}"#,
                "destination",
            ),
            ("[]", "no JSON object"),
        ] {
            let error = EventSourceMapping::read(json).unwrap_err();
            assert!(error.what.contains(said), "{json}: {}", error.what);
        }
    }

    #[test]
    fn m3_records_are_given_up_only_where_lambda_would() {
        let forever = EventSourceMapping::read(r#"{"MaximumRetryAttempts":-1,"BatchSize":1}"#).unwrap();
        assert_eq!(setting(&forever, ConfigKey::OnFailure), None);
        let once =
            EventSourceMapping::read(r#"{"MaximumRetryAttempts":0,"MaximumRecordAgeInSeconds":60}"#).unwrap();
        assert_eq!(setting(&once, ConfigKey::OnFailure), Some("skip"));
        assert_eq!(setting(&once, ConfigKey::MaxAttempts), Some("1"));
        assert_eq!(setting(&once, ConfigKey::MaxFailureAge), Some("60s"));
        assert_eq!(once.warnings.len(), 1);
    }
}

//! What the properties of a KCL application mean here.

use std::ops::RangeInclusive;
use std::time::Duration;

use rokini::{ConfigKey, Error};

use super::credentials::{self, CredentialsSource};
use super::keys::{Meaning, meaning};
use super::properties::{parse, wrong};
use super::settings::MultiLangSettings;

/// A KCL application as its properties describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KclApplication {
    /// The program of the children and its arguments (`executableName`).
    pub command: Vec<String>,
    /// How the protocol is spoken.
    pub multilang: MultiLangSettings,
    /// Settings of the consumer.
    pub settings: Vec<(ConfigKey, String)>,
    /// The region (`regionName`).
    pub region: Option<String>,
    /// Where credentials come from (`AwsCredentialsProvider`): the first that has some. Never empty: without the property it is
    /// the default chain.
    pub credentials: Vec<CredentialsSource>,
    /// The endpoint of Kinesis (`kinesisEndpoint`).
    pub kinesis_endpoint: Option<String>,
    /// The endpoint of DynamoDB (`dynamoDBEndpoint`).
    pub dynamodb_endpoint: Option<String>,
    /// Properties that have no effect here, or another one than in the KCL, each with the reason.
    pub warnings: Vec<String>,
}

impl KclApplication {
    /// Reads the bytes of a properties file.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](rokini::ErrorKind::Configuration) naming the property that is missing, or whose value is none.
    pub fn from_properties(bytes: &[u8]) -> Result<Self, Error> {
        let entries = parse(bytes);
        let mut application = Self::default();
        let mut read = Reading::default();
        for (key, value) in &entries {
            // A sample has many keys without a value: they are not set.
            if !value.is_empty() {
                application.take(key, value, &mut read)?;
            }
        }
        application.complete(&read)?;
        Ok(application)
    }

    fn take(&mut self, key: &str, value: &str, read: &mut Reading) -> Result<(), Error> {
        match meaning(key) {
            Meaning::Set(setting) => self.set(setting, value),
            Meaning::Millis(setting, least) => {
                let millis = self.within(key, value, least..=u64::MAX, "so often is often enough")?;
                self.set(setting, format!("{millis}ms"));
            }
            Meaning::NoEffect => {}
            Meaning::Warn(reason) => self.warnings.push(format!("`{key}` has no effect here: {reason}")),
            Meaning::Unknown => self.warnings.push(format!("`{key}` is no property of the KCL")),
            Meaning::Own => return self.take_own(key, value, read),
        }
        Ok(())
    }

    fn set(&mut self, setting: ConfigKey, value: impl Into<String>) {
        self.settings.push((setting, value.into()));
    }

    /// The number, or the nearest that there is here, which is said with the reason.
    fn within(
        &mut self,
        key: &str,
        value: &str,
        range: RangeInclusive<u64>,
        reason: &str,
    ) -> Result<u64, Error> {
        let given = number(key, value)?;
        let taken = given.clamp(*range.start(), *range.end());
        if taken != given {
            self.warnings.push(format!("`{key} = {value}` is {taken} here: {reason}"));
        }
        Ok(taken)
    }

    /// Those that mean more than one setting.
    fn take_own(&mut self, key: &str, value: &str, read: &mut Reading) -> Result<(), Error> {
        match key {
            "executableName" => self.command = value.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            "streamName" => read.stream = Some(value.to_owned()),
            "streamArn" => {
                let name = value.rsplit_once("stream/").map(|(_, name)| name).filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| wrong(format!("`streamArn = {value}` is no ARN of a stream")))?;
                read.arn = Some(name.to_owned());
            }
            "initialPositionInStream" => {
                let start = ["TRIM_HORIZON", "LATEST"].into_iter().find(|start| start.eq_ignore_ascii_case(value));
                let start = start.ok_or_else(|| {
                    wrong(format!("`{key} = {value}` is no start: `TRIM_HORIZON` or `LATEST`"))
                })?;
                read.start.get_or_insert_with(|| start.to_ascii_lowercase());
            }
            // Seconds since the Unix epoch; it wins over the other.
            "initialPositionInStreamExtended" => read.start = Some(number(key, value)?.to_string()),
            "failoverTimeMillis" => {
                let millis = self.within(key, value, 1_000..=u64::MAX, "a worker that is silent for less may just be busy")?;
                self.set(ConfigKey::Failover, format!("{millis}ms"));
                if millis < 4_000 {
                    self.set(ConfigKey::Heartbeat, format!("{}ms", millis / 4));
                }
            }
            "maxLeasesForWorker" => {
                // The default of the KCL is the largest number it has.
                let most = number(key, value)?;
                let text = if most >= 0x7fff_ffff { "unlimited".to_owned() } else { most.to_string() };
                self.set(ConfigKey::MaxLeases, text);
            }
            "maxRecords" => {
                // 0 is unset, as in the KCL.
                if number(key, value)? > 0 {
                    let most = self.within(key, value, 1..=10_000, "GetRecords gives no more")?;
                    self.set(ConfigKey::MaxRecords, most.to_string());
                }
            }
            "idleTimeBetweenReadsInMillis" => {
                if let millis @ 1.. = number(key, value)? {
                    read.idle = Some(Duration::from_millis(millis));
                    let floor = self.within(key, value, 200..=60_000, "a shard can be read five times a second, and its reads are watched")?;
                    self.set(ConfigKey::PollFloor, format!("{floor}ms"));
                    self.set(ConfigKey::PollCeiling, format!("{}ms", floor.max(1_000)));
                }
            }
            "callProcessRecordsEvenForEmptyRecordList" => read.empty_calls = boolean(key, value)?,
            "timeoutInSeconds" => {
                // 0 is unset.
                if let seconds @ 1.. = number(key, value)? {
                    self.multilang.message_timeout = Some(Duration::from_secs(seconds));
                    self.set(ConfigKey::HandlerTimeout, format!("{seconds}s"));
                }
            }
            "shutdownGraceMillis" => {
                if let millis @ 1.. = number(key, value)? {
                    self.set(ConfigKey::ShutdownDeadline, format!("{millis}ms"));
                }
            }
            "regionName" => self.region = Some(value.to_owned()),
            "kinesisEndpoint" => self.kinesis_endpoint = Some(value.to_owned()),
            "dynamoDBEndpoint" => self.dynamodb_endpoint = Some(value.to_owned()),
            "retrievalMode" => match value.to_ascii_uppercase().as_str() {
                "POLLING" => {}
                "DEFAULT" | "FANOUT" => self.warnings.push(format!(
                    "`{key} = {value}`: the stream is polled: enhanced fan-out is billed, and the same registration for two \
                     applications disturbs both; `retrieval = fan_out` asks for it here"
                )),
                _ => return Err(wrong(format!("`{key} = {value}` is none: `POLLING`, `FANOUT` or `DEFAULT`"))),
            },
            "metricsLevel" if value.eq_ignore_ascii_case("NONE") => {}
            "metricsLevel" => self.warnings.push(format!(
                "`{key} = {value}` has no effect by itself: CloudWatch is billed, so metrics go there only with `monitoring = \
                 cloudwatch`"
            )),
            key if key.eq_ignore_ascii_case("AwsCredentialsProvider") => {
                self.credentials = credentials::read(key, value, &mut self.warnings)?;
            }
            "kinesisClient.region" | "dynamoDbClient.region" => _ = self.region.get_or_insert_with(|| value.to_owned()),
            "kinesisClient.endpointOverride" => _ = self.kinesis_endpoint.get_or_insert_with(|| value.to_owned()),
            "dynamoDbClient.endpointOverride" => _ = self.dynamodb_endpoint.get_or_insert_with(|| value.to_owned()),
            _ => self.warnings.push(format!("`{key}` has no effect here")),
        }
        Ok(())
    }

    fn complete(&mut self, read: &Reading) -> Result<(), Error> {
        let missing = |key: &str| wrong(format!("the property `{key}` is missing: a KCL application has it"));
        if self.command.is_empty() {
            return Err(missing("executableName"));
        }
        if !self.settings.iter().any(|(key, _)| *key == ConfigKey::Group) {
            return Err(missing("applicationName"));
        }
        if self.credentials.is_empty() {
            self.credentials.push(CredentialsSource::DefaultChain);
        }
        let stream = read.arn.as_ref().or(read.stream.as_ref()).ok_or_else(|| missing("streamName"))?;
        self.set(ConfigKey::Stream, stream);
        // The KCL's default, and not ours.
        self.set(ConfigKey::Start, read.start.as_deref().unwrap_or("latest"));
        // The KCL makes its table by itself.
        self.set(ConfigKey::CreateTable, "true");
        if read.empty_calls {
            let every = read.idle.unwrap_or(Duration::from_secs(1));
            self.multilang.empty_calls = Some(every.max(Duration::from_millis(200)));
        }
        Ok(())
    }
}

/// What is known once every property is read.
#[derive(Debug, Default)]
struct Reading {
    stream: Option<String>,
    arn: Option<String>,
    start: Option<String>,
    idle: Option<Duration>,
    empty_calls: bool,
}

fn number(key: &str, value: &str) -> Result<u64, Error> {
    value.trim().parse().map_err(|_| wrong(format!("`{key} = {value}` is no whole number")))
}

/// As Apache Commons reads them.
fn boolean(key: &str, value: &str) -> Result<bool, Error> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(wrong(format!("`{key} = {value}` is neither `true` nor `false`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "executableName = app.py\napplicationName = billing\nstreamName = orders\n\
                         AwsCredentialsProvider = DefaultAWSCredentialsProviderChain\n";

    fn read(more: &str) -> KclApplication {
        KclApplication::from_properties(format!("{LEAST}{more}").as_bytes()).unwrap()
    }

    fn setting(application: &KclApplication, key: ConfigKey) -> Option<&str> {
        let mut set = application.settings.iter().filter(|(known, _)| *known == key);
        set.next_back().map(|(_, value)| value.as_str())
    }

    #[test]
    fn m2_the_least_there_is_has_the_defaults_of_the_kcl() {
        let application = read("");
        assert_eq!(application.command, ["app.py"]);
        for (key, value) in [
            (ConfigKey::Group, "billing"),
            (ConfigKey::Stream, "orders"),
            (ConfigKey::Start, "latest"),
            (ConfigKey::CreateTable, "true"),
        ] {
            assert_eq!(setting(&application, key), Some(value));
        }
        assert!(application.warnings.is_empty(), "{:?}", application.warnings);
    }

    #[test]
    fn m2_properties_with_a_meaning_here_have_it() {
        let application = read(
            "executableName = python  app.py --fast\nstreamArn = arn:aws:kinesis:us-east-5:000000000000:stream/other\n\
             initialPositionInStream = trim_horizon\nfailoverTimeMillis = 2000\nmaxRecords = 9999\nworkerId = w1\n\
             idleTimeBetweenReadsInMillis = 200\ncallProcessRecordsEvenForEmptyRecordList = TRUE\ntimeoutInSeconds = 7\n\
             shutdownGraceMillis = 9000\nregionName = eu-west-1\nkinesisEndpoint = http://127.0.0.1:1\nmaxLeasesForWorker = 2147483647\n\
             initialPositionInStreamExtended = 1636609142\nshardSyncIntervalMillis = 5000\nretrievalMode = polling\n",
        );
        assert_eq!(application.command, ["python", "app.py", "--fast"]);
        for (key, value) in [
            (ConfigKey::Stream, "other"),
            (ConfigKey::Start, "1636609142"),
            (ConfigKey::Failover, "2000ms"),
            (ConfigKey::Heartbeat, "500ms"),
            (ConfigKey::MaxRecords, "9999"),
            (ConfigKey::Worker, "w1"),
            (ConfigKey::PollFloor, "200ms"),
            (ConfigKey::PollCeiling, "1000ms"),
            (ConfigKey::ShutdownDeadline, "9000ms"),
            (ConfigKey::MaxLeases, "unlimited"),
            (ConfigKey::AuditInterval, "5000ms"),
            (ConfigKey::HandlerTimeout, "7s"),
        ] {
            assert_eq!(setting(&application, key), Some(value), "{key}");
        }
        assert_eq!(application.multilang.message_timeout, Some(Duration::from_secs(7)));
        assert_eq!(application.multilang.empty_calls, Some(Duration::from_millis(200)));
        assert_eq!(application.region.as_deref(), Some("eu-west-1"));
        assert!(application.warnings.is_empty(), "{:?}", application.warnings);
    }

    #[test]
    fn o14_numbers_that_are_others_here_are_said_with_the_reason() {
        for (property, key, taken, said) in [
            ("maxRecords = 20000", ConfigKey::MaxRecords, "10000", "GetRecords gives no more"),
            ("failoverTimeMillis = 100", ConfigKey::Failover, "1000ms", "just be busy"),
            ("idleTimeBetweenReadsInMillis = 5", ConfigKey::PollFloor, "200ms", "five times a second"),
            (
                "idleTimeBetweenReadsInMillis = 70000",
                ConfigKey::PollFloor,
                "60000ms",
                "its reads are watched",
            ),
            ("shardSyncIntervalMillis = 10", ConfigKey::AuditInterval, "1000ms", "often enough"),
        ] {
            let application = read(&format!("{property}\n"));
            assert_eq!(setting(&application, key), Some(taken), "{property}");
            let [warning] = application.warnings.as_slice() else { panic!("{:?}", application.warnings) };
            let number = taken.trim_end_matches("ms");
            assert!(warning.starts_with(&format!("`{property}` is {number} here: ")), "{warning}");
            assert!(warning.contains(said), "{warning}");
        }
    }

    #[test]
    fn o14_what_has_no_effect_is_said_with_a_reason_and_what_is_wrong_is_refused() {
        let application =
            read("tableName = t\ndampeningPercentage = 5\nmetricsLevel = DETAILED\nfailoverTimeMilis = 1\n");
        let said = application.warnings.join("\n");
        for what in [
            "`tableName` has no effect here: ",
            "dampeningPercentage",
            "monitoring = cloudwatch",
            "`failoverTimeMilis` is no property",
        ] {
            assert!(said.contains(what), "{what}: {said}");
        }
        for (more, what) in [
            ("maxRecords = many", "no whole number"),
            ("initialPositionInStream = EARLIEST", "TRIM_HORIZON"),
            ("callProcessRecordsEvenForEmptyRecordList = maybe", "neither"),
            ("AwsCredentialsProvider = com.example.Mine", "no provider that is known"),
            ("retrievalMode = PUSH", "POLLING"),
            ("streamArn = orders", "no ARN"),
        ] {
            let error = KclApplication::from_properties(format!("{LEAST}{more}\n").as_bytes()).unwrap_err();
            assert!(error.to_string().contains(what), "{more}: {error}");
        }
        for missing in ["executableName", "applicationName", "streamName"] {
            let rest: String = LEAST
                .lines()
                .filter(|line| !line.starts_with(missing))
                .map(|line| format!("{line}\n"))
                .collect();
            let error = KclApplication::from_properties(rest.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }

    /// Every property that the KCL 3.5 knows, with a value that is not its default.
    const KNOWN: &str = "executableName=b|processingLanguage=java|maxActiveThreads=5|timeoutInSeconds=5|shutdownGraceMillis=5|\
        applicationName=b|streamName=b|streamArn=arn:aws:kinesis:us-east-1:000000000000:stream/b|\
        AwsCredentialsProvider=ProfileCredentialsProvider|AwsCredentialsProviderDynamoDB=x|AwsCredentialsProviderCloudWatch=x|\
        kinesisClient.region=eu-west-1|kinesisClient.endpointOverride=http://x|kinesisClient.dualstackEnabled=true|\
        dynamoDbClient.region=eu-west-1|dynamoDbClient.endpointOverride=http://x|cloudWatchClient.region=eu-west-1|\
        kinesisCredentialsProvider.class=x|dynamoDBCredentialsProvider.class=x|cloudWatchCredentialsProvider.class=x|\
        regionName=eu-west-1|kinesisEndpoint=http://x|dynamoDBEndpoint=http://x|workerId=w|workerIdentifier=w|tableName=t|\
        initialPositionInStream=TRIM_HORIZON|initialPositionInStreamExtended=1636609142|failoverTimeMillis=5000|\
        leaseAssignmentIntervalMillis=1|enablePriorityLeaseAssignment=true|leaseTableDeletionProtectionEnabled=true|\
        leaseTablePitrEnabled=true|shardSyncIntervalMillis=5000|cleanupLeasesUponShardCompletion=true|\
        ignoreUnexpectedChildShards=true|maxLeasesForWorker=5|maxLeasesToStealAtOneTime=5|initialLeaseTableReadCapacity=5|\
        initialLeaseTableWriteCapacity=5|leaseTableScanTotalSegments=5|maxLeaseRenewalThreads=5|\
        listShardsBackoffTimeInMillis=5|maxListShardsRetryAttempts=5|callProcessRecordsEvenForEmptyRecordList=true|\
        parentShardPollIntervalMillis=5|shardPrioritization=x|skipShardSyncAtWorkerInitializationIfLeasesExist=true|\
        schedulerInitializationBackoffTimeMillis=5|clientVersionConfig=CLIENT_VERSION_CONFIG_3X|\
        migrateAllEntitiesToLeaseTable=true|tableMigrationCompleteBakeTimeSeconds=5|taskBackoffTimeMillis=5|\
        logWarningForTaskAfterMillis=5|metricsBufferTimeMillis=5|metricsMaxQueueSize=5|metricsLevel=DETAILED|\
        metricsEnabledDimensions=x|retrievalMode=FANOUT|maxRecords=5|idleTimeBetweenReadsInMillis=500|\
        millisBehindLatestThresholdForReducedTps=5|retryGetRecordsInSeconds=5|maxGetRecordsThreadPool=5|\
        fanoutConfig.consumerArn=x|fanoutConfig.consumerName=x|fanoutConfig.maxDescribeStreamSummaryRetries=5|\
        fanoutConfig.maxDescribeStreamConsumerRetries=5|fanoutConfig.registerStreamConsumerRetries=5|\
        fanoutConfig.retryBackoffMillis=5|gracefulLeaseHandoffTimeoutMillis=5|isGracefulLeaseHandoffEnabled=false|\
        inMemoryWorkerMetricsCaptureFrequencyMillis=5|workerMetricsReporterFreqInMillis=5|\
        noOfPersistedMetricsPerWorkerMetrics=5|disableWorkerMetrics=true|maxThroughputPerHostKBps=5|dampeningPercentage=5|\
        reBalanceThresholdPercentage=5|allowThroughputOvershoot=false|varianceBalancingFrequency=5|workerMetricsEMAAlpha=0.5|\
        staleWorkerMetricsEntryCleanupDuration=PT24H|coordinatorStateTableName=t|coordinatorStateBillingMode=PROVISIONED|\
        coordinatorStateReadCapacity=5|coordinatorStateWriteCapacity=5|coordinatorStatePointInTimeRecoveryEnabled=true|\
        coordinatorStateDeletionProtectionEnabled=true|coordinatorStateTags=a=b|workerMetricsTableName=t|\
        workerMetricsBillingMode=PROVISIONED|workerMetricsReadCapacity=5|workerMetricsWriteCapacity=5|\
        workerMetricsPointInTimeRecoveryEnabled=true|workerMetricsDeletionProtectionEnabled=true|workerMetricsTags=a=b|\
        validateSequenceNumberBeforeCheckpointing=true";
    /// Those that need nothing: MULTILANG.md says why.
    const NOTHING_TO_DO: [&str; 3] = [
        "processingLanguage",
        "validateSequenceNumberBeforeCheckpointing",
        "cleanupLeasesUponShardCompletion",
    ];

    #[test]
    fn m2_every_property_of_the_kcl_is_honoured_or_warned_about_with_a_reason() {
        let plain = read("");
        let mut seen = std::collections::BTreeSet::new();
        let documents = std::fs::read_to_string("../../docs/MULTILANG.md").unwrap();
        for entry in KNOWN.split('|').map(str::trim) {
            let (key, value) = entry.split_once('=').unwrap();
            assert!(seen.insert(key), "{key} is there twice");
            let with = read(&format!("{key} = {value}\n"));
            let reason = format!("`{key}` has no effect here: ");
            let warned = with.warnings.iter().any(|warning| {
                warning.strip_prefix(&reason).is_some_and(|reason| reason.len() > 10)
                    || warning.starts_with(&format!("`{key} = {value}`"))
            });
            assert!(with.warnings.len() == usize::from(warned), "{key}: {:?}", with.warnings);
            let honoured = KclApplication { warnings: Vec::new(), ..with } != plain;
            let nothing = NOTHING_TO_DO.contains(&key);
            assert_eq!(
                u8::from(honoured) + u8::from(warned) + u8::from(nothing),
                1,
                "{key}: {honoured} {warned}"
            );
            let documented = documents.contains(&format!("`{key}`"));
            assert!(documented || warned, "{key} is not in docs/MULTILANG.md");
        }
        assert!(seen.len() > 90, "{}", seen.len());
    }
}

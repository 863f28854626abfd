//! Every property of the KCL 3.5 and what becomes of it.

use rokini::ConfigKey;

/// What a property means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Its value is that of a setting.
    Set(ConfigKey),
    /// It is a duration in milliseconds; the setting has at least so many.
    Millis(ConfigKey, u64),
    /// It is read by itself.
    Own,
    /// It has no effect in the KCL either, or nothing that anybody would miss.
    NoEffect,
    /// It has no effect here, and why.
    Warn(&'static str),
    /// The KCL does not know it.
    Unknown,
}

const TABLE: &str = "leases and positions are rows of a table of Rokini's own, which `ROKINI_TABLE` names";
const LEADER: &str =
    "there is no leader and no table of worker metrics: shards are spread evenly, within seconds";
const CALLS: &str = "calls are paced and repeated by rules of their own";
const METRICS: &str =
    "metrics go to CloudWatch only with `monitoring = cloudwatch`, which has settings of its own";
const FAN_OUT: &str =
    "the stream is polled; with `retrieval = fan_out` it is not, and `fan_out_consumer` names a registration";
const HAND_OVER: &str = "shards are always handed over in order, once the records that were begun are done";
const THREADS: &str = "there is no pool of threads: one shard never waits for another";
const ONE_PROVIDER: &str = "`AwsCredentialsProvider` serves every service";
const LOGGED: &str = "what takes long is seen in `rokini group why` and in metrics, after `stall_after`";

/// What a property means.
#[allow(clippy::too_many_lines, reason = "one table")]
pub(super) fn meaning(key: &str) -> Meaning {
    use ConfigKey::{AuditInterval, Group, Worker};
    use Meaning::{Millis, NoEffect, Own, Set, Unknown, Warn};
    match key {
        "applicationName" => Set(Group),
        "workerId" | "workerIdentifier" => Set(Worker),
        "shardSyncIntervalMillis" => Millis(AuditInterval, 1_000),
        "executableName"
        | "streamName"
        | "streamArn"
        | "initialPositionInStream"
        | "initialPositionInStreamExtended"
        | "failoverTimeMillis"
        | "maxLeasesForWorker"
        | "maxRecords"
        | "idleTimeBetweenReadsInMillis"
        | "callProcessRecordsEvenForEmptyRecordList"
        | "timeoutInSeconds"
        | "shutdownGraceMillis"
        | "regionName"
        | "kinesisEndpoint"
        | "dynamoDBEndpoint"
        | "retrievalMode"
        | "metricsLevel"
        | "kinesisClient.region"
        | "kinesisClient.endpointOverride"
        | "dynamoDbClient.region"
        | "dynamoDbClient.endpointOverride" => Own,
        // Only logged; without effect since the KCL 2; done here anyway.
        "processingLanguage"
        | "validateSequenceNumberBeforeCheckpointing"
        | "cleanupLeasesUponShardCompletion" => NoEffect,
        "tableName"
        | "initialLeaseTableReadCapacity"
        | "initialLeaseTableWriteCapacity"
        | "leaseTableDeletionProtectionEnabled"
        | "leaseTablePitrEnabled"
        | "leaseTableScanTotalSegments"
        | "migrateAllEntitiesToLeaseTable"
        | "tableMigrationCompleteBakeTimeSeconds"
        | "clientVersionConfig"
        | "coordinatorStateTableName"
        | "coordinatorStateBillingMode"
        | "coordinatorStateReadCapacity"
        | "coordinatorStateWriteCapacity"
        | "coordinatorStatePointInTimeRecoveryEnabled"
        | "coordinatorStateDeletionProtectionEnabled"
        | "coordinatorStateTags"
        | "workerMetricsTableName"
        | "workerMetricsBillingMode"
        | "workerMetricsReadCapacity"
        | "workerMetricsWriteCapacity"
        | "workerMetricsPointInTimeRecoveryEnabled"
        | "workerMetricsDeletionProtectionEnabled"
        | "workerMetricsTags" => Warn(TABLE),
        "leaseAssignmentIntervalMillis"
        | "enablePriorityLeaseAssignment"
        | "maxLeasesToStealAtOneTime"
        | "inMemoryWorkerMetricsCaptureFrequencyMillis"
        | "workerMetricsReporterFreqInMillis"
        | "noOfPersistedMetricsPerWorkerMetrics"
        | "disableWorkerMetrics"
        | "maxThroughputPerHostKBps"
        | "dampeningPercentage"
        | "reBalanceThresholdPercentage"
        | "allowThroughputOvershoot"
        | "varianceBalancingFrequency"
        | "workerMetricsEMAAlpha"
        | "staleWorkerMetricsEntryCleanupDuration" => Warn(LEADER),
        "listShardsBackoffTimeInMillis"
        | "maxListShardsRetryAttempts"
        | "parentShardPollIntervalMillis"
        | "schedulerInitializationBackoffTimeMillis"
        | "taskBackoffTimeMillis"
        | "millisBehindLatestThresholdForReducedTps"
        | "retryGetRecordsInSeconds"
        | "skipShardSyncAtWorkerInitializationIfLeasesExist"
        | "shardPrioritization"
        | "ignoreUnexpectedChildShards" => Warn(CALLS),
        "metricsBufferTimeMillis" | "metricsMaxQueueSize" | "metricsEnabledDimensions" => Warn(METRICS),
        "gracefulLeaseHandoffTimeoutMillis" | "isGracefulLeaseHandoffEnabled" => Warn(HAND_OVER),
        "maxActiveThreads" | "maxLeaseRenewalThreads" | "maxGetRecordsThreadPool" => Warn(THREADS),
        "logWarningForTaskAfterMillis" => Warn(LOGGED),
        _ if key.starts_with("fanoutConfig.") => Warn(FAN_OUT),
        _ if key.eq_ignore_ascii_case("AwsCredentialsProvider") => Own,
        _ if key.to_ascii_lowercase().starts_with("awscredentialsprovider") => Warn(ONE_PROVIDER),
        _ if is_client_option(key) => Warn(
            "of clients `region` and `endpointOverride` are known, as are `regionName`, `kinesisEndpoint` and `dynamoDBEndpoint`; \
                 for credentials use `AwsCredentialsProvider`",
        ),
        _ => Unknown,
    }
}

/// Properties of the SDK's builders.
fn is_client_option(key: &str) -> bool {
    let builders = [
        "kinesisClient.",
        "dynamoDbClient.",
        "dynamoDBClient.",
        "cloudWatchClient.",
        "kinesisCredentialsProvider.",
        "dynamoDBCredentialsProvider.",
        "cloudWatchCredentialsProvider.",
    ];
    builders.iter().any(|builder| key.starts_with(builder))
}

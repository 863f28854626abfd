//! Values that are one of a list, and whatever the service adds to it.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! enums {
    ($($(#[$meta:meta])* $name:ident { $($(#[$value_meta:meta])* $value:ident = $text:literal,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$value_meta])* $value,)+
            /// A value not in the list.
            Unknown(String),
        }

        impl $name {
            /// The values in the list.
            pub const KNOWN: &[Self] = &[$(Self::$value,)+];

            /// The text on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$value => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$value,)+
                    _ => Self::Unknown(text.to_owned()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(Cow::<str>::deserialize(deserializer)?.as_ref()))
            }
        }
    )+};
}

enums! {
    /// How a position in a shard is given.
    ShardIteratorType {
        /// At the record with this number.
        AtSequenceNumber = "AT_SEQUENCE_NUMBER",
        /// After the record with this number.
        AfterSequenceNumber = "AFTER_SEQUENCE_NUMBER",
        /// At the oldest record kept.
        TrimHorizon = "TRIM_HORIZON",
        /// After the newest record.
        Latest = "LATEST",
        /// At the first record that arrived at or after a time.
        AtTimestamp = "AT_TIMESTAMP",
    }
    /// Which shards a listing holds.
    ShardFilterType {
        /// Those after a given shard.
        AfterShardId = "AFTER_SHARD_ID",
        /// Those open at the trim horizon.
        AtTrimHorizon = "AT_TRIM_HORIZON",
        /// Those within the retention period.
        FromTrimHorizon = "FROM_TRIM_HORIZON",
        /// Those open now.
        AtLatest = "AT_LATEST",
        /// Those open at a given time.
        AtTimestamp = "AT_TIMESTAMP",
        /// Those open at a given time or later.
        FromTimestamp = "FROM_TIMESTAMP",
    }
    /// State of a stream.
    StreamStatus {
        /// Not there yet.
        Creating = "CREATING",
        /// On its way out.
        Deleting = "DELETING",
        /// Ready.
        Active = "ACTIVE",
        /// Ready, and changing.
        Updating = "UPDATING",
    }
    /// State of a registered consumer.
    ConsumerStatus {
        /// Not there yet.
        Creating = "CREATING",
        /// On its way out.
        Deleting = "DELETING",
        /// Ready.
        Active = "ACTIVE",
    }
    /// Capacity mode of a stream.
    StreamMode {
        /// A fixed number of shards.
        Provisioned = "PROVISIONED",
        /// As many shards as the traffic wants.
        OnDemand = "ON_DEMAND",
    }
    /// Encryption at rest.
    EncryptionType {
        /// None.
        None = "NONE",
        /// With a KMS key.
        Kms = "KMS",
    }
    /// How a stream is scaled.
    ScalingType {
        /// To shards of equal size.
        UniformScaling = "UNIFORM_SCALING",
    }
    /// A shard-level metric.
    MetricsName {
        /// Bytes written.
        IncomingBytes = "IncomingBytes",
        /// Records written.
        IncomingRecords = "IncomingRecords",
        /// Bytes read.
        OutgoingBytes = "OutgoingBytes",
        /// Records read.
        OutgoingRecords = "OutgoingRecords",
        /// Writes refused.
        WriteProvisionedThroughputExceeded = "WriteProvisionedThroughputExceeded",
        /// Reads refused.
        ReadProvisionedThroughputExceeded = "ReadProvisionedThroughputExceeded",
        /// Age of the last record read.
        IteratorAgeMilliseconds = "IteratorAgeMilliseconds",
        /// Every metric.
        All = "ALL",
    }
    /// Who chooses the shard of a record.
    RecordDistributionStrategy {
        /// The service; keys are remembered and mean nothing.
        Auto = "AUTO",
        /// The producer, by the key.
        UserPartitionKey = "USER_PARTITION_KEY",
    }
    /// State of a queue.
    QueueStatus {
        /// Not there yet.
        Creating = "CREATING",
        /// Ready.
        Active = "ACTIVE",
        /// Ready, and changing.
        Updating = "UPDATING",
        /// On its way out.
        Deleting = "DELETING",
    }
    /// Where a queue begins in its stream.
    QueueStartingPositionType {
        /// At the oldest record kept.
        TrimHorizon = "TRIM_HORIZON",
        /// After the newest record.
        Latest = "LATEST",
        /// At the first record that arrived at or after a time.
        AtTimestamp = "AT_TIMESTAMP",
    }
    /// What becomes of records of a queue that are received again and again.
    TargetType {
        /// They become dead letters.
        BuiltIn = "BUILT_IN",
        /// They are received again and again.
        None = "NONE",
    }
    /// Whether an account commits to a minimum of throughput (On-demand Advantage).
    BillingCommitmentStatus {
        /// It does.
        Enabled = "ENABLED",
        /// It does not.
        Disabled = "DISABLED",
        /// It does until the earliest time at which it may stop.
        EnabledUntilEarliestAllowedEnd = "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
    }
    /// Code of an error. The documented ones of the service, and those every AWS service gives.
    ErrorCode {
        /// The caller may not do this.
        AccessDenied = "AccessDeniedException",
        /// The call was only to be checked, and would have succeeded.
        DryRunOperation = "DryRunOperationException",
        /// The iterator is older than five minutes.
        ExpiredIterator = "ExpiredIteratorException",
        /// The token is older than five minutes.
        ExpiredNextToken = "ExpiredNextTokenException",
        /// The signature lacks parts.
        IncompleteSignature = "IncompleteSignature",
        /// The service failed.
        InternalFailure = "InternalFailure",
        /// The service failed while pushing or writing.
        InternalFailureException = "InternalFailureException",
        /// A member has a value that makes no sense.
        InvalidArgument = "InvalidArgumentException",
        /// The key may not be used by the caller.
        KmsAccessDenied = "KMSAccessDeniedException",
        /// The key is disabled.
        KmsDisabled = "KMSDisabledException",
        /// The key is in a state that forbids its use.
        KmsInvalidState = "KMSInvalidStateException",
        /// The key is not there.
        KmsNotFound = "KMSNotFoundException",
        /// The account has no subscription to the key service.
        KmsOptInRequired = "KMSOptInRequired",
        /// The key service refuses the rate.
        KmsThrottling = "KMSThrottlingException",
        /// A limit of the account or stream is reached.
        LimitExceeded = "LimitExceededException",
        /// No authentication in the request.
        MissingAuthenticationToken = "MissingAuthenticationTokenException",
        /// The rate of a shard is exceeded.
        ProvisionedThroughputExceeded = "ProvisionedThroughputExceededException",
        /// The stream is in a state that forbids this.
        ResourceInUse = "ResourceInUseException",
        /// Nothing of that name.
        ResourceNotFound = "ResourceNotFoundException",
        /// The body cannot be read.
        Serialization = "SerializationException",
        /// The service cannot answer now.
        ServiceUnavailable = "ServiceUnavailable",
        /// The rate of calls is exceeded.
        Throttling = "ThrottlingException",
        /// No such operation.
        UnknownOperation = "UnknownOperationException",
        /// A member breaks its constraint.
        Validation = "ValidationException",
    }
}

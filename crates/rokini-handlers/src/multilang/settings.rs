//! How the protocol is spoken.

use std::time::Duration;

/// How the protocol is spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultiLangSettings {
    /// How long each message of a child may take to come (`timeoutInSeconds` of the KCL). Default: as long as it likes.
    pub message_timeout: Option<Duration>,
    /// How often a child is called with no records while there are none (`callProcessRecordsEvenForEmptyRecordList` of the
    /// KCL). Default: never.
    pub empty_calls: Option<Duration>,
}

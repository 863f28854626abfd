//! What happens to records on their way, for whoever watches.

use std::time::Duration;

use rokini_lease::SequenceNumber;

use crate::types::failure::HandlerFailure;

/// Something that happened to records of one shard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DeliveryEvent {
    Failed {
        failure: HandlerFailure,
        first: Option<SequenceNumber>,
        failures: u32,
        retry_in: Option<Duration>,
    },
    Bisecting {
        first: SequenceNumber,
        records: usize,
    },
    Parked {
        first: SequenceNumber,
        key: String,
    },
    Unparked {
        key: String,
    },
    Skipped {
        records: Vec<SequenceNumber>,
        failure: HandlerFailure,
        failures: u32,
    },
    DeadLettered {
        records: Vec<SequenceNumber>,
        failures: u32,
    },
    DeadLetterFailed {
        first: SequenceNumber,
        error: String,
        failures: u32,
        retry_in: Duration,
    },
    Halted {
        first: SequenceNumber,
        failure: HandlerFailure,
        failures: u32,
    },
}

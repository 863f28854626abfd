//! What a call changed, for whoever keeps it.

use rokini_wire::SequenceNumber;

/// What a call that succeeded changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// Nothing that is to be kept.
    Nothing,
    /// Records with these numbers were written to the stream of the call.
    Records(Vec<SequenceNumber>),
    /// What became of these records of a queue.
    Deliveries {
        /// ARN of the queue.
        queue_arn: String,
        /// Their receipt handles.
        handles: Vec<String>,
    },
    /// Something else.
    Other,
}

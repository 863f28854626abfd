//! What a call changed, for whoever keeps it.

use rokini_wire::SequenceNumber;

use crate::model::sequence;

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

impl Changed {
    /// The numbers of the shards in which there is something new, if records are all that changed.
    pub(crate) fn shards(&self) -> Option<Vec<u32>> {
        let Self::Records(numbers) = self else { return None };
        let mut shards: Vec<u32> = numbers
            .iter()
            .map(|number| sequence::parse(*number).map(|parts| parts.shard))
            .collect::<Option<_>>()?;
        shards.sort_unstable();
        shards.dedup();
        Some(shards)
    }
}

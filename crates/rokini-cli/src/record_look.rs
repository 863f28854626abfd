//! Looks for the record that a position names.

use rokini::lease::{Position, SequenceNumber, ShardId};
use rokini::{KinesisSource, StreamSource};

/// The first bytes of a record that the KPL packed.
const PACKED: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// What is told of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// When it arrived, in milliseconds since the Unix epoch.
    pub(crate) arrival_millis: u64,
    /// Whether the KPL packed it.
    pub(crate) packed: bool,
}

/// The record of this number, if the stream still has it. `through`: reads on until some record comes or the tip is reached, so
/// that `None` says that it is gone; otherwise one answer is enough, which only shows whether the shard can have it.
///
/// # Errors
/// Of kind `Data` for a number that the shard cannot have.
pub(crate) async fn look_for(
    source: &KinesisSource,
    shard: &ShardId,
    number: SequenceNumber,
    through: bool,
) -> Result<Option<Found>, rokini::Error> {
    let mut reader = source.open(shard, &Position::at(number)).await?;
    loop {
        reader.ready().await;
        let read = match reader.next().await {
            Ok(read) => read,
            Err(error) if error.is_retryable() => continue,
            Err(error) => return Err(error),
        };
        if let Some(record) = read.records.first() {
            let packed = record.sub_sequence_number.is_some() || record.data().starts_with(&PACKED);
            // The record itself may be trimmed: nothing is left of it then.
            let is_it = record.sequence_number == number;
            return Ok(is_it.then_some(Found { arrival_millis: record.arrival_millis, packed }));
        }
        if !through || read.end.is_some() || read.millis_behind_latest == 0 {
            return Ok(None);
        }
    }
}

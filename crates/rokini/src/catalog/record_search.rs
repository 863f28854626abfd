//! Finds the shard that has a record.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use rokini_lease::{Position, Progress, SequenceNumber, ShardId};

use crate::source::stream_source::{ShardDescription, ShardSelection, StreamSource};
use crate::types::error::{Error, ErrorKind};

/// Shards asked at once.
const ASKED_AT_ONCE: usize = 16;
/// Answers without records before a shard is taken not to have the record: Kinesis passes over empty stretches.
const MOST_EMPTY: usize = 20;

/// A record that is in the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) shard: ShardDescription,
    /// When it arrived, in milliseconds since the Unix epoch, by the stream's clock.
    pub(crate) arrival_millis: u64,
}

/// Asks every shard that the stream lists: sequence numbers do not say whose they are.
pub(crate) async fn record(source: &Arc<dyn StreamSource>, number: SequenceNumber) -> Result<Found, Error> {
    let shards = source.list_shards(ShardSelection::All).await?;
    let mut asked = stream::iter(shards)
        .map(|shard| async move {
            let arrival = arrival(&**source, &shard.id, number).await?;
            Ok::<_, Error>(arrival.map(|arrival_millis| Found { shard, arrival_millis }))
        })
        .buffer_unordered(ASKED_AT_ONCE);
    while let Some(found) = asked.try_next().await? {
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(Error::configuration(format!(
        "no shard has record {number} (any more), so the group cannot start there: give the time at which it \
             arrived, or `trim_horizon`"
    )))
}

/// When the record arrived, if this shard has it.
async fn arrival(
    source: &dyn StreamSource,
    shard: &ShardId,
    number: SequenceNumber,
) -> Result<Option<u64>, Error> {
    let at = Position::Sequence(number, Progress::Nothing);
    let mut reader = match source.open(shard, &at).await {
        Err(error) if error.kind() == ErrorKind::Data => return Ok(None),
        opened => opened?,
    };
    for _ in 0..MOST_EMPTY {
        let fetched = match reader.next().await {
            // The number is none of this shard's.
            Err(error) if error.kind() == ErrorKind::Data => return Ok(None),
            fetched => fetched?,
        };
        if let Some(first) = fetched.records.first() {
            return Ok((first.sequence_number == number).then_some(first.arrival_millis));
        }
        if fetched.end.is_some() || fetched.millis_behind_latest == 0 {
            break;
        }
    }
    Ok(None)
}

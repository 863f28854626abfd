//! What people see of a shard.

use std::time::Duration;

use rokini_lease::{Epoch, Position, SequenceNumber, ShardId, StreamId};

use crate::types::shard_state::ShardState;

/// How a shard stands in this worker.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShardStatus {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The epoch of its lease.
    pub epoch: Epoch,
    /// What it is doing.
    pub state: ShardState,
    /// For how long.
    pub since: Duration,
    /// The position stored.
    pub stored: Position,
    /// The position done: stored in time.
    pub done: Position,
    /// How far the last read was behind the tip of the shard, in milliseconds; `None` before the first.
    pub millis_behind_latest: Option<u64>,
    /// How long ago the last read returned.
    pub last_read: Option<Duration>,
    /// How long ago a handler call returned last.
    pub last_handler_return: Option<Duration>,
    /// The first record of the batch that is being handled or waits to be handled again.
    pub handling: Option<SequenceNumber>,
    /// Failures of user code in a row.
    pub failures: u32,
    /// The last failure of user code or of reading, cleared by the next success.
    pub last_error: Option<String>,
    /// The code by which the service refused, such as `AccessDeniedException`, where it was a service that did.
    pub last_error_code: Option<String>,
    /// How long ago that was.
    pub last_error_age: Option<Duration>,
    /// Partition keys that are parked: they wait for a record that fails, others go on.
    pub parked: usize,
    /// Records skipped by the failure policy in this hold.
    pub skipped: u64,
    /// Records given to the dead-letter sink in this hold.
    pub dead_lettered: u64,
    /// Whether reading is paused, by this worker or by an operator.
    pub paused: bool,
    /// The age of the oldest record that is not done; zero where everything is done. Once nothing has been heard of the
    /// stream for longer than the slowest regular poll, the time since then counts.
    pub lag: Duration,
    /// When the oldest record that is not done arrived at the stream, in milliseconds since the Unix epoch by the
    /// stream's clock: a little early where a response holds many. `None` when everything that was there at the last
    /// read is done.
    pub oldest_not_done_millis: Option<u64>,
    /// When everything was done and nothing was behind, last: milliseconds since the Unix epoch by the stream's clock.
    pub caught_up_millis: Option<u64>,
    /// How long until the stream trims records that are not done, if nothing moves; while reading stands still also
    /// those that may have arrived since. `None` before the first read of a shard that has no time to go by.
    pub until_data_loss: Option<Duration>,
    /// How often records may have been trimmed in this hold before they were read.
    pub data_losses: u64,
    /// Whether the shard's records are pushed by enhanced fan-out at present.
    pub fan_out: bool,
}

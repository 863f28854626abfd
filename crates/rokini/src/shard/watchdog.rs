//! Notices a shard that is asked for records and gets no answer, and what to do about it.

use std::time::Duration;

use tokio::time::sleep;

use super::held_shard::HeldShard;
use super::progress::ShardProgress;
use crate::events::table::EventKind;

/// A shard whose stream has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silence {
    lasted: Duration,
    /// Readers that were begun anew since the last answer.
    restarts: u32,
}

/// What was done about a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The reader is to be dropped, and another one opened.
    NewReader,
    /// Another worker is to have the shard.
    GivenBack,
}

/// Resolves once the stream was asked for this long and did not answer. A handler that runs, a pause and a lease
/// without validity are no silence: nothing is asked then, or the answer is there.
pub(super) async fn silence(progress: &ShardProgress, limit: Duration) -> Silence {
    loop {
        sleep(limit / 4).await;
        if let Some((lasted, restarts)) = progress.silence()
            && lasted >= limit
        {
            return Silence { lasted, restarts };
        }
    }
}

/// First another reader is tried; if that gets no answer either, another worker, if there is one: for all shards of the
/// stream where none of them gets an answer here.
pub(super) fn remedy(shard: &HeldShard, silence: Silence) -> Remedy {
    let error = format!("the stream has not answered for {} s", silence.lasted.as_secs());
    shard.progress.reader_restarted();
    let nothing_answers = shard.stream.is_silent(shard.resources.settings.silence_limit);
    if silence.restarts > 0 {
        let given_back = nothing_answers && shard.give_stream_back(&error) || shard.give_back(&error);
        if given_back {
            return Remedy::GivenBack;
        }
    }
    shard.events.emit(EventKind::ShardRestarted { error });
    Remedy::NewReader
}

//! Notices a shard that is asked for records and gets no answer, and what to do about it.

use std::time::Duration;

use rokini_lease::Lease;
use tokio::time::sleep;

use super::progress::ShardProgress;
use crate::Settings;
use crate::consumer::engine::Engine;
use crate::events::Event;

/// A shard whose stream has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silent {
    since: Duration,
    /// Readers that were begun anew since the last answer.
    restarts: u32,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The reader is to be dropped, and another one opened.
    ReadAnew,
    /// Another worker is to have the shard.
    GivenBack,
}

/// Resolves once the stream was asked for the configured time and did not answer. A handler that runs, a pause and a
/// lease without validity are no silence: nothing is asked then, or the answer is there.
pub(crate) async fn silent(live: &ShardProgress, settings: &Settings) -> Silent {
    // A reader may wait so long by itself, between two reads of a quiet shard.
    let bound = settings.stall_timeout + settings.poll_ceiling;
    loop {
        sleep(bound / 4).await;
        if let Some((since, restarts)) = live.reading.silence()
            && since >= bound
        {
            return Silent { since, restarts };
        }
    }
}

/// First another reader is tried; if that gets no answer either, another worker, if there is one.
pub(crate) fn act(engine: &Engine, live: &ShardProgress, lease: &Lease, silent: Silent) -> Act {
    let error = format!("the stream has not answered for {} s", silent.since.as_secs());
    live.reading.restarted();
    if silent.restarts > 0 && give_back(engine, lease, &error) {
        return Act::GivenBack;
    }
    let (stream, shard) = (live.context.stream().clone(), live.context.shard_id().clone());
    engine.events.tell(Event::ShardRestarted { stream, shard, error });
    Act::ReadAnew
}

/// Asks for the shard to go to another worker. `false` where there is none that could have it.
pub(crate) fn give_back(engine: &Engine, lease: &Lease, error: &str) -> bool {
    let given = lease.give_away();
    if given {
        let key = lease.key();
        let (stream, shard) = (key.stream.clone(), key.shard.clone());
        engine.events.tell(Event::ShardGivenBack { stream, shard, error: error.to_owned() });
    }
    given
}

//! A shard whose lease this worker holds: what the parts of its task share.

use std::sync::Arc;

use rokini_lease::Lease;

use super::progress::ShardProgress;
use super::resources::ShardResources;
use super::stream_probe::StreamProbe;
use crate::catalog::streams::OpenStream;
use crate::events::emitter::ShardEvents;
use crate::events::table::EventKind;

pub(crate) struct HeldShard {
    pub(crate) resources: Arc<ShardResources>,
    pub(crate) progress: Arc<ShardProgress>,
    pub(crate) events: ShardEvents,
    pub(crate) stream: Arc<OpenStream>,
    pub(crate) lease: Lease,
}

impl HeldShard {
    /// Whether this worker or an operator pauses it.
    pub(super) fn is_paused(&self) -> bool {
        *self.resources.paused.borrow() || self.lease.is_paused()
    }

    /// Says that this worker cannot read the stream, until a reader of this shard gets an answer again. `false` where no
    /// other worker can either.
    pub(super) fn give_stream_back(&self, error: &str) -> bool {
        let ability = self.lease.ability();
        if !ability.is_able() || !ability.others_can() {
            return false;
        }
        ability.set(false);
        self.events.emit(EventKind::StreamUnable { error: error.to_owned() });
        self.events.emit(EventKind::ShardGivenBack { error: error.to_owned() });
        let probe = StreamProbe {
            ability,
            stream: Arc::clone(&self.stream),
            events: self.events.clone(),
            shard: self.progress.context.shard_id().clone(),
            position: self.progress.context.position(),
            limit: self.resources.settings.silence_limit,
        };
        let events = self.events.clone();
        let run = events.supervise("stream probe", probe, |probe| Box::pin(probe.run()));
        self.resources.tracker.spawn(run);
        true
    }

    /// Asks for the shard to go to another worker. `false` where there is none that could have it.
    pub(crate) fn give_back(&self, error: &str) -> bool {
        let given = self.lease.give_away();
        if given {
            self.events.emit(EventKind::ShardGivenBack { error: error.to_owned() });
        }
        given
    }
}

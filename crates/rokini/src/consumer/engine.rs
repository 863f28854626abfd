//! What all shard tasks of a consumer share.

use std::sync::{Arc, OnceLock};

use rokini_lease::WallClock;
use tokio_util::task::TaskTracker;

use crate::events::Events;
use crate::processor::Factory;
use crate::shard::catalog::{Catalog, OpenStream};
use crate::{ConsumerConfig, DeadLetterSink};

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: ConsumerConfig,
    pub(crate) catalog: Catalog,
    pub(crate) factory: Factory,
    pub(crate) events: Events,
    pub(crate) tracker: TaskTracker,
    pub(crate) clock: WallClock,
    /// Where records go that are given up.
    #[expect(dead_code, reason = "for the failure policy")]
    pub(crate) dead_letter: Option<Arc<dyn DeadLetterSink>>,
    stream: OnceLock<OpenStream>,
}

impl Engine {
    pub(crate) fn new(
        config: ConsumerConfig,
        catalog: Catalog,
        factory: Factory,
        events: Events,
        clock: WallClock,
        dead_letter: Option<Arc<dyn DeadLetterSink>>,
    ) -> Self {
        let (tracker, stream) = (TaskTracker::new(), OnceLock::new());
        Self { config, catalog, factory, events, clock, tracker, dead_letter, stream }
    }

    /// The stream, once its start position is stored.
    pub(crate) fn stream(&self) -> Option<&OpenStream> {
        self.stream.get()
    }

    pub(crate) fn open(&self, stream: OpenStream) -> &OpenStream {
        self.stream.get_or_init(|| stream)
    }
}

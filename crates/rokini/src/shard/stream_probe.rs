//! Tries whether a stream that this worker cannot read can be read again.

use std::sync::Arc;
use std::time::Duration;

use rokini_lease::{Position, ShardId, StreamAbility};
use tokio::time::{sleep, timeout};

use crate::catalog::streams::OpenStream;
use crate::events::emitter::ShardEvents;
use crate::events::table::EventKind;
use crate::types::error::{Error, ErrorKind};

/// One read of the shard that found out, at its limits' cost, after a pause that grows.
pub(super) struct StreamProbe {
    pub(super) ability: StreamAbility,
    pub(super) stream: Arc<OpenStream>,
    pub(super) events: ShardEvents,
    pub(super) shard: ShardId,
    pub(super) position: Position,
    /// How long an answer may take.
    pub(super) limit: Duration,
}

impl StreamProbe {
    pub(super) async fn run(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.ability.over() => return,
                () = self.stream.until_replaced() => return,
                () = sleep(self.stream.unable()) => {}
            }
            // Where nobody else can read it any more, this one is as good as any.
            if !self.ability.others_can() || matches!(timeout(self.limit, self.answers()).await, Ok(true)) {
                self.stream.able();
                self.ability.set(true);
                return self.events.emit(EventKind::StreamAble);
            }
        }
    }

    /// Whether the stream answers, if only that it is throttled, or that it does not know the shard.
    async fn answers(&self) -> bool {
        let read = async {
            let mut reader = self.stream.source.open(&self.shard, &self.position).await?;
            reader.next().await.map(drop)
        };
        let result: Result<(), Error> = read.await;
        result.map_or_else(|error| matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Data), |()| true)
    }
}

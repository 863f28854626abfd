//! Stopping and watching a consumer from outside.

use std::sync::Arc;
use std::time::Duration;

use rokini_lease::{LeaseKey, Member, Position, SequenceNumber, ShardId, StreamId};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use super::control::{Control, Stop};
use super::shutdown_report::ShutdownReport;
use super::status::{Status, StreamStatus};
use crate::events::event::Event;
use crate::telemetry::health::Health;
use crate::telemetry::scale::ScalingRecommendation;
use crate::types::duration::LONGEST;
use crate::types::error::{Error, ErrorKind};
use crate::types::phase::ConsumerPhase;
use crate::types::shard_state::ShardState;

mod streams;

/// A handle to a [`Consumer`](crate::Consumer). Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) control: Arc<Control>,
}

impl Handle {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Stops in order: no more reads, handlers finish, positions are stored, shards go to other workers, the
    /// worker leaves. [`Consumer::run`](crate::Consumer::run) then returns the same report.
    ///
    /// Handlers that have not returned when most of `deadline` is over (the last fifth, at most 1 s, is kept for
    /// the store) are dropped; what was done is stored all the same. Returns by the deadline, whatever hangs. Of
    /// several calls the earliest deadline counts. More than a year counts as a year.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        // What does not fit into an instant would panic.
        let deadline = Instant::now() + deadline.min(LONGEST);
        self.control.stop.send_if_modified(|stop| {
            let sooner = stop.as_ref().is_none_or(|stop| deadline < stop.deadline);
            if sooner {
                *stop = Some(Stop { begun: Instant::now(), deadline });
            }
            sooner
        });
        if self.control.worker.phase() == ConsumerPhase::Created {
            return ShutdownReport::default();
        }
        let mut report = self.control.report.subscribe();
        let finished = timeout_at(deadline, report.wait_for(Option::is_some)).await;
        if let Ok(Ok(report)) = finished {
            return report.clone().unwrap_or_default();
        }
        self.control.unfinished()
    }

    /// [`Handle::shutdown`] with the configured deadline ([`ConfigKey::ShutdownDeadline`](crate::ConfigKey)).
    pub async fn stop(&self) -> ShutdownReport {
        self.shutdown(self.control.config.shutdown_deadline).await
    }

    /// How this worker and its shards stand.
    #[must_use]
    pub fn status(&self) -> Status {
        let control = &self.control;
        let member = control.worker.member();
        Status {
            group: control.catalog.group.clone(),
            worker: member.as_ref().map(|member| member.id().clone()),
            phase: control.worker.phase(),
            streams: control.streams.all().values().map(|stream| StreamStatus::of(stream)).collect(),
            paused: *control.paused.borrow(),
            valid: member.as_ref().is_some_and(Member::is_valid),
            shards: control.worker.shards().values().map(|shard| shard.snapshot().status).collect(),
            fleet: member.map(|member| member.snapshot()).unwrap_or_default(),
        }
    }

    /// Stores that a shard of this worker is done up to and with this record; returns once it is stored. For
    /// programs that decide outside of the handler; inside it use
    /// [`Batch::checkpoint_at`](crate::Batch::checkpoint_at), which knows shard and epoch by itself.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when this worker does not have the shard (any more), [`ErrorKind::Data`] when the
    /// record was not delivered yet under this hold, [`ErrorKind::Configuration`] when the store refuses the
    /// write for good, and when shards of several streams have this id: use [`Handle::checkpoint_in`] then.
    pub async fn checkpoint(&self, shard: &ShardId, sequence: SequenceNumber) -> Result<(), Error> {
        let shards = self.control.worker.shards();
        let mut found = shards.into_iter().filter(|(key, _)| key.shard == *shard);
        match (found.next(), found.next()) {
            (Some((key, _)), None) => self.checkpoint_in(&key.stream, shard, sequence).await,
            (None, _) => Err(not_here(shard)),
            (Some((one, _)), Some((other, _))) => Err(Error::configuration(format!(
                "shard {shard} is one of stream `{}` and one of stream `{}`: say which with `checkpoint_in`",
                one.stream, other.stream
            ))),
        }
    }

    /// As [`Handle::checkpoint`], for a shard of one of several streams.
    ///
    /// # Errors
    /// As [`Handle::checkpoint`].
    pub async fn checkpoint_in(
        &self,
        stream: &StreamId,
        shard: &ShardId,
        sequence: SequenceNumber,
    ) -> Result<(), Error> {
        let key = LeaseKey::new(stream.clone(), shard.clone());
        let progress = self.control.worker.shards().get(&key).cloned().ok_or_else(|| not_here(shard))?;
        progress.context.checkpoints().request(Position::after(sequence)).await
    }

    /// Lets a shard of this worker go on that is [`ShardState::Halted`](crate::ShardState): the records that halted it
    /// get all their tries again. Returns whether it was halted. Of several streams' shards with this id, each that is.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when this worker does not have the shard (any more).
    pub fn retry_halted(&self, shard: &ShardId) -> Result<bool, Error> {
        let shards = self.control.worker.shards();
        let mut here = shards.iter().filter(|(key, _)| key.shard == *shard).peekable();
        if here.peek().is_none() {
            return Err(not_here(shard));
        }
        let halted = here.filter(|(_, shard)| shard.snapshot().status.state == ShardState::Halted);
        Ok(halted.map(|(_, shard)| shard.resume()).count() > 0)
    }

    /// Stops reading in this worker: no read begins any more, and one that is under way is given up. What was read
    /// already is still handled. The leases stay, nothing expires, positions go on being stored; other workers are not
    /// concerned. Lasts until [`Handle::resume`], also over a time in which this worker is declared dead; not over a
    /// restart.
    pub fn pause(&self) {
        self.control.paused.send_replace(true);
    }

    /// Reads again, after the last record that was read.
    pub fn resume(&self) {
        self.control.paused.send_replace(false);
    }

    /// Whether this worker is to be restarted, and whether it does its part, with what is wrong. By a sample of all its
    /// shards that is taken once a second; events and metrics are made from the same sample.
    #[must_use]
    pub fn health(&self) -> Health {
        self.control.monitor.health()
    }

    /// How many workers the group should have, as this worker sees it: see [`ConfigKey::TargetLag`](crate::ConfigKey).
    #[must_use]
    pub fn scale(&self) -> ScalingRecommendation {
        self.control.monitor.scale()
    }

    /// The metrics as Prometheus scrapes them, for the application's own server (content type
    /// `text/plain; version=0.0.4`); `None` unless [`ConfigKey::Monitoring`](crate::ConfigKey) has `prometheus`.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn prometheus(&self) -> Option<String> {
        self.control.monitor.prometheus()
    }

    /// What happens from now on. A receiver that falls behind by 1,024 events misses some, and learns how many.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.control.subscribers.subscribe()
    }
}

fn not_here(shard: &ShardId) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!("this worker does not have shard {shard}: checkpoint it on the worker that has"),
    )
}

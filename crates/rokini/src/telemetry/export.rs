//! Services that metrics are sent to: in intervals, and a last time at the end. Nothing waits for them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rokini_lease::WallClock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Monitoring;
use crate::events::emitter::Events;
use crate::events::table::EventKind;
use crate::shard::worker_state::WorkerState;
use crate::types::error::Error;

/// How long the last flush may take.
const LAST_FLUSH: Duration = Duration::from_secs(3);

/// Sends what was recorded since it did so last.
#[async_trait]
pub(crate) trait Exporter: Send + std::fmt::Debug + 'static {
    fn service(&self) -> Monitoring;

    fn interval(&self) -> Duration;

    /// `now_millis`: the time of day, in milliseconds since the Unix epoch. What could not be sent is sent with the
    /// next flush, where the service does not know it by then anyhow.
    async fn flush(&mut self, now_millis: u64) -> Result<(), Error>;
}

/// The exporters that run.
#[derive(Debug)]
pub(crate) struct Exports {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Exports {
    pub(crate) fn start(
        exporters: Vec<Box<dyn Exporter>>,
        worker: &Arc<WorkerState>,
        events: &Events,
        clock: &WallClock,
    ) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        for exporter in exporters {
            let export = Export {
                exporter,
                worker: Arc::clone(worker),
                events: events.clone(),
                clock: clock.clone(),
                stop: stop.clone(),
            };
            tasks.spawn(events.clone().supervise("exporter", export, |export| Box::pin(export.run())));
        }
        Self { tasks, stop }
    }

    /// The last flush, until the deadline where there is one.
    pub(crate) async fn finish(mut self, deadline: Option<Instant>) {
        self.stop.cancel();
        let limit = Instant::now() + LAST_FLUSH;
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What hangs is aborted with the set.
        let _ = timeout_at(deadline.map_or(limit, |deadline| deadline.min(limit)), all).await;
    }
}

/// One exporter at work.
struct Export {
    exporter: Box<dyn Exporter>,
    worker: Arc<WorkerState>,
    events: Events,
    clock: WallClock,
    stop: CancellationToken,
}

impl Export {
    async fn run(&mut self) {
        loop {
            let stopped = tokio::select! {
                biased;
                () = self.stop.cancelled() => true,
                () = sleep(self.exporter.interval()) => false,
            };
            self.worker.flush_observers();
            if let Err(error) = self.exporter.flush(self.clock.millis()).await {
                let (service, error) = (self.exporter.service(), error.to_string());
                self.events.emit(EventKind::ExportFailed { service, error });
            }
            if stopped {
                return;
            }
        }
    }
}

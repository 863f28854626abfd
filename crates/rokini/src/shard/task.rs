//! One shard's life in this worker: from the lease granted to the lease handed over, ended, or lost.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, join5};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{Lease, LeaseError, LeaseLostReason, LeaseRow, Position, SequenceNumber, WorkerId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::budget::ShardBudget;
use super::calls::Slot;
use super::data_loss_warning::DataLossWarning;
use super::dispatcher::{Dispatcher, End};
use super::drain::Drain;
use super::fetch::Fetch;
use super::held_shard::HeldShard;
use super::progress::ShardProgress;
use super::watchdog::{self, Remedy};
use crate::checkpoint::CheckpointEvent;
use crate::events::emitter::ShardEvents;
use crate::events::table::EventKind;
use crate::processor::erased::guarded;
use crate::processor::shard_context::ShardContext;
use crate::source::stream_source::ShardEnd;
use crate::types::backoff::{COORDINATION, Retry};
use crate::types::failure::HandlerCall;
use crate::types::log_limiter::LogLimiter;
use crate::types::shard_state::ShardState;

/// How long a handler call may go on after its lease was lost, and `lease_lost` may take.
const LOST_GRACE: Duration = Duration::from_secs(5);
/// How often the time until data loss is checked: retention is 24 h at least.
const DATA_LOSS_CHECK: Duration = Duration::from_secs(30);
/// How often the member is told until when everything is done.
const CAUGHT_UP_INTERVAL: Duration = Duration::from_secs(5);

/// How often the place of an idle shard is stored: retention is 24 h at least.
const CONTINUATION_INTERVAL: Duration = Duration::from_secs(6 * 3_600);

/// How the work on a shard ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskOutcome {
    /// Handed over in order.
    HandedOver { to: Option<WorkerId> },
    /// Handed over without waiting for the handler call that ran.
    Abandoned { handling: Option<SequenceNumber> },
    /// Every record is done, and that is stored.
    Finished,
    /// Lost to another worker, or to an operator.
    Lost(LeaseLostReason),
    /// User code wants to begin anew at the stored position: the lease is granted anew.
    Restarted(String),
    /// Ended in a way it should not: the lease is granted anew.
    Broken(String),
}

/// Signals of the consumer to its tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopSignals {
    /// The consumer stops: drain.
    pub(crate) stop: CancellationToken,
    /// Time is up: drop what runs, and hand over.
    pub(crate) abandon: CancellationToken,
}

pub(crate) struct ShardTask {
    pub(crate) shard: HeldShard,
    pub(crate) signals: StopSignals,
    pub(crate) rng: StdRng,
}

/// Nobody waits for a checkpoint of a task that is over, however it ended.
struct CloseOnDrop(Arc<ShardProgress>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.context.checkpoints().close(None);
    }
}

impl ShardTask {
    pub(crate) async fn run(mut self) -> TaskOutcome {
        let progress = Arc::clone(&self.shard.progress);
        let _close = CloseOnDrop(Arc::clone(&progress));
        let context = &progress.context;
        let (epoch, position) = (context.epoch(), context.position());
        self.shard.events.emit(EventKind::ShardStarted { epoch, position });
        let lanes = self.shard.resources.settings.delivery.lanes;
        let mut processors: Vec<(ShardContext, Slot)> =
            (0..lanes).map(|lane| (context.in_lane(lane), None)).collect();
        let _cancels = context.cancellation().clone().drop_guard();
        match self.work(&mut processors).await {
            End::Ended(end) => self.finish(&end).await,
            End::Drained => self.leave(processors).await,
            End::Abandoned => {
                context.cancellation().cancel();
                let handling = progress.snapshot().status.handling;
                let shard = context.shard_id();
                tracing::warn!(%shard, ?handling, "a handler was abandoned at the deadline of the shutdown");
                give_up(self.shard).await;
                TaskOutcome::Abandoned { handling }
            }
            End::Lost(cause) => lost(&self.shard, processors, cause).await,
            End::Restarted(reason) => TaskOutcome::Restarted(reason),
            End::Broken(error) => TaskOutcome::Broken(error),
        }
    }

    /// Reads the shard and carries its records through user code until that is over.
    async fn work(&mut self, processors: &mut [(ShardContext, Slot)]) -> End {
        let Self { shard, signals, rng } = self;
        let shard: &HeldShard = shard;
        let (progress, silence_limit) = (&*shard.progress, shard.resources.settings.silence_limit);
        let checkpoints = progress.context.checkpoints();
        let (drain, (sender, responses)) = (Drain::new(), mpsc::channel(1));
        let budget = ShardBudget::open(&shard.resources.budget);
        let start_reading = |rng: &mut StdRng| {
            let fetch = Fetch::new(shard, &sender, &budget, rng);
            AbortOnDropHandle::new(shard.resources.tracker.spawn(fetch.run()))
        };
        progress.set_paused(shard.is_paused());
        let mut fetching = start_reading(rng);
        let mut reads = true;
        let mut work = pin!(Dispatcher::new(shard, responses, &drain, processors, rng).run());
        let mut duties = pin!(duties(shard, StdRng::from_rng(rng)));
        let mut silence = pin!(watchdog::silence(progress, silence_limit));
        let mut lease_lost = pin!(shard.lease.lost());
        let mut restart = pin!(progress.context.restart_requested());
        let mut leaves = pin!(until_asked_to_leave(shard, &signals.stop));
        let mut overdue = pin!(sleep(shard.lease.hand_over_limit()));
        loop {
            tokio::select! {
                biased;
                cause = &mut lease_lost => {
                    checkpoints.close(Some(cause));
                    fetching.abort();
                    drain.begin();
                    progress.context.cancellation().cancel();
                    let _ = timeout(LOST_GRACE, &mut work).await;
                    return End::Lost(cause);
                }
                () = signals.abandon.cancelled() => return End::Abandoned,
                reason = &mut restart, if !drain.is_on() => return End::Restarted(reason),
                end = &mut work => return end,
                () = &mut leaves, if !drain.is_on() => {
                    fetching.abort();
                    checkpoints.freeze();
                    drain.begin();
                    overdue.as_mut().reset(Instant::now() + shard.lease.hand_over_limit());
                }
                // A slow handler, or acks that do not come: whoever asked waits in vain, and so does the shard.
                () = &mut overdue, if drain.is_on() => {
                    overdue.as_mut().reset(Instant::now() + shard.lease.hand_over_limit());
                    if !signals.stop.is_cancelled() && shard.lease.withdraw_hand_over().await {
                        shard.events.emit(EventKind::HandOverWithdrawn);
                        checkpoints.thaw();
                        drain.withdraw();
                        if reads {
                            fetching = start_reading(rng);
                        }
                        leaves.set(until_asked_to_leave(shard, &signals.stop));
                    }
                }
                read = &mut fetching, if reads && !drain.is_on() => match read {
                    // The end of the shard is on its way.
                    Ok(()) => reads = false,
                    Err(error) => return End::Broken(format!("reading the shard ended: {error}")),
                },
                never = &mut duties => match never {},
                silent = &mut silence, if !drain.is_on() => {
                    if watchdog::remedy(shard, silent) == Remedy::NewReader {
                        fetching = start_reading(rng);
                        reads = true;
                    }
                    silence.set(watchdog::silence(progress, silence_limit));
                }
            }
        }
    }

    /// Hands a drained shard over once that is asked for: the stop of the consumer is known here before the member has
    /// chosen successors.
    async fn leave(self, processors: Vec<(ShardContext, Slot)>) -> TaskOutcome {
        let Self { shard, signals, .. } = self;
        tokio::select! {
            biased;
            cause = shard.lease.lost() => return lost(&shard, processors, cause).await,
            () = shard.lease.yield_requested() => {}
            () = signals.abandon.cancelled() => {}
        }
        let HeldShard { progress, events, lease, .. } = shard;
        match hand_over(&progress, &events, lease).await {
            Ok(to) => TaskOutcome::HandedOver { to },
            Err(LeaseError::Lost(cause)) => report_loss(&progress, &events, processors, cause).await,
            Err(error) => TaskOutcome::Broken(error.to_string()),
        }
    }

    /// Stores the end of the shard.
    async fn finish(self, end: &ShardEnd) -> TaskOutcome {
        let Self { shard, signals, mut rng } = self;
        shard.progress.set_state(ShardState::Ending);
        let retry = Retry::new(COORDINATION, StdRng::from_rng(&mut rng));
        let children = tokio::select! {
            biased;
            cause = shard.lease.lost() => return lost(&shard, Vec::new(), cause).await,
            () = signals.abandon.cancelled() => {
                give_up(shard).await;
                return TaskOutcome::Abandoned { handling: None };
            }
            children = children(&shard, end, retry) => children,
        };
        let ids = children.iter().map(|row| row.key.shard.clone()).collect();
        let HeldShard { progress, events, lease, .. } = shard;
        match lease.finish(children).await {
            Ok(()) => {
                progress.context.checkpoints().mark_stored(Position::ShardEnd);
                events.emit(EventKind::ShardEnded { children: ids });
                TaskOutcome::Finished
            }
            Err(LeaseError::Lost(cause)) => report_loss(&progress, &events, Vec::new(), cause).await,
            Err(error) => TaskOutcome::Broken(error.to_string()),
        }
    }
}

/// Resolves once the shard is to leave this worker. Nobody wants a shard of a stream that is gone.
async fn until_asked_to_leave(shard: &HeldShard, stop: &CancellationToken) {
    let wanted_elsewhere = async {
        shard.lease.yield_requested().await;
        if shard.stream.is_replaced() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = wanted_elsewhere => {}
    }
}

/// What goes on beside reading and handling.
async fn duties(shard: &HeldShard, rng: StdRng) -> Infallible {
    let settings = &shard.resources.settings;
    let retry = Retry::new(COORDINATION, rng);
    let metadata = |done| shard.progress.metadata(done);
    let report = |saved| {
        if settings.stores_positions {
            shard.events.emit(saved_event(saved));
        }
    };
    let checkpoints = shard.progress.context.checkpoints();
    let save = checkpoints.save(&shard.lease, settings.checkpoint_interval, retry, metadata, report);
    join5(save, follow_pauses(shard), warn_of_data_loss(shard), tell_how_far(shard), keep_young(shard))
        .await
        .0
}

/// Stores how far an idle shard is read, where the stream says it: a position that is older than the retention is none.
async fn keep_young(shard: &HeldShard) -> Infallible {
    loop {
        sleep(CONTINUATION_INTERVAL).await;
        shard.progress.context.checkpoints().advance(None, Some(shard.progress.settled()));
    }
}

/// Tells the member until when everything is done: it goes out with heartbeats, so that a successor knows that a shard
/// without new positions was read.
async fn tell_how_far(shard: &HeldShard) -> Infallible {
    loop {
        if let Some(until) = shard.progress.done_until() {
            shard.lease.set_caught_up(until);
        }
        sleep(CAUGHT_UP_INTERVAL).await;
    }
}

/// Takes over the pauses of this worker and of operators.
async fn follow_pauses(shard: &HeldShard) -> Infallible {
    let mut paused = shard.resources.paused.clone();
    loop {
        paused.borrow_and_update();
        let by_operator = shard.lease.is_paused();
        shard.progress.set_paused(shard.is_paused());
        tokio::select! {
            changed = paused.changed() => if changed.is_err() {
                // The consumer is gone, and its tasks are about to be.
                return std::future::pending().await;
            },
            () = shard.lease.until_paused(!by_operator) => {}
        }
    }
}

/// Says once when records that are not done come near the end of the retention.
async fn warn_of_data_loss(shard: &HeldShard) -> Infallible {
    let mut warning = DataLossWarning::new(shard.resources.settings.data_loss_warning);
    loop {
        sleep(DATA_LOSS_CHECK).await;
        let snapshot = shard.progress.snapshot();
        if warning.observe(snapshot.used_retention()) {
            let until_loss = snapshot.status.until_data_loss.unwrap_or_default();
            shard.events.emit(EventKind::DataLossNear { until_loss });
        }
    }
}

fn saved_event(saved: CheckpointEvent) -> EventKind {
    match saved {
        CheckpointEvent::Stored(position) => EventKind::Checkpointed { position },
        CheckpointEvent::Failed { error, failures, retry_in } => {
            EventKind::CheckpointFailed { failures, error: error.to_string(), retry_in }
        }
    }
}

/// The leases of the shard's children, tried for until they are known.
async fn children(shard: &HeldShard, end: &ShardEnd, mut retry: Retry) -> Vec<LeaseRow> {
    let mut warn = LogLimiter::default();
    loop {
        let error = match try_children(shard, end).await {
            Ok(children) => return children,
            Err(error) => error,
        };
        let retry_in = retry.failed();
        if let Some(more) = warn.allow(Instant::now()) {
            let shard = shard.progress.context.shard_id();
            tracing::warn!(%shard, ?retry_in, more, error, "ending a shard failed, trying again");
        }
        shard.progress.failed(retry.failures(), error);
        sleep(retry_in).await;
    }
}

/// First stores the last position, so that a failure on the way costs no duplicates.
async fn try_children(shard: &HeldShard, end: &ShardEnd) -> Result<Vec<LeaseRow>, String> {
    let context = &shard.progress.context;
    let position = context.checkpoints().latest_done();
    match shard.lease.checkpoint(position, shard.progress.metadata(position)).await {
        Ok(()) => context.checkpoints().mark_stored(position),
        // Nothing lower is to be stored than what is.
        Err(LeaseError::Behind { .. } | LeaseError::Lost(_)) => {}
        Err(error) => return Err(error.to_string()),
    }
    let catalog = &shard.resources.catalog;
    let children = catalog.children(&shard.stream, context.shard_id(), position, end).await;
    children.map_err(|error| error.to_string())
}

async fn hand_over(
    progress: &ShardProgress,
    events: &ShardEvents,
    lease: Lease,
) -> Result<Option<WorkerId>, LeaseError> {
    progress.set_state(ShardState::Draining);
    let checkpoints = progress.context.checkpoints();
    let position = progress.settled();
    let advanced = (position > checkpoints.stored()).then_some(position);
    let handed_over = lease.hand_over(advanced, progress.metadata(position)).await?;
    checkpoints.mark_stored(position);
    events.emit(EventKind::HandedOver { position, to: handed_over.to.clone() });
    Ok(handed_over.to)
}

/// Hands over although something is left undone. What is done is stored if the store answers in time.
async fn give_up(shard: HeldShard) {
    let HeldShard { progress, events, lease, .. } = shard;
    if let Err(error) = hand_over(&progress, &events, lease).await {
        let shard = progress.context.shard_id();
        tracing::warn!(%shard, %error, "an abandoned shard was not handed over");
    }
}

async fn lost(
    shard: &HeldShard,
    processors: Vec<(ShardContext, Slot)>,
    cause: LeaseLostReason,
) -> TaskOutcome {
    report_loss(&shard.progress, &shard.events, processors, cause).await
}

/// Nothing of the shard may be used any more: its processors learn that, and whoever watches.
async fn report_loss(
    progress: &ShardProgress,
    events: &ShardEvents,
    processors: Vec<(ShardContext, Slot)>,
    cause: LeaseLostReason,
) -> TaskOutcome {
    progress.context.checkpoints().close(Some(cause));
    events.emit(EventKind::LeaseLost { cause });
    let made = processors.into_iter().filter_map(|(context, slot)| slot.zip(Some(context)));
    let calls = made.map(|(mut processor, context)| async move {
        let (processor, context) = (&mut *processor, &context);
        let call = || async move {
            processor.lease_lost(context, cause).await;
            Ok(())
        };
        guarded(Some(LOST_GRACE), call).await
    });
    for failure in join_all(calls).await.into_iter().filter_map(Result::err) {
        let call = HandlerCall::LeaseLost;
        events.emit(EventKind::HandlerFailed { call, failure, first: None, failures: 1, retry_in: None });
    }
    TaskOutcome::Lost(cause)
}

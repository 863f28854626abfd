//! One shard's life in this worker: from the lease granted to the lease handed over, ended, or lost.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{Lease, LeaseError, LostCause, Position, SequenceNumber, WorkerId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::dispatcher::{Dispatcher, End, Slot};
use super::fetch::{Fetch, Response};
use super::progress::ShardProgress;
use super::status::ShardState;
use super::watchdog::{self, Act};
use crate::ShardContext;
use crate::ShardEnd;
use crate::catalog::streams::OpenStream;
use crate::checkpoint::CheckpointEvent;
use crate::consumer::engine::Engine;
use crate::events::Event;
use crate::processor::erased::guarded;
use crate::types::backoff::{COORDINATION, Retry};
use crate::types::log_limiter::LogLimiter;

/// How long a handler call may go on after its lease was lost, and `lease_lost` may take.
const LOST_GRACE: Duration = Duration::from_secs(5);
/// How often the time until data loss is looked at: retention is 24 h at least.
const LOSS_LOOK: Duration = Duration::from_secs(30);

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
    Lost(LostCause),
    /// Ended in a way it should not: the lease is granted anew.
    Broken(String),
}

/// StopSignals of the consumer to a task.
#[derive(Debug, Clone)]
pub(crate) struct StopSignals {
    /// The consumer stops: drain.
    pub(crate) stop: CancellationToken,
    /// Time is up: drop what runs, and hand over.
    pub(crate) abandon: CancellationToken,
}

pub(crate) struct ShardTask {
    pub(crate) engine: Arc<Engine>,
    pub(crate) live: Arc<ShardProgress>,
    pub(crate) stream: Arc<OpenStream>,
    pub(crate) lease: Lease,
    pub(crate) signals: StopSignals,
    pub(crate) rng: StdRng,
}

/// Nobody waits for a checkpoint of a task that is over, however it ended.
struct CloseOnDrop<'a>(&'a ShardProgress);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.context.checkpoints().close(None);
    }
}

impl ShardTask {
    pub(crate) async fn run(self) -> TaskOutcome {
        let Self { engine, live, stream, lease, signals, mut rng } = self;
        let _close = CloseOnDrop(&live);
        let context = &live.context;
        let shard = context.shard_id();
        engine.events.tell(Event::ShardStarted {
            stream: context.stream().clone(),
            shard: shard.clone(),
            epoch: context.epoch(),
            position: context.position(),
        });

        let lanes = engine.delivery_settings().lanes;
        let mut processors: Vec<(ShardContext, Slot)> =
            (0..lanes).map(|lane| (context.in_lane(lane), None)).collect();
        let cancelled = context.cancelled();
        let _cancels = cancelled.clone().drop_guard();
        let end = {
            let drain = CancellationToken::new();
            let (sender, responses) = mpsc::channel(1);
            live.reading.set_paused(is_paused(&engine, &lease));
            let mut fetching = start_reading(&engine, &live, &stream, &lease, &sender, &mut rng);
            let mut reads = true;
            let mut pauses = pin!(mind_pauses(&engine, &lease, &live));
            let mut losses = pin!(mind_losses(&engine, &live));
            let mut silence = pin!(watchdog::silent(&live, &engine.config));
            let dispatcher =
                Dispatcher::new(&engine, &live, &lease, responses, &drain, &mut processors, &mut rng);
            let mut work = pin!(dispatcher.run());
            let retry = Retry::new(COORDINATION, StdRng::from_rng(&mut rng));
            let interval = engine.config.checkpoint_interval;
            let report = |saved| report_saved(&engine, &live, saved);
            let mut save =
                pin!(context.checkpoints().save(&lease, interval, retry, |done| live.metadata(done), report));
            let mut lost = pin!(lease.lost());
            let mut asked = pin!(wanted_elsewhere(&lease, &stream));
            loop {
                tokio::select! {
                    biased;
                    cause = &mut lost => {
                        context.checkpoints().close(Some(cause));
                        fetching.abort();
                        drain.cancel();
                        cancelled.cancel();
                        let _ = timeout(LOST_GRACE, &mut work).await;
                        break End::Lost(cause);
                    }
                    () = signals.abandon.cancelled() => break End::Abandoned,
                    end = &mut work => break end,
                    () = signals.stop.cancelled(), if !drain.is_cancelled() => {
                        fetching.abort();
                        context.checkpoints().freeze();
                        drain.cancel();
                    }
                    () = &mut asked, if !drain.is_cancelled() => {
                        fetching.abort();
                        context.checkpoints().freeze();
                        drain.cancel();
                    }
                    read = &mut fetching, if reads && !drain.is_cancelled() => match read {
                        // The end of the shard is on its way.
                        Ok(()) => reads = false,
                        Err(error) => break End::Broken(format!("reading the shard ended: {error}")),
                    },
                    never = &mut save => match never {},
                    never = &mut pauses => match never {},
                    never = &mut losses => match never {},
                    silent = &mut silence, if !drain.is_cancelled() => {
                        if watchdog::act(&engine, &live, &lease, silent) == Act::ReadAnew {
                            fetching = start_reading(&engine, &live, &stream, &lease, &sender, &mut rng);
                            reads = true;
                        }
                        silence.set(watchdog::silent(&live, &engine.config));
                    }
                }
            }
        };

        match end {
            End::Ended(end) => finish(&engine, &live, &stream, lease, &end, &signals, &mut rng).await,
            End::Drained => {
                // The consumer's stop is known here before the member has chosen successors.
                tokio::select! {
                    biased;
                    cause = lease.lost() => return lost(&engine, &live, processors, cause).await,
                    () = lease.yield_requested() => {}
                    () = signals.abandon.cancelled() => {}
                }
                match hand_over(&engine, &live, lease).await {
                    Ok(to) => TaskOutcome::HandedOver { to },
                    Err(LeaseError::Lost(cause)) => lost(&engine, &live, processors, cause).await,
                    Err(error) => TaskOutcome::Broken(error.to_string()),
                }
            }
            End::Abandoned => {
                cancelled.cancel();
                let handling = live.status().handling;
                tracing::warn!(%shard, ?handling, "a handler was abandoned at the deadline of the shutdown");
                give_up(&engine, &live, lease).await;
                TaskOutcome::Abandoned { handling }
            }
            End::Lost(cause) => lost(&engine, &live, processors, cause).await,
            End::Broken(error) => TaskOutcome::Broken(error),
        }
    }
}

fn start_reading(
    engine: &Arc<Engine>,
    live: &Arc<ShardProgress>,
    stream: &Arc<OpenStream>,
    lease: &Lease,
    responses: &mpsc::Sender<Response>,
    rng: &mut StdRng,
) -> AbortOnDropHandle<()> {
    let fetch = Fetch::new(engine, live, stream, lease.validity(), responses, rng);
    AbortOnDropHandle::new(engine.tracker.spawn(fetch.run()))
}

fn is_paused(engine: &Engine, lease: &Lease) -> bool {
    *engine.paused.borrow() || lease.is_paused()
}

/// Takes over the pauses of this worker and of operators.
async fn mind_pauses(engine: &Engine, lease: &Lease, live: &ShardProgress) -> Infallible {
    let mut paused = engine.paused.subscribe();
    loop {
        paused.borrow_and_update();
        let by_operator = lease.is_paused();
        live.reading.set_paused(is_paused(engine, lease));
        tokio::select! {
            _ = paused.changed() => {}
            () = lease.until_paused(!by_operator) => {}
        }
    }
}

/// Says once when records that are not done come near the end of the retention.
async fn mind_losses(engine: &Engine, live: &ShardProgress) -> Infallible {
    let threshold = f64::from(engine.config.data_loss_warning) / 100.0;
    let mut told = false;
    loop {
        sleep(LOSS_LOOK).await;
        let done = live.context.checkpoints().latest_done();
        let used_up = live.reading.used_up(done);
        if used_up >= threshold && !told {
            engine.events.tell(Event::DataLossNear {
                stream: live.context.stream().clone(),
                shard: live.context.shard_id().clone(),
                until_loss: live.reading.facts(done).until_data_loss.unwrap_or_default(),
            });
        }
        // Not again at once where it goes up and down.
        told = used_up >= threshold || (told && used_up >= threshold * 0.9);
    }
}

/// Resolves once the lease is to be handed over. Nobody wants a shard of a stream that is gone.
async fn wanted_elsewhere(lease: &Lease, stream: &OpenStream) {
    lease.yield_requested().await;
    if stream.is_replaced() {
        std::future::pending::<()>().await;
    }
}

async fn hand_over(
    engine: &Engine,
    live: &ShardProgress,
    lease: Lease,
) -> Result<Option<WorkerId>, LeaseError> {
    live.set_state(ShardState::Draining);
    let checkpoints = live.context.checkpoints();
    let position = checkpoints.latest_done();
    let handed_over = lease
        .hand_over((position > checkpoints.stored()).then_some(position), live.metadata(position))
        .await?;
    checkpoints.mark_stored(position);
    engine.events.tell(Event::HandedOver {
        stream: live.context.stream().clone(),
        shard: live.context.shard_id().clone(),
        position,
        to: handed_over.to.clone(),
    });
    Ok(handed_over.to)
}

/// Hands over although something is left undone. What is done is stored if the store answers in time.
async fn give_up(engine: &Engine, live: &ShardProgress, lease: Lease) {
    if let Err(error) = hand_over(engine, live, lease).await {
        tracing::warn!(shard = %live.context.shard_id(), %error, "an abandoned shard was not handed over");
    }
}

async fn lost(
    engine: &Engine,
    live: &ShardProgress,
    processors: Vec<(ShardContext, Slot)>,
    cause: LostCause,
) -> TaskOutcome {
    let context = &live.context;
    context.checkpoints().close(Some(cause));
    let (stream, shard) = (context.stream().clone(), context.shard_id().clone());
    engine.events.tell(Event::LeaseLost { stream, shard, cause });
    let told = processors.into_iter().filter_map(|(context, slot)| slot.zip(Some(context)));
    let calls = told.map(|(mut processor, context)| async move {
        let (processor, context) = (&mut *processor, &context);
        let call = || async move {
            processor.lease_lost(context, cause).await;
            Ok(())
        };
        guarded(Some(LOST_GRACE), call).await
    });
    for failure in join_all(calls).await.into_iter().filter_map(Result::err) {
        engine.events.tell(Event::HandlerFailed {
            stream: context.stream().clone(),
            shard: context.shard_id().clone(),
            call: crate::types::failure::HandlerCall::LeaseLost,
            failure,
            first: None,
            failures: 1,
            retry_in: None,
        });
    }
    TaskOutcome::Lost(cause)
}

/// Stores the end of the shard. First its last position, so that a failure on the way costs no duplicates.
async fn finish(
    engine: &Engine,
    live: &ShardProgress,
    stream: &OpenStream,
    lease: Lease,
    end: &ShardEnd,
    signals: &StopSignals,
    rng: &mut StdRng,
) -> TaskOutcome {
    live.set_state(ShardState::Ending);
    let context = &live.context;
    let checkpoints = context.checkpoints();
    let mut retry = Retry::new(COORDINATION, StdRng::from_rng(rng));
    let mut warn = LogLimiter::default();
    let prepared = async {
        loop {
            match prepare_end(engine, live, stream, &lease, end).await {
                Ok(children) => return children,
                Err(error) => {
                    let retry_in = retry.failed();
                    if let Some(more) = warn.allow(Instant::now()) {
                        let shard = context.shard_id();
                        tracing::warn!(%shard, ?retry_in, more, error, "ending a shard failed, trying again");
                    }
                    live.failed(retry.failures(), error);
                    sleep(retry_in).await;
                }
            }
        }
    };
    let children = tokio::select! {
        biased;
        cause = lease.lost() => return lost(engine, live, Vec::new(), cause).await,
        () = signals.abandon.cancelled() => {
            give_up(engine, live, lease).await;
            return TaskOutcome::Abandoned { handling: None };
        }
        children = prepared => children,
    };
    let ids = children.iter().map(|row| row.key.shard.clone()).collect();
    match lease.finish(children).await {
        Ok(()) => {
            checkpoints.mark_stored(Position::ShardEnd);
            let (stream, shard) = (context.stream().clone(), context.shard_id().clone());
            engine.events.tell(Event::ShardEnded { stream, shard, children: ids });
            TaskOutcome::Finished
        }
        Err(LeaseError::Lost(cause)) => lost(engine, live, Vec::new(), cause).await,
        Err(error) => TaskOutcome::Broken(error.to_string()),
    }
}

async fn prepare_end(
    engine: &Engine,
    live: &ShardProgress,
    stream: &OpenStream,
    lease: &Lease,
    end: &ShardEnd,
) -> Result<Vec<rokini_lease::LeaseRow>, String> {
    let checkpoints = live.context.checkpoints();
    let position = checkpoints.latest_done();
    match lease.checkpoint(position, live.metadata(position)).await {
        Ok(()) => checkpoints.mark_stored(position),
        // Nothing lower is to be stored than what is.
        Err(LeaseError::Behind { .. } | LeaseError::Lost(_)) => {}
        Err(error) => return Err(error.to_string()),
    }
    let children = engine.catalog.children(stream, live.context.shard_id(), position, end).await;
    children.map_err(|error| error.to_string())
}

fn report_saved(engine: &Engine, live: &ShardProgress, saved: CheckpointEvent) {
    if engine.config.broadcast {
        return;
    }
    let (stream, shard) = (live.context.stream().clone(), live.context.shard_id().clone());
    engine.events.tell(match saved {
        CheckpointEvent::Stored(position) => Event::Checkpointed { stream, shard, position },
        CheckpointEvent::Failed { error, failures, retry_in } => {
            Event::CheckpointFailed { stream, shard, failures, error: error.to_string(), retry_in }
        }
    });
}

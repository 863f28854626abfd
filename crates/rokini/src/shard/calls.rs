//! Calls into user code and into the dead-letter sink, as many at once as there are lanes.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::resources::ShardResources;
use crate::dead_letter::{DeadLetter, DeadLetterSink};
use crate::processor::batch::Batch;
use crate::processor::erased::{ErasedProcessor, guarded};
use crate::processor::shard_context::ShardContext;
use crate::types::failure::HandlerFailure;

/// How long one letter may take: beyond what the sinks here need by their own limits, with every part of a large letter
/// refused a few times.
const SINK_LIMIT: Duration = Duration::from_secs(300);

/// Where the processor of a lane is kept. The task of the shard owns it, so that it outlives a call that is dropped.
pub(super) type Slot = Option<Box<dyn ErasedProcessor>>;

/// What a lane does.
#[derive(Debug)]
pub(super) enum Job {
    Create,
    Init,
    Process(Batch),
    DeadLetter(Arc<dyn DeadLetterSink>, Box<DeadLetter>),
    ShardEnded,
    ShutdownRequested,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    Create,
    Init,
    Process,
    DeadLetter,
    ShardEnded,
    ShutdownRequested,
}

impl Job {
    pub(super) fn kind(&self) -> JobKind {
        match self {
            Self::Create => JobKind::Create,
            Self::Init => JobKind::Init,
            Self::Process(_) => JobKind::Process,
            Self::DeadLetter(..) => JobKind::DeadLetter,
            Self::ShardEnded => JobKind::ShardEnded,
            Self::ShutdownRequested => JobKind::ShutdownRequested,
        }
    }
}

/// A job that ended.
pub(super) struct Returned<'p> {
    pub(super) lane: usize,
    pub(super) slot: &'p mut Slot,
    pub(super) result: Result<(), HandlerFailure>,
    pub(super) ended: Instant,
}

/// What there are many of: small, since it is moved.
async fn process<'p>(
    resources: &ShardResources,
    lane: usize,
    slot: &'p mut Slot,
    batch: Batch,
) -> Returned<'p> {
    let result = match slot {
        Some(processor) => guarded(resources.settings.handler_timeout, || processor.process(batch)).await,
        // Nothing but `Create` comes before the processor is there.
        None => Ok(()),
    };
    Returned { lane, slot, result, ended: Instant::now() }
}

async fn perform<'p>(
    resources: &ShardResources,
    context: &ShardContext,
    lane: usize,
    slot: &'p mut Slot,
    job: Job,
) -> Returned<'p> {
    let result = Box::pin(perform_rare(resources, context, slot, job)).await;
    Returned { lane, slot, result, ended: Instant::now() }
}

async fn perform_rare(
    resources: &ShardResources,
    context: &ShardContext,
    slot: &mut Slot,
    job: Job,
) -> Result<(), HandlerFailure> {
    let limit = resources.settings.handler_timeout;
    match (job, slot.as_mut()) {
        (Job::DeadLetter(sink, letter), _) => {
            let put = || async { sink.put(&letter).await.map_err(Into::into) };
            guarded(Some(SINK_LIMIT), put).await
        }
        (Job::Init, Some(processor)) => guarded(limit, || processor.init(context)).await,
        (Job::ShardEnded, Some(processor)) => guarded(limit, || processor.shard_ended(context)).await,
        (Job::ShutdownRequested, Some(processor)) => {
            guarded(limit, || processor.shutdown_requested(context)).await
        }
        (Job::Create, _) => {
            let made = guarded(None, || async { Ok(resources.factory.make(context)) }).await;
            made.map(|made| *slot = Some(made))
        }
        // Nothing but `Create` comes before the processor is there.
        (Job::Process(_), _) | (_, None) => Ok(()),
    }
}

/// The calls that run. One lane reuses the memory of its calls.
pub(super) enum Calls<'p> {
    One(Box<ReusableBoxFuture<'p, Returned<'p>>>, bool),
    Many(FuturesUnordered<futures::future::BoxFuture<'p, Returned<'p>>>),
}

impl<'p> Calls<'p> {
    pub(super) fn new(lanes: usize) -> Self {
        match lanes {
            1 => Self::One(Box::new(ReusableBoxFuture::new(std::future::pending())), false),
            _ => Self::Many(FuturesUnordered::new()),
        }
    }

    pub(super) fn start(
        &mut self,
        resources: &'p ShardResources,
        context: &'p ShardContext,
        lane: usize,
        slot: &'p mut Slot,
        job: Job,
    ) {
        match job {
            Job::Process(batch) => self.push(process(resources, lane, slot, batch)),
            job => self.push(perform(resources, context, lane, slot, job)),
        }
    }

    fn push(&mut self, call: impl Future<Output = Returned<'p>> + Send + 'p) {
        match self {
            Self::One(running, is_running) => {
                running.set(call);
                *is_running = true;
            }
            Self::Many(running) => running.push(Box::pin(call)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::One(_, is_running) => !is_running,
            Self::Many(running) => running.is_empty(),
        }
    }

    /// The next call that returns. Never returns while none runs. Cancel safe.
    pub(super) async fn next(&mut self) -> Returned<'p> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// A call that returns without waiting any more, if there is one.
    pub(super) async fn ready(&mut self) -> Option<Returned<'p>> {
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(returned) => Poll::Ready(Some(returned)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Returned<'p>> {
        match self {
            Self::One(running, is_running) if *is_running => {
                let returned = running.poll(cx);
                *is_running = returned.is_pending();
                returned
            }
            Self::One(..) => Poll::Pending,
            Self::Many(running) => match running.poll_next_unpin(cx) {
                Poll::Ready(Some(returned)) => Poll::Ready(returned),
                _ => Poll::Pending,
            },
        }
    }
}

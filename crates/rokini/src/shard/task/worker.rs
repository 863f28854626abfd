//! Carries responses through user code, in order.

use std::ops::Range;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{Lease, LostCause, SequenceNumber};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Live, ShardState};
use crate::consumer::engine::Engine;
use crate::delivery::retry::{Backoff, Retry};
use crate::delivery::tracker::Tracker;
use crate::events::{Event, HandlerCall};
use crate::processor::{ErasedProcessor, Failed, guarded};
use crate::{Batch, Fetched, Record, ShardEnd};

/// How the delivery of a shard came to an end.
pub(super) enum End {
    /// Every record of the closed shard is done.
    Ended(ShardEnd),
    /// As asked: no handler runs, none will.
    Drained,
    /// Time is up while a handler runs.
    Abandoned,
    Lost(LostCause),
    Broken(String),
}

/// Why the next handler call does not take place.
enum Stop {
    Drain,
    Lost(LostCause),
}

pub(super) struct Worker<'a> {
    engine: &'a Arc<Engine>,
    live: &'a Arc<Live>,
    lease: &'a Lease,
    responses: mpsc::Receiver<Fetched>,
    drain: &'a CancellationToken,
    cancelled: &'a CancellationToken,
    tracker: Tracker,
    retry: Retry,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        engine: &'a Arc<Engine>,
        live: &'a Arc<Live>,
        lease: &'a Lease,
        responses: mpsc::Receiver<Fetched>,
        drain: &'a CancellationToken,
        cancelled: &'a CancellationToken,
        rng: &mut StdRng,
    ) -> Self {
        let tracker = Tracker::new(live.context.position());
        let retry = Retry::new(Backoff::DELIVERY, StdRng::from_rng(rng));
        Self { engine, live, lease, responses, drain, cancelled, tracker, retry }
    }

    pub(super) async fn run(mut self, processor: &mut Option<Box<dyn ErasedProcessor>>) -> End {
        let processor = match self.start(processor).await {
            Ok(processor) => processor,
            // Nothing was delivered, so there is nothing to ask the processor for.
            Err(Stop::Drain) => return End::Drained,
            Err(Stop::Lost(cause)) => return End::Lost(cause),
        };
        match self.deliver_all(&mut **processor).await {
            Ok(end) => end,
            Err(Stop::Drain) => {
                self.live.set_state(ShardState::Draining);
                let limit = self.engine.config.handler_timeout;
                let call = async { processor.shutdown_requested(&self.live.context).await };
                if let Err(failure) = guarded(limit, call).await {
                    self.report(HandlerCall::ShutdownRequested, failure, None, false);
                }
                End::Drained
            }
            Err(Stop::Lost(cause)) => End::Lost(cause),
        }
    }

    /// Makes and initialises the processor. `processor` holds it once it is made, whatever happens then.
    async fn start<'p>(
        &mut self,
        processor: &'p mut Option<Box<dyn ErasedProcessor>>,
    ) -> Result<&'p mut Box<dyn ErasedProcessor>, Stop> {
        let (engine, live) = (self.engine, self.live);
        let made = loop {
            self.may_call(ShardState::Starting).await?;
            match guarded(None, async { Ok(engine.factory.make(&live.context)) }).await {
                Ok(made) => break processor.insert(made),
                Err(failure) => self.back_off(HandlerCall::Create, failure, None).await?,
            }
        };
        loop {
            self.may_call(ShardState::Starting).await?;
            let call = async { made.init(&live.context).await };
            match guarded(engine.config.handler_timeout, call).await {
                Ok(()) => break,
                Err(failure) => self.back_off(HandlerCall::Init, failure, None).await?,
            }
        }
        self.retry.succeeded();
        live.returned();
        Ok(made)
    }

    async fn deliver_all(&mut self, processor: &mut dyn ErasedProcessor) -> Result<End, Stop> {
        loop {
            self.live.set_state(ShardState::Reading);
            let drain = self.drain;
            let fetched = tokio::select! {
                biased;
                () = drain.cancelled() => return Err(Stop::Drain),
                fetched = self.responses.recv() => fetched,
            };
            let Some(fetched) = fetched else {
                return Ok(End::Broken("the reader of the shard stopped by itself".to_owned()));
            };
            let records = Arc::new(fetched.records);
            let step = self.engine.factory.records_per_call.unwrap_or(usize::MAX);
            let mut from = 0;
            while from < records.len() {
                let to = from.saturating_add(step).min(records.len());
                self.deliver(processor, &records, from..to, fetched.millis_behind_latest).await?;
                from = to;
            }
            if let Some(end) = fetched.end {
                self.end(processor).await?;
                return Ok(End::Ended(end));
            }
        }
    }

    /// Calls the handler with these records until they are done.
    async fn deliver(
        &mut self,
        processor: &mut dyn ErasedProcessor,
        records: &Arc<Vec<Record>>,
        range: Range<usize>,
        millis_behind_latest: u64,
    ) -> Result<(), Stop> {
        let checkpoints = self.live.context.checkpoints();
        let Some(last) = records[range.clone()].last().map(Record::position) else { return Ok(()) };
        let ticket = self.tracker.deliver(last);
        let mut from = range.start;
        loop {
            self.may_call(ShardState::Paused).await?;
            // What the handler itself checkpointed before it failed is done.
            let asked = checkpoints.asked();
            from += records[from..range.end].iter().take_while(|record| record.position() <= asked).count();
            if from == range.end {
                break;
            }
            let first = records[from].sequence_number;
            checkpoints.delivered(self.tracker.delivered());
            self.live.handling(Some(first));
            let batch = Batch {
                records: Arc::clone(records),
                range: from..range.end,
                shard: self.live.context.clone(),
                millis_behind_latest,
                attempt: self.retry.failures() + 1,
                cancelled: self.cancelled.clone(),
            };
            let call = async { processor.process(batch).await };
            match guarded(self.engine.config.handler_timeout, call).await {
                Ok(()) => break,
                Err(failure) => self.back_off(HandlerCall::Process, failure, Some(first)).await?,
            }
        }
        self.retry.succeeded();
        self.live.returned();
        let done = self.tracker.done(ticket);
        if let Some(position) = done.filter(|_| self.engine.config.auto_checkpoint) {
            checkpoints.done(position);
        }
        Ok(())
    }

    async fn end(&mut self, processor: &mut dyn ErasedProcessor) -> Result<(), Stop> {
        let (engine, live) = (self.engine, self.live);
        loop {
            self.may_call(ShardState::Ending).await?;
            let call = async { processor.shard_ended(&live.context).await };
            match guarded(engine.config.handler_timeout, call).await {
                Ok(()) => return Ok(()),
                Err(failure) => self.back_off(HandlerCall::ShardEnded, failure, None).await?,
            }
        }
    }

    /// Before every call: neither while this worker may not use its leases, nor once it is to stop.
    async fn may_call(&self, waiting: ShardState) -> Result<(), Stop> {
        if self.drain.is_cancelled() {
            return Err(Stop::Drain);
        }
        if self.lease.is_valid() {
            return Ok(());
        }
        self.live.set_state(waiting);
        tokio::select! {
            biased;
            () = self.drain.cancelled() => Err(Stop::Drain),
            valid = self.lease.until_valid() => valid.map_err(Stop::Lost),
        }
    }

    async fn back_off(
        &mut self,
        call: HandlerCall,
        failure: Failed,
        first: Option<SequenceNumber>,
    ) -> Result<(), Stop> {
        let retry_in = self.report(call, failure, first, true);
        self.live.set_state(ShardState::BackingOff);
        tokio::select! {
            biased;
            () = self.drain.cancelled() => Err(Stop::Drain),
            () = sleep(retry_in) => Ok(()),
        }
    }

    fn report(
        &mut self,
        call: HandlerCall,
        failure: Failed,
        first: Option<SequenceNumber>,
        again: bool,
    ) -> std::time::Duration {
        let retry_in = self.retry.failed();
        let failures = self.retry.failures();
        let context = &self.live.context;
        self.live.failed(failures, failure.to_string());
        self.engine.events.tell(Event::HandlerFailed {
            stream: context.stream().clone(),
            shard: context.shard_id().clone(),
            call,
            failure,
            first,
            failures,
            retry_in: again.then_some(retry_in),
        });
        retry_in
    }
}

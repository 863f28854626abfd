//! Carries records through user code, as the scheduler says: its steps become calls, their ends become events, positions
//! and what others see of the shard.

use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{LeaseKey, LeaseLostReason, Position};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::Span;

use super::calls::{Calls, Job, JobKind, Returned, Slot};
use super::drain::Drain;
use super::fetch::Response;
use super::held_shard::HeldShard;
use super::observer::BatchSize;
use crate::dead_letter::DeadLetter;
use crate::delivery::acks::{AckOutcome, TokenIssuer};
use crate::delivery::call_marks::CallMarks;
use crate::delivery::event::DeliveryEvent;
use crate::delivery::scheduler::{DeliverySettings, DeliveryStep, Scheduler};
use crate::delivery::tracker::Hold;
use crate::events::table::EventKind;
use crate::processor::batch::Batch;
use crate::processor::shard_context::ShardContext;
use crate::processor::tracing_span;
use crate::source::stream_source::ShardEnd;
use crate::types::backoff::{DELIVERY, Retry};
use crate::types::failure::{HandlerCall, HandlerFailure};
use crate::types::record::Record;
use crate::types::shard_state::ShardState;

/// For how long calls that never wait follow each other before others get to run: letting them costs some
/// microseconds.
const STRAIGHT: Duration = Duration::from_micros(500);
/// The same in calls, where the clock stands still.
const STRAIGHT_CALLS: usize = 1_000;

/// How the delivery of a shard came to an end.
pub(super) enum End {
    /// Every record of the closed shard is done.
    Ended(ShardEnd),
    /// As asked: no handler runs, none will.
    Drained,
    /// Time is up while a handler runs.
    Abandoned,
    Lost(LeaseLostReason),
    /// User code wants to begin anew at the stored position.
    Restarted(String),
    Broken(String),
}

/// How far the processor of a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessorStage {
    /// There is none yet.
    None,
    Made,
    Ready,
    /// It knows that the shard ended.
    Ended,
    /// It knows that the shard leaves.
    Left,
}

/// A lane's processor and what it needs.
struct LaneProcessor<'p> {
    context: &'p ShardContext,
    /// `None` while a call has it.
    slot: Option<&'p mut Slot>,
    stage: ProcessorStage,
    /// Failures of calls that are not about records.
    retry: Retry,
    /// When such a call is made again.
    due: Option<Instant>,
    /// What user code said of the last call.
    marks: Arc<CallMarks>,
    /// The last call: what it is, when it began, and what it is about.
    running: (JobKind, Instant, BatchSize),
    /// Its records, where user code sees them one by one.
    records: Option<(Arc<Vec<Record>>, Range<usize>)>,
}

impl LaneProcessor<'_> {
    /// How often the last call came to user code.
    fn calls(&self) -> usize {
        if self.records.is_some() { self.marks.done().max(1) } else { 1 }
    }

    /// The call that is not about records, if one is next. `ended`: whether every record went through user code.
    fn beside_records(&self, ended: bool) -> Option<Job> {
        self.slot.as_ref()?;
        match self.stage {
            ProcessorStage::None => Some(Job::Create),
            ProcessorStage::Made => Some(Job::Init),
            ProcessorStage::Ready if ended => Some(Job::ShardEnded),
            _ => None,
        }
    }
}

pub(super) struct Dispatcher<'a> {
    shard: &'a HeldShard,
    responses: mpsc::Receiver<Response>,
    drain: &'a Drain,
    scheduler: Scheduler,
    processors: Vec<LaneProcessor<'a>>,
    calls: Calls<'a>,
    end: Option<ShardEnd>,
    /// As the checkpoints know it.
    position: Position,
    /// What user code may say is done, where the checkpoints do not know it yet.
    delivered: Option<Position>,
}

impl<'a> Dispatcher<'a> {
    pub(super) fn new(
        shard: &'a HeldShard,
        responses: mpsc::Receiver<Response>,
        drain: &'a Drain,
        lanes: &'a mut [(ShardContext, Slot)],
        rng: &mut StdRng,
    ) -> Self {
        let (position, now) = (shard.progress.context.position(), Instant::now());
        let scheduler = Scheduler::new(shard.resources.settings.delivery, position, StdRng::from_rng(rng));
        let calls = Calls::new(lanes.len());
        let processor = |(context, slot): &'a mut (ShardContext, Slot)| LaneProcessor {
            context,
            slot: Some(slot),
            stage: ProcessorStage::None,
            retry: Retry::new(DELIVERY, StdRng::from_rng(rng)),
            due: None,
            marks: Arc::default(),
            running: (JobKind::Create, now, BatchSize::default()),
            records: None,
        };
        let processors = lanes.iter_mut().map(processor).collect();
        let (end, delivered) = (None, None);
        Self { shard, responses, drain, scheduler, processors, calls, end, position, delivered }
    }

    pub(super) async fn run(mut self) -> End {
        let mut now = Instant::now();
        // When others got to run last, and the calls since.
        let (mut since, mut straight) = (now, 0);
        loop {
            let draining = self.drain.is_on();
            let valid = self.shard.lease.is_valid();
            self.scheduler.expire(now);
            if draining {
                self.leave(now);
            } else {
                self.stay();
            }
            if !draining && valid {
                self.begin(now);
            }
            self.report();
            self.save_position();
            if let Some(end) = self.end_of_work(draining) {
                return end;
            }
            self.show(draining, valid);
            // Calls that never wait follow each other without a poll of everything else.
            if !draining && let Some(returned) = self.calls.ready().await {
                now = returned.ended;
                straight += self.processors[returned.lane].calls();
                self.returned(returned);
                if straight >= STRAIGHT_CALLS || now.duration_since(since) >= STRAIGHT {
                    yield_now().await;
                    now = Instant::now();
                    (since, straight) = (now, 0);
                }
                continue;
            }
            if self.note_done() {
                self.save_position();
                self.show(draining, valid);
            }
            if let Some(end) = self.wait(draining, valid, now).await {
                return end;
            }
            now = Instant::now();
            (since, straight) = (now, 0);
        }
    }

    /// How the work ended, once nothing of it is left.
    fn end_of_work(&mut self, draining: bool) -> Option<End> {
        let current = self.shard.progress.context.is_current();
        if !self.calls.is_empty() || self.scheduler.awaits_acks() && current {
            return None;
        }
        if draining {
            return Some(End::Drained);
        }
        let all_ended = self.processors.iter().all(|processor| processor.stage == ProcessorStage::Ended);
        if self.scheduler.is_handed_out() && all_ended { self.end.take().map(End::Ended) } else { None }
    }

    /// Waits for the next thing that happens, and takes it in.
    async fn wait(&mut self, draining: bool, valid: bool, now: Instant) -> Option<End> {
        let HeldShard { progress, lease, .. } = self.shard;
        let validity = lease.validity();
        let due = if valid && !draining { self.due(now) } else { self.scheduler.ack_deadline() };
        let wakes = async { if let Some(due) = due { sleep_until(due).await } else { pending().await } };
        let (wants_more, halted) = (!draining && self.scheduler.wants_more(), self.scheduler.is_halted());
        tokio::select! {
            biased;
            () = self.drain.until(!draining) => {}
            returned = self.calls.next() => self.returned(returned),
            () = progress.context.acks().changed() => self.take_acks(),
            valid = lease.until_valid(), if !valid && !draining => if let Err(cause) = valid {
                return Some(End::Lost(cause));
            },
            () = progress.until_delivery_resumed(), if halted => self.scheduler.resume(Instant::now()),
            response = self.responses.recv(), if wants_more => match response {
                Some(Response { fetched, bytes, reserved }) => {
                    let (hold, now) = (reserved.map(|reserved| Box::new(reserved) as Hold), Instant::now());
                    self.scheduler.add(fetched.records, bytes, fetched.millis_behind_latest, hold, now);
                    if fetched.end.is_some() {
                        self.scheduler.end();
                        self.end = fetched.end;
                    }
                }
                None => return Some(End::Broken("the reader of the shard stopped by itself".to_owned())),
            },
            () = wakes => {}
            // Only to be shown: nothing else wakes a shard that waits for records, which are not read meanwhile.
            () = validity.until_invalid(), if valid && self.calls.is_empty() => {}
        }
        None
    }

    /// Begins what can begin: neither while this worker may not use its leases, nor once it is to stop.
    fn begin(&mut self, now: Instant) {
        let ended = self.scheduler.is_handed_out();
        for lane in 0..self.processors.len() {
            let processor = &self.processors[lane];
            if let Some(job) = processor.beside_records(ended)
                && processor.due.is_none_or(|due| due <= now)
            {
                self.start(lane, job, BatchSize::default(), now);
            }
        }
        let checkpoints = self.shard.progress.context.checkpoints();
        while let Some(step) = self.scheduler.next(now, || checkpoints.requested()) {
            match step {
                DeliveryStep::CallHandler { lane, call, records, attempt } => {
                    let tokens = TokenIssuer { call, records, marks: self.marks(lane) };
                    self.start_batch(lane, tokens, attempt, now);
                }
                DeliveryStep::DeadLetter { lane, records, failure, attempts, age } => {
                    let Some(sink) = self.shard.resources.dead_letter.clone() else {
                        self.scheduler.dead_lettered(
                            lane,
                            Err("there is no dead-letter sink".to_owned()),
                            now,
                        );
                        continue;
                    };
                    let letter = Box::new(self.dead_letter(records, failure, attempts, age));
                    self.start(lane, Job::DeadLetter(sink, letter), BatchSize::default(), now);
                }
            }
        }
    }

    /// What user code will say of the next call in this lane.
    fn marks(&mut self, lane: usize) -> Arc<CallMarks> {
        let processor = &mut self.processors[lane];
        if !Arc::get_mut(&mut processor.marks).is_some_and(CallMarks::reset) {
            processor.marks = Arc::default();
        }
        Arc::clone(&processor.marks)
    }

    /// Takes in what user code that sees the records of a call one by one is through with. Whether that is news.
    fn note_done(&mut self) -> bool {
        let lanes = self.processors.iter().enumerate().filter(|(_, lane)| lane.records.is_some());
        let mut news = false;
        for (lane, processor) in lanes {
            news |= self.scheduler.progressed(lane, processor.marks.done());
        }
        news
    }

    fn start_batch(&mut self, lane: usize, tokens: TokenIssuer, attempt: u32, now: Instant) {
        let taken = self.scheduler.slice(&tokens.records);
        let records = &taken.records[taken.range.clone()];
        let DeliverySettings { one_by_one, policy, .. } = self.shard.resources.settings.delivery;
        // What user code may say is done: with all that is before it, so not what a call has got while another one
        // runs, or while a key is parked.
        if self.processors.len() == 1 && !policy.park && !one_by_one {
            self.delivered = records.last().map(Record::position);
        }
        let size = BatchSize { records: taken.range.len() as u64, bytes: taken.bytes as u64 };
        let processor = &mut self.processors[lane];
        // What ended has more to do, and will end again.
        processor.stage = ProcessorStage::Ready;
        processor.records = one_by_one.then(|| (Arc::clone(&taken.records), taken.range.clone()));
        let span = match one_by_one {
            true => Span::none(),
            false => tracing_span::of_batch(processor.context, records, attempt),
        };
        let batch = Batch {
            records: taken.records,
            range: taken.range,
            shard: processor.context.clone(),
            millis_behind_latest: taken.millis_behind_latest,
            attempt,
            tokens,
            span,
        };
        self.start(lane, Job::Process(batch), size, now);
    }

    fn dead_letter(
        &self,
        records: Vec<Record>,
        failure: HandlerFailure,
        attempts: u32,
        age: Duration,
    ) -> DeadLetter {
        let context = &self.shard.progress.context;
        let (group, worker) = (context.group().clone(), context.worker().clone());
        let mut letter =
            DeadLetter::new(group, LeaseKey::clone(context.key()), worker, context.epoch(), records, failure);
        letter.attempts = attempts;
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        letter.first_failure_millis = Some(self.shard.resources.clock.millis().saturating_sub(age));
        letter
    }

    /// Once nothing runs any more: the last chance of each processor that was made ready.
    fn leave(&mut self, now: Instant) {
        if !self.calls.is_empty() || !self.shard.progress.context.is_current() {
            return;
        }
        for lane in 0..self.processors.len() {
            let stage = std::mem::replace(&mut self.processors[lane].stage, ProcessorStage::Left);
            if matches!(stage, ProcessorStage::Ready | ProcessorStage::Ended) {
                self.start(lane, Job::ShutdownRequested, BatchSize::default(), now);
            }
        }
    }

    /// A drain that was taken back: processors that were told that the shard leaves are made anew.
    fn stay(&mut self) {
        for processor in
            self.processors.iter_mut().filter(|processor| processor.stage == ProcessorStage::Left)
        {
            if let Some(slot) = &mut processor.slot {
                **slot = None;
                processor.stage = ProcessorStage::None;
            }
        }
    }

    fn start(&mut self, lane: usize, job: Job, size: BatchSize, now: Instant) {
        let processor = &mut self.processors[lane];
        if let Some(slot) = processor.slot.take() {
            processor.due = None;
            processor.running = (job.kind(), now, size);
            if !matches!(job, Job::Process(_) | Job::DeadLetter(..)) {
                // Records whose tokens fail meanwhile wait until the processor is back.
                self.scheduler.close(lane);
            }
            self.calls.start(&self.shard.resources, processor.context, lane, slot, job);
        }
    }

    fn returned(&mut self, returned: Returned<'a>) {
        let Returned { lane, slot, result, ended: now } = returned;
        self.take_acks();
        let progress = &*self.shard.progress;
        let processor = &mut self.processors[lane];
        processor.slot = Some(slot);
        let (job, begun, size) = processor.running;
        let call = match job {
            JobKind::Process => {
                let result = result.map(|()| processor.marks.tokens_are_taken());
                let succeeded = result.is_ok();
                let one_by_one = processor.records.take().map(|records| (processor.marks.done(), records));
                let size = match &one_by_one {
                    Some((done, (records, range))) => BatchSize::of(&records[range.clone()][..*done]),
                    None => succeeded.then_some(size),
                };
                let (done, requested) =
                    (one_by_one.map(|(done, _)| done), || progress.context.checkpoints().requested());
                self.scheduler.returned(lane, result, done, now, requested);
                let well = succeeded && !self.scheduler.has_failed();
                return progress.handled(now.duration_since(begun), size, well, now);
            }
            JobKind::DeadLetter => {
                return self.scheduler.dead_lettered(lane, result.map_err(|error| error.to_string()), now);
            }
            JobKind::Create => HandlerCall::Create,
            JobKind::Init => HandlerCall::Init,
            JobKind::ShardEnded => HandlerCall::ShardEnded,
            JobKind::ShutdownRequested => HandlerCall::ShutdownRequested,
        };
        match result {
            Ok(()) => {
                processor.retry.succeeded();
                processor.stage = match job {
                    JobKind::Create => ProcessorStage::Made,
                    JobKind::Init => ProcessorStage::Ready,
                    JobKind::ShardEnded => ProcessorStage::Ended,
                    _ => return,
                };
                progress.returned(job == JobKind::Init, now);
            }
            Err(failure) => self.failed(lane, call, failure, now),
        }
        if matches!(self.processors[lane].stage, ProcessorStage::Ready | ProcessorStage::Ended) {
            self.scheduler.open(lane);
        }
    }

    /// A call that is not about records failed.
    fn failed(&mut self, lane: usize, call: HandlerCall, failure: HandlerFailure, now: Instant) {
        let processor = &mut self.processors[lane];
        let retry_in = processor.retry.failed();
        let failures = processor.retry.failures();
        let again = call != HandlerCall::ShutdownRequested;
        processor.due = again.then_some(now + retry_in);
        self.shard.progress.failed(failures, failure.to_string());
        if matches!(call, HandlerCall::Create | HandlerCall::Init) {
            // It has got no record yet, and none is given up for it.
            self.shard.progress.unavailable(failure.to_string());
        }
        let retry_in = again.then_some(retry_in);
        self.shard.events.emit(EventKind::HandlerFailed { call, failure, first: None, failures, retry_in });
    }

    /// What the scheduler reports, as events.
    fn report(&mut self) {
        let HeldShard { progress, events, lease, .. } = self.shard;
        for event in self.scheduler.take_events() {
            events.emit(match event {
                DeliveryEvent::Failed { failure, first, failures, retry_in } => {
                    progress.failed(failures, failure.to_string());
                    let call = HandlerCall::Process;
                    EventKind::HandlerFailed { call, failure, first, failures, retry_in }
                }
                DeliveryEvent::Bisecting { first, records } => EventKind::Bisecting { first, records },
                DeliveryEvent::Parked { first, key } => EventKind::Parked { first, key },
                DeliveryEvent::Unparked { key } => EventKind::Unparked { key },
                DeliveryEvent::Skipped { records, failure, failures } => {
                    progress.given_up(records.len(), 0);
                    progress.context.checkpoints().add_skipped(&records, lease.row().metadata.skipped);
                    EventKind::Skipped { records, failure, failures }
                }
                DeliveryEvent::DeadLettered { records, failures } => {
                    progress.given_up(0, records.len());
                    EventKind::DeadLettered { records, failures }
                }
                DeliveryEvent::DeadLetterFailed { first, error, failures, retry_in } => {
                    progress.failed(failures, error.clone());
                    EventKind::DeadLetterFailed { first, error, failures, retry_in }
                }
                DeliveryEvent::Halted { first, failure, failures } => {
                    EventKind::Halted { first, failure, failures }
                }
            });
        }
    }

    fn take_acks(&mut self) {
        for mut ack in self.shard.progress.context.acks().take() {
            if self.drain.is_on() {
                ack.outcome = ack.outcome.when_leaving();
            }
            if let AckOutcome::GivenBack(Some(error)) = &ack.outcome {
                self.shard.progress.unavailable(error.as_ref().to_owned());
            }
            self.scheduler.acked(ack, Instant::now());
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        // A call that is not next any more is not waited for: its time may be long past.
        let ended = self.scheduler.is_handed_out();
        let processors = self.processors.iter().filter(|processor| processor.beside_records(ended).is_some());
        processors.filter_map(|processor| processor.due).chain(self.scheduler.due(now)).min()
    }

    /// Before any call gets to run.
    fn save_position(&mut self) {
        let position = self.scheduler.position();
        let moved = (position > self.position).then_some(position);
        let delivered = self.delivered.take().max(moved);
        if delivered.is_some() {
            self.position = position;
            let done = moved.filter(|_| self.shard.resources.settings.auto_checkpoint);
            self.shard.progress.context.checkpoints().advance(delivered, done);
        }
    }

    /// What others see of the shard.
    fn show(&self, draining: bool, valid: bool) {
        let scheduler = &self.scheduler;
        let stage = |wanted| self.processors.iter().any(|processor| processor.stage == wanted);
        let running = !self.calls.is_empty();
        let state = if draining {
            ShardState::Draining
        } else if stage(ProcessorStage::None) || stage(ProcessorStage::Made) {
            match self.processors.iter().any(|processor| processor.due.is_some()) {
                true if !running => ShardState::BackingOff,
                _ => ShardState::Starting,
            }
        } else if scheduler.is_halted() {
            ShardState::Halted
        } else if scheduler.is_handed_out() && !scheduler.awaits_acks() && !running {
            // Its processors are about to learn of its end again.
            ShardState::BackingOff
        } else if running {
            let first = scheduler.first_open().map(|record| record.sequence_number);
            return self.shard.progress.handling(first, scheduler.parked_keys());
        } else if !valid {
            ShardState::Paused
        } else if scheduler.has_failed() {
            ShardState::BackingOff
        } else if scheduler.awaits_acks() {
            let first = scheduler.first_open().map(|record| record.sequence_number);
            return self.shard.progress.awaiting_acks(first, scheduler.parked_keys());
        } else {
            ShardState::Reading
        };
        self.shard.progress.show(state, scheduler.parked_keys());
    }
}

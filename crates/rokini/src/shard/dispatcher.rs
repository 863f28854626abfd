//! Carries records through user code, as the flow says: its steps become calls, their ends become events, positions
//! and what others see of the shard.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{Lease, LeaseKey, LostCause, Position};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fetch::Response;
use super::progress::{BatchSize, ShardProgress};
use super::status::ShardState;
use crate::consumer::engine::Engine;
use crate::delivery::acks::TokenIssuer;
use crate::delivery::flow::{DeliveryStep, Flow};
use crate::events::Event;
use crate::processor::batch::Batch;
use crate::processor::shard_context::ShardContext;
use crate::processor::tracing_span;
use crate::types::backoff::{DELIVERY, Retry};
use crate::types::failure::{HandlerCall, HandlerFailure};
use crate::types::record::Record;
use crate::{DeadLetter, ShardEnd};

mod calls;
mod tell;

pub(crate) use calls::Slot;
use calls::{Calls, Job, JobKind, Returned};

/// For how long calls that never wait follow each other before others get to run: letting them costs some
/// microseconds.
const STRAIGHT: Duration = Duration::from_micros(500);
/// The same in calls, where the clock stands still.
const STRAIGHT_CALLS: u32 = 1_000;

/// How the delivery of a shard came to an end.
pub(crate) enum End {
    /// Every record of the closed shard is done.
    Ended(ShardEnd),
    /// As asked: no handler runs, none will.
    Drained,
    /// Time is up while a handler runs.
    Abandoned,
    Lost(LostCause),
    Broken(String),
}

/// How far the processor of a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
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
struct Seat<'p> {
    context: &'p ShardContext,
    /// `None` while a call has it.
    slot: Option<&'p mut Slot>,
    stage: Stage,
    /// Failures of calls that are not about records.
    retry: Retry,
    /// When such a call is made again.
    due: Option<Instant>,
    /// Whether the tokens of the last call were taken.
    taken: Arc<AtomicBool>,
    /// The last call: what it is, when it began, and what it is about.
    running: (JobKind, Instant, BatchSize),
}

impl Seat<'_> {
    /// The call that is not about records, if one is next. `ended`: whether every record went through user code.
    fn beside_records(&self, ended: bool) -> Option<Job> {
        self.slot.as_ref()?;
        match self.stage {
            Stage::None => Some(Job::Create),
            Stage::Made => Some(Job::Init),
            Stage::Ready if ended => Some(Job::ShardEnded),
            _ => None,
        }
    }
}

pub(crate) struct Dispatcher<'a> {
    engine: &'a Arc<Engine>,
    live: &'a Arc<ShardProgress>,
    lease: &'a Lease,
    responses: mpsc::Receiver<Response>,
    drain: &'a CancellationToken,
    flow: Flow,
    seats: Vec<Seat<'a>>,
    calls: Calls<'a>,
    end: Option<ShardEnd>,
    /// As the checkpoints know it.
    position: Position,
    /// What user code may say is done, where the checkpoints do not know it yet.
    delivered: Option<Position>,
}

impl<'a> Dispatcher<'a> {
    pub(crate) fn new(
        engine: &'a Arc<Engine>,
        live: &'a Arc<ShardProgress>,
        lease: &'a Lease,
        responses: mpsc::Receiver<Response>,
        drain: &'a CancellationToken,
        lanes: &'a mut [(ShardContext, Slot)],
        rng: &mut StdRng,
    ) -> Self {
        let (position, now) = (live.context.position(), Instant::now());
        let flow = Flow::new(engine.delivery_settings(), position, StdRng::from_rng(rng));
        let calls = Calls::new(lanes.len());
        let seat = |(context, slot): &'a mut (ShardContext, Slot)| Seat {
            context,
            slot: Some(slot),
            stage: Stage::None,
            retry: Retry::new(DELIVERY, StdRng::from_rng(rng)),
            due: None,
            taken: Arc::default(),
            running: (JobKind::Create, now, BatchSize::default()),
        };
        let seats = lanes.iter_mut().map(seat).collect();
        let (end, delivered) = (None, None);
        Self { engine, live, lease, responses, drain, flow, seats, calls, end, position, delivered }
    }

    pub(crate) async fn run(mut self) -> End {
        let context = &self.live.context;
        let validity = self.lease.validity();
        let mut now = Instant::now();
        // When others got to run last, and the calls since.
        let (mut since, mut straight) = (now, 0);
        loop {
            let draining = self.drain.is_cancelled();
            let valid = self.lease.is_valid_at(now);
            self.flow.expire(now);
            if draining {
                self.leave(now);
            } else if valid {
                self.begin(now);
            }
            self.tell();
            self.save_position();
            if self.calls.is_empty() && (!self.flow.awaits_acks() || context.cancelled().is_cancelled()) {
                if draining {
                    return End::Drained;
                }
                if self.flow.is_handed_out()
                    && self.seats.iter().all(|seat| seat.stage == Stage::Ended)
                    && let Some(end) = self.end.take()
                {
                    return End::Ended(end);
                }
            }
            self.show(draining, valid);
            // User code that never waits is gone through without a look at all the rest.
            if !draining && let Some(returned) = self.calls.ready().await {
                now = returned.ended;
                self.returned(returned);
                straight += 1;
                if straight == STRAIGHT_CALLS || now.duration_since(since) >= STRAIGHT {
                    yield_now().await;
                    now = Instant::now();
                    (since, straight) = (now, 0);
                }
                continue;
            }
            let due = if valid && !draining { self.due(now) } else { self.flow.ack_deadline() };
            let wakes = async { if let Some(due) = due { sleep_until(due).await } else { pending().await } };
            let (wants_more, halted) = (!draining && self.flow.wants_more(), self.flow.is_halted());
            tokio::select! {
                biased;
                () = self.drain.cancelled(), if !draining => {}
                returned = self.calls.next() => self.returned(returned),
                () = context.acks().changed() => self.take_acks(),
                valid = self.lease.until_valid(), if !valid && !draining => if let Err(cause) = valid {
                    return End::Lost(cause);
                },
                () = self.live.resumed(), if halted => self.flow.resume(Instant::now()),
                fetched = self.responses.recv(), if wants_more => match fetched {
                    Some(Response { fetched, bytes }) => {
                        self.flow.add(fetched.records, bytes, fetched.millis_behind_latest, Instant::now());
                        if fetched.end.is_some() {
                            self.flow.end();
                            self.end = fetched.end;
                        }
                    }
                    None => return End::Broken("the reader of the shard stopped by itself".to_owned()),
                },
                () = wakes => {}
                // Only to be shown: nothing else wakes a shard that waits for records, which are not read meanwhile.
                () = validity.until_invalid(), if valid && self.calls.is_empty() => {}
            }
            now = Instant::now();
            (since, straight) = (now, 0);
        }
    }

    /// Begins what can begin: neither while this worker may not use its leases, nor once it is to stop.
    fn begin(&mut self, now: Instant) {
        let ended = self.flow.is_handed_out();
        for lane in 0..self.seats.len() {
            let seat = &self.seats[lane];
            if let Some(job) = seat.beside_records(ended)
                && seat.due.is_none_or(|due| due <= now)
            {
                self.start(lane, job, BatchSize::default(), now);
            }
        }
        let live = self.live;
        while let Some(step) = self.flow.next(now, || live.context.checkpoints().requested()) {
            match step {
                DeliveryStep::CallHandler { lane, call, records, attempt } => {
                    let taken = self.flow.slice(&records);
                    // What user code may say is done: with all that is before it, so not what a call has got while
                    // another one runs, or while a key is parked.
                    if self.seats.len() == 1 && !self.engine.config.park {
                        self.delivered = taken.records[taken.range.clone()].last().map(Record::position);
                    }
                    let size = BatchSize { records: taken.range.len() as u64, bytes: taken.bytes as u64 };
                    let seat = &mut self.seats[lane];
                    // What ended has more to do, and will end again.
                    seat.stage = Stage::Ready;
                    if Arc::get_mut(&mut seat.taken).is_none_or(|taken| *taken.get_mut()) {
                        seat.taken = Arc::default();
                    }
                    let span =
                        tracing_span::of_batch(seat.context, &taken.records[taken.range.clone()], attempt);
                    let batch = Batch {
                        records: taken.records,
                        range: taken.range,
                        shard: seat.context.clone(),
                        millis_behind_latest: taken.millis_behind_latest,
                        attempt,
                        tokens: TokenIssuer { call, records, taken: Arc::clone(&seat.taken) },
                        span,
                    };
                    self.start(lane, Job::Process(batch), size, now);
                }
                DeliveryStep::DeadLetter { lane, records, failure, attempts, age } => {
                    let Some(sink) = self.engine.dead_letter.clone() else {
                        self.flow.dead_lettered(lane, Err("there is no dead-letter sink".to_owned()), now);
                        continue;
                    };
                    let context = &live.context;
                    let lease = LeaseKey::clone(context.key());
                    let (group, worker) = (context.group().clone(), context.worker().clone());
                    let mut letter = DeadLetter::new(group, lease, worker, context.epoch(), records, failure);
                    letter.attempts = attempts;
                    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                    letter.first_failure_millis = Some(self.engine.clock.millis().saturating_sub(age));
                    self.start(lane, Job::DeadLetter(sink, Box::new(letter)), BatchSize::default(), now);
                }
            }
        }
    }

    /// Once nothing runs any more: the last chance of each processor that was made ready.
    fn leave(&mut self, now: Instant) {
        if !self.calls.is_empty() || self.live.context.cancelled().is_cancelled() {
            return;
        }
        for lane in 0..self.seats.len() {
            let stage = std::mem::replace(&mut self.seats[lane].stage, Stage::Left);
            if matches!(stage, Stage::Ready | Stage::Ended) {
                self.start(lane, Job::ShutdownRequested, BatchSize::default(), now);
            }
        }
    }

    fn start(&mut self, lane: usize, job: Job, size: BatchSize, now: Instant) {
        let seat = &mut self.seats[lane];
        if let Some(slot) = seat.slot.take() {
            seat.due = None;
            seat.running = (job.kind(), now, size);
            if !matches!(job, Job::Process(_) | Job::DeadLetter(..)) {
                // Records whose tokens fail meanwhile wait until the processor is back.
                self.flow.close(lane);
            }
            self.calls.start(self.engine, seat.context, lane, slot, job);
        }
    }

    fn returned(&mut self, returned: Returned<'a>) {
        let Returned { lane, slot, result, ended: now } = returned;
        self.take_acks();
        let live = self.live;
        let seat = &mut self.seats[lane];
        seat.slot = Some(slot);
        let (job, begun, size) = seat.running;
        let call = match job {
            JobKind::Process => {
                let result = result.map(|()| seat.taken.load(Ordering::Acquire));
                let succeeded = result.is_ok();
                self.flow.returned(lane, result, now, || live.context.checkpoints().requested());
                let well = succeeded && !self.flow.has_failed();
                return live.handled(now.duration_since(begun), succeeded.then_some(size), well, now);
            }
            JobKind::DeadLetter => {
                return self.flow.dead_lettered(lane, result.map_err(|error| error.to_string()), now);
            }
            JobKind::Create => HandlerCall::Create,
            JobKind::Init => HandlerCall::Init,
            JobKind::ShardEnded => HandlerCall::ShardEnded,
            JobKind::ShutdownRequested => HandlerCall::ShutdownRequested,
        };
        match result {
            Ok(()) => {
                seat.retry.succeeded();
                seat.stage = match job {
                    JobKind::Create => Stage::Made,
                    JobKind::Init => Stage::Ready,
                    JobKind::ShardEnded => Stage::Ended,
                    _ => return,
                };
                live.returned(job == JobKind::Init, now);
            }
            Err(failure) => self.failed(lane, call, failure, now),
        }
        if matches!(self.seats[lane].stage, Stage::Ready | Stage::Ended) {
            self.flow.open(lane);
        }
    }

    /// A call that is not about records failed.
    fn failed(&mut self, lane: usize, call: HandlerCall, failure: HandlerFailure, now: Instant) {
        let seat = &mut self.seats[lane];
        let retry_in = seat.retry.failed();
        let failures = seat.retry.failures();
        let again = call != HandlerCall::ShutdownRequested;
        seat.due = again.then_some(now + retry_in);
        self.live.failed(failures, failure.to_string());
        self.engine.events.tell(Event::HandlerFailed {
            stream: self.live.context.stream().clone(),
            shard: self.live.context.shard_id().clone(),
            call,
            failure,
            first: None,
            failures,
            retry_in: again.then_some(retry_in),
        });
    }

    fn take_acks(&mut self) {
        for mut ack in self.live.context.acks().take() {
            if self.drain.is_cancelled() {
                ack.outcome = ack.outcome.when_leaving();
            }
            self.flow.acked(ack, Instant::now());
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        // A call that is not next any more is not waited for: its time may be long past.
        let ended = self.flow.is_handed_out();
        let seats = self.seats.iter().filter(|seat| seat.beside_records(ended).is_some());
        seats.filter_map(|seat| seat.due).chain(self.flow.due(now)).min()
    }

    /// Before any call gets to run.
    fn save_position(&mut self) {
        let position = self.flow.position();
        let moved = (position > self.position).then_some(position);
        let delivered = self.delivered.take().max(moved);
        if delivered.is_some() {
            self.position = position;
            let done = moved.filter(|_| self.engine.config.auto_checkpoint);
            self.live.context.checkpoints().advance(delivered, done);
        }
    }

    /// What others see of the shard.
    fn show(&self, draining: bool, valid: bool) {
        let flow = &self.flow;
        let stage = |wanted| self.seats.iter().any(|seat| seat.stage == wanted);
        let running = !self.calls.is_empty();
        let state = if draining {
            ShardState::Draining
        } else if stage(Stage::None) || stage(Stage::Made) {
            match self.seats.iter().any(|seat| seat.due.is_some()) {
                true if !running => ShardState::BackingOff,
                _ => ShardState::Starting,
            }
        } else if flow.is_halted() {
            ShardState::Halted
        } else if flow.is_handed_out() && !flow.awaits_acks() && !running {
            // Its end is told again.
            ShardState::BackingOff
        } else if running {
            let first = flow.first_open().map(|record| record.sequence_number);
            return self.live.handling(first, flow.parked_keys());
        } else if !valid {
            ShardState::Paused
        } else if flow.has_failed() {
            ShardState::BackingOff
        } else if flow.awaits_acks() {
            ShardState::AwaitingAcks
        } else {
            ShardState::Reading
        };
        self.live.show(state, flow.parked_keys());
    }
}

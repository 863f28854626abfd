//! Programs that get records as lines of JSON, and answer which are done.

mod message;
mod outstanding;

use std::convert::Infallible;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rokini::lease::{LeaseLostReason, SequenceNumber};
use rokini::{Batch, HandlerError, HandlerStats, RecordProcessor, ShardContext};
use tokio::time::timeout;

use self::message::write_record;
use self::outstanding::Outstanding;
use crate::child::{Child, Spawner, StdoutLines};
use crate::context::HandlerContext;
use crate::event::KillReason;
use crate::pause::{Pause, give_back};
use crate::pool::{ChildPool, StartFailures};
use crate::restarts::Restarts;
use crate::settings::ProcessSettings;

/// How long a process is watched before it gets records, after one that ended without a single answer: whether it was a
/// record that ended it, or it cannot start, is to be known.
const PROBATION: Duration = Duration::from_secs(2);
/// How long the output of a process is waited for that has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Makes processors of programs that get records as lines of JSON on their standard input, and write a line with the
/// numbers of those that are done.
#[derive(Debug, Clone)]
pub struct Lines {
    pool: Arc<ChildPool<Outstanding>>,
    rng: Arc<Mutex<StdRng>>,
}

impl Lines {
    /// Starts the first process, which waits for a shard. Within a Tokio runtime only.
    #[must_use]
    pub fn new(settings: ProcessSettings, context: &HandlerContext) -> Self {
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(context.seed)));
        Self { pool: ChildPool::new(Spawner::new(settings, context)), rng }
    }

    /// The processor of a shard, or of a lane of it.
    #[must_use]
    pub fn processor(&self, shard: &ShardContext) -> LinesProcessor {
        let seed = self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        LinesProcessor {
            pool: Arc::clone(&self.pool),
            rng: Arc::clone(&self.rng),
            shard: shard.shard_id().as_str().into(),
            child: None,
            failures: StartFailures::default(),
            restarts: Restarts::new(seed),
            pause: Pause::default(),
            one_by_one: None,
            probation: false,
        }
    }

    /// Starts so many processes for shards that are about to come, and returns once they wait for their input, at the latest 10 s
    /// later. For before a worker joins a group whose shards other workers have: nobody waits then for an interpreter. Those that are
    /// not needed within [`ProcessSettings::idle_timeout`] are ended.
    pub async fn warm(&self, processes: usize) {
        self.pool.warm(processes).await;
    }

    /// Ends the processes that wait for a shard. For the end of the consumer.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> HandlerStats {
        self.pool.spawner().events.stats()
    }

    /// Looks every 5 s at what the processes use of the machine, for [`stats`](Self::stats). Never returns: whoever wants to
    /// know has it run beside the consumer.
    pub async fn measure(&self) -> Infallible {
        let spawner = self.pool.spawner();
        spawner.events.measure(&spawner.tracker).await
    }
}

/// The records of one shard, or of a lane of it, through a process of its own.
#[derive(Debug)]
pub struct LinesProcessor {
    pool: Arc<ChildPool<Outstanding>>,
    rng: Arc<Mutex<StdRng>>,
    shard: Arc<str>,
    child: Option<Child<Outstanding>>,
    failures: StartFailures,
    restarts: Restarts,
    pause: Pause,
    /// Until this record batches are waited for one by one: a process ended and left it unanswered, and which record did
    /// that is to be known.
    one_by_one: Option<SequenceNumber>,
    probation: bool,
}

impl LinesProcessor {
    /// Sees to the end of a process that takes no records any more. Whether the next one waits.
    async fn look_after_last(&mut self) -> bool {
        let serves = |child: &mut Child<Outstanding>| {
            child.has_stdin() && child.status().is_none() && !child.stdout.is_closed()
        };
        let Some(child) = self.child.take_if(|child| !serves(child)) else { return false };
        let (ran, outstanding) = (ran_by_itself(&child), Arc::clone(&child.stdout));
        let status = self.finish(child).await;
        let wait = self.wait_after(ran, status, &outstanding);
        self.pause.begin(wait);
        !wait.is_zero()
    }

    /// How long the next process waits after one that ended by itself after it ran for so long. One that had answered everything and
    /// says that it is done is no failure.
    fn wait_after(
        &mut self,
        ran: Option<Duration>,
        status: ExitStatus,
        outstanding: &Outstanding,
    ) -> Duration {
        let is_done = status.success() && outstanding.left().is_none();
        ran.filter(|_| !is_done).map_or(Duration::ZERO, |ran| self.restarts.ended_after(ran))
    }

    /// Sees to it that there is a process which takes records.
    async fn ready(&mut self) -> Result<(), HandlerError> {
        if self.child.is_some() {
            return Ok(());
        }
        let mut child = self.pool.take().await?;
        child.assign(&self.shard);
        child.stdout.begin_at(self.first_number());
        let outstanding = Arc::clone(&child.stdout);
        if self.probation {
            let over = async {
                tokio::select! {
                    _ = child.ended() => {}
                    () = outstanding.until_closed() => {}
                }
            };
            let _ = timeout(PROBATION, over).await;
        }
        if outstanding.is_closed() || child.status().is_some() {
            let status = self.stop(child).await;
            return Err(format!("the program ended before it got a record: {status}").into());
        }
        let spawner = self.pool.spawner();
        if let Some(limit) = spawner.settings.batch_timeout {
            let (outstanding, watch) = (Arc::clone(&child.stdout), child.watch());
            let (events, child) = (spawner.events.clone(), watch.clone());
            spawner.tracker.spawn(async move {
                if events.guard("batch timeout", outstanding.end_when_silent(watch, limit)).await.is_none() {
                    child.kill(KillReason::Unwatched);
                }
            });
        }
        if !self.probation {
            self.failures.succeeded();
        }
        self.child = Some(child);
        Ok(())
    }

    /// Where the numbers of a process begin. Far from those that programs write for other ends, and a number also where all are
    /// floating point ones: below 2^53.
    fn first_number(&self) -> u64 {
        let random = self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        (1 << 32) + (random >> 16)
    }

    /// Waits until a process has ended that gets nothing more. One that closed its output and goes on is ended by force: what it does
    /// nobody would hear of.
    async fn stop(&self, mut child: Child<Outstanding>) -> ExitStatus {
        if child.stdout.is_closed() && timeout(LAST_WORDS, child.ended()).await.is_err() {
            child.kill(KillReason::ClosedOutput);
        }
        child.stop(self.pool.spawner().settings.stop_timeout).await
    }

    /// Tells a process that nothing more comes, and waits until it has answered everything and ended.
    async fn finish(&mut self, mut child: Child<Outstanding>) -> ExitStatus {
        let outstanding = Arc::clone(&child.stdout);
        if outstanding.is_closed() {
            let status = self.stop(child).await;
            self.note_end(&outstanding).await;
            return status;
        }
        child.close_stdin();
        tokio::select! {
            () = outstanding.until_settled() => {}
            _ = child.ended() => {}
        }
        let status = child.stop(self.pool.spawner().settings.stop_timeout).await;
        self.note_end(&outstanding).await;
        status
    }

    /// Notes what a process left unanswered that has ended.
    async fn note_end(&mut self, outstanding: &Outstanding) {
        if timeout(LAST_WORDS, outstanding.until_closed()).await.is_err() {
            outstanding.closed();
        }
        let left = outstanding.left();
        self.one_by_one = self.one_by_one.max(left);
        self.probation = left.is_some() && !outstanding.has_answered();
    }

    /// Gives the records to the process; with `waits` returns once all are answered.
    async fn give(&mut self, batch: Batch, waits: bool) -> Result<(), HandlerError> {
        // Out of its place: a process that has got half a line, or works on a call that was given up, is of no use.
        let Some(mut child) = self.child.take() else { return Err("there is no process".into()) };
        let outstanding = Arc::clone(&child.stdout);
        let records = batch.clone();
        let (mut lines, mut last) = (Vec::new(), 0);
        for (record, token) in batch.into_acks() {
            // One that has ended takes nothing more.
            let Some(number) = outstanding.add(&record, token) else { continue };
            last = number;
            write_record(number, &record, &records, &mut lines);
        }
        let answered = async {
            if child.write(&lines).await.is_err() || !waits {
                return !waits;
            }
            tokio::select! {
                answered = outstanding.until_answered_through(last) => answered,
                _ = child.ended() => false,
            }
        };
        let answered = tokio::select! {
            answered = answered => answered,
            () = records.cancelled() => return Err("the shard has left this worker".into()),
        };
        if answered || !waits {
            if answered && waits {
                self.failures.succeeded();
                self.probation = false;
            }
            self.child = Some(child);
            return Ok(());
        }
        // Its end and that of its input are noticed in any order.
        let _ = timeout(LAST_WORDS, child.ended()).await;
        let never_began = child.ended_by_itself() && child.has_read_nothing();
        let ran = ran_by_itself(&child);
        // All of its answers count, also those that it wrote last.
        let status = self.stop(child).await;
        self.note_end(&outstanding).await;
        if outstanding.left().is_some() && never_began && !outstanding.has_answered() {
            // The records are given back by now.
            let error = format!("the program ended before it read a record: {status}").into();
            self.pause.begin(self.failures.failed(self.pool.spawner(), &self.shard, &error));
            return Ok(());
        }
        let wait = self.wait_after(ran, status, &outstanding);
        self.pause.begin(wait);
        match outstanding.left() {
            None => Ok(()),
            Some(_) => Err(format!("the program ended before it answered: {status}").into()),
        }
    }
}

/// For how long a process had its shard that ended by itself, or is about to: one that has closed its output. `None` also where it has
/// looked at nothing: that is a failure to start.
fn ran_by_itself(child: &Child<Outstanding>) -> Option<Duration> {
    let by_itself = child.ended_by_itself() || child.status().is_none() && child.stdout.is_closed();
    (by_itself && !child.has_read_nothing()).then(|| child.age())
}

impl RecordProcessor for LinesProcessor {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        if !self.pause.is_over(&batch).await {
            give_back(&batch);
            return Ok(());
        }
        if self.look_after_last().await {
            batch.ack_token().give_back_because(self.restarts.reason());
            return Ok(());
        }
        if let Err(error) = self.ready().await {
            let retry_in = self.failures.failed(self.pool.spawner(), &self.shard, &error);
            self.pause.begin(retry_in);
            batch.ack_token().give_back_because(error);
            return Ok(());
        }
        let waits = self.one_by_one.is_some() || batch.attempt() > 1;
        let last = batch.records().last().map(|record| record.sequence_number);
        let result = self.give(batch, waits).await;
        if result.is_ok() && !self.probation && self.one_by_one <= last {
            self.one_by_one = None;
        }
        result
    }

    async fn shard_ended(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        if let Some(child) = self.child.take() {
            self.finish(child).await;
        }
        Ok(())
    }

    async fn shutdown_requested(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        if let Some(child) = self.child.take() {
            self.finish(child).await;
        }
        Ok(())
    }

    async fn lease_lost(&mut self, _: &ShardContext, _: LeaseLostReason) {
        if let Some(child) = self.child.take() {
            child.kill(KillReason::GivenUp);
        }
    }
}

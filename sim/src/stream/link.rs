//! One worker's link to the stream, with the faults on it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rokini::{Error, ErrorKind};
use rokini_lease::ShardId;
use rokini_local::ModelRequest;
use tokio::time::sleep;

use super::model::{ShardFault, SimStream, refused};
use crate::process_gate::ProcessGate;

const CALL: Duration = Duration::from_millis(5);
/// The real client gives up a call that gets no answer; so does this one.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// A defect of the reader, to show that the checks see what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderBug {
    /// Drops a record now and then.
    DropsRecords,
    /// Swaps two records of one key now and then.
    SwapsRecords,
    /// Brings a response twice now and then.
    RepeatsResponses,
    /// Holds a response back for so long now and then.
    DelaysResponses(Duration),
    /// Reads no more once a shard was quiet for a while.
    FallsAsleep,
}

/// A link to a stream. Clones share its faults.
#[derive(Clone)]
pub struct Link {
    stream: SimStream,
    state: Arc<Mutex<State>>,
    gate: Option<ProcessGate>,
}

struct State {
    rng: StdRng,
    failures: f64,
    black_hole: bool,
    bug: Option<ReaderBug>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.stream.name())
    }
}

impl Link {
    /// A link to the stream; the seed decides delays and failures.
    #[must_use]
    pub fn new(stream: SimStream, seed: u64) -> Self {
        let state = State { rng: StdRng::seed_from_u64(seed), failures: 0.0, black_hole: false, bug: None };
        Self { stream, state: Arc::new(Mutex::new(state)), gate: None }
    }

    /// The link of a worker that can be frozen, and crash in any call.
    #[must_use]
    pub(crate) fn behind(mut self, gate: ProcessGate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Each call fails with this probability.
    pub fn fail(&self, probability: f64) {
        self.state().failures = probability;
    }

    /// Calls are not answered at all, until this ends.
    pub fn black_hole(&self, on: bool) {
        self.state().black_hole = on;
    }

    /// Gives the link a defect.
    pub fn set_bug(&self, bug: ReaderBug) {
        self.state().bug = Some(bug);
    }

    /// Whether the defect shows now.
    pub(super) fn shown_bug(&self) -> Option<ReaderBug> {
        let mut state = self.state();
        let bug = state.bug?;
        state.rng.random_bool(0.2).then_some(bug)
    }

    /// Whether readers of shards that are quiet stop.
    pub(super) fn falls_asleep(&self) -> bool {
        self.state().bug == Some(ReaderBug::FallsAsleep)
    }

    pub(super) fn stream(&self) -> &SimStream {
        &self.stream
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way of a call to the stream, with all that can happen on it.
    pub(super) async fn reach(&self, shard: Option<&ShardId>) -> Result<(), Error> {
        if let Some(gate) = &self.gate {
            gate.before().await.map_err(|_| no_answer())?;
        }
        let (delay, failed) = {
            let mut state = self.state();
            let spread = state.rng.random_range(0..20);
            let failures = state.failures;
            (CALL + Duration::from_millis(spread), state.rng.random_bool(failures))
        };
        sleep(delay).await;
        let fault = shard.and_then(|shard| self.stream.faults().get(shard).copied());
        if self.state().black_hole || fault == Some(ShardFault::Silent) {
            sleep(CALL_TIMEOUT).await;
            return Err(no_answer());
        }
        match fault {
            Some(ShardFault::Throttled) => Err(Error::new(ErrorKind::Retry, "asked for too much")),
            Some(ShardFault::Gone) => Err(Error::new(ErrorKind::Data, "the stream has no such shard")),
            Some(_) => Err(Error::new(ErrorKind::Retry, "this shard cannot be read")),
            None if failed => Err(Error::new(ErrorKind::Retry, "the connection was cut")),
            None => Ok(()),
        }
    }

    pub(super) async fn call<R: ModelRequest>(
        &self,
        shard: Option<&ShardId>,
        request: &R,
    ) -> Result<R::Response, Error> {
        self.reach(shard).await?;
        let answer = self.stream.service.call(request).map_err(|error| refused(&error));
        self.returned().await?;
        answer
    }

    /// The way back of an answer.
    pub(super) async fn returned(&self) -> Result<(), Error> {
        match &self.gate {
            Some(gate) => gate.after().await.map_err(|_| no_answer()),
            None => Ok(()),
        }
    }

    /// Whether nothing comes through at present.
    pub(super) fn is_black_hole(&self) -> bool {
        self.state().black_hole
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Retry, "no answer")
}

//! One worker's link to the stream, with its disturbances.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use rokini::{
    Error, ErrorKind, ShardDescription, ShardReader, ShardSelection, StreamDescription, StreamSource,
    select_shards,
};
use rokini_lease::{Position, ShardId, StreamId};
use rokini_local::wire::shapes::shard::ShardFilter;
use rokini_local::wire::shapes::stream::DescribeStreamSummaryRequest;
use rokini_local::wire::{Operation, ShardFilterType, Timestamp};
use rokini_local::{Model, Serve};
use tokio::time::sleep;

use super::reader::Reader;
use super::{ShardFault, SimStream, refused, unreadable};
use crate::gate::Gate;

const CALL: Duration = Duration::from_millis(5);
/// The real client gives up a call that gets no answer; so does this one.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// A defect of the reader, to show that the judge sees what it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Loses a record now and then.
    Loses,
    /// Swaps two records of one key now and then.
    Swaps,
    /// Brings a response twice now and then.
    Repeats,
    /// Holds a response back for so long now and then.
    Dawdles(Duration),
}

/// A link to a stream. Clones share its disturbances.
#[derive(Clone)]
pub struct Link {
    stream: SimStream,
    state: Arc<Mutex<State>>,
    gate: Option<Gate>,
}

struct State {
    rng: StdRng,
    failures: f64,
    black_hole: bool,
    mischief: Option<Mischief>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.stream.name)
    }
}

impl Link {
    pub(super) fn new(stream: SimStream, rng: StdRng) -> Self {
        let state = State { rng, failures: 0.0, black_hole: false, mischief: None };
        Self { stream, state: Arc::new(Mutex::new(state)), gate: None }
    }

    /// The link of a worker that can be frozen, and die in any call.
    #[must_use]
    pub(crate) fn behind(mut self, gate: Gate) -> Self {
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
    pub fn misbehave(&self, mischief: Mischief) {
        self.state().mischief = Some(mischief);
    }

    /// Whether the defect shows now.
    pub(super) fn mischief(&self) -> Option<Mischief> {
        let mut state = self.state();
        let mischief = state.mischief?;
        state.rng.random_bool(0.2).then_some(mischief)
    }

    pub(super) fn stream(&self) -> &SimStream {
        &self.stream
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way of a call to the stream, with all that can happen on it.
    async fn reach(&self, shard: Option<&ShardId>) -> Result<(), Error> {
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
            Some(_) => Err(Error::new(ErrorKind::Retry, "this shard cannot be read")),
            None if failed => Err(Error::new(ErrorKind::Retry, "the connection was cut")),
            None => Ok(()),
        }
    }

    pub(super) async fn call<R: Operation + Sync>(
        &self,
        shard: Option<&ShardId>,
        request: &R,
    ) -> Result<R::Response, Error>
    where
        Model: Serve<R>,
    {
        self.reach(shard).await?;
        let answer = self.stream.service.call(request).map_err(|error| refused(&error));
        if let Some(gate) = &self.gate {
            gate.after().await.map_err(|_| no_answer())?;
        }
        answer
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Retry, "no answer")
}

#[async_trait]
impl StreamSource for Link {
    async fn describe(&self) -> Result<StreamDescription, Error> {
        let request = DescribeStreamSummaryRequest {
            stream_name: Some(self.stream.name().to_owned()),
            ..Default::default()
        };
        let summary = self.call(None, &request).await?.stream_description_summary;
        let created = summary.stream_creation_timestamp.millis();
        let name = self.stream.name();
        Ok(StreamDescription {
            name: name.to_owned(),
            id: StreamId::new(format!("{name}@{created}")).map_err(|_| unreadable("a usable name"))?,
            now_millis: self.stream.now_millis(),
            retention: Duration::from_secs(24 * 3600),
        })
    }

    async fn list_shards(&self, which: ShardSelection) -> Result<Vec<ShardDescription>, Error> {
        let filter = |kind, timestamp| Some(ShardFilter { kind, shard_id: None, timestamp });
        let filter = match which {
            ShardSelection::All => None,
            ShardSelection::Latest => filter(ShardFilterType::AtLatest, None),
            ShardSelection::TrimHorizon => filter(ShardFilterType::AtTrimHorizon, None),
            ShardSelection::AtTimestamp(millis) => {
                filter(ShardFilterType::AtTimestamp, Some(Timestamp::from_millis(millis as i64)))
            }
        };
        self.reach(None).await?;
        self.stream.changes.listings.fetch_add(1, Ordering::Relaxed);
        Ok(select_shards(self.stream.list(filter)?, which))
    }

    async fn open(&self, shard: &ShardId, at: &Position) -> Result<Box<dyn ShardReader>, Error> {
        Ok(Box::new(Reader::new(self.clone(), shard.clone(), *at)))
    }
}

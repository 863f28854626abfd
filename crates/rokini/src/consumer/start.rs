//! The steps before the first record: open streams, join the group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use rokini_lease::{
    AssignmentPolicy, JoinAttempts, JoinError, LeaseStore, Member, MemberConfig, MemberEvents, StreamId,
    WallClock, WorkerName,
};
use tokio::time::{Instant, sleep};

use crate::catalog::leases::Catalog;
use crate::catalog::streams::OpenStream;
use crate::config::{Retrieval, Settings};
use crate::source::stream_source::StreamSource;
use crate::types::backoff::{COORDINATION, Retry};
use crate::types::error::Error;
use crate::types::log_limiter::LogLimiter;
use crate::types::stream_ref::StreamRef;

/// How long the start waits for what passes by itself: a start that cannot succeed should say so while somebody
/// watches.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks of a worker whose records come within milliseconds: a hand-over waits for one. Three times as many as usual cost
/// 0.22 USD a month and worker, a hundredth of what fan-out does.
const PROMPT_LOOK: Duration = Duration::from_millis(500);

pub(super) type Joined = (Member, MemberEvents);

/// A stream with its start position and leases stored, before anything is delivered.
pub(super) async fn open(
    catalog: &Catalog,
    source: Arc<dyn StreamSource>,
    expected: &[StreamRef],
    retrieval: Retrieval,
    rng: StdRng,
) -> Result<OpenStream, Error> {
    let mut tries = Tries::new("the start", Some(START_PATIENCE), rng);
    tries.run(|| async { Ok(catalog.store.init().await?) }).await?;
    let stream = tries.run(|| catalog.open(&source, expected)).await?;
    tries.run(|| catalog.begin(&stream)).await?;
    if retrieval == Retrieval::FanOut {
        tries.run(|| catalog.consumer(&stream)).await?;
    }
    Ok(stream)
}

/// Whoever joins a group.
pub(super) struct Joining<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) clock: &'a WallClock,
    pub(super) name: &'a WorkerName,
    pub(super) member: MemberConfig,
}

impl Joining<'_> {
    pub(super) async fn run(self, patience: Option<Duration>, mut rng: StdRng) -> Result<Joined, Error> {
        let mut tries = Tries::new("joining the group", patience, StdRng::from_rng(&mut rng));
        let attempts = JoinAttempts::new(rng.random());
        let attempt = || {
            let store: Arc<dyn LeaseStore> = Arc::clone(&self.catalog.store);
            let (group, clock) = (self.catalog.group.clone(), self.clock.clone());
            let (name, member) = (self.name.clone(), self.member.clone());
            let attempts = &attempts;
            async move {
                Member::join(store, group, name, member, clock, attempts).await.map_err(|error| match error {
                    JoinError::Store(error) => Error::from(error),
                    other => Error::configuration(other.to_string()),
                })
            }
        };
        tries.run(attempt).await
    }
}

/// The part of the settings that is the lease crate's.
pub(super) fn member_config(
    settings: &Settings,
    policy: AssignmentPolicy,
    streams: BTreeSet<StreamId>,
) -> MemberConfig {
    let mut member = MemberConfig::default();
    member.heartbeat = settings.heartbeat_interval();
    member.failover = settings.failover;
    member.policy = policy;
    member.max_leases = settings.max_leases.map(std::num::NonZero::get);
    member.streams = Some(streams);
    member.unique_worker_names = settings.unique_worker_names;
    if settings.retrieval == Retrieval::FanOut {
        member.look = PROMPT_LOOK;
    }
    // A longer heartbeat than usual is for a cheaper fleet, so the listings become rarer with it.
    member.reconcile = member.reconcile.max(member.heartbeat);
    member
}

/// Calls that are made again while their errors may pass.
struct Tries {
    what: &'static str,
    /// When to give up; `None` for never.
    give_up: Option<Instant>,
    retry: Retry,
    warn: LogLimiter,
}

impl Tries {
    fn new(what: &'static str, patience: Option<Duration>, rng: StdRng) -> Self {
        let give_up = patience.map(|patience| Instant::now() + patience);
        Self { what, give_up, retry: Retry::new(COORDINATION, rng), warn: LogLimiter::default() }
    }

    async fn run<T, F>(&mut self, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            let error = match call().await {
                Ok(value) => {
                    self.retry.succeeded();
                    return Ok(value);
                }
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            let retry_in = self.retry.failed();
            if self.give_up.is_some_and(|give_up| Instant::now() + retry_in > give_up) {
                return Err(error);
            }
            if let Some(more) = self.warn.allow(Instant::now()) {
                tracing::warn!(?retry_in, more, %error, "{} failed, trying again", self.what);
            }
            sleep(retry_in).await;
        }
    }
}

//! The steps before the first record: open streams, join the group.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rokini_lease::{JoinError, LeaseStore, Member, MemberConfig, MemberEvent, WorkerName};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::engine::Engine;
use crate::catalog::streams::OpenStream;
use crate::types::backoff::{COORDINATION, Retry};
use crate::types::log_limiter::LogLimiter;
use crate::{Error, ErrorKind, StreamRef, StreamSource};

/// How long the start waits for what passes by itself: a start that cannot succeed should say so while somebody
/// watches.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Joined = (Member, mpsc::UnboundedReceiver<MemberEvent>);

/// A stream with its start position and leases stored, before anything is delivered.
pub(crate) async fn open(
    engine: &Engine,
    source: Arc<dyn StreamSource>,
    expected: &[StreamRef],
    rng: StdRng,
) -> Result<OpenStream, Error> {
    let catalog = &engine.catalog;
    let mut tries = Tries::new("the start", Some(START_PATIENCE), rng);
    tries.run(|| async { Ok(catalog.store.init().await?) }).await?;
    let stream = tries.run(|| catalog.open(&source, expected, &engine.config.start)).await?;
    tries.run(|| catalog.begin(&stream)).await?;
    Ok(stream)
}

pub(super) async fn join(
    engine: &Engine,
    name: &WorkerName,
    patience: Option<Duration>,
    mut rng: StdRng,
) -> Result<Joined, Error> {
    let config = &engine.config;
    let mut member = MemberConfig::default();
    member.heartbeat = config.heartbeat;
    member.failover = config.failover;
    member.policy = engine.policy.clone();
    member.max_leases = config.max_leases.map(std::num::NonZero::get);
    member.streams = Some(engine.streams.all().keys().cloned().collect());
    member.unique_worker_names = config.unique_worker_names;
    // A longer heartbeat than usual is for a cheaper fleet, so the listings become rarer with it.
    member.reconcile = member.reconcile.max(config.heartbeat);
    let mut tries = Tries::new("joining the group", patience, StdRng::from_rng(&mut rng));
    let attempt = || {
        let store: Arc<dyn LeaseStore> = Arc::clone(&engine.catalog.store);
        let (group, clock) = (engine.catalog.group.clone(), engine.clock.clone());
        let rng = StdRng::from_rng(&mut rng);
        let joining = Member::join(store, group, name.clone(), member.clone(), clock, rng, &engine.tracker);
        async {
            joining.await.map_err(|error| match error {
                JoinError::Store(error) => Error::from(error),
                other => Error::new(ErrorKind::Configuration, other.to_string()),
            })
        }
    };
    tries.run(attempt).await
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

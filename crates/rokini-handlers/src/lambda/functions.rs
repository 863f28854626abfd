//! The processes of a function: any of them takes any event, so shards share them.

use std::ffi::OsString;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rokini::HandlerError;
use rokini::lease::WallClock;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::runtime_api::{FunctionResult, InitState, Invocation, RuntimeApi};
use crate::child::{Child, NoMessages, Spawner};
use crate::event::KillReason;
use crate::pool::WARM_UP;

/// After so long without an event a process that is not a spare is ended.
const IDLE: Duration = Duration::from_secs(60);
/// What a function is told where nothing limits it: the most that Lambda grants.
const LONGEST: Duration = Duration::from_secs(900);

/// What a function is told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionSettings {
    /// Its name.
    pub name: String,
    /// Its ARN, where it is not that of a function of this name in the account and region of its stream.
    pub arn: Option<String>,
    /// Its memory in MB, as it is told; nothing enforces it. Default 128, as for a function of Lambda.
    pub memory_mb: u32,
    /// Whether its results are read for `batchItemFailures`. Default `true`.
    pub report_batch_item_failures: bool,
}

impl FunctionSettings {
    /// Of a function of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), arn: None, memory_mb: 128, report_batch_item_failures: true }
    }
}

/// A process that takes events.
#[derive(Debug)]
struct Function {
    child: Child<NoMessages>,
    api: RuntimeApi,
    since: Instant,
}

/// The processes of a function.
#[derive(Debug)]
pub(super) struct Functions {
    pub(super) spawner: Spawner,
    pub(super) settings: FunctionSettings,
    clock: WallClock,
    rng: Mutex<StdRng>,
    idle: Mutex<Vec<Function>>,
    /// Spares that are being started.
    starting: AtomicUsize,
    region: String,
    closed: CancellationToken,
}

impl Functions {
    pub(super) fn new(
        spawner: Spawner,
        settings: FunctionSettings,
        region: String,
        clock: WallClock,
        seed: u64,
    ) -> Arc<Self> {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        let (idle, starting, closed) = (Mutex::default(), AtomicUsize::new(0), CancellationToken::new());
        let functions = Arc::new(Self { spawner, settings, clock, rng, idle, starting, region, closed });
        functions.refill();
        functions
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Function>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn environment(&self, api: &RuntimeApi) -> Vec<(String, String)> {
        let FunctionSettings { name, memory_mb, .. } = &self.settings;
        let handler = self.spawner.settings.command.last().cloned().map(OsString::into_string);
        let pairs = [
            ("AWS_LAMBDA_RUNTIME_API", api.address.to_string()),
            ("_HANDLER", handler.and_then(Result::ok).unwrap_or_default()),
            ("LAMBDA_TASK_ROOT", ".".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("rokini/{}", api.address.port())),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Starts a process and waits until it is ready for events.
    async fn start(&self) -> Result<Function, HandlerError> {
        let limit = self.spawner.settings.start_timeout;
        let api = RuntimeApi::start(&self.spawner.tracker).await;
        let mut api =
            api.map_err(|error| io::Error::other(format!("no port for the Runtime API: {error}")))?;
        let mut child = self.spawner.spawn(Arc::new(NoMessages), &self.environment(&api))?;
        let initialized = timeout(limit, async {
            tokio::select! {
                biased;
                state = api.initialized() => Ok(state),
                status = child.ended() => Err(status),
            }
        });
        match initialized.await {
            Ok(Ok(InitState::Ready)) => Ok(Function { child, api, since: Instant::now() }),
            Ok(Ok(InitState::Failed(error))) => {
                child.terminate(self.spawner.settings.stop_timeout).await;
                Err(format!("the function cannot start: {error}").into())
            }
            Ok(Ok(InitState::Starting)) => Err("the function is not ready".into()),
            Ok(Err(status)) => Err(format!("the function ended before it was ready: {status}").into()),
            Err(_) => {
                child.kill(KillReason::Start(limit));
                Err(format!("the function was not ready within {limit:?}").into())
            }
        }
    }

    /// A process that works on nothing.
    async fn take(self: &Arc<Self>) -> Result<Function, HandlerError> {
        let waiting = {
            let mut idle = self.idle();
            idle.retain(|function| function.child.status().is_none());
            idle.pop()
        };
        let function = match waiting {
            Some(function) => Ok(function),
            None => self.start().await,
        };
        if function.is_ok() {
            self.refill();
        }
        function
    }

    /// It works on nothing any more. Those that have worked on nothing for long are ended.
    fn put_back(self: &Arc<Self>, mut function: Function) {
        if function.child.status().is_some() || self.closed.is_cancelled() {
            return;
        }
        function.since = Instant::now();
        let mut idle = self.idle();
        idle.push(function);
        // The longest idle ones are in front: they are taken from the back.
        while idle.len() > self.spawner.settings.spares
            && idle.first().is_some_and(|function| function.since.elapsed() > IDLE)
        {
            let limit = self.spawner.settings.stop_timeout;
            let child = idle.remove(0).child;
            self.spawner.tracker.spawn(child.terminate(limit));
        }
    }

    /// Sees to it that as many wait as are to be ready ahead of need. One that cannot be started is started when it is
    /// needed: then somebody hears of it.
    fn refill(self: &Arc<Self>) {
        {
            // Under this lock, so that two do not start what only one is missing.
            let idle = self.idle();
            let there = idle.len() + self.starting.load(Ordering::Relaxed);
            if there >= self.spawner.settings.spares || self.closed.is_cancelled() {
                return;
            }
            self.starting.fetch_add(1, Ordering::Relaxed);
        }
        drop(self.start_ahead());
    }

    /// Starts so many for shards that are about to come, and waits until they are ready, for [`WARM_UP`] at most.
    pub(super) async fn warm(self: &Arc<Self>, count: usize) {
        let missing = {
            let idle = self.idle();
            let missing = count.saturating_sub(idle.len() + self.starting.load(Ordering::Relaxed));
            self.starting.fetch_add(missing, Ordering::Relaxed);
            missing
        };
        let starting: Vec<_> = (0..missing).map(|_| self.start_ahead()).collect();
        let _ = timeout(WARM_UP, async {
            for started in starting {
                let _ = started.await;
            }
        })
        .await;
    }

    /// Starts one that is counted among those that are being started.
    fn start_ahead(self: &Arc<Self>) -> JoinHandle<()> {
        let functions = Arc::clone(self);
        self.spawner.tracker.spawn(async move {
            let started = tokio::select! {
                started = functions.start() => started.ok(),
                () = functions.closed.cancelled() => None,
            };
            functions.starting.fetch_sub(1, Ordering::Relaxed);
            if let Some(function) = started {
                functions.put_back(function);
            }
        })
    }

    fn random(&self) -> (u64, u64) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        (rng.next_u64(), rng.next_u64())
    }

    /// A request id: a UUID of version 4.
    fn request_id(&self) -> String {
        let (high, low) = self.random();
        let high = high & !0xf000 | 0x4000;
        let low = low & (!0 >> 2) | 1 << 63;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// A trace that nobody samples, in the form of X-Ray.
    fn trace_id(&self, now_millis: u64) -> String {
        let ((first, second), (parent, _)) = (self.random(), self.random());
        let unique = (u128::from(first) << 64 | u128::from(second)) >> 32;
        format!("Root=1-{:08x}-{unique:024x};Parent={parent:016x};Sampled=0", now_millis / 1_000)
    }

    /// Has a process work on an event. An error outside means that none could be started.
    pub(super) async fn invoke(
        self: &Arc<Self>,
        shard: &str,
        function_arn: String,
        event: Bytes,
    ) -> Result<FunctionResult, HandlerError> {
        let mut function = self.take().await?;
        function.child.assign(shard);
        let limit = self.spawner.settings.batch_timeout;
        let now = self.clock.millis();
        let granted = u64::try_from(limit.unwrap_or(LONGEST).as_millis()).unwrap_or(u64::MAX);
        let invocation = Invocation {
            id: self.request_id(),
            deadline_millis: now.saturating_add(granted),
            function_arn,
            trace_id: self.trace_id(now),
            event,
        };
        // A call that is given up ends the process: it is in the middle of something that nobody waits for.
        let Function { child, api, .. } = &mut function;
        let answered = async {
            tokio::select! {
                biased;
                result = api.invoke(invocation) => result,
                status = child.ended() => {
                    FunctionResult::Error(format!("the function's process ended: {status}"))
                }
            }
        };
        let result = match limit {
            Some(limit) => timeout(limit, answered).await.ok(),
            None => Some(answered.await),
        };
        match result {
            Some(result) => {
                if function.api.is_idle() {
                    self.put_back(function);
                }
                Ok(result)
            }
            None => {
                let limit = limit.unwrap_or_default();
                function.child.kill(KillReason::Answer(limit));
                Ok(FunctionResult::Error(format!("the function did not answer within {limit:?}")))
            }
        }
    }

    /// Ends those that wait.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        let idle = std::mem::take(&mut *self.idle());
        let limit = self.spawner.settings.stop_timeout;
        let ends: JoinSet<_> = idle.into_iter().map(|function| function.child.terminate(limit)).collect();
        ends.join_all().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::HandlerContext;
    use crate::settings::ProcessSettings;

    #[tokio::test]
    async fn ids_have_the_form_that_functions_know() {
        let mut settings = ProcessSettings::new(["true"]);
        settings.spares = 0;
        let spawner = Spawner::new(settings, &HandlerContext::new(1));
        let function = FunctionSettings::new("f");
        let functions = Functions::new(spawner, function, "us-east-1".to_owned(), WallClock::default(), 1);
        for _ in 0..100 {
            let id = functions.request_id();
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
            let trace = functions.trace_id(1_700_000_000_000);
            let (root, rest) = trace.split_once(';').unwrap();
            assert!(root.starts_with("Root=1-6553f100-") && root.len() == 40, "{trace}");
            assert!(
                rest.starts_with("Parent=") && rest.ends_with(";Sampled=0") && rest.len() == 33,
                "{trace}"
            );
        }
    }
}

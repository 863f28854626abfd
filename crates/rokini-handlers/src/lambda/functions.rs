//! The processes of a function: any of them takes any event, so shards share them.

use std::ffi::OsString;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rokini::HandlerError;
use rokini::lease::WallClock;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::runtime_api::{FunctionResult, InitState, Invocation, RuntimeApi};
use crate::child::{Child, NoMessages, Spawner};
use crate::event::KillReason;
use crate::pool::WARM_UP;
use crate::settings::ProcessSettings;
use crate::starts::LONGEST_START;

/// What a function is told where nothing limits it: the most that Lambda grants.
const LONGEST: Duration = Duration::from_secs(900);

/// The version of a function that nobody published.
pub(super) const LATEST: &str = "$LATEST";

/// To so many processes in a row an event is offered that end without taking it, before its records wait: those that are ending
/// are taken from among those that wait.
const TAKERS: usize = 3;

/// What a function is told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionSettings {
    /// Its name.
    pub name: String,
    /// Its ARN, where it is not that of a function of this name in the account and region of its stream.
    pub arn: Option<String>,
    /// Its version. Default `$LATEST`.
    pub version: String,
    /// Its memory in MB, as it is told; nothing enforces it. Default 128, as for a function of Lambda.
    pub memory_mb: u32,
    /// Whether its results are read for `batchItemFailures`. Default `true`.
    pub report_batch_item_failures: bool,
}

impl FunctionSettings {
    /// Of a function of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arn: None,
            version: LATEST.to_owned(),
            memory_mb: 128,
            report_batch_item_failures: true,
        }
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
    /// Those that have waited longest are in front: they are taken from the back.
    idle: Mutex<Vec<Function>>,
    is_swept: AtomicBool,
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
        let (idle, is_swept, starting) = (Mutex::default(), AtomicBool::new(false), AtomicUsize::new(0));
        let closed = CancellationToken::new();
        let functions = Self { spawner, settings, clock, rng, idle, is_swept, starting, region, closed };
        let functions = Arc::new(functions);
        functions.refill();
        functions
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Function>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn environment(&self, api: &RuntimeApi) -> Vec<(String, String)> {
        let FunctionSettings { name, version, memory_mb, .. } = &self.settings;
        let handler = self.spawner.settings.command.last().cloned().map(OsString::into_string);
        let pairs = [
            ("AWS_LAMBDA_RUNTIME_API", api.address.to_string()),
            ("_HANDLER", handler.and_then(Result::ok).unwrap_or_default()),
            ("LAMBDA_TASK_ROOT", ".".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", version.clone()),
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
        let mut place = Some(self.spawner.starts.place().await);
        let api = RuntimeApi::start(&self.spawner.tracker, &self.spawner.events).await;
        let mut api =
            api.map_err(|error| io::Error::other(format!("no port for the Runtime API: {error}")))?;
        let mut child = self.spawner.spawn(Arc::new(NoMessages), &self.environment(&api))?;
        let next_place = Instant::now() + LONGEST_START;
        let initialized = timeout(limit, async {
            loop {
                tokio::select! {
                    biased;
                    state = api.initialized() => return Ok(state),
                    status = child.ended() => return Err(status),
                    () = sleep_until(next_place), if place.is_some() => place = None,
                }
            }
        });
        let initialized = initialized.await;
        drop(place);
        match initialized {
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

    /// It works on nothing any more.
    fn put_back(self: &Arc<Self>, mut function: Function) {
        if function.child.status().is_some() || self.closed.is_cancelled() {
            return;
        }
        function.since = Instant::now();
        let is_unswept = {
            let mut idle = self.idle();
            idle.push(function);
            idle.len() > self.spawner.settings.spares && !self.is_swept.swap(true, Ordering::AcqRel)
        };
        if is_unswept {
            let functions = Arc::clone(self);
            self.spawner.tracker.spawn(async move {
                let swept = functions.spawner.events.guard("surplus functions", functions.sweep());
                tokio::select! {
                    // After a panic the next one that is put back has it begun anew.
                    swept = swept => if swept.is_none() { functions.is_swept.store(false, Ordering::Release) },
                    () = functions.closed.cancelled() => {}
                }
            });
        }
    }

    /// Ends those that have worked on nothing for long, until only spares are left.
    async fn sweep(&self) {
        let ProcessSettings { spares, idle_timeout, stop_timeout, .. } = *self.spawner.settings;
        loop {
            let next = {
                let mut idle = self.idle();
                let surplus = idle.len().saturating_sub(spares);
                let old =
                    idle.iter().take(surplus).take_while(|one| one.since.elapsed() >= idle_timeout).count();
                for function in idle.drain(..old) {
                    self.spawner.guarded("surplus function", function.child.terminate(stop_timeout));
                }
                let next =
                    (surplus > old).then(|| idle.first().map(|first| first.since + idle_timeout)).flatten();
                // Under this lock, so that whoever puts one back sees whether somebody looks after it.
                self.is_swept.store(next.is_some(), Ordering::Release);
                next
            };
            let Some(next) = next else { return };
            sleep_until(next).await;
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
            let starting = functions.spawner.events.guard("function ahead of need", functions.start());
            let started = tokio::select! {
                started = starting => started.and_then(Result::ok),
                () = functions.closed.cancelled() => None,
            };
            functions.starting.fetch_sub(1, Ordering::Relaxed);
            if let Some(function) = started {
                functions.put_back(function);
            }
        })
    }

    /// For a processor's own random numbers.
    pub(super) fn seed(&self) -> u64 {
        self.random().0
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

    /// Has a process work on an event. An error outside means that none could be started, or that none took the event: nobody has
    /// looked at it.
    pub(super) async fn invoke(
        self: &Arc<Self>,
        shard: &str,
        function_arn: String,
        event: Bytes,
    ) -> Result<FunctionResult, HandlerError> {
        for _ in 0..TAKERS {
            let taken = Arc::new(AtomicBool::new(false));
            let result = self.invoke_one(shard, &function_arn, &event, &taken).await?;
            if taken.load(Ordering::Acquire) {
                return Ok(result);
            }
        }
        Err("one process of the function after another ended without asking for the next event".into())
    }

    /// Offers an event to one process.
    async fn invoke_one(
        self: &Arc<Self>,
        shard: &str,
        function_arn: &str,
        event: &Bytes,
        taken: &Arc<AtomicBool>,
    ) -> Result<FunctionResult, HandlerError> {
        let mut function = self.take().await?;
        function.child.assign(shard);
        let limit = self.spawner.settings.batch_timeout;
        let now = self.clock.millis();
        let granted = u64::try_from(limit.unwrap_or(LONGEST).as_millis()).unwrap_or(u64::MAX);
        let invocation = Invocation {
            id: self.request_id(),
            deadline_millis: now.saturating_add(granted),
            function_arn: function_arn.to_owned(),
            trace_id: self.trace_id(now),
            event: event.clone(),
            taken: Arc::clone(taken),
        };
        // A call that is given up ends the process: it is in the middle of something that nobody waits for.
        let Function { child, api, .. } = &mut function;
        let answered = async {
            tokio::select! {
                biased;
                result = api.invoke(invocation) => result,
                status = child.ended() => {
                    FunctionResult::Ended(format!("the function's process ended: {status}"), child.age())
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::sleep;

    use super::*;
    use crate::context::HandlerContext;

    /// The processes only say where they are served; this is their runtime client, and asks for the first event.
    #[tokio::test]
    async fn m4_functions_that_nobody_needs_are_ended_and_the_spares_stay() {
        let folder = tempfile::tempdir().unwrap();
        let program =
            format!("echo $AWS_LAMBDA_RUNTIME_API >> {}/served; exec sleep 1000", folder.path().display());
        let mut settings = ProcessSettings::new(["sh", "-c", &program]);
        (settings.spares, settings.idle_timeout) = (1, Duration::from_secs(1));
        let spawner = Spawner::new(settings, &HandlerContext::new(1));
        let function = FunctionSettings::new("f");
        let functions = Functions::new(spawner, function, "us-east-1".to_owned(), WallClock::default(), 1);
        let tracker = functions.spawner.tracker.clone();
        let client = tracker.spawn(async move {
            let mut connections = Vec::new();
            loop {
                let served = std::fs::read_to_string(folder.path().join("served")).unwrap_or_default();
                for address in served.lines().skip(connections.len()) {
                    let mut connection = TcpStream::connect(address).await.unwrap();
                    let ask = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
                    connection.write_all(ask.as_bytes()).await.unwrap();
                    connections.push(connection);
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        let begun = Instant::now();
        functions.warm(4).await;
        assert_eq!(functions.idle().len(), 4);
        while functions.idle().len() > 1 {
            assert!(begun.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(10)).await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(1), "not before they have waited");
        sleep(Duration::from_secs(2)).await;
        assert_eq!((functions.idle().len(), functions.spawner.events.stats().running), (1, 1));
        functions.close().await;
        client.abort();
    }

    /// Every process asks for one event and ends, without having been given any: what it did not take is no failure.
    #[tokio::test]
    async fn m4_an_event_that_no_process_has_taken_is_no_failure_of_its_records() {
        let mut settings = ProcessSettings::new(["sh", "-c", "exit 3"]);
        settings.spares = 0;
        let spawner = Spawner::new(settings, &HandlerContext::new(1));
        let function = FunctionSettings::new("f");
        let functions = Functions::new(spawner, function, "us-east-1".to_owned(), WallClock::default(), 1);
        for _ in 0..2 * TAKERS {
            let api = RuntimeApi::start(&functions.spawner.tracker, &functions.spawner.events).await.unwrap();
            let child = functions.spawner.spawn(Arc::new(NoMessages), &[]).unwrap();
            // Not yet known to have ended when it is taken.
            functions.idle().push(Function { child, api, since: Instant::now() });
        }
        let invoked = functions.invoke("s", "arn".to_owned(), Bytes::from_static(b"{}")).await;
        assert!(invoked.is_err(), "{invoked:?}");
    }

    /// One that was ready ends while the event is on offer to it, and has not asked for it; another one waits.
    #[tokio::test]
    async fn m4_an_event_that_a_process_did_not_take_goes_to_another_one_that_is_alive() {
        let mut settings = ProcessSettings::new(["sleep", "1000"]);
        settings.spares = 0;
        let spawner = Spawner::new(settings, &HandlerContext::new(1));
        let function = FunctionSettings::new("f");
        let functions = Functions::new(spawner, function, "us-east-1".to_owned(), WallClock::default(), 1);
        let mut started = Vec::new();
        for _ in 0..2 {
            let api = RuntimeApi::start(&functions.spawner.tracker, &functions.spawner.events).await.unwrap();
            let child = functions.spawner.spawn(Arc::new(NoMessages), &[]).unwrap();
            started.push((child.watch(), child.pid(), api.address));
            // The last one is taken first.
            functions.idle().push(Function { child, api, since: Instant::now() });
        }
        let (alive, dying) = (started[0].1, started[1].0.clone());
        let client = functions.spawner.tracker.spawn(answer_one(started[0].2));
        let invoked = functions.invoke("s", "arn".to_owned(), Bytes::from_static(b"{\"n\":1}"));
        let ends = async {
            while functions.idle().len() > 1 {
                sleep(Duration::from_millis(1)).await;
            }
            dying.kill(KillReason::GivenUp);
        };
        let (result, ()) = tokio::join!(invoked, ends);
        assert_eq!(result.unwrap(), FunctionResult::Response(Bytes::from_static(b"done")));
        assert!(client.await.unwrap().ends_with("{\"n\":1}"), "it got the event");
        let waiting: Vec<_> = functions.idle().iter().map(|function| function.child.pid()).collect();
        assert_eq!((waiting, functions.spawner.events.stats().started), (vec![alive], 2), "none was started");
        functions.close().await;
    }

    /// A runtime client that answers one event with `done`. What it was given.
    async fn answer_one(address: std::net::SocketAddr) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let ask = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
        connection.write_all(ask.as_bytes()).await.unwrap();
        let mut given = String::new();
        while !given.ends_with('}') {
            let mut part = [0; 4096];
            let length = connection.read(&mut part).await.unwrap();
            assert!(length > 0, "{given}");
            given.push_str(std::str::from_utf8(&part[..length]).unwrap());
        }
        let id = given.lines().find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: ")).unwrap();
        let answer = format!(
            "POST /2018-06-01/runtime/invocation/{}/response HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ndone",
            id.trim()
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
        // Until it is taken in.
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        given
    }

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

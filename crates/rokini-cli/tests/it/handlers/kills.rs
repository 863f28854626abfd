//! Kills of the handler, of the daemon and of both, and signals to whole groups of processes, at random moments: nothing is lost,
//! each shard is handled in its order, and no process stays.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::sleep;

use super::support::{
    QUICK, Sent, assert_order, handled, kill_handlers, python, run, until_handled, until_none_runs,
};
use crate::support::{Local, Member};

/// What handles the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines,
    /// With a runtime client of the tests' own.
    Lambda,
    Awslambdaric,
    Http,
    Kcl,
    AwsKcl,
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Target {
    Handler,
    Daemon,
    Both,
    /// Ctrl-C: SIGINT to the process group of the daemon.
    Group,
    /// systemd: SIGTERM to everything that the daemon has started, and itself.
    Tree,
}

const TARGETS: [Target; 3] = [Target::Handler, Target::Daemon, Target::Both];

/// An HTTP service: runs by itself, on the same port each time.
const SERVICE: &str = r#"
import base64, json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
out = open("handled", "a", buffering=1)
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *arguments): pass
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for record in event["Records"]:
            data = base64.b64decode(record["kinesis"]["data"]).decode()
            time.sleep(0.001)
            out.write("%s %s\n" % (self.headers["Rokini-Shard"], data))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Service {
    port: String,
    process: tokio::process::Child,
}

impl Service {
    async fn start(local: &Local, python: &Path, port: &str) -> Self {
        let mut command = tokio::process::Command::new(python);
        command.args(["-u", "service.py", port]).current_dir(local.home()).stdin(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("the service says its port");
        Self { port, process }
    }
}

/// A stream, its handler, and what was sent.
struct KilledHandlers {
    local: Local,
    kind: Kind,
    python: PathBuf,
    service: Option<Service>,
    started: u32,
    /// What the handler does of itself.
    trick: &'static str,
}

impl KilledHandlers {
    /// `None`, said aloud, where something is missing.
    async fn new(kind: Kind) -> Option<Self> {
        let interpreter = match kind {
            Kind::AwsKcl => super::aws_kcl::node()?,
            Kind::Awslambdaric => python("awslambdaric")?,
            _ => python("json")?,
        };
        let (python, local) = (interpreter, Local::start(2).await);
        let mut service = None;
        match kind {
            Kind::Lines => super::lines::write(&local),
            Kind::Lambda | Kind::Awslambdaric => super::lambda::write(&local),
            Kind::Kcl => super::kcl::write(&local),
            Kind::AwsKcl => std::fs::write(local.home().join("app.js"), super::aws_kcl::NODE).unwrap(),
            Kind::Http => {
                std::fs::write(local.home().join("service.py"), SERVICE).unwrap();
                service = Some(Service::start(&local, &python, "0").await);
            }
        }
        Some(Self { local, kind, python, service, started: 0, trick: "random" })
    }

    fn start(&mut self) -> Member {
        self.started += 1;
        let worker = format!("w{}", self.started);
        let small = ["--set", "batch_max_records=50"];
        let with = |options: &[&str], program: &[&str]| {
            let options = [options, &QUICK, &small].concat();
            let modules = std::env::var("NODE_PATH").unwrap_or_default();
            let environment = [
                ("TRICK", self.trick),
                ("SLOW", "0.001"),
                ("CLIENT", "own"),
                ("NODE_PATH", modules.as_str()),
            ];
            run(&self.local, &self.python, &worker, &options, program, &environment)
        };
        match self.kind {
            Kind::Lines => with(&["--handler", "lines"], &["-u", "bill.py"]),
            Kind::Lambda => with(&["--handler", "lambda"], &["-u", "client.py", "app.handler"]),
            Kind::Awslambdaric => {
                with(&["--handler", "lambda"], &["-u", "-m", "awslambdaric", "app.handler"])
            }
            Kind::Kcl => with(&["--handler", "multilang"], &["-u", "app.py"]),
            Kind::AwsKcl => with(&["--handler", "multilang"], &["app.js"]),
            Kind::Http => {
                let url = format!("http://127.0.0.1:{}/", self.service.as_ref().unwrap().port);
                let arguments = ["run", "orders", "--group", "g", "--worker", &worker, "--handler", "http"];
                let mut command =
                    self.local.rokini(&[&arguments[..], &["--url", &url], &QUICK, &small].concat());
                command.process_group(0);
                Member::spawn(command)
            }
        }
    }

    async fn kill_handler(&mut self) {
        match &mut self.service {
            None => kill_handlers(&self.local),
            Some(service) => service.process.kill().await.unwrap(),
        }
    }

    /// A service does not come back by itself.
    async fn restart_service(&mut self) {
        if let Some(Service { port, .. }) = self.service.take() {
            self.service = Some(Service::start(&self.local, &self.python, &port).await);
        }
    }

    /// A daemon that is asked to stop together with others stops in order.
    async fn stop(&mut self, member: &mut Member, target: Target) {
        let daemon = member.id();
        match target {
            Target::Group => kill_process_group(daemon, Signal::INT).unwrap(),
            _ => {
                for pid in descendants(daemon.as_raw_nonzero().get()) {
                    // One that ended meanwhile needs no signal.
                    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM);
                }
            }
        }
        let begun = Instant::now();
        assert_eq!(member.ended().await, Some(0), "{}", member.stderr());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        until_none_runs(&self.local).await;
    }

    async fn kill_daemon(&mut self, member: &mut Member) {
        member.signal(Signal::KILL);
        member.ended().await;
        until_none_runs(&self.local).await;
    }
}

/// A process and all that it has started, and those in turn.
fn descendants(pid: i32) -> Vec<i32> {
    let children = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children =
        children.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let children: String = children.collect();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(pid).chain(children.flat_map(descendants)).collect()
}

/// Kills so often. Says, with everything that fails, by which seed it comes again.
async fn kills(kind: Kind, target: Target, seed: u64, times: u32) {
    eprintln!("{kind:?} {target:?} seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let Some(mut handlers) = KilledHandlers::new(kind).await else { return };
    let mut sent = Sent::default();
    let stops = matches!(target, Target::Group | Target::Tree);
    if stops {
        handlers.trick = "";
    }
    let mut member = handlers.start();
    for time in 0..times {
        sent.put(&handlers.local, (0..200).map(|n| format!("{time}-{n:03}"))).await;
        sleep(Duration::from_millis(rng.random_range(0..1_200))).await;
        match target {
            Target::Handler => handlers.kill_handler().await,
            Target::Daemon => handlers.kill_daemon(&mut member).await,
            Target::Both => {
                handlers.kill_handler().await;
                sleep(Duration::from_millis(rng.random_range(0..300))).await;
                handlers.kill_daemon(&mut member).await;
            }
            Target::Group | Target::Tree => handlers.stop(&mut member, target).await,
        }
        if matches!(target, Target::Handler | Target::Both) {
            handlers.restart_service().await;
        }
        if !matches!(target, Target::Handler) {
            member = handlers.start();
        }
    }
    until_handled(&handlers.local, &member, &sent.all()).await;
    // Everything may be done before the last worker runs.
    member.until("a shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0), "seed {seed}: {}", member.stderr());
    until_none_runs(&handlers.local).await;
    assert_order(&handlers.local, &sent, &format!("{kind:?} {target:?} seed {seed}"));
    let (records, handled) = (sent.all().len(), handled(&handlers.local).values().sum::<usize>());
    if matches!(target, Target::Group) {
        // Nobody but the daemon is asked to stop, so everything that was begun is done and stored.
        assert_eq!(handled, records, "seed {seed}: what was done comes again");
    }
    eprintln!(
        "{kind:?} {target:?} seed {seed}: {records} records, lost 0, out of order 0, {} repeated",
        handled - records
    );
}

/// `KILLS_SEED` has the seed of a run that is to come again.
fn seed() -> u64 {
    std::env::var("KILLS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random)
}

async fn each_once(kind: Kind) {
    for target in TARGETS {
        kills(kind, target, seed(), 1).await;
    }
}

/// Twenty runs: each kills one of the three, three times.
async fn twenty_times(kind: Kind) {
    for (run, target) in TARGETS.into_iter().cycle().take(20).enumerate() {
        kills(kind, target, seed().wrapping_add(run as u64), 3).await;
    }
}

async fn stopped_with_others(kind: Kind) {
    for target in [Target::Group, Target::Tree] {
        kills(kind, target, seed(), 2).await;
    }
}

macro_rules! kinds {
    ($($kind:ident: $short:ident, $long:ident, $stopped:ident;)+) => {
        $(
            #[tokio::test]
            async fn $stopped() {
                stopped_with_others(Kind::$kind).await;
            }

            #[tokio::test]
            async fn $short() {
                each_once(Kind::$kind).await;
            }

            #[tokio::test]
            #[ignore = "some minutes: every night, and by hand"]
            async fn $long() {
                twenty_times(Kind::$kind).await;
            }
        )+
    };
}

kinds! {
    Lines: m1_kills_lose_nothing_with_lines, twenty_runs_of_kills_with_lines,
        m1_signals_to_groups_lose_nothing_with_lines;
    Lambda: m1_kills_lose_nothing_with_lambda, twenty_runs_of_kills_with_lambda,
        m1_signals_to_groups_lose_nothing_with_lambda;
    Awslambdaric: m1_kills_lose_nothing_with_awslambdaric, twenty_runs_of_kills_with_awslambdaric,
        m1_signals_to_groups_lose_nothing_with_awslambdaric;
    Http: m1_kills_lose_nothing_with_http, twenty_runs_of_kills_with_http,
        m1_signals_to_groups_lose_nothing_with_http;
    Kcl: m1_kills_lose_nothing_with_kcl, twenty_runs_of_kills_with_kcl,
        m1_signals_to_groups_lose_nothing_with_kcl;
    AwsKcl: m1_kills_lose_nothing_with_aws_kcl, twenty_runs_of_kills_with_aws_kcl,
        m1_signals_to_groups_lose_nothing_with_aws_kcl;
}

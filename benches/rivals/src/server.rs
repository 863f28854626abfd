//! The servers, each in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use ferrokinesis::store::StoreOptions;
use rokini_local::{LocalKinesis, LocalSettings};
use tokio::net::TcpListener;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerKind {
    Rokini,
    Ferrokinesis,
}

impl ServerKind {
    pub(crate) fn named(name: &str) -> Self {
        [Self::Rokini, Self::Ferrokinesis].into_iter().find(|kind| kind.name() == name).unwrap()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rokini => "rokini",
            Self::Ferrokinesis => "ferrokinesis",
        }
    }
}

/// A server in this process.
pub(crate) enum Running {
    Rokini(LocalKinesis),
    Ferrokinesis(SocketAddr, tokio::task::JoinHandle<()>),
}

impl Running {
    /// Listens, without rates and with state changes that take no time.
    pub(crate) async fn start(kind: ServerKind) -> Self {
        match kind {
            ServerKind::Rokini => {
                let local =
                    LocalKinesis::builder().settings(LocalSettings::default()).throughput_limits(false);
                Self::Rokini(local.start().await.unwrap())
            }
            ServerKind::Ferrokinesis => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let (app, _store) = ferrokinesis::create_app(StoreOptions {
                    create_stream_ms: 0,
                    delete_stream_ms: 0,
                    update_stream_ms: 0,
                    shard_limit: 20_000,
                    enforce_limits: false,
                    ..StoreOptions::default()
                });
                let serving = tokio::spawn(async move {
                    ferrokinesis::serve_plain_http(listener, app, std::future::pending()).await.unwrap();
                });
                Self::Ferrokinesis(address, serving)
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Rokini(local) => local.address(),
            Self::Ferrokinesis(address, _) => *address,
        }
    }

    pub(crate) async fn stop(self) {
        match self {
            Self::Rokini(local) => local.shutdown().await,
            Self::Ferrokinesis(_, serving) => serving.abort(),
        }
    }
}

/// Tells the address and ends with the standard input.
pub(crate) async fn serve(kind: ServerKind) {
    let running = Running::start(kind).await;
    println!("{}", running.address());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap()).await.unwrap();
}

/// A server in a process of its own.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn spawn(kind: ServerKind) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["serve", kind.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        stdout.read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned(), _stdout: stdout }
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        // `/proc` counts CPU time in hundredths of a second.
        const TICKS: f64 = 100.0;
        let stat = self.proc("stat");
        // After the name in brackets, user and system time are the 12th and 13th.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
    }

    /// The most that was resident.
    pub(crate) fn peak_mib(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    fn proc(&self, what: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{what}", self.child.id())).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Its runtime waits for nobody.
        let _ = self.child.wait();
    }
}

//! The runtime interface emulator of AWS Lambda, which images of functions have in them, with a function of Python behind it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use super::support::{handled, python, until_handled};
use crate::support::{Endpoints, LONGEST_WAIT, Local, Member};

/// The emulator; `None`, said aloud, where it is not.
fn emulator() -> Option<PathBuf> {
    let path = std::env::var("LAMBDA_EMULATOR").ok().map(PathBuf::from).filter(|path| path.is_file());
    if path.is_none() {
        crate::skipped("`LAMBDA_EMULATOR` names no aws-lambda-rie");
    }
    path
}

/// A port that is free now.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The emulator with its function, and where it takes events. It ends with its group when dropped.
struct Emulator {
    url: String,
    process: tokio::process::Child,
}

impl Emulator {
    async fn start(local: &Endpoints, emulator: &Path, python: &Path, trick: &str) -> Self {
        let (port, api) = (port(), port());
        let mut command = tokio::process::Command::new(emulator);
        command.args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")]);
        command.args(["--runtime-api-address", &format!("127.0.0.1:{api}")]).arg(python);
        command.args(["-u", "-m", "awslambdaric", "app.handler"]).current_dir(local.home());
        command.env("TRICK", trick).env("AWS_LAMBDA_FUNCTION_TIMEOUT", "2").process_group(0);
        let log = std::fs::File::create(local.home().join("emulator.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        let process = command.spawn().unwrap();
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < LONGEST_WAIT, "the emulator does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/function/invocations");
        Self { url, process }
    }

    /// Ends it, and its function.
    async fn stop(mut self) {
        let group =
            i32::try_from(self.process.id().unwrap()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.process.wait().await.unwrap();
    }
}

/// Its function reports a record, throws, ends, or takes longer than its two seconds.
#[tokio::test]
async fn m3_the_real_runtime_interface_emulator_works_as_it_stands() {
    let (Some(emulator), Some(python)) = (emulator(), python("awslambdaric")) else { return };
    for (trick, wanted) in [
        ("partial", "reported record"),
        ("raise", "ValueError: poison"),
        ("exit", "Runtime.ExitError"),
        ("hang", "Task timed out after 2.00 seconds"),
    ] {
        let local = Local::start(2).await;
        super::lambda::write(&local);
        let function = Emulator::start(&local, &emulator, &python, trick).await;
        let poisoned: Vec<String> =
            (0..20).map(|n| if n == 7 { "poison".to_owned() } else { format!("{n}") }).collect();
        // The emulator takes one event at a time, and there are two shards.
        let good = (0..20).map(|n| (u128::MAX, format!("good-{n}")));
        local.put_hashed("orders", poisoned.iter().map(|data| (0, data.clone())).chain(good.clone())).await;
        let settings = [
            "on_failure=dead_letter",
            "max_attempts=2",
            "dead_letter=file:dead.jsonl",
            "batch_max_records=10",
        ];
        let settings: Vec<&str> = settings.into_iter().flat_map(|setting| ["--set", setting]).collect();
        let arguments = ["run", "orders", "--group", "g", "--handler", "http", "--url", &function.url];
        let mut member = Member::spawn(local.rokini(&[&arguments[..], &settings].concat()));
        let mut all: BTreeSet<String> = poisoned.into_iter().filter(|data| data != "poison").collect();
        all.extend(good.map(|(_, data)| data));
        until_handled(&local, &member, &all).await;
        let dead = || std::fs::read_to_string(local.home().join("dead.jsonl")).unwrap_or_default();
        let begun = Instant::now();
        while dead().is_empty() {
            assert!(begun.elapsed() < LONGEST_WAIT, "{trick}: {}", member.stderr());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        assert_eq!(dead().lines().count(), 1, "{trick}: {}", dead());
        assert!(dead().contains("\"text\":\"poison\"") && dead().contains(wanted), "{trick}: {}", dead());
        assert!(!handled(&local).contains_key("poison"));
        function.stop().await;
    }
}

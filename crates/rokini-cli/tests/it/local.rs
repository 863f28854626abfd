//! `local`.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Endpoints, Member};

fn nowhere() -> Endpoints {
    Endpoints::new("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1".to_owned())
}

const ANY_PORTS: [&str; 5] = ["local", "--kinesis-port", "0", "--dynamodb-port", "0"];

#[tokio::test]
async fn serves_until_stopped() {
    let arguments = [&ANY_PORTS[..], &["--stream", "orders:3", "--stream", "one", "--json"]].concat();
    let mut server = Member::spawn(nowhere().rokini(&arguments));
    server.until("the object", |server| !server.lines().is_empty()).await;
    let told: Value = serde_json::from_str(&server.lines()[0]).unwrap();
    assert_eq!(told["streams"], serde_json::json!(["one", "orders"]));
    assert_eq!(told["environment"]["AWS_ENDPOINT_URL_KINESIS"], told["kinesis"]);
    assert_eq!(told["environment"]["AWS_ENDPOINT_URL_DYNAMODB"], told["dynamodb"]);

    let url = |name: &str| told[name].as_str().unwrap().to_owned();
    let endpoints = Endpoints::new(url("kinesis"), url("dynamodb"));
    endpoints.run(&["put", "orders", "hello"]).await.done();
    let mut member = endpoints.consume("orders", "g", "w", &[]);
    member.until("the record", |member| member.data() == ["hello"]).await;
    assert_eq!(member.stop().await, Some(0));

    server.signal(Signal::INT);
    assert_eq!(server.ended().await, Some(0));
    endpoints.run(&["put", "orders", "hello"]).await.refused(4, &["next: start it: `rokini local"]);
}

#[tokio::test]
async fn streams_and_positions_outlive_it_where_that_is_asked_for() {
    let data = tempfile::TempDir::new().unwrap();
    let data = data.path().join("new").to_str().unwrap().to_owned();
    let arguments = [&ANY_PORTS[..], &["--stream", "orders:2", "--json", "--data", &data]].concat();
    for run in ["first", "second"] {
        let mut server = Member::spawn(nowhere().rokini(&arguments));
        server.until("the object", |server| !server.lines().is_empty()).await;
        let told: Value = serde_json::from_str(&server.lines()[0]).unwrap();
        let url = |name: &str| told[name].as_str().unwrap().to_owned();
        let endpoints = Endpoints::new(url("kinesis"), url("dynamodb"));

        endpoints.run(&["put", "orders", run]).await.done();
        let mut member = endpoints.consume("orders", "g", run, &[]);
        member.until("its record and no other", |member| member.data() == [run]).await;
        assert_eq!(member.stop().await, Some(0));
        let all = endpoints.run(&["tail", "orders", "--from", "horizon", "--no-follow"]).await.done();
        assert_eq!(all.lines().count(), if run == "first" { 1 } else { 2 });

        let talking: Vec<_> = arguments.iter().filter(|word| **word != "--json").copied().collect();
        let busy = nowhere().run(&talking).await;
        busy.refused(2, &[&format!("error: the data in `{data}` cannot be used"), "why: ", "next: "]);
        assert_eq!(server.stop().await, Some(0));
    }
}

#[tokio::test]
async fn damaged_tables_are_set_aside_and_the_streams_are_served() {
    let data = tempfile::TempDir::new().unwrap();
    let file = data.path().join("dynamodb.sqlite");
    let directory = data.path().to_str().unwrap();
    let arguments = [&ANY_PORTS[..], &["--stream", "orders:1", "--json", "--data", directory]].concat();
    let random: Vec<u8> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    // The first start makes them; then they are cut off, then they are anything.
    for (run, damage) in ["none", "truncated", "random"].into_iter().enumerate() {
        match damage {
            "truncated" => {
                let whole = std::fs::metadata(&file).unwrap().len();
                let opened = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
                opened.set_len(whole / 2 + 100).unwrap();
            }
            "random" => std::fs::write(&file, &random).unwrap(),
            _ => {}
        }
        let damaged = std::fs::read(&file).unwrap_or_default();
        let mut server = Member::spawn(nowhere().rokini(&arguments));
        server.until("the object", |server| !server.lines().is_empty()).await;
        let told: Value = serde_json::from_str(&server.lines()[0]).unwrap();
        let url = |name: &str| told[name].as_str().unwrap().to_owned();
        let endpoints = Endpoints::new(url("kinesis"), url("dynamodb"));
        // Streams, and tables that can be used.
        endpoints.run(&["put", "orders", damage]).await.done();
        let mut member = endpoints.consume("orders", damage, "w", &[]);
        member.until("all records", |member| member.data().len() == run + 1).await;
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
        let groups = endpoints.run(&["group", "list", "--json"]).await.done();
        let groups: Value = serde_json::from_str(&groups).unwrap();
        assert_eq!(groups["groups"].as_array().unwrap().len(), 1, "DynamoDB begins empty: {groups}");
        assert_eq!(server.stop().await, Some(0));
        if run > 0 {
            let aside = format!("{}.damaged-{run}", file.display());
            assert!(server.stderr().contains(&format!("set aside as `{aside}`")), "{}", server.stderr());
            assert!(std::fs::read(aside).unwrap() == damaged, "to the byte");
        }
    }
}

/// A process that can make no file grow stands for a full disk.
#[tokio::test]
async fn what_is_on_a_full_disk_is_served_and_changes_are_refused() {
    let data = tempfile::TempDir::new().unwrap();
    let directory = data.path().to_str().unwrap();
    let arguments = [&ANY_PORTS[..], &["--stream", "orders:1", "--json", "--data", directory]].concat();
    let started = async |command| {
        let mut server = Member::spawn(command);
        server.until("the object", |server| !server.lines().is_empty()).await;
        let told: Value = serde_json::from_str(&server.lines()[0]).unwrap();
        let url = |name: &str| told[name].as_str().unwrap().to_owned();
        (server, Endpoints::new(url("kinesis"), url("dynamodb")))
    };
    let (mut server, endpoints) = started(nowhere().rokini(&arguments)).await;
    endpoints.run(&["put", "orders", "a record"]).await.done();
    let mut member = endpoints.consume("orders", "billing", "w", &[]);
    member.until("the record", |member| member.data() == ["a record"]).await;
    assert_eq!(member.stop().await, Some(0));
    assert_eq!(server.stop().await, Some(0));

    let environment = nowhere();
    let environment = environment.rokini(&[]);
    let mut full = tokio::process::Command::new("/bin/sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_rokini")]);
    full.args(&arguments).env_clear();
    full.envs(environment.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    full.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    full.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let (mut server, endpoints) = started(full).await;
    assert!(server.stderr().contains("its tables are served as they are"), "{}", server.stderr());
    let read = endpoints.run(&["tail", "orders", "--from", "trim_horizon", "--no-follow"]).await.done();
    assert_eq!(read, "a record\n");
    let groups = endpoints.run(&["group", "show", "billing", "--json"]).await.done();
    assert!(groups.contains("AFTER:"), "{groups}");
    let deleted = endpoints.run(&["group", "delete", "billing", "--yes"]).await;
    assert!(deleted.status != Some(0) && deleted.stderr.contains("Make room on its disk"), "{deleted:?}");
    assert_eq!(endpoints.run(&["group", "show", "billing", "--json"]).await.done(), groups);
    server.stop().await;
    // With room, everything goes on from there.
    let (mut server, endpoints) = started(nowhere().rokini(&arguments)).await;
    endpoints.run(&["group", "delete", "billing", "--yes"]).await.done();
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn tables_that_cannot_be_opened_for_another_reason_stay() {
    let data = tempfile::TempDir::new().unwrap();
    // SQLite cannot open a directory.
    std::fs::create_dir(data.path().join("dynamodb.sqlite")).unwrap();
    let directory = data.path().to_str().unwrap();
    let ended = nowhere().run(&[&ANY_PORTS[..], &["--data", directory]].concat()).await;
    ended.refused(2, &["error: the data in", "next: "]);
    assert!(data.path().join("dynamodb.sqlite").is_dir());
}

#[tokio::test]
async fn prints_lines_to_copy() {
    let mut server = Member::spawn(nowhere().rokini(&ANY_PORTS));
    server.until("the lines", |server| server.lines().len() == 6).await;
    let lines = server.lines();
    let names: Vec<_> = lines.iter().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "export AWS_ENDPOINT_URL_KINESIS",
            "export AWS_ENDPOINT_URL_DYNAMODB",
            "export AWS_REGION",
            "export AWS_DEFAULT_REGION",
            "export AWS_ACCESS_KEY_ID",
            "export AWS_SECRET_ACCESS_KEY"
        ]
    );
    server
        .until("the next step", |server| server.stderr().contains("`rokini stream create orders --shards 4`"))
        .await;
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_next_step() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (flag, service) in [("--kinesis-port", "Kinesis"), ("--dynamodb-port", "DynamoDB")] {
        let arguments = [&ANY_PORTS[..1], &[flag, &port], &[other(flag), "0"]].concat();
        nowhere().run(&arguments).await.refused(
            2,
            &[
                &format!("error: cannot serve {service} on 127.0.0.1:{port}\n"),
                "why: Address already in use",
                &format!("next: stop what listens there (`ss -ltnp 'sport = :{port}'`"),
                &format!("`rokini local {flag} 0`"),
            ],
        );
    }
}

fn other(flag: &str) -> &'static str {
    if flag == "--kinesis-port" { "--dynamodb-port" } else { "--kinesis-port" }
}

#[tokio::test]
async fn a_stream_that_cannot_be_is_refused() {
    for (stream, said) in [("orders:0", "`orders:4`"), ("a b:1", "a b"), ("orders:99999999", "orders")] {
        let ended = nowhere().run(&[&ANY_PORTS[..], &["--stream", stream]].concat()).await;
        ended.refused(2, &["error:", said]);
    }
}

#[tokio::test]
async fn serves_https() {
    let home = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("cert.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let tls = |certificate: &str| {
        [&ANY_PORTS[..], &["--tls-cert", certificate, "--tls-key", &key]].concat().join(" ")
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let arguments = words(&tls(&certificate));
    let mut server =
        Member::spawn(nowhere().rokini(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    server.until("the lines", |server| server.lines().len() == 6).await;
    assert!(server.lines()[0].starts_with("export AWS_ENDPOINT_URL_KINESIS=https://127.0.0.1:"));
    assert_eq!(server.stop().await, Some(0));

    for (certificate, said) in
        [(key.as_str(), "cannot be used"), ("absent.pem", "`absent.pem` cannot be read")]
    {
        let arguments = words(&tls(certificate));
        let ended = nowhere().run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
        ended.refused(2, &["error:", said, "why:"]);
    }
    nowhere().run(&["local", "--tls-cert", &certificate]).await.refused(2, &["--tls-key <FILE>"]);
}

#[tokio::test]
async fn a_program_runs_with_the_variables_set_and_gives_its_status() {
    let put = format!(
        "{} put orders hello >&2 && echo $AWS_DEFAULT_REGION $AWS_REGION && exit 7",
        env!("CARGO_BIN_EXE_rokini")
    );
    let ended = nowhere().run(&["local", "--stream", "orders:4", "--", "/bin/sh", "-c", &put]).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(7), "us-east-1 us-east-1\n"), "{}", ended.stderr);
    let killed = nowhere().run(&["local", "--", "/bin/sh", "-c", "kill -TERM $$"]).await;
    assert_eq!(killed.status, Some(128 + 15));
    nowhere()
        .run(&["local", "--", "/absent/program"])
        .await
        .refused(2, &["`/absent/program` cannot be run", "next: "]);
}

#[tokio::test]
async fn a_program_is_kept_from_what_its_caller_has_for_another_endpoint() {
    let script =
        "echo \"$NO_PROXY $no_proxy ${AWS_SESSION_TOKEN-none} ${AWS_PROFILE-none} ${AWS_ENDPOINT_URL-none}\"";
    let place = nowhere();
    let mut command = place.rokini(&["local", "--", "/bin/sh", "-c", script]);
    command.env("HTTP_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "inside").env("AWS_SESSION_TOKEN", "t");
    command.env("AWS_PROFILE", "p").env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let ended = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(
        told.trim(),
        "inside,127.0.0.1,localhost inside,127.0.0.1,localhost none none none",
        "{ended:?}"
    );

    let mut command = place.rokini(&ANY_PORTS);
    let mut server = Member::spawn({
        command.env("all_proxy", "http://127.0.0.1:1");
        command
    });
    server.until("the lines", |server| server.lines().len() >= 8).await;
    for name in ["NO_PROXY", "no_proxy"] {
        assert!(
            server.lines().contains(&format!("export {name}=127.0.0.1,localhost")),
            "{:?}",
            server.lines()
        );
    }
    assert_eq!(server.stop().await, Some(0));
    nowhere().run(&["local", "--region", "us east"]).await.refused(2, &["name of a region"]);
}

#[tokio::test]
async fn a_signal_ends_the_program_and_nothing_is_left_running() {
    let script = "trap 'echo ended; exit 3' TERM; echo $$; while :; do sleep 0.05; done";
    let mut server = Member::spawn(nowhere().rokini(&["local", "--", "/bin/sh", "-c", script]));
    server.until("the program", |server| !server.lines().is_empty()).await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(3));
    let lines = server.lines();
    assert_eq!(lines[1..], ["ended"]);
    let child = rustix::process::Pid::from_raw(lines[0].parse().unwrap()).unwrap();
    assert!(rustix::process::test_kill_process(child).is_err(), "the program is gone");
}

/// A process is there, as a zombie too.
fn is_there(id: &str) -> bool {
    rustix::process::test_kill_process(rustix::process::Pid::from_raw(id.parse().unwrap()).unwrap()).is_ok()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_program_leaves_running_ends_with_it() {
    // One that ends when asked, below another one in a session of its own; one that has to be killed.
    let polite = "setsid sh -c 'sleep 1000 & echo $!; wait' & sleep 0.3; exit 0";
    let stubborn = "(trap '' TERM; while :; do sleep 0.05; done) & echo $!; exit 3";
    for (script, status) in [(polite, 0), (stubborn, 3)] {
        let ended = nowhere().run(&["local", "--", "/bin/sh", "-c", script]).await;
        assert_eq!(ended.status, Some(status), "{}", ended.stderr);
        let left = ended.stdout.trim();
        assert!(!left.is_empty() && !is_there(left), "{script}: {left} is there");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_ends_while_the_program_runs_is_no_zombie() {
    // The orphan's parent ends before it; it ends, and the program asks whether it is gone.
    let script = "id=$(sh -c 'sleep 0.2 >/dev/null & echo $!'); \
        for _ in $(seq 200); do kill -0 $id 2>/dev/null || exit 0; sleep 0.05; done; exit 1";
    let ended = nowhere().run(&["local", "--", "/bin/sh", "-c", script]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_signal_leaves_nothing_either() {
    let script = "trap 'echo told' TERM; sleep 1000 & echo $!; echo $$; while :; do sleep 0.05; done";
    let mut server = Member::spawn(nowhere().rokini(&["local", "--", "/bin/sh", "-c", script]));
    server.until("both", |server| server.lines().len() == 2).await;
    server.signal(Signal::TERM);
    server.until("that it was told", |server| server.lines().len() == 3).await;
    // Signals that follow at once mean the same one.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(128 + 15));
    // They were killed; whoever takes them over sees to the rest.
    let gone = async {
        while server.lines()[..2].iter().any(|id| is_there(id)) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::support::LONGEST_WAIT, gone).await.expect("both end");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn whichever_of_its_processes_is_killed_the_program_ends_and_what_it_started() {
    // One in a session of its own, below a shell; the program; and the process that started it.
    let script = "trap '' TERM; (trap '' TERM; setsid sleep 1000 & echo $!; wait) & sleep 0.3; echo $$; echo $PPID; wait";
    for victim in ["rokini local", "the process between"] {
        let mut server = Member::spawn(nowhere().rokini(&["local", "--", "/bin/sh", "-c", script]));
        server.until("all", |server| server.lines().len() == 3).await;
        if victim == "rokini local" {
            server.signal(Signal::KILL);
        } else {
            let id: i32 = server.lines()[2].parse().unwrap();
            rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
        }
        let gone = async {
            let status = server.ended().await;
            assert!(status.is_none_or(|status| status == 128 + 9), "{victim}: {status:?}");
            while server.lines().iter().any(|id| is_there(id)) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let gone = tokio::time::timeout(crate::support::LONGEST_WAIT, gone).await;
        gone.unwrap_or_else(|_| panic!("{victim} was killed, and of {:?} some are there", server.lines()));
    }
}

#[tokio::test]
async fn without_descriptors_it_waits_and_says_so_once() {
    let rokini = env!("CARGO_BIN_EXE_rokini");
    let script = format!("ulimit -n 40; exec {rokini} local --kinesis-port 0 --dynamodb-port 0 --json");
    let environment = nowhere();
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", &script]).env_clear();
    let command = environment.rokini(&[]);
    shell.envs(command.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    shell.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let mut server = Member::spawn(shell);
    server.until("the object", |server| !server.lines().is_empty()).await;
    let told: Value = serde_json::from_str(&server.lines()[0]).unwrap();
    let url = |name: &str| told[name].as_str().unwrap().to_owned();
    let endpoints = Endpoints::new(url("kinesis"), url("dynamodb"));
    let address = endpoints.kinesis.trim_start_matches("http://").to_owned();
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let said = |server: &Member| server.stderr().matches("could not accept a connection").count();
    server.until("the warning", |server| said(server) > 0).await;
    // A second of trying, ten times.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(said(&server), 1, "{}", server.stderr());
    drop(silent);
    endpoints.run(&["stream", "create", "orders"]).await.done();
    assert_eq!(server.stop().await, Some(0));
}

/// The tests that docs/LOCAL.md has to copy, as it says.
#[tokio::test]
async fn the_python_tests_of_the_documentation_pass() {
    let document = include_str!("../../../../docs/LOCAL.md");
    let programs = document.split("```python\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let there = tokio::process::Command::new("python3").args(["-c", "import boto3, pytest"]).output().await;
    if !there.is_ok_and(|output| output.status.success()) {
        return crate::skipped("python3 with boto3 and pytest is not there");
    }
    let place = nowhere();
    for (name, program) in ["test_orders.py", "test_faults.py"].iter().zip(programs) {
        assert!(document.contains(&format!("`{name}`")));
        std::fs::write(place.home().join(name), program).unwrap();
    }
    let mut command = place.rokini(&["local", "--", "python3", "-m", "pytest", "-q", "."]);
    // Where Python is found, and what its launcher wants; nothing that says where AWS is.
    command.env("PATH", std::env::var_os("PATH").unwrap()).env_remove("AWS_EC2_METADATA_DISABLED");
    if let Some(home) = std::env::var_os("HOME") {
        command
            .env("HOME", home)
            .env("AWS_CONFIG_FILE", "/absent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/absent");
    }
    let ended = crate::support::Ended::of(command).await;
    assert_eq!(ended.status, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("4 passed"), "{}", ended.stdout);
}

#[tokio::test]
async fn scripts_learn_by_a_descriptor_that_it_serves() {
    let rokini = env!("CARGO_BIN_EXE_rokini");
    // What it writes to descriptor 3 is what the test reads.
    let script =
        format!("exec {rokini} local --kinesis-port 0 --dynamodb-port 0 --ready-fd 3 3>&1 >/dev/null");
    let mut shell = tokio::process::Command::new("/bin/sh");
    let environment = nowhere();
    let environment = environment.rokini(&[]);
    shell.args(["-c", &script]).env_clear();
    shell.envs(environment.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    shell.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let mut server = Member::spawn(shell);
    server.until("the object", |server| !server.lines().is_empty()).await;
    let told: Value = serde_json::from_str(&server.lines()[0]).unwrap();
    let endpoints = Endpoints::new(
        told["kinesis"].as_str().unwrap().to_owned(),
        told["dynamodb"].as_str().unwrap().to_owned(),
    );
    endpoints.run(&["stream", "create", "orders"]).await.done();
    server.stop().await;
    nowhere()
        .run(&["local", "--ready-fd", "99", "--", "true"])
        .await
        .refused(2, &["`--ready-fd 99`", "next: "]);
    // A socket in place of standard input.
    let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let place = nowhere();
    let mut refused = place.rokini(&["local", "--ready-fd", "0", "--", "true"]);
    refused.stdin(std::os::fd::OwnedFd::from(theirs)).stderr(std::process::Stdio::piped());
    let refused = refused.output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("and no socket"), "{said}");
}

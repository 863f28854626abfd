//! The files of `deploy/`: parsed, and held against what the code needs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::{Endpoints, Local, Member};

fn file(name: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// No service is asked.
fn nowhere() -> Endpoints {
    Endpoints::new("https://kinesis.example".to_owned(), "https://dynamodb.example".to_owned())
}

fn actions(policy: &Value) -> Vec<BTreeSet<String>> {
    let of = |statement: &Value| {
        statement["Action"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    policy["Statement"].as_array().unwrap().iter().map(of).collect()
}

/// The names of the variables that are settings.
async fn settings() -> BTreeSet<String> {
    let shown = nowhere().run(&["consume", "--print-config", "--json"]).await.done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown.as_object().unwrap().keys().map(|key| format!("ROKINI_{}", key.to_uppercase())).collect()
}

#[tokio::test]
async fn x1_policies_are_what_the_doctor_says() {
    let printed = nowhere().run(&["doctor", "orders", "--group", "billing", "--policy"]).await.done();
    let needed = actions(&serde_json::from_str(&printed).unwrap());
    assert_eq!(actions(&serde_json::from_str(&file("iam/worker.json")).unwrap()), needed);
    // Each further mode has a file of its own.
    for (name, more) in [
        ("worker-fan-out", &["ROKINI_RETRIEVAL=fan_out"][..]),
        ("worker-cloudwatch", &["ROKINI_MONITORING=cloudwatch"]),
        ("worker-dead-letters", &["ROKINI_DEAD_LETTER=kinesis:dead-orders"]),
    ] {
        let endpoints = nowhere();
        let mut command = endpoints.rokini(&["doctor", "orders", "--group", "billing", "--policy"]);
        command.envs(more.iter().map(|setting| setting.split_once('=').unwrap()));
        let printed = crate::support::Ended::of(command).await.done().replace(":us-east-1:", ":*:");
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let kept: Value = serde_json::from_str(&file(&format!("iam/{name}.json"))).unwrap();
        assert_eq!(kept, printed, "{name}: {printed:#}");
    }
    let terraform = file("terraform/main.tf");
    for action in needed.iter().flatten() {
        assert_eq!(terraform.matches(&format!("\"{action}\"")).count(), 1, "{action}");
    }
    let operator = actions(&serde_json::from_str(&file("iam/operator.json")).unwrap());
    assert!(operator[0].is_superset(&needed[0]), "{operator:?}");
    // Deleting a group takes its registration back.
    let more: Vec<&str> = operator[0].difference(&needed[0]).map(String::as_str).collect();
    assert_eq!(more, ["kinesis:DeregisterStreamConsumer", "kinesis:DescribeStreamConsumer"]);
    assert!(operator[1].is_superset(&needed[1]), "{operator:?}");
    // A list of groups is read from the whole table.
    let more: Vec<&str> = operator[1].difference(&needed[1]).map(String::as_str).collect();
    assert_eq!(more, ["dynamodb:Scan"]);
    // The same table everywhere.
    let printed = nowhere().run(&["doctor", "orders", "--group", "billing", "--terraform"]).await.done();
    for line in ["hash_key     = \"group\"", "range_key    = \"row\"", "billing_mode = \"PAY_PER_REQUEST\""] {
        assert!(terraform.contains(line) && printed.contains(line), "{line}");
    }
    let table: Value = serde_json::from_str(&file("cloudformation/table.json")).unwrap();
    let keys = &table["Resources"]["Positions"]["Properties"]["KeySchema"];
    let keys: Vec<(&str, &str)> = keys
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (key["AttributeName"].as_str().unwrap(), key["KeyType"].as_str().unwrap()))
        .collect();
    assert_eq!(keys, [("group", "HASH"), ("row", "RANGE")]);
}

fn documents(name: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[tokio::test]
async fn manifests_set_what_is_a_setting_and_ask_for_what_answers() {
    let settings = settings().await;
    for name in ["kubernetes/worker.yaml", "kubernetes/statefulset.yaml"] {
        let workload =
            documents(name).into_iter().find(|one| one["spec"]["template"].as_hash().is_some()).unwrap();
        let pod = &workload["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap();
        let container = &pod["containers"][0];
        let variables = container["env"].as_vec().unwrap();
        for variable in variables {
            let variable = variable["name"].as_str().unwrap();
            assert!(!variable.starts_with("ROKINI_") || settings.contains(variable), "{name}: {variable}");
        }
        let value = |wanted: &str| {
            variables
                .iter()
                .find(|one| one["name"].as_str() == Some(wanted))
                .and_then(|one| one["value"].as_str())
        };
        let deadline =
            value("ROKINI_SHUTDOWN_DEADLINE").unwrap().trim_end_matches('s').parse::<i64>().unwrap();
        assert!(deadline + 10 <= grace, "{name}");
        let port = container["ports"][0]["containerPort"].as_i64().unwrap();
        assert!(value("ROKINI_MONITORING_LISTEN").unwrap().ends_with(&format!(":{port}")), "{name}");
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"]["path"].as_str(), Some(path), "{name}");
        }
    }
    let task: Value = serde_json::from_str(&file("ecs/task-definition.json")).unwrap();
    let container = &task["containerDefinitions"][0];
    assert!(container["stopTimeout"].as_u64().unwrap() >= 35);
    for variable in container["environment"].as_array().unwrap() {
        let variable = variable["name"].as_str().unwrap();
        assert!(!variable.starts_with("ROKINI_") || settings.contains(variable), "{variable}");
    }
    let unit = file("systemd/rokini@.service");
    for line in ["KillSignal=SIGTERM", "KillMode=mixed", "TimeoutStopSec=40", "Restart=always"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    let image = file("Dockerfile");
    assert!(image.contains("ENTRYPOINT [\"/usr/local/bin/rokini\"]") && image.contains("STOPSIGNAL SIGTERM"));
    let rust = image.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    let wanted = env!("CARGO_PKG_RUST_VERSION").rsplit_once('.').unwrap().0;
    assert!(rust.starts_with(wanted), "{rust}");
}

/// What KEDA asks has to answer also while no worker is ready, which is when there are too few.
#[test]
fn the_scaler_reaches_the_workers_whichever_way_they_are_deployed() {
    let scaler = &documents("kubernetes/scaler.yaml")[0]["spec"];
    let trigger = &scaler["triggers"][0];
    assert_eq!(trigger["metricType"].as_str(), Some("AverageValue"));
    assert_eq!(trigger["metadata"]["valueLocation"].as_str(), Some("desired_workers"));
    let url = trigger["metadata"]["url"].as_str().unwrap();
    let (host, port) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/scale"))
        .and_then(|rest| rest.split_once(':'))
        .unwrap();
    // KEDA runs in a namespace of its own.
    let service = host.strip_suffix(".NAMESPACE.svc").unwrap();
    for (file, kind) in [("worker", "Deployment"), ("statefulset", "StatefulSet")] {
        let documents = documents(&format!("kubernetes/{file}.yaml"));
        let named = |kind: &str, name: &str| {
            let of_kind = documents.iter().filter(|one| one["kind"].as_str() == Some(kind));
            of_kind.into_iter().find(|one| one["metadata"]["name"].as_str() == Some(name)).unwrap()
        };
        let target = scaler["scaleTargetRef"]["name"].as_str().unwrap();
        let workload = &named(kind, target)["spec"];
        let (labels, pod) = (&workload["template"]["metadata"]["labels"], &workload["template"]["spec"]);
        let monitoring = &named("Service", service)["spec"];
        assert_eq!(monitoring["publishNotReadyAddresses"].as_bool(), Some(true), "{file}");
        assert_eq!(&monitoring["selector"], labels, "{file}");
        let of_service = &monitoring["ports"][0];
        assert_eq!(of_service["port"].as_i64(), port.parse().ok(), "{file}");
        let of_pod = &pod["containers"][0]["ports"][0];
        assert_eq!(of_service["targetPort"], of_pod["name"], "{file}");
        let budget = &named("PodDisruptionBudget", target)["spec"];
        assert_eq!(
            (&budget["selector"]["matchLabels"], budget["maxUnavailable"].as_i64()),
            (labels, Some(1))
        );
        if kind == "StatefulSet" {
            let headless = &named("Service", workload["serviceName"].as_str().unwrap())["spec"];
            assert_eq!((headless["clusterIP"].as_str(), &headless["selector"]), (Some("None"), labels));
        }
    }
    let text = file("kubernetes/scaler.yaml");
    assert_eq!(scaler["scaleTargetRef"]["kind"].as_str(), Some("Deployment"));
    assert!(text.contains("# StatefulSet for statefulset.yaml.") && text.contains("Replace NAMESPACE"));
}

/// The words of an instruction of a Dockerfile in its JSON form.
fn words(image: &str, instruction: &str) -> Vec<String> {
    let line = image.lines().find_map(|line| line.strip_prefix(instruction)).unwrap();
    serde_json::from_str(line.trim()).unwrap()
}

/// Starts what an image or a composition starts, on free ports.
async fn starts(words: &[String], host: &str) {
    let ports = ["--kinesis-port", "0", "--dynamodb-port", "0", "--json"];
    let words: Vec<&str> = words.iter().map(String::as_str).chain(ports).collect();
    let mut served = Member::spawn(nowhere().rokini(&words));
    served.until("the object", |served| !served.lines().is_empty()).await;
    let told: Value = serde_json::from_str(&served.lines()[0]).unwrap();
    let url = told["kinesis"].as_str().unwrap();
    // It listens at every address, and says one by which it is reached from here.
    let address = url.strip_prefix("http://").unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{url}");
    let asked = |host: String, address: String| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /_rokini/health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(asked(host.to_owned(), address.to_owned()).await, "200", "{words:?}");
    assert_eq!(served.stop().await, Some(0));
}

#[tokio::test]
async fn images_and_compositions_start_a_local_kinesis() {
    let image = file("static/Dockerfile");
    let rust = image.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    let wanted = env!("CARGO_PKG_RUST_VERSION").rsplit_once('.').unwrap().0;
    assert!(rust.starts_with(&format!("{wanted}-alpine")), "{rust}");
    let (_, last) = image.rsplit_once("\nFROM ").unwrap();
    assert!(
        last.starts_with("scratch\n") && image.contains("--locked") && image.contains("STOPSIGNAL SIGTERM")
    );
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let numbers: Vec<u32> = user.split(':').map(|id| id.parse().unwrap()).collect();
    assert!(numbers.iter().all(|id| *id > 0), "not the superuser: {user}");
    assert_eq!(words(last, "ENTRYPOINT "), ["/rokini"]);
    starts(&words(last, "CMD "), "localhost").await;

    let composed = documents("local/compose.yaml");
    let services = &composed[0]["services"];
    let (kinesis, worker) = (&services["kinesis"], &services["worker"]);
    assert_eq!(kinesis["build"]["dockerfile"].as_str(), Some("deploy/static/Dockerfile"));
    let command: Vec<String> =
        kinesis["command"].as_vec().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    starts(&command, "kinesis").await;
    for published in kinesis["ports"].as_vec().unwrap() {
        let published = published.as_str().unwrap();
        assert!(published.starts_with("127.0.0.1:"), "not for everybody: {published}");
    }
    let environment = worker["environment"].as_hash().unwrap();
    let value = |name: &str| environment[&Yaml::String(name.to_owned())].as_str().unwrap();
    assert_eq!(value("AWS_ENDPOINT_URL_KINESIS"), "http://kinesis:4567");
    assert_eq!(value("AWS_ENDPOINT_URL_DYNAMODB"), "http://kinesis:8000");
}

/// Whether a program that checks a language's files is here and takes this one.
async fn checks(program: &str, arguments: &[&str], name: &str) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name);
    match tokio::process::Command::new(program).args(arguments).arg(&path).output().await {
        Ok(output) => {
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(output.status.success() && !said.contains("error"), "{program} {name}: {said}");
        }
        Err(error) => crate::skipped(format!("{program} does not run: {error}")),
    }
}

#[tokio::test]
async fn examples_of_testcontainers_start_what_there_is() {
    let examples = ["KinesisTest.java", "test_kinesis.py", "kinesis_test.go", "kinesis.test.mjs"];
    for example in examples {
        let name = format!("local/testcontainers/{example}");
        let text = file(&name);
        let from = text.find("\"local\"").or_else(|| text.find("'local'")).unwrap();
        let command = text[from..].split([')', ']', '}']).next().unwrap().replace('\'', "\"");
        let command: Vec<String> = serde_json::from_str(&format!("[{command}]")).unwrap();
        starts(&command, "any.example").await;
        assert!(text.contains("rokini:static") && text.contains("4567") && text.contains("8000"), "{name}");
    }
    let name = |example: &str| format!("local/testcontainers/{example}");
    checks("node", &["--check"], &name("kinesis.test.mjs")).await;
    checks(
        "python3",
        &["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"],
        &name("test_kinesis.py"),
    )
    .await;
    checks("gofmt", &["-l", "-e"], &name("kinesis_test.go")).await;
}

#[tokio::test]
async fn the_action_starts_it_and_hands_on_its_variables() {
    let action = &documents("local/github-action/action.yml")[0];
    assert_eq!(action["runs"]["using"].as_str(), Some("composite"));
    let steps = action["runs"]["steps"].as_vec().unwrap();
    assert!(steps.iter().all(|step| step["shell"].as_str() == Some("bash")));
    let script = steps[1]["run"].as_str().unwrap();
    if tokio::process::Command::new("jq").arg("--version").output().await.is_err() {
        return crate::skipped("jq is not here");
    }
    let directory = tempfile::TempDir::new().unwrap();
    let run = |streams: &'static str, arguments: &'static str| {
        let mut bash = tokio::process::Command::new("bash");
        bash.args(["-c", script]).env("RUNNER_TEMP", directory.path());
        bash.env("GITHUB_ENV", directory.path().join("env")).env("ROKINI", env!("CARGO_BIN_EXE_rokini"));
        bash.env("STREAMS", streams).env("ARGUMENTS", arguments);
        bash.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        bash.stderr(std::process::Stdio::piped());
        bash
    };
    let started = run("orders:2 logs", "--kinesis-port 0 --dynamodb-port 0").status().await.unwrap();
    assert!(started.success());
    let variables = std::fs::read_to_string(directory.path().join("env")).unwrap();
    let value = |name: &str| {
        let line = variables.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap();
        line.to_owned()
    };
    let process = value("KINESIS_LOCAL_PID").parse().unwrap();
    let endpoints = Endpoints::new(value("AWS_ENDPOINT_URL_KINESIS"), value("AWS_ENDPOINT_URL_DYNAMODB"));
    let put = endpoints.run(&["put", "logs", "hello"]).await;
    let process = rustix::process::Pid::from_raw(process).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    put.done();
    let refused = run("orders:none", "").output().await.unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("orders:4"), "{refused:?}");
}

#[tokio::test]
async fn a_doctor_finds_the_one_action_that_is_missing() {
    use rokini_local::wire::ErrorCode;
    use rokini_local::{Fault, FaultRule};
    let local = Local::start(1).await;
    let doctor = ["doctor", "orders", "--group", "g", "--json"];
    // The table is not there yet, and is made by nobody.
    let missing = local.run(&doctor).await;
    assert_eq!(missing.status, Some(1), "{missing:?}");
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("its shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));

    let well = local.run(&doctor).await.done();
    let well: Value = serde_json::from_str(&well).unwrap();
    assert_eq!((&well["ok"], &well["failed"]), (&true.into(), &0.into()), "{well:#}");
    let names: Vec<&str> =
        well["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    for action in ["credentials", "clock", "kinesis:GetRecords", "table-layout", "dynamodb:PutItem", "cost"] {
        assert!(names.contains(&action), "{action}: {names:?}");
    }

    for operation in ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"] {
        let code = ErrorCode::AccessDenied;
        let fault = Fault::Error { code, message: "not for you".to_owned(), status: None };
        let rule = local.kinesis.faults().add(FaultRule::on(operation, fault));
        let ended = local.run(&doctor).await;
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        let failed: Vec<&Value> =
            found["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "fail").collect();
        assert_eq!((ended.status, failed.len()), (Some(1), 1), "{operation}: {found:#}");
        assert_eq!(failed[0]["name"], format!("kinesis:{operation}"), "{found:#}");
        assert!(failed[0]["next"].is_string());
        assert!(local.kinesis.faults().remove(rule));
    }
    // Nothing was written.
    let shown = local.run(&["group", "list", "--json"]).await.done();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["groups"].as_array().unwrap().len(), 1, "{shown}");
}

/// What it says failed.
fn failed(ended: &crate::support::Ended) -> Vec<(String, String)> {
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "fail");
    checks
        .map(|check| {
            let text = |member: &str| check[member].as_str().unwrap().to_owned();
            (text("name"), text("next"))
        })
        .collect()
}

#[tokio::test]
async fn a_doctor_finds_each_action_on_the_table_that_is_denied() {
    use rokini_local::wire::ErrorCode;
    use rokini_local::{Database, Fault, FaultRule, Faults, LocalDynamo, LocalKinesis};
    let kinesis = LocalKinesis::builder().stream("orders", 2).start().await.unwrap();
    let faults = Faults::new(1);
    let database = Database::memory().unwrap();
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let dynamo = LocalDynamo::with_faults(database, address, faults.clone()).await.unwrap();
    let endpoints = Endpoints::new(kinesis.endpoint_url(), dynamo.endpoint_url());
    let local = Local { kinesis, dynamo, endpoints };
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("its shards", |member| member.stderr().matches("started at").count() == 2).await;
    assert_eq!(member.stop().await, Some(0));

    let doctor = ["doctor", "orders", "--group", "g", "--json"];
    assert_eq!(failed(&local.run(&doctor).await), []);
    for operation in ["GetItem", "Query", "UpdateItem", "DeleteItem", "PutItem", "DescribeTable"] {
        let fault =
            Fault::Error { code: ErrorCode::AccessDenied, message: "not for you".to_owned(), status: None };
        let rule = faults.add(FaultRule::on(operation, fault));
        let ended = local.run(&doctor).await;
        if operation == "DescribeTable" {
            // Workers do without it.
            let warned: Value = serde_json::from_str(&ended.stdout).unwrap();
            let warned = warned["checks"]
                .as_array()
                .unwrap()
                .iter()
                .find(|check| check["name"] == "dynamodb:DescribeTable");
            assert_eq!((ended.status, &warned.unwrap()["status"]), (Some(0), &"warn".into()), "{ended:?}");
        } else {
            let found = failed(&ended);
            assert_eq!((ended.status, found.len()), (Some(1), 1), "{operation}: {ended:?}");
            assert_eq!(found[0].0, format!("dynamodb:{operation}"));
            assert!(found[0].1.contains("--policy"), "{found:?}");
        }
        assert!(faults.remove(rule));
    }
    // What cannot be tried is named, and whose the credentials are.
    let pushed = [&doctor[..], &["--config", "worker.toml"]].concat();
    let toml = "retrieval = \"fan_out\"\nmonitoring = \"cloudwatch\"\n";
    std::fs::write(local.home().join("worker.toml"), toml).unwrap();
    let said: Value = serde_json::from_str(&local.run(&pushed).await.done()).unwrap();
    let status = |name: &str| {
        let checks = said["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("{name}: {said:#}"))
    };
    for name in ["kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard", "cloudwatch:PutMetricData"] {
        assert_eq!(status(name)["status"], "warn", "{name}");
    }
    for (name, words) in [
        ("credentials", "of the environment"),
        ("consumers", "0 of 20"),
        ("kinesis:DescribeStreamConsumer", "not registered yet"),
        ("cost", "the stream's 2 shards"),
        ("retention", "2 shards"),
    ] {
        assert_eq!(status(name)["status"], "ok", "{}", status(name));
        assert!(status(name)["what"].as_str().unwrap().contains(words), "{}", status(name));
    }
}

#[tokio::test]
async fn completions_and_man_pages_come_from_the_arguments() {
    let endpoints = nowhere();
    for shell in ["bash", "zsh", "fish"] {
        let script = endpoints.run(&["completions", shell]).await.done();
        assert!(script.contains("rokini") && script.contains("doctor"), "{shell}");
    }
    endpoints.run(&["man", "--to", "."]).await.done();
    let page = std::fs::read_to_string(endpoints.home().join("rokini-group-seek.1")).unwrap();
    assert!(page.contains("dry\\-run"), "{page}");
    endpoints.run(&["man", "--to", "nowhere"]).await.refused(1, &["cannot write man pages", "next:"]);
}

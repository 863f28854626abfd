//! The files of `deploy/`: parsed, and held against what the code needs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::{Ended, Endpoints, Member};

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
        let printed = Ended::of(command).await.done().replace(":us-east-1:", ":*:");
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
    // Names that stay are the pods', each its own.
    let set = documents("kubernetes/statefulset.yaml");
    let set = set.iter().find(|one| one["kind"].as_str() == Some("StatefulSet")).unwrap();
    let variables = set["spec"]["template"]["spec"]["containers"][0]["env"].as_vec().unwrap();
    let name = variables.iter().find(|one| one["name"].as_str() == Some("ROKINI_WORKER"));
    let from = name.map(|name| &name["valueFrom"]["fieldRef"]["fieldPath"]);
    assert_eq!(from.and_then(Yaml::as_str), Some("metadata.name"));
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

/// The words after the program, as a shell of systemd, Docker or Kubernetes hands them over, with the environment beside them.
struct Start {
    name: String,
    words: Vec<String>,
    environment: Vec<(String, String)>,
}

fn strings(words: &[Yaml]) -> Vec<String> {
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// What each manifest starts.
fn starts_of_manifests() -> Vec<Start> {
    let mut starts = Vec::new();
    for name in ["kubernetes/worker.yaml", "kubernetes/statefulset.yaml"] {
        let documents = documents(name);
        let pods = documents.iter().map(|one| &one["spec"]["template"]["spec"]["containers"]);
        for container in pods.filter_map(Yaml::as_vec).flatten() {
            assert!(container["command"].is_badvalue(), "{name}: the image says what is run");
            let environment = container["env"].as_vec().unwrap().iter().map(|one| {
                // What the cluster fills in.
                let value = one["value"].as_str().unwrap_or("pod-7");
                (one["name"].as_str().unwrap().to_owned(), value.to_owned())
            });
            let words = strings(container["args"].as_vec().unwrap());
            starts.push(Start { name: name.to_owned(), words, environment: environment.collect() });
        }
    }
    let task: Value = serde_json::from_str(&file("ecs/task-definition.json")).unwrap();
    for container in task["containerDefinitions"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let words = container["command"].as_array().unwrap().iter().map(text).collect();
        let environment = container["environment"].as_array().unwrap().iter();
        let environment = environment.map(|one| (text(&one["name"]), text(&one["value"]))).collect();
        starts.push(Start { name: "ecs/task-definition.json".to_owned(), words, environment });
    }
    let unit = file("systemd/rokini@.service").replace("%i", "billing");
    let command =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/rokini ")).unwrap();
    starts.push(Start {
        name: "systemd/rokini@.service".to_owned(),
        words: command.split_whitespace().map(str::to_owned).collect(),
        // As the head of the file says that EnvironmentFile has it.
        environment: ["ROKINI_STREAM=orders", "ROKINI_TABLE=rokini", "AWS_REGION=eu-central-1"]
            .map(|setting| setting.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    });
    let worker = &documents("local/compose.yaml")[0]["services"]["worker"];
    let environment = worker["environment"].as_hash().unwrap().iter();
    starts.push(Start {
        name: "local/compose.yaml".to_owned(),
        words: strings(worker["command"].as_vec().unwrap()),
        environment: environment
            .map(|(name, value)| (name.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned()))
            .collect(),
    });
    starts
}

/// The real command line reads what each manifest starts, with its environment, and finds a stream and a group in it.
#[tokio::test]
async fn x1_what_manifests_start_is_understood() {
    let starts = starts_of_manifests();
    assert_eq!(starts.len(), 5);
    for Start { name, words, environment } in starts {
        let printed = async |words: &[String]| {
            let (options, program) =
                words.split_at(words.iter().position(|word| word == "--").unwrap_or(words.len()));
            let options: Vec<&str> =
                options.iter().map(String::as_str).chain(["--print-config", "--json"]).collect();
            let program: Vec<&str> = program.iter().map(String::as_str).collect();
            let endpoints = nowhere();
            let mut command = endpoints.rokini(&[&options[..], &program].concat());
            command.envs(environment.iter().map(|(name, value)| (name, value)));
            Ended::of(command).await
        };
        let shown: Value = serde_json::from_str(&printed(&words).await.done()).unwrap();
        let value =
            |setting: &str| shown[setting]["value"].as_str().unwrap_or_else(|| panic!("{name}: {shown:#}"));
        assert!(!value("stream").is_empty() && !value("group").is_empty(), "{name}");
        for (variable, value) in &environment {
            let Some(setting) = variable.strip_prefix("ROKINI_").map(str::to_lowercase) else { continue };
            let said = &shown[&setting];
            assert_eq!(
                (&said["value"], &said["origin"]),
                (&value.as_str().into(), &"environment".into()),
                "{name}"
            );
        }
        // The check fails where there is no such option.
        let mut wrong = words.clone();
        wrong.insert(1, "--no-such-option".to_owned());
        assert_eq!(printed(&wrong).await.status, Some(2), "{name}");
    }
    // An image has no arguments of its own but those of its `CMD`, and starts the binary that is put there.
    let image = file("Dockerfile");
    let entry = words(&image, "ENTRYPOINT ");
    assert!(image.contains(&format!(" {}\n", entry[0])), "what is started is copied there: {entry:?}");
    assert!(!image.contains("\nCMD "));
}

/// One number, wherever somebody asks how much memory a worker takes beside its budget.
#[test]
fn what_a_worker_takes_beside_its_budget_is_one_number() {
    let documents = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    let said = format!("about {} MB", rokini::MEMORY_OVERHEAD >> 20);
    for name in ["DEPLOYMENT.md", "CONFIGURATION.md"] {
        let text = std::fs::read_to_string(documents.join(name)).unwrap();
        assert!(text.contains(&said), "{name} does not say `{said}`");
    }
    // What the manifests give has room for both.
    let worker = &self::documents("kubernetes/worker.yaml")[0]["spec"]["template"]["spec"]["containers"][0];
    let limit = worker["resources"]["limits"]["memory"].as_str().unwrap();
    let limit: usize = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    let budget = worker["env"].as_vec().unwrap().iter();
    let budget = budget.filter(|one| one["name"].as_str() == Some("ROKINI_MEMORY_BUDGET"));
    let budget: usize = budget.map(|one| one["value"].as_str().unwrap().parse::<usize>().unwrap()).sum();
    assert!(budget > 0 && budget + rokini::MEMORY_OVERHEAD < limit << 20, "{limit} MiB");
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

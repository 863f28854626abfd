//! The pages under `docs/` say what the code says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use rokini::{ConfigKey, ConsumerConfig, EventCode, Metric, MetricKind, MetricScope, MetricStability};

const INTRODUCTION: &str = "\
# Settings

One set of keys, three ways to give them: the builder (`.failover(Duration::from_secs(15))`, or
`.set(ConfigKey::Failover, \"15s\")`),
the environment (`ROKINI_FAILOVER=15s`), a TOML file (`failover = \"15s\"`). The builder wins over the environment, the
environment over the file. The library reads neither environment nor files by itself: `ConsumerConfig::from_env` and
`ConsumerConfig::from_toml_str` do, when called; `rokini consume` calls both.

An unknown key, a wrong value, and a setting that would have no effect are errors at the start. Variables that
Kubernetes sets for a service called `rokini` or `rokini-...` (`ROKINI_PORT`, `ROKINI_METRICS_SERVICE_HOST`, ...) are
passed over.
`rokini consume --print-config` prints what is in effect and where it comes from.

Region, credentials, profile and endpoints are not settings of Rokini: they come from the usual AWS settings
(`AWS_REGION`, `AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_KINESIS`, `AWS_ENDPOINT_URL_DYNAMODB`, ...).

So do the ways to the services, for Kinesis, DynamoDB, CloudWatch, SQS and an OpenTelemetry collector alike:

- `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`: `http://[user:password@]host[:port]` (or `https://`, where the way to the proxy
  is to be encrypted). Calls by HTTPS go through a tunnel (CONNECT).
- `NO_PROXY`: what is left out, with commas between: domains with all below them, addresses, networks, or `*`. Calls to
  `localhost`, loopback and link-local addresses (the metadata services of instances and containers) go through no proxy in any
  case.
- `AWS_CA_BUNDLE`: a PEM file with certificates to trust beside those of the host. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace
  those of the host.

`AwsOptions::load` and the binary read these; a program says otherwise with `AwsOptions::http(HttpOptions)`. An HTTP client of
your own in the AWS configuration is used as it is: the SDK's default one keeps a single HTTP/2 connection to each host, without
keep-alive, and goes on using it after it fell silent.

Durations are whole numbers with a unit out of `d`, `h`, `m`, `s`, `ms` (and `us`, `ns`): `250ms`, `10s`, `1h30m`. A bare
number is seconds.
";

fn settings_page() -> String {
    let defaults = ConsumerConfig::default();
    let mut page = INTRODUCTION.to_owned();
    for key in ConfigKey::ALL {
        let default = defaults.text(*key).map_or_else(|| "none".to_owned(), |text| format!("`{text}`"));
        write!(page, "\n## `{key}`\n\n{}\n\n", key.help()).unwrap();
        writeln!(page, "Environment: `{}`. Default: {default}.", key.env_name()).unwrap();
    }
    page
}

#[test]
fn t3_every_setting_is_documented_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIGURATION.md");
    let expected = settings_page();
    if std::env::var_os("ROKINI_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        found, expected,
        "docs/CONFIGURATION.md differs from the code: ROKINI_WRITE_DOCS=1 cargo test -p rokini --test it docs::"
    );
}

const METRICS_INTRODUCTION: &str = include_str!("docs/metrics.md");

fn metrics_page() -> String {
    let mut page = METRICS_INTRODUCTION.to_owned();
    let scopes = [
        (MetricScope::Shard, "For each shard of the worker"),
        (MetricScope::Stream, "For each stream"),
        (MetricScope::Worker, "For the worker"),
        (MetricScope::Handler, "For handlers in other processes"),
        (MetricScope::Code, "For each event code"),
    ];
    for (scope, title) in scopes {
        let metrics: Vec<Metric> =
            Metric::ALL.iter().copied().filter(|metric| metric.scope() == scope).collect();
        let labels: Vec<String> = metrics[0].labels().iter().map(|label| format!("`{label}`")).collect();
        write!(page, "\n### {title}\n\nLabels: {}.\n\n", labels.join(", ")).unwrap();
        writeln!(page, "| metric | kind | OpenTelemetry | meaning |\n|---|---|---|---|").unwrap();
        for metric in metrics {
            let kind = match metric.kind() {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                _ => "histogram",
            };
            let evolving = if metric.stability() == MetricStability::Stable { "" } else { " *May change.*" };
            let (name, otlp, help) = (metric.name(), metric.otlp_name(), metric.help());
            writeln!(page, "| `{name}` | {kind} | `{otlp}` | {help}{evolving} |").unwrap();
        }
    }
    let bounds: Vec<String> = Metric::HandlerTime.buckets().iter().map(f64::to_string).collect();
    writeln!(page, "\nThe buckets of histograms end at {} s, and one is for all above.", bounds.join(", "))
        .unwrap();
    page
}

#[test]
fn every_metric_is_documented_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/METRICS.md");
    let expected = metrics_page();
    if std::env::var_os("ROKINI_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        found, expected,
        "docs/METRICS.md differs from the code: ROKINI_WRITE_DOCS=1 cargo test -p rokini --test it docs::"
    );
}

/// Names of metrics in a text, without what Prometheus makes of histograms.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split(|c| !word(c)).filter(|name| name.starts_with("rokini_"));
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned()).collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring");
    let known: BTreeSet<String> = Metric::ALL.iter().map(|metric| metric.name().to_owned()).collect();
    for (file, at_least) in [("grafana.json", 25), ("alerts.yml", 10)] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let named = metrics_in(&text);
        assert!(named.len() >= at_least, "{file} names {named:?}");
        assert!(named.is_subset(&known), "{file}: {:?}", named.difference(&known));
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("grafana.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| !panel["targets"][0]["expr"].as_str().unwrap().is_empty()));
}

/// Where Prometheus is installed, its own tool reads the rules and each query of the dashboard.
#[test]
fn promtool_accepts_alerts_and_dashboard() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring");
    let promtool =
        |arguments: &[&std::ffi::OsStr]| std::process::Command::new("promtool").args(arguments).output();
    let alerts = folder.join("alerts.yml");
    let Ok(checked) = promtool(&["check".as_ref(), "rules".as_ref(), alerts.as_os_str()]) else {
        crate::skipped("promtool is not installed (Debian: apt-get install prometheus)");
        return;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let text = std::fs::read_to_string(folder.join("grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: String = targets
        .enumerate()
        .map(|(n, target)| format!("  - record: panel:{n}\n    expr: {}\n", target["expr"]))
        .collect();
    let file = std::env::temp_dir().join(format!("rokini-panels-{}.yml", std::process::id()));
    std::fs::write(&file, format!("groups:\n- name: panels\n  rules:\n{rules}")).unwrap();
    let checked = promtool(&["check".as_ref(), "rules".as_ref(), file.as_os_str()]).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The first cell of each row of the page's table of events: codes in code spans.
#[test]
fn every_event_code_is_explained_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/TROUBLESHOOTING.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.split("| code | meaning | do |").nth(1).expect("the table of events");
    let table = table.split("\n\n").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let mut explained: Vec<&str> = rows.flat_map(|cell| cell.split('`').step_by(2)).collect();
    explained.sort_unstable();
    let mut codes: Vec<&str> = EventCode::ALL.iter().map(|code| code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(explained, codes);
}

/// Every function in the Rust files below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_semantics_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    for folder in ["crates", "sim"] {
        functions(&root.join(folder), &mut found);
    }
    let page = std::fs::read_to_string(root.join("docs/SEMANTICS.md")).unwrap();
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)).collect();
    assert!(named.len() > 30, "the page names tests");
    for name in named {
        assert!(found.contains(name), "docs/SEMANTICS.md names the test `{name}`, which does not exist");
    }
}

/// A letter, digits, an underscore, as the tests that keep promises are named; or a sentence, as others are.
fn is_test_name(name: &str) -> bool {
    let promise = name.split('_').next().unwrap_or_default();
    let (letter, number) = promise.split_at(promise.len().min(1));
    let keeps = letter.chars().all(char::is_lowercase) && number.parse::<u32>().is_ok();
    let words = name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
    words && (keeps && name.contains('_') || name.matches('_').count() > 3)
}

//! The settings of `consume`.

use serde_json::Value;

use crate::support::{Ended, Endpoints};

fn nowhere() -> Endpoints {
    Endpoints::new("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1".to_owned())
}

#[tokio::test]
async fn t3_the_effective_configuration_can_be_printed() {
    let endpoints = nowhere();
    let file = endpoints.home().join("consume.toml");
    std::fs::write(&file, "group = 'filed'\nfailover = '21s'\nheartbeat = '2s'\npoll_ceiling = '3s'\n")
        .unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["consume", "orders", "--config", file, "--failover", "23s", "--print-config"];
    let printed = |arguments: &[&str]| {
        let mut command = endpoints.rokini(arguments);
        command.env("ROKINI_HEARTBEAT", "3s").env("ROKINI_FAILOVER", "22s");
        Ended::of(command)
    };
    let text = printed(&arguments).await.done();
    for line in [
        "stream = \"orders\" # command line",
        "group = \"filed\" # file",
        "failover = \"23s\" # command line",
        "heartbeat = \"3s\" # environment",
        "poll_ceiling = \"3s\" # file",
        "poll_floor = \"200ms\" # default",
        "create_table = true # default",
        "# read_capacity_units = 10 # default",
    ] {
        assert!(text.lines().any(|printed| printed == line), "`{line}` is not in\n{text}");
    }
    let json: Value =
        serde_json::from_str(&printed(&[&arguments[..], &["--json"]].concat()).await.done()).unwrap();
    assert_eq!(json["heartbeat"], serde_json::json!({"value": "3s", "origin": "environment"}));
    assert_eq!(json["max_leases"], serde_json::json!({"value": "unlimited", "origin": "default"}));
    assert_eq!(json.as_object().unwrap().len(), text.lines().count());

    // The hint of other errors: it works without a stream and a group.
    let bare = endpoints.run(&["consume", "--print-config"]).await.done();
    assert!(bare.contains("# stream is not set\n") && bare.contains("# group is not set\n"), "{bare}");

    // What it prints it can read.
    std::fs::write(endpoints.home().join("again.toml"), &text).unwrap();
    let again = endpoints.run(&["consume", "--config", "again.toml", "--print-config"]).await.done();
    let values = |text: &str| {
        let setting = |line: &str| line.rsplit_once(" # ").map_or(line, |(setting, _)| setting).to_owned();
        text.lines().map(setting).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&text));
}

#[tokio::test]
async fn t3_secrets_are_not_printed() {
    let endpoints = nowhere();
    let set = "otlp_headers=x-key=hush";
    let arguments =
        ["consume", "s", "-g", "g", "--print-config", "--set", "monitoring=otlp", "--set", set, "--json"];
    let text = endpoints.run(&arguments[..arguments.len() - 1]).await.done();
    assert!(text.contains("\n# otlp_headers = \"x-key=***\" # command line\n"), "{text}");
    let json = endpoints.run(&arguments).await.done();
    let shown = &serde_json::from_str::<Value>(&json).unwrap()["otlp_headers"]["value"];
    assert_eq!(shown, "x-key=***");
    assert!(!text.contains("hush") && !json.contains("hush"));
}

#[tokio::test]
async fn a_table_is_made_only_where_it_costs_nothing() {
    for (dynamodb, expected) in [
        ("http://127.0.0.1:8000", "true"),
        ("http://localhost:8000", "true"),
        ("http://dynamodb.example.com", "false"),
    ] {
        let endpoints = Endpoints::new("http://127.0.0.1:1".to_owned(), dynamodb.to_owned());
        let text = endpoints.run(&["consume", "s", "-g", "g", "--print-config"]).await.done();
        assert!(text.contains(&format!("create_table = {expected} # default")), "{dynamodb}: {text}");
    }
}

#[tokio::test]
async fn arguments_and_settings_that_make_no_sense_are_refused() {
    let endpoints = nowhere();
    for (arguments, said) in [
        (&["consume", "orders"][..], &["error: no group is named", "next: give `--group NAME`"][..]),
        (&["consume", "-g", "g"], &["error: no stream is named", "next: `rokini consume STREAM"]),
        (
            &["consume", "s", "-g", "g", "--failover", "five"],
            &["error: setting `failover` cannot be `five`", "`250ms`"],
        ),
        (
            &["consume", "s", "-g", "g", "--set", "failover"],
            &["`--set failover` is not a key and a value", "next:"],
        ),
        (
            &["consume", "s", "-g", "g", "--set", "auto_checkpoint=false"],
            &["has no effect here", "command line"],
        ),
        (
            &["consume", "s", "-g", "g", "--heartbeat", "9s"],
            &["`heartbeat = 9s`", "`failover = 10s`", "`4s`"],
        ),
        (
            &["consume", "s", "-g", "g", "--config", "gone.toml"],
            &["cannot read", "`gone.toml`", "why: No such file"],
        ),
        (&["consume", "s", "-g", "a b"], &["error:", "group", "`a b`"]),
        (&["consume", "a b", "-g", "g"], &["error:", "a b"]),
        (&["put", "s", "x", "--size", "7"], &["--size", "DATA"]),
        (&["put", "s", "--size", "7"], &["--random"]),
        (&["put", "s", "x", "--unordered"], &["--key"]),
        (&["tail", "s", "--from", "yesterday"], &["yesterday", "-10m"]),
        (&["tail", "s", "--format", "hex", "--json"], &["give one of them", "`--json`", "`--format`"]),
        (&["local", "--status-change", "500"], &["expected a duration with its unit", "`250ms`"]),
        (&["tail", "s", "--format", "xml"], &["xml", "text, json, hex, raw"]),
        (&["frobnicate"], &["frobnicate"]),
    ] {
        endpoints.run(arguments).await.refused(2, said);
    }
}

#[tokio::test]
async fn o14_a_setting_that_cannot_act_on_the_command_line_is_refused() {
    let endpoints = nowhere();
    for setting in [
        "auto_checkpoint=false",
        "bisect=false",
        "broadcast=true",
        "concurrency=4",
        "dead_letter=file:dead.jsonl",
        "handler_timeout=30s",
        "max_attempts=3",
        "max_failure_age=5m",
        "on_failure=skip",
        "park=true",
    ] {
        let (key, value) = setting.split_once('=').unwrap();
        let said = format!("error: `{key} = {value}` has no effect here: ");
        let arguments = ["consume", "s", "-g", "g", "--set", setting];
        endpoints
            .run(&arguments)
            .await
            .refused(2, &[&said, "next: remove it (it comes from the command line)"]);
        let mut command = endpoints.rokini(&["consume", "s", "-g", "g"]);
        command.env(format!("ROKINI_{}", key.to_uppercase()), value);
        Ended::of(command).await.refused(2, &[&said, "next: remove it (it comes from the environment)"]);
    }
}

/// Options that would do nothing beside others.
#[tokio::test]
async fn o14_options_that_cannot_act_beside_others_are_refused() {
    let endpoints = nowhere();
    for (arguments, says) in [
        ("group move g 3 w --dry-run --wait 5s", "--wait"),
        ("group drain g w --dry-run --wait 5s", "--wait"),
        ("group move g 3 --unpin --wait 5s", "--wait"),
        ("group repartition g 2 --dry-run --rows-per-second 5", "--rows-per-second"),
        ("group events g --follow --for 5s", "--for"),
        ("group show g --wide --json", "--wide"),
        ("import --from kcl --table t --stream s --group g --namespace n", "--namespace"),
        ("doctor s --kms-key 1234abcd", "--policy"),
        ("doctor s --policy --terraform", "--terraform"),
        ("doctor s --policy --workers 3", "--workers"),
        ("put s --speed 2", "--speed"),
        ("put s x --size 5", "--size"),
        ("put s --unordered", "--key"),
        ("tail s --sequence-numbers --format raw", "--sequence-numbers"),
        ("tail s --stats --quiet", "--quiet"),
        ("stream create s --on-demand --shards 2", "--shards"),
        ("demo --seed 7", "--seed"),
        ("local --tls-cert a.pem", "--tls-key"),
    ] {
        let ended = endpoints.run(&arguments.split(' ').collect::<Vec<_>>()).await;
        ended.refused(2, &["error", says]);
    }
}

#[tokio::test]
async fn a_start_is_accepted_in_every_form_and_place() {
    let endpoints = nowhere();
    let consume = ["consume", "s", "-g", "g", "--print-config"];
    let starts = async |command: tokio::process::Command, start: &str| {
        let text = Ended::of(command).await.done();
        let line = text.lines().find(|line| line.starts_with("start = ")).unwrap();
        assert!(line.starts_with(&format!("start = \"{start}")), "{line}");
    };
    for (given, start) in [
        ("trim_horizon", "trim_horizon"),
        ("TRIM_HORIZON", "trim_horizon"),
        ("horizon", "trim_horizon"),
        ("LATEST", "latest"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"),
        ("1700000000000", "2023-11-14T22:13:20Z"),
        ("1700000000", "2023-11-14T22:13:20Z"),
        ("-10m", "-10m"),
        ("10m ago", "-10m"),
        ("AFTER_SEQUENCE_NUMBER:5", "after:5"),
    ] {
        for option in ["--start", "--from"] {
            starts(endpoints.rokini(&[&consume[..], &[option, given]].concat()), start).await;
        }
    }
}

#[tokio::test]
async fn t3_an_unknown_key_is_refused_wherever_it_comes_from() {
    let endpoints = nowhere();
    let consume = ["consume", "orders", "-g", "g"];
    let by_option = endpoints.run(&[&consume[..], &["--set", "failver=20s"]].concat()).await;
    by_option.refused(
        2,
        &["error: unknown setting `failver`: did you mean `failover`?\n", "next: `rokini consume"],
    );

    let mut command = endpoints.rokini(&consume);
    command.env("ROKINI_FAILVER", "20s");
    Ended::of(command)
        .await
        .refused(2, &["unknown environment variable `ROKINI_FAILVER`", "`ROKINI_FAILOVER`"]);

    std::fs::write(endpoints.home().join("bad.toml"), "failver = '20s'\n").unwrap();
    let by_file = endpoints.run(&[&consume[..], &["--config", "bad.toml"]].concat()).await;
    by_file
        .refused(2, &["error: bad.toml: unknown setting `failver`", "did you mean `failover`?\n", "next:"]);

    std::fs::write(endpoints.home().join("bad.toml"), "group = 'g'\nfailover = \n").unwrap();
    let by_file = endpoints.run(&[&consume[..], &["--config", "bad.toml"]].concat()).await;
    by_file.refused(2, &["error: bad.toml: ", "not TOML at line 2"]);
}

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
async fn settings_that_cannot_be_are_refused() {
    let endpoints = nowhere();
    for (arguments, said) in [
        (&["consume", "orders"][..], &["error: no group is named", "next: give `--group NAME`"][..]),
        (&["consume", "-g", "g"], &["error: no stream is named", "next: `rokini consume STREAM"]),
        (
            &["consume", "s", "-g", "g", "--failover", "5"],
            &["error: setting `failover` cannot be `5`", "`250ms`"],
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
            &["`heartbeat = 9s`", "`failover = 10s`", "`2500ms`"],
        ),
        (
            &["consume", "s", "-g", "g", "--config", "gone.toml"],
            &["cannot read", "`gone.toml`", "why: No such file"],
        ),
        (&["consume", "s", "-g", "a b"], &["error:", "group", "`a b`"]),
        (&["consume", "a b", "-g", "g"], &["error:", "a b"]),
        (&["put", "s", "x", "--size", "7"], &["--size", "DATA"]),
        (&["put", "s", "--size", "7"], &["--random"]),
        (&["tail", "s", "--from", "yesterday"], &["yesterday", "-10m"]),
        (&["tail", "s", "--format", "xml"], &["xml", "text, json, hex, raw"]),
        (&["frobnicate"], &["frobnicate"]),
    ] {
        endpoints.run(arguments).await.refused(2, said);
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

//! Bad input: what happened, where, and what next; nothing on standard output; the status that the help promises.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use rokini_local::wire::ErrorCode;
use rokini_local::{Fault, FaultRule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Ended, Endpoints, Local, dynamodb};

/// The commands that need a stream.
const STREAM_COMMANDS: [&[&str]; 3] = [
    &["consume", "orders", "--group", "g"],
    &["put", "orders", "hello"],
    &["tail", "orders", "--from", "trim_horizon"],
];
/// The commands that need a table.
const TABLE_COMMANDS: [&[&str]; 4] = [
    &["consume", "orders", "--group", "g"],
    &["group", "show", "g"],
    &["group", "list"],
    &["group", "seek", "g", "--to", "latest", "--yes"],
];

#[tokio::test]
async fn no_such_stream() {
    let local = Local::start(1).await;
    for command in STREAM_COMMANDS {
        let arguments: Vec<_> =
            command.iter().map(|word| if *word == "orders" { "nope" } else { *word }).collect();
        local.run(&arguments).await.refused(
            2,
            &[
                "error: stream `nope` does not exist in region `us-east-1`",
                "why: ResourceNotFoundException: Stream nope under account 000000000000 not found.",
                "next: `rokini stream list --region us-east-1`",
            ],
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_is_no_url() {
    let local = Local::start(1).await;
    for url in ["nonsense", "localhost:4567", "http://", "ftp://localhost", "http://localhost:99999"] {
        for (variable, service, command) in [
            ("AWS_ENDPOINT_URL_KINESIS", "Kinesis", STREAM_COMMANDS[1]),
            ("AWS_ENDPOINT_URL_DYNAMODB", "DynamoDB", TABLE_COMMANDS[1]),
        ] {
            let mut command = local.rokini(command);
            command.env(variable, url);
            let said = format!("error: the endpoint of {service} is `{url}`, which is no URL");
            Ended::of(command).await.refused(2, &[&said, "next: give one such as", variable]);
        }
        for command in [STREAM_COMMANDS[1], TABLE_COMMANDS[1]] {
            let said = format!("error: `--endpoint-url` is `{url}`, which is no URL");
            let refused = local.run(&[command, &["--endpoint-url", url]].concat()).await;
            refused.refused(2, &[&said, "next: give one such as"]);
        }
    }
    // That of a service is looked at before anything is asked.
    let run = ["run", "nope", "--group", "g", "--handler", "http", "--url", "nonsense"];
    local.run(&run).await.refused(2, &["error: `nonsense` is no URL"]);
}

#[tokio::test]
async fn a_position_of_another_shard() {
    let local = Local::start(2).await;
    let put = local.put_evenly("orders", (0..4).map(|n| n.to_string())).await;
    let (_, of_other) = put.iter().find(|(shard, _)| shard.ends_with('1')).unwrap();
    let at = format!("at:{of_other}");
    for command in ["tail", "dump"] {
        let refused = local.run(&[command, "orders", "--shard", "0", "--from", &at]).await;
        refused.refused(
            2,
            &[
                &format!("error: shard shardId-000000000000 cannot be read from AT:{of_other}"),
                "why: ",
                "next: take the number",
            ],
        );
        assert!(!refused.stderr.contains("report"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn wrong_region() {
    let local = Local::start(1).await;
    let arn = "arn:aws:kinesis:eu-west-1:000000000000:stream/orders";
    for command in STREAM_COMMANDS {
        let arguments: Vec<_> =
            command.iter().map(|word| if *word == "orders" { arn } else { *word }).collect();
        local.run(&arguments).await.refused(2, &[
            &format!("error: stream `{arn}` is in region `eu-west-1`, but the AWS configuration says `us-east-1`"),
            "AWS_REGION=eu-west-1",
        ]);
    }
    for command in STREAM_COMMANDS.into_iter().chain(TABLE_COMMANDS) {
        let mut unset = local.rokini(command);
        unset.env_remove("AWS_REGION");
        Ended::of(unset)
            .await
            .refused(2, &["error: no AWS region is set", "next: `export AWS_REGION=us-east-1`"]);
    }
}

#[tokio::test]
async fn missing_table() {
    let local = Local::start(1).await;
    for command in TABLE_COMMANDS {
        let mut command = local.rokini(command);
        // Beside a service on this machine it would be made.
        command.env("ROKINI_CREATE_TABLE", "false");
        Ended::of(command).await.refused(
            2,
            &[
                "error: table `rokini` does not exist (region `us-east-1`",
                "partition key `group` (string) and sort key `row` (string)",
                "`--create-table`",
                "next: `aws dynamodb list-tables --region us-east-1 --endpoint-url",
            ],
        );
    }
}

#[tokio::test]
async fn wrong_table_schema() {
    let local = Local::start(1).await;
    let client = dynamodb(&local);
    let key =
        AttributeDefinition::builder().attribute_name("leaseKey").attribute_type(ScalarAttributeType::S);
    let role = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash);
    let table = client.create_table().table_name("kcl").billing_mode("PAY_PER_REQUEST".into());
    let table = table.attribute_definitions(key.build().unwrap()).key_schema(role.build().unwrap());
    table.send().await.unwrap();
    local.run(&["consume", "orders", "--group", "g", "--table", "kcl"]).await.refused(
        2,
        &[
            "error: table `kcl` (region `us-east-1`",
            "has ",
            "`leaseKey`",
            "expected partition key `group` (S) and sort key `row` (S)",
            "next: ",
        ],
    );
}

#[tokio::test]
async fn no_permission_on_the_stream() {
    let local = Local::start(1).await;
    let message = "User: arn:aws:iam::1:user/u is not authorized to perform this action".to_owned();
    let denied = |operation: &str| {
        let fault = Fault::Error { code: ErrorCode::AccessDenied, message: message.clone(), status: None };
        local.kinesis.faults().add(FaultRule::on(operation, fault))
    };
    let said = |action: &str| {
        [
            action.to_owned(),
            "stream `orders` in region `us-east-1`".to_owned(),
            "not allowed".to_owned(),
            format!("why: AccessDeniedException: {message}"),
            "next: `aws sts get-caller-identity`".to_owned(),
        ]
    };
    let rule = denied("PutRecords");
    let put = local.run(&["put", "orders", "hello"]).await;
    assert!(put.stderr.starts_with("put 0 records (0 bytes) into `orders`"), "{}", put.stderr);
    put.refused(3, &said("error: kinesis:PutRecords").each_ref().map(String::as_str));
    local.kinesis.faults().remove(rule);
    denied("DescribeStreamSummary");
    for command in STREAM_COMMANDS {
        let ended = local.run(command).await;
        ended.refused(3, &said("error: kinesis:DescribeStreamSummary").each_ref().map(String::as_str));
    }
}

/// Answers every request with this status and body.
async fn answering(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 64 << 10];
                // Requests here are small: one read has all of them.
                let _ = socket.read(&mut request).await;
                let head = "content-type: application/x-amz-json-1.0\r\nconnection: close";
                let answer =
                    format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn no_permission_on_the_table() {
    let body = r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized"}"#;
    let local = Local::start(1).await;
    let endpoints = Endpoints::new(local.kinesis.endpoint_url(), answering("400 Bad Request", body).await);
    for command in TABLE_COMMANDS {
        endpoints.run(command).await.refused(
            3,
            &[
                "error: ",
                "dynamodb:",
                "table `rokini`",
                "AccessDeniedException",
                "next: `aws sts get-caller-identity`",
            ],
        );
    }
}

#[tokio::test]
async fn no_credentials() {
    let local = Local::start(1).await;
    for command in STREAM_COMMANDS {
        let mut command = local.rokini(command);
        command.env_remove("AWS_ACCESS_KEY_ID");
        Ended::of(command).await.refused(
            3,
            &[
                "error: there are no credentials for kinesis:DescribeStreamSummary on stream `orders`",
                "next: `aws sts get-caller-identity`",
            ],
        );
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_told_within_5_s() {
    let local = Local::start(1).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for metadata in [silent, answering("500 Internal Server Error", "secret").await] {
        for command in [STREAM_COMMANDS[0], STREAM_COMMANDS[2], TABLE_COMMANDS[1]] {
            let mut command = local.rokini(command);
            command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_EC2_METADATA_DISABLED");
            command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata);
            let started = Instant::now();
            let ended = Ended::of(command).await;
            assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
            ended.refused(
                3,
                &[
                    "error: the AWS credentials could not be fetched: ",
                    "tried the environment, the profile of the shared files, a web identity token",
                    "next: ",
                ],
            );
            assert!(!ended.stderr.contains("SdkBody") && !ended.stderr.contains("secret"), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_something_else() {
    let other = answering("404 Not Found", "<html>no such page</html>").await;
    let endpoints = Endpoints::new(other.clone(), other);
    for command in STREAM_COMMANDS {
        endpoints.run(command).await.refused(2, &["error: ", "AWS_ENDPOINT_URL"]);
    }
    let said = ["error: something that is not DynamoDB answered", "HTTP 404", "AWS_ENDPOINT_URL"];
    endpoints.run(TABLE_COMMANDS[1]).await.refused(2, &said);
}

#[tokio::test]
async fn unreachable_endpoints() {
    let nowhere = "http://127.0.0.1:1".to_owned();
    let endpoints = Endpoints::new(nowhere.clone(), nowhere.clone());
    for command in STREAM_COMMANDS {
        endpoints.run(command).await.refused(4, &[
            "error: http://127.0.0.1:1 cannot be reached for kinesis:DescribeStreamSummary on stream `orders`",
            "why: ",
            "Connection refused",
            "next: start it: `rokini local --stream NAME:SHARDS`",
        ]);
    }
    let local = Local::start(1).await;
    let endpoints = Endpoints::new(local.kinesis.endpoint_url(), nowhere);
    for command in TABLE_COMMANDS {
        endpoints.run(command).await.refused(
            4,
            &[
                "error: DynamoDB cannot be reached",
                "table `rokini`",
                "why: ",
                "Connection refused",
                "next: start it: `rokini local`",
            ],
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let local = Local::start(1).await;
    let no_stream = Endpoints::new(silent.clone(), local.dynamo.endpoint_url());
    let no_table = Endpoints::new(local.kinesis.endpoint_url(), silent);
    let commands = [
        (&no_stream, STREAM_COMMANDS[1]),
        (&no_stream, STREAM_COMMANDS[2]),
        (&no_stream, &["stream", "list"]),
        (&no_stream, &["stream", "describe", "orders"]),
        (&no_table, TABLE_COMMANDS[0]),
        (&no_table, TABLE_COMMANDS[1]),
        (&no_table, &["import", "--from", "gokini", "--table", "t", "--stream", "orders", "--group", "g"]),
        (&no_table, &["export", "g", "--to", "kcl", "--kcl-table", "t"]),
    ];
    let started = Instant::now();
    let runs = commands.map(|(endpoints, command)| async move {
        let ended = endpoints.run(command).await;
        assert!(started.elapsed() < Duration::from_secs(12), "{command:?}: {:?}", started.elapsed());
        ended.refused(4, &["error: ", "next: "]);
    });
    // At once, as processes have to start, too.
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn two_workers_of_one_name() {
    let local = Local::start(1).await;
    let quick = ["--failover", "3s", "--heartbeat", "300ms"];
    let mut first = local.consume("orders", "g", "w", &quick);
    first.until("joining", |first| first.stderr().contains("joined the group")).await;
    let second = ["consume", "orders", "--group", "g", "--worker", "w"];
    let second = local.run(&[&second[..], &quick].concat()).await;
    second.refused(
        2,
        &["error: a live worker of group `g` is named `w` already", "start this one under another name"],
    );
    assert!(!second.stderr.contains("next:"), "the sentence says it: {}", second.stderr);
    local.run(&["put", "orders", "still"]).await.done();
    first.until("the record", |first| first.data() == ["still"]).await;
    assert_eq!(first.stop().await, Some(0));
}

#[tokio::test]
async fn a_start_in_the_future() {
    let local = Local::start(1).await;
    for command in [&["consume", "orders", "-g", "g"][..], &["tail", "orders"]] {
        let arguments = [command, &["--from", "2999-01-01T00:00:00Z"]].concat();
        local.run(&arguments).await.refused(
            2,
            &[
                "error: the start position 2999-01-01T00:00:00Z is in the future (now 20",
                "give a time that has passed, or `latest`",
            ],
        );
    }
}

#[tokio::test]
async fn no_such_group_stream_or_shard() {
    let local = Local::start(1).await;
    let mut member = local.consume("orders", "g", "w", &[]);
    member.until("a shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0));
    local.run(&["group", "show", "nope"]).await.refused(
        2,
        &[
            "error: table `rokini` in region `us-east-1` has no group `nope`",
            "next: check name, table and region (`rokini group list` shows the groups), or start a worker: `rokini \
             run STREAM --group nope` with your handler",
        ],
    );
    local
        .run(&["group", "show", "g", "--stream", "nope"])
        .await
        .refused(2, &["`nope`", "next: its streams are orders"]);
    local.run(&["tail", "orders", "--shard", "nope"]).await.refused(
        2,
        &["error: stream `orders` has no shard `nope`", "next: its shards are shardId-000000000000"],
    );
    local
        .run(&["tail", "orders", "--shard", "7"])
        .await
        .refused(2, &["has no shard `7`", "next: its shards are"]);
    local.run(&["tail", "orders", "--from", "at:123"]).await.refused(
        2,
        &[
            "error: a sequence number belongs to one shard",
            "next: name it: `rokini tail orders --from at:123 --shard ID`",
        ],
    );
}

#[tokio::test]
async fn errors_are_objects_with_json() {
    let local = Local::start(1).await;
    let ended = local.run(&["tail", "nope", "--json"]).await;
    ended.refused(2, &["{"]);
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    let error = &error["error"];
    assert_eq!((error["status"].as_u64(), error["kind"].as_str()), (Some(2), Some("configuration")));
    assert!(error["what"].as_str().unwrap().contains("stream `nope` does not exist"));
    assert!(error["why"][0].as_str().unwrap().contains("ResourceNotFoundException"));
    assert!(error["next"].as_str().unwrap().contains("stream list"));

    let ended = local.run(&["tail", "orders", "--from", "yesterday", "--json"]).await;
    ended.refused(2, &["{"]);
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!((&error["error"]["status"], &error["error"]["kind"]), (&2.into(), &"configuration".into()));
    assert!(error["error"]["what"].as_str().unwrap().contains("'yesterday'"));
}

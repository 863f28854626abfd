use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use rokini_lease::{BillingMode, GroupId, WorkerName};

use super::*;
use crate::types::dead_letter_target::DeadLetterTarget;
use crate::types::error::{Error, ErrorKind};
use crate::types::failure::OnFailure;
use crate::types::start_position::StartPosition;

/// A value of each key other than its default. A key that is added does not compile without one.
fn sample(key: ConfigKey) -> &'static str {
    match key {
        ConfigKey::Stream => "arn:aws:kinesis:eu-west-1:123456789012:stream/orders",
        ConfigKey::Group => "billing",
        ConfigKey::Worker => "worker-7",
        ConfigKey::Table => "leases",
        ConfigKey::CreateTable => "true",
        ConfigKey::BillingMode => "provisioned",
        ConfigKey::ReadCapacityUnits => "3",
        ConfigKey::WriteCapacityUnits => "4",
        ConfigKey::Start => "2023-11-14T22:13:20.123Z",
        ConfigKey::Failover => "30s",
        ConfigKey::Heartbeat => "500ms",
        ConfigKey::CheckpointInterval => "0s",
        ConfigKey::PollFloor => "300ms",
        ConfigKey::PollCeiling => "2s",
        ConfigKey::MaxRecords => "100",
        ConfigKey::TablePartitions => "4",
        ConfigKey::Wire => "json",
        ConfigKey::Deaggregate => "false",
        ConfigKey::KplHashRange => "drop",
        ConfigKey::Retrieval => "fan_out",
        ConfigKey::AllowFanOut => "true",
        ConfigKey::FanOutConsumer => "billing-eu",
        ConfigKey::FanOutTags => "team=orders,stage=a b",
        ConfigKey::MaxLeases => "2",
        ConfigKey::Balance => "throughput",
        ConfigKey::ShutdownDeadline => "1m",
        ConfigKey::AutoCheckpoint => "false",
        ConfigKey::HandlerTimeout => "90s",
        ConfigKey::BatchMaxRecords => "500",
        ConfigKey::BatchMaxBytes => "4000",
        ConfigKey::BatchMaxWait => "2s",
        ConfigKey::Concurrency => "16",
        ConfigKey::MaxOutstandingRecords => "700",
        ConfigKey::MaxOutstandingBytes => "8000",
        ConfigKey::MemoryBudget => "67108864",
        ConfigKey::OnFailure => "skip",
        ConfigKey::MaxAttempts => "5",
        ConfigKey::MaxFailureAge => "1h",
        ConfigKey::Bisect => "false",
        ConfigKey::Park => "true",
        ConfigKey::UniqueWorkerNames => "true",
        ConfigKey::StallTimeout => "20s",
        ConfigKey::OnDataLoss => "halt",
        ConfigKey::DataLossWarning => "80",
        ConfigKey::IgnoreShardOrder => "true",
        ConfigKey::AuditInterval => "5m",
        ConfigKey::Broadcast => "true",
        ConfigKey::DeadLetter => "kinesis:dead",
        ConfigKey::StallAfter => "20s",
        ConfigKey::TargetLag => "2m",
        ConfigKey::ShardsPerWorker => "16",
        ConfigKey::Monitoring => "prometheus,cloudwatch,otlp",
        ConfigKey::MonitoringListen => "127.0.0.1:9464",
        ConfigKey::MonitoringPage => "true",
        ConfigKey::MetricsShardLabel => "false",
        ConfigKey::CloudWatchNamespace => "Orders/Consumers",
        ConfigKey::CloudWatchLevel => "detailed",
        ConfigKey::CloudWatchDimensions => "operation,stream",
        ConfigKey::CloudWatchInterval => "10s",
        ConfigKey::CloudWatchResolution => "1s",
        ConfigKey::OtlpEndpoint => "https://collector.example:4318",
        ConfigKey::OtlpHeaders => "x-key=a b,x-team=orders",
        ConfigKey::OtlpInterval => "1m",
    }
}

/// The typed settings once the one key has its sample value, written out by hand.
fn with_sample(key: ConfigKey) -> Settings {
    let mut settings = Settings::default();
    match key {
        ConfigKey::Stream => settings.streams = vec![sample(key).parse().unwrap()],
        ConfigKey::Group => settings.group = Some(GroupId::new("billing").unwrap()),
        ConfigKey::Worker => settings.worker = Some(WorkerName::new("worker-7").unwrap()),
        ConfigKey::Table => settings.table = "leases".to_owned(),
        ConfigKey::CreateTable => settings.create_table = true,
        ConfigKey::BillingMode => {
            settings.billing_mode = BillingMode::Provisioned { read_units: 10, write_units: 10 };
        }
        ConfigKey::ReadCapacityUnits => settings.read_capacity_units = NonZeroU32::new(3).unwrap(),
        ConfigKey::WriteCapacityUnits => settings.write_capacity_units = NonZeroU32::new(4).unwrap(),
        ConfigKey::Start => settings.start = StartPosition::AtTimestamp(1_700_000_000_123),
        ConfigKey::Failover => settings.failover = Duration::from_secs(30),
        ConfigKey::Heartbeat => settings.heartbeat = Some(Duration::from_millis(500)),
        ConfigKey::CheckpointInterval => settings.checkpoint_interval = Duration::ZERO,
        ConfigKey::PollFloor => settings.poll_floor = Duration::from_millis(300),
        ConfigKey::PollCeiling => settings.poll_ceiling = Duration::from_secs(2),
        ConfigKey::MaxRecords => settings.max_records = 100,
        ConfigKey::TablePartitions => settings.table_partitions = NonZeroU16::new(4),
        ConfigKey::Wire => settings.wire = Wire::Json,
        ConfigKey::Deaggregate => settings.deaggregate = false,
        ConfigKey::KplHashRange => settings.kpl_hash_range = KplHashRange::Drop,
        ConfigKey::Retrieval => settings.retrieval = Retrieval::FanOut,
        ConfigKey::AllowFanOut => settings.allow_fan_out = true,
        ConfigKey::FanOutConsumer => settings.fan_out_consumer = Some("billing-eu".to_owned()),
        ConfigKey::FanOutTags => {
            settings.fan_out_tags =
                [("team", "orders"), ("stage", "a b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        }
        ConfigKey::MaxLeases => settings.max_leases = NonZeroU32::new(2),
        ConfigKey::Balance => settings.balance = Balance::Throughput,
        ConfigKey::ShutdownDeadline => settings.shutdown_deadline = Duration::from_secs(60),
        ConfigKey::AutoCheckpoint => settings.auto_checkpoint = false,
        ConfigKey::HandlerTimeout => settings.handler_timeout = Some(Duration::from_secs(90)),
        ConfigKey::BatchMaxRecords => settings.batch_max_records = NonZeroUsize::new(500),
        ConfigKey::BatchMaxBytes => settings.batch_max_bytes = NonZeroUsize::new(4_000),
        ConfigKey::BatchMaxWait => settings.batch_max_wait = Duration::from_secs(2),
        ConfigKey::Concurrency => settings.concurrency = NonZeroUsize::new(16).unwrap(),
        ConfigKey::MaxOutstandingRecords => {
            settings.max_outstanding_records = NonZeroUsize::new(700).unwrap();
        }
        ConfigKey::MaxOutstandingBytes => settings.max_outstanding_bytes = NonZeroUsize::new(8_000).unwrap(),
        ConfigKey::MemoryBudget => settings.memory_budget = NonZeroUsize::new(64 << 20).unwrap(),
        ConfigKey::OnFailure => settings.on_failure = OnFailure::Skip,
        ConfigKey::MaxAttempts => settings.max_attempts = NonZeroU32::new(5),
        ConfigKey::MaxFailureAge => settings.max_failure_age = Some(Duration::from_secs(3_600)),
        ConfigKey::Bisect => settings.bisect = false,
        ConfigKey::Park => settings.park = true,
        ConfigKey::UniqueWorkerNames => settings.unique_worker_names = true,
        ConfigKey::StallTimeout => settings.stall_timeout = Duration::from_secs(20),
        ConfigKey::OnDataLoss => settings.on_data_loss = OnDataLoss::Halt,
        ConfigKey::DataLossWarning => settings.data_loss_warning = 80,
        ConfigKey::IgnoreShardOrder => settings.ignore_shard_order = true,
        ConfigKey::AuditInterval => settings.audit_interval = Duration::from_secs(300),
        ConfigKey::Broadcast => settings.broadcast = true,
        ConfigKey::DeadLetter => {
            settings.dead_letter = Some(DeadLetterTarget::Kinesis("dead".parse().unwrap()));
        }
        ConfigKey::StallAfter => settings.stall_after = Duration::from_secs(20),
        ConfigKey::TargetLag => settings.target_lag = Duration::from_secs(120),
        ConfigKey::ShardsPerWorker => settings.shards_per_worker = NonZeroU32::new(16),
        ConfigKey::Monitoring => settings.monitoring = Monitoring::ALL.iter().copied().collect(),
        ConfigKey::MonitoringListen => settings.monitoring_listen = Some(([127, 0, 0, 1], 9464).into()),
        ConfigKey::MonitoringPage => settings.monitoring_page = true,
        ConfigKey::MetricsShardLabel => settings.metrics_shard_label = false,
        ConfigKey::CloudWatchNamespace => settings.cloudwatch_namespace = Some("Orders/Consumers".to_owned()),
        ConfigKey::CloudWatchLevel => settings.cloudwatch_level = CloudWatchLevel::Detailed,
        ConfigKey::CloudWatchDimensions => {
            settings.cloudwatch_dimensions =
                [CloudWatchDimension::Operation, CloudWatchDimension::Stream].into();
        }
        ConfigKey::CloudWatchInterval => settings.cloudwatch_interval = Duration::from_secs(10),
        ConfigKey::CloudWatchResolution => settings.cloudwatch_resolution = Duration::from_secs(1),
        ConfigKey::OtlpEndpoint => settings.otlp_endpoint = "https://collector.example:4318".to_owned(),
        ConfigKey::OtlpHeaders => {
            let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            settings.otlp_headers = vec![header("x-key", "a b"), header("x-team", "orders")];
        }
        ConfigKey::OtlpInterval => settings.otlp_interval = Duration::from_secs(60),
    }
    settings
}

fn from_env(name: &str, value: &str) -> Result<ConsumerConfig, Error> {
    ConsumerConfig::from_env([(name.to_owned(), value.to_owned())])
}

#[test]
fn t3_each_key_changes_its_value_by_every_route() {
    for key in ConfigKey::ALL.iter().copied() {
        let expected = with_sample(key);
        assert_ne!(expected, Settings::default(), "{key}: the sample is the default");

        let mut built = ConsumerConfig::default();
        built.set(key, sample(key)).unwrap();
        assert_eq!((&*built, built.origin(key)), (&expected, ConfigOrigin::Builder), "{key}");

        let env = from_env(&key.env_name(), sample(key)).unwrap();
        assert_eq!((&*env, env.origin(key)), (&expected, ConfigOrigin::Environment), "{key}");

        let file = ConsumerConfig::from_toml_str(&format!("{key} = '{}'", sample(key))).unwrap();
        assert_eq!((&*file, file.origin(key)), (&expected, ConfigOrigin::File), "{key}");
    }
}

/// The same with the default of one key.
fn without(config: &ConsumerConfig, key: ConfigKey) -> ConsumerConfig {
    let mut rest = config.clone();
    rest.origins.remove(&key);
    ConsumerConfig::default().merge(rest)
}

#[test]
fn t3_effective_configuration_reads_back() {
    let mut config = ConsumerConfig::default();
    for key in ConfigKey::ALL {
        config.set(*key, sample(*key)).unwrap();
    }
    let again = ConsumerConfig::from_toml_str(&config.effective()).unwrap();
    // Secrets are not written out.
    assert_eq!(again.origin(ConfigKey::OtlpHeaders), ConfigOrigin::Default);
    config = without(&config, ConfigKey::OtlpHeaders);
    assert_eq!(*again, *config);
    // Names that look like numbers stay what they are.
    config.set(ConfigKey::Group, "007").unwrap();
    config.set(ConfigKey::Worker, "12").unwrap();
    assert_eq!(*ConsumerConfig::from_toml_str(&config.effective()).unwrap(), *config);
}

#[test]
fn t3_effective_configuration_says_where_each_value_comes_from() {
    let file = ConsumerConfig::from_toml_str("group = 'billing'\nfailover = '20s'\nmax_records = 5").unwrap();
    let mut config = file.merge(from_env("ROKINI_FAILOVER", "15s").unwrap());
    config.set(ConfigKey::Heartbeat, "2s").unwrap();
    let text = config.effective();
    for line in [
        "# stream is not set",
        "group = \"billing\" # file",
        "create_table = false # default",
        "failover = \"15s\" # environment",
        "heartbeat = \"2s\" # builder",
        "max_records = 5 # file",
        "max_leases = \"unlimited\" # default",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.lines().count(), ConfigKey::ALL.len());
}

#[test]
fn the_stronger_origin_wins_in_any_order_of_merging() {
    let layers = || {
        let mut builder = ConsumerConfig::default();
        builder.set(ConfigKey::Failover, "40s").unwrap();
        let file = "failover = '20s'\nheartbeat = '2s'\nmax_records = 2";
        let env = [("ROKINI_FAILOVER", "30s"), ("ROKINI_HEARTBEAT", "3s")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        [ConsumerConfig::from_toml_str(file).unwrap(), ConsumerConfig::from_env(env).unwrap(), builder]
    };
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let merged = order
            .into_iter()
            .fold(ConsumerConfig::default(), |config, at| config.merge(layers()[at].clone()));
        let seconds = (
            merged.failover.as_secs(),
            merged.heartbeat.map(|heartbeat| heartbeat.as_secs()),
            merged.max_records,
        );
        assert_eq!(seconds, (40, Some(3), 2), "{order:?}");
    }
}

#[test]
fn t3_unknown_setting_is_a_start_up_error() {
    let error = ConsumerConfig::from_toml_str("failver = '10s'").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(error.to_string(), "unknown setting `failver`: did you mean `failover`?");

    for name in ["ROKINI_FAILVER", "ROKINI_failover"] {
        let error = from_env(name, "10s").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("unknown environment variable `{name}`: did you mean `ROKINI_FAILOVER`?")
        );
    }
    assert_eq!(from_env("OTHER_FAILVER", "x").unwrap(), ConsumerConfig::default());
}

#[test]
fn a_bad_value_says_key_value_and_what_is_accepted() {
    for key in ConfigKey::ALL {
        let bad = "no such value!";
        let shown = if *key == ConfigKey::OtlpHeaders { "***" } else { bad };
        let error = ConsumerConfig::default().set(*key, bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(
            error.to_string().starts_with(&format!("setting `{key}` cannot be `{shown}`: expected ")),
            "{error}"
        );
    }
    assert_eq!(
        from_env("ROKINI_FAILOVER", "10 s").unwrap_err().to_string(),
        "setting `ROKINI_FAILOVER` cannot be `10 s`: expected at least `1s`: a duration of at most a year: whole numbers with units \
         out of `d`, `h`, `m`, `s` and `ms`, such as `250ms`, `10s` or `1h30m`, or a number of seconds"
    );
}

#[test]
fn the_file_takes_toml_values_as_they_are() {
    let config = ConsumerConfig::from_toml_str(
        "start = 2023-11-14T22:13:20.123Z\nmax_records = 7\nauto_checkpoint = false",
    )
    .unwrap();
    assert_eq!(config.start, StartPosition::AtTimestamp(1_700_000_000_123));
    assert_eq!((config.max_records, config.auto_checkpoint), (7, false));

    let error = ConsumerConfig::from_toml_str("group = 'a'\nfailover = = 3").unwrap_err().to_string();
    assert!(error.starts_with("the configuration file is not TOML at line 2: "), "{error}");
    let error = ConsumerConfig::from_toml_str("failover = [1]").unwrap_err().to_string();
    assert!(error.contains("write `failover = \"...\"`"), "{error}");
}

#[test]
fn t3_settings_that_contradict_or_have_no_effect_are_errors() {
    let now = 1_700_000_000_000;
    let check = |pairs: &[(&str, &str)]| {
        let mut config = ConsumerConfig::default();
        for (key, value) in pairs {
            config.set(key.parse().unwrap(), value).unwrap();
        }
        config.check(now).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Configuration);
            error.to_string()
        })
    };
    for (pairs, expected) in [
        (
            &[("heartbeat", "4001ms")][..],
            "set `heartbeat` to at most two fifths of `failover`, which is `4s`",
        ),
        (&[("poll_floor", "2s")], "`poll_ceiling = 1s` is too short: set it to at least `2s`"),
        (
            &[("read_capacity_units", "5")],
            "`read_capacity_units = 5` has no effect with `billing_mode = pay_per_request`",
        ),
        (
            &[("billing_mode", "provisioned")],
            "has no effect with `create_table = false`: set `create_table = true`",
        ),
        (&[("start", "1700000006000")], "is in the future"),
    ] {
        let error = check(pairs).unwrap_err();
        assert!(error.contains(expected), "{pairs:?}: {error}");
    }
    for pairs in [
        &[][..],
        &[("heartbeat", "4s")],
        &[("failover", "1s"), ("heartbeat", "400ms")],
        &[("create_table", "true"), ("billing_mode", "provisioned"), ("write_capacity_units", "5")],
        &[("poll_floor", "1s"), ("poll_ceiling", "1m")],
        &[("start", "1700000000000")],
    ] {
        assert_eq!(check(pairs), Ok(()), "{pairs:?}");
    }
}

#[test]
fn t3_values_out_of_bounds_are_errors_where_they_are_given() {
    for (key, text, expected) in [
        (ConfigKey::Failover, "999ms", "expected at least `1s`: a duration"),
        (ConfigKey::Heartbeat, "99ms", "expected `auto`, or at least `100ms`: a duration"),
        (ConfigKey::PollFloor, "199ms", "expected at least `200ms`: a duration"),
        (ConfigKey::PollCeiling, "61s", "expected `200ms` to `1m`: a duration"),
        (ConfigKey::AuditInterval, "0s", "expected at least `1s`: a duration"),
        (ConfigKey::Concurrency, "1001", "expected a whole number from 1 to 1000"),
        (ConfigKey::MaxLeases, "0", "expected `unlimited`, or a whole number, 1 or more"),
    ] {
        let error = ConsumerConfig::default().set(key, text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("setting `{key}` cannot be `{text}`: {expected}")), "{error}");
    }
}

#[test]
fn t3_typed_setters_keep_values_exactly_or_refuse_them() {
    let short = Duration::from_micros(1_500);
    let mut config = ConsumerConfig::default();
    config.batch_max_wait(short).unwrap().max_leases(3).unwrap().handler_timeout(None).unwrap();
    assert_eq!((config.batch_max_wait, config.max_leases), (short, NonZeroU32::new(3)));
    assert_eq!(config.origin(ConfigKey::HandlerTimeout), ConfigOrigin::Builder);
    let again = ConsumerConfig::from_toml_str(&config.effective()).unwrap();
    assert_eq!(*again, *config);

    let below = Duration::from_micros(999);
    for (refused, expected) in [
        (config.handler_timeout(below).err(), "setting `handler_timeout` cannot be `999us`: "),
        (config.failover(below).err(), "setting `failover` cannot be `999us`: "),
        (config.concurrency(0).err(), "setting `concurrency` cannot be `0`: "),
        (config.group("no#good").err(), "setting `group` cannot be `no#good`: "),
    ] {
        let error = refused.unwrap();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    assert_eq!(*again, *config);
}

#[test]
fn a_billing_mode_has_its_units_with_it() {
    let mut config = ConsumerConfig::default();
    let mode = BillingMode::Provisioned { read_units: 3, write_units: 4 };
    config.create_table(true).unwrap().billing_mode(mode).unwrap();
    assert_eq!(config.billing_mode, mode);
    config.check(0).unwrap();
    let read = ConsumerConfig::from_toml_str(&config.effective()).unwrap();
    assert_eq!((read.billing_mode, read.read_capacity_units.get()), (mode, 3));
    assert!(config.billing_mode(BillingMode::Provisioned { read_units: 0, write_units: 4 }).is_err());
}

#[test]
fn the_help_of_every_key_has_its_default() {
    for key in ConfigKey::ALL {
        let default = ConsumerConfig::default().text(*key);
        assert!(default.is_none_or(|text| key.help().contains(&text)), "{key}: {}", key.help());
    }
}

#[test]
fn a_missing_setting_says_where_to_set_it() {
    let error = ConsumerConfig::missing(ConfigKey::Group);
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(
        error.to_string(),
        "`group` is not set: give it to the builder, as `ROKINI_GROUP` in the environment or in the \
         configuration file"
    );
}

#[test]
fn t3_what_is_in_effect_is_accepted_when_it_is_read_back() {
    let set = |keys: &[ConfigKey]| {
        let mut config = ConsumerConfig::default();
        for key in keys {
            config.set(*key, sample(*key)).unwrap();
        }
        config
    };
    use ConfigKey::{CreateTable, ReadCapacityUnits};
    for keys in [
        &[][..],
        &[CreateTable],
        &[CreateTable, ConfigKey::BillingMode],
        &[CreateTable, ConfigKey::BillingMode, ReadCapacityUnits],
    ] {
        let config = set(keys);
        config.check(0).unwrap();
        let read = ConsumerConfig::from_toml_str(&config.effective()).unwrap();
        read.check(0).unwrap();
        read.refuse(&[ConfigKey::MetricsShardLabel], "without metrics").unwrap();
        assert_eq!(*read, *config, "{keys:?}");
    }
}

#[test]
fn t3_variables_that_kubernetes_sets_for_services_are_passed_over() {
    for name in [
        "ROKINI_SERVICE_HOST",
        "ROKINI_SERVICE_PORT",
        "ROKINI_SERVICE_PORT_METRICS",
        "ROKINI_PORT",
        "ROKINI_PORT_80_TCP",
        "ROKINI_PORT_80_TCP_ADDR",
        "ROKINI_PORT_80_TCP_PORT",
        "ROKINI_PORT_80_TCP_PROTO",
        "ROKINI_METRICS_SERVICE_HOST",
        "ROKINI_METRICS_SERVICE_PORT_HTTP_2",
        "ROKINI_METRICS_PORT",
        "ROKINI_METRICS_PORT_9464_UDP_ADDR",
        "ROKINI_METRICS_PORT_9464_SCTP",
        // Of services `rokini-port`, `rokini-port-9` and `rokini-failover`.
        "ROKINI_PORT_PORT_80_TCP",
        "ROKINI_PORT_9_PORT_80_TCP",
        "ROKINI_FAILOVER_PORT",
    ] {
        assert_eq!(from_env(name, "tcp://10.0.0.7:9464").unwrap(), ConsumerConfig::default(), "{name}");
    }
    for name in [
        "ROKINI_SERVICE",
        "ROKINI_SERVICE_HOSTS",
        "ROKINI_HOST",
        "ROKINI_PORTS",
        "ROKINI_SERVICE_PORTS",
        "ROKINI_PORT_TCP",
        "ROKINI_PORT_80",
        "ROKINI_PORT_80_TCPS",
        "ROKINI_PORT_80_HTTP",
        "ROKINI_PORT_8A_TCP",
        "ROKINI_PORT__TCP",
        "ROKINI_metrics_port",
    ] {
        assert!(from_env(name, "10.0.0.7").is_err(), "{name}");
    }
}

#[test]
fn t3_secrets_are_shown_nowhere() {
    let file = "monitoring = 'otlp'\notlp_headers = 'authorization=Basic c2VjcmV0, x-team=secret=2'\n\
                otlp_endpoint = 'https://secret:sec@ret@collector.example:4318/in'";
    let config = ConsumerConfig::from_toml_str(file).unwrap();
    config.check(0).unwrap();
    let leaks = |text: &str| ["secret", "c2VjcmV0", "sec@ret"].iter().any(|part| text.contains(part));
    let effective = config.effective();
    for line in [
        "# otlp_headers = \"authorization=***,x-team=***\" # file",
        "# otlp_endpoint = \"https://***@collector.example:4318/in\" # file",
    ] {
        assert!(effective.lines().any(|other| other == line), "{line} is not in\n{effective}");
    }
    assert!(!leaks(&effective), "{effective}");
    for key in ConfigKey::ALL {
        assert!(config.text(*key).is_none_or(|text| !leaks(&text)), "{key}");
    }
    for debug in [format!("{config:?}"), format!("{:#?}", *config)] {
        assert!(!leaks(&debug) && debug.contains("collector.example:4318"), "{debug}");
    }
    // It is there all the same, also after a merge.
    let merged = ConsumerConfig::default().merge(config.clone());
    assert_eq!(*merged, *config);
    assert_eq!(merged.otlp_headers[0], ("authorization".to_owned(), "Basic c2VjcmV0".to_owned()));
    assert_eq!(merged.otlp_endpoint, "https://secret:sec@ret@collector.example:4318/in");

    // Nor where it is wrong.
    for text in ["otlp_headers = 'x-key=secret'", "otlp_endpoint = 'https://secret@collector.example'"] {
        let error = ConsumerConfig::from_toml_str(text).unwrap().check(0).unwrap_err().to_string();
        assert!(!leaks(&error) && error.contains("***") && error.contains("has no effect"), "{error}");
    }
    for (key, text, shown) in [
        (ConfigKey::OtlpHeaders, "Authorization: Basic c2VjcmV0=", "***"),
        (ConfigKey::OtlpHeaders, "x-team=secret,secret", "x-team=***,***"),
        (ConfigKey::OtlpHeaders, "x-key=secret\u{1}", "x-key=***"),
        (ConfigKey::OtlpEndpoint, "htps://secret:secret@collector", "htps://***@collector"),
        (ConfigKey::OtlpEndpoint, "secret:secret@collector", "***@collector"),
    ] {
        let error = ConsumerConfig::default().set(key, text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("setting `{key}` cannot be `{shown}`: ")), "{error}");
        assert!(!leaks(&error), "{error}");
    }
}

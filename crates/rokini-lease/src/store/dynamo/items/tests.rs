use super::super::attributes::LAST_DATE;
use super::*;
use crate::row::{FanOutConsumer, OperatorOrder, OrderId, OrderKind, PlanId, ShardHealth, WorkerTrouble};
use crate::types::{GroupId, LeaseKey, ShardId, StreamId, WorkerId};
use bytes::Bytes;
use rokini_types::SequenceNumber;

fn id(name: &str, incarnation: u64) -> WorkerId {
    format!("{name}#{incarnation:016x}").parse().unwrap()
}

fn group() -> Partition {
    (&GroupId::new("billing").unwrap()).into()
}

fn key_of(shard: &str) -> LeaseKey {
    format!("orders@1700000000123#{shard}").parse().unwrap()
}

fn workers() -> [WorkerRow; 2] {
    let process = ProcessIdentity {
        host: "boot-1".to_owned(),
        pid: 77,
        started: 123_456,
        host_name: Some("node-7".to_owned()),
    };
    let full = WorkerRow {
        heartbeat: 1234,
        state: WorkerState::Leaving,
        load: WorkerLoad { leases: 3 },
        mailbox: [
            WorkerNotification::Assigned(key_of("shardId-1")),
            WorkerNotification::Claimed(key_of("shardId-2")),
        ]
        .into(),
        streams: Some([StreamId::new("orders@1700000000123").unwrap()].into()),
        max_leases: Some(12),
        version: "1.2.3".to_owned(),
        call: 123_456_789,
        report: WorkerReport {
            format: 3,
            interval: Duration::from_millis(4_500),
            failover: Duration::from_secs(60),
            plan: PlanId { policy: "throughput".to_owned(), version: 2 },
            age: Some(Duration::from_secs(86_401)),
            unable: [StreamId::new("clicks@1700000000456").unwrap()].into(),
            caught_up: [(StreamId::new("orders@1700000000123").unwrap(), 1_700_000_000_003)].into(),
            shards: vec![
                ShardHealth::new(key_of("shardId-1"), "handling", Duration::from_millis(13_000))
                    .with_error("no room", Duration::from_millis(900)),
            ],
            untold: 1,
            summaries: vec!["stalled=handler lasting=7 lag=9000 leases=orders@1#2-3".parse().unwrap()],
            troubles: vec![WorkerTrouble::new("coordination-stalled", "no answer: 12 s")],
        },
        ..WorkerRow::joining(id("orders-7d9f", 1), Some(process))
    };
    [full, WorkerRow { version: "1.2.3".to_owned(), ..WorkerRow::joining(id("bare", 2), None) }]
}

fn leases() -> [LeaseRow; 2] {
    let number: SequenceNumber = "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
    let full = LeaseRow {
        owner: Some(id("orders-7d9f", 1)),
        epoch: Epoch(17),
        position: Position::Sequence(number, crate::position::Progress::Through(4)),
        previous: Some(Position::AtTimestamp(1_700_000_000_123)),
        order: Some(OrderId(0x19a)),
        children: vec![ShardId::new("shardId-4").unwrap(), ShardId::new("shardId-3").unwrap()],
        claim: Some(id("bare", 2)),
        checkpointed_at: Some(1_700_000_000_120),
        metadata: CheckpointMetadata {
            record_arrival_millis: Some(1_700_000_000_001),
            caught_up_millis: Some(1_700_000_000_002),
            bytes_per_second: Some(1_048_576),
            record_bytes: Some(512),
            skipped: Some(crate::skipped::SkippedRecords::default().and(SequenceNumber::from(u128::MAX))),
            fan_out: Some(false),
        },
        pending: Some(PendingPosition { position: Position::ShardEnd, state: Bytes::from_static(b"tx-7") }),
        paused: true,
        pause_order: Some(OrderId(0x19b)),
        pin: Some(id("orders-7d9f", 1)),
        ..LeaseRow::new(key_of("shardId-1"), Position::TrimHorizon)
            .with_parents(vec![ShardId::new("shardId-0").unwrap()])
            .with_hash_range(HashRange { start: 0, end: u128::MAX })
    };
    [full, LeaseRow::new(key_of("shardId-2"), Position::TrimHorizon)]
}

fn stream() -> StreamRow {
    StreamRow {
        id: StreamId::new("orders@1700000000123").unwrap(),
        name: "orders".to_owned(),
        start: Position::AtTimestamp(1_700_000_000_123),
        consumer: Some(FanOutConsumer { name: "billing".to_owned(), owned: true }),
    }
}

fn items() -> Vec<Item> {
    let workers = workers().into_iter().map(|row| row.item(&group()));
    let leases = leases().into_iter().map(|row| row.item(&group()));
    let orders = vec![OperatorOrder::new(OrderId(0x19a), OrderKind::Seek, "to TRIM_HORIZON")];
    let group_row = GroupRow { paused_at: Some(1_700_000_000_123), orders }.item(&group());
    workers.chain(leases).chain([stream().item(&group()), group_row]).collect()
}

/// One attribute a line, as `aws dynamodb get-item` shows them.
fn print(item: &Item) -> String {
    let show = |value: &AttributeValue| match value {
        AttributeValue::S(text) => format!("S {text}"),
        AttributeValue::N(number) => format!("N {number}"),
        AttributeValue::Ss(set) => format!("SS {}", set.join(" ")),
        AttributeValue::B(bytes) => format!("B {:?}", String::from_utf8_lossy(bytes.as_ref())),
        AttributeValue::Bool(flag) => format!("BOOL {flag}"),
        AttributeValue::L(list) => {
            let parts = list.iter().map(|part| format!("S {}", part.as_s().unwrap()));
            format!("L [{}]", parts.collect::<Vec<_>>().join(", "))
        }
        AttributeValue::M(map) => {
            let mut parts: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}: N {}", value.as_n().unwrap())).collect();
            parts.sort();
            format!("M {{{}}}", parts.join(", "))
        }
        other => panic!("a type that no row uses: {other:?}"),
    };
    let mut lines: Vec<String> =
        item.iter().map(|(name, value)| format!("{name}: {}\n", show(value))).collect();
    lines.sort();
    lines.concat()
}

#[test]
fn the_layout_of_items_is_as_committed() {
    let printed: Vec<String> = items().iter().map(print).collect();
    let golden = include_str!("golden.txt");
    let printed = printed.join("\n");
    assert_eq!(printed, golden, "the layout changed: tables in use have the committed one\n{printed}");
}

#[test]
fn a_row_that_is_compared_whole_is_compared_by_every_attribute() {
    use super::super::attributes::{GROUP, LEASE_ATTRIBUTES, WORKER_ATTRIBUTES};
    let (lease, worker) = (leases()[0].item(&group()), workers()[0].item(&group()));
    for (item, known) in [(lease, LEASE_ATTRIBUTES), (worker, WORKER_ATTRIBUTES)] {
        let mut has: Vec<&str> =
            item.keys().map(String::as_str).filter(|name| ![GROUP, ROW].contains(name)).collect();
        let mut known = known.to_vec();
        has.sort_unstable();
        known.sort_unstable();
        assert_eq!(has, known, "a row with everything shows which attributes there are");
    }
}

#[test]
fn rows_round_trip() {
    for row in workers() {
        assert_eq!(WorkerRow::read(&row.item(&group())), Ok(row));
    }
    for row in leases() {
        assert_eq!(LeaseRow::read(&row.item(&group())), Ok(row));
    }
    assert_eq!(StreamRow::read(&stream().item(&group())), Ok(stream()));
    let none = WorkerRow { streams: Some(BTreeSet::new()), ..workers()[1].clone() };
    assert_eq!(WorkerRow::read(&none.item(&group())), Ok(none), "no stream is not every stream");
}

/// The items of the release before, as they stand in tables in use.
fn version_1() -> Item {
    Item::from([
        ("group".to_owned(), text("billing")),
        ("row".to_owned(), text("worker#orders-7d9f#0000000000000001")),
        ("beat".to_owned(), number(1234)),
        ("state".to_owned(), text("leaving")),
        ("leases".to_owned(), number(3)),
        ("mailbox".to_owned(), AttributeValue::Ss(vec!["given:orders@1700000000123#shardId-1".to_owned()])),
        ("streams".to_owned(), list(["orders@1700000000123"])),
        ("max_leases".to_owned(), number(12)),
        ("host".to_owned(), text("boot-1")),
        ("process_id".to_owned(), number(77)),
        ("process_started".to_owned(), number(123_456)),
        ("version".to_owned(), text("0.1.0")),
    ])
}

#[test]
fn l11_rows_of_the_first_version_are_read_with_its_defaults() {
    let row = WorkerRow::read(&version_1()).unwrap();
    assert_eq!((row.call, &row.report), (0, &WorkerReport::default()));
    assert_eq!((row.heartbeat, row.state, row.load.leases), (1234, WorkerState::Leaving, 3));
    assert_eq!((row.max_leases, row.version.as_str(), row.mailbox.len()), (Some(12), "0.1.0", 1));
    assert_eq!(row.report.failover, Duration::from_secs(10));
    assert_eq!(row.age(), Duration::from_secs(1234), "as its heartbeats tell");
}

#[test]
fn attributes_and_rows_of_newer_versions_are_passed_over() {
    let [worker, _] = workers();
    let mut item = worker.item(&group());
    item.insert("zone".to_owned(), text("eu-west-1a"));
    let mut mailbox = worker.mailbox.iter().map(WorkerNotification::to_string).collect::<Vec<_>>();
    mailbox.push("sing:a#b".to_owned());
    item.insert(MAILBOX.to_owned(), AttributeValue::Ss(mailbox));
    assert_eq!(Listed::read(&item), Ok(Listed::Row(worker.into())));
    assert_eq!(Listed::read(&key(&group(), "duty#audit")), Ok(Listed::Other));
}

#[test]
fn a_row_that_cannot_be_read_is_named_with_its_attribute() {
    let [full, _] = leases();
    let changed = |name: &str, value: Option<AttributeValue>| {
        let mut item = full.item(&group());
        item.remove(name);
        item.extend(value.map(|value| (name.to_owned(), value)));
        LeaseRow::read(&item).unwrap_err().to_string()
    };
    let row = "of row `lease#orders@1700000000123#shardId-1`";
    let cases = [
        (EPOCH, None, format!("attribute `epoch` {row} is missing: expected a whole number")),
        (EPOCH, Some(number("1.5")), format!("attribute `epoch` {row} is `1.5`: expected a whole number")),
        (POSITION, Some(number(5)), format!("attribute `position` {row} is `5`: expected a string")),
        (OWNER, Some(text("w")), format!("attribute `owner` {row} is `w`: not a worker id: `w`")),
        (
            PARENTS,
            Some(text("shardId-0")),
            format!("attribute `parents` {row} is `shardId-0`: expected a list of"),
        ),
        (HASH_END, None, format!("attribute `hash_end` {row} is missing: expected")),
        // A position edited by hand, without its rank.
        (POSITION, Some(text("TRIM_HORIZON")), format!("attribute `rank` {row} is `2")),
    ];
    for (name, value, message) in cases {
        let error = changed(name, value);
        assert!(error.starts_with(&message), "{error}\n{message}");
    }
    let error = LeaseRow::read(&key(&group(), "lease#orders")).unwrap_err();
    assert!(error.to_string().contains("`position`"), "{error}");
    assert!(
        Listed::read(&Item::new()).unwrap_err().to_string().contains("attribute `row` of row `?` is missing")
    );
}

#[test]
fn times_are_dates_as_far_as_dates_go() {
    for (millis, shown) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        (LAST_DATE, "9999-12-31T23:59:59.999Z"),
        (LAST_DATE + 1, "253402300800000"),
        (u64::MAX, "18446744073709551615"),
    ] {
        assert_eq!(time(millis), text(shown));
        let item = Item::from([(ROW.to_owned(), text("x")), (CHECKPOINTED_AT.to_owned(), time(millis))]);
        assert_eq!(Fields::of(&item).unwrap().time(CHECKPOINTED_AT), Ok(Some(millis)));
    }
}

/// What a newer version may write otherwise, and nobody needs in order to leave its worker and its lease in peace.
#[test]
fn c15_what_is_not_needed_is_read_leniently() {
    let ([worker, _], [lease, _]) = (workers(), leases());
    let mut item = worker.item(&group());
    for name in [
        LEASES, MAX_LEASES, FORMAT, INTERVAL, FAILOVER, AGE, PLAN, UNABLE, CAUGHT_UP, PROCESS_ID, CALL,
        SHARDS, TROUBLES,
    ] {
        item.insert(name.to_owned(), AttributeValue::Bool(true));
    }
    item.insert(STATE.to_owned(), text("resting"));
    item.insert(MAILBOX.to_owned(), text("?"));
    let read = WorkerRow::read(&item).unwrap();
    assert_eq!(
        (read.heartbeat, read.state),
        (worker.heartbeat, WorkerState::Leaving),
        "it lives and gets nothing"
    );
    let nothing = WorkerReport { untold: 1, ..WorkerReport::default() };
    assert_eq!((&read.report, read.call), (&nothing, 0), "what cannot be read is not told");

    let mut item = lease.item(&group());
    for name in [
        CHECKPOINTED_AT,
        RECORD_ARRIVED_AT,
        CAUGHT_UP_AT,
        BYTES_PER_SECOND,
        RECORD_BYTES,
        SKIPPED,
        PREVIOUS,
        ORDER,
    ] {
        item.insert(name.to_owned(), AttributeValue::Bool(true));
    }
    item.insert(FAN_OUT.to_owned(), text("yes"));
    let read = LeaseRow::read(&item).unwrap();
    let (metadata, previous) = (CheckpointMetadata::default(), None);
    assert_eq!(read, LeaseRow { metadata, previous, order: None, checkpointed_at: None, ..lease });
}

#[test]
fn the_layout_row_survives_its_item() {
    let keys = |count| std::num::NonZeroU16::new(count).unwrap();
    let (one, two) =
        (Layout::begun(keys(3)), Layout::SINGLE.next(keys(5), &crate::clock::WallClock::system()));
    for row in [
        LayoutRow::of(one),
        LayoutRow { current: Layout::SINGLE, next: Some(two), cleared: None },
        LayoutRow { current: two, next: None, cleared: Some(Layout::SINGLE) },
    ] {
        assert_eq!(LayoutRow::read(&row.item(&Partition("g".to_owned()))), Ok(row));
    }
}

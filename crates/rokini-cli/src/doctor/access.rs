//! Checks that ask the services: each permission by a call that reads, or by a write whose condition can never hold.

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::types::ShardIteratorType;
use rokini::lease::{
    DynamoStore, FleetShape, GroupView, LeaseRow, LeaseStore, Listing, WallClock, WorkerState,
};
use rokini::{
    ConsumerConfig, KinesisSource, Retrieval, Settings, StreamDescription, StreamRef, StreamSource,
};
use tokio::time::{Instant, timeout};

use super::call::{call, failed, is_silent, silent};
use super::check::{CALL_WAIT, Check};
use super::dry_run::DryRuns;
use super::fan_out;
use super::policy::stream_arn;
use super::stream_facts::StreamFacts;
use crate::aws::{Aws, Service};

/// Clocks that differ by this much are told; by 5 minutes, AWS refuses what is signed.
const CLOCKS_DIFFER: u64 = 2_000;
const CLOCKS_REFUSED: u64 = 300_000;
const DESCRIBE: &str = "kinesis:DescribeStreamSummary";
/// The key of a row that is never there.
const NOBODY: &str = "rokini-doctor#nothing";

/// What is to be said of the streams.
#[derive(Debug, Default)]
pub(super) struct OfStreams {
    pub(super) checks: Vec<Check>,
    /// What those are that answer.
    pub(super) facts: Vec<StreamFacts>,
    /// What can be tried of them without doing it.
    pub(super) dry_runs: Vec<(StreamRef, DryRuns)>,
}

pub(super) async fn streams(config: &ConsumerConfig, aws: &Aws) -> OfStreams {
    let mut said = OfStreams::default();
    let client = aws_sdk_kinesis::Client::new(&aws.config);
    for stream in &config.streams {
        let (checks, shard) = one_stream(stream, aws).await;
        let is_cut_off = checks.iter().any(is_silent);
        said.checks.extend(checks);
        if is_cut_off {
            break;
        }
        let mut consumer = None;
        if let Some(facts) = StreamFacts::ask(&client, stream).await {
            said.checks.extend(facts.checks(config));
            if config.retrieval != Retrieval::Polling {
                let (checks, registered) = fan_out::checks(config, &facts, aws).await;
                said.checks.extend(checks);
                consumer = registered;
            }
            said.facts.push(facts);
        }
        said.dry_runs.extend(shard.map(|shard| (stream.clone(), DryRuns { shard, consumer })));
    }
    said
}

/// What is to be said of a stream, and one of its shards.
async fn one_stream(stream: &StreamRef, aws: &Aws) -> (Vec<Check>, Option<String>) {
    let denied = |error: rokini::Error| describe_failed(stream, error, aws);
    let action = DESCRIBE;
    let source = match KinesisSource::new(&aws.config, stream.clone(), &Settings::default(), rand::random()) {
        Ok(source) => source,
        Err(error) => return (vec![failed(action, aws.explain(error, Service::Kinesis))], None),
    };
    let begun = Instant::now();
    let described = match timeout(CALL_WAIT, source.describe()).await {
        Ok(Ok(described)) => described,
        Ok(Err(error)) => return (vec![denied(error)], None),
        Err(_) => return (vec![silent(action)], None),
    };
    let took = begun.elapsed().as_millis();
    let hours = described.retention.as_secs() / 3600;
    let mut checks = vec![Check::ok(
        action,
        format!("{} keeps records for {hours} h; it answered in {took} ms", described.id),
    )];
    checks.push(clock(described.now_millis));
    let (of_reads, shard) = reads(stream, aws).await;
    checks.extend(of_reads);
    (checks, shard)
}

/// Without it nothing else of the stream can be looked at.
fn describe_failed(stream: &StreamRef, error: rokini::Error, aws: &Aws) -> Check {
    let is_denied = error.kind() == rokini::ErrorKind::Permission;
    let check = failed(DESCRIBE, aws.explain(error, Service::Kinesis));
    if !is_denied {
        return check;
    }
    let next = format!(
        "allow it: {{\"Effect\": \"Allow\", \"Action\": \"{DESCRIBE}\", \"Resource\": \"{}\"}}; nothing else of the stream \
         was looked at, and `rokini doctor --policy` prints the whole policy",
        stream_arn(stream, aws.region())
    );
    Check { next: Some(next), ..check }
}

/// The stream's time against this host's.
fn clock(stream_millis: u64) -> Check {
    let here = WallClock::system().millis();
    let apart = here.abs_diff(stream_millis);
    let what = format!("{:.1} s from the stream's", apart as f64 / 1000.0);
    // The stream says its time in whole seconds.
    match apart {
        ..CLOCKS_DIFFER => Check::ok("clock", what),
        CLOCKS_DIFFER..CLOCKS_REFUSED => Check::warn("clock", what, "set this host's clock: `timedatectl`"),
        _ => Check::fail("clock", what, "set this host's clock: AWS refuses what is signed five minutes off"),
    }
}

/// Whether the stream may be read, and its last shard.
async fn reads(stream: &StreamRef, aws: &Aws) -> (Vec<Check>, Option<String>) {
    let client = aws_sdk_kinesis::Client::new(&aws.config);
    let (arn, name) =
        (stream.arn().map(str::to_owned), stream.arn().is_none().then(|| stream.name().to_owned()));
    let mut checks = Vec::new();
    let list = client.list_shards().set_stream_arn(arn.clone()).set_stream_name(name.clone());
    let shard = match call("kinesis:ListShards", list.send(), Service::Kinesis, aws).await {
        Ok(listed) => {
            let open = listed.shards().iter().filter(|shard| {
                shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
            });
            let shards = crate::text::count(open.count(), "open shard");
            checks.push(Check::ok("kinesis:ListShards", shards));
            listed.shards().last().map(|shard| shard.shard_id().to_owned())
        }
        Err(check) if is_silent(&check) => return (vec![check], None),
        Err(check) => {
            checks.push(check);
            None
        }
    };
    let any = shard.clone().unwrap_or_else(|| "shardId-000000000000".to_owned());
    let at = client
        .get_shard_iterator()
        .set_stream_arn(arn.clone())
        .set_stream_name(name)
        .shard_id(any)
        .shard_iterator_type(ShardIteratorType::Latest);
    let iterator = match call("kinesis:GetShardIterator", at.send(), Service::Kinesis, aws).await {
        Ok(answer) => {
            checks.push(Check::ok("kinesis:GetShardIterator", "allowed"));
            answer.shard_iterator
        }
        Err(check) => {
            checks.push(check);
            None
        }
    };
    // Without an iterator that can be used, only whether the call is allowed can be seen.
    let has_iterator = iterator.is_some();
    let read = client.get_records().set_stream_arn(arn).limit(1);
    let read = read.shard_iterator(iterator.unwrap_or_else(|| "none".to_owned()));
    checks.push(match call("kinesis:GetRecords", read.send(), Service::Kinesis, aws).await {
        Ok(_) => Check::ok("kinesis:GetRecords", "allowed"),
        // The iterator is looked at once the caller is known to be allowed.
        Err(check) if !has_iterator && check.what.contains("InvalidArgumentException") => {
            Check::ok("kinesis:GetRecords", "allowed")
        }
        Err(check) => check,
    });
    (checks, shard)
}

pub(super) async fn table(config: &ConsumerConfig, aws: &Aws) -> Vec<Check> {
    if config.broadcast {
        return vec![Check::ok("table", "none is needed for `broadcast`")];
    }
    let client = aws_sdk_dynamodb::Client::new(&aws.config);
    let table = config.table.as_str();
    let mut checks = Vec::new();
    match layout(&client, config, aws).await {
        Ok(found) => checks.extend(found),
        Err(missing) => {
            checks.push(missing);
            return checks;
        }
    }
    let key = || ("group".to_owned(), AttributeValue::S(NOBODY.to_owned()));
    let row = || ("row".to_owned(), AttributeValue::S(NOBODY.to_owned()));
    let get = client.get_item().table_name(table).set_key(Some([key(), row()].into()));
    checks.push(allowed("dynamodb:GetItem", Box::pin(get.send()), aws).await);
    let query = client
        .query()
        .table_name(table)
        .key_condition_expression("#group = :group")
        .expression_attribute_names("#group", "group")
        .expression_attribute_values(":group", AttributeValue::S(NOBODY.to_owned()))
        .limit(1);
    checks.push(allowed("dynamodb:Query", Box::pin(query.send()), aws).await);
    // There is no such row, and it may not be missing: nothing is ever written.
    let exists = "attribute_exists(#group)";
    let update = client
        .update_item()
        .table_name(table)
        .set_key(Some([key(), row()].into()))
        .update_expression("REMOVE #nothing")
        .condition_expression(exists)
        .expression_attribute_names("#group", "group")
        .expression_attribute_names("#nothing", "nothing");
    checks.push(allowed("dynamodb:UpdateItem", Box::pin(update.send()), aws).await);
    let delete = client
        .delete_item()
        .table_name(table)
        .set_key(Some([key(), row()].into()))
        .condition_expression(exists)
        .expression_attribute_names("#group", "group");
    checks.push(allowed("dynamodb:DeleteItem", Box::pin(delete.send()), aws).await);
    let put = client
        .put_item()
        .table_name(table)
        .set_item(Some([key(), row()].into()))
        .condition_expression(exists)
        .expression_attribute_names("#group", "group");
    checks.push(allowed("dynamodb:PutItem", Box::pin(put.send()), aws).await);
    checks
}

/// Whether the table exists and is laid out as it must be. `Err`: nothing else can be asked of it.
async fn layout(
    client: &aws_sdk_dynamodb::Client,
    config: &ConsumerConfig,
    aws: &Aws,
) -> Result<Vec<Check>, Check> {
    let action = "dynamodb:DescribeTable";
    let described =
        match call(action, client.describe_table().table_name(&config.table).send(), Service::DynamoDb, aws)
            .await
        {
            Ok(described) => described,
            // Workers do without it.
            Err(check) if check.what.contains("not allowed") => {
                return Ok(vec![Check::warn(
                    action,
                    check.what,
                    "allow it, so that a wrong table is told in words",
                )]);
            }
            Err(check) if check.what.contains("does not exist") && config.create_table => {
                return Err(Check::warn(action, check.what, "the first worker makes it (`create_table`)"));
            }
            Err(check) if check.what.contains("does not exist") => {
                let next = "make it: `rokini doctor --terraform` prints how, or set `create_table = true`";
                return Err(Check { next: Some(next.to_owned()), ..check });
            }
            Err(check) => return Err(check),
        };
    let Some(table) = described.table() else { return Err(silent(action)) };
    let keys: Vec<&str> = table.key_schema().iter().map(|key| key.attribute_name()).collect();
    let mut checks = Vec::new();
    checks.push(match keys[..] {
        ["group", "row"] => Check::ok("table-layout", "keys group and row"),
        _ => {
            return Err(Check::fail(
                "table-layout",
                format!("table `{}` has the keys {}, not group and row", config.table, keys.join(", ")),
                "name a table of Rokini's by `table`; `rokini import` takes positions over from those of others",
            ));
        }
    });
    let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode().cloned());
    checks.push(match mode {
        Some(aws_sdk_dynamodb::types::BillingMode::PayPerRequest) => Check::ok("table-billing", "on demand"),
        _ => {
            let units = |count: Option<i64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
            let given = table.provisioned_throughput();
            let what = format!(
                "provisioned: {} read and {} write units",
                units(given.and_then(|given| given.read_capacity_units())),
                units(given.and_then(|given| given.write_capacity_units()))
            );
            Check::warn(
                "table-billing",
                what,
                "docs/COST.md says what a group takes; on demand never runs out",
            )
        }
    });
    Ok(checks)
}

pub(super) async fn group(config: &ConsumerConfig, aws: &Aws) -> Vec<Check> {
    let Some(group) = config.group.as_ref().filter(|_| !config.broadcast) else { return Vec::new() };
    let store = DynamoStore::new(&aws.config, config.table.as_str());
    let Ok(Ok(view)) = timeout(CALL_WAIT, store.list(group, Listing::All)).await else { return Vec::new() };
    if view.leases.is_empty() {
        return vec![Check::ok("group", format!("{group} is new: it begins at {}", start(config)))];
    }
    let mut checks = Vec::new();
    if let Ok(Ok(keys)) = timeout(CALL_WAIT, store.lease_keys(group)).await {
        checks.push(lease_keys(config, &view, keys.now.get()));
    }
    for stream in &config.streams {
        let source = KinesisSource::new(&aws.config, stream.clone(), &Settings::default(), rand::random());
        let Ok(source) = source else { continue };
        let Ok(Ok(described)) = timeout(CALL_WAIT, source.describe()).await else { continue };
        checks.push(retention(&view, &described));
    }
    checks
}

/// Whether the partition keys of the table bear it when every shard is busy.
fn lease_keys(config: &ConsumerConfig, view: &GroupView, keys: u16) -> Check {
    let number = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
    let open = view.leases.iter().filter(|row| !row.position.is_shard_end()).count();
    let alive = view.workers.iter().filter(|row| row.state == WorkerState::Alive).count();
    let shape = FleetShape { workers: number(alive.max(1)), leases: number(open) };
    let interval = config.checkpoint_interval.max(Duration::from_millis(100));
    let (load, best) = (shape.busiest_key(keys, interval), shape.lease_keys(interval));
    let what = format!(
        "the leases are spread over {}; with all {} busy one of them is asked for {:.0} write units and {:.0} read units a \
         second, of 1,000 and 3,000",
        crate::text::count(usize::from(keys), "partition key"),
        crate::text::count(open, "shard"),
        load.writes,
        load.reads,
    );
    if load.writes <= 800.0 && load.reads <= 2_400.0 || best <= keys {
        return Check::ok("lease-keys", what);
    }
    let group = config.group.as_ref().map(ToString::to_string).unwrap_or_default();
    Check::warn(
        "lease-keys",
        what,
        format!(
            "`rokini group repartition {group} {best}` spreads them while workers run; or store positions more rarely \
             (`checkpoint_interval`)"
        ),
    )
}

/// How far the shards of a stream are done, against how long it keeps records.
fn retention(view: &GroupView, stream: &StreamDescription) -> Check {
    let of_stream = |row: &&LeaseRow| row.key.stream == stream.id && !row.position.is_shard_end();
    let open = view.leases.iter().filter(of_stream);
    let behind = open.clone().filter_map(|row| Some(stream.now_millis.saturating_sub(view.done_until(row)?)));
    let (oldest, shards) = (behind.max(), crate::text::count(open.count(), "shard"));
    let (kept, hours) = (stream.retention.as_millis(), stream.retention.as_secs() / 3600);
    let Some(oldest) = oldest else {
        return Check::ok("retention", format!("{shards}, of which none was read yet"));
    };
    let what = format!("{shards}; the furthest behind is done up to {} ago", crate::text::span(oldest));
    match u128::from(oldest) {
        age if age > kept => Check::fail(
            "retention",
            format!("{what}, and the stream keeps {hours} h: records may be lost"),
            "`rokini group why` says what holds it up; raise the retention",
        ),
        age if age > kept / 2 => Check::warn(
            "retention",
            format!("{what}, and the stream keeps {hours} h"),
            "`rokini group why` says what holds it up; raise the retention in time",
        ),
        _ => Check::ok("retention", what),
    }
}

fn start(config: &ConsumerConfig) -> String {
    config.text(rokini::ConfigKey::Start).unwrap_or_default()
}

/// Whether a call is allowed: one whose condition does not hold is.
async fn allowed<T, E>(
    action: &'static str,
    send: impl Future<Output = Result<T, aws_sdk_dynamodb::error::SdkError<E>>>,
    aws: &Aws,
) -> Check
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match call(action, send, Service::DynamoDb, aws).await {
        Ok(_) => Check::ok(action, "allowed"),
        Err(check) => check,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::check::CheckStatus;
    use super::*;
    use rokini::lease::{Position, WorkerRow};

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    #[test]
    fn retention_is_judged_by_stream_and_by_what_owners_say() {
        let lease = |key: &str, done: u64| {
            let mut lease = LeaseRow::new(key.parse().unwrap(), Position::after(7_u128.into()));
            lease.metadata.record_arrival_millis = Some(NOW - done);
            lease.owner = Some("w#1".parse().unwrap());
            lease
        };
        let stream = |id: &str| {
            StreamDescription::new("any", id.parse().unwrap(), NOW, Duration::from_secs(24 * 3600))
        };
        let mut view = GroupView::default();
        view.workers.push(WorkerRow::joining("w#1".parse().unwrap(), None));
        // The last record of an idle shard is two days old; one of another stream is half a day behind.
        view.leases =
            vec![lease("idle@1#a", 48 * HOUR), lease("late@1#a", 13 * HOUR), lease("late@1#b", HOUR)];
        view.workers[0].report.caught_up.insert("idle@1".parse().unwrap(), NOW - 2_000);
        view.leases.push(LeaseRow::new("fresh@1#a".parse().unwrap(), Position::TrimHorizon));
        let judged = |view: &GroupView, id: &str| retention(view, &stream(id));
        let idle = judged(&view, "idle@1");
        assert_eq!((idle.status, idle.what.contains("up to 2.0s ago")), (CheckStatus::Ok, true), "{idle:?}");
        let late = judged(&view, "late@1");
        assert_eq!((late.status, late.what.contains("2 shards")), (CheckStatus::Warn, true), "{late:?}");
        assert_eq!(judged(&view, "fresh@1").status, CheckStatus::Ok);
        view.workers.clear();
        assert_eq!(judged(&view, "idle@1").status, CheckStatus::Fail, "nobody says that nothing came");
    }
}

//! How large DynamoDB takes a row to be: the lengths of attribute names and values ("DynamoDB item sizes and
//! formats" in its developer guide).

use std::fmt::Display;

use crate::row::{
    GroupRow, GroupView, LeaseRow, Row, StreamRow, WorkerNotification, WorkerReport, WorkerRow,
};
use crate::types::{GroupId, ShardId, StreamId};

/// A text attribute.
fn text(name: &str, value: &str) -> u64 {
    (name.len() + value.len()) as u64
}

/// A number: a byte for two digits, and one more.
fn number(name: &str, value: u64) -> u64 {
    // Zeros at the end do not count, as they are not significant.
    let digits = value.to_string().trim_end_matches('0').len().max(1);
    (name.len() + digits.div_ceil(2) + 1) as u64
}

/// A list: 3 bytes, and one more for each member.
fn list(name: &str, names: impl IntoIterator<Item = impl Display>) -> u64 {
    let members: usize = names.into_iter().map(|member| 1 + member.to_string().len()).sum();
    (name.len() + 3 + members) as u64
}

/// A time, as long as one gets: without zeros at the end it is shorter.
const TIME: &str = "2026-01-31T12:00:00.123Z";

fn key(group: &GroupId, kind: &str, id: &str) -> u64 {
    text("group", group.as_str()) + text("row", kind) + id.len() as u64
}

pub(super) fn row(of: &GroupId, row: &Row) -> u64 {
    match row {
        Row::Group(row) => group(of, row),
        Row::Lease(row) => lease(of, row),
        Row::Stream(row) => stream(of, row),
        Row::Worker(row) => worker(of, row),
    }
}

/// All rows of a listing.
pub(super) fn view(of: &GroupId, view: &GroupView) -> u64 {
    let workers = view.workers.iter().map(|row| worker(of, row));
    let leases = view.leases.iter().map(|row| lease(of, row));
    let streams = view.streams.iter().map(|row| stream(of, row));
    let own = (view.group != GroupRow::default()).then(|| group(of, &view.group));
    workers.chain(leases).chain(streams).chain(own).sum()
}

pub(super) fn worker(group: &GroupId, row: &WorkerRow) -> u64 {
    let texts: usize = row.mailbox.iter().map(|one| WorkerNotification::to_string(one).len()).sum();
    let mailbox = if texts == 0 { 0 } else { "mailbox".len() + 3 + texts };
    let process = row.process.as_ref().map_or(0, |process| {
        text("host", &process.host)
            + number("process_id", process.pid.into())
            + number("process_started", process.started)
            + process.host_name.as_ref().map_or(0, |name| text("host_name", name))
    });
    key(group, "worker#", &row.id.to_string())
        + number("beat", row.heartbeat)
        + text("state", &row.state.to_string())
        + number("leases", row.load.leases.into())
        + text("version", &row.version)
        + row.streams.as_ref().map_or(0, |streams| list("streams", streams))
        + row.max_leases.map_or(0, |limit| number("max_leases", limit.into()))
        + mailbox as u64
        + process
        + number("call", row.call)
        + report(&row.report)
}

fn report(report: &WorkerReport) -> u64 {
    let member = |stream: &StreamId, value: u64| 1 + number(stream.as_str(), value);
    let caught_up: u64 = report.caught_up.iter().map(|(stream, at)| member(stream, *at)).sum();
    number("format", report.format.into())
        + number("interval", report.interval.as_millis() as u64)
        + number("failover", report.failover.as_millis() as u64)
        + text("plan", &report.plan.to_string())
        + report.age.map_or(0, |age| number("age", age.as_secs()))
        + if report.unable.is_empty() { 0 } else { list("unable", &report.unable) }
        + if report.shards.is_empty() { 0 } else { list("shards", &report.shards) }
        + if report.untold == 0 { 0 } else { number("shards_untold", report.untold.into()) }
        + if report.summaries.is_empty() { 0 } else { list("shards_summarized", &report.summaries) }
        + if report.troubles.is_empty() { 0 } else { list("troubles", &report.troubles) }
        + if caught_up == 0 { 0 } else { "caught_up".len() as u64 + 3 + caught_up }
}

pub(super) fn lease(group: &GroupId, row: &LeaseRow) -> u64 {
    let optional = |name: &str, value: Option<String>| value.map_or(0, |value| text(name, &value));
    let time = |name: &str, at: Option<u64>| at.map_or(0, |_| text(name, TIME));
    let shards = |name, ids: &[ShardId]| if ids.is_empty() { 0 } else { list(name, ids) };
    let pending = row.pending.as_ref().map_or(0, |pending| {
        let state = "pending_state".len() + pending.state.len();
        text("pending_position", &pending.position.to_string()) + state as u64
    });
    key(group, "lease#", &row.key.to_string())
        + number("epoch", row.epoch.0)
        + text("position", &row.position.to_string())
        + text("rank", &row.position.rank())
        + optional("owner", row.owner.as_ref().map(ToString::to_string))
        + optional("claim", row.claim.as_ref().map(ToString::to_string))
        + optional("order", row.order.map(|order| order.to_string()))
        + optional("previous_position", row.previous.map(|position| position.to_string()))
        + optional("hash_start", row.hash_range.map(|range| range.start.to_string()))
        + optional("hash_end", row.hash_range.map(|range| range.end.to_string()))
        + shards("parents", &row.parents)
        + shards("children", &row.children)
        + time("checkpointed_at", row.checkpointed_at)
        + time("record_arrived_at", row.metadata.record_arrival_millis)
        + time("caught_up_at", row.metadata.caught_up_millis)
        + row.metadata.bytes_per_second.map_or(0, |rate| number("bytes_per_second", rate))
        + row.metadata.record_bytes.map_or(0, |bytes| number("record_bytes", bytes))
        + row.metadata.fan_out.map_or(0, |_| 1 + "fan_out".len() as u64)
        + optional("skipped", row.metadata.skipped.map(|skipped| skipped.to_string()))
        + pending
        + optional("pause_order", row.pause_order.map(|order| order.to_string()))
        + optional("pinned_to", row.pin.as_ref().map(ToString::to_string))
        + if row.paused { 1 + "paused".len() as u64 } else { 0 }
}

pub(super) fn stream(group: &GroupId, row: &StreamRow) -> u64 {
    key(group, "stream#", row.id.as_str())
        + text("name", &row.name)
        + text("start", &row.start.to_string())
        + row.consumer.as_ref().map_or(0, |consumer| text("consumer", &consumer.to_string()))
}

pub(super) fn group(group: &GroupId, row: &GroupRow) -> u64 {
    key(group, "group", "")
        + row.paused_at.map_or(0, |_| text("paused_at", TIME))
        + if row.orders.is_empty() { 0 } else { list("orders", &row.orders) }
        + row.orders.last().map_or(0, |order| number("last_order", order.id.0))
}

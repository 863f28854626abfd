//! `rokini group audit`: whether every record has somebody who reads it.

use std::collections::{BTreeMap, BTreeSet};

use rokini::lease::{HashRange, LeaseKey, LeaseRow, StreamId};
use rokini::{ShardDescription, ShardSelection, StreamSource};
use serde::Serialize;

use super::group_handle::ScopedGroupArgs;
use super::liveness::{self, WatchedWorkers};
use crate::aws::Service;
use crate::context::Context;
use crate::error::{CliError, Status};

/// Audit a group: is every partition-key hash read by somebody, and does every shard have its lease?
///
/// Compares the leases with the shards that the streams list, and the owners with the workers that live. Finds holes in the
/// hash range, open shards without a lease, leases of shards that are gone, owners that do not live, and children whose
/// parents nobody reads. Workers mend most of it by themselves within `audit_interval`. The exit status is 1 if anything
/// was found.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: ScopedGroupArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group audit billing
  rokini group audit billing --json | jq .findings";

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    stream: String,
    /// A stable word.
    code: &'static str,
    what: String,
    next: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let workers = liveness::watch(&handle.table, &handle.group, &handle.view.workers).await?;
    let mut findings: Vec<Finding> = handle
        .view
        .unreadable
        .iter()
        .map(|row| Finding {
            stream: String::new(),
            code: "unreadable-row",
            what: row.to_string(),
            next: "a worker of the version that wrote it reads it; nothing else is touched by it".to_owned(),
        })
        .collect();
    let streams = handle.streams()?;
    for stream in &streams {
        let aws = &handle.table.aws;
        let named = handle.reference(stream).map_err(|error| aws.explain(error, Service::Kinesis))?;
        let (source, _) = aws.open(&named).await?;
        let listing = source.list_shards(ShardSelection::All).await;
        let listing = listing.map_err(|error| aws.explain(error, Service::Kinesis))?;
        let leases = handle.view.leases.iter().filter(|row| row.key.stream == stream.id).collect::<Vec<_>>();
        findings.extend(audit(&stream.id, &leases, &listing, &workers));
    }
    let shown = serde_json::json!({ "group": handle.group.to_string(), "findings": findings });
    let text = || {
        if findings.is_empty() {
            return format!(
                "every hash of {} is read or about to be\n",
                crate::text::count(streams.len(), "stream")
            );
        }
        let line =
            |finding: &Finding| format!("{}: {}\n  next: {}\n", finding.code, finding.what, finding.next);
        findings.iter().map(line).collect()
    };
    context.show(&shown, text).await?;
    Ok(if findings.is_empty() { Status::DONE } else { Status::FAILED })
}

/// Pure.
fn audit(
    stream: &StreamId,
    leases: &[&LeaseRow],
    listing: &[ShardDescription],
    workers: &WatchedWorkers,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code, what: String, next: &str| {
        findings.push(Finding { stream: stream.to_string(), code, what, next: next.to_owned() });
    };
    for hole in holes(leases) {
        let what = format!("no unfinished lease covers the hashes {} to {}", hole.start, hole.end);
        find("hole", what, "a running worker mends it within `audit_interval`; if none runs, start one");
    }
    let listed: BTreeSet<_> = listing.iter().map(|shard| &shard.id).collect();
    let by_shard: BTreeMap<_, &LeaseRow> = leases.iter().map(|row| (&row.key.shard, *row)).collect();
    for shard in listing.iter().filter(|shard| !shard.closed && !by_shard.contains_key(&shard.id)) {
        let waits = shard
            .parents
            .iter()
            .any(|parent| by_shard.get(parent).is_some_and(|row| !row.position.is_shard_end()));
        if !waits {
            let what = format!("{} is open and has no lease", shard.id);
            find(
                "no-lease",
                what,
                "a running worker makes it within `audit_interval`; if none runs, start one",
            );
        }
    }
    let alive: BTreeSet<_> = workers.alive().collect();
    for row in leases.iter().filter(|row| !row.position.is_shard_end()) {
        let shard = &row.key.shard;
        if !listed.contains(shard) {
            let what = format!("the stream lists {shard} no more, and its lease stands at {}", row.position);
            find("gone", what, "a running worker retires the lease, with an event that says what was missed");
        }
        if let Some(owner) = row.owner.as_ref().filter(|owner| !alive.contains(owner)) {
            let what = format!("{shard} belongs to {}, which does not live", owner.name);
            find(
                "orphan",
                what,
                "a live worker takes it within the failover time; if there is none, start one",
            );
        }
        let unlisted = |parent: &&rokini::lease::ShardId| {
            let key = LeaseKey::new(stream.clone(), (*parent).clone());
            by_shard.get(&key.shard).is_some_and(|row| !row.position.is_shard_end())
                && !listed.contains(parent)
        };
        if let Some(parent) = row.parents.iter().find(unlisted) {
            let what = format!("{shard} waits for {parent}, which the stream lists no more");
            find("waits-for-gone", what, "a running worker retires the parent's lease, and the child begins");
        }
    }
    findings
}

/// The hashes that no unfinished lease covers, where any has a range.
fn holes(leases: &[&LeaseRow]) -> Vec<HashRange> {
    let unfinished = leases.iter().filter(|row| !row.position.is_shard_end());
    let mut ranges: Vec<HashRange> = unfinished.filter_map(|row| row.hash_range).collect();
    ranges.sort();
    let mut holes = Vec::new();
    // The first hash that nothing covers so far; `None` once all are covered.
    let mut next = Some(0_u128);
    for range in &ranges {
        let Some(from) = next else { break };
        if range.start > from {
            holes.push(HashRange { start: from, end: range.start - 1 });
        }
        next = if range.end >= from { range.end.checked_add(1) } else { Some(from) };
    }
    if let Some(from) = next.filter(|_| !ranges.is_empty()) {
        holes.push(HashRange { start: from, end: u128::MAX });
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini::lease::Position;

    fn lease(shard: &str, start: u128, end: u128) -> LeaseRow {
        let row = LeaseRow::new(format!("s@1#{shard}").parse().unwrap(), Position::TrimHorizon);
        row.with_hash_range(HashRange { start, end })
    }

    fn open(shard: &str) -> ShardDescription {
        ShardDescription::new(shard.parse().unwrap(), Vec::new())
    }

    #[test]
    fn what_is_missing_is_found() {
        let stream: StreamId = "s@1".parse().unwrap();
        let codes = |leases: &[LeaseRow], listing: &[ShardDescription]| -> Vec<&'static str> {
            let leases: Vec<&LeaseRow> = leases.iter().collect();
            audit(&stream, &leases, listing, &WatchedWorkers::default())
                .iter()
                .map(|found| found.code)
                .collect()
        };
        let whole = lease("a", 0, u128::MAX);
        assert!(codes(std::slice::from_ref(&whole), &[open("a")]).is_empty());
        assert_eq!(codes(&[lease("a", 0, 9), lease("b", 20, u128::MAX)], &[open("a"), open("b")]), ["hole"]);
        assert_eq!(codes(&[lease("a", 5, 9)], &[open("a")]), ["hole", "hole"]);
        assert_eq!(codes(std::slice::from_ref(&whole), &[open("a"), open("b")]), ["no-lease"]);
        assert_eq!(codes(std::slice::from_ref(&whole), &[]), ["gone"]);
        let mut orphan = whole.clone();
        orphan.owner = Some("w#1".parse().unwrap());
        assert_eq!(codes(&[orphan], &[open("a")]), ["orphan"]);
        // Overlaps are none.
        assert!(codes(&[whole, lease("b", 5, 9)], &[open("a"), open("b")]).is_empty());
    }
}

//! Real workers in trouble of every kind at once: ten seconds after it began every outlet names the cause of each shard, and
//! none another; ten seconds after it ended everything is well again, wherever one looks.

mod outlets;
mod place;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rokini_local::Fault;
use rokini_local::wire::ErrorCode;

use self::outlets::{Expected, Outlets};
use self::place::Place;
use crate::pressure::{Pressure, promised};

/// How long after the beginning or the end every outlet is right.
const LIMIT: Duration = Duration::from_secs(10);

/// What is wrong with one shard of a group.
struct Case {
    group: &'static str,
    /// Its number.
    shard: usize,
    expected: Expected,
}

/// A shard whose worker tells why it makes no progress, in these words among others.
fn told(group: &'static str, shard: usize, cause: &'static str, says: &'static str) -> Case {
    let state = if matches!(cause, "behind" | "parked") { "behind" } else { "stuck" };
    Case { group, shard, expected: Expected { state, cause: Some(cause), says, on_page: None } }
}

/// A shard that does not move although nothing fails.
fn stands(
    group: &'static str,
    shard: usize,
    state: &'static str,
    says: &'static str,
    on_page: Option<&'static str>,
) -> Case {
    Case { group, shard, expected: Expected { state, cause: None, says, on_page } }
}

fn cases() -> Vec<Case> {
    vec![
        told("g", 0, "acks", "its handler does not acknowledge its records"),
        told("g", 1, "parked", "no such customer"),
        told("g", 2, "behind", "faster than they are processed"),
        told("g", 3, "denied", "GetRecords"),
        told("g", 4, "position", "refuses its position"),
        told("g", 5, "throttled", "throttled"),
        told("g", 6, "reading", "does not answer"),
        stands("g", 7, "paused", "paused on its own", Some("paused")),
        told("fails", 0, "failing", "no such customer"),
        told("halts", 0, "halted", "no such customer"),
        told("posts", 0, "handler", "handler does not return"),
        told("busy", 0, "unavailable", "HTTP 503"),
        told("starts", 0, "unavailable", "ended before it got a record"),
        // At the end of a shard the handler waits for what is out.
        told("merges", 1, "handler", "handler does not return"),
        stands("merges", 2, "waiting", "it comes from shardId-000000000001", Some("waiting")),
        stands("table", 0, "orphaned", "has no heartbeat", Some("orphaned")),
        stands("dies", 0, "orphaned", "has no heartbeat", Some("orphaned")),
        stands("nobody", 0, "free", "no worker of the group is alive", Some("free")),
    ]
}

async fn begin(place: &mut Place) {
    let denied =
        Fault::Error { code: ErrorCode::AccessDenied, message: "not for you".to_owned(), status: None };
    let expired = Fault::Error { code: ErrorCode::ExpiredIterator, message: String::new(), status: None };
    let refused = Fault::Error { code: ErrorCode::InvalidArgument, message: String::new(), status: None };
    place.local.run(&["group", "pause", "g", "--shard", "7"]).await.done();
    place.fault("GetRecords", 3, denied);
    place.fault("GetRecords", 4, expired);
    place.fault("GetShardIterator", 4, refused);
    place.read_too(5);
    place.fault("GetRecords", 6, Fault::DropBefore);
    place.put("g", 0, ["hang"]).await;
    // Of one key, and of another one that goes on.
    place.put("g", 1, ["fail", "ok"]).await;
    place.put("g", 2, (0..80).map(|n| format!("slow {n}")).collect::<Vec<_>>()).await;
    place.put("g", 7, ["ok"]).await;
    for group in ["fails", "halts"] {
        place.put(group, 0, ["fail"]).await;
    }
    for group in ["posts", "busy", "starts", "table", "dies", "nobody"] {
        place.put(group, 0, ["ok"]).await;
    }
    place.throttle_table();
    place.kill_one();
}

async fn end(place: &mut Place) {
    place.troubles.heal(&place.local);
    place.read_alone();
    std::fs::write(place.local.home().join("well"), "").unwrap();
    place.local.run(&["group", "resume", "g", "--shard", "7"]).await.done();
    // Nobody but an operator ends that: past the record.
    place.local.run(&["group", "seek", "halts", "--shard", "0", "--to", "latest", "--yes"]).await.done();
    place.start_for_nobody().await;
}

#[tokio::test]
async fn o12_every_cause_is_named_everywhere_and_so_is_its_end() {
    let Some(mut place) = Place::start().await else { return };
    let mut groups: BTreeMap<&str, BTreeMap<String, Expected>> = BTreeMap::new();
    for Case { group, shard, expected } in cases() {
        groups.entry(group).or_default().insert(place::shard_id(shard), expected);
    }
    let well = BTreeMap::new();
    for group in groups.keys().filter(|group| !matches!(**group, "merges" | "nobody")) {
        let outlets = Outlets::of(&place, group).await;
        outlets.are_right(&well).unwrap_or_else(|wrong| panic!("{group} at first: {wrong}"));
    }

    let pressure = Pressure::start();
    let begun = Instant::now();
    begin(&mut place).await;
    until_right(&place, &groups, begun, &pressure).await;
    eprintln!("every outlet right {:?} after it began", begun.elapsed());

    let ended = Instant::now();
    end(&mut place).await;
    let groups = groups.keys().map(|group| (*group, well.clone())).collect();
    until_right(&place, &groups, ended, &pressure).await;
    eprintln!("every outlet right {:?} after it ended", ended.elapsed());
    place.stop().await;
}

/// Looks at all groups at the limit, as somebody who is called then. One whose command watches for longer has until it ends.
async fn until_right(
    place: &Place,
    groups: &BTreeMap<&'static str, BTreeMap<String, Expected>>,
    since: Instant,
    pressure: &Pressure,
) {
    let at = since + promised(LIMIT, pressure.share());
    let looks = groups.iter().map(async |(group, expected)| {
        // The commands look for up to ten seconds whether a silent worker is alive.
        if !place.is_silent(group) {
            tokio::time::sleep_until(at.into()).await;
        }
        let outlets = Outlets::of(place, group).await;
        outlets.are_right(expected).map_err(|wrong| format!("{group}: {wrong}"))
    });
    let wrong: Vec<String> =
        futures::future::join_all(looks).await.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

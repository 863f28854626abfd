//! The group as the page shows it: made from rows and from what this worker knows of its own shards. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rokini_lease::{
    GroupId, GroupView, LeaseKey, LeaseRow, ShardHealth, WorkerId, WorkerRow, WorkerState, pins,
};
use serde_json::{Value, json};

use crate::shard::status::ShardStatus;
use crate::types::drained::{DrainedWorkers, drained_workers};
use crate::types::shard_state::ShardState;
use crate::types::stall::StallCause;

/// What one document is made from.
pub(super) struct Facts<'a> {
    pub(super) group: &'a GroupId,
    /// This worker, once it has joined.
    pub(super) me: Option<&'a WorkerId>,
    pub(super) phase: &'a str,
    pub(super) view: &'a GroupView,
    /// The rows of the workers as they were seen last, which is later than those of the view.
    pub(super) fleet: &'a [WorkerRow],
    /// For how long each worker's heartbeat counter was seen to stand.
    pub(super) silences: &'a BTreeMap<WorkerId, Duration>,
    pub(super) own: &'a [OwnShard],
    /// Milliseconds since the Unix epoch, by this worker's clock.
    pub(super) now_millis: u64,
}

/// A shard that this worker works on.
#[derive(Debug)]
pub(super) struct OwnShard {
    pub(super) status: ShardStatus,
    /// Why it makes no progress, and for how long it has made none.
    pub(super) stall: Option<(StallCause, Duration)>,
    /// Records handed to user code and returned from it without an error, in this hold.
    pub(super) handled: u64,
    /// The time that calls of user code took, in this hold.
    pub(super) handling: Duration,
}

pub(super) fn document(facts: &Facts<'_>) -> Value {
    let pins = pins(facts.view);
    let streams: BTreeSet<_> = facts.view.leases.iter().map(|row| &row.key.stream).collect();
    let streams = streams.into_iter().map(|id| {
        let name = facts.view.streams.iter().find(|row| row.id == *id).map(|row| row.name.as_str());
        let shards = facts.view.leases.iter().filter(|row| row.key.stream == *id);
        json!({
            "id": id.as_str(),
            "name": name.unwrap_or(id.as_str()),
            "shards": shards.map(|row| shard(facts, row, &pins)).collect::<Vec<_>>(),
        })
    });
    json!({
        "group": facts.group.as_str(),
        "at": facts.now_millis,
        "worker": facts.me.map(|me| me.name.as_str()),
        "phase": facts.phase,
        "paused_at": facts.view.group.paused_at,
        "streams": streams.collect::<Vec<_>>(),
        "workers": facts.fleet.iter().map(|row| worker(facts, row)).collect::<Vec<_>>(),
    })
}

fn worker(facts: &Facts<'_>, row: &WorkerRow) -> Value {
    let leases = facts.view.leases.iter().filter(|lease| lease.owner.as_ref() == Some(&row.id));
    let drained = facts.view.drained_by(row);
    let unable: Vec<_> = row.report.unable.iter().map(|stream| stream.as_str()).collect();
    json!({
        "name": row.id.name.as_str(),
        "incarnation": row.id.incarnation.to_string(),
        "me": facts.me == Some(&row.id),
        "state": match row.state {
            WorkerState::Alive => "alive",
            WorkerState::Leaving if drained.is_some() => "drained",
            WorkerState::Leaving => "leaving",
            WorkerState::Fenced => "dead",
        },
        "beat_ms": facts.silences.get(&row.id).map(|age| age.as_millis() as u64),
        "failover_ms": row.report.failover.as_millis() as u64,
        "leases": leases.filter(|lease| !lease.position.is_shard_end()).count(),
        "host": row.process.as_ref().and_then(|process| process.host_name.as_deref()),
        "pid": row.process.as_ref().map(|process| process.pid),
        "version": row.version,
        "unable": unable,
        "drained_by": drained.map(|order| order.id.to_string()),
        "troubles": row.report.troubles.iter().map(|trouble| trouble.message.as_str()).collect::<Vec<_>>(),
    })
}

fn shard(facts: &Facts<'_>, row: &LeaseRow, pins: &BTreeMap<LeaseKey, WorkerId>) -> Value {
    let own =
        facts.own.iter().find(|own| own.status.stream == row.key.stream && own.status.shard == row.key.shard);
    let judged = judge(facts, row, own);
    let told = if own.is_none() { told(facts, row) } else { None };
    // What its owner says is well is behind by less than two seconds.
    let lag = match (own, &told) {
        (Some(own), _) => Some(own.status.lag),
        (None, Some(told)) => Some(told.as_ref().map_or(Duration::ZERO, |health| health.lag)),
        (None, None) => None,
    };
    let told = told.as_ref().and_then(Option::as_ref);
    let range = row.hash_range.as_ref();
    // A share of all hash keys: 53 bits of it are more than a screen has.
    let share = |key: u128| key as f64 / u128::MAX as f64;
    let shards = |ids: &[rokini_lease::ShardId]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    json!({
        "id": row.key.shard.as_str(),
        "from": range.map(|range| share(range.start)),
        "to": range.map(|range| share(range.end)),
        "parents": shards(&row.parents),
        "children": shards(&row.children),
        "owner": row.owner.as_ref().map(|owner| owner.name.as_str()),
        "claim": row.claim.as_ref().map(|claim| claim.name.as_str()),
        "pinned_to": pins.get(&row.key).map(|pin| pin.name.as_str()),
        "epoch": row.epoch.0,
        "state": judged.state,
        "stands": judged.stands,
        "why": judged.why,
        "cause": judged.cause.map(StallCause::name),
        "position": own.map_or(row.position, |own| own.status.done).to_string(),
        "stored_at": row.checkpointed_at,
        "lag_ms": lag.map(|lag| lag.as_millis() as u64),
        "handled": own.map(|own| own.handled),
        "handling_ms": own.map(|own| own.handling.as_secs_f64() * 1000.0),
        "error": own.map_or_else(
            || told.and_then(|told| told.error.as_ref().map(|(error, _)| error.as_str())),
            |own| own.status.last_error.as_deref(),
        ),
        "error_code": own.map_or_else(
            || told.and_then(|told| told.error_code.as_deref()),
            |own| own.status.last_error_code.as_deref(),
        ),
        "failures": own.map(|own| own.status.failures).or_else(|| told.map(|told| told.failures)),
        "record": own.map_or_else(|| told.and_then(|told| told.record), |own| own.status.handling)
            .map(|record| record.to_string()),
        "parked": own.map(|own| own.status.parked),
    })
}

/// What the owner of a shard that this worker does not have says of it: `None` where it does not say it or is not heard,
/// `Some(None)` where the shard is well.
fn told(facts: &Facts<'_>, row: &LeaseRow) -> Option<Option<ShardHealth>> {
    let owner = row.owner.as_ref().and_then(|owner| live(facts, owner))?;
    silent_for(facts, owner).is_none().then(|| owner.report.of_shard(&row.key))?
}

/// The row of a worker that was not declared dead.
fn live<'a>(facts: &Facts<'a>, id: &WorkerId) -> Option<&'a WorkerRow> {
    facts.fleet.iter().find(|row| row.id == *id).filter(|row| row.state != WorkerState::Fenced)
}

/// For how long no heartbeat has come, where it is too long.
fn silent_for(facts: &Facts<'_>, worker: &WorkerRow) -> Option<Duration> {
    let silence = facts.silences.get(&worker.id).copied().unwrap_or_default();
    worker.report.silent_after().filter(|after| silence > *after).map(|_| silence)
}

struct Judged {
    state: &'static str,
    /// Whether it does not get on although there may be something to do.
    stands: bool,
    why: Option<String>,
    /// Why it makes no progress, as its worker says.
    cause: Option<StallCause>,
}

fn stands(state: &'static str, why: impl Into<String>) -> Judged {
    Judged { state, stands: true, why: Some(why.into()), cause: None }
}

fn goes_on(state: &'static str, why: Option<String>) -> Judged {
    Judged { state, stands: false, why, cause: None }
}

/// Paused by an operator. A call that does not return does so whether or not anything is read.
fn paused(why: &str, beneath: Judged) -> Judged {
    match (beneath.cause, beneath.why) {
        (Some(cause), Some(more)) => {
            Judged { cause: Some(cause), ..stands("paused", format!("{why}; besides: {more}")) }
        }
        _ => stands("paused", why),
    }
}

fn judge(facts: &Facts<'_>, row: &LeaseRow, own: Option<&OwnShard>) -> Judged {
    if row.position.is_shard_end() {
        return goes_on("ended", None);
    }
    let held = judge_held(facts, row, own);
    if facts.view.group.paused_at.is_some() {
        return paused("an operator paused the group: `rokini group resume` ends that", held);
    }
    if row.paused {
        return paused("an operator paused this shard: `rokini group resume --shard` ends that", held);
    }
    held
}

fn judge_held(facts: &Facts<'_>, row: &LeaseRow, own: Option<&OwnShard>) -> Judged {
    if let Some(own) = own {
        return judge_own(facts, own);
    }
    let Some(owner) = &row.owner else { return judge_free(facts, row) };
    let name = &owner.name;
    let Some(worker) = live(facts, owner) else {
        return stands("orphaned", format!("its owner {name} is dead: another worker takes it over"));
    };
    if let Some(silence) = silent_for(facts, worker) {
        let seconds = silence.as_secs();
        return stands(
            "orphaned",
            format!(
                "its owner {name} has had no heartbeat for {seconds} s: it is dead, frozen, or cut off from the table"
            ),
        );
    }
    let told = told(facts, row).flatten();
    // A hand-over waits for a handler that hangs, too.
    let stalled = told.as_ref().is_some_and(|health| health.stalled.is_some());
    match row.claim.as_ref().filter(|_| !stalled) {
        Some(claim) => {
            let why = format!("{name} hands it over to {} when its handler is done", claim.name);
            goes_on("moving", Some(why))
        }
        None => judge_told(told.as_ref()),
    }
}

fn judge_free(facts: &Facts<'_>, row: &LeaseRow) -> Judged {
    let unfinished = row.parents.iter().find(|parent| {
        let of_parent = |lease: &&LeaseRow| lease.key.stream == row.key.stream && lease.key.shard == **parent;
        facts.view.leases.iter().find(of_parent).is_some_and(|lease| !lease.position.is_shard_end())
    });
    match unfinished {
        Some(parent) => {
            stands("waiting", format!("it comes from {parent}, which is not read to its end yet"))
        }
        None => match drained_workers(facts.group.as_str(), facts.view, &row.key.stream) {
            Some(drained) if !is_taken_soon(facts, row) => {
                let DrainedWorkers { who, next } = drained;
                stands("free", format!("the workers that would have it are drained: {who}; {next}"))
            }
            _ => stands("free", "no worker has it"),
        },
    }
}

/// Whether a worker that takes part reads the stream.
fn is_taken_soon(facts: &Facts<'_>, row: &LeaseRow) -> bool {
    let takes = |worker: &&WorkerRow| {
        worker.state == WorkerState::Alive
            && worker.reads(&row.key.stream)
            && silent_for(facts, worker).is_none()
    };
    facts.fleet.iter().any(|worker| takes(&worker))
}

fn judge_own(facts: &Facts<'_>, own: &OwnShard) -> Judged {
    let status = &own.status;
    let state = status.state.name();
    if let Some((cause, lasting)) = own.stall {
        let error = status.last_error.as_deref().zip(status.last_error_age);
        return Judged { cause: Some(cause), ..stands(state, cause.sentence(lasting, error)) };
    }
    if status.state == ShardState::Paused {
        let name = facts.me.map_or("this worker", |me| me.name.as_str());
        let why = format!(
            "{name} has it, but has no heartbeat: it is cut off from the table, so its handlers wait"
        );
        return stands("orphaned", why);
    }
    if status.paused {
        return stands("paused", "this worker was told to pause");
    }
    let parked = (status.parked > 0)
        .then(|| format!("{} partition keys wait for a record that fails; others go on", status.parked));
    goes_on(state, parked.or_else(|| catching_up(status.lag)))
}

/// From this lag on a shard is called behind, as commands do.
const BEHIND: Duration = Duration::from_secs(60);

fn catching_up(lag: Duration) -> Option<String> {
    (lag > BEHIND)
        .then(|| format!("it gets on; its oldest record that is not done came {} s ago", lag.as_secs()))
}

/// By what its owner said of it with its last heartbeat: nothing where it is well.
fn judge_told(told: Option<&ShardHealth>) -> Judged {
    let Some(word) = told.and_then(|health| health.stalled.as_deref()) else {
        let behind = told.and_then(|health| catching_up(health.lag));
        return goes_on(if behind.is_some() { "behind" } else { "reading" }, behind);
    };
    let cause = StallCause::from_name(word);
    let sentence = told.zip(cause).map(|(health, cause)| {
        let error = health.error.as_ref().map(|(error, age)| (error.as_str(), *age));
        cause.sentence(health.lasting, error)
    });
    // A cause of a later version.
    Judged { cause, ..stands("stalled", sentence.unwrap_or_else(|| format!("no progress: {word}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rokini_lease::{LeaseKey, OperatorOrder, OrderId, OrderKind, Position, ShardId, StreamId};

    fn at(sequence: u128) -> Position {
        Position::after(sequence.into())
    }

    fn key(shard: &str) -> LeaseKey {
        LeaseKey::new(StreamId::new("orders@1").unwrap(), ShardId::new(shard).unwrap())
    }

    fn id(name: &str) -> WorkerId {
        format!("{name}#1").parse().unwrap()
    }

    fn shown(leases: Vec<LeaseRow>, fleet: &[WorkerRow]) -> Value {
        of_view(&GroupView { leases, ..GroupView::default() }, fleet)
    }

    fn of_view(view: &GroupView, fleet: &[WorkerRow]) -> Value {
        let facts = Facts {
            group: &GroupId::new("billing").unwrap(),
            me: Some(&id("a")),
            phase: "running",
            view,
            fleet,
            silences: &BTreeMap::from([
                (id("a"), Duration::from_millis(700)),
                (id("d"), Duration::from_secs(3)),
            ]),
            own: &[],
            now_millis: 5,
        };
        document(&facts)
    }

    #[test]
    fn every_shard_says_how_it_stands_and_why_it_does_not_move() {
        let mut stalled = ShardHealth::new(key("hangs"), "handling", Duration::from_secs(12));
        stalled.stalled = Some(StallCause::Handler.name().to_owned());
        stalled.lasting = Duration::from_secs(11);
        let mut fleet = ["a", "c", "d"].map(|name| WorkerRow::joining(id(name), None));
        let behind = ShardHealth::new(key("catches-up"), "handling", Duration::from_secs(90));
        fleet[1].report.shards = vec![stalled.with_error("no answer", Duration::from_secs(2)), behind];
        let owned = |shard: &str, by: &str| {
            let mut row = LeaseRow::new(key(shard), at(1));
            row.owner = Some(id(by));
            row
        };
        let (mut moving, mut paused) = (owned("moving", "a"), owned("paused", "a"));
        (moving.claim, paused.paused) = (Some(id("b")), true);
        let mut paused_hangs = owned("hangs", "c");
        paused_hangs.paused = true;
        let mut claimed_hangs = owned("hangs", "c");
        claimed_hangs.claim = Some(id("b"));
        let child = LeaseRow::new(key("child"), Position::TrimHorizon);
        let leases = vec![
            owned("healthy", "a"),
            owned("orphan", "b"),
            owned("hangs", "c"),
            moving,
            paused,
            child.with_parents(vec![key("healthy").shard]),
            LeaseRow::new(key("free"), at(1)),
            LeaseRow::new(key("over"), Position::ShardEnd),
            owned("silent", "d"),
            paused_hangs,
            claimed_hangs,
            owned("catches-up", "c"),
        ];
        let shown = shown(leases, &fleet);
        let shards = shown["streams"][0]["shards"].as_array().unwrap();
        let state = |shard: &Value| (shard["state"].as_str().unwrap().to_owned(), shard["stands"] == true);
        let states: Vec<_> = shards.iter().map(state).collect();
        let wanted = [
            ("reading", false),
            ("orphaned", true),
            ("stalled", true),
            ("moving", false),
            ("paused", true),
            ("waiting", true),
            ("free", true),
            ("ended", false),
            ("orphaned", true),
            ("paused", true),
            ("stalled", true),
            ("behind", false),
        ];
        assert_eq!(states, wanted.map(|(state, stands)| (state.to_owned(), stands)));
        for shard in shards.iter().filter(|shard| shard["stands"] == true) {
            assert!(!shard["why"].as_str().unwrap().is_empty(), "{shard}");
        }
        let error = Some(("no answer", Duration::from_secs(2)));
        let said = StallCause::Handler.sentence(Duration::from_secs(11), error);
        assert_eq!((&shards[2]["why"], &shards[2]["lag_ms"]), (&Value::from(said), &Value::from(12_000)));
        assert_eq!(
            (&shards[0]["lag_ms"], &shards[8]["lag_ms"]),
            (&0.into(), &Value::Null),
            "a dead one says nothing"
        );
        assert_eq!((&shards[2]["cause"], &shards[0]["cause"]), (&Value::from("handler"), &Value::Null));
        assert!(shards[8]["why"].as_str().unwrap().contains("no heartbeat for 3 s"), "{}", shards[8]);
        assert_eq!(shards[9]["cause"], "handler", "a pause does not hide it");
        let free = |change: &dyn Fn(&mut GroupView)| {
            let mut worker = WorkerRow::joining(id("a"), None);
            worker.state = WorkerState::Leaving;
            let mut view = GroupView { workers: vec![worker], ..GroupView::default() };
            view.leases = vec![LeaseRow::new(key("free"), at(1))];
            let mut order = OperatorOrder::new(OrderId(7), OrderKind::Drain, "");
            order.worker = Some("a".parse().unwrap());
            view.group.orders.push(order);
            change(&mut view);
            let shown = of_view(&view, &view.workers);
            let shard = &shown["streams"][0]["shards"][0];
            (shown["workers"][0]["state"].clone(), shard["why"].as_str().unwrap().to_owned())
        };
        let (state, why) = free(&|_| {});
        assert!(
            state == "drained" && why.contains("a since") && why.contains("group undo billing 7"),
            "{why}"
        );
        assert_eq!(free(&|view| view.workers.push(WorkerRow::joining(id("b"), None))).1, "no worker has it");
        assert_eq!(free(&|view| view.group.orders.clear()).0, "leaving");
        assert_eq!(shown["workers"][0]["leases"], 3);
        assert_eq!(shown["workers"][0]["beat_ms"], 700);
    }
}

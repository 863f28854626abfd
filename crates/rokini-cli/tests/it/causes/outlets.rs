//! What each outlet says of a group, and whether all of it is right.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::place::Place;

/// What is to be said of a shard.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// The state that commands show.
    pub(super) state: &'static str,
    /// The cause that its worker tells, if it is the worker that tells it.
    pub(super) cause: Option<&'static str>,
    /// What `why` says, too.
    pub(super) says: &'static str,
    /// The state that the page shows, where it is not the worker that tells it.
    pub(super) on_page: Option<&'static str>,
}

/// What a worker says by itself.
struct OfWorker {
    ready: (u16, Value),
    metrics: BTreeMap<(String, String), f64>,
    page: Value,
    log: String,
}

/// What commands and a worker of a group say of it.
pub(super) struct Outlets {
    why: Value,
    shown: Value,
    lag: Value,
    worker: Option<OfWorker>,
    /// The page of a process that is no worker.
    outside: Option<Value>,
    /// What `group events` told so far.
    events: Vec<Value>,
    /// Whether heartbeats of its worker do not arrive while it is in trouble.
    is_cut_off: bool,
}

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn by_shard<'a>(shards: &'a [Value], name: &str) -> BTreeMap<&'a str, &'a Value> {
    shards.iter().map(|shard| (text(&shard[name]), shard)).collect()
}

/// The words of the cause, wherever it is said.
fn words(sentence: &str) -> &str {
    sentence.split(": ").nth(2).unwrap_or_default().split(';').next().unwrap_or_default()
}

impl Outlets {
    pub(super) async fn of(place: &Place, group: &str) -> Self {
        let local = &place.local;
        let json = async |what: &str| -> Value {
            let ended = local.run(&["group", what, group, "--json"]).await;
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{what} {group}: {ended:?}"))
        };
        let (why, shown, lag) = futures::join!(json("why"), json("show"), json("lag"));
        let mut worker = None;
        if let Some((member, probe)) = place.worker(group) {
            let (status, ready) = probe.get("/readyz").await;
            let (_, page) = probe.get("/group.json").await;
            worker = Some(OfWorker {
                ready: (status, serde_json::from_str(&ready).unwrap()),
                metrics: probe.metrics().await,
                page: serde_json::from_str(&page).unwrap(),
                log: member.stderr(),
            });
        }
        let outside = match place.page(group) {
            Some(address) => Some(crate::group_page::group(address).await),
            None => None,
        };
        Self { outside, why, shown, lag, worker, events: place.events(group), is_cut_off: group == "table" }
    }

    /// Whether every outlet says this, and of all other shards that they are well.
    pub(super) fn are_right(&self, expected: &BTreeMap<String, Expected>) -> Result<(), String> {
        self.commands_are_right(expected)?;
        if let Some(worker) = &self.worker {
            let shards = list(&self.why["shards"]);
            let said = |shard: &str| {
                let of_shard = by_shard(shards, "shard");
                of_shard.get(shard).map_or(String::new(), |shard| words(text(&shard["why"])).to_owned())
            };
            worker.is_right(expected, self.is_cut_off && !expected.is_empty(), said)?;
        }
        if let Some(page) = &self.outside {
            page_is_right(page, expected, |_| String::new())?;
        }
        self.events_are_right(expected)
    }

    fn commands_are_right(&self, expected: &BTreeMap<String, Expected>) -> Result<(), String> {
        let Self { why, shown, lag, .. } = self;
        let reasons = by_shard(list(&why["shards"]), "shard");
        let wanted: BTreeSet<&str> = expected.keys().map(String::as_str).collect();
        ensure!(why["moves"] == expected.is_empty(), "`why` says moves: {why}");
        ensure!(reasons.keys().copied().collect::<BTreeSet<_>>() == wanted, "`why` names others: {why}");
        let leases = by_shard(list(&shown["leases"]), "shard");
        let lags = by_shard(list(&lag["shards"]), "shard");
        for (shard, Expected { state, cause, says, .. }) in expected {
            let (reason, lease) = (reasons[shard.as_str()], leases[shard.as_str()]);
            ensure!(
                reason["state"] == *state && text(&reason["why"]).contains(says),
                "`why` is not {state}, {says}: {reason}"
            );
            ensure!(!text(&reason["next"]).is_empty(), "`why` has no next step: {reason}");
            for (outlet, row) in [("why", reason), ("show", lease), ("lag", lags[shard.as_str()])] {
                ensure!(row["cause"].as_str() == *cause, "`{outlet}` has not the cause {cause:?}: {row}");
            }
            ensure!(
                lease["state"] == *state && text(&lease["why"]).contains(words(text(&reason["why"]))),
                "`show` says something else than {reason}: {lease}"
            );
            ensure!(
                cause.is_none() || lags[shard.as_str()]["lag_millis"].as_u64() > Some(0),
                "`lag` has none: {lag}"
            );
        }
        for (_, lease) in leases.iter().filter(|(shard, _)| !wanted.contains(*shard)) {
            ensure!(
                matches!(text(&lease["state"]), "reading" | "ended") && lease["cause"].is_null(),
                "`show` says that something is wrong: {lease}"
            );
        }
        for (_, row) in lags.iter().filter(|(shard, _)| !wanted.contains(*shard)) {
            ensure!(row["cause"].is_null() && row["problem"].is_null(), "`lag`: {row}");
        }
        Ok(())
    }

    /// What `group events` told last of each shard.
    fn events_are_right(&self, expected: &BTreeMap<String, Expected>) -> Result<(), String> {
        let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
        for event in
            self.events.iter().filter(|event| matches!(text(&event["code"]), "stalled" | "recovered"))
        {
            last.insert(text(&event["shard"]), event);
        }
        let told: BTreeSet<&str> = expected
            .iter()
            .filter(|(_, expected)| expected.cause.is_some())
            .map(|(shard, _)| shard.as_str())
            .collect();
        let silent: Vec<&&str> = told.iter().filter(|shard| !last.contains_key(**shard)).collect();
        ensure!(silent.is_empty(), "`events` told nothing of {silent:?}");
        for (shard, event) in &last {
            let cause = expected.get(*shard).and_then(|expected| expected.cause);
            let told = text(&event["what"]).strip_prefix("makes no progress: ");
            ensure!(told == cause, "`events` told {event} last, not {cause:?}");
        }
        // What nobody tells of itself is seen in the rows.
        let is_pause = |event: &&Value| matches!(text(&event["code"]), "paused" | "resumed");
        let pauses: BTreeMap<&str, bool> = (self.events.iter().filter(is_pause))
            .map(|event| (text(&event["shard"]), event["code"] == "paused"))
            .collect();
        let paused: BTreeSet<&str> = expected
            .iter()
            .filter(|(_, shard)| shard.state == "paused")
            .map(|(shard, _)| shard.as_str())
            .collect();
        let told: BTreeSet<&str> =
            pauses.iter().filter(|(_, paused)| **paused).map(|(shard, _)| *shard).collect();
        ensure!(told == paused, "`events` told that {told:?} are paused, not {paused:?}");
        Ok(())
    }
}

impl OfWorker {
    fn is_right(
        &self,
        expected: &BTreeMap<String, Expected>,
        is_cut_off: bool,
        said: impl Fn(&str) -> String,
    ) -> Result<(), String> {
        let stalled: BTreeMap<&str, &str> =
            expected.iter().filter_map(|(shard, expected)| Some((shard.as_str(), expected.cause?))).collect();
        let (status, ready) = &self.ready;
        let wanted = if stalled.is_empty() && !is_cut_off { 200 } else { 503 };
        ensure!(*status == wanted, "/readyz answers {status}: {ready}");
        let mut reasons = BTreeMap::new();
        for reason in list(&ready["reasons"]) {
            let (message, shard) = (text(&reason["message"]), text(&reason["shard"]));
            match text(&reason["code"]) {
                "shard-stalled" => _ = reasons.insert(shard, text(&reason["cause"])),
                "no-heartbeat" if is_cut_off && message.contains("ThroughputExceeded") => {}
                _ => return Err(format!("/readyz says {reason}")),
            }
            ensure!(message.contains(&said(shard)), "/readyz does not say {}: {reason}", said(shard));
        }
        ensure!(reasons == stalled, "/readyz names {reasons:?}, not {stalled:?}");
        // A series for each shard that stalls, and those of the worker: none is right because it is not there.
        for (name, shard) in stalled
            .keys()
            .map(|shard| ("rokini_shard_stalled", *shard))
            .chain([("rokini_ready", ""), ("rokini_worker_valid", "")])
        {
            ensure!(
                self.metrics.contains_key(&(name.to_owned(), shard.to_owned())),
                "/metrics has no {name} {shard}"
            );
        }
        for ((name, shard), value) in &self.metrics {
            let wanted = match name.as_str() {
                "rokini_shard_stalled" => f64::from(u8::from(stalled.contains_key(shard.as_str()))),
                "rokini_ready" => f64::from(u8::from(wanted == 200)),
                "rokini_worker_valid" => f64::from(u8::from(!is_cut_off)),
                _ => continue,
            };
            ensure!(*value == wanted, "/metrics says {name} {shard} {value}");
        }
        page_is_right(&self.page, expected, &said)?;
        self.log_is_right(&stalled, &said)
    }

    /// The last line about each shard.
    fn log_is_right(
        &self,
        stalled: &BTreeMap<&str, &str>,
        said: impl Fn(&str) -> String,
    ) -> Result<(), String> {
        let (none, again) = ("a shard makes no progress", "the stall of a shard is over");
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for line in self.log.lines().filter(|line| line.contains(none) || line.contains(again)) {
            let shard = line.split("shardId-").nth(1).and_then(|rest| rest.get(..12)).unwrap_or_default();
            last.insert(shard, line);
        }
        for shard in stalled.keys() {
            let line = last.get(shard.trim_start_matches("shardId-")).copied().unwrap_or_default();
            ensure!(
                line.contains(none) && line.contains(&said(shard)),
                "the log does not say {} of {shard}: {line}\n{}",
                said(shard),
                self.log
            );
        }
        for (shard, line) in last {
            let is_over = line.contains(again);
            ensure!(
                is_over != stalled.contains_key(format!("shardId-{shard}").as_str()),
                "the log says last: {line}"
            );
        }
        Ok(())
    }
}

fn page_is_right(
    page: &Value,
    expected: &BTreeMap<String, Expected>,
    said: impl Fn(&str) -> String,
) -> Result<(), String> {
    let streams = list(&page["streams"]);
    let shown: BTreeSet<&str> =
        streams.iter().flat_map(|stream| list(&stream["shards"])).map(|shard| text(&shard["id"])).collect();
    let missing: Vec<&String> = expected.keys().filter(|shard| !shown.contains(shard.as_str())).collect();
    ensure!(!shown.is_empty() && missing.is_empty(), "the page does not show {missing:?}: {}", page);
    for stream in streams {
        for shard in list(&stream["shards"]) {
            let id = text(&shard["id"]);
            let Some(expected) = expected.get(id) else {
                ensure!(shard["stands"] == false && shard["cause"].is_null(), "the page says {shard}");
                continue;
            };
            ensure!(shard["stands"] == true, "the page says {shard}");
            ensure!(shard["cause"].as_str() == expected.cause, "the page says {shard}");
            ensure!(
                expected.cause.is_none() || text(&shard["why"]).contains(&said(id)),
                "the page does not say {}: {shard}",
                said(id)
            );
            ensure!(
                expected.on_page.is_none_or(|state| shard["state"] == state),
                "the page says {shard}, not {:?}",
                expected.on_page
            );
        }
    }
    Ok(())
}

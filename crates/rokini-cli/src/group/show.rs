//! `rokini group show`: the workers and leases of a group.

use rokini::format_time;
use rokini::lease::{GroupView, LeaseKey, LeaseRow, StreamRow, WorkerId, WorkerRow, pins};
use serde::Serialize;

use super::diagnosis::{DiagnosisInput, ShardDiagnosis, ShardState};
use super::group_handle::{GroupHandle, ScopedGroupArgs, keys};
use super::liveness::Liveness;
use super::observe::{Observations, Seen, observe};
use super::repeat::WatchArgs;
use super::shard_lag::ShardLag;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::position_text;
use crate::text::span;
use crate::text_table::TextTable;

/// Show everything about a group: shard, owner, epoch, position, lag, state, and why it does not move
///
/// Reads the group's rows, watches for two and a half heartbeats at most which workers are alive, and finds out how far each shard
/// is behind (as `rokini group lag` does). Why a shard makes no progress its worker says, with its heartbeat. Tables show
/// positions by the time of their records, --json the whole numbers.
///
/// States of a shard: reading; behind (its lag grows, or is above a minute); stuck (no progress); paused; waiting (for a shard that it came from); moving (to another worker);
/// orphaned (its owner is not alive); free (no worker has it); gone (from the stream); ended (read to its end). Workers
/// are alive, leaving, drained (by `group drain`), silent (no heartbeat came) or fenced (declared dead).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: ScopedGroupArgs,
    /// Only read the rows: without the lag, and every worker that was not declared dead counts as alive
    #[arg(long)]
    quick: bool,
    /// Also epochs, positions and when they were stored, and where workers run, beyond 80 columns
    #[arg(long, short)]
    wide: bool,
    #[command(flatten)]
    watch: WatchArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group show billing
  rokini group show billing --watch=5s
  rokini group show billing --json | jq '.leases[] | select(.why != null)'";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    if args.wide && context.json {
        return Err(
            CliError::usage("`--wide` has no effect with `--json`").next("remove it: JSON has all of it")
        );
    }
    args.watch
        .repeat(&args.group, context, async |handle, seen| show(&args, handle, seen, context).await)
        .await
}

async fn show(
    args: &Args,
    handle: &GroupHandle,
    seen: Option<&mut Seen>,
    context: &Context,
) -> Result<Status, CliError> {
    let wanted = keys(&handle.leases()?);
    let observations = match args.quick {
        true => Observations::of_rows(handle),
        false => observe(handle, &wanted, seen).await?,
    };
    let streams: Vec<&StreamRow> = handle.streams()?;
    let mut shown = Group::new(handle, &streams, &wanted, &observations);
    let keys = handle.lease_keys().await?;
    (shown.lease_keys, shown.next_lease_keys) = (keys.now.get(), keys.next.map(u16::from));
    for row in &handle.view.unreadable {
        context.ui.warn(row);
    }
    observations.warn_of_unknown_lags(context);
    let tables = || shown.tables(args.wide, context.ui.stdout_colors());
    context.show(&shown, tables).await?;
    Ok(Status::DONE)
}

/// A group as it is shown.
#[derive(Debug, Serialize)]
struct Group {
    group: String,
    table: String,
    paused_at: Option<String>,
    /// Over how many partition keys the leases are spread, and over how many they are going to be.
    lease_keys: u16,
    next_lease_keys: Option<u16>,
    streams: Vec<Stream>,
    workers: Vec<Worker>,
    leases: Vec<Lease>,
    #[serde(skip)]
    now_millis: u64,
}

#[derive(Debug, Serialize)]
struct Stream {
    id: String,
    name: String,
    start: String,
    /// Under which name the group is registered for fan-out.
    consumer: Option<String>,
    /// Whether it is the group that registered it.
    consumer_owned: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Worker {
    name: String,
    incarnation: String,
    state: Liveness,
    heartbeat: u64,
    leases: usize,
    version: String,
    process: Option<u32>,
    /// What the host of the process is called.
    host: Option<String>,
    /// The order that drained it.
    drained_by: Option<String>,
    /// What keeps it from doing its part, beside its shards, as it says.
    troubles: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Lease {
    stream: String,
    shard: String,
    owner: Option<String>,
    owner_incarnation: Option<String>,
    epoch: u64,
    position: String,
    previous: Option<String>,
    claim: Option<String>,
    parents: Vec<String>,
    children: Vec<String>,
    /// By the clock of its owner then.
    checkpointed_at: Option<String>,
    /// When the last record that is done arrived, by the stream's clock.
    done_up_to: Option<String>,
    #[serde(skip)]
    checkpointed_millis: Option<u64>,
    #[serde(skip)]
    done_up_to_millis: Option<u64>,
    state: ShardState,
    /// How it was read when its position was stored: `polling` or `fan_out`.
    retrieval: Option<Retrieval>,
    why: Option<String>,
    next: Option<String>,
    cause: Option<String>,
    lag_millis: Option<u64>,
    paused: bool,
    /// The worker that an operator keeps it with, while that binds anybody.
    pinned_to: Option<String>,
    pending: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Retrieval {
    Polling,
    FanOut,
}

impl Retrieval {
    fn of(fan_out: bool) -> Self {
        if fan_out { Self::FanOut } else { Self::Polling }
    }
}

impl Worker {
    fn new(row: &WorkerRow, view: &GroupView, liveness: Liveness) -> Self {
        let leases = &view.leases;
        Self {
            name: row.id.name.to_string(),
            incarnation: row.id.incarnation.to_string(),
            state: liveness,
            heartbeat: row.heartbeat,
            leases: leases.iter().filter(|lease| lease.owner.as_ref() == Some(&row.id)).count(),
            version: row.version.clone(),
            process: row.process.as_ref().map(|process| process.pid),
            host: row.process.as_ref().and_then(|process| process.host_name.clone()),
            drained_by: view.drained_by(row).map(|order| order.id.to_string()),
            troubles: row.report.troubles.iter().map(|trouble| trouble.message.clone()).collect(),
        }
    }
}

impl Worker {
    fn cells(&self) -> [String; 5] {
        [
            self.name.clone(),
            match (self.state, &self.drained_by) {
                (Liveness::Leaving, Some(_)) => "drained".to_owned(),
                (state, _) => state.name().to_owned(),
            },
            self.leases.to_string(),
            self.heartbeat.to_string(),
            self.version.clone(),
        ]
    }
}

impl Lease {
    fn new(
        row: &LeaseRow,
        diagnosis: ShardDiagnosis,
        lag: Option<&ShardLag>,
        pin: Option<&WorkerId>,
    ) -> Self {
        let owner = row.owner.as_ref();
        Self {
            stream: row.key.stream.to_string(),
            shard: row.key.shard.to_string(),
            owner: owner.map(|id| id.name.to_string()),
            owner_incarnation: owner.map(|id| id.incarnation.to_string()),
            epoch: row.epoch.0,
            position: row.position.to_string(),
            previous: row.previous.map(|position| position.to_string()),
            claim: row.claim.as_ref().map(ToString::to_string),
            parents: row.parents.iter().map(ToString::to_string).collect(),
            children: row.children.iter().map(ToString::to_string).collect(),
            checkpointed_at: row.checkpointed_at.map(format_time),
            checkpointed_millis: row.checkpointed_at,
            done_up_to_millis: row.metadata.record_arrival_millis,
            done_up_to: row.metadata.record_arrival_millis.map(format_time),
            state: diagnosis.state,
            retrieval: row.metadata.fan_out.map(Retrieval::of),
            why: diagnosis.why,
            next: diagnosis.next,
            cause: diagnosis.cause,
            lag_millis: lag.and_then(ShardLag::millis),
            paused: row.paused,
            pinned_to: pin.map(|pin| pin.name.to_string()),
            pending: row.pending.as_ref().map(|pending| pending.position.to_string()),
        }
    }
}

impl Lease {
    /// Its state, and whether its records are pushed.
    fn shown_state(&self) -> String {
        match self.retrieval {
            Some(Retrieval::FanOut) => format!("{}, pushed", self.state.name()),
            _ => self.state.name().to_owned(),
        }
    }

    /// Who has it, and whether an operator keeps it there.
    fn shown_owner(&self) -> String {
        let owner = self.owner.clone().unwrap_or_else(|| "-".to_owned());
        match &self.pinned_to {
            Some(pin) if self.owner.as_ref() == Some(pin) => format!("{owner} (pinned)"),
            Some(pin) => format!("{owner} (pinned to {pin})"),
            None => owner,
        }
    }
}

impl Group {
    fn new(
        handle: &GroupHandle,
        streams: &[&StreamRow],
        wanted: &[LeaseKey],
        observations: &Observations,
    ) -> Self {
        let (view, input) =
            (&handle.view, DiagnosisInput { group: handle.group.as_str(), view: &handle.view, observations });
        let leases = view.leases.iter().filter(|row| wanted.contains(&row.key));
        let pins = pins(view);
        let streams = streams.iter().map(|row| Stream {
            id: row.id.to_string(),
            name: row.name.clone(),
            start: row.start.to_string(),
            consumer: row.consumer.as_ref().map(|consumer| consumer.name.clone()),
            consumer_owned: row.consumer.as_ref().map(|consumer| consumer.owned),
        });
        let liveness = |row: &WorkerRow| {
            observations.workers.liveness.get(&row.id).copied().unwrap_or(Liveness::Leaving)
        };
        Self {
            group: handle.group.to_string(),
            table: handle.table.config.table.clone(),
            paused_at: view.group.paused_at.map(format_time),
            lease_keys: 1,
            next_lease_keys: None,
            streams: streams.collect(),
            workers: view.workers.iter().map(|row| Worker::new(row, view, liveness(row))).collect(),
            leases: leases
                .map(|row| {
                    let (lag, pin) = (observations.lags.get(&row.key), pins.get(&row.key));
                    Lease::new(row, input.diagnose(row), lag, pin)
                })
                .collect(),
            now_millis: observations.now_millis,
        }
    }

    fn tables(&self, wide: bool, colors: bool) -> String {
        let mut text = String::new();
        text += &match (self.workers.is_empty(), wide) {
            (true, _) => "no workers\n".to_owned(),
            (false, true) => self.wide_workers(colors),
            (false, false) => self.narrow_workers(colors),
        };
        for worker in self.workers.iter().filter(|worker| worker.state == Liveness::Alive) {
            if !worker.troubles.is_empty() {
                text += &format!("\n{} is not ready: {}\n", worker.name, worker.troubles.join("; "));
            }
        }
        if let Some(at) = &self.paused_at {
            text += &format!("\nthe group has been paused since {at}\n");
        }
        if let Some(next) = self.next_lease_keys {
            text += &format!(
                "\nits leases are going from {} to {next} partition keys; if nobody runs that, `rokini group repartition {} \
                 {next}` ends it\n",
                self.lease_keys, self.group
            );
        } else if self.lease_keys > 1 {
            text += &format!("\nits leases are spread over {} partition keys\n", self.lease_keys);
        }
        for stream in &self.streams {
            text += &format!(
                "\nstream {} (started at {})\n",
                stream.id,
                position_text::in_words(&stream.start, self.now_millis)
            );
            if let Some(consumer) = &stream.consumer {
                text += &format!("registered for fan-out as {consumer}\n");
            }
            let leases = self.leases.iter().filter(|lease| lease.stream == stream.id);
            text += &if wide {
                wide_table(leases, colors, self.now_millis)
            } else {
                narrow_table(leases, colors)
            };
        }
        text
    }
}

impl Group {
    fn narrow_workers(&self, colors: bool) -> String {
        let mut table = TextTable::new(["WORKER", "STATE", "LEASES", "HEARTBEAT", "VERSION"]);
        for worker in &self.workers {
            table.row(worker.cells());
        }
        table.text(colors)
    }

    fn wide_workers(&self, colors: bool) -> String {
        let mut table =
            TextTable::new(["WORKER", "STATE", "LEASES", "HEARTBEAT", "VERSION", "HOST", "PROCESS"]);
        for worker in &self.workers {
            let [name, state, leases, heartbeat, version] = worker.cells();
            let host = worker.host.clone().unwrap_or_else(|| "-".to_owned());
            let process = worker.process.map_or_else(|| "-".to_owned(), |process| process.to_string());
            table.row([name, state, leases, heartbeat, version, host, process]);
        }
        table.unlimited().text(colors)
    }
}

fn narrow_table<'a>(leases: impl Iterator<Item = &'a Lease>, colors: bool) -> String {
    let mut table = TextTable::new(["SHARD", "OWNER", "LAG", "STATE", "WHY"]);
    for lease in leases {
        table.row([
            lease.shard.clone(),
            lease.shown_owner(),
            lease.lag_millis.map_or_else(|| "?".to_owned(), span),
            lease.shown_state(),
            lease.why.clone().unwrap_or_default(),
        ]);
    }
    table.text(colors)
}

fn wide_table<'a>(leases: impl Iterator<Item = &'a Lease>, colors: bool, now_millis: u64) -> String {
    let mut table = TextTable::new([
        "SHARD",
        "OWNER",
        "LAG",
        "STATE",
        "EPOCH",
        "POSITION",
        "DONE UP TO",
        "STORED AT",
        "WHY",
    ]);
    for lease in leases {
        let time =
            |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |at| position_text::time(at, now_millis));
        table.row([
            lease.shard.clone(),
            lease.shown_owner(),
            lease.lag_millis.map_or_else(|| "?".to_owned(), span),
            lease.shown_state(),
            lease.epoch.to_string(),
            position_text::of(&lease.position, now_millis),
            time(lease.done_up_to_millis),
            time(lease.checkpointed_millis),
            lease.why.clone().unwrap_or_default(),
        ]);
    }
    table.unlimited().text(colors)
}

//! `rokini group show`: the workers and leases of a group.

use std::collections::BTreeSet;

use rokini::ConsumerConfig;
use rokini::lease::store::dynamo::DynamoStore;
use rokini::lease::{GroupId, LeaseRow, LeaseStore, Listing, StreamId, View, WallClock, WorkerRow};
use serde::Serialize;

use crate::aws::{Aws, AwsArgs, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::line::time;
use crate::output::Output;
use crate::table::Table;

/// Show the workers and leases of a group
///
/// Reads the group's rows of the lease table once. A worker counts as `alive` until the others notice that its beat
/// stands still for the failover time. A position AFTER:N means that record N is done; tables shorten N, --json
/// does not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The group
    group: GroupId,
    /// The DynamoDB table of positions. Default: ROKINI_TABLE, or rokini
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only the leases of this stream
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini group show billing
  rokini group show billing --json | jq '.leases[] | select(.owner == null)'";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let mut config = ConsumerConfig::from_env(crate::environment())?;
    if let Some(table) = &args.table {
        config.set(rokini::ConfigKey::Table, table)?;
    }
    let aws = args.aws.load().await?;
    let store = DynamoStore::new(&aws.config, config.table.as_str());
    let view = tokio::select! {
        view = store.list(&args.group, Listing::All) => view,
        () = context.stop.requested() => return Ok(context.stop.status()),
    };
    let view = view.map_err(|error| aws.explain(error.into(), Service::DynamoDb))?;
    let shown = Group::new(&args, &config.table, &view, &aws)?;
    let output = Output::stdout()?;
    if context.json {
        output.json(&shown).await?;
    } else {
        let now = WallClock::system().millis();
        output.write(shown.tables(now, context.talk.stdout_colors()).into_bytes()).await?;
    }
    Ok(Status::DONE)
}

/// A group as it is shown.
#[derive(Debug, Serialize)]
struct Group {
    group: String,
    table: String,
    streams: Vec<Stream>,
    workers: Vec<Worker>,
    leases: Vec<Lease>,
}

#[derive(Debug, Serialize)]
struct Stream {
    id: String,
    name: String,
    start: String,
}

#[derive(Debug, Serialize)]
struct Worker {
    name: String,
    incarnation: String,
    state: String,
    beat: u64,
    leases: usize,
    version: String,
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
    checkpointed_at: Option<String>,
    #[serde(skip)]
    checkpointed_millis: Option<u64>,
}

impl Worker {
    fn new(row: &WorkerRow, leases: &[LeaseRow]) -> Self {
        Self {
            name: row.id.name.to_string(),
            incarnation: row.id.incarnation.to_string(),
            state: row.state.to_string(),
            beat: row.beat,
            leases: leases.iter().filter(|lease| lease.owner.as_ref() == Some(&row.id)).count(),
            version: row.version.clone(),
        }
    }
}

impl Lease {
    fn new(row: &LeaseRow) -> Self {
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
            checkpointed_at: row.checkpointed_at.map(time),
            checkpointed_millis: row.checkpointed_at,
        }
    }
}

impl Group {
    fn new(args: &Args, table: &str, view: &View, aws: &Aws) -> Result<Self, CliError> {
        let group = &args.group;
        if *view == View::default() {
            return Err(CliError::usage(format!(
                "table `{table}` in region `{}` has nothing of group `{group}`",
                aws.region()
            ))
            .next(format!(
                "check name, table and region, or start a member: `rokini consume STREAM --group {group}`"
            )));
        }
        let wanted = |id: &StreamId| {
            args.stream.as_deref().is_none_or(|name| {
                id.as_str() == name || view.streams.iter().any(|row| row.id == *id && row.name == name)
            })
        };
        if let Some(stream) = &args.stream
            && !view.streams.iter().any(|row| wanted(&row.id))
        {
            let known: BTreeSet<_> = view.streams.iter().map(|row| row.name.as_str()).collect();
            let known: Vec<_> = known.into_iter().collect();
            return Err(CliError::usage(format!("group `{group}` has not consumed a stream `{stream}`"))
                .next(format!("its streams are {}", known.join(", "))));
        }
        let streams = view.streams.iter().filter(|row| wanted(&row.id)).map(|row| Stream {
            id: row.id.to_string(),
            name: row.name.clone(),
            start: row.start.to_string(),
        });
        Ok(Self {
            group: group.to_string(),
            table: table.to_owned(),
            streams: streams.collect(),
            workers: view.workers.iter().map(|row| Worker::new(row, &view.leases)).collect(),
            leases: view.leases.iter().filter(|row| wanted(&row.key.stream)).map(Lease::new).collect(),
        })
    }

    fn tables(&self, now_millis: u64, colors: bool) -> String {
        let mut text = String::new();
        let mut workers = Table::new(["WORKER", "STATE", "LEASES", "BEAT", "VERSION", "INCARNATION"]);
        for worker in &self.workers {
            workers.row([
                worker.name.clone(),
                worker.state.clone(),
                worker.leases.to_string(),
                worker.beat.to_string(),
                worker.version.clone(),
                worker.incarnation.clone(),
            ]);
        }
        text += &if self.workers.is_empty() { "no workers\n".to_owned() } else { workers.text(colors) };
        for stream in &self.streams {
            text += &format!("\nstream {} (started at {})\n", stream.id, stream.start);
            let mut leases = Table::new(["SHARD", "OWNER", "EPOCH", "POSITION", "STORED", "CLAIM"]);
            for lease in self.leases.iter().filter(|lease| lease.stream == stream.id) {
                let stored = lease.checkpointed_millis.map(|then| ago(now_millis.saturating_sub(then)));
                leases.row([
                    lease.shard.clone(),
                    lease.owner.clone().unwrap_or_else(|| "-".to_owned()),
                    lease.epoch.to_string(),
                    shortened(&lease.position),
                    stored.unwrap_or_else(|| "-".to_owned()),
                    lease.claim.clone().unwrap_or_else(|| "-".to_owned()),
                ]);
            }
            text += &leases.text(colors);
        }
        text
    }
}

/// A position with the last digits of its sequence number.
fn shortened(position: &str) -> String {
    const SHOWN: usize = 12;
    match position.split_once(':') {
        Some((kind @ ("AT" | "AFTER"), rest)) => {
            let (number, sub) =
                rest.split_once('/').map_or((rest, ""), |(number, _)| (number, &rest[number.len()..]));
            match number.len().checked_sub(SHOWN) {
                Some(cut @ 1..) => format!("{kind}:..{}{sub}", &number[cut..]),
                _ => position.to_owned(),
            }
        }
        _ => position.to_owned(),
    }
}

fn ago(millis: u64) -> String {
    match millis / 1000 {
        seconds @ ..120 => format!("{seconds}s ago"),
        seconds @ ..7200 => format!("{}m ago", seconds / 60),
        seconds @ ..172_800 => format!("{}h ago", seconds / 3600),
        seconds => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_positions_keep_their_last_digits() {
        for (position, shown) in [
            ("TRIM_HORIZON", "TRIM_HORIZON"),
            ("AT_TIMESTAMP:1700000000000", "AT_TIMESTAMP:1700000000000"),
            ("AFTER:123", "AFTER:123"),
            ("AFTER:49680485925276037467835448941947785701109885697267859458", "AFTER:..697267859458"),
            ("AFTER:49680485925276037467835448941947785701109885697267859458/7", "AFTER:..697267859458/7"),
        ] {
            assert_eq!(shortened(position), shown);
        }
    }

    #[test]
    fn ages() {
        for (millis, shown) in [
            (0, "0s ago"),
            (119_999, "119s ago"),
            (120_000, "2m ago"),
            (7_200_000, "2h ago"),
            (900_000_000, "10d ago"),
        ] {
            assert_eq!(ago(millis), shown);
        }
    }
}

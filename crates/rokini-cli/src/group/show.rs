//! `rokini group show`: the workers and leases of a group.

use std::collections::BTreeSet;

use rokini::lease::{LeaseKey, LeaseRow, StreamRow, WallClock, WorkerRow};
use serde::Serialize;

use super::backlog::{self, Backlog, Backlogs};
use super::fleet::{self, Life, Lives};
use super::opened::{GroupArgs, Opened, ScopeArgs, keys};
use super::verdict::{Facts, State, Verdict, span};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::line::time;
use crate::output::Output;
use crate::table::Table;

/// Show everything about a group: shard, owner, epoch, position, lag, state, and why it does not move
///
/// Reads the group's rows, watches for two heartbeats whether the workers beat, and asks the streams how old the oldest
/// record is that each shard has not done (as `rokini group lag`). A position AFTER:N means that record N is done;
/// tables shorten N, --json does not.
///
/// States: reading; behind (the oldest record that is not done is older than a minute); stuck (as behind, and nothing was
/// stored for a minute); paused; waiting (for a shard it came from); moving (to another worker); orphaned (its owner
/// does not live); free; gone (from the stream); ended. Workers are alive, leaving, silent (no beat was seen) or fenced
/// (declared dead).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only read the rows, once: no lag, and every worker that was not declared dead counts as alive
    #[arg(long)]
    quick: bool,
}

const EXAMPLES: &str = "\
Examples:
  rokini group show billing
  rokini group show billing --json | jq '.leases[] | select(.why != null)'";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let opened = args.group.open().await?;
    let wanted = keys(&opened.leases(&args.scope)?);
    let look = look(&opened, &args.scope, &wanted, args.quick).await?;
    let streams: Vec<&StreamRow> = opened.streams(&args.scope)?;
    let shown = Group::new(&opened, &streams, &wanted, &look);
    for row in &opened.view.unreadable {
        context.talk.warn(row);
    }
    look.warn(context);
    let output = Output::stdout()?;
    if context.json {
        output.json(&shown).await?;
    } else {
        output.write(shown.tables(look.now_millis, context.talk.stdout_colors()).into_bytes()).await?;
    }
    Ok(Status::DONE)
}

/// What is known beyond the rows.
pub(super) struct Look {
    lives: Lives,
    backlogs: Backlogs,
    now_millis: u64,
}

/// Watches the workers, and measures how far the wanted leases are behind; both at a time. `quick` does neither.
pub(super) async fn look(
    opened: &Opened,
    scope: &ScopeArgs,
    wanted: &[LeaseKey],
    quick: bool,
) -> Result<Look, CliError> {
    let now_millis = WallClock::system().millis();
    if quick {
        let lives = fleet::believed(&opened.view.workers);
        return Ok(Look { lives, backlogs: Backlogs::new(), now_millis });
    }
    let leases: Vec<&LeaseRow> = opened.view.leases.iter().filter(|row| wanted.contains(&row.key)).collect();
    let (lives, backlogs) = tokio::join!(fleet::watched(opened), backlog::measure(opened, scope, &leases));
    Ok(Look { lives: lives?, backlogs, now_millis })
}

impl Look {
    /// Says what could not be learnt; whether there is any.
    pub(super) fn warn(&self, context: &Context) -> bool {
        let unknown = self.backlogs.values().filter_map(|backlog| match backlog {
            Backlog::Unknown(why) => Some(why),
            _ => None,
        });
        let unknown: BTreeSet<&String> = unknown.collect();
        for why in &unknown {
            context.talk.warn(format_args!("the lag of some shards is not known: {why}"));
        }
        !unknown.is_empty()
    }

    pub(super) fn facts<'a>(&'a self, opened: &'a Opened) -> Facts<'a> {
        Facts {
            group: opened.group.as_str(),
            view: &opened.view,
            lives: &self.lives,
            backlogs: &self.backlogs,
            now_millis: self.now_millis,
        }
    }
}

/// A group as it is shown.
#[derive(Debug, Serialize)]
struct Group {
    group: String,
    table: String,
    paused_at: Option<String>,
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
    state: Life,
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
    state: State,
    why: Option<String>,
    next: Option<String>,
    lag_millis: Option<u64>,
    paused: bool,
    pending: Option<String>,
}

impl Worker {
    fn new(row: &WorkerRow, leases: &[LeaseRow], life: Life) -> Self {
        Self {
            name: row.id.name.to_string(),
            incarnation: row.id.incarnation.to_string(),
            state: life,
            beat: row.beat,
            leases: leases.iter().filter(|lease| lease.owner.as_ref() == Some(&row.id)).count(),
            version: row.version.clone(),
        }
    }
}

impl Lease {
    fn new(row: &LeaseRow, verdict: Verdict, backlog: Option<&Backlog>) -> Self {
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
            state: verdict.state,
            why: verdict.why,
            next: verdict.next,
            lag_millis: backlog.and_then(Backlog::millis),
            paused: row.paused,
            pending: row.pending.as_ref().map(|pending| pending.position.to_string()),
        }
    }
}

impl Group {
    fn new(opened: &Opened, streams: &[&StreamRow], wanted: &[LeaseKey], look: &Look) -> Self {
        let (view, facts) = (&opened.view, look.facts(opened));
        let leases = view.leases.iter().filter(|row| wanted.contains(&row.key));
        let streams = streams.iter().map(|row| Stream {
            id: row.id.to_string(),
            name: row.name.clone(),
            start: row.start.to_string(),
        });
        let life = |row: &WorkerRow| look.lives.get(&row.id).copied().unwrap_or(Life::Leaving);
        Self {
            group: opened.group.to_string(),
            table: opened.table.config.table.clone(),
            paused_at: view.group.paused_at.map(time),
            streams: streams.collect(),
            workers: view.workers.iter().map(|row| Worker::new(row, &view.leases, life(row))).collect(),
            leases: leases
                .map(|row| Lease::new(row, facts.judge(row), look.backlogs.get(&row.key)))
                .collect(),
        }
    }

    fn tables(&self, now_millis: u64, colors: bool) -> String {
        let mut text = String::new();
        let mut workers = Table::new(["WORKER", "STATE", "LEASES", "BEAT", "VERSION", "INCARNATION"]);
        for worker in &self.workers {
            workers.row([
                worker.name.clone(),
                worker.state.name().to_owned(),
                worker.leases.to_string(),
                worker.beat.to_string(),
                worker.version.clone(),
                worker.incarnation.clone(),
            ]);
        }
        text += &if self.workers.is_empty() { "no workers\n".to_owned() } else { workers.text(colors) };
        if let Some(at) = &self.paused_at {
            text += &format!("\nthe group is paused since {at}\n");
        }
        for stream in &self.streams {
            text += &format!("\nstream {} (started at {})\n", stream.id, stream.start);
            let mut leases =
                Table::new(["SHARD", "OWNER", "EPOCH", "POSITION", "STORED", "LAG", "STATE", "WHY"]);
            for lease in self.leases.iter().filter(|lease| lease.stream == stream.id) {
                let stored = lease.checkpointed_millis.map(|then| ago(now_millis.saturating_sub(then)));
                leases.row([
                    lease.shard.clone(),
                    lease.owner.clone().unwrap_or_else(|| "-".to_owned()),
                    lease.epoch.to_string(),
                    shortened(&lease.position),
                    stored.unwrap_or_else(|| "-".to_owned()),
                    lease.lag_millis.map_or_else(|| "?".to_owned(), span),
                    lease.state.name().to_owned(),
                    lease.why.clone().unwrap_or_default(),
                ]);
            }
            text += &leases.text(colors);
        }
        text
    }
}

/// A position with the last digits of its sequence number.
pub(super) fn shortened(position: &str) -> String {
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
    format!("{} ago", span(millis))
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
}

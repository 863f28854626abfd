//! `rokini group events`: what changes in a group, as its rows show it.

use std::time::Duration;

use rokini::lease::{GroupId, Listing, WallClock};
use rokini::{GroupChange, format_time, group_changes};
use serde::Serialize;
use tokio::time::sleep;

use super::group_handle::GroupArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Show what happens in a group: workers that come and go, shards that move, stop and end, orders
///
/// As the rows of the group show it, looked at every second, whichever worker did it. The events of a single worker are in its log.
/// Ends after the time of --for; with --follow it goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    group: GroupArgs,
    /// Go on until interrupted
    #[arg(long, short, conflicts_with = "length")]
    follow: bool,
    /// For how long to watch
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = crate::args::duration)]
    length: Duration,
}

const EXAMPLES: &str = "\
Examples:
  rokini group events billing --follow
  rokini group events billing --for 1m --json";

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct GroupEvent {
    at: String,
    group: String,
    /// A stable word.
    code: &'static str,
    worker: Option<String>,
    stream: Option<String>,
    shard: Option<String>,
    what: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let output = Output::stdout()?;
    let begun = tokio::time::Instant::now();
    let mut before = handle.view.clone();
    while args.follow || begun.elapsed() < args.length {
        sleep(PAUSE).await;
        let now = handle.table.list(&handle.group, Listing::All).await?;
        let at = format_time(WallClock::system().millis());
        for change in group_changes(&before, &now) {
            let event = GroupEvent::new(at.clone(), &handle.group, change);
            match context.json {
                true => output.json(&event).await?,
                false => output.write(line(&event).into_bytes()).await?,
            }
        }
        before = now;
    }
    Ok(Status::DONE)
}

impl GroupEvent {
    fn new(at: String, group: &GroupId, change: GroupChange) -> Self {
        let (stream, shard) = change.key.map(|key| (key.stream.to_string(), key.shard.to_string())).unzip();
        Self {
            at,
            group: group.to_string(),
            code: change.code,
            worker: change.worker.map(|worker| worker.to_string()),
            stream,
            shard,
            what: change.what,
        }
    }
}

fn line(event: &GroupEvent) -> String {
    let about = event.shard.as_deref().or(event.worker.as_deref()).unwrap_or(&event.group);
    format!("{} {about} {} ({})\n", event.at, event.what, event.code)
}

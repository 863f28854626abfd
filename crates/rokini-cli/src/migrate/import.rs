//! `rokini import`: a group begins where another consumer stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use futures::{StreamExt, TryStreamExt, stream};
use rokini::lease::{
    DynamoStore, GroupId, LeaseRow, LeaseStore, LeaseStoreExt, Listing, Position, ShardId, StreamRow,
    WallClock,
};
use rokini::{
    ConfigKey, ConsumerConfig, ErrorKind, KinesisSource, ShardDescription, ShardSelection, StartPosition,
    StreamDescription, StreamRef, StreamSource,
};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::alive::{patience, writers};
use super::plan::{Belongs, Known, Outcome, Plan, belongs, ended_but_open, plan};
use super::row::{OldPosition, OldRow, OldStream};
use super::table::{Scanned, scan};
use super::tool::Tool;
use crate::args::{STARTS, environment};
use crate::aws::{Aws, AwsArgs, Service};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::position_text;
use crate::record_look::look_for;
use crate::text::{count, first_names};
use crate::text_table::TextTable;

/// Between two looks at the old table.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a record is looked for, to see whether the KPL packed it.
const RECORD_WAIT: Duration = Duration::from_secs(20);
/// Reads and writes at a time.
const CONCURRENT: usize = 16;

/// Take over the positions of another consumer of a stream
///
/// Reads the table of the other consumer and writes a lease for each of its shards, so that a group of Rokini begins with
/// the record after the last that was done. Nothing in the other table changes. The old workers must be stopped: it is
/// watched whether they still write. Start the workers of the group afterwards.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which consumer it was
    #[arg(long, value_enum)]
    from: Tool,
    /// Its DynamoDB table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// The stream: its name, or its ARN. Of a table with several streams, only its rows are taken
    #[arg(long, value_name = "STREAM")]
    stream: StreamRef,
    /// The group that is to go on
    #[arg(long, value_name = "NAME")]
    group: GroupId,
    /// Of harlow, which namespace. Default: the only one that ends with the name of the stream
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Where shards begin whose row says LATEST or AT_TIMESTAMP, or nothing
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true, long_help = start_help())]
    start: Option<StartPosition>,
    /// The table of the group. Default: ROKINI_TABLE, or rokini
    #[arg(long, value_name = "NAME")]
    rokini_table: Option<String>,
    /// Make the table of the group if it does not exist
    #[arg(long)]
    create_table: bool,
    /// Do it although workers of the other consumer still write (records will be processed twice), or rows cannot be right:
    /// one that cannot be read is left out, and a shard that is still open although its row says it is done begins with its
    /// oldest record
    #[arg(long)]
    force: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

fn start_help() -> String {
    format!(
        "Where shards begin whose row says LATEST or AT_TIMESTAMP (the time is then in the settings of the other consumer, not \
         in its table), or nothing: {STARTS}. A row that says nothing begins with the oldest record by default"
    )
}

const EXAMPLES: &str = "\
Examples:
  rokini import --from kcl --table billing --stream orders --group billing --dry-run
  rokini import --from kcl --table billing --stream orders --group billing --yes
  rokini import --from gokini --table gokini --stream orders --group billing --yes
  rokini import --from kinsumer --table app_checkpoints --stream orders --group app --yes";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    context.unless_stopped(Box::pin(import(args, context))).await
}

async fn import(args: Args, context: &Context) -> Result<Status, CliError> {
    if args.namespace.is_some() && args.from != Tool::Harlow {
        return Err(CliError::usage("`--namespace` has no effect: only tables of harlow have namespaces")
            .next("remove it, or give `--from harlow`"));
    }
    let aws = args.aws.load().await?;
    let (source, described) = aws.open(&args.stream).await?;
    let old = Client::new(&aws.config);
    let scanned = scan(&old, &args.table, args.from, &aws).await?;
    scanned.check(args.from, &args.table)?;
    let (scanned, alive) = watch(&args, &old, scanned, &aws, context).await?;
    if !alive.is_empty() && !args.force && !args.dry_run {
        return Err(still_alive(&alive, &args.table));
    }
    let rows = of_stream(&args, &scanned, &described)?;
    let start = start(&args, &described)?;
    let listing = source
        .list_shards(ShardSelection::All)
        .await
        .map_err(|error| aws.explain(error, Service::Kinesis))?;
    let ended = ended_but_open(&rows.here, &listing);
    check_rows(&args, &scanned, &ended)?;
    let packed = packed(&args, &source, &rows.here, &listing, &aws).await?;
    let known = Known { stream: &described, listing: &listing, rows: &rows.here, start, packed: &packed };
    let planned = plan(known).map_err(|shards| {
        CliError::usage(format!(
            "the rows of {shards} say LATEST or AT_TIMESTAMP: from which time on is not in the table"
        ))
        .next("say where they begin by `--start`: a time that is early enough repeats records, a later one loses some")
    })?;
    let mut notices = notices(&args, &scanned, &rows, &planned);
    if !ended.is_empty() {
        let shards = first_names(ended.iter());
        notices
            .push(format!("{shards} is still open, whatever its row says: it begins with the oldest record"));
    }
    if !alive.is_empty() {
        let who = first_names(alive.iter());
        notices.push(format!("the old fleet still writes ({who}): what it does from now on comes again"));
    }
    if !args.dry_run {
        let action = format!(
            "begin group {} in stream {} at the positions of {}",
            args.group,
            described.name,
            count(planned.leases().count(), "shard")
        );
        if !args.yes && context.ui.is_terminal() {
            context.ui.info(text(&planned, false));
        }
        let next =
            "the same command with `--dry-run` only shows what it would do, with `--yes` it does not ask";
        confirm(context, args.yes, &action, next).await?;
        write(&args, &aws, &described, &planned, start).await?;
    }
    show(&args, &described, &planned, &notices, context).await
}

/// Looks at the table until its patience is over, or somebody has written. With the rows as they are then.
async fn watch(
    args: &Args,
    client: &Client,
    first: Scanned,
    aws: &Aws,
    context: &Context,
) -> Result<(Scanned, BTreeSet<String>), CliError> {
    let patience = patience(args.from, &first.rows, WallClock::system().millis());
    if patience.is_zero() || args.force {
        return Ok((first, BTreeSet::new()));
    }
    context.ui.info(format_args!(
        "watching table `{}` for {} s, to see whether its workers still write",
        args.table,
        patience.as_secs()
    ));
    let begun = Instant::now();
    loop {
        sleep(PAUSE).await;
        let now = scan(client, &args.table, args.from, aws).await?;
        let writers = writers(&first.rows, &now.rows);
        if !writers.is_empty() || begun.elapsed() >= patience {
            return Ok((now, writers));
        }
    }
}

fn still_alive(alive: &BTreeSet<String>, table: &str) -> CliError {
    let who = first_names(alive.iter());
    CliError::new(Status::FAILED, format!("the workers of table `{table}` still write: {who}"))
        .reason("two fleets that process the same stream do everything twice")
        .next("stop them and run this again; `--force` does it all the same")
}

/// The rows of a table by where they belong.
#[derive(Debug, Default)]
struct StreamRows {
    here: Vec<OldRow>,
    elsewhere: usize,
    older: Vec<ShardId>,
}

fn of_stream(args: &Args, scanned: &Scanned, described: &StreamDescription) -> Result<StreamRows, CliError> {
    let mut rows = StreamRows::default();
    for row in &scanned.rows {
        match belongs(row, &args.stream, described, args.namespace.as_deref()) {
            Belongs::Here => rows.here.push(row.clone()),
            Belongs::Elsewhere => rows.elsewhere += 1,
            Belongs::ToAnOlderOne => rows.older.push(row.shard.clone()),
        }
    }
    let namespaces: BTreeSet<&str> = rows
        .here
        .iter()
        .filter_map(|row| match &row.stream {
            OldStream::Namespace(namespace) => Some(namespace.as_str()),
            _ => None,
        })
        .collect();
    if namespaces.len() > 1 {
        return Err(CliError::usage(format!(
            "several applications in table `{}` read stream `{}`",
            args.table, described.name
        ))
        .next(format!("say which by `--namespace`: {}", first_names(namespaces.iter()))));
    }
    if rows.here.is_empty() {
        return Err(CliError::usage(format!(
            "table `{}` has no row of stream `{}`",
            args.table, described.id
        ))
        .reason(match rows.older.len() {
            0 => "all of its rows are about other streams".to_owned(),
            _ => "its rows are about a stream of that name that was deleted".to_owned(),
        })
        .next("check `--stream` and `--table`"));
    }
    Ok(rows)
}

fn start(args: &Args, described: &StreamDescription) -> Result<Option<Position>, CliError> {
    let Some(start) = args.start else { return Ok(None) };
    let start = start.resolve(described.now_millis);
    start.check(described.now_millis)?;
    Ok(Some(match start {
        StartPosition::TrimHorizon => Position::TrimHorizon,
        StartPosition::AtTimestamp(millis) => Position::AtTimestamp(millis),
        StartPosition::Latest => Position::AtTimestamp(described.now_millis),
        _ => {
            return Err(CliError::usage("a sequence number belongs to one shard, so it cannot be `--start`")
                .next("give a time, `trim_horizon` or `latest`"));
        }
    }))
}

/// The shards whose position is a record that the KPL packed: only then does a sub-sequence number of 0 mean that there is
/// more of that record. Refuses a position that the shard cannot have: whoever has the lease would not get on.
async fn packed(
    args: &Args,
    source: &KinesisSource,
    rows: &[OldRow],
    listing: &[ShardDescription],
    aws: &Aws,
) -> Result<BTreeSet<ShardId>, CliError> {
    let (table, tool) = (args.table.as_str(), args.from);
    let numbered = rows.iter().filter_map(|row| match row.position {
        OldPosition::Through(number, sub) if listing.iter().any(|shard| shard.id == row.shard) => {
            Some((row.shard.clone(), number, sub == Some(0)))
        }
        _ => None,
    });
    let looks = numbered.map(|(shard, number, doubtful)| async move {
        match timeout(RECORD_WAIT, look_for(source, &shard, number, doubtful)).await {
            Ok(Ok(found)) => Ok((doubtful && found.is_some_and(|found| found.packed)).then_some(shard)),
            Ok(Err(error)) if error.kind() == ErrorKind::Data => {
                let refused = format!("{shard} cannot have record {number}, so nothing was done");
                let row = format!("`{}` of that row of table `{table}`", tool.position());
                Err(CliError::usage(refused).because(&error).next(format!(
                    "check that `--stream` is the one that the table is about, then {row}: is a digit missing? `rokini tail STREAM \
                     --shard {shard} --json` shows numbers of that shard; without the row its shard begins with its oldest record"
                )))
            }
            Ok(Err(error)) => Err(aws.explain(error, Service::Kinesis)),
            Err(_) => Err(CliError::new(
                Status::UNAVAILABLE,
                format!("record {number} of {shard} did not come in {RECORD_WAIT:?}"),
            )
            .next("run the same command again")),
        }
    });
    let looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(CONCURRENT);
    Ok(looks.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

/// Refuses rows that cannot mean what they say, unless it is forced.
fn check_rows(args: &Args, scanned: &Scanned, ended: &[ShardId]) -> Result<(), CliError> {
    if args.force {
        return Ok(());
    }
    if let Some(why) = scanned.foreign.first() {
        let rows = count(scanned.foreign.len(), "row");
        let refused = format!("{rows} of table `{}` cannot be read, so nothing was done", args.table);
        return Err(CliError::usage(refused).reason(why.clone()).next(
            "mend the value in the table: the stream's own records and shards show it (`rokini stream describe STREAM`, `rokini tail STREAM \
             --shard ID --json`); `--force` leaves the row out: its shard is then one without a row, and the old workers are not watched",
        ));
    }
    if !ended.is_empty() {
        let shards = first_names(ended.iter());
        let refused = format!("the rows of {shards} say that all is done, and the stream lists them as open");
        return Err(CliError::usage(refused).reason("records still come there, and nobody would read them").next(
            "check that `--stream` is the one that the table is about; `--force` begins there with the oldest record",
        ));
    }
    Ok(())
}

fn notices(args: &Args, scanned: &Scanned, rows: &StreamRows, plan: &Plan) -> Vec<String> {
    let mut notices = Vec::new();
    for (shard, what) in &plan.without_row {
        notices.push(format!("{shard} has no row: {what}"));
    }
    for row in &rows.here {
        if let Some(claim) = &row.claim {
            let owner = row.owner.as_deref().unwrap_or("nobody");
            notices.push(format!(
                "{} was claimed by {claim} from {owner}, and never handed over: the position is the owner's",
                row.shard
            ));
        }
    }
    if rows.elsewhere > 0 {
        let rows = count(rows.elsewhere, "row");
        notices.push(format!("{rows} of other streams stay where they are: import each stream by itself"));
    }
    if !rows.older.is_empty() {
        let shards = first_names(rows.older.iter());
        notices.push(format!("{shards}: rows of an older stream of this name are left out"));
    }
    for why in scanned.foreign.iter().take(3) {
        notices.push(format!("a row of table `{}` is left out: {why}", args.table));
    }
    notices
}

async fn write(
    args: &Args,
    aws: &Aws,
    described: &StreamDescription,
    planned: &Plan,
    start: Option<Position>,
) -> Result<(), CliError> {
    let mut config = ConsumerConfig::from_env(environment())?;
    if let Some(table) = &args.rokini_table {
        config.set(ConfigKey::Table, table)?;
    }
    let create = args.create_table || config.create_table || aws.is_local(Service::DynamoDb);
    let store = Arc::new(DynamoStore::new(&aws.config, config.table.as_str()).create_table(create));
    let explain = |error: rokini::lease::StoreError| aws.explain(error.into(), Service::DynamoDb);
    store.init().await.map_err(explain)?;
    let view = store.list(&args.group, Listing::All).await.map_err(explain)?;
    let known = view.leases.iter().filter(|row| row.key.stream == described.id);
    let untouched = |row: &&LeaseRow| planned.leases().any(|lease| lease == *row);
    if let Some(row) = known.clone().find(|row| !untouched(row)) {
        return Err(CliError::usage(format!(
            "group `{}` has positions in stream `{}` already: {} stands at {}",
            args.group, described.name, row.key.shard, row.position
        ))
        .next(format!(
            "import into another group, or delete this one first: `rokini group delete {}`",
            args.group
        )));
    }
    let writes = planned.leases().map(|lease| {
        let store = &store;
        async move { store.insert_lease_if_missing(&args.group, lease).await.map(drop) }
    });
    let writes = stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(CONCURRENT);
    writes.try_collect::<Vec<()>>().await.map_err(explain)?;
    // Last: a group without it is not complete, and the same command completes it.
    let start = start.unwrap_or(Position::TrimHorizon);
    let row = StreamRow::new(described.id.clone(), &described.name, start);
    store.insert_stream(&args.group, &row).await.map_err(explain)?;
    Ok(())
}

#[derive(Debug, Serialize)]
struct ShownStep {
    shard: String,
    old_position: String,
    old_owner: Option<String>,
    position: Option<String>,
    left_out: Option<&'static str>,
}

async fn show(
    args: &Args,
    described: &StreamDescription,
    planned: &Plan,
    notices: &[String],
    context: &Context,
) -> Result<Status, CliError> {
    let steps = planned.steps.iter().map(|step| {
        let (position, left_out) = match &step.outcome {
            Outcome::Lease(lease) => (Some(lease.position.to_string()), None),
            Outcome::Left(why) => (None, Some(*why)),
        };
        let (shard, old_owner) = (step.row.shard.to_string(), step.row.owner.clone());
        ShownStep { shard, old_position: step.row.position.to_string(), old_owner, position, left_out }
    });
    let shown = serde_json::json!({
        "group": args.group.to_string(),
        "stream": described.id.to_string(),
        "from": args.from.name(),
        "table": args.table,
        "dry_run": args.dry_run,
        "shards": steps.collect::<Vec<_>>(),
        "notices": notices,
    });
    context.show(&shown, || text(planned, context.ui.stdout_colors())).await?;
    if !context.json {
        for notice in notices {
            context.ui.warn(notice);
        }
        match args.dry_run {
            true => context.ui.info("this was a dry run: nothing was done"),
            false => context.ui.info(format_args!(
                "start the workers of the group, such as `rokini run {} --group {}` with your handler",
                described.name, args.group
            )),
        }
    }
    Ok(Status::DONE)
}

fn text(planned: &Plan, colors: bool) -> String {
    let now = WallClock::system().millis();
    let mut table = TextTable::new(["SHARD", "OWNER", "OLD POSITION", "NEW"]);
    for step in &planned.steps {
        let new = match &step.outcome {
            Outcome::Lease(lease) => match lease.position {
                Position::Sequence(..) => "goes on after it".to_owned(),
                Position::ShardEnd => "done".to_owned(),
                other => position_text::of(&other.to_string(), now),
            },
            Outcome::Left(why) => format!("left out: {why}"),
        };
        table.row([
            step.row.shard.to_string(),
            step.row.owner.clone().unwrap_or_else(|| "-".to_owned()),
            position_text::record(&step.row.position.to_string(), now),
            new,
        ]);
    }
    table.text(colors)
}

//! `rokini export`: the KCL goes on where a group stopped.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use clap::ValueEnum;
use rokini::lease::{LeaseRow, StreamId, WallClock};
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};

use super::alive::{patience, writers};
use super::kcl;
use super::table::{explain, scan};
use super::tool::Tool;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::group::{GroupHandle, ScopedGroupArgs, watch_workers};
use crate::position_text;
use crate::text::{count, first_names};
use crate::text_table::TextTable;

/// Between two looks at the table of the KCL, and at one that is being made.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a table may take to be made.
const TABLE_WAIT: Duration = Duration::from_secs(60);

/// To which consumer positions can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The Kinesis Client Library 1 to 3, in any language
    Kcl,
}

/// Write the positions of a group into a table of the KCL
///
/// The rows are those of a KCL application that was stopped: it goes on with the record after the last that the group has
/// done. The group keeps its own rows. Its workers, and those of the KCL, must be stopped: it is watched whether they live.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which consumer is to go on
    #[arg(long, value_enum)]
    to: Target,
    /// Its lease table: for the KCL, by default the name of the application
    #[arg(long, value_name = "NAME")]
    kcl_table: String,
    /// Make that table if it does not exist
    #[arg(long)]
    create_table: bool,
    /// The application reads several streams: the account of this one, for the keys of its leases
    #[arg(long, value_name = "ID")]
    multi_stream: Option<String>,
    /// Do it although workers live: records will be processed twice
    #[arg(long)]
    force: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    group: ScopedGroupArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini export --to kcl --kcl-table billing billing --dry-run
  rokini export --to kcl --kcl-table billing billing --create-table --yes
  rokini export --to kcl --kcl-table several billing --stream orders \\
    --multi-stream 123456789012 --yes";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    context.unless_stopped(Box::pin(export(args, context))).await
}

async fn export(args: Args, context: &Context) -> Result<Status, CliError> {
    let handle = args.group.open().await?;
    let leases = handle.leases()?;
    let rows = rows(&args, &handle, &leases)?;
    let client = Client::new(&handle.table.aws.config);
    check_table(&args.kcl_table, &client).await?;
    let alive = alive(&args, &handle, &client, context).await?;
    if let Some(who) = alive.as_ref().filter(|_| !args.force && !args.dry_run) {
        return Err(CliError::new(Status::FAILED, format!("workers still live: {who}"))
            .reason("two fleets that process the same stream do everything twice")
            .next("stop them and run this again; `--force` does it all the same"));
    }
    if !args.dry_run {
        let shards = count(rows.len(), "shard");
        let action = format!(
            "write the positions of {shards} of group {} into table {}",
            handle.group, args.kcl_table
        );
        let next =
            "the same command with `--dry-run` only shows what it would do, with `--yes` it does not ask";
        confirm(context, args.yes, &action, next).await?;
        write(&args, &handle, &client, &rows).await?;
    }
    show(&args, &handle, &rows, &leases, alive, context).await
}

/// Refuses a table that exists and is another's: no row of the KCL can be written there, or none belongs there. Where the table may
/// not be described, the writes tell.
async fn check_table(name: &str, client: &Client) -> Result<(), CliError> {
    let Ok(described) = client.describe_table().table_name(name).send().await else { return Ok(()) };
    let Some(table) = described.table() else { return Ok(()) };
    let keys: Vec<&str> = table.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
    if keys == [kcl::KEY] {
        return Ok(());
    }
    let whose = match keys[..] {
        ["group", "row"] => "a table of Rokini's, with the positions of its groups",
        ["ShardID"] => "one of gokini's or vmware-go-kcl's",
        ["Shard"] => "one of kinsumer's",
        ["namespace", "shard_id"] => "one of harlow's",
        ["StreamID", "ShardID"] => "one of Redpanda Connect's",
        _ => "none of a tool that is known here",
    };
    Err(CliError::usage(format!("table `{name}` exists and is none of the KCL's: it is {whose}"))
        .reason(format!("its key is {}, and that of the KCL is {}", keys.join(" and "), kcl::KEY))
        .next(
            "name another one by `--kcl-table` (`--create-table` makes it), which the application is to have as its name; or remove \
             this one, if nobody needs it",
        ))
}

/// A row of the KCL: its key, and its other attributes.
type KclRow = (String, BTreeMap<&'static str, AttributeValue>);

fn rows(args: &Args, handle: &GroupHandle, leases: &[&LeaseRow]) -> Result<Vec<KclRow>, CliError> {
    let streams = handle.streams()?;
    if streams.len() > 1 && args.multi_stream.is_none() {
        let known = first_names(streams.iter().map(|row| &row.name));
        return Err(CliError::usage(format!("group `{}` reads several streams", handle.group)).next(format!(
            "name one by `--stream` ({known}); for an application of several streams also give `--multi-stream ACCOUNT`"
        )));
    }
    let mut rows = Vec::with_capacity(leases.len());
    for lease in leases {
        let mut attributes = kcl::attributes(lease).ok_or_else(|| {
            CliError::usage(format!(
                "{} stands before a record ({}), and the KCL only stores what is done",
                lease.key.shard, lease.position
            ))
            .next("let a worker process that record, or seek to the one before it with `--to after:N`")
        })?;
        let key = match &args.multi_stream {
            None => lease.key.shard.to_string(),
            Some(account) => {
                let identifier = serialized_stream(account, &lease.key.stream);
                attributes.insert("streamName", AttributeValue::S(identifier.clone()));
                attributes.insert("shardId", AttributeValue::S(lease.key.shard.to_string()));
                format!("{identifier}:{}", lease.key.shard)
            }
        };
        rows.push((key, attributes));
    }
    Ok(rows)
}

/// As the KCL names a stream: account, name, and the second in which it was made.
fn serialized_stream(account: &str, stream: &StreamId) -> String {
    let (name, made) = stream.as_str().rsplit_once('@').unwrap_or((stream.as_str(), "0"));
    format!("{account}:{name}:{}", made.parse::<u64>().unwrap_or_default() / 1000)
}

/// Who still works: for either fleet.
async fn alive(
    args: &Args,
    handle: &GroupHandle,
    client: &Client,
    context: &Context,
) -> Result<Option<String>, CliError> {
    if args.force {
        return Ok(None);
    }
    let ours = watch_workers(&handle.table, &handle.group, &handle.view.workers).await?;
    let ours: Vec<String> = ours.alive().map(|id| id.name.to_string()).collect();
    if !ours.is_empty() {
        return Ok(Some(format!("{} of group {}", first_names(ours.iter()), handle.group)));
    }
    let aws = &handle.table.aws;
    let first = match scan(client, &args.kcl_table, Tool::Kcl, aws).await {
        Ok(first) => first,
        // It is about to be made.
        Err(error) if error.status == Status::USAGE && (args.create_table || args.dry_run) => {
            return Ok(None);
        }
        Err(error) => return Err(error.next("make it with `--create-table`, or check its name")),
    };
    let patience = patience(Tool::Kcl, &first.rows, WallClock::system().millis());
    if patience.is_zero() {
        return Ok(None);
    }
    context.ui.info(format_args!(
        "watching table `{}` for {} s, to see whether its workers still write",
        args.kcl_table,
        patience.as_secs()
    ));
    let begun = Instant::now();
    loop {
        sleep(PAUSE).await;
        let now = scan(client, &args.kcl_table, Tool::Kcl, aws).await?;
        let theirs = writers(&first.rows, &now.rows);
        if !theirs.is_empty() {
            return Ok(Some(format!("{} of table {}", first_names(theirs.iter()), args.kcl_table)));
        }
        if begun.elapsed() >= patience {
            return Ok(None);
        }
    }
}

async fn write(args: &Args, handle: &GroupHandle, client: &Client, rows: &[KclRow]) -> Result<(), CliError> {
    if args.create_table {
        create(args, handle, client).await?;
    }
    for (key, attributes) in rows {
        // The counter rises, so that whatever worker of the KCL believes to have the lease loses it.
        let removed = [
            "leaseOwner",
            "checkpointOwner",
            "pendingCheckpoint",
            "pendingCheckpointSubSequenceNumber",
            "pendingCheckpointState",
            "parentShardId",
            "childShardIds",
        ];
        let removed: Vec<&str> = removed.into_iter().filter(|name| !attributes.contains_key(name)).collect();
        let set: Vec<String> = attributes.keys().map(|name| format!("{name} = :{name}")).collect();
        let expression =
            format!("SET {} REMOVE {} ADD leaseCounter :one", set.join(", "), removed.join(", "));
        let mut call = client
            .update_item()
            .table_name(&args.kcl_table)
            .key(kcl::KEY, AttributeValue::S(key.clone()))
            .update_expression(expression)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        for (name, value) in attributes {
            call = call.expression_attribute_values(format!(":{name}"), value.clone());
        }
        call.send()
            .await
            .map_err(|error| explain(error, "dynamodb:UpdateItem", &args.kcl_table, &handle.table.aws))?;
    }
    Ok(())
}

/// As the KCL makes it.
async fn create(args: &Args, handle: &GroupHandle, client: &Client) -> Result<(), CliError> {
    let failed = |error| explain(error, "dynamodb:CreateTable", &args.kcl_table, &handle.table.aws);
    let built = |error: aws_sdk_dynamodb::error::BuildError| {
        CliError::new(Status::DEFECT, "cannot describe the table").because(&error)
    };
    let attribute = AttributeDefinition::builder()
        .attribute_name(kcl::KEY)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .map_err(built)?;
    let key = KeySchemaElement::builder().attribute_name(kcl::KEY).key_type(KeyType::Hash);
    let made = client
        .create_table()
        .table_name(&args.kcl_table)
        .attribute_definitions(attribute)
        .key_schema(key.build().map_err(built)?)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await;
    if let Err(error) = made {
        return match error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) {
            true => Ok(()),
            false => Err(failed(error)),
        };
    }
    let begun = Instant::now();
    while begun.elapsed() < TABLE_WAIT {
        // A table that is being made refuses reads.
        match scan(client, &args.kcl_table, Tool::Kcl, &handle.table.aws).await {
            Ok(_) => return Ok(()),
            Err(error) if error.status == Status::USAGE => sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
    Err(CliError::new(Status::UNAVAILABLE, format!("table `{}` is still being made", args.kcl_table))
        .next("run the same command again in a minute"))
}

#[derive(Debug, Serialize)]
struct ShownRow<'a> {
    lease_key: &'a str,
    position: String,
}

async fn show(
    args: &Args,
    handle: &GroupHandle,
    rows: &[KclRow],
    leases: &[&LeaseRow],
    alive: Option<String>,
    context: &Context,
) -> Result<Status, CliError> {
    let mut notices = Vec::new();
    if let Some(who) = alive {
        notices.push(format!("workers still live: {who}"));
    }
    let times = leases.iter().filter_map(|lease| match lease.position {
        rokini::lease::Position::AtTimestamp(millis) => Some(millis),
        _ => None,
    });
    if let Some(earliest) = times.min() {
        notices.push(format!(
            "some shards begin at a time, which the KCL keeps in its settings: initialPositionInStreamExtended = {}",
            rokini::format_time(earliest)
        ));
    }
    let shown: Vec<ShownRow<'_>> = rows
        .iter()
        .zip(leases)
        .map(|((key, _), lease)| ShownRow { lease_key: key, position: lease.position.to_string() })
        .collect();
    let json = serde_json::json!({
        "group": handle.group.to_string(), "to": "kcl", "table": args.kcl_table, "dry_run": args.dry_run,
        "leases": shown, "notices": notices,
    });
    let text = || {
        let now = WallClock::system().millis();
        let mut table = TextTable::new(["LEASE KEY", "POSITION"]);
        for row in &shown {
            table.row([row.lease_key.to_owned(), position_text::of(&row.position, now)]);
        }
        table.text(context.ui.stdout_colors())
    };
    context.show(&json, text).await?;
    if !context.json {
        for notice in &notices {
            context.ui.warn(notice);
        }
        if args.dry_run {
            context.ui.info("this was a dry run: nothing was done");
        }
    }
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_as_the_kcl_does() {
        let stream = "orders@1700000000123".parse().unwrap();
        assert_eq!(serialized_stream("123456789012", &stream), "123456789012:orders:1700000000");
    }
}

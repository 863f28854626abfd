//! `rokini stream describe`.

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{RecordDistributionStrategy, Shard, StreamDescriptionSummary, StreamMode};
use rokini::StreamRef;
use serde_json::{Value, json};

use super::reshard::range;
use super::stream_client::{StreamClient, is_open};
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;
use crate::text_table::TextTable;

/// A stream and its shards: state, share of the hash range, parents
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// Closed shards as well
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini stream describe orders
  rokini stream describe orders --all --json";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let kinesis = StreamClient::new(&args.aws, args.stream).await?;
    let summary = kinesis.describe().await?;
    let mut shards = kinesis.shards().await?;
    let closed = shards.iter().filter(|shard| !is_open(shard)).count();
    shards.retain(|shard| args.all || is_open(shard));
    let shown = as_json(&summary, &shards);
    let colors = context.ui.stdout_colors();
    context.show(&shown, || text(&summary, &shards, colors)).await?;
    if closed > 0 && !args.all {
        context.ui.info(format_args!("{} not shown: `--all` shows them", count(closed, "closed shard")));
    }
    Ok(Status::DONE)
}

fn mode(summary: &StreamDescriptionSummary) -> &'static str {
    match summary.stream_mode_details.as_ref().map(|details| &details.stream_mode) {
        Some(StreamMode::OnDemand) => "on demand",
        _ => "provisioned",
    }
}

/// Whether it chooses the shards of records by itself.
fn is_auto(summary: &StreamDescriptionSummary) -> bool {
    summary.record_distribution_strategy == Some(RecordDistributionStrategy::Auto)
}

fn text(summary: &StreamDescriptionSummary, shards: &[Shard], colors: bool) -> String {
    let created = summary.stream_creation_timestamp.to_millis().unwrap_or(0);
    let created = rokini::format_time(u64::try_from(created).unwrap_or(0));
    let mut text = format!(
        "{}  {}  {}{}  {}\n{}\ncreated {created}, records are kept for {} h, {}\n\n",
        summary.stream_name,
        summary.stream_status,
        mode(summary),
        if is_auto(summary) { " (AUTO)" } else { "" },
        count(summary.open_shard_count, "open shard"),
        summary.stream_arn,
        summary.retention_period_hours,
        count(summary.consumer_count.unwrap_or(0), "registered consumer"),
    );
    let mut table = TextTable::new(["SHARD", "STATE", "SHARE", "FIRST HASH KEY", "PARENTS"]);
    for shard in shards {
        let (first, share) = match range(shard) {
            Some((first, last)) => (first.to_string(), format!("{:.2} %", share(first, last))),
            None => ("?".to_owned(), "?".to_owned()),
        };
        let state = if is_open(shard) { "open" } else { "closed" };
        table.row([shard.shard_id.clone(), state.to_owned(), share, first, parents(shard).join(", ")]);
    }
    text.push_str(&table.text(colors));
    text
}

/// In percent of all hash keys.
fn share(first: u128, last: u128) -> f64 {
    (last - first) as f64 / u128::MAX as f64 * 100.0
}

fn parents(shard: &Shard) -> Vec<&str> {
    [&shard.parent_shard_id, &shard.adjacent_parent_shard_id]
        .into_iter()
        .filter_map(|id| id.as_deref())
        .collect()
}

fn as_json(summary: &StreamDescriptionSummary, shards: &[Shard]) -> Value {
    let shards = shards.iter().map(|shard| {
        let hash_keys = shard.hash_key_range.as_ref();
        let sequences = shard.sequence_number_range.as_ref();
        json!({
            "shard": shard.shard_id, "open": is_open(shard), "parents": parents(shard),
            "hash_key_first": hash_keys.map(|range| &range.starting_hash_key),
            "hash_key_last": hash_keys.map(|range| &range.ending_hash_key),
            "sequence_first": sequences.map(|range| &range.starting_sequence_number),
            "sequence_last": sequences.and_then(|range| range.ending_sequence_number.as_ref()),
        })
    });
    json!({
        "stream": summary.stream_name, "arn": summary.stream_arn, "status": summary.stream_status.as_str(),
        "mode": mode(summary), "retention_hours": summary.retention_period_hours,
        "created_millis": nearest_millis(&summary.stream_creation_timestamp),
        "open_shards": summary.open_shard_count, "consumers": summary.consumer_count,
        "record_distribution_strategy": summary.record_distribution_strategy.as_ref().map(|one| one.as_str()),
        "shards": shards.collect::<Vec<_>>(),
    })
}

/// Times come as decimal numbers, which a binary one is a little less than now and then.
fn nearest_millis(time: &DateTime) -> i64 {
    time.secs().saturating_mul(1_000).saturating_add(i64::from((time.subsec_nanos() + 500_000) / 1_000_000))
}

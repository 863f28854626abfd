//! `rokini stream create`.

use std::time::Duration;

use aws_sdk_kinesis::types::{RecordDistributionStrategy, StreamMode, StreamModeDetails};
use rokini::StreamRef;
use serde_json::json;

use super::stream_client::{CREATE_STREAM, StreamClient};
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;

/// Make a stream
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The name of the stream
    stream: StreamRef,
    /// How many shards it has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    shards: i32,
    /// On demand: the service sees to the number of shards
    #[arg(long, conflicts_with = "shards")]
    on_demand: bool,
    /// Who chooses the shard of a record: the stream by itself (`auto`: `put --keyless`), or its partition key
    #[arg(long, value_enum, value_name = "STRATEGY", ignore_case = true, requires = "on_demand")]
    record_distribution_strategy: Option<Distribution>,
    /// How long records are kept: 24h to 8760h, in whole hours
    #[arg(long, value_name = "DURATION", value_parser = hours)]
    retention: Option<i32>,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini stream create orders --shards 4
  rokini stream create orders --on-demand --retention 7d
  rokini stream create logs --on-demand --record-distribution-strategy auto";

/// Who chooses the shard of a record.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Distribution {
    Auto,
    UserPartitionKey,
}

impl From<Distribution> for RecordDistributionStrategy {
    fn from(distribution: Distribution) -> Self {
        match distribution {
            Distribution::Auto => Self::Auto,
            Distribution::UserPartitionKey => Self::UserPartitionKey,
        }
    }
}

/// Limits of IncreaseStreamRetentionPeriod.
fn hours(text: &str) -> Result<i32, String> {
    let hour = Duration::from_secs(3_600);
    let wanted = crate::args::duration_with_unit(text)?;
    let hours = wanted.as_secs() / hour.as_secs();
    match i32::try_from(hours) {
        Ok(hours @ 24..=8_760) if wanted == hour * hours.unsigned_abs() => Ok(hours),
        _ => Err("expected whole hours from 24h to 8760h, such as `48h` or `7d`".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    if args.stream.arn().is_some() {
        return Err(CliError::usage(
            "a stream is made by its name, in the account and region of the credentials",
        )
        .next(format!("`rokini stream create {}`", args.stream.name())));
    }
    let kinesis = StreamClient::new(&args.aws, args.stream).await?;
    let mode = if args.on_demand { StreamMode::OnDemand } else { StreamMode::Provisioned };
    let details = StreamModeDetails::builder().stream_mode(mode.clone()).build();
    let details =
        details.map_err(|error| CliError::new(Status::DEFECT, "cannot make the request").because(&error))?;
    let call = kinesis.client.create_stream().stream_name(kinesis.stream.name()).stream_mode_details(details);
    let call = call.set_shard_count((!args.on_demand).then_some(args.shards));
    let call = call.set_record_distribution_strategy(args.record_distribution_strategy.map(Into::into));
    Box::pin(call.send()).await.map_err(|error| kinesis.explain(error, CREATE_STREAM))?;
    let mut summary = kinesis.until_active(context).await?;
    if let Some(hours) = args.retention.filter(|hours| *hours > summary.retention_period_hours) {
        let call = kinesis.client.increase_stream_retention_period().retention_period_hours(hours);
        let call = call.set_stream_name(kinesis.name());
        Box::pin(call.send())
            .await
            .map_err(|error| kinesis.explain(error, "kinesis:IncreaseStreamRetentionPeriod"))?;
        summary = kinesis.until_active(context).await?;
    }
    let shown = json!({
        "stream": summary.stream_name, "arn": summary.stream_arn, "mode": mode.as_str(),
        "shards": summary.open_shard_count, "retention_hours": summary.retention_period_hours,
        "record_distribution_strategy": summary.record_distribution_strategy.as_ref().map(|one| one.as_str()),
    });
    let shards = count(summary.open_shard_count, "shard");
    context.show(&shown, || format!("created stream {}: {shards}\n", summary.stream_name)).await?;
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_are_whole_hours_within_the_limits() {
        assert_eq!((hours("24h"), hours("7d"), hours("8760h")), (Ok(24), Ok(168), Ok(8_760)));
        for bad in ["23h", "8761h", "90m", "24", "25.5h"] {
            assert!(hours(bad).is_err(), "{bad}");
        }
    }
}

//! `rokini stream scale`.

use aws_sdk_kinesis::types::ScalingType;
use rokini::StreamRef;
use serde_json::json;

use super::stream_client::StreamClient;
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;

/// Give a stream another number of shards of equal size, by splits and merges
///
/// The service allows from half to twice the number there is, and a few such changes a day.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// How many open shards it has afterwards
    #[arg(value_name = "SHARDS", value_parser = clap::value_parser!(i32).range(1..))]
    shards: i32,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini stream scale orders 8";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let kinesis = StreamClient::new(&args.aws, args.stream).await?;
    let call = kinesis.client.update_shard_count().target_shard_count(args.shards);
    let call = call.set_stream_name(kinesis.name()).set_stream_arn(kinesis.arn());
    let sent = Box::pin(call.scaling_type(ScalingType::UniformScaling).send()).await;
    let answer = sent.map_err(|error| kinesis.explain(error, "kinesis:UpdateShardCount"))?;
    let summary = kinesis.until_active(context).await?;
    let (before, after) = (answer.current_shard_count.unwrap_or_default(), summary.open_shard_count);
    let shown = json!({ "stream": kinesis.stream.to_string(), "before": before, "shards": after });
    let text =
        || format!("scaled stream {} from {before} to {}\n", kinesis.stream, count(after, "open shard"));
    context.show(&shown, text).await?;
    Ok(Status::DONE)
}

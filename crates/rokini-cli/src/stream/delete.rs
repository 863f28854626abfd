//! `rokini stream delete`.

use rokini::StreamRef;
use serde_json::json;

use super::stream_client::StreamClient;
use crate::aws::AwsArgs;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::count;

/// Delete a stream with all of its records
///
/// Asks first, unless the service is one on this machine. The positions that groups have in the stream stay in their
/// tables: `rokini group delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN
    stream: StreamRef,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Also while consumers are registered for enhanced fan-out: they are deregistered
    #[arg(long)]
    enforce_consumer_deletion: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini stream delete orders
  rokini stream delete orders --yes --enforce-consumer-deletion";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let kinesis = StreamClient::new(&args.aws, args.stream).await?;
    let summary = kinesis.describe().await?;
    let shards = count(summary.open_shard_count, "open shard");
    let action = format!("delete stream {} for good, with all records of {shards}", summary.stream_arn);
    let next = format!("`rokini stream delete {} --yes` does it without asking", kinesis.stream);
    confirm(context, args.yes || kinesis.is_local(), &action, &next).await?;
    let call = kinesis.client.delete_stream().set_stream_name(kinesis.name()).set_stream_arn(kinesis.arn());
    let call = call.set_enforce_consumer_deletion(args.enforce_consumer_deletion.then_some(true));
    Box::pin(call.send()).await.map_err(|error| {
        let has_consumers =
            error.to_string().contains("ResourceInUse") || summary.consumer_count.unwrap_or(0) > 0;
        let explained = kinesis.explain(error, "kinesis:DeleteStream");
        match has_consumers && !args.enforce_consumer_deletion {
            true => explained.next("`--enforce-consumer-deletion` deregisters its consumers as well"),
            false => explained,
        }
    })?;
    kinesis.until_gone(context).await?;
    let shown = json!({ "stream": summary.stream_name, "arn": summary.stream_arn });
    context.show(&shown, || format!("deleted stream {}: {shards}\n", summary.stream_name)).await?;
    Ok(Status::DONE)
}

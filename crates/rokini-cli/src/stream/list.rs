//! `rokini stream list`.

use rokini::StreamRef;
use serde_json::json;

use super::stream_client::StreamClient;
use crate::aws::AwsArgs;
use crate::context::Context;
use crate::error::{CliError, Status};

/// The names of all streams of the account in the region
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini stream list
  rokini stream list --json";

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    // Errors name what was asked for.
    let all: StreamRef = "all".parse()?;
    let kinesis = StreamClient::new(&args.aws, all).await?;
    let mut names: Vec<String> = Vec::new();
    loop {
        let call = kinesis.client.list_streams().set_exclusive_start_stream_name(names.last().cloned());
        let page = Box::pin(call.send()).await;
        let page = page.map_err(|error| kinesis.explain(error, "kinesis:ListStreams"))?;
        let is_empty = page.stream_names.is_empty();
        names.extend(page.stream_names);
        if is_empty || !page.has_more_streams {
            break;
        }
    }
    let text = || names.iter().map(|name| format!("{name}\n")).collect();
    context.show(&json!({ "streams": names }), text).await?;
    if names.is_empty() {
        context.ui.info("there is no stream; `rokini stream create NAME` makes one");
    }
    Ok(Status::DONE)
}

//! Calls about one stream, with errors for people, and the wait until a change is done.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::describe_stream_summary::DescribeStreamSummaryError;
use aws_sdk_kinesis::types::{Shard, StreamDescriptionSummary, StreamStatus};
use rokini::StreamRef;
use rokini::lease::ShardId;
use tokio::time::sleep;

use crate::args::ShardName;
use crate::aws::{Aws, AwsArgs, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::text::first_names;

pub(super) const CREATE_STREAM: &str = "kinesis:CreateStream";

type HttpResponse = aws_sdk_kinesis::config::http::HttpResponse;

/// Between two looks at a stream that is being changed; at most 10 descriptions a second are allowed to an account.
const LOOK: Duration = Duration::from_millis(500);
/// A local service changes a stream within milliseconds.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// The Kinesis client, and the stream that it is about.
pub(super) struct StreamClient {
    pub(super) client: Client,
    pub(super) stream: StreamRef,
    aws: Aws,
}

impl StreamClient {
    pub(super) async fn new(aws: &AwsArgs, stream: StreamRef) -> Result<Self, CliError> {
        let aws = aws.load().await?;
        let client = Client::new(&aws.config);
        Ok(Self { client, stream, aws })
    }

    /// Whether the service is one on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.aws.is_local(Service::Kinesis)
    }

    /// The name, where the stream was not given by its ARN: requests name a stream in one of two ways.
    pub(super) fn name(&self) -> Option<String> {
        self.stream.arn().is_none().then(|| self.stream.name().to_owned())
    }

    pub(super) fn arn(&self) -> Option<String> {
        self.stream.arn().map(str::to_owned)
    }

    /// What an error of a call means. What Kinesis itself says of a change that it refuses is the best explanation there is.
    pub(super) fn explain<E>(&self, error: SdkError<E, HttpResponse>, action: &'static str) -> CliError
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        const REFUSALS: [&str; 4] = [
            "InvalidArgumentException",
            "ValidationException",
            "LimitExceededException",
            "ResourceInUseException",
        ];
        let code = error.code().unwrap_or_default().to_owned();
        if REFUSALS.contains(&code.as_str()) {
            let said = error.message().unwrap_or("no reason was given").to_owned();
            // A stream that changes can be asked again later; one that is there stays there.
            let later = code == "ResourceInUseException" && action != CREATE_STREAM;
            let status = if later { Status::UNAVAILABLE } else { Status::USAGE };
            return CliError::new(
                status,
                format!("{action} on stream `{}` was refused ({code})", self.stream),
            )
            .reason(said);
        }
        let error = rokini::explain_kinesis_error(error, action, &self.stream, self.aws.region());
        self.aws.explain(error, Service::Kinesis)
    }

    async fn summary(
        &self,
    ) -> Result<StreamDescriptionSummary, SdkError<DescribeStreamSummaryError, HttpResponse>> {
        let call =
            self.client.describe_stream_summary().set_stream_name(self.name()).set_stream_arn(self.arn());
        let answer = Box::pin(call.send()).await?;
        answer.stream_description_summary.ok_or_else(|| SdkError::construction_failure("the answer is empty"))
    }

    pub(super) async fn describe(&self) -> Result<StreamDescriptionSummary, CliError> {
        self.summary().await.map_err(|error| self.explain(error, "kinesis:DescribeStreamSummary"))
    }

    /// Every shard that is kept, open ones and closed ones, in the order of their ids.
    pub(super) async fn shards(&self) -> Result<Vec<Shard>, CliError> {
        let (mut shards, mut token) = (Vec::new(), None);
        loop {
            let call = self.client.list_shards().set_next_token(token.take());
            // A token stands for the stream as well.
            let call = if shards.is_empty() {
                call.set_stream_name(self.name()).set_stream_arn(self.arn())
            } else {
                call
            };
            let page =
                Box::pin(call.send()).await.map_err(|error| self.explain(error, "kinesis:ListShards"))?;
            shards.extend(page.shards.unwrap_or_default());
            match page.next_token.filter(|_| !shards.is_empty()) {
                Some(next) => token = Some(next),
                None => break,
            }
        }
        shards.sort_by(|a, b| a.shard_id.cmp(&b.shard_id));
        Ok(shards)
    }

    /// The open shard that is meant, out of `shards`.
    pub(super) fn open_shard<'a>(
        &self,
        name: &ShardName,
        shards: &'a [Shard],
    ) -> Result<&'a Shard, CliError> {
        let names = |shard: &Shard| shard.shard_id.parse().is_ok_and(|id: ShardId| name.names(&id));
        let found = shards.iter().find(|shard| names(shard));
        let open = shards.iter().filter(|shard| is_open(shard)).map(|shard| &shard.shard_id);
        let what = match found {
            Some(shard) if is_open(shard) => return Ok(shard),
            Some(shard) => format!("shard `{}` of stream `{}` is closed", shard.shard_id, self.stream),
            None => format!("stream `{}` has no shard `{name}`", self.stream),
        };
        Err(CliError::usage(what).next(format!("open shards: {}", first_names(open))))
    }

    /// Waits until the stream is ACTIVE, and returns what it is then.
    pub(super) async fn until_active(&self, context: &Context) -> Result<StreamDescriptionSummary, CliError> {
        let mut pause = FIRST_LOOK;
        loop {
            let summary = self.describe().await?;
            if summary.stream_status == StreamStatus::Active {
                context.ui.progress_done();
                return Ok(summary);
            }
            context.ui.progress(format_args!("stream {} is {} ...", self.stream, summary.stream_status));
            sleep(pause).await;
            pause = LOOK;
        }
    }

    /// Waits until there is no such stream any more.
    pub(super) async fn until_gone(&self, context: &Context) -> Result<(), CliError> {
        let mut pause = FIRST_LOOK;
        loop {
            match self.summary().await {
                Err(error) if error.code() == Some("ResourceNotFoundException") => {
                    context.ui.progress_done();
                    return Ok(());
                }
                Err(error) => return Err(self.explain(error, "kinesis:DescribeStreamSummary")),
                Ok(summary) => {
                    context
                        .ui
                        .progress(format_args!("stream {} is {} ...", self.stream, summary.stream_status));
                }
            }
            sleep(pause).await;
            pause = LOOK;
        }
    }
}

/// Whether records can be put into it.
pub(super) fn is_open(shard: &Shard) -> bool {
    shard.sequence_number_range.as_ref().is_some_and(|range| range.ending_sequence_number.is_none())
}

//! Registered consumers of a stream, and readers for them.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kinesis::types::{ConsumerDescription, ConsumerStatus};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rokini_lease::{Position, ShardId};

use super::FanOutReader;
use crate::aws::error::find;
use crate::source::kinesis::KinesisSource;
use crate::source::kinesis::client::StreamClient;
use crate::source::stream_source::{ConsumerState, FanOut, RegisteredConsumer, ShardReader};
use crate::types::error::{Error, ErrorKind};

const DESCRIBE: &str = "kinesis:DescribeStreamConsumer";
const REGISTER: &str = "kinesis:RegisterStreamConsumer";
const DEREGISTER: &str = "kinesis:DeregisterStreamConsumer";
/// Consumers of a stream at most, as AWS documents (50 with On-demand Advantage).
const CONSUMERS: i32 = 20;

fn state(status: &ConsumerStatus) -> ConsumerState {
    match status {
        ConsumerStatus::Creating => ConsumerState::Creating,
        ConsumerStatus::Deleting => ConsumerState::Deleting,
        // A state that is not known yet keeps nobody from trying.
        _ => ConsumerState::Active,
    }
}

fn described(consumer: ConsumerDescription) -> RegisteredConsumer {
    RegisteredConsumer { state: state(&consumer.consumer_status), arn: consumer.consumer_arn }
}

impl StreamClient {
    /// The ARN of the stream, asked for where it is not known.
    async fn stream_arn(&self) -> Result<String, Error> {
        match self.arn() {
            Some(arn) => Ok(arn),
            None => Ok(self.describe().await?.stream_arn),
        }
    }

    /// Whether an error says that there is no such stream.
    fn is_missing(&self, error: &Error) -> bool {
        use aws_sdk_kinesis::operation::describe_stream_summary::DescribeStreamSummaryError as Refusal;
        find::<Refusal>(error).is_some_and(Refusal::is_resource_not_found_exception)
    }

    pub(super) async fn consumer_by_arn(&self, arn: &str) -> Result<Option<RegisteredConsumer>, Error> {
        let call = self.control.describe_stream_consumer().consumer_arn(arn);
        self.found(Box::pin(call.send()).await)
    }

    async fn consumer_by_name(&self, name: &str) -> Result<Option<RegisteredConsumer>, Error> {
        let arn = self.stream_arn().await?;
        let call = self.control.describe_stream_consumer().stream_arn(arn).consumer_name(name);
        self.found(Box::pin(call.send()).await)
    }

    fn found(&self, answer: DescribeAnswer) -> Result<Option<RegisteredConsumer>, Error> {
        match answer {
            Ok(answer) => Ok(answer.consumer_description.map(described)),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(self.error(error, DESCRIBE, None)),
        }
    }
}

type DescribeAnswer = Result<
    aws_sdk_kinesis::operation::describe_stream_consumer::DescribeStreamConsumerOutput,
    aws_smithy_runtime_api::client::result::SdkError<
        aws_sdk_kinesis::operation::describe_stream_consumer::DescribeStreamConsumerError,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
>;

#[async_trait]
impl FanOut for KinesisSource {
    async fn find_consumer(&self, name: &str) -> Result<Option<RegisteredConsumer>, Error> {
        self.client.consumer_by_name(name).await
    }

    async fn register_consumer(
        &self,
        name: &str,
        tags: &[(String, String)],
    ) -> Result<RegisteredConsumer, Error> {
        let client = &self.client;
        let arn = client.stream_arn().await?;
        let call = client.control.register_stream_consumer().stream_arn(arn).consumer_name(name);
        let call = tags.iter().fold(call, |call, (key, value)| call.tags(key, value));
        let error = match Box::pin(call.send()).await {
            Ok(answer) => {
                let missing = || client.call(REGISTER, None).malformed("has no Consumer");
                let made = answer.consumer.ok_or_else(missing)?;
                return Ok(RegisteredConsumer {
                    state: state(&made.consumer_status),
                    arn: made.consumer_arn,
                });
            }
            Err(error) => error,
        };
        match error.code() {
            // By another worker, or by a call whose answer was lost.
            Some("ResourceInUseException") => match client.consumer_by_name(name).await? {
                Some(consumer) => Ok(consumer),
                None => Err(client.error(error, REGISTER, None)),
            },
            Some("LimitExceededException") => {
                let stream = &client.stream;
                let full = client.describe().await?.consumer_count.is_some_and(|count| count >= CONSUMERS);
                let (kind, limit) = match full {
                    true => (
                        ErrorKind::Configuration,
                        format!(
                            "stream `{stream}` has {CONSUMERS} or more consumers, as many as it can have"
                        ),
                    ),
                    // Queues are not among those that are counted for it; and there is a rate of registrations too.
                    false => (
                        ErrorKind::Retry,
                        format!(
                            "stream `{stream}` takes no consumer now: it can have {CONSUMERS} consumers and queues \
                             together, and takes five registrations at once"
                        ),
                    ),
                };
                let message = format!(
                    "{limit} (50 with On-demand Advantage): deregister one that is not used (`aws kinesis \
                     list-stream-consumers` lists them), or set `retrieval = polling`"
                );
                Err(Error::new(kind, message).with_source(error))
            }
            _ => Err(client.error(error, REGISTER, None)),
        }
    }

    async fn deregister_consumer(&self, name: &str) -> Result<bool, Error> {
        let client = &self.client;
        let arn = match client.stream_arn().await {
            Ok(arn) => arn,
            // Its consumers went with the stream.
            Err(error) if client.is_missing(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let call = client.control.deregister_stream_consumer().stream_arn(arn).consumer_name(name);
        match Box::pin(call.send()).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(false),
            Err(error) => Err(client.error(error, DEREGISTER, None)),
        }
    }

    async fn subscribe(
        &self,
        shard: &ShardId,
        at: &Position,
        consumer: &str,
    ) -> Result<Box<dyn ShardReader>, Error> {
        let client = Arc::clone(&self.client);
        let reader = FanOutReader::new(client, shard.clone(), *at, consumer, self.polling, self.fork())?;
        Ok(Box::new(reader))
    }
}

//! Dead letters in an Amazon SQS queue.

use std::fmt;

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::SdkConfig;

use super::entry;
use super::letter::DeadLetter;
use super::send_all::{RefusedEntries, RequestLimits, SizedEntry, client_config, fnv, send_all};
use super::sink::DeadLetterSink;
use crate::aws;
use crate::aws::error::find;
use crate::types::error::{Error, ErrorKind};

/// Messages of a request (SQS limit).
const REQUEST_ENTRIES: usize = 10;
/// What a message can have at most, and all those of one request together (SQS limit).
const MESSAGE_MOST: usize = 1 << 20;
/// What a queue takes that was made before SQS raised its limit to 1 MiB.
const MESSAGE_DEFAULT: usize = 256 << 10;

/// Keeps dead letters in an Amazon SQS queue: a message for each record, whose body is a JSON object
/// ([`DeadLetterEntry`](crate::DeadLetterEntry)). A record that is too large for one message comes in several, each a
/// part of its data; nothing is cut.
///
/// Into a FIFO queue (its name ends with `.fifo`) the messages of one shard go in one message group, with an id that
/// lets SQS drop repetitions within 5 minutes.
///
/// The credentials need `sqs:SendMessage` on the queue.
#[derive(Clone)]
pub struct DeadLetterQueue {
    client: Client,
    url: String,
    limit: usize,
}

impl fmt::Debug for DeadLetterQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterQueue").field("url", &self.url).finish_non_exhaustive()
    }
}

impl DeadLetterQueue {
    /// Keeps them in the queue with this URL (`https://sqs.<region>.amazonaws.com/<account>/<name>`) with this AWS
    /// configuration: region, credentials, endpoint and HTTP client are taken over, timeouts and retries are the
    /// library's own. Calls nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when it is not the URL of a queue, without a region, or with another region than
    /// the URL names.
    pub fn new(aws: &SdkConfig, url: impl Into<String>) -> Result<Self, Error> {
        let url = url.into();
        let region = aws::region(aws, None)?;
        if !is_queue_url(&url) {
            return Err(Error::configuration(format!("`{url}` is not {ACCEPTED}")));
        }
        if let Some(other) = region_of(&url).filter(|other| *other != region) {
            return Err(Error::configuration(format!(
                "queue `{url}` is in region `{other}`, but the AWS configuration says `{region}`: set `AWS_REGION`, \
                 or name a queue there"
            )));
        }
        let client = Client::new(&client_config(aws)?);
        Ok(Self { client, url, limit: MESSAGE_DEFAULT })
    }

    /// The largest message the queue takes, in bytes: its `MaximumMessageSize`. Default 256 KiB, which every queue
    /// takes that nobody set to less; from 64 KiB to 1 MiB. Larger entries come in parts.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.limit = bytes.clamp(entry::LIMIT_LEAST, MESSAGE_MOST);
        self
    }

    /// The messages, without the id each has in its request.
    fn messages(&self, letter: &DeadLetter) -> Result<Vec<SizedEntry<Message>>, Error> {
        let fifo = self.url.ends_with(".fifo");
        let group = fnv(&format!("{}#{}#{}", letter.group, letter.stream, letter.shard));
        let mut messages = Vec::new();
        for record in &letter.records {
            let key = fnv(&letter.key(record));
            for (number, body) in entry::parts(letter, record, self.limit)?.into_iter().enumerate() {
                let fifo = fifo.then(|| (format!("{group:032x}"), format!("{key:032x}-{}", number + 1)));
                messages.push((body.len(), Message { body, fifo }));
            }
        }
        Ok(messages)
    }

    async fn send(
        &self,
        messages: Vec<SizedEntry<Message>>,
    ) -> Result<Option<RefusedEntries<Message>>, Error> {
        let entry = |(id, (_, message)): (usize, &SizedEntry<Message>)| {
            let (group, repetition) = message.fifo.clone().unzip();
            SendMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .message_body(&message.body)
                .set_message_group_id(group)
                .set_message_deduplication_id(repetition)
                .build()
        };
        let entries =
            messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>().map_err(|error| {
                Error::new(ErrorKind::Bug, "a dead letter is no message").with_source(error)
            })?;
        let call = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = Box::pin(call.send()).await.map_err(|error| self.failed(error))?;
        let (mut refused, mut why) = (Vec::new(), None);
        for (id, message) in messages.into_iter().enumerate() {
            let id = id.to_string();
            if answer.successful.iter().any(|taken| taken.id == id) {
                continue;
            }
            // What the answer does not mention is not known to be kept.
            let failed = answer.failed.iter().find(|failed| failed.id == id);
            let error = self.refused(failed.map_or("no result", |failed| failed.code.as_str()), 200);
            if failed.is_some_and(|failed| failed.sender_fault) && !error.is_retryable() {
                return Err(error);
            }
            why = Some(error);
            refused.push(message);
        }
        Ok(why.map(|why| RefusedEntries { entries: refused, why }))
    }

    fn failed(&self, error: SdkError<SendMessageBatchError, HttpResponse>) -> Error {
        let url = &self.url;
        let retry = |why: &str| {
            Error::new(
                ErrorKind::Retry,
                format!("{why} for a dead letter to queue `{url}`: it is tried again"),
            )
        };
        let translated = match &error {
            SdkError::ServiceError(answer) => {
                self.refused(answer.err().code().unwrap_or_default(), answer.raw().status().as_u16())
            }
            SdkError::TimeoutError(_) => retry("no answer of Amazon SQS in time"),
            SdkError::ResponseError(_) => retry("the answer of Amazon SQS broke off"),
            other => match find::<CredentialsError>(other) {
                Some(CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_)) => {
                    retry("no credentials could be fetched")
                }
                Some(_) => Error::new(
                    ErrorKind::Permission,
                    format!(
                        "there are no credentials for dead letters to queue `{url}`: set them as for Kinesis"
                    ),
                ),
                None if matches!(other, SdkError::DispatchFailure(_)) => retry(
                    "Amazon SQS cannot be reached (check the network, `AWS_ENDPOINT_URL_SQS` and `AWS_ENDPOINT_URL`)",
                ),
                None => Error::configuration(format!(
                    "a dead letter to queue `{url}` could not be sent: check the AWS configuration (region, \
                         endpoint URL)"
                )),
            },
        };
        match error.into_source() {
            Ok(source) => translated.with_source(source),
            Err(_) => translated,
        }
    }

    /// What an error code of the API means.
    fn refused(&self, code: &str, status: u16) -> Error {
        let url = &self.url;
        let (kind, message) = match code.rsplit('.').next().unwrap_or_default() {
            "NonExistentQueue" | "QueueDoesNotExist" | "QueueDeletedRecently" | "InvalidAddress" => (
                ErrorKind::Configuration,
                format!("queue `{url}` for dead letters does not exist: check the URL, or create the queue"),
            ),
            code @ ("AccessDenied"
            | "AccessDeniedException"
            | "KmsAccessDenied"
            | "KmsDisabled"
            | "KmsInvalidKeyUsage"
            | "KmsInvalidState"
            | "KmsNotFound"
            | "KmsOptInRequired"
            | "InvalidSecurity"
            | "OptInRequired"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken") => (
                ErrorKind::Permission,
                format!(
                    "sqs:SendMessage on queue `{url}` is not allowed ({code}): allow it, and the use of the queue's \
                     KMS key, to these credentials"
                ),
            ),
            code @ ("RequestThrottled"
            | "ThrottlingException"
            | "Throttling"
            | "OverLimit"
            | "KmsThrottled"
            | "RequestLimitExceeded"
            | "TooManyRequestsException") => (
                ErrorKind::Throttled,
                format!(
                    "dead letters to queue `{url}` are throttled ({code}): it is tried again more slowly"
                ),
            ),
            code @ ("BatchRequestTooLong"
            | "InvalidParameterValue"
            | "InvalidParameterValueException"
            | "InvalidMessageContents") => (
                ErrorKind::Configuration,
                format!(
                    "queue `{url}` takes no message of {} bytes ({code}): raise its `MaximumMessageSize`",
                    self.limit
                ),
            ),
            code @ ("UnsupportedOperation" | "UnknownOperationException" | "InvalidAction") => (
                ErrorKind::Configuration,
                format!("`{url}` takes no messages ({code}): check that it and the endpoint are Amazon SQS"),
            ),
            code if status >= 500 || matches!(code, "InternalError" | "InternalFailure" | "no result") => (
                ErrorKind::Retry,
                format!(
                    "Amazon SQS did not take every dead letter to queue `{url}` ({code}): it is tried again"
                ),
            ),
            "" => (
                ErrorKind::Configuration,
                format!("HTTP {status} and no error of the API for queue `{url}`: check the endpoint URL"),
            ),
            code => (
                ErrorKind::Bug,
                format!(
                    "a dead letter to queue `{url}` was refused ({code}), which should not happen: please report it"
                ),
            ),
        };
        Error::new(kind, message)
    }
}

/// A message before it has its id in a request.
struct Message {
    body: String,
    /// Group and repetition, for a FIFO queue.
    fifo: Option<(String, String)>,
}

const ACCEPTED: &str =
    "the URL of a queue, such as `https://sqs.eu-west-1.amazonaws.com/123456789012/orders-dead`";

/// Scheme, host, and the account and name of the queue as the last parts of the path.
fn is_queue_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some((host, path)) = rest.and_then(|rest| rest.split_once('/')) else { return false };
    let name = path.rsplit('/').next().unwrap_or_default();
    !host.is_empty() && path.contains('/') && !name.is_empty() && !url.contains(char::is_whitespace)
}

/// The region in the host of a queue of AWS.
fn region_of(url: &str) -> Option<&str> {
    let host = url.split('/').nth(2)?;
    let rest = host.strip_prefix("sqs.").filter(|rest| rest.contains(".amazonaws.com"))?;
    rest.split('.').next()
}

#[async_trait]
impl DeadLetterSink for DeadLetterQueue {
    /// # Errors
    /// The kinds of SQS calls: [`ErrorKind::Permission`], [`ErrorKind::Configuration`] (the queue does not exist, or
    /// takes no message of that size), [`ErrorKind::Throttled`], [`ErrorKind::Retry`].
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        let limits = RequestLimits { entries: REQUEST_ENTRIES, bytes: self.limit };
        send_all(letter, self.messages(letter)?, limits, |request| self.send(request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, good, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/dead", true, Some("eu-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/dead.fifo", true, Some("cn-north-1")),
            ("http://127.0.0.1:4566/000000000000/dead", true, None),
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/", false, Some("eu-west-1")),
            ("https://sqs.eu-west-1.amazonaws.com", false, Some("eu-west-1")),
            ("arn:aws:sqs:eu-west-1:123456789012:dead", false, None),
            ("dead", false, None),
        ] {
            assert_eq!((is_queue_url(url), region_of(url)), (good, region), "{url}");
        }
    }
}

//! What went wrong in a call of the SDK, in our words.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ResponseError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rokini_lease::ShardId;

use crate::types::error::{Error, ErrorKind};
use crate::types::stream_ref::StreamRef;

/// What was called, for the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApiCall<'a> {
    /// As IAM policies name it: `kinesis:GetRecords`.
    pub(crate) action: &'static str,
    pub(crate) stream: &'a StreamRef,
    pub(crate) shard: Option<&'a ShardId>,
    pub(crate) region: &'a str,
    /// Where the last call went, if any did.
    pub(crate) endpoint: Option<&'a str>,
}

impl ApiCall<'_> {
    fn endpoint(&self) -> &str {
        self.endpoint.unwrap_or("the endpoint")
    }

    /// An answer that the API does not document. The next one may be better: whatever stands in between may have made it.
    pub(crate) fn malformed(&self, what: impl fmt::Display) -> Error {
        Error::new(
            ErrorKind::Retry,
            format!(
                "the answer to {self} from {} {what}: it is tried again; check that this is a Kinesis endpoint",
                self.endpoint()
            ),
        )
    }
}

/// `kinesis:GetRecords on shard ... of stream ... in region ...`.
impl fmt::Display for ApiCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on ", self.action)?;
        if let Some(shard) = self.shard {
            write!(f, "shard `{shard}` of ")?;
        }
        write!(f, "stream `{}` in region `{}`", self.stream, self.region)
    }
}

/// Whether the body of an answer did not arrive whole: one that did is kept.
pub(crate) fn broke_off(answer: &ResponseError<HttpResponse>) -> bool {
    answer.raw().body().bytes().is_none()
}

/// Translates an error of the SDK. The SDK's own words stay its source.
pub(crate) fn from_sdk<E>(error: SdkError<E, HttpResponse>, call: &ApiCall<'_>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let (kind, message) = match &error {
        SdkError::ServiceError(answer) => refused(answer.err().code(), answer.raw().status().as_u16(), call),
        SdkError::TimeoutError(_) => (
            ErrorKind::Retry,
            format!("no answer in time from {} to {call}: it is tried again", call.endpoint()),
        ),
        SdkError::ResponseError(answer) if broke_off(answer) => (
            ErrorKind::Retry,
            format!("the answer of {} to {call} broke off: it is tried again", call.endpoint()),
        ),
        SdkError::ResponseError(answer) => refused(None, answer.raw().status().as_u16(), call),
        other => match find::<CredentialsError>(other) {
            Some(error) => no_credentials(error, call),
            None if matches!(other, SdkError::DispatchFailure(_)) => (
                ErrorKind::Retry,
                format!(
                    "{} cannot be reached for {call}: check the network and the endpoint URL \
                     (`AWS_ENDPOINT_URL_KINESIS`, `AWS_ENDPOINT_URL`)",
                    call.endpoint()
                ),
            ),
            None => (
                ErrorKind::Configuration,
                format!("{call} could not be sent: check the AWS configuration (region, endpoint URL)"),
            ),
        },
    };
    let code = match &error {
        SdkError::ServiceError(answer) => answer.err().code(),
        _ => None,
    };
    let translated = code.into_iter().fold(Error::new(kind, message), Error::with_code);
    match error.into_source() {
        Ok(source) => translated.with_source(source),
        Err(_) => translated,
    }
}

/// What an error of the Kinesis SDK means, for programs that call Kinesis beside a consumer: a kind, and a sentence that
/// says what, where and what to do. The SDK's own words stay its source.
///
/// `action` is what IAM policies call the call, such as `kinesis:PutRecords`.
pub fn explain_kinesis_error<E>(
    error: SdkError<E, HttpResponse>,
    action: &'static str,
    stream: &StreamRef,
    region: &str,
) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    from_sdk(error, &ApiCall { action, stream, shard: None, region, endpoint: None })
}

/// What codes of the services mean alike.
const DENIED: [&str; 6] = [
    "AccessDeniedException",
    "AccessDenied",
    "UnauthorizedOperation",
    "NotAuthorized",
    "OptInRequired",
    "SubscriptionRequiredException",
];
const BAD_CREDENTIALS: [&str; 11] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationTokenException",
    "MissingAuthenticationToken",
];
const THROTTLED: [&str; 8] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "KMSThrottlingException",
];
const KEY_UNUSABLE: [&str; 5] = [
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "KMSOptInRequired",
];
const SERVICE_FAILED: [&str; 4] =
    ["InternalFailure", "InternalFailureException", "InternalServerError", "ServiceUnavailable"];

/// What an error answer means, by its code and status.
fn refused(code: Option<&str>, status: u16, call: &ApiCall<'_>) -> (ErrorKind, String) {
    let (endpoint, region, stream) = (call.endpoint(), call.region, call.stream);
    match code.unwrap_or_default() {
        "" if status < 300 => (ErrorKind::Retry, call.malformed("cannot be read").to_string()),
        "" if status == 429 => {
            (ErrorKind::Throttled, format!("{call} is throttled (HTTP 429): it is tried again more slowly"))
        }
        "ResourceNotFoundException" => not_found(call),
        code if DENIED.contains(&code) => (
            ErrorKind::Permission,
            format!("{call} is not allowed: allow the action in the IAM policy of these credentials"),
        ),
        code if BAD_CREDENTIALS.contains(&code) => (
            ErrorKind::Permission,
            format!(
                "the credentials were refused for {call} ({code}): renew them, and check the clock of this host"
            ),
        ),
        code if THROTTLED.contains(&code) => {
            (ErrorKind::Throttled, format!("{call} is throttled ({code}): it is tried again more slowly"))
        }
        code if KEY_UNUSABLE.contains(&code) => {
            let (done, action) = match call.action {
                "kinesis:PutRecords" => ("encrypted", "kms:GenerateDataKey"),
                _ => ("decrypted", "kms:Decrypt"),
            };
            let message = format!(
                "the records cannot be {done} for {call} ({code}): enable the stream's KMS key and allow `{action}` on it \
                 to these credentials"
            );
            (ErrorKind::Permission, message)
        }
        "ResourceInUseException" => (
            ErrorKind::Retry,
            format!("stream `{stream}` in region `{region}` is being changed: it is tried again"),
        ),
        "UnknownOperationException" | "InvalidAction" => (
            ErrorKind::Configuration,
            format!(
                "{endpoint} does not know {}: check that `AWS_ENDPOINT_URL_KINESIS` or `AWS_ENDPOINT_URL` names a \
                 Kinesis endpoint",
                call.action
            ),
        ),
        code if SERVICE_FAILED.contains(&code) => {
            (ErrorKind::Retry, format!("{call} failed inside the service: it is tried again"))
        }
        _ if status >= 500 => {
            (ErrorKind::Retry, format!("{call} failed inside the service (HTTP {status}): it is tried again"))
        }
        "" => (
            ErrorKind::Configuration,
            format!(
                "{endpoint} answered {call} with HTTP {status} and no error of the API: check that \
                 `AWS_ENDPOINT_URL_KINESIS` or `AWS_ENDPOINT_URL` names a Kinesis endpoint"
            ),
        ),
        code => (
            ErrorKind::Bug,
            format!("{call} was refused ({code}), which should not happen: please report it with its cause"),
        ),
    }
}

/// The stream is not there, or the shard.
fn not_found(call: &ApiCall<'_>) -> (ErrorKind, String) {
    let (region, stream) = (call.region, call.stream);
    match call.shard {
        None => (
            ErrorKind::Configuration,
            format!(
                "stream `{stream}` does not exist in region `{region}`: check the name, the region and the account of \
                 the credentials, or create the stream"
            ),
        ),
        Some(shard) => (
            ErrorKind::Data,
            format!(
                "shard `{shard}` of stream `{stream}` in region `{region}` is gone: its records are past the retention, \
                 or the stream was deleted"
            ),
        ),
    }
}

fn no_credentials(error: &CredentialsError, call: &ApiCall<'_>) -> (ErrorKind, String) {
    match error {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
            (ErrorKind::Retry, format!("the credentials for {call} could not be fetched: it is tried again"))
        }
        CredentialsError::InvalidConfiguration(_) => (
            ErrorKind::Configuration,
            format!("the credentials for {call} are not configured rightly: check the AWS profile"),
        ),
        _ => (
            ErrorKind::Permission,
            format!(
                "there are no credentials for {call}: set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or \
                 `AWS_PROFILE`, or give the host or container a role"
            ),
        ),
    }
}

/// The first error of this type in the chain of causes.
pub(crate) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests;

//! What a failed call means to the caller.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;

use crate::error::{StoreError, StoreErrorKind};

/// What the service said.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message} (request {})", .request.as_deref().unwrap_or("without id"))]
struct Answer {
    code: String,
    message: String,
    request: Option<String>,
}

/// Where a call goes, for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) table: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

impl Place {
    pub(super) fn table(&self) -> String {
        format!("table `{}`", self.table)
    }

    /// `region us-east-1` or, with an endpoint of the user's own, that too.
    pub(super) fn location(&self) -> String {
        let region = self.region.as_deref().unwrap_or("not set");
        match &self.endpoint {
            Some(endpoint) => format!("region `{region}`, endpoint `{endpoint}`"),
            None => format!("region `{region}`"),
        }
    }

    pub(super) fn missing_table(&self) -> StoreError {
        StoreError::new(
            StoreErrorKind::MissingTable,
            format!(
                "{} does not exist ({}): check the region and the name, make it beforehand with partition key \
                 `group` (string) and sort key `row` (string), or allow it to be made with `create_table` \
                 (`--create-table`)",
                self.table(),
                self.location()
            ),
        )
    }

    /// Classifies what the SDK gave up with.
    pub(super) fn failure<E>(&self, action: &str, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (kind, message) = match &error {
            SdkError::ServiceError(_) => self.refusal(action, &code, status.unwrap_or_default()),
            SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_)
                if let Some(credentials) = cause::<CredentialsError>(&error) =>
            {
                self.no_credentials(credentials)
            }
            SdkError::ConstructionFailure(_) => (
                StoreErrorKind::Configuration,
                format!("cannot make a {action} request for {} ({})", self.table(), self.location()),
            ),
            // Transient ones, such as a broken connection, carry a kind.
            SdkError::DispatchFailure(failure)
                if failure.is_user() || (failure.is_other() && failure.as_other().is_none()) =>
            {
                (
                    StoreErrorKind::Configuration,
                    format!(
                        "cannot send {action} for {} ({}): check region, endpoint and HTTP client",
                        self.table(),
                        self.location()
                    ),
                )
            }
            SdkError::TimeoutError(_) => (
                StoreErrorKind::Unavailable,
                format!("DynamoDB did not answer {action} on {} in time ({})", self.table(), self.location()),
            ),
            _ => (
                StoreErrorKind::Unavailable,
                format!("DynamoDB cannot be reached for {action} on {} ({})", self.table(), self.location()),
            ),
        };
        let answer = error.message().map(|message| Answer {
            code: code.clone(),
            message: message.to_owned(),
            request: error.request_id().map(str::to_owned),
        });
        let failure = StoreError::new(kind, message);
        match (answer, error.into_source()) {
            (Some(answer), _) => failure.with_source(answer),
            (None, Ok(source)) => failure.with_source(source),
            (None, Err(error)) => failure.with_source(error),
        }
    }

    /// By the error codes that DynamoDB documents ("Error handling with DynamoDB", "Common error types").
    fn refusal(&self, action: &str, code: &str, status: u16) -> (StoreErrorKind, String) {
        let (table, location) = (self.table(), self.location());
        match code {
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => (
                StoreErrorKind::Permission,
                format!(
                    "not allowed: dynamodb:{action} on {table} ({location}); allow it to these credentials"
                ),
            ),
            "ResourceNotFoundException" => (StoreErrorKind::MissingTable, self.missing_table().to_string()),
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "LimitExceededException" => (
                StoreErrorKind::Throttled,
                format!("DynamoDB slows down {action} on {table} ({location}): {code}"),
            ),
            "TransactionConflictException" | "TransactionInProgressException" => (
                StoreErrorKind::Unavailable,
                format!("another call is changing the same row of {table} ({location}): it is tried again"),
            ),
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
            | "OptInRequired" => (
                StoreErrorKind::Configuration,
                format!("DynamoDB does not accept the credentials for {table} ({location}): {code}"),
            ),
            // Whoever renews them in the background is late.
            "ExpiredTokenException" | "ExpiredToken" => (
                StoreErrorKind::Unavailable,
                format!(
                    "the credentials for {table} ({location}) have expired ({code}): renew them; it is tried again"
                ),
            ),
            "" if status < 500 => (
                StoreErrorKind::Configuration,
                format!(
                    "something that is not DynamoDB answered {action} on {table} ({location}) with HTTP {status}: check that \
                     `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL` names DynamoDB, and what the proxy lets through"
                ),
            ),
            _ if status >= 500 => (
                StoreErrorKind::Unavailable,
                format!("DynamoDB failed at {action} on {table} ({location}): {code}, status {status}"),
            ),
            _ => (
                StoreErrorKind::Configuration,
                format!("DynamoDB refused {action} on {table} ({location}): {code}, status {status}"),
            ),
        }
    }

    fn no_credentials(&self, error: &CredentialsError) -> (StoreErrorKind, String) {
        match error {
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => (
                StoreErrorKind::Configuration,
                format!(
                    "no AWS credentials for {}: set a profile, a role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                    self.table()
                ),
            ),
            _ => (
                StoreErrorKind::Unavailable,
                format!("the provider of AWS credentials for {} failed", self.table()),
            ),
        }
    }
}

/// The first cause of a type.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

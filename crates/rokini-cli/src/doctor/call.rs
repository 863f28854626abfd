//! One call of a service, and what its failure says.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use tokio::time::timeout;

use super::check::{CALL_WAIT, Check, CheckStatus};
use crate::aws::{Aws, Service};
use crate::error::CliError;

/// What services answer for a rate of calls that is too high: whether one is allowed is not said.
const THROTTLES: [&str; 4] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
];

/// `Err`: what is wrong. A condition that does not hold is an answer.
pub(super) async fn call<T, E>(
    action: &'static str,
    send: impl Future<Output = Result<T, aws_sdk_dynamodb::error::SdkError<E>>>,
    service: Service,
    aws: &Aws,
) -> Result<T, Check>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let error = match timeout(CALL_WAIT, send).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(_) => return Err(silent(action)),
    };
    let what = match (error.code(), error.message()) {
        (Some("ConditionalCheckFailedException"), _) => return Err(Check::ok(action, "allowed")),
        (Some("AccessDeniedException"), message) => {
            let what = format!("not allowed: {}", message.unwrap_or_default());
            let next = format!("allow {action}: `rokini doctor --policy` prints the whole policy");
            return Err(Check::fail(action, what, next));
        }
        (Some("ResourceNotFoundException"), _) => "does not exist".to_owned(),
        (Some(code), _) if THROTTLES.contains(&code) => {
            let what = format!("not known, because it is throttled: {code}");
            let next = "ask again later; a table that throttles all the time needs more capacity, or billing on demand";
            return Err(Check::warn(action, what, next));
        }
        (Some(code), message) => {
            let what = format!("{code}: {}", message.unwrap_or_default());
            return Err(Check::fail(action, what, "look at the message: the service answered so"));
        }
        (None, _) => format!("no answer: {}", deepest(&error)),
    };
    let error = rokini::Error::new(rokini::ErrorKind::Retry, what);
    Err(failed(action, aws.explain(error, service)))
}

/// The cause at the bottom, which says most.
pub(super) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

pub(super) fn failed(action: &str, error: CliError) -> Check {
    let mut what = error.what;
    if let Some(why) = error.why.first() {
        what += &format!(": {why}");
    }
    let next = error.next.unwrap_or_else(|| "look at the message".to_owned());
    Check { status: CheckStatus::Fail, name: action.to_owned(), what, next: Some(next) }
}

/// Whether nobody answered: whatever else is asked there would be waited for as long again.
pub(super) fn is_silent(check: &Check) -> bool {
    check.what.starts_with("no answer")
}

pub(super) fn silent(action: &str) -> Check {
    let next = "check the network, the proxy and the endpoint (`--endpoint-url`, `AWS_ENDPOINT_URL...`)";
    Check::fail(action, format!("no answer within {CALL_WAIT:?}"), next)
}

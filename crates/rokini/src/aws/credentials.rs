//! Whether credentials can be had: asked once, in bounded time, before anything depends on them.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_types::SdkConfig;
use tokio::time::{Instant, sleep, timeout_at};

use crate::types::error::{Error, ErrorKind, plain};

/// How long the providers of credentials may take. Those of a container or an instance answer within milliseconds, and what
/// waits for them should say so while somebody watches.
const WAIT: Duration = Duration::from_secs(5);
/// Between two tries of a provider that failed at once, as one does that is about to start.
const PAUSE: Duration = Duration::from_millis(500);

/// Where the SDK looks, in its order.
const PROVIDERS: &str = "the environment, the profile of the shared files, a web identity token, the container's role, the \
     instance's metadata service";

/// Asks the providers of credentials of this configuration, for 5 s at most: a metadata service that does not answer would
/// hold up each call for a minute. Does nothing where the configuration has no provider.
///
/// # Errors
/// [`ErrorKind::Permission`] with what was tried. Its source is the SDK's error where there are no credentials at all.
pub async fn check_credentials(aws: &SdkConfig) -> Result<(), Error> {
    let Some(provider) = aws.credentials_provider() else { return Ok(()) };
    let deadline = Instant::now() + WAIT;
    let mut last = None;
    loop {
        match timeout_at(deadline, provider.provide_credentials()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error @ CredentialsError::ProviderError(_))) if Instant::now() + PAUSE < deadline => {
                last = Some(credentials_problem(&error));
                sleep(PAUSE).await;
            }
            Ok(Err(error)) => {
                let refused = unavailable(&credentials_problem(&error));
                let is_none = matches!(error, CredentialsError::CredentialsNotLoaded(_));
                return Err(if is_none { refused.with_source(error) } else { refused });
            }
            Err(_) => {
                let silent = || format!("no answer within {} s; tried {PROVIDERS}", WAIT.as_secs());
                return Err(unavailable(&last.unwrap_or_else(silent)));
            }
        }
    }
}

fn unavailable(problem: &str) -> Error {
    let message = format!(
        "the AWS credentials could not be fetched: {problem}: set `AWS_PROFILE`, or `AWS_ACCESS_KEY_ID` \
         and `AWS_SECRET_ACCESS_KEY`, or give the host or container a role"
    );
    Error::new(ErrorKind::Permission, message)
}

/// What is wrong with credentials, and what was tried, in one line: the cause at the bottom says most.
#[must_use]
pub fn credentials_problem(error: &CredentialsError) -> String {
    let mut deepest: &(dyn StdError + 'static) = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    let text = deepest.to_string();
    let problem = match error {
        CredentialsError::CredentialsNotLoaded(_) => "there are none",
        _ => plain(&text).trim_end_matches('.'),
    };
    format!("{problem}; tried {PROVIDERS}")
}

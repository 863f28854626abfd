//! What stands in for the AWS room without the feature `aws`.

use crate::types::error::Error;

/// Nothing here makes HTTP calls.
#[derive(Debug, Default)]
pub(crate) struct HttpOptions;

/// There is no AWS configuration, so there is no value of this.
#[derive(Debug, Clone)]
pub(crate) enum SdkConfig {}

pub(crate) async fn check_credentials(aws: &SdkConfig) -> Result<(), Error> {
    match *aws {}
}

#[allow(clippy::needless_pass_by_value, reason = "as where there is AWS")]
pub(crate) fn complete(aws: SdkConfig, _: &HttpOptions) -> Result<SdkConfig, Error> {
    match aws {}
}

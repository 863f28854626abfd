//! What stands in for the AWS room without the feature `aws`.

use crate::types::error::Error;

/// There is no AWS configuration, so there is no value of this.
#[derive(Debug, Clone)]
pub(crate) enum SdkConfig {}

pub(crate) fn complete(aws: SdkConfig) -> Result<SdkConfig, Error> {
    match aws {}
}

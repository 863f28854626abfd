//! Where records come from: the seam between delivery and Amazon Kinesis.

pub(crate) mod deaggregate;
#[cfg(feature = "aws")]
pub(crate) mod kinesis;
pub(crate) mod selection;
pub(crate) mod stream_identity;
pub(crate) mod stream_source;
#[cfg(test)]
#[cfg(feature = "aws")]
pub(crate) mod testing;

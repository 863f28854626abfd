//! Where records come from: the seam between delivery and Amazon Kinesis.

#[cfg(feature = "aws")]
pub(crate) mod kinesis;
pub(crate) mod selection;
pub(crate) mod stream_source;
#[cfg(all(test, feature = "aws"))]
pub(crate) mod testing;

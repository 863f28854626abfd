//! One request to a service, and in which form.

use bytes::Bytes;
use hyper::header::HeaderName;
use rokini::Record;

/// In which form records are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpFormat {
    /// The event that Lambda gives a function: several records in one request.
    #[default]
    Lambda,
    /// CloudEvents 1.0, binary: a request for each record, with its data as the body.
    CloudEventsBinary,
    /// CloudEvents 1.0, structured: a request for each record.
    CloudEventsStructured,
    /// CloudEvents 1.0 in the batched form: several records in one request.
    CloudEventsBatch,
}

/// One request.
pub(super) struct Push<'a> {
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
    pub(super) records: &'a [Record],
}

//! Bodies of answers, whole and broken ones.

use bytes::Bytes;
use futures::stream::{self, Stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;

/// The connection is cut here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(crate) struct Cut;

/// Body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Cut>;

/// How a body that does not reach its end stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// The connection is cut.
    Cut,
    /// Nothing more comes.
    Hang,
}

pub(crate) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The first `length` bytes, at most all, and then the break.
pub(crate) fn broken(mut bytes: Bytes, length: usize, how: Break) -> Body {
    bytes.truncate(length);
    let start = (!bytes.is_empty()).then(|| Ok(bytes));
    let start = stream::iter(start);
    match how {
        Break::Cut => streamed(stream::StreamExt::chain(start, stream::iter([Err(Cut)]))),
        Break::Hang => streamed(stream::StreamExt::chain(start, stream::pending())),
    }
}

pub(crate) fn streamed(pieces: impl Stream<Item = Result<Bytes, Cut>> + Send + 'static) -> Body {
    StreamBody::new(stream::StreamExt::map(pieces, |piece| piece.map(Frame::data))).boxed_unsync()
}

//! Bodies of answers, whole and broken ones.

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;

use crate::faults::Fault;

/// The connection is cut here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub struct ConnectionCut;

/// Cuts the connection in the middle of a body. What was given to the connection before goes out first: hyper throws away
/// what it has not written yet when a body fails.
pub(crate) async fn cut_connection<T>() -> Result<T, ConnectionCut> {
    tokio::task::yield_now().await;
    Err(ConnectionCut)
}

/// Body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, ConnectionCut>;

/// Where and how a body that does not reach its end stops.
#[derive(Debug, Clone)]
pub(crate) struct BodyBreak {
    /// How many bytes are sent before, at most all.
    after: usize,
    kind: BreakKind,
}

#[derive(Debug, Clone)]
enum BreakKind {
    Cut,
    /// Nothing more comes until the server stops.
    Hang(CancellationToken),
}

impl BodyBreak {
    /// The break of a fault that breaks bodies; `None` for any other. `stop` ends what hangs.
    pub(crate) fn of(fault: &Fault, stop: &CancellationToken) -> Option<Self> {
        match fault {
            Fault::CutAfter { bytes } => Some(Self { after: *bytes, kind: BreakKind::Cut }),
            Fault::HangAfter { bytes } => Some(Self { after: *bytes, kind: BreakKind::Hang(stop.clone()) }),
            _ => None,
        }
    }

    /// The pieces up to the break, and the break.
    pub(crate) fn apply(
        self,
        pieces: impl Stream<Item = Result<Bytes, ConnectionCut>> + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, ConnectionCut>> + Send + 'static {
        let before = stream::unfold((Box::pin(pieces), self.after), |(mut pieces, left)| async move {
            if left == 0 {
                return None;
            }
            let mut piece = pieces.next().await?;
            let length = piece.as_mut().map_or(0, |bytes| {
                bytes.truncate(left);
                bytes.len()
            });
            Some((piece, (pieces, left - length)))
        });
        before.chain(stream::once(async move {
            if let BreakKind::Hang(stop) = self.kind {
                stop.cancelled().await;
            }
            cut_connection().await
        }))
    }
}

/// A body that reaches its end.
pub(crate) fn full_body(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// All of it, or what comes before the break.
pub(crate) fn full_or_broken_body(bytes: Bytes, broken: Option<BodyBreak>) -> Body {
    match broken {
        Some(broken) => streaming_body(broken.apply(stream::iter([Ok(bytes)]))),
        None => full_body(bytes),
    }
}

/// A body in pieces, as they come.
pub(crate) fn streaming_body(
    pieces: impl Stream<Item = Result<Bytes, ConnectionCut>> + Send + 'static,
) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

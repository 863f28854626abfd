//! The stream behind the AWS SDK: its requests go over a worker's link to the protocol of the local Kinesis, without sockets.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use aws_types::region::Region;
use bytes::Bytes;
use futures::stream::{StreamExt, unfold};
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame, SizeHint};
use rokini::{Error, KinesisSource, Settings};
use serde_json::Value;
use tokio::time::sleep;

use super::link::{Link, ReaderBug};
use super::model::ListingFault;

/// How often a body looks whether the way is there again.
const LOOK: Duration = Duration::from_millis(250);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Link {
    /// The stream as a source that is read by the AWS SDK over this link.
    ///
    /// # Errors
    /// What the client has against its configuration.
    pub(crate) fn by_sdk(&self, seed: u64) -> Result<KinesisSource, Error> {
        let credentials = Credentials::from_keys("sim", "secret", None);
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        let aws = SdkConfig::builder()
            .region(Region::new("us-east-1"))
            .endpoint_url("http://kinesis.sim")
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        KinesisSource::new(&aws, self.stream().name().parse()?, &Settings::default(), seed)
    }
}

/// Carries requests over a link.
#[derive(Debug)]
struct Connector(Link);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let link = self.0.clone();
        HttpConnectorFuture::new(async move { link.carry(request).await.map_err(ConnectorError::io) })
    }
}

impl Link {
    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, BoxError> {
        // What is asked fits into memory.
        let request =
            request.try_into_http1x()?.map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or_default()));
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation =
            target.and_then(|target| target.rsplit('.').next()).map(str::to_owned).unwrap_or_default();
        self.reach(None).await?;
        let answer = self.stream().http.answer(request).await?;
        self.returned().await?;
        let (mut head, body) = answer.into_parts();
        let body = if operation == "ListShards" {
            self.stream().changes.listings.fetch_add(1, Ordering::Relaxed);
            let listed = self.as_listed(body.collect().await?.to_bytes());
            head.headers.insert(CONTENT_LENGTH, listed.len().into());
            SdkBody::from(listed)
        } else {
            self.over(body)
        };
        Ok(http::Response::from_parts(head, body).try_into()?)
    }

    /// A listing as workers are told it.
    fn as_listed(&self, body: Bytes) -> Bytes {
        let wrong = matches!(self.stream().listing_fault(), Some(ListingFault::Late | ListingFault::InPart));
        let Some(mut listing) = wrong.then(|| serde_json::from_slice::<Value>(&body).ok()).flatten() else {
            return body;
        };
        if let Some(shards) = listing.get_mut("Shards").and_then(Value::as_array_mut) {
            shards.retain(|shard| {
                let text = |name: &str| shard.get(name).and_then(Value::as_str);
                let range = shard.get("SequenceNumberRange");
                let closed = range.is_some_and(|range| range.get("EndingSequenceNumber").is_some());
                let id = text("ShardId").unwrap_or_default();
                self.stream().is_listed(id, closed, text("ParentShardId").is_some())
            });
        }
        serde_json::to_vec(&listing).map_or(body, Bytes::from)
    }

    /// The body of an answer, piece by piece over the link: that of a subscription goes on for minutes.
    fn over<B>(&self, body: B) -> SdkBody
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let size = body.size_hint();
        let pieces = unfold(Some((self.clone(), body)), |open| async move {
            let (link, mut body) = open?;
            loop {
                let piece = match body.frame().await? {
                    Ok(piece) => piece,
                    Err(error) => return Some((Err(error.into()), None)),
                };
                // Only events come without an end that is known.
                let is_event = body.size_hint().upper().is_none();
                if is_event && link.shown_bug() == Some(ReaderBug::DropsRecords) {
                    continue;
                }
                return Some(match link.passes().await {
                    Ok(()) => (Ok::<_, BoxError>(piece), Some((link, body))),
                    Err(error) => (Err(error.into()), None),
                });
            }
        });
        let pieces: BoxBody = Box::pin(StreamBody::new(pieces.fuse()));
        SdkBody::from_body_1_x(Shareable { pieces: Mutex::new(pieces), size })
    }

    /// The way of a piece of a body that goes on.
    async fn passes(&self) -> Result<(), Error> {
        while self.is_black_hole() {
            sleep(LOOK).await;
        }
        self.returned().await
    }
}

type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// A body that the SDK takes: one that could be shared, which nobody does.
struct Shareable {
    pieces: Mutex<BoxBody>,
    size: SizeHint,
}

impl fmt::Debug for Shareable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shareable")
    }
}

impl Body for Shareable {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let pieces = self.get_mut().pieces.get_mut().unwrap_or_else(PoisonError::into_inner);
        pieces.as_mut().poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

//! What stands before every request: host names, web pages, and bodies that arrive in time.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;

use crate::http::hosts::{HostFacts, Hosts};
use crate::http::origins::{Asked, Origins};

/// How long the body of a request may take: a PutRecords call of 10 MB over 2 Mbit a second.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Who may ask, by which host name and from which web pages, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) hosts: Hosts,
    pub(crate) origins: Origins,
    /// How long the body of a request may take.
    pub(crate) body_timeout: Duration,
}

impl Entry {
    pub(crate) fn new(hosts: Hosts, origins: Origins) -> Self {
        Self { hosts, origins, body_timeout: BODY_TIMEOUT }
    }

    /// The body of a request.
    ///
    /// # Errors
    /// Why it could not be read.
    pub(crate) async fn read_body(&self, body: impl RequestBody, most: usize) -> Result<Bytes, String> {
        match tokio::time::timeout(self.body_timeout, Limited::new(body, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it did not arrive within {:?}", self.body_timeout)),
        }
    }

    /// # Errors
    /// Why the request is refused, for people, with the option that would let it pass.
    pub(crate) fn check(&self, head: &Parts) -> Result<(HostFacts, Asked), String> {
        let facts = self.hosts.check(head).map_err(|name| {
            format!(
                "The host name `{name}` is not answered, because a web page could use it to reach this machine. Start with \
                 `--host-name {name}` (`LocalKinesisBuilder::host_name`) to answer it."
            )
        })?;
        let asked = self.origins.check(head).map_err(|origin| {
            if origin.is_empty() {
                return "A web page of another site may not fetch this.".to_owned();
            }
            format!(
                "The web page `{origin}` may not use this endpoint. Start with `--cors-origin {origin}` \
                 (`LocalKinesisBuilder::cors_origin`) to let it."
            )
        })?;
        Ok((facts, asked))
    }
}

/// The body of a request, from a connection or from a caller in process.
pub(crate) trait RequestBody:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static
{
}

impl<B> RequestBody for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static
{
}

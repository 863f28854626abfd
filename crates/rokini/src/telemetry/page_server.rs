//! The page of a group, served by a process that is none of its workers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use rokini_lease::{GroupId, LeaseStore, WallClock};
use tokio::net::TcpListener;

use super::http::{Site, bind, serve};
use super::page::Page;
use crate::types::error::Error;

/// Serves the page of a group without being a worker of it: from the rows of the store alone, listed every few seconds while
/// somebody looks. Nothing is read from a stream, and nothing is written.
#[derive(Debug)]
pub struct GroupPage {
    listener: TcpListener,
    site: Arc<Site>,
}

impl GroupPage {
    /// Listens. Port 0 is any that is free. On a loopback address only requests by names of this machine are answered.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when the address cannot be listened at.
    pub async fn bind(
        group: GroupId,
        store: Arc<dyn LeaseStore>,
        clock: WallClock,
        address: SocketAddr,
    ) -> Result<Self, Error> {
        let page = Arc::new(Page::of_rows(group, store, clock));
        let (listener, address) = bind(address).await?;
        let site = Arc::new(Site { monitor: None, page: Some(page), address });
        Ok(Self { listener, site })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.site.address
    }

    /// Answers until it is dropped.
    pub async fn serve(self) -> Infallible {
        serve(&self.listener, &self.site).await
    }
}

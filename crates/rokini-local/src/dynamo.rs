//! An embedded DynamoDB, for the lease table beside a local Kinesis.

mod handler;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use dynoxide::Database;

use crate::dynamo::handler::DynamoHandler;
use crate::faults::Faults;
use crate::server::{SHUTDOWN_GRACE, Security, Server};

/// A DynamoDB endpoint on the loopback interface. Dropping it stops the server.
///
/// Any region and any credentials are accepted. Reads are always strongly consistent and nothing is throttled.
pub struct LocalDynamo {
    database: Database,
    address: SocketAddr,
    /// Stands before the database's own server where faults are wanted.
    proxy: Option<Server>,
    stop: DropGuard,
    server: JoinHandle<()>,
}

/// Why a local DynamoDB did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DynamoError {
    /// The database could not be opened.
    #[error("cannot open the DynamoDB database: {0}")]
    Open(String),
    /// The address could not be bound.
    #[error(
        "the local DynamoDB cannot listen on {address}: choose another address, or port 0 for any free one"
    )]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

impl LocalDynamo {
    /// Starts with an empty database in memory, on a free port.
    ///
    /// # Errors
    /// [`DynamoError`].
    pub async fn in_memory() -> Result<Self, DynamoError> {
        let database = Database::memory().map_err(|error| DynamoError::Open(error.to_string()))?;
        Self::serve(database, any_port()).await
    }

    /// Starts with a database kept in a file, created if absent, on a free port. Writes are about four times slower than
    /// in memory.
    ///
    /// # Errors
    /// [`DynamoError`].
    pub async fn on_file(path: &Path) -> Result<Self, DynamoError> {
        Self::serve(open_file(path)?, any_port()).await
    }

    /// Serves a database at a given address.
    ///
    /// # Errors
    /// [`DynamoError`].
    pub async fn serve(database: Database, address: SocketAddr) -> Result<Self, DynamoError> {
        let listen = |source| DynamoError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let stop = CancellationToken::new();
        let served =
            dynoxide::server::serve_with_shutdown(listener, database.clone(), stop.clone().cancelled_owned());
        let server = TaskTracker::new().spawn(async move {
            if let Err(error) = served.await {
                tracing::warn!(%error, "the local DynamoDB ended with an error");
            }
        });
        Ok(Self { database, address, proxy: None, stop: stop.drop_guard(), server })
    }

    /// Serves a database at a given address, and applies faults to the calls on their way.
    ///
    /// Rules see a call's operation (as in `UpdateItem`) and its caller. Faults that only Kinesis knows ([`Fault::Jump`],
    /// [`Fault::Empty`], [`Fault::FailRecords`]) change nothing.
    ///
    /// [`Fault::Jump`]: crate::Fault::Jump
    /// [`Fault::Empty`]: crate::Fault::Empty
    /// [`Fault::FailRecords`]: crate::Fault::FailRecords
    ///
    /// # Errors
    /// [`DynamoError`].
    pub async fn with_faults(
        database: Database,
        address: SocketAddr,
        faults: Faults,
    ) -> Result<Self, DynamoError> {
        let listen = |source| DynamoError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let mut dynamo = Self::serve(database, any_port()).await?;
        let stop = CancellationToken::new();
        let handler = DynamoHandler { server: dynamo.address, faults, stop: stop.clone() };
        let proxy = Server::start(listener, handler, Security::default(), stop).map_err(listen)?;
        dynamo.address = proxy.address();
        dynamo.proxy = Some(proxy);
        Ok(dynamo)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to a client.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The database itself, to look at or to change without HTTP.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops accepting, lets requests under way finish for at most two seconds, and ends.
    pub async fn shutdown(self) {
        let Self { stop, mut server, proxy, .. } = self;
        if let Some(proxy) = proxy {
            proxy.shutdown().await;
        }
        drop(stop);
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut server).await.is_err() {
            server.abort();
        }
    }
}

/// Opens a database kept in a file, created if absent.
///
/// # Errors
/// [`DynamoError::Open`].
pub fn open_file(path: &Path) -> Result<Database, DynamoError> {
    let text = path
        .to_str()
        .ok_or_else(|| DynamoError::Open(format!("the path `{}` is not Unicode", path.display())))?;
    Database::new(text).map_err(|error| DynamoError::Open(error.to_string()))
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

impl fmt::Debug for LocalDynamo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalDynamo").field("address", &self.address).finish_non_exhaustive()
    }
}

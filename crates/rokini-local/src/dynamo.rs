//! An embedded DynamoDB, for the lease table beside a local Kinesis.

mod arns;
mod backups;
mod handler;
mod upstream;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use dynoxide::Database;

use crate::dynamo::backups::Backups;
use crate::dynamo::handler::DynamoHandler;
use crate::dynamo::upstream::Upstream;
use crate::environment::{reachable, variables};
use crate::faults::Faults;
use crate::http::{Entry, Hosts, Origins};
use crate::server::{ConnectionLimits, SHUTDOWN_GRACE, Security, Server};

/// A DynamoDB endpoint on the loopback interface. Dropping it stops the server.
///
/// Any region and any credentials are accepted: ARNs are those of the caller's region, and tables are the same in all. Reads are always strongly consistent and nothing is throttled.
pub struct LocalDynamo {
    database: Database,
    region: String,
    /// Stands before the database's own server.
    front: Server,
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
    /// The file is no database, or what is in it cannot be read.
    #[error("the DynamoDB database is damaged: {0}")]
    Damaged(String),
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

/// How a [`LocalDynamo`] is served.
#[derive(Debug, Clone)]
pub struct DynamoSettings {
    faults: Faults,
    host_names: Vec<String>,
    cors_origins: Vec<String>,
    region: String,
    account: String,
    refuses_changes: bool,
}

impl Default for DynamoSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl DynamoSettings {
    /// Without faults, other host names or web pages, in `us-east-1` and account `000000000000`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            faults: Faults::new(0),
            host_names: Vec::new(),
            cors_origins: Vec::new(),
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            refuses_changes: false,
        }
    }

    /// Whether calls that change something are refused (InternalServerError): for tables that cannot be kept. Default: no.
    #[must_use]
    pub fn refuse_changes(self, refuses_changes: bool) -> Self {
        Self { refuses_changes, ..self }
    }

    /// Applies faults to calls. Rules see a call's operation (as in `UpdateItem`) and its caller. Faults that only Kinesis knows
    /// ([`Fault::Jump`], [`Fault::Empty`], [`Fault::FailRecords`]) change nothing.
    ///
    /// [`Fault::Jump`]: crate::Fault::Jump
    /// [`Fault::Empty`]: crate::Fault::Empty
    /// [`Fault::FailRecords`]: crate::Fault::FailRecords
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// As [`LocalKinesisBuilder::host_name`](crate::LocalKinesisBuilder::host_name).
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.host_names.push(name.into());
        self
    }

    /// As [`LocalKinesisBuilder::cors_origin`](crate::LocalKinesisBuilder::cors_origin).
    #[must_use]
    pub fn cors_origin(mut self, origin: impl Into<String>) -> Self {
        self.cors_origins.push(origin.into());
        self
    }

    /// The region in ARNs for callers who do not say theirs.
    #[must_use]
    pub fn region(self, name: impl Into<String>) -> Self {
        Self { region: name.into(), ..self }
    }

    /// The account in ARNs for callers whose access key id is none.
    #[must_use]
    pub fn account(self, id: impl Into<String>) -> Self {
        Self { account: id.into(), ..self }
    }
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
        Self::serve_with(database, address, DynamoSettings::new()).await
    }

    /// Serves a database at a given address, and applies faults to the calls on their way.
    ///
    /// # Errors
    /// [`DynamoError`].
    pub async fn with_faults(
        database: Database,
        address: SocketAddr,
        faults: Faults,
    ) -> Result<Self, DynamoError> {
        Self::serve_with(database, address, DynamoSettings::new().faults(faults)).await
    }

    /// Serves a database at a given address, by these settings.
    ///
    /// # Errors
    /// [`DynamoError`].
    pub async fn serve_with(
        database: Database,
        address: SocketAddr,
        settings: DynamoSettings,
    ) -> Result<Self, DynamoError> {
        let listen = |source| DynamoError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let inner = bind_hidden().await.map_err(listen)?;
        let upstream = Upstream::new(inner.local_addr().map_err(listen)?);
        let stop = CancellationToken::new();
        let served =
            dynoxide::server::serve_with_shutdown(inner, database.clone(), stop.clone().cancelled_owned());
        let server = TaskTracker::new().spawn(async move {
            if let Err(error) = served.await {
                tracing::warn!(%error, "the local DynamoDB ended with an error");
            }
        });
        let DynamoSettings { faults, host_names, cors_origins, region, account, refuses_changes } = settings;
        let front_stop = CancellationToken::new();
        let handler = DynamoHandler {
            upstream,
            backups: Backups::default(),
            faults,
            entry: Entry::new(Hosts::new(host_names), Origins::new(cors_origins)),
            home: (region.clone(), account),
            refuses_changes,
            stop: front_stop.clone(),
        };
        let limits = ConnectionLimits::default();
        let front =
            Server::start(listener, handler, Security::default(), limits, front_stop).map_err(listen)?;
        Ok(Self { database, region, front, stop: stop.drop_guard(), server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// The URL to give to a client on this machine.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", reachable(self.address()))
    }

    /// The variables by which AWS clients in another process find it, as [`LocalKinesis::environment`](crate::LocalKinesis::environment)
    /// gives those for Kinesis; where both are set, the one for the endpoint comes on top.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        variables("AWS_ENDPOINT_URL_DYNAMODB", self.endpoint_url(), &self.region)
    }

    /// The database itself, to look at or to change without HTTP.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops accepting, lets requests under way finish for at most two seconds, and ends.
    pub async fn shutdown(self) {
        let Self { stop, mut server, front, .. } = self;
        front.shutdown().await;
        drop(stop);
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut server).await.is_err() {
            server.abort();
        }
    }
}

/// Opens a database kept in a file, created if absent.
///
/// # Errors
/// [`DynamoError::Damaged`], [`DynamoError::Open`].
pub fn open_file(path: &Path) -> Result<Database, DynamoError> {
    let text = path
        .to_str()
        .ok_or_else(|| DynamoError::Open(format!("the path `{}` is not Unicode", path.display())))?;
    Database::new(text).map_err(|error| {
        let said = error.to_string();
        // SQLite's words for SQLITE_CORRUPT, and dynoxide's for SQLITE_NOTADB: neither hands out the code.
        let is_damaged = said.contains("malformed") || said.contains("not a valid SQLite database");
        if is_damaged { DynamoError::Damaged(said) } else { DynamoError::Open(said) }
    })
}

/// The tables in a file as they stand, in memory: for a file that cannot be opened, because nothing can be written beside it. What
/// SQLite had not moved into the file yet is there if it can be read.
///
/// # Errors
/// [`DynamoError::Open`] if it cannot be read either.
pub fn read_file(path: &Path) -> Result<Database, DynamoError> {
    let open = |error: String| DynamoError::Open(error);
    let path = std::path::absolute(path).map_err(|error| open(error.to_string()))?;
    let text = path.to_str().ok_or_else(|| open(format!("the path `{}` is not Unicode", path.display())))?;
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let database = Database::memory().map_err(|error| open(error.to_string()))?;
    // The second way makes no file beside it, and sees none.
    let read = ["mode=ro", "immutable=1"].map(|how| format!("file:{escaped}?{how}"));
    let read = database.restore_from(&read[0]).or_else(|_| database.restore_from(&read[1]));
    read.map_err(|error| open(error.to_string()))?;
    Ok(database)
}

/// A listener that nobody finds: the database's own server lets any web page in, so it listens on a loopback address of its own
/// where the system has more than one, and at a port of the system's choice.
async fn bind_hidden() -> io::Result<TcpListener> {
    // The standard library's random state: one that web pages cannot guess, and that changes nothing that is seen.
    let [a, b, c, ..] = RandomState::new().hash_one(0_u8).to_be_bytes();
    let hidden: SocketAddr = (Ipv4Addr::new(127, a | 1, b, c.clamp(1, 254)), 0).into();
    match TcpListener::bind(hidden).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(any_port()).await,
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

impl fmt::Debug for LocalDynamo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalDynamo").field("address", &self.address()).finish_non_exhaustive()
    }
}

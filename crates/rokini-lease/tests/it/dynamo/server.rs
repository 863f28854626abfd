//! An embedded DynamoDB on a loopback port, clients for it, and rows.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder};
use aws_types::SdkConfig;
use aws_types::region::Region;
use dynoxide::Database;
use rokini_lease::{DynamoStore, GroupId, LeaseRow, LeaseStore, Position, WorkerId, WorkerRow};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const TABLE: &str = "rokini";

/// Ends with its test.
pub(crate) struct Server {
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(dynoxide::server::serve_on(listener, Database::memory().unwrap()));
        Self { address, task }
    }

    /// With the table made beforehand.
    pub(crate) async fn with_table() -> Self {
        let server = Self::start().await;
        server.store().await;
        server
    }

    /// A store on a table that exists.
    pub(crate) async fn store(&self) -> DynamoStore {
        let store = store(&self.address).create_table(true);
        store.init().await.unwrap();
        store
    }

    /// The SDK itself, to look behind the store.
    pub(crate) fn client(&self) -> Client {
        let config = Builder::from(&config(&self.address)).behavior_version(BehaviorVersion::v2026_01_12());
        Client::from_conf(config.build())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A store on an endpoint, not initialized.
pub(crate) fn store(address: &str) -> DynamoStore {
    DynamoStore::new(&config(address), TABLE)
}

/// The configuration of a client for an endpoint on loopback.
pub(crate) fn config(address: &str) -> SdkConfig {
    SdkConfig::builder()
        .endpoint_url(format!("http://{address}"))
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::from_keys("key", "secret", None)))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

pub(crate) fn group() -> GroupId {
    GroupId::new("billing").unwrap()
}

pub(crate) fn id(name: &str) -> WorkerId {
    format!("{name}#00000000000000a1").parse().unwrap()
}

pub(crate) fn worker(name: &str) -> WorkerRow {
    WorkerRow::joining(id(name), None)
}

pub(crate) fn lease(shard: &str) -> LeaseRow {
    LeaseRow::new(format!("orders@1700000000123#{shard}").parse().unwrap(), Position::TrimHorizon)
}

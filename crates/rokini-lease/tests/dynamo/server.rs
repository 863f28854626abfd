//! An embedded DynamoDB on a loopback port, and clients for it.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use aws_types::region::Region;
use dynoxide::Database;
use rokini_lease::LeaseStore;
use rokini_lease::store::dynamo::DynamoStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

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

    /// A store on a table that exists.
    pub(crate) async fn store(&self) -> DynamoStore {
        let store = DynamoStore::new(&config(&self.address), "rokini").create_table(true);
        store.init().await.unwrap();
        store
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
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

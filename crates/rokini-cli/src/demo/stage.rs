//! What the demo plays on: a local Kinesis and an embedded DynamoDB, with real clients against them.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_smithy_http_client::Builder as HttpClient;
use rokini_lease::store::dynamo::DynamoStore;
use rokini_lease::{GroupId, LeaseStore, Listing, View};
use rokini_local::{LocalDynamo, LocalKinesis};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{CliError, Status};

pub(crate) const STREAM: &str = "demo";
pub(crate) const GROUP: &str = "demo";
pub(crate) const TABLE: &str = "rokini";
const REGION: &str = "us-east-1";
/// The endpoints take any credentials.
const CREDENTIAL: &str = "demo";
/// How often the table of leases is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The endpoints and clients.
#[derive(Debug)]
pub(crate) struct Stage {
    kinesis: LocalKinesis,
    dynamo: LocalDynamo,
    client: aws_sdk_kinesis::Client,
    store: DynamoStore,
    group: GroupId,
}

impl Stage {
    /// Starts both endpoints and creates the stream and the table.
    pub(crate) async fn open(shards: i32) -> Result<Self, CliError> {
        let failed =
            |what: &str, cause: &(dyn StdError + 'static)| CliError::new(Status::FAILED, what).because(cause);
        let kinesis = LocalKinesis::builder().start().await;
        let kinesis = kinesis.map_err(|error| failed("cannot start the local Kinesis", &error))?;
        let dynamo = LocalDynamo::in_memory().await;
        let dynamo = dynamo.map_err(|error| failed("cannot start the embedded DynamoDB", &error))?;

        let http = HttpClient::new().build_http();
        let credentials = Credentials::from_keys(CREDENTIAL, CREDENTIAL, None);
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(kinesis.endpoint_url())
            .region(Region::new(REGION))
            .credentials_provider(credentials.clone())
            .http_client(http.clone())
            .build();
        let client = aws_sdk_kinesis::Client::from_conf(config);
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(dynamo.endpoint_url())
            .region(Region::new(REGION))
            .credentials_provider(credentials)
            .http_client(http)
            .build();
        let store = DynamoStore::from_client(&aws_sdk_dynamodb::Client::from_conf(config), TABLE);
        let store = store.create_table(true);

        let create = client.create_stream().stream_name(STREAM).shard_count(shards);
        create.send().await.map_err(|error| failed("cannot create the stream", &error))?;
        store.init().await.map_err(|error| failed("cannot create the table", &error))?;
        let group = GroupId::new(GROUP).map_err(|error| failed("cannot name the group", &error))?;
        Ok(Self { kinesis, dynamo, client, store, group })
    }

    /// What a process needs to know to work here, and only here.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        // `/dev/null/` is no directory, so nothing is in it.
        let nowhere = || "/dev/null/none".to_owned();
        vec![
            ("AWS_ENDPOINT_URL_KINESIS", self.kinesis.endpoint_url()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamo.endpoint_url()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", CREDENTIAL.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", CREDENTIAL.to_owned()),
            ("AWS_CONFIG_FILE", nowhere()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    pub(crate) fn client(&self) -> &aws_sdk_kinesis::Client {
        &self.client
    }

    /// The group's rows as they are now.
    pub(crate) async fn leases(&self) -> Result<View, CliError> {
        let view = self.store.list(&self.group, Listing::All).await;
        view.map_err(|error| CliError::new(Status::FAILED, "cannot read the leases").because(&error))
    }

    /// Looks at the group's rows again and again until the guard is dropped.
    pub(crate) fn follow(&self) -> (watch::Receiver<Arc<View>>, DropGuard) {
        let (views, seen) = watch::channel(Arc::default());
        let stop = CancellationToken::new();
        let (store, group, token) = (self.store.clone(), self.group.clone(), stop.clone());
        tokio::spawn(token.run_until_cancelled_owned(async move {
            loop {
                // A look that fails is only an older picture on the screen.
                if let Ok(view) = store.list(&group, Listing::All).await {
                    views.send_replace(Arc::new(view));
                }
                tokio::time::sleep(LOOK).await;
            }
        }));
        (seen, stop.drop_guard())
    }

    /// Splits the first open shard in the middle of its range of hashes; returns its id.
    pub(crate) async fn split(&self) -> Result<String, CliError> {
        let failed = |cause: &(dyn StdError + 'static)| {
            CliError::new(Status::FAILED, "cannot split a shard").because(cause)
        };
        let shards =
            self.client.list_shards().stream_name(STREAM).send().await.map_err(|error| failed(&error))?;
        let open = shards.shards().iter().find(|shard| {
            shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
        });
        let range = open.and_then(|shard| {
            let range = shard.hash_key_range()?;
            let bound = |text: &str| text.parse::<u128>().ok();
            Some((shard.shard_id(), bound(range.starting_hash_key())?, bound(range.ending_hash_key())?))
        });
        let Some((shard, first, last)) = range else {
            return Err(CliError::new(Status::DEFECT, "the stream lists no open shard"));
        };
        let middle = first + (last - first) / 2 + 1;
        let split = self.client.split_shard().stream_name(STREAM).shard_to_split(shard);
        split.new_starting_hash_key(middle.to_string()).send().await.map_err(|error| failed(&error))?;
        Ok(shard.to_owned())
    }

    pub(crate) async fn close(self) {
        tokio::join!(self.kinesis.shutdown(), self.dynamo.shutdown());
    }
}

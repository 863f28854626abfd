//! What the demo runs on: a local Kinesis and an embedded DynamoDB, with real clients against them.

use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use rand::Rng;
use rokini_lease::DynamoStore;
use rokini_lease::{GroupId, GroupView, LeaseStore, Listing};
use rokini_local::{Database, Faults, LocalDynamo, LocalKinesis};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::chaos::{self, Chaos, OpenShard, Reshard};
use crate::error::{CliError, Status};

pub(crate) const STREAM: &str = "demo";
pub(crate) const GROUP: &str = "demo";
pub(crate) const TABLE: &str = "rokini";
const REGION: &str = "us-east-1";
/// The endpoints take any credentials; faults go by them.
const OWN_KEY: &str = "demo";
const WORKERS_KEY: &str = "worker";
/// How often the leases are read.
const READ_INTERVAL: Duration = Duration::from_millis(250);

/// The endpoints and clients.
#[derive(Debug)]
pub(crate) struct Environment {
    kinesis: LocalKinesis,
    dynamo: LocalDynamo,
    client: aws_sdk_kinesis::Client,
    store: DynamoStore,
    group: GroupId,
    dynamo_faults: Faults,
}

/// Calls of the workers to one service, and how many of them met a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Calls {
    pub(crate) calls: u64,
    pub(crate) faults: u64,
}

impl Environment {
    /// Starts both endpoints and creates the stream and the table. Only the workers meet faults: this process's own calls
    /// are how the run is measured.
    pub(crate) async fn open(shards: i32, chaos: Option<&Chaos>) -> Result<Self, CliError> {
        let failed =
            |what: &str, cause: &(dyn StdError + 'static)| CliError::new(Status::FAILED, what).because(cause);
        let kinesis = LocalKinesis::builder().start().await;
        let kinesis = kinesis.map_err(|error| failed("cannot start the local Kinesis", &error))?;
        let dynamo_faults = Faults::new(chaos.map_or(0, |chaos| chaos.seed));
        let dynamo = match Database::memory() {
            Ok(database) if chaos.is_some() => {
                LocalDynamo::with_faults(database, (Ipv4Addr::LOCALHOST, 0).into(), dynamo_faults.clone())
                    .await
            }
            _ => LocalDynamo::in_memory().await,
        };
        let dynamo = dynamo.map_err(|error| failed("cannot start the embedded DynamoDB", &error))?;
        if let Some(Chaos { faults: share, .. }) = chaos {
            for rule in chaos::kinesis_faults(*share, WORKERS_KEY) {
                kinesis.faults().add(rule);
            }
            for rule in chaos::dynamodb_faults(*share, WORKERS_KEY) {
                dynamo_faults.add(rule);
            }
        }

        let http = rokini::http_client().map_err(|error| failed("cannot make the HTTP client", &error))?;
        let credentials = Credentials::from_keys(OWN_KEY, OWN_KEY, None);
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
        Ok(Self { kinesis, dynamo, client, store, group, dynamo_faults })
    }

    /// What a process needs to know to work here, and only here.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        // `/dev/null/` is no directory, so nothing is in it.
        let nowhere = || "/dev/null/none".to_owned();
        vec![
            ("AWS_ENDPOINT_URL_KINESIS", self.kinesis.endpoint_url()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamo.endpoint_url()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", WORKERS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", WORKERS_KEY.to_owned()),
            ("AWS_CONFIG_FILE", nowhere()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    pub(crate) fn client(&self) -> &aws_sdk_kinesis::Client {
        &self.client
    }

    /// The group's rows as they are now.
    pub(crate) async fn leases(&self) -> Result<GroupView, CliError> {
        let view = self.store.list(&self.group, Listing::All).await;
        view.map_err(|error| CliError::new(Status::FAILED, "cannot read the leases").because(&error))
    }

    /// Reads the group's rows again and again until the guard is dropped.
    pub(crate) fn follow(&self) -> (watch::Receiver<Arc<GroupView>>, DropGuard) {
        let (views, seen) = watch::channel(Arc::default());
        let stop = CancellationToken::new();
        let (store, group, token) = (self.store.clone(), self.group.clone(), stop.clone());
        tokio::spawn(token.run_until_cancelled_owned(async move {
            loop {
                // If it fails, what is shown is a little older.
                if let Ok(view) = store.list(&group, Listing::All).await {
                    views.send_replace(Arc::new(view));
                }
                tokio::time::sleep(READ_INTERVAL).await;
            }
        }));
        (seen, stop.drop_guard())
    }

    /// The open shards of the stream, in the order of their ids.
    async fn open_shards(&self) -> Result<Vec<OpenShard>, CliError> {
        let failed = |cause: &(dyn StdError + 'static)| {
            CliError::new(Status::FAILED, "cannot list the shards").because(cause)
        };
        let mut open = Vec::new();
        let mut list = self.client.list_shards().stream_name(STREAM);
        loop {
            let page = list.send().await.map_err(|error| failed(&error))?;
            open.extend(page.shards().iter().filter_map(|shard| {
                let is_open = shard.sequence_number_range()?.ending_sequence_number().is_none();
                let (range, bound) = (shard.hash_key_range()?, |text: &str| text.parse().ok());
                let range = (bound(range.starting_hash_key())?, bound(range.ending_hash_key())?);
                is_open.then(|| OpenShard { id: shard.shard_id().to_owned(), range })
            }));
            match page.next_token {
                Some(token) => list = self.client.list_shards().next_token(token),
                None => return Ok(open),
            }
        }
    }

    /// Splits the first open shard in the middle of its range of hashes; returns its id.
    pub(crate) async fn split(&self) -> Result<String, CliError> {
        let Some(shard) = self.open_shards().await?.into_iter().next() else {
            return Err(CliError::new(Status::DEFECT, "the stream lists no open shard"));
        };
        let (first, last) = shard.range;
        let id = shard.id.clone();
        self.change(&Reshard::Split { shard: id.clone(), at: first + (last - first) / 2 + 1 }).await?;
        Ok(id)
    }

    /// Splits a shard or merges two at random, so that their number stays near `usual`.
    pub(crate) async fn reshard(
        &self,
        usual: usize,
        rng: &mut (impl Rng + Send),
    ) -> Result<Reshard, CliError> {
        let mut open = self.open_shards().await?;
        let Some(change) = chaos::reshard(&mut open, usual, rng) else {
            return Err(CliError::new(Status::DEFECT, "the stream lists no open shard"));
        };
        self.change(&change).await?;
        Ok(change)
    }

    async fn change(&self, change: &Reshard) -> Result<(), CliError> {
        let failed =
            |what, cause: &(dyn StdError + 'static)| CliError::new(Status::FAILED, what).because(cause);
        match change {
            Reshard::Split { shard, at } => {
                let split = self.client.split_shard().stream_name(STREAM).shard_to_split(shard);
                let split = split.new_starting_hash_key(at.to_string()).send().await;
                split.map_err(|error| failed("cannot split a shard", &error))?;
            }
            Reshard::Merge { shard, with } => {
                let merge = self.client.merge_shards().stream_name(STREAM).shard_to_merge(shard);
                let merge = merge.adjacent_shard_to_merge(with).send().await;
                merge.map_err(|error| failed("cannot merge two shards", &error))?;
            }
        }
        Ok(())
    }

    /// The calls of the workers: to Kinesis, and to DynamoDB.
    pub(crate) fn calls(&self) -> [Calls; 2] {
        [self.kinesis.faults(), &self.dynamo_faults].map(|faults| {
            let rules = faults.list();
            Calls {
                // The first rule sees every call.
                calls: rules.first().map_or(0, |rule| rule.matched),
                faults: rules.iter().map(|rule| rule.hits).sum(),
            }
        })
    }

    pub(crate) async fn close(self) {
        tokio::join!(self.kinesis.shutdown(), self.dynamo.shutdown());
    }
}

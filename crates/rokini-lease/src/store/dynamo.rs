//! The store on one DynamoDB table.

use std::num::NonZeroU16;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder};
use aws_types::SdkConfig;

use self::attributes::Partition;
use self::calls::{Calls, WorkerRange};
use self::conflict::Conflicts;
use self::failure::Place;
use self::layouts::Layouts;
use super::contract::LeaseStore;
use super::listing::{Listing, ListingPage, ListingQuery};
use crate::error::StoreError;
use crate::row::{GroupView, Row, RowKey};
use crate::store::billing_mode::BillingMode;
use crate::types::GroupId;
use crate::write::{RowOutcome, RowWrite};

mod attempts;
mod attributes;
mod calls;
mod conflict;
mod expression;
mod failure;
mod fields;
mod items;
mod layout;
mod layouts;
mod listings;
mod members;
pub(crate) mod repartition;
mod table;
mod transfer;

/// Leases in one DynamoDB table, for any number of groups.
///
/// The table has the partition key `group` and the sort key `row`, both strings, and no index. The data plane
/// needs `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem` and `Query`. [`LeaseStore::init`] checks the layout
/// with `DescribeTable` where that is allowed and by reading a row where it is not. A table is made
/// (`CreateTable`) only where [`DynamoStore::create_table`] asks for it.
///
/// Every call ends within the operation timeout; a listing within one operation timeout per page of 1 MB.
///
/// ```no_run
/// # async fn demo(aws: &aws_types::SdkConfig) -> Result<(), rokini_lease::StoreError> {
/// use rokini_lease::{DynamoStore, LeaseStore};
/// let store = DynamoStore::new(aws, "rokini").create_table(true);
/// store.init().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DynamoStore {
    calls: Calls,
    plan: table::Plan,
    layouts: Layouts,
}

impl DynamoStore {
    /// The default bound of one try, [`DynamoStore::timeouts`].
    pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
    /// The default bound of one call with its tries, [`DynamoStore::timeouts`].
    pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

    /// A store on `table`, with region, credentials, endpoint, retries and HTTP client of `aws`.
    #[must_use]
    pub fn new(aws: &SdkConfig, table: impl Into<String>) -> Self {
        let mut config = Builder::from(aws);
        if aws.behavior_version().is_none() {
            config = config.behavior_version(BehaviorVersion::v2026_01_12());
        }
        let mut store = Self::from_client(&Client::from_conf(config.build()), table);
        store.calls.place.endpoint = aws.endpoint_url().map(str::to_owned);
        store
    }

    /// A store on `table` through a client of your own. Its timeouts are replaced by this store's, and an initial
    /// back-off left at the SDK's default of 1 s by 50 ms.
    #[must_use]
    pub fn from_client(client: &Client, table: impl Into<String>) -> Self {
        let place = Place {
            table: table.into(),
            region: client.config().region().map(ToString::to_string),
            endpoint: None,
        };
        let config = client.config().to_builder().retry_config(retries(client)).retry_classifier(Conflicts);
        let client = Client::from_conf(config.build());
        let calls = Calls { client, place, bound: Self::OPERATION_TIMEOUT };
        let plan = table::Plan { create: false, billing: BillingMode::default(), check_group: None };
        Self { calls, plan, layouts: Layouts::default() }
            .timeouts(Self::ATTEMPT_TIMEOUT, Self::OPERATION_TIMEOUT)
    }

    /// Whether [`LeaseStore::init`] makes the table where it is missing. Default: no, because a table can cost
    /// money.
    #[must_use]
    pub fn create_table(mut self, create: bool) -> Self {
        self.plan.create = create;
        self
    }

    /// How a table that [`DynamoStore::create_table`] makes is paid for. Default:
    /// [`BillingMode::PayPerRequest`]. Without effect on a table that exists.
    #[must_use]
    pub fn billing_mode(mut self, billing: BillingMode) -> Self {
        self.plan.billing = billing;
        self
    }

    /// The group whose rows the check at [`LeaseStore::init`] reads where `DescribeTable` is not allowed.
    /// Needed only with credentials that are limited to the rows of one group (the IAM condition key
    /// `dynamodb:LeadingKeys`). Default: a group of no consumer.
    #[must_use]
    pub fn check_group(mut self, group: GroupId) -> Self {
        self.plan.check_group = Some(group);
        self
    }

    /// Spreads the leases of each group that begins over this many partition keys, `<group>#1.0` and on, and keeps its
    /// workers under `<group>#1.workers`, instead of everything under the group's name. For groups so large that one key
    /// would run hot: DynamoDB gives a key 1,000 write units and 3,000 read units a second, and positions, heartbeats and
    /// listings all go to it.
    ///
    /// Stored when a group begins: a store with another number is refused
    /// ([`StoreErrorKind::Configuration`](crate::StoreErrorKind)), one without a number takes the stored one.
    /// [`DynamoStore::repartition`] changes it while workers run; what is set here says nothing of the group afterwards.
    /// Default: none, so 1 for a new group. Credentials that are limited by `dynamodb:LeadingKeys` need `<group>`
    /// and `<group>#*`.
    #[must_use]
    pub fn partitions(mut self, count: NonZeroU16) -> Self {
        self.layouts = Layouts::wanted(count);
        self
    }

    /// Bounds one try and one call with all its tries. Defaults: 2 s and 5 s. Both belong well below the
    /// failover time: a heartbeat that hangs longer than that gets its worker declared dead.
    #[must_use]
    pub fn timeouts(mut self, attempt: Duration, operation: Duration) -> Self {
        let given = self.calls.client.config();
        let known = given.timeout_config().cloned().unwrap_or_else(|| TimeoutConfig::builder().build());
        let bounds = known.into_builder().operation_attempt_timeout(attempt).operation_timeout(operation);
        let config = given.to_builder().timeout_config(bounds.build()).build();
        self.calls.client = Client::from_conf(config);
        self.calls.bound = operation;
        self
    }

    /// The groups that have rows in the table. Needs `Scan`, which workers do not, and reads the whole table.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn groups(&self) -> Result<Vec<GroupId>, StoreError> {
        Ok(self.calls.groups().await?.into_iter().collect())
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.calls.place.table
    }
}

/// The client's own retries, but soon: the SDK's default waits up to 1 s before the first of them, as long as a
/// whole heartbeat, and up to 20 s before later ones. DynamoDB's SDKs begin at 25 ms to 50 ms by tradition.
fn retries(client: &Client) -> RetryConfig {
    let standard = RetryConfig::standard();
    let given = client.config().retry_config().cloned().unwrap_or_else(|| standard.clone());
    if given.initial_backoff() != standard.initial_backoff() {
        return given;
    }
    given.with_initial_backoff(Duration::from_millis(50)).with_max_backoff(Duration::from_secs(1))
}

#[async_trait]
impl LeaseStore for DynamoStore {
    async fn init(&self) -> Result<(), StoreError> {
        table::prepare(&self.calls, &self.plan).await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        match listing {
            Listing::All => self.list_all(group).await,
            Listing::Workers => self.list_workers(group, &WorkerRange::default(), false).await,
            Listing::WorkersNow => self.list_workers(group, &WorkerRange::default(), true).await,
        }
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        match part {
            ListingQuery::Workers { after, until } => {
                let range = WorkerRange { after: after.clone(), until: until.clone() };
                let view = self.list_workers(group, &range, false).await?;
                Ok(ListingPage { view, next: None })
            }
            ListingQuery::Page { from, rows } => self.page(group, from.as_ref(), *rows).await,
        }
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        match key {
            RowKey::Worker(_) | RowKey::Lease(_) => self.read_member(group, &key.to_string()).await,
            RowKey::Stream(_) | RowKey::Group => self.calls.get(&group.into(), &key.to_string()).await,
        }
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        let (key, base) = (write.key(), Partition::from(group));
        if let RowKey::Worker(_) | RowKey::Lease(_) = key {
            return match write {
                RowWrite::Insert(row) => self.insert_member(group, row, write).await,
                _ => self.write_member(group, write).await,
            };
        }
        match write {
            RowWrite::UpdateGroup(update) => Ok(self.calls.update_group(&base, update).await?.into()),
            RowWrite::UpdateStream(_, update) => {
                self.calls.update(&base, write, expression::stream(update)).await
            }
            RowWrite::Insert(row) => {
                // Whoever begins a group fixes how it is spread.
                self.layouts.layout(&self.calls, group).await?;
                let mine = |current: &Row| write.took_effect(Some(current));
                Ok(self.calls.insert(&base, row, mine).await?.into())
            }
            _ => {
                self.calls.delete::<Row>(&base, key.to_string()).await?;
                if key == RowKey::Group {
                    self.delete_layout(group).await?;
                }
                Ok(RowOutcome::Deleted)
            }
        }
    }
}

/// The size of a row's item by the rules of DynamoDB.
#[cfg(test)]
pub(super) fn item_size(group: &GroupId, row: &impl items::StoredRow) -> u64 {
    use aws_sdk_dynamodb::types::AttributeValue;
    fn size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(number) => number.trim_end_matches('0').len().max(1).div_ceil(2) + 1,
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::Bool(_) => 1,
            AttributeValue::Ss(set) => 3 + set.iter().map(String::len).sum::<usize>(),
            AttributeValue::L(list) => 3 + list.iter().map(|member| 1 + size(member)).sum::<usize>(),
            AttributeValue::M(map) => {
                3 + map.iter().map(|(name, member)| 1 + name.len() + size(member)).sum::<usize>()
            }
            other => panic!("a type that no row uses: {other:?}"),
        }
    }
    row.item(&group.into()).iter().map(|(name, value)| name.len() + size(value)).sum::<usize>() as u64
}

//! The store on one DynamoDB table.

use std::num::NonZeroU16;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder};
use aws_types::SdkConfig;
use futures::stream::{self, StreamExt, TryStreamExt};

use self::attributes::{LAYOUT_ROW, Partition};
use self::calls::Calls;
use self::failure::Place;
use self::items::LayoutRow;
use self::partition::Partitions;
use super::contract::LeaseStore;
use super::listing::{Listing, ListingPage, ListingQuery};
use crate::error::StoreError;
use crate::row::{GroupView, Row, RowKey};
use crate::store::billing_mode::BillingMode;
use crate::types::{GroupId, PageToken};
use crate::write::{RowOutcome, RowWrite};

mod attempts;
mod attributes;
mod calls;
mod expression;
mod failure;
mod fields;
mod items;
mod partition;
mod table;

/// Partition keys of one group that are listed at once.
const LISTINGS_AT_ONCE: usize = 8;

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
    partitions: Partitions,
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
        let client = Client::from_conf(client.config().to_builder().retry_config(retries(client)).build());
        let calls = Calls { client, place, bound: Self::OPERATION_TIMEOUT };
        let plan = table::Plan { create: false, billing: BillingMode::default(), check_group: None };
        Self { calls, plan, partitions: Partitions::default() }
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

    /// Spreads the workers and leases of each group over this many partition keys, `<group>#0` and on, instead of
    /// the one of the group's name. For groups so large that one key would run hot: DynamoDB gives a key 1,000 write
    /// units and 3,000 read units a second, and positions, heartbeats and looks at other workers' rows all go to it.
    ///
    /// Fixed when a group begins, and stored: a store with another number is refused
    /// ([`StoreErrorKind::Configuration`](crate::StoreErrorKind)), one without a number takes the stored one.
    /// Default: none, so 1 for a new group. Credentials that are limited by `dynamodb:LeadingKeys` need `<group>`
    /// and `<group>#*`.
    #[must_use]
    pub fn partitions(mut self, count: NonZeroU16) -> Self {
        self.partitions = Partitions::wanted(count);
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
        let whole = listing == Listing::All;
        let mut others = match whole {
            true => self.partitions.all_but_shown(&self.calls, group).await?,
            false => self.partitions.all(&self.calls, group).await?,
        };
        let mut view = GroupView::default();
        if whole || others.is_empty() {
            let (base, layout) = self.calls.list(&group.into(), listing).await?;
            view = base;
            if whole && self.partitions.found(&self.calls, group, layout.map(|row| row.partitions))? {
                others = self.partitions.all(&self.calls, group).await?;
            }
        }
        let parts = stream::iter(others).map(|part| async move { self.calls.list(&part, listing).await });
        let parts: Vec<_> = parts.buffer_unordered(LISTINGS_AT_ONCE).try_collect().await?;
        for (part, _) in parts {
            view.workers.extend(part.workers);
            view.leases.extend(part.leases);
            view.unreadable.extend(part.unreadable);
        }
        view.sort();
        Ok(view)
    }

    async fn list_part(&self, group: &GroupId, part: &ListingQuery) -> Result<ListingPage, StoreError> {
        match part {
            ListingQuery::Workers { after, until } => {
                let mut parts = self.partitions.all(&self.calls, group).await?;
                if parts.is_empty() {
                    parts.push(group.into());
                }
                let read = |part: Partition| async move {
                    self.calls.list_workers(&part, after.as_ref(), until.as_ref()).await
                };
                let parts = stream::iter(parts).map(read).buffer_unordered(LISTINGS_AT_ONCE);
                let mut view = GroupView::default();
                parts.try_collect::<Vec<_>>().await?.into_iter().for_each(|part| view.append(part));
                view.sort();
                Ok(ListingPage { view, next: None })
            }
            ListingQuery::Page { from, rows } => self.page(group, from.as_ref(), *rows).await,
        }
    }

    async fn read(&self, group: &GroupId, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.calls.get(&self.partition(group, key).await?, &key.to_string()).await
    }

    async fn write(&self, group: &GroupId, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        let key = write.key();
        match write {
            RowWrite::Insert(row) => self.insert(group, row, write).await,
            RowWrite::UpdateGroup(update) => Ok(self.calls.update_group(&group.into(), update).await?.into()),
            RowWrite::UpdateLease(_, update) => {
                let part = self.partition(group, &key).await?;
                self.calls.update(&part, write, expression::lease(update)).await
            }
            RowWrite::UpdateStream(_, update) => {
                self.calls.update(&group.into(), write, expression::stream(update)).await
            }
            RowWrite::UpdateWorker(_, update) => {
                let part = self.partition(group, &key).await?;
                self.calls.update(&part, write, expression::worker(update)).await
            }
            RowWrite::DeleteLease(_, seen) => {
                let part = self.partition(group, &key).await?;
                self.calls.delete_lease(&part, key.to_string(), *seen).await
            }
            RowWrite::Delete(key) => {
                let part = self.partition(group, key).await?;
                self.calls.delete::<Row>(&part, key.to_string()).await?;
                if *key == RowKey::Group {
                    self.delete_layout(group).await?;
                }
                Ok(RowOutcome::Deleted)
            }
        }
    }
}

impl DynamoStore {
    /// The partition key that a row is under.
    async fn partition(&self, group: &GroupId, key: &RowKey) -> Result<Partition, StoreError> {
        match key {
            RowKey::Worker(_) | RowKey::Lease(_) => {
                self.partitions.of(&self.calls, group, &key.to_string()).await
            }
            RowKey::Stream(_) | RowKey::Group => Ok(group.into()),
        }
    }

    /// A page of one partition after the other: first what is under the group's name, then what is spread. A token is the
    /// partition's number and the last row read.
    async fn page(
        &self,
        group: &GroupId,
        from: Option<&PageToken>,
        rows: u32,
    ) -> Result<ListingPage, StoreError> {
        let (number, after) = from.and_then(|from| from.as_str().split_once(' ')).unwrap_or(("0", ""));
        let number: usize = number.parse().unwrap_or(0);
        let spread = match number {
            0 => self.partitions.all_but_shown(&self.calls, group).await?,
            _ => self.partitions.all(&self.calls, group).await?,
        };
        let partition = match number.checked_sub(1) {
            None => group.into(),
            Some(number) => match spread.into_iter().nth(number) {
                Some(partition) => partition,
                None => return Ok(ListingPage::default()),
            },
        };
        let page = self.calls.page(&partition, after, rows).await?;
        let last = page.last.map(|last| PageToken::new(format!("{number} {last}")));
        let next = match last {
            Some(last) => Some(last),
            None => {
                if number == 0 {
                    self.partitions.found(&self.calls, group, page.layout.map(|row| row.partitions))?;
                }
                let count = self.partitions.all(&self.calls, group).await?.len();
                (number < count).then(|| PageToken::new(format!("{} ", number + 1)))
            }
        };
        Ok(ListingPage { view: page.view, next })
    }

    async fn insert(&self, group: &GroupId, row: &Row, write: &RowWrite) -> Result<RowOutcome, StoreError> {
        let key = row.key();
        if let RowKey::Stream(_) = key {
            // Whoever begins a group fixes how it is spread.
            self.partitions.all(&self.calls, group).await?;
        }
        let mine = |current: &Row| write.took_effect(Some(current));
        let part = self.partition(group, &key).await?;
        let outcome = self.calls.insert(&part, row, mine).await?;
        if !matches!(key, RowKey::Worker(_)) {
            return Ok(outcome.into());
        }
        match self.partitions.look_after_insert(&self.calls, group).await {
            Ok(false) => Ok(outcome.into()),
            moved => {
                // It belongs under another key, or nowhere.
                if outcome.is_applied() {
                    self.calls.delete::<Row>(&part, key.to_string()).await?;
                }
                moved?;
                let part = self.partition(group, &key).await?;
                Ok(self.calls.insert(&part, row, mine).await?.into())
            }
        }
    }

    /// Removes the row that says how the group is spread.
    async fn delete_layout(&self, group: &GroupId) -> Result<(), StoreError> {
        // Only a group that says so here, or whose listing said so, has one.
        if !self.partitions.all(&self.calls, group).await?.is_empty() {
            self.calls.delete::<LayoutRow>(&group.into(), LAYOUT_ROW.to_owned()).await?;
        }
        self.partitions.forget(group);
        Ok(())
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

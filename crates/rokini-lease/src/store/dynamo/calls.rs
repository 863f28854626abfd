//! One call of a data action each, with lost replies settled.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use tokio::time::{Instant, timeout_at};

use super::attempts::Attempts;
use super::attributes::{
    GROUP, GROUP_ROW, Item, LEASE_PREFIX, ORDERS, Partition, ROW, WORKER_PREFIX, is_forwarding, key, text,
};
use super::expression::{self, Expression};
use super::failure::Place;
use super::fields::Unreadable;
use super::items::{Listed, StoredRow};
use super::layout::LayoutRow;
use crate::error::{StoreError, StoreErrorKind};
use crate::row::{GroupRow, GroupView, ORDERS_LIMIT, Row, RowKey};
use crate::types::{Epoch, GroupId, WorkerId};
use crate::update::GroupUpdate;
use crate::write::{RowOutcome, RowWrite, WriteOutcome};

/// The data actions on one table.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) client: Client,
    pub(super) place: Place,
    /// Bounds a whole write, with the read that settles its lost reply.
    pub(super) bound: Duration,
}

/// What a conditional write came to, before lost replies are looked at.
enum Answer {
    /// Took effect; the item before.
    Done(Item),
    /// The condition did not hold; the item, from servers that return it.
    Refused(Option<Item>),
    Failed(StoreError),
}

macro_rules! answer {
    ($calls:ident, $action:literal, $error:ident, $result:expr) => {
        match $result {
            Ok(output) => Answer::Done(output.attributes.unwrap_or_default()),
            Err(error) => match error.as_service_error() {
                Some($error::ConditionalCheckFailedException(refused)) => {
                    Answer::Refused(refused.item.clone())
                }
                _ => Answer::Failed($calls.place.failure($action, error)),
            },
        }
    };
}

/// What a read of several rows of one partition showed.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) view: GroupView,
    pub(super) layout: Option<LayoutRow>,
    /// Whether forwarding rows were among them.
    pub(super) moved: bool,
    /// The last row read, where there are more.
    pub(super) last: Option<String>,
}

/// The workers with ids after one and up to another; `None` without a bound.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkerRange {
    pub(super) after: Option<WorkerId>,
    pub(super) until: Option<WorkerId>,
}

impl Part {
    /// The rows of a page. One broken row must not stop the group.
    fn of(items: &[Item]) -> Self {
        let (mut rows, mut unreadable, mut part) = (Vec::new(), Vec::new(), Self::default());
        for item in items {
            match Listed::read(item) {
                Ok(Listed::Row(row)) => rows.push(row),
                Ok(Listed::Layout(row)) => part.layout = Some(row),
                Ok(Listed::Forwarding) => part.moved = true,
                Ok(Listed::Other) => {}
                Err(error) => unreadable.push(error.into()),
            }
        }
        Self { view: GroupView { unreadable, ..rows.into_iter().collect() }, ..part }
    }

    fn append(&mut self, next: Self) {
        self.view.append(next.view);
        self.layout = next.layout.or(self.layout);
        self.moved |= next.moved;
    }
}

/// The row that was asked for went on to another key.
#[derive(Debug, thiserror::Error)]
#[error("row `{0}` went on to another partition key")]
struct Moved(String);

/// Whether a call met a forwarding row in place of the row.
pub(super) fn is_moved(error: &StoreError) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Moved>())
}

/// One write on its way.
struct Write {
    attempts: Attempts,
    deadline: Instant,
}

impl Calls {
    fn begin(&self) -> Write {
        Write { attempts: Attempts::default(), deadline: Instant::now() + self.bound }
    }

    /// Reads one row, consistently.
    pub(super) async fn get<R: StoredRow>(
        &self,
        group: &Partition,
        row: &str,
    ) -> Result<Option<R>, StoreError> {
        self.item(group, row).await?.as_ref().map(|item| self.read(item)).transpose()
    }

    /// Reads one row as it is stored, consistently.
    pub(super) async fn item(&self, group: &Partition, row: &str) -> Result<Option<Item>, StoreError> {
        let result = self
            .client
            .get_item()
            .table_name(&self.place.table)
            .set_key(Some(key(group, row)))
            .consistent_read(true)
            .send()
            .await;
        Ok(result.map_err(|error| self.place.failure("GetItem", error))?.item)
    }

    /// The groups that have rows, by reading the whole table.
    pub(super) async fn groups(&self) -> Result<BTreeSet<GroupId>, StoreError> {
        let mut groups = BTreeSet::new();
        let mut from: Option<Item> = None;
        loop {
            let scan = self
                .client
                .scan()
                .table_name(&self.place.table)
                .projection_expression("#group")
                .expression_attribute_names("#group", GROUP)
                .set_exclusive_start_key(from.take());
            let output = scan.send().await.map_err(|error| self.place.failure("Scan", error))?;
            let names = output.items().iter().filter_map(|item| item.get(GROUP)?.as_s().ok());
            // What is no name of a group was not written here.
            groups.extend(names.filter_map(|name| name.parse::<GroupId>().ok()));
            from = output.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(groups);
            }
        }
    }

    /// Lists the rows under a key, page after page to the end.
    pub(super) async fn list(&self, group: &Partition, consistent: bool) -> Result<Part, StoreError> {
        let query = self.query(group).key_condition_expression("#group = :group");
        self.every_page(query.consistent_read(consistent)).await
    }

    /// Lists the workers of a range.
    pub(super) async fn list_workers(
        &self,
        group: &Partition,
        range: &WorkerRange,
        consistent: bool,
    ) -> Result<Part, StoreError> {
        // `!` comes before all that a name may go on with; `$` comes after the `#` of the prefix.
        let key = |id: &WorkerId| RowKey::Worker(id.clone()).to_string();
        let first = range.after.as_ref().map_or_else(|| WORKER_PREFIX.to_owned(), |id| key(id) + "!");
        let last = range.until.as_ref().map_or_else(|| WORKER_PREFIX.replace('#', "$"), key);
        let query = self
            .query(group)
            .key_condition_expression("#group = :group AND #row BETWEEN :first AND :last")
            .expression_attribute_names("#row", ROW)
            .expression_attribute_values(":first", text(&first))
            .expression_attribute_values(":last", text(&last));
        self.every_page(query.consistent_read(consistent)).await
    }

    async fn every_page(&self, query: QueryFluentBuilder) -> Result<Part, StoreError> {
        let mut all = Part::default();
        let mut from: Option<Item> = None;
        loop {
            let output = query.clone().set_exclusive_start_key(from.take()).send().await;
            let output = output.map_err(|error| self.place.failure("Query", error))?;
            all.append(Part::of(output.items()));
            from = output.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                all.view.sort();
                return Ok(all);
            }
        }
    }

    /// Reads about so many rows after this one, which need not exist; `""` for the first ones.
    pub(super) async fn page(
        &self,
        group: &Partition,
        after: &str,
        rows: u32,
        consistent: bool,
    ) -> Result<Part, StoreError> {
        let (items, last) = self.items(group, after, rows, consistent).await?;
        Ok(Part { last, ..Part::of(&items) })
    }

    /// The same as they are stored, and the last of them where there are more.
    pub(super) async fn items(
        &self,
        group: &Partition,
        after: &str,
        rows: u32,
        consistent: bool,
    ) -> Result<(Vec<Item>, Option<String>), StoreError> {
        let limit = i32::try_from(rows.max(1)).unwrap_or(i32::MAX);
        let query = self
            .query(group)
            .key_condition_expression("#group = :group")
            .limit(limit)
            .consistent_read(consistent)
            .set_exclusive_start_key((!after.is_empty()).then(|| key(group, after)));
        let output = query.send().await.map_err(|error| self.place.failure("Query", error))?;
        let last = output.last_evaluated_key.filter(|key| !key.is_empty());
        let last = last.and_then(|key| Some(key.get(ROW)?.as_s().ok()?.clone()));
        Ok((output.items.unwrap_or_default(), last))
    }

    fn query(&self, group: &Partition) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.place.table)
            .expression_attribute_names("#group", GROUP)
            .expression_attribute_values(":group", text(group))
    }

    /// Whether there is a worker or lease under this key, by consistent reads.
    pub(super) async fn has_members(&self, group: &Partition) -> Result<bool, StoreError> {
        for prefix in [WORKER_PREFIX, LEASE_PREFIX] {
            let result = self
                .client
                .query()
                .table_name(&self.place.table)
                .key_condition_expression("#group = :group AND begins_with(#row, :prefix)")
                .expression_attribute_names("#group", GROUP)
                .expression_attribute_names("#row", ROW)
                .expression_attribute_values(":group", text(group))
                .expression_attribute_values(":prefix", text(prefix))
                .consistent_read(true)
                .limit(1)
                .send()
                .await;
            let output = result.map_err(|error| self.place.failure("Query", error))?;
            if !output.items().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts a row that does not exist yet. `mine` says whether a row is what this insert left behind.
    pub(super) async fn insert<R: StoredRow>(
        &self,
        group: &Partition,
        row: &R,
        mine: impl Fn(&R) -> bool + Send + Sync,
    ) -> Result<WriteOutcome<R>, StoreError> {
        let write = self.begin();
        let condition = expression::absent();
        let result = self
            .client
            .put_item()
            .table_name(&self.place.table)
            .set_item(Some(row.item(group)))
            .condition_expression(condition.condition())
            .set_expression_attribute_names(Some(condition.names))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(write.attempts.clone())
            .send()
            .await;
        let key = row.sort_key();
        match answer!(self, "PutItem", PutItemError, result) {
            Answer::Done(_) => Ok(WriteOutcome::Applied { before: None, after: row.clone() }),
            Answer::Refused(item) => self.refused(&write, group, &key, item, mine).await,
            Answer::Failed(error) if write.attempts.uncertain() => {
                match self.settle(&write, group, &key, error).await? {
                    (Some(current), _) if mine(&current) => {
                        Ok(WriteOutcome::Applied { before: None, after: current })
                    }
                    (Some(current), _) => Ok(WriteOutcome::Refused { current: Some(current) }),
                    // It may still arrive.
                    (None, error) => Err(error),
                }
            }
            Answer::Failed(error) => Err(error),
        }
    }

    /// Changes a row under the update's condition, which `change` says in the words of DynamoDB.
    pub(super) async fn update(
        &self,
        group: &Partition,
        update: &RowWrite,
        change: Expression,
    ) -> Result<RowOutcome, StoreError> {
        let row = update.key().to_string();
        let took_effect = |row: &Row| update.took_effect(Some(row));
        let write = self.begin();
        let result = self
            .client
            .update_item()
            .table_name(&self.place.table)
            .set_key(Some(key(group, &row)))
            .update_expression(change.update())
            .condition_expression(change.condition())
            .set_expression_attribute_names(Some(change.names))
            .set_expression_attribute_values((!change.values.is_empty()).then_some(change.values))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(write.attempts.clone())
            .send()
            .await;
        match answer!(self, "UpdateItem", UpdateItemError, result) {
            Answer::Done(item) => {
                let before: Row = self.read(&item).map_err(|error| error.may_have_applied(true))?;
                let RowOutcome::Stored { after, .. } = update.apply(Some(&before)) else {
                    return Err(self.contradiction(&row));
                };
                // A write that may be made twice found its own first try.
                let own = write.attempts.uncertain() && took_effect(&before);
                Ok(RowOutcome::Stored { before: (!own).then_some(before), after })
            }
            Answer::Refused(item) => Ok(self.refused(&write, group, &row, item, took_effect).await?.into()),
            Answer::Failed(error) if write.attempts.uncertain() => {
                match self.settle::<Row>(&write, group, &row, error).await? {
                    (Some(current), _) if took_effect(&current) => {
                        Ok(RowOutcome::Stored { before: None, after: current })
                    }
                    // The condition still holds: the write may still arrive.
                    (Some(current), error)
                        if matches!(update.apply(Some(&current)), RowOutcome::Stored { .. }) =>
                    {
                        Err(error)
                    }
                    (current, _) => Ok(RowOutcome::Refused { current }),
                }
            }
            Answer::Failed(error) => Err(error),
        }
    }

    /// Changes the group's own row under the update's condition, and makes it where there is none.
    pub(super) async fn update_group(
        &self,
        group: &Partition,
        update: &GroupUpdate,
    ) -> Result<WriteOutcome<GroupRow>, StoreError> {
        let change = expression::group(update);
        let condition = change.condition();
        let write = self.begin();
        let result = self
            .client
            .update_item()
            .table_name(&self.place.table)
            .set_key(Some(key(group, GROUP_ROW)))
            .update_expression(change.update())
            .set_condition_expression((!condition.is_empty()).then_some(condition))
            .set_expression_attribute_names(Some(change.names))
            .set_expression_attribute_values((!change.values.is_empty()).then_some(change.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(write.attempts.clone())
            .send()
            .await;
        match answer!(self, "UpdateItem", UpdateItemError, result) {
            Answer::Done(item) => {
                self.forget_orders(group, &item).await;
                let after = self.read(&item).map_err(|error| error.may_have_applied(true))?;
                Ok(WriteOutcome::Applied { before: None, after })
            }
            Answer::Refused(item) => {
                self.refused(&write, group, GROUP_ROW, item, |row| update.took_effect(row)).await
            }
            Answer::Failed(error) => Err(error.may_have_applied(write.attempts.uncertain())),
        }
    }

    /// Removes the orders that are too many to be kept. Readers pass over them, so one that stays for now is no harm.
    async fn forget_orders(&self, group: &Partition, item: &Item) {
        let orders = item.get(ORDERS).and_then(|orders| orders.as_l().ok()).map_or(0, Vec::len);
        let Some(excess) = orders.checked_sub(ORDERS_LIMIT).filter(|excess| *excess > 0) else { return };
        let change = expression::forget(orders, excess);
        let forgotten = self
            .client
            .update_item()
            .table_name(&self.place.table)
            .set_key(Some(key(group, GROUP_ROW)))
            .update_expression(change.update())
            .condition_expression(change.condition())
            .set_expression_attribute_names(Some(change.names))
            .set_expression_attribute_values(Some(change.values))
            .send()
            .await;
        if let Err(error) = forgotten {
            tracing::debug!(%error, "old orders stay in the row of the group for now");
        }
    }

    /// Removes a row, whatever it says. Whether there was one, as far as is known.
    pub(super) async fn delete<R: StoredRow>(
        &self,
        group: &Partition,
        row: String,
    ) -> Result<bool, StoreError> {
        let write = self.begin();
        let condition = expression::not_forwarding();
        let result = self
            .client
            .delete_item()
            .table_name(&self.place.table)
            .set_key(Some(key(group, &row)))
            .condition_expression(condition.condition())
            .set_expression_attribute_names(Some(condition.names))
            .return_values(ReturnValue::AllOld)
            .customize()
            .interceptor(write.attempts.clone())
            .send()
            .await;
        match answer!(self, "DeleteItem", DeleteItemError, result) {
            // Where a first try may have removed it, that shows by its not being anywhere else either.
            Answer::Done(item) => Ok(!item.is_empty()),
            Answer::Refused(_) => Err(self.moved(&row)),
            Answer::Failed(error) if write.attempts.uncertain() => {
                match self.settle::<R>(&write, group, &row, error).await? {
                    (None, _) => Ok(false),
                    (Some(_), error) => Err(error),
                }
            }
            Answer::Failed(error) => Err(error),
        }
    }

    /// Removes a lease that still has this epoch. `None` where there is none.
    pub(super) async fn delete_lease(
        &self,
        group: &Partition,
        row: &str,
        seen: Epoch,
    ) -> Result<Option<RowOutcome>, StoreError> {
        let write = self.begin();
        let condition = expression::absent_or_at(seen);
        let result = self
            .client
            .delete_item()
            .table_name(&self.place.table)
            .set_key(Some(key(group, row)))
            .condition_expression(condition.condition())
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(write.attempts.clone())
            .send()
            .await;
        match answer!(self, "DeleteItem", DeleteItemError, result) {
            Answer::Done(item) if item.is_empty() => Ok(None),
            Answer::Done(_) => Ok(Some(RowOutcome::Deleted)),
            Answer::Refused(item) => {
                // A server that does not return the row refused it all the same.
                let item = match item.filter(|item| !item.is_empty()) {
                    Some(item) => Some(item),
                    None => self.item(group, row).await?,
                };
                if item.as_ref().is_some_and(is_forwarding) {
                    return Err(self.moved(row));
                }
                Ok(Some(RowOutcome::Refused { current: item.and_then(|item| Row::read(&item).ok()) }))
            }
            Answer::Failed(error) if write.attempts.uncertain() => {
                match self.settle::<Row>(&write, group, row, error).await? {
                    (None, _) => Ok(None),
                    (Some(Row::Lease(current)), error) if current.epoch == seen => Err(error),
                    (current, _) => Ok(Some(RowOutcome::Refused { current })),
                }
            }
            Answer::Failed(error) => Err(error),
        }
    }

    /// A refused write: this call's own first try may be what refused it.
    async fn refused<R: StoredRow>(
        &self,
        write: &Write,
        group: &Partition,
        row: &str,
        item: Option<Item>,
        took_effect: impl Fn(&R) -> bool + Send,
    ) -> Result<WriteOutcome<R>, StoreError> {
        let uncertain = write.attempts.uncertain();
        let current = match item.filter(|item| !item.is_empty()) {
            // What met a forwarding row may have been stored before the row went on.
            Some(item) => self.read(&item).map(Some),
            // No such row, or a server that does not return it.
            None => match timeout_at(write.deadline, self.get(group, row)).await {
                Ok(current) => current,
                Err(_) => Err(self.late(row)),
            },
        };
        match current.map_err(|error| error.may_have_applied(uncertain))? {
            Some(current) if uncertain && took_effect(&current) => {
                Ok(WriteOutcome::Applied { before: None, after: current })
            }
            current => Ok(WriteOutcome::Refused { current }),
        }
    }

    /// Reads the row back after a write that got no certain answer, within what is left of the call's time.
    /// Gives the error back, marked as ambiguous, for where the row does not settle it.
    async fn settle<R: StoredRow>(
        &self,
        write: &Write,
        group: &Partition,
        row: &str,
        error: StoreError,
    ) -> Result<(Option<R>, StoreError), StoreError> {
        let error = error.may_have_applied(true);
        match timeout_at(write.deadline, self.get(group, row)).await {
            Ok(Ok(current)) => {
                tracing::debug!(row, "settled a lost reply by reading the row back");
                Ok((current, error))
            }
            // What this call may have changed is to be looked for elsewhere.
            Ok(Err(moved)) if is_moved(&moved) => Err(moved.may_have_applied(true)),
            // The first error says more about what the caller tried.
            Ok(Err(_)) | Err(_) => Err(error),
        }
    }

    fn moved(&self, row: &str) -> StoreError {
        let message = format!("a row of {} went on to another partition key", self.place.table());
        StoreError::new(StoreErrorKind::Unavailable, message).with_source(Moved(row.to_owned()))
    }

    fn read<R: StoredRow>(&self, item: &Item) -> Result<R, StoreError> {
        if is_forwarding(item) {
            let row = item.get(ROW).and_then(|row| row.as_s().ok());
            return Err(self.moved(row.map_or("?", String::as_str)));
        }
        R::read(item).map_err(|unreadable| self.invalid(unreadable))
    }

    fn invalid(&self, unreadable: Unreadable) -> StoreError {
        let message = format!(
            "a row of {} cannot be read ({}): correct the attribute or delete the row",
            self.place.table(),
            self.place.location()
        );
        StoreError::new(StoreErrorKind::InvalidRow, message).with_source(unreadable)
    }

    fn contradiction(&self, row: &str) -> StoreError {
        let message = format!(
            "{} accepted a write of row `{row}` whose condition does not hold: the server does not keep \
             conditional writes",
            self.place.table()
        );
        StoreError::new(StoreErrorKind::InvalidRow, message).may_have_applied(true)
    }

    fn late(&self, row: &str) -> StoreError {
        let message = format!("no time was left to read row `{row}` of {} back", self.place.table());
        StoreError::new(StoreErrorKind::Unavailable, message)
    }
}

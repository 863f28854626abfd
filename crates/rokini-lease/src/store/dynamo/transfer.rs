//! Rows that go from one partition key to another: each in one transaction, in which a forwarding row takes its place.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use super::attempts::Attempts;
use super::attributes::{Item, MOVED, Partition, is_forwarding, key, text};
use super::calls::Calls;
use super::expression::{self, Expression};
use super::items::StoredRow;
use crate::error::{StoreError, StoreErrorKind};

/// How often a row is tried to be carried that is written meanwhile.
const TRIES: usize = 20;

/// What became of two writes in one transaction.
enum Transacted {
    Done,
    /// Whether the conditions of the first and of the second did not hold; neither where others write the same rows.
    Refused(bool, bool),
}

impl Calls {
    /// Takes a row from one place to another, unless it stands there already; a forwarding row stays. Whether this call
    /// did it.
    pub(super) async fn carry(
        &self,
        from: &Partition,
        to: &Partition,
        row: &str,
    ) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let Some(item) = self.item(from, row).await?.filter(|item| !is_forwarding(item)) else {
                return Ok(false);
            };
            let mut moved = item.clone();
            moved.extend(key(to, row));
            let unchanged = expression::unchanged(&item);
            let put = self.put(moved, expression::absent())?;
            match self.transact([put, self.forward(from, row, unchanged)?]).await? {
                Transacted::Done => return Ok(true),
                // What was put here by somebody who did not know where the row is.
                Transacted::Refused(true, false) => {
                    self.replace(forwarding(from, row), Some(&item)).await?;
                }
                Transacted::Refused(..) => {}
            }
        }
        Err(self.conflict("TransactWriteItems"))
    }

    /// Inserts a row, and a forwarding row at the place where it is not. `false` where one of both is there.
    pub(super) async fn insert_ahead<R: StoredRow>(
        &self,
        from: &Partition,
        to: &Partition,
        row: &R,
    ) -> Result<bool, StoreError> {
        let put = self.put(row.item(to), expression::absent())?;
        let forward = self.forward(from, &row.sort_key(), expression::absent())?;
        Ok(matches!(self.transact([put, forward]).await?, Transacted::Done))
    }

    /// Removes a forwarding row.
    pub(super) async fn clear(&self, place: &Partition, row: &str) -> Result<(), StoreError> {
        self.delete_where(place, row, expression::forwarding()).await.map(drop)
    }

    /// Removes a row that is still like this.
    pub(super) async fn delete_unchanged(&self, place: &Partition, item: &Item) -> Result<bool, StoreError> {
        let row = item.get(super::attributes::ROW).and_then(|row| row.as_s().ok());
        match row {
            Some(row) => self.delete_where(place, row, expression::unchanged(item)).await,
            None => Ok(false),
        }
    }

    /// Whether the condition held.
    async fn delete_where(
        &self,
        place: &Partition,
        row: &str,
        condition: Expression,
    ) -> Result<bool, StoreError> {
        let values = condition.values();
        let result = self
            .client
            .delete_item()
            .table_name(&self.place.table)
            .set_key(Some(key(place, row)))
            .condition_expression(condition.condition())
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(values)
            .send()
            .await;
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(self.place.failure("DeleteItem", error)),
        }
    }

    /// Stores an item in place of one that is still like this, or where there is none. Whether it could.
    pub(super) async fn replace(&self, item: Item, seen: Option<&Item>) -> Result<bool, StoreError> {
        let condition = seen.map_or_else(expression::absent, expression::unchanged);
        let values = condition.values();
        let result = self
            .client
            .put_item()
            .table_name(&self.place.table)
            .set_item(Some(item))
            .condition_expression(condition.condition())
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(values)
            .send()
            .await;
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(self.place.failure("PutItem", error)),
        }
    }

    fn forward(&self, place: &Partition, row: &str, condition: Expression) -> Result<Put, StoreError> {
        self.put(forwarding(place, row), condition)
    }

    fn put(&self, item: Item, condition: Expression) -> Result<Put, StoreError> {
        let values = condition.values();
        let put = Put::builder()
            .table_name(&self.place.table)
            .set_item(Some(item))
            .condition_expression(condition.condition())
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(values);
        put.build().map_err(|error| {
            StoreError::new(StoreErrorKind::Configuration, "cannot make a TransactWriteItems request")
                .with_source(error)
        })
    }

    async fn transact(&self, puts: [Put; 2]) -> Result<Transacted, StoreError> {
        let attempts = Attempts::default();
        let puts = puts.map(|put| TransactWriteItem::builder().put(put).build());
        // The SDK gives the call a token, so a try that is made twice takes effect once.
        let result = self
            .client
            .transact_write_items()
            .set_transact_items(Some(puts.into()))
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        let Err(error) = result else { return Ok(Transacted::Done) };
        let reasons = error.as_service_error().and_then(|error| match error {
            aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
                cancelled,
            ) => Some(cancelled.cancellation_reasons()),
            _ => None,
        });
        let Some(reasons) = reasons else {
            let uncertain = attempts.uncertain();
            return Err(self.place.failure("TransactWriteItems", error).may_have_applied(uncertain));
        };
        let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason.code()).collect();
        let refused = |n: usize| codes.get(n) == Some(&"ConditionalCheckFailed");
        let known = |code: &str| matches!(code, "None" | "ConditionalCheckFailed" | "TransactionConflict");
        if let Some(other) = codes.iter().find(|code| !known(code)) {
            let kind = match *other {
                "ThrottlingError" | "ProvisionedThroughputExceeded" => StoreErrorKind::Throttled,
                _ => StoreErrorKind::Configuration,
            };
            let (table, location) = (self.place.table(), self.place.location());
            let message = format!("DynamoDB refused TransactWriteItems on {table} ({location}): {other}");
            return Err(StoreError::new(kind, message).with_source(error));
        }
        Ok(Transacted::Refused(refused(0), refused(1)))
    }

    /// Others wrote the same rows, each time it was tried.
    pub(super) fn conflict(&self, action: &str) -> StoreError {
        let message = format!(
            "others write the same rows of {} while {action} is tried: try again in a moment",
            self.place.table()
        );
        StoreError::new(StoreErrorKind::Unavailable, message)
    }
}

/// What says that a row went on to the next generation of keys.
fn forwarding(place: &Partition, row: &str) -> Item {
    let mut item = key(place, row);
    item.insert(MOVED.to_owned(), text("to the keys that the row `layout` names"));
    item
}

//! The table: whether it is there, has the right layout, and, where asked for, making it.

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode as SdkBillingMode, KeySchemaElement, KeyType, ProvisionedThroughput,
    ScalarAttributeType, TableDescription, TableStatus,
};
use rokini_types::Backoff;
use tokio::time::{Instant, sleep};

use super::attributes::{GROUP, ROW, text};
use super::calls::Calls;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::billing_mode::BillingMode;
use crate::types::GroupId;

/// How long a table may take to become active. DynamoDB needs seconds as a rule, and documents no bound.
const CREATION: Duration = Duration::from_secs(120);
/// The pauses between two looks at a table that is being made.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));

/// What is to be done about a missing table, and how it is checked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) create: bool,
    pub(super) billing: BillingMode,
    pub(super) check_group: Option<GroupId>,
}

/// What a look at the table found.
#[derive(Debug, PartialEq)]
enum Found {
    Missing,
    /// Not yet usable; its status.
    Pending(String),
    Ready,
}

/// Checks the table, and makes it where that is planned.
pub(super) async fn prepare(calls: &Calls, plan: &Plan) -> Result<(), StoreError> {
    let (mut created, mut looks) = (false, 0_u32);
    let deadline = Instant::now() + CREATION;
    loop {
        let status = match look(calls, plan).await? {
            Found::Ready => return Ok(()),
            Found::Missing if !plan.create => return Err(calls.place.missing_table()),
            Found::Missing if !created => {
                create(calls, plan.billing).await?;
                created = true;
                "CREATING".to_owned()
            }
            // A look right after the creation may not see the table yet.
            Found::Missing => "CREATING".to_owned(),
            Found::Pending(status) => status,
        };
        if Instant::now() >= deadline {
            let message = format!(
                "{} is still {status} after {} s ({}): wait for it to become ACTIVE, then start again",
                calls.place.table(),
                CREATION.as_secs(),
                calls.place.location()
            );
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        tracing::info!(table = calls.place.table, status, "waiting for the lease table to become ACTIVE");
        looks += 1;
        sleep(PAUSE.delay(looks)).await;
    }
}

async fn look(calls: &Calls, plan: &Plan) -> Result<Found, StoreError> {
    let result = calls.client.describe_table().table_name(&calls.place.table).send().await;
    match result.map_err(|error| calls.place.failure("DescribeTable", error)) {
        Ok(output) => {
            let Some(table) = output.table else { return Ok(Found::Missing) };
            judge(&table).map_err(|problem| problem.into_error(calls))
        }
        Err(error) if error.kind() == StoreErrorKind::MissingTable => Ok(Found::Missing),
        Err(error) if error.kind() == StoreErrorKind::Permission => {
            tracing::debug!(
                table = calls.place.table,
                "may not describe the lease table: reading a row instead"
            );
            touch(calls, plan.check_group.as_ref()).await
        }
        Err(error) => Err(error),
    }
}

/// Reads a row that need not exist: that needs the table, the key schema and the permission to read.
async fn touch(calls: &Calls, group: Option<&GroupId>) -> Result<Found, StoreError> {
    let group = group.map_or("rokini", GroupId::as_str);
    let result = calls
        .client
        .get_item()
        .table_name(&calls.place.table)
        .key(GROUP, text(group))
        .key(ROW, text("check"))
        .send()
        .await;
    let Err(error) = result else { return Ok(Found::Ready) };
    // The one thing that can be wrong with this request is the key.
    let key_refused = error.code() == Some("ValidationException");
    let error = calls.place.failure("GetItem", error);
    match error.kind() {
        StoreErrorKind::MissingTable => Ok(Found::Missing),
        _ if key_refused => {
            let found = "another primary key".to_owned();
            Err(Problem::Schema { found }.into_error(calls).with_source(error))
        }
        StoreErrorKind::Permission => {
            let message = format!(
                "{error}; credentials that are limited to the rows of one group need that group named with \
                 `check_group`"
            );
            Err(StoreError::new(StoreErrorKind::Permission, message).with_source(error))
        }
        _ => Err(error),
    }
}

async fn create(calls: &Calls, billing: BillingMode) -> Result<(), StoreError> {
    let attribute = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let unbuilt = |error: aws_sdk_dynamodb::error::BuildError| {
        StoreError::new(StoreErrorKind::Configuration, "cannot make a CreateTable request").with_source(error)
    };
    let request = calls
        .client
        .create_table()
        .table_name(&calls.place.table)
        .attribute_definitions(attribute(GROUP).map_err(unbuilt)?)
        .attribute_definitions(attribute(ROW).map_err(unbuilt)?)
        .key_schema(key(GROUP, KeyType::Hash).map_err(unbuilt)?)
        .key_schema(key(ROW, KeyType::Range).map_err(unbuilt)?);
    let request = match billing {
        BillingMode::PayPerRequest => request.billing_mode(SdkBillingMode::PayPerRequest),
        BillingMode::Provisioned { read_units, write_units } => {
            let units = |units: u32| i64::from(units);
            let throughput = ProvisionedThroughput::builder()
                .read_capacity_units(units(read_units))
                .write_capacity_units(units(write_units))
                .build()
                .map_err(unbuilt)?;
            request.billing_mode(SdkBillingMode::Provisioned).provisioned_throughput(throughput)
        }
    };
    tracing::info!(table = calls.place.table, ?billing, "making the lease table");
    match request.send().await {
        Ok(_) => Ok(()),
        // Another worker makes it.
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
        Err(error) => Err(calls.place.failure("CreateTable", error)),
    }
}

/// Why a table cannot be used.
#[derive(Debug, PartialEq)]
enum Problem {
    Schema { found: String },
    Status { found: String },
}

impl Problem {
    fn into_error(self, calls: &Calls) -> StoreError {
        let (table, location) = (calls.place.table(), calls.place.location());
        let (kind, message) = match self {
            Self::Schema { found } => (
                StoreErrorKind::InvalidSchema,
                format!(
                    "{table} ({location}) has {found}, expected partition key `group` (S) and sort key `row` (S): \
                     name another table, or delete this one if it is not in use"
                ),
            ),
            Self::Status { found } => (
                StoreErrorKind::Configuration,
                format!(
                    "{table} ({location}) has status {found}, expected ACTIVE: restore it or name another table"
                ),
            ),
        };
        StoreError::new(kind, message)
    }
}

/// Judges a table by its description.
fn judge(table: &TableDescription) -> Result<Found, Problem> {
    match table.table_status() {
        Some(TableStatus::Creating) => return Ok(Found::Pending("CREATING".to_owned())),
        Some(TableStatus::Active | TableStatus::Updating) | None => {}
        Some(other) => return Err(Problem::Status { found: other.as_str().to_owned() }),
    }
    let key = |kind: KeyType| {
        let element = table.key_schema().iter().find(|element| *element.key_type() == kind)?;
        let name = element.attribute_name();
        let definition = table.attribute_definitions().iter().find(|of| of.attribute_name() == name)?;
        Some((name, definition.attribute_type()))
    };
    let (partition, sort) = (key(KeyType::Hash), key(KeyType::Range));
    let string = &ScalarAttributeType::S;
    if partition == Some((GROUP, string)) && sort == Some((ROW, string)) {
        return Ok(Found::Ready);
    }
    let show = |what: &str, key: Option<(&str, &ScalarAttributeType)>| match key {
        Some((name, kind)) => format!("{what} `{name}` ({kind})"),
        None => format!("no {what}"),
    };
    Err(Problem::Schema {
        found: format!("{} and {}", show("partition key", partition), show("sort key", sort)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &[(&str, KeyType, ScalarAttributeType)]) -> TableDescription {
        keys.iter()
            .fold(TableDescription::builder(), |table, (name, key, kind)| {
                let attribute =
                    AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone());
                let element = KeySchemaElement::builder().attribute_name(*name).key_type(key.clone());
                table.attribute_definitions(attribute.build().unwrap()).key_schema(element.build().unwrap())
            })
            .table_status(TableStatus::Active)
            .build()
    }

    #[test]
    fn a_schema_is_judged_by_its_keys() {
        use KeyType::{Hash, Range};
        use ScalarAttributeType::{N, S};
        let cases: [(&[_], Option<&str>); 5] = [
            (&[("group", Hash, S), ("row", Range, S)], None),
            (&[("row", Range, S), ("group", Hash, S)], None),
            (&[("ShardID", Hash, S)], Some("partition key `ShardID` (S) and no sort key")),
            (
                &[("group", Hash, S), ("row", Range, N)],
                Some("partition key `group` (S) and sort key `row` (N)"),
            ),
            (
                &[("row", Hash, S), ("group", Range, S)],
                Some("partition key `row` (S) and sort key `group` (S)"),
            ),
        ];
        for (keys, problem) in cases {
            let expected = match problem {
                None => Ok(Found::Ready),
                Some(found) => Err(Problem::Schema { found: found.to_owned() }),
            };
            assert_eq!(judge(&table(keys)), expected);
        }
    }

    #[test]
    fn a_table_on_its_way_out_is_not_waited_for() {
        let status = |status| TableDescription::builder().table_status(status).build();
        assert_eq!(judge(&status(TableStatus::Creating)), Ok(Found::Pending("CREATING".to_owned())));
        assert_eq!(
            judge(&status(TableStatus::Deleting)),
            Err(Problem::Status { found: "DELETING".to_owned() })
        );
    }
}

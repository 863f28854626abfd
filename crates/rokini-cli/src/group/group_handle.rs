//! A group of a lease table: its rows as they were listed, and the part of it that a command is about.

use std::collections::BTreeSet;
use std::sync::Arc;

use rokini::lease::DynamoStore;
use rokini::lease::{
    GroupId, GroupView, LeaseKey, LeaseKeys, LeaseRow, LeaseStore, Listing, Operator, OperatorError, Scope,
    StreamId, StreamRow, WallClock,
};
use rokini::{ConfigKey, ConsumerConfig, StreamRef};

use crate::args::{ShardName, environment};
use crate::aws::{Aws, AwsArgs, Service};
use crate::error::{CliError, Status};
use crate::text::first_names;

/// Which table.
#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// The DynamoDB table of positions. Default: ROKINI_TABLE, or rokini
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    aws: AwsArgs,
}

/// Which group.
#[derive(Debug, clap::Args)]
pub(crate) struct GroupArgs {
    /// The group
    pub(crate) group: GroupId,
    #[command(flatten)]
    table: TableArgs,
}

/// Which shards.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ScopeArgs {
    /// Only the shards of this stream, by its name, id or ARN. A stream of another account needs its ARN
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<String>,
    /// Only this shard, by its id or its number; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<ShardName>,
}

/// Which group, and which shards of it.
#[derive(Debug, clap::Args)]
pub(crate) struct ScopedGroupArgs {
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    scope: ScopeArgs,
}

/// The DynamoDB table of positions.
#[derive(Debug)]
pub(crate) struct LeaseTable {
    pub(crate) aws: Aws,
    pub(crate) config: ConsumerConfig,
    pub(crate) store: Arc<DynamoStore>,
}

impl TableArgs {
    pub(crate) async fn open(&self) -> Result<LeaseTable, CliError> {
        let mut config = ConsumerConfig::from_env(environment())?;
        if let Some(table) = &self.table {
            config.set(ConfigKey::Table, table)?;
        }
        let aws = self.aws.load().await?;
        let store = Arc::new(DynamoStore::new(&aws.config, config.table.as_str()));
        Ok(LeaseTable { aws, config, store })
    }
}

impl LeaseTable {
    /// Adds the next step to an error of the store.
    pub(crate) fn explain(&self, error: rokini::lease::StoreError) -> CliError {
        self.aws.explain(error.into(), Service::DynamoDb)
    }

    pub(crate) async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, CliError> {
        self.store.list(group, listing).await.map_err(|error| self.explain(error))
    }
}

/// A group that exists.
#[derive(Debug)]
pub(crate) struct GroupHandle {
    pub(crate) table: LeaseTable,
    pub(crate) group: GroupId,
    pub(crate) view: GroupView,
    pub(crate) scope: ScopeArgs,
}

impl ScopedGroupArgs {
    /// # Errors
    /// As [`GroupArgs::open`].
    pub(crate) async fn open(&self) -> Result<GroupHandle, CliError> {
        Ok(GroupHandle { scope: self.scope.clone(), ..self.group.open().await? })
    }
}

impl GroupArgs {
    /// # Errors
    /// Where the table has no such group.
    pub(crate) async fn open(&self) -> Result<GroupHandle, CliError> {
        let table = self.table.open().await?;
        let group = self.group.clone();
        let view = table.list(&group, Listing::All).await?;
        if view == GroupView::default() {
            return Err(CliError::usage(format!(
                "table `{}` in region `{}` has no group `{group}`",
                table.config.table,
                table.aws.region()
            ))
            .next(format!(
                "check name, table and region (`rokini group list` shows the groups), or start a worker: `rokini run \
                 STREAM --group {group}` with your handler"
            )));
        }
        Ok(GroupHandle { table, group, view, scope: ScopeArgs::default() })
    }
}

impl GroupHandle {
    /// Lists the group anew.
    pub(crate) async fn refresh(&mut self) -> Result<(), CliError> {
        self.view = self.table.list(&self.group, Listing::All).await?;
        Ok(())
    }

    pub(crate) fn operator(&self) -> Operator {
        let store: Arc<dyn LeaseStore> = self.table.store.clone();
        Operator::new(store, self.group.clone(), WallClock::system()).failover(self.table.config.failover)
    }

    /// Over how many partition keys the leases are spread.
    pub(crate) async fn lease_keys(&self) -> Result<LeaseKeys, CliError> {
        self.table.store.lease_keys(&self.group).await.map_err(|error| self.table.explain(error))
    }

    /// The streams that are meant.
    pub(crate) fn streams(&self) -> Result<Vec<&StreamRow>, CliError> {
        let rows = &self.view.streams;
        let Some(wanted) = &self.scope.stream else { return Ok(rows.iter().collect()) };
        let named = wanted.parse::<StreamRef>().ok();
        let meant = |row: &&StreamRow| {
            row.id.as_str() == wanted || named.as_ref().is_some_and(|named| named.name() == row.name)
        };
        let found: Vec<_> = rows.iter().filter(meant).collect();
        if found.is_empty() {
            let known = first_names(rows.iter().map(|row| &row.name));
            return Err(CliError::usage(format!("group `{}` has no stream `{wanted}`", self.group))
                .next(format!("its streams are {known}")));
        }
        Ok(found)
    }

    /// How calls name a stream. Rows have only its name, and it may belong to another account; `--stream` and the setting
    /// `stream` may give its ARN.
    pub(crate) fn reference(&self, row: &StreamRow) -> Result<StreamRef, rokini::Error> {
        let named = self.scope.stream.as_ref().and_then(|text| text.parse::<StreamRef>().ok());
        let mut known = named.iter().chain(&self.table.config.streams);
        match known.find(|stream| stream.arn().is_some() && stream.name() == row.name) {
            Some(stream) => Ok(stream.clone()),
            None => row.name.parse(),
        }
    }

    /// The leases that are meant, in the order of their keys.
    pub(crate) fn leases(&self) -> Result<Vec<&LeaseRow>, CliError> {
        let streams: BTreeSet<&StreamId> = self.streams()?.into_iter().map(|row| &row.id).collect();
        let all: Vec<&LeaseRow> = match &self.scope.stream {
            Some(_) => self.view.leases.iter().filter(|row| streams.contains(&row.key.stream)).collect(),
            None => self.view.leases.iter().collect(),
        };
        if self.scope.shards.is_empty() {
            return Ok(all);
        }
        let mut found = BTreeSet::new();
        for wanted in &self.scope.shards {
            let mut named = all.iter().filter(|row| wanted.names(&row.key.shard)).map(|row| &row.key);
            match (named.next(), named.next()) {
                (Some(key), None) => _ = found.insert(key),
                (None, _) => {
                    let known = first_names(all.iter().map(|row| &row.key.shard));
                    return Err(CliError::usage(format!("group `{}` has no shard `{wanted}`", self.group))
                        .next(format!("its shards are {known}")));
                }
                (Some(_), Some(_)) => {
                    let known = first_names(self.view.streams.iter().map(|row| &row.name));
                    return Err(CliError::usage(format!(
                        "several streams of group `{}` have a shard `{wanted}`",
                        self.group
                    ))
                    .next(format!("say which stream by `--stream`: {known}")));
                }
            }
        }
        Ok(all.into_iter().filter(|row| found.contains(&row.key)).collect())
    }

    /// The leases that an order is about.
    pub(crate) fn order_scope(&self) -> Result<Scope, CliError> {
        if self.scope.stream.is_none() && self.scope.shards.is_empty() {
            return Ok(Scope::Group);
        }
        Ok(Scope::Leases(keys(&self.leases()?)))
    }

    /// The refusal of what needs a group without live workers.
    pub(crate) fn live_workers(&self, names: &str) -> CliError {
        CliError::new(Status::FAILED, format!("group `{}` has live workers: {names}", self.group))
            .next("stop them first; with `--force` they lose their leases and start anew")
    }

    /// Adds the next step to the refusal of an order.
    pub(crate) fn refusal(&self, error: OperatorError) -> CliError {
        let group = &self.group;
        match error {
            OperatorError::Store(error) => self.table.explain(error),
            OperatorError::Alive { workers, .. } => self.live_workers(&workers),
            OperatorError::Partly { order, written, of, source } => {
                let failed = self.refusal(*source);
                let mut error = CliError::new(
                    failed.status,
                    format!("order {order} changed {written} of {of} shards, then it failed"),
                );
                error.why = std::iter::once(failed.what).chain(failed.why).collect();
                error.next(format!(
                    "run the same command again to do the rest, or take back what is done: `rokini group undo {group} {order}`"
                ))
            }
            error @ OperatorError::Moving(_) => CliError::new(Status::UNAVAILABLE, error.to_string())
                .next("run the same command again: what it has done so far stays done"),
            error => CliError::usage(error.to_string())
                .next(format!("`rokini group show {group}` shows its shards")),
        }
    }
}

/// The keys of these leases.
pub(crate) fn keys(rows: &[&LeaseRow]) -> Vec<LeaseKey> {
    rows.iter().map(|row| row.key.clone()).collect()
}

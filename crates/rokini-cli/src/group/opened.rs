//! A group of a table, with its rows as they were listed, and the part of it that a command is about.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use rokini::lease::store::dynamo::DynamoStore;
use rokini::lease::{
    GroupId, LeaseKey, LeaseRow, LeaseStore, Listing, Operator, OperatorError, Scope, StreamId, StreamRow,
    View, WallClock,
};
use rokini::{ConfigKey, ConsumerConfig, StreamRef};

use crate::aws::{Aws, AwsArgs, Service};
use crate::error::{CliError, Status};

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

/// Which shards of it.
#[derive(Debug, clap::Args)]
pub(crate) struct ScopeArgs {
    /// Only the shards of this stream, by its name, id or ARN. The ARN is needed where the stream is
    /// another account's
    #[arg(long, value_name = "NAME or ARN")]
    pub(crate) stream: Option<String>,
    /// Only this shard, by its id or its number; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    pub(crate) shards: Vec<String>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) aws: Aws,
    pub(crate) config: ConsumerConfig,
    pub(crate) store: Arc<DynamoStore>,
}

impl TableArgs {
    pub(crate) async fn open(&self) -> Result<Table, CliError> {
        let mut config = ConsumerConfig::from_env(crate::environment())?;
        if let Some(table) = &self.table {
            config.set(ConfigKey::Table, table)?;
        }
        let aws = self.aws.load().await?;
        let store = Arc::new(DynamoStore::new(&aws.config, config.table.as_str()));
        Ok(Table { aws, config, store })
    }
}

impl Table {
    /// What a failure of the store means.
    pub(crate) fn failed(&self, error: rokini::lease::StoreError) -> CliError {
        self.aws.explain(error.into(), Service::DynamoDb)
    }

    pub(crate) async fn list(&self, group: &GroupId, listing: Listing) -> Result<View, CliError> {
        self.store.list(group, listing).await.map_err(|error| self.failed(error))
    }
}

/// A group that is there.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) table: Table,
    pub(crate) group: GroupId,
    pub(crate) view: View,
}

impl GroupArgs {
    /// # Errors
    /// Where the table has nothing of the group.
    pub(crate) async fn open(&self) -> Result<Opened, CliError> {
        let table = self.table.open().await?;
        let group = self.group.clone();
        let view = table.list(&group, Listing::All).await?;
        if view == View::default() {
            return Err(CliError::usage(format!(
                "table `{}` in region `{}` has nothing of group `{group}`",
                table.config.table,
                table.aws.region()
            ))
            .next(format!(
                "check name, table and region (`rokini group list` shows the groups), or start a member: `rokini \
                 consume STREAM --group {group}`"
            )));
        }
        Ok(Opened { table, group, view })
    }
}

impl Opened {
    pub(crate) fn operator(&self) -> Operator {
        let store: Arc<dyn LeaseStore> = self.table.store.clone();
        Operator::new(store, self.group.clone(), WallClock::system()).failover(self.table.config.failover)
    }

    /// The streams that are meant.
    pub(crate) fn streams(&self, scope: &ScopeArgs) -> Result<Vec<&StreamRow>, CliError> {
        let rows = &self.view.streams;
        let Some(wanted) = &scope.stream else { return Ok(rows.iter().collect()) };
        let named = wanted.parse::<StreamRef>().ok();
        let meant = |row: &&StreamRow| {
            row.id.as_str() == wanted || named.as_ref().is_some_and(|named| named.name() == row.name)
        };
        let found: Vec<_> = rows.iter().filter(meant).collect();
        if found.is_empty() {
            let known = listed(rows.iter().map(|row| &row.name));
            return Err(CliError::usage(format!(
                "group `{}` has not consumed a stream `{wanted}`",
                self.group
            ))
            .next(format!("its streams are {known}")));
        }
        Ok(found)
    }

    /// How to ask for a stream: rows have its bare name, which may be one of another account. `--stream` and the setting
    /// `stream` may have its ARN.
    pub(crate) fn reference(&self, scope: &ScopeArgs, row: &StreamRow) -> Result<StreamRef, rokini::Error> {
        let asked = scope.stream.as_ref().and_then(|text| text.parse::<StreamRef>().ok());
        let mut known = asked.iter().chain(&self.table.config.streams);
        match known.find(|named| named.arn().is_some() && named.name() == row.name) {
            Some(named) => Ok(named.clone()),
            None => row.name.parse(),
        }
    }

    /// The leases that are meant, in the order of their keys.
    pub(crate) fn leases(&self, scope: &ScopeArgs) -> Result<Vec<&LeaseRow>, CliError> {
        let streams: BTreeSet<&StreamId> = self.streams(scope)?.into_iter().map(|row| &row.id).collect();
        let all: Vec<&LeaseRow> = match &scope.stream {
            Some(_) => self.view.leases.iter().filter(|row| streams.contains(&row.key.stream)).collect(),
            None => self.view.leases.iter().collect(),
        };
        if scope.shards.is_empty() {
            return Ok(all);
        }
        let mut found = BTreeSet::new();
        for wanted in &scope.shards {
            let mut named =
                all.iter().filter(|row| names(wanted, row.key.shard.as_str())).map(|row| &row.key);
            match (named.next(), named.next()) {
                (Some(key), None) => _ = found.insert(key),
                (None, _) => {
                    let known = listed(all.iter().map(|row| &row.key.shard));
                    return Err(CliError::usage(format!("group `{}` has no shard `{wanted}`", self.group))
                        .next(format!("its shards are {known}")));
                }
                (Some(_), Some(_)) => {
                    let known = listed(self.view.streams.iter().map(|row| &row.name));
                    return Err(CliError::usage(format!(
                        "several streams of group `{}` have a shard `{wanted}`",
                        self.group
                    ))
                    .next(format!("name the stream by `--stream`: {known}")));
                }
            }
        }
        Ok(all.into_iter().filter(|row| found.contains(&row.key)).collect())
    }

    /// The same for an order.
    pub(crate) fn scope(&self, scope: &ScopeArgs) -> Result<Scope, CliError> {
        if scope.stream.is_none() && scope.shards.is_empty() {
            return Ok(Scope::Group);
        }
        Ok(Scope::Leases(keys(&self.leases(scope)?)))
    }

    /// What the refusal of an order means.
    pub(crate) fn refused(&self, error: OperatorError) -> CliError {
        let group = &self.group;
        match error {
            OperatorError::Store(error) => self.table.failed(error),
            OperatorError::Alive { workers, .. } => {
                CliError::new(Status::FAILED, format!("group `{group}` has live workers: {workers}"))
                    .next("stop them first, or `--force`: then they lose their leases and begin anew")
            }
            error @ OperatorError::Moving(_) => CliError::new(Status::UNAVAILABLE, error.to_string())
                .next("run the same command again: what it has done already stays"),
            error => CliError::usage(error.to_string()).next(format!("`rokini group show {group}`")),
        }
    }
}

pub(crate) fn keys(rows: &[&LeaseRow]) -> Vec<LeaseKey> {
    rows.iter().map(|row| row.key.clone()).collect()
}

/// `3` names `shardId-000000000003`.
fn names(wanted: &str, shard: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    wanted == shard
        || shard.strip_prefix("shardId-").and_then(number).is_some_and(|shard| number(wanted) == Some(shard))
}

/// The first of them.
fn listed(names: impl Iterator<Item = impl Display>) -> String {
    const SHOWN: usize = 10;
    let names: BTreeSet<String> = names.map(|name| name.to_string()).collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    match more {
        0 if shown.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_by_id_or_number() {
        let shard = "shardId-000000000003";
        for (wanted, meant) in [(shard, true), ("3", true), ("03", true), ("30", false), ("", false)] {
            assert_eq!(names(wanted, shard), meant, "{wanted}");
        }
        assert!(names("odd", "odd") && !names("0", "odd"));
    }

    #[test]
    fn lists_are_cut() {
        assert_eq!(listed((0..0).map(|n: u32| n)), "none");
        assert_eq!(listed([2, 1].iter()), "1, 2");
        assert!(listed(10..25).ends_with("19 and 5 more"));
    }
}

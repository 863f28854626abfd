//! Reads the table of another tool.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::item::{Attributes, Item};
use super::row::{OldItem, OldRow};
use super::tool::Tool;
use crate::aws::{Aws, Service};
use crate::error::{CliError, Status};

/// What a table holds.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) rows: Vec<OldRow>,
    /// Items that are not as the tool writes them, and why.
    pub(super) foreign: Vec<String>,
    /// Items of the tool that have no position.
    pub(super) others: usize,
    /// The names of all attributes.
    attributes: BTreeSet<String>,
}

impl Scanned {
    /// Refuses a table of another tool.
    pub(super) fn check(&self, tool: Tool, table: &str) -> Result<(), CliError> {
        if let Some(other) = tool.mistaken(&self.attributes) {
            let error = CliError::usage(format!("table `{table}` has rows that are none of {}", tool.name()));
            return Err(match other.mistaken(&self.attributes) {
                Some(_) => error.next("it has rows of several tools: name a table of one alone"),
                None => error.next(format!("it looks like one of {0}: `--from {0}`", other.name())),
            });
        }
        if !self.rows.is_empty() {
            return Ok(());
        }
        if self.attributes.is_empty() {
            return Err(CliError::usage(format!("table `{table}` is empty"))
                .next("check its name and region; kinsumer's is `APPLICATION_checkpoints`"));
        }
        let other = self.looks_like();
        let why = self.foreign.first().cloned().unwrap_or_else(|| "no row has a position".to_owned());
        let error =
            CliError::usage(format!("table `{table}` has no positions of {}", tool.name())).reason(why);
        Err(match other.filter(|other| *other != tool) {
            Some(other) => error.next(format!("it looks like one of {0}: `--from {0}`", other.name())),
            None => {
                let names = self.attributes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                error.next(format!("its attributes are {names}: name the table with the positions"))
            }
        })
    }
}

impl Scanned {
    /// The tool that has rows such as these.
    pub(super) fn looks_like(&self) -> Option<Tool> {
        let has = |name: &&str| self.attributes.contains(*name);
        Tool::ALL.into_iter().find(|tool| tool.attributes().iter().all(has))
    }
}

/// Reads all of it, consistently: a position that is read too early would repeat records.
pub(super) async fn scan(client: &Client, table: &str, tool: Tool, aws: &Aws) -> Result<Scanned, CliError> {
    let mut items = client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
    let mut scanned = Scanned::default();
    while let Some(item) = items.next().await {
        let item = item.map_err(|error| explain(error, "dynamodb:Scan", table, aws))?;
        scanned.attributes.extend(item.keys().cloned());
        match tool.read(&item) {
            OldItem::Shard(row) => scanned.rows.push(*row),
            OldItem::Other => scanned.others += 1,
            OldItem::Foreign(why) => scanned.foreign.push(of_row(&item, tool, &why)),
        }
    }
    Ok(scanned)
}

/// What is wrong with a row, with the row's key.
fn of_row(item: &Item, tool: Tool, why: &str) -> String {
    let key: Vec<String> = tool
        .key()
        .iter()
        .filter_map(|name| Some(format!("`{name}` = `{}`", Attributes(item).text(name)?)))
        .collect();
    if key.is_empty() { why.to_owned() } else { format!("the row {}: {why}", key.join(", ")) }
}

/// What a failed call means to people.
pub(super) fn explain<E>(error: SdkError<E, HttpResponse>, action: &str, table: &str, aws: &Aws) -> CliError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let (kind, what) = match code.as_str() {
        "ResourceNotFoundException" => {
            (rokini::ErrorKind::Configuration, format!("table `{table}` does not exist"))
        }
        "AccessDeniedException" | "UnrecognizedClientException" | "InvalidSignatureException" => {
            (rokini::ErrorKind::Permission, format!("{action} on table `{table}` is not allowed"))
        }
        "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded" => {
            (rokini::ErrorKind::Throttled, format!("{action} on table `{table}` is throttled"))
        }
        _ if matches!(error, SdkError::ServiceError(_)) => {
            return CliError::new(Status::FAILED, format!("{action} on table `{table}` failed"))
                .because(&error);
        }
        _ => (rokini::ErrorKind::Retry, format!("no answer to {action} on table `{table}`")),
    };
    let error = rokini::Error::new(kind, what).with_source(error);
    aws.explain(error, Service::DynamoDb)
}

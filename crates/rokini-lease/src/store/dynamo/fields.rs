//! Reads the attributes of items, and says which one of which row cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use super::attributes::{Item, MAILBOX, ROW};
use crate::row::{UnreadableRow, WorkerNotification};

/// A stored row that this version cannot read.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("attribute `{attribute}` of row `{row}` is {found}: {problem}")]
pub(crate) struct Unreadable {
    row: String,
    attribute: &'static str,
    found: String,
    problem: String,
}

impl From<Unreadable> for UnreadableRow {
    fn from(unreadable: Unreadable) -> Self {
        let Unreadable { row, attribute, found, problem } = unreadable;
        Self::new(row, format!("attribute `{attribute}` is {found}: {problem}"))
    }
}

/// Reads the attributes of one item and remembers which row they are of.
pub(super) struct Fields<'a> {
    item: &'a Item,
    pub(super) row: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn of(item: &'a Item) -> Result<Self, Unreadable> {
        let fields = Self { item, row: "?" };
        Ok(Self { row: fields.text(ROW)?, ..fields })
    }

    pub(super) fn unreadable(
        &self,
        attribute: &'static str,
        found: String,
        problem: impl fmt::Display,
    ) -> Unreadable {
        let row = self.row.to_owned();
        Unreadable { row, attribute, found, problem: problem.to_string() }
    }

    pub(super) fn wrong(&self, attribute: &'static str, problem: impl fmt::Display) -> Unreadable {
        let found = match self.item.get(attribute) {
            None => "missing".to_owned(),
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => {
                format!("`{}`", text.chars().take(80).collect::<String>())
            }
            Some(_) => "of another type".to_owned(),
        };
        self.unreadable(attribute, found, problem)
    }

    /// What is not needed to leave the row's subject in peace: as if it were not there where it cannot be read.
    pub(super) fn lenient<T: Default>(&self, read: Result<T, Unreadable>) -> T {
        read.unwrap_or_else(|unreadable| {
            tracing::debug!(%unreadable, "passed over");
            T::default()
        })
    }

    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<&'a str>, Unreadable> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "expected a string")),
        }
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&'a str, Unreadable> {
        self.optional_text(name)?.ok_or_else(|| self.wrong(name, "expected a string"))
    }

    pub(super) fn number<T: FromStr>(&self, name: &'static str) -> Result<T, Unreadable> {
        let read = |value: &AttributeValue| value.as_n().ok()?.parse().ok();
        self.item.get(name).and_then(read).ok_or_else(|| self.wrong(name, "expected a whole number"))
    }

    pub(super) fn optional<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Unreadable> {
        let read = |text: &str| text.parse().map_err(|error| self.wrong(name, error));
        self.optional_text(name)?.map(read).transpose()
    }

    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<T, Unreadable> {
        self.optional(name)?.ok_or_else(|| self.wrong(name, "expected a string"))
    }

    /// The part of the sort key behind its prefix.
    pub(super) fn key<T: FromStr<Err: fmt::Display>>(&self, prefix: &str) -> Result<T, Unreadable> {
        let rest = self.row.strip_prefix(prefix).unwrap_or(self.row);
        rest.parse().map_err(|error| self.wrong(ROW, error))
    }

    /// A list of names.
    pub(super) fn list<T: FromStr>(&self, name: &'static str) -> Result<Option<Vec<T>>, Unreadable> {
        let wrong = || self.wrong(name, "expected a list of names");
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::L(values)) => values
                .iter()
                .map(|value| value.as_s().map_err(|_| wrong())?.parse().map_err(|_| wrong()))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(wrong()),
        }
    }

    /// Those of a list of names that can be read.
    pub(super) fn readable<T: FromStr>(&self, name: &'static str) -> Result<Vec<T>, Unreadable> {
        match self.item.get(name) {
            None => Ok(Vec::new()),
            Some(AttributeValue::L(values)) => {
                Ok(values.iter().filter_map(|value| value.as_s().ok()?.parse().ok()).collect())
            }
            Some(_) => Err(self.wrong(name, "expected a list of names")),
        }
    }

    pub(super) fn optional_number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Unreadable> {
        self.item.contains_key(name).then(|| self.number(name)).transpose()
    }

    pub(super) fn millis(&self, name: &'static str) -> Result<Option<Duration>, Unreadable> {
        Ok(self.optional_number(name)?.map(Duration::from_millis))
    }

    /// A map from names to numbers.
    pub(super) fn map<K: FromStr + Ord>(&self, name: &'static str) -> Result<BTreeMap<K, u64>, Unreadable> {
        let read = |(key, value): (&String, &AttributeValue)| {
            Some((key.parse().ok()?, value.as_n().ok()?.parse().ok()?))
        };
        match self.item.get(name) {
            None => Some(BTreeMap::new()),
            Some(AttributeValue::M(entries)) => entries.iter().map(read).collect::<Option<_>>(),
            Some(_) => None,
        }
        .ok_or_else(|| self.wrong(name, "expected a map from names to whole numbers"))
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<Bytes, Unreadable> {
        match self.item.get(name) {
            Some(AttributeValue::B(blob)) => Ok(Bytes::copy_from_slice(blob.as_ref())),
            _ => Err(self.wrong(name, "expected binary")),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, Unreadable> {
        Ok(self.optional_flag(name)?.unwrap_or(false))
    }

    pub(super) fn optional_flag(&self, name: &'static str) -> Result<Option<bool>, Unreadable> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(name, "expected true or false")),
        }
    }

    /// The mailbox. One that cannot be read is from a newer version: notifications are only hints.
    pub(super) fn notifications(&self) -> Result<BTreeSet<WorkerNotification>, Unreadable> {
        match self.item.get(MAILBOX) {
            None => Ok(BTreeSet::new()),
            Some(AttributeValue::Ss(texts)) => {
                Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
            }
            Some(_) => Err(self.wrong(MAILBOX, "expected a set of strings")),
        }
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Option<u64>, Unreadable> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let date = DateTime::from_str(text, DateTimeFormat::DateTime).ok();
        date.and_then(|date| u64::try_from(date.to_millis().ok()?).ok())
            .or_else(|| text.parse().ok())
            .map(Some)
            .ok_or_else(|| self.wrong(name, "expected a time such as 2026-01-31T12:00:00Z"))
    }
}

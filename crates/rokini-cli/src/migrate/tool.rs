//! The tools whose tables can be read.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;

use super::item::Item;
use super::row::OldItem;
use super::{gokini, harlow, kcl, kinsumer, redpanda};

/// A tool whose table has positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Tool {
    /// The Kinesis Client Library 1 to 3, in any language
    Kcl,
    /// gokini
    Gokini,
    /// vmware-go-kcl and its version 2
    Vmware,
    /// kinsumer: its table APPLICATION_checkpoints
    Kinsumer,
    /// harlow/kinesis-consumer, with a store in DynamoDB
    Harlow,
    /// The input aws_kinesis of Redpanda Connect and of Benthos
    Redpanda,
}

impl Tool {
    pub(super) const ALL: [Self; 6] =
        [Self::Kcl, Self::Gokini, Self::Vmware, Self::Kinsumer, Self::Harlow, Self::Redpanda];

    /// What an item of its table says.
    pub(super) fn read(self, item: &Item) -> OldItem {
        match self {
            Self::Kcl => kcl::read(item),
            Self::Gokini => gokini::read_gokini(item),
            Self::Vmware => gokini::read_vmware(item),
            Self::Kinsumer => kinsumer::read(item),
            Self::Harlow => harlow::read(item),
            Self::Redpanda => redpanda::read(item),
        }
    }

    /// As `--from` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kcl => "kcl",
            Self::Gokini => "gokini",
            Self::Vmware => "vmware",
            Self::Kinsumer => "kinsumer",
            Self::Harlow => "harlow",
            Self::Redpanda => "redpanda",
        }
    }

    /// The attributes of its rows' key and position: what tells its table from those of the others.
    pub(super) fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Kcl => &["leaseKey", "leaseCounter"],
            Self::Gokini => &["ShardID", "SequenceID"],
            Self::Vmware => &["ShardID", "Checkpoint"],
            Self::Kinsumer => &["Shard", "LastUpdate"],
            Self::Harlow => &["namespace", "shard_id"],
            Self::Redpanda => &["StreamID", "ShardID"],
        }
    }

    /// The key of its rows.
    pub(super) fn key(self) -> &'static [&'static str] {
        match self {
            Self::Kcl => &["leaseKey"],
            Self::Gokini | Self::Vmware => &["ShardID"],
            Self::Kinsumer => &["Shard"],
            Self::Harlow => &["namespace", "shard_id"],
            Self::Redpanda => &["StreamID", "ShardID"],
        }
    }

    /// The attribute that says how far a shard is.
    pub(super) fn position(self) -> &'static str {
        match self {
            Self::Kcl => "checkpoint",
            Self::Gokini => "SequenceID",
            Self::Vmware => "Checkpoint",
            Self::Kinsumer | Self::Redpanda => "SequenceNumber",
            Self::Harlow => "sequence_number",
        }
    }

    /// What its rows have, and none of the other tools whose rows are keyed by the same name.
    fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Gokini => &["SequenceID", "Closed"],
            Self::Vmware => &["Checkpoint"],
            Self::Redpanda => &["StreamID"],
            Self::Kcl | Self::Kinsumer | Self::Harlow => &[],
        }
    }

    /// The tool whose rows are told by these attributes, where they could be read as rows of this one.
    pub(super) fn mistaken(self, attributes: &BTreeSet<String>) -> Option<Self> {
        if !matches!(self, Self::Gokini | Self::Vmware) {
            return None;
        }
        let marked = |tool: &Self| tool.marks().iter().any(|mark| attributes.contains(*mark));
        Self::ALL.into_iter().filter(|tool| *tool != self).rev().find(marked)
    }

    /// How long a worker of the tool, with its default settings, may change nothing of a shard that it has: the KCL renews
    /// leases each 3.3 s; gokini and vmware-go-kcl each lease of 30 s before it is over, Redpanda Connect each of 30 s once
    /// half of it is over; the others write only with what they process.
    pub(super) fn quiet(self) -> Duration {
        Duration::from_secs(match self {
            Self::Kcl => 10,
            Self::Gokini | Self::Vmware | Self::Redpanda => 30,
            Self::Kinsumer | Self::Harlow => 10,
        })
    }
}

//! What is measured: how the answers look.

use clap::ValueEnum;

use crate::error::Result;

/// Pollers of the loops, at once.
pub(super) const POLLERS: u32 = 4;

/// How a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

/// How answers look.
pub(crate) struct Shape {
    pub(super) name: &'static str,
    pub(super) records: usize,
    pub(super) size: usize,
    /// User records of this size in each record, packed as the KPL does; 0 for none.
    pub(super) packed: usize,
    /// Shards of the consumer: each brings 2 MB a second where it is polled.
    pub(super) shards: u32,
    /// Whether they come as the events of subscriptions.
    pub(super) fan_out: bool,
}

impl Shape {
    /// What the records of one answer come to: user records, and bytes of their data.
    pub(super) fn answer(&self) -> (u64, u64) {
        let records = self.records * self.packed.max(1);
        (records as u64, (records * self.size) as u64)
    }
}

impl Shape {
    const fn polled(name: &'static str, records: usize, size: usize, packed: usize, shards: u32) -> Self {
        Self { name, records, size, packed, shards, fan_out: false }
    }

    const fn fan_out(name: &'static str, records: usize, size: usize) -> Self {
        Self { name, records, size, packed: 0, shards: POLLERS, fan_out: true }
    }
}

pub(super) const SHAPES: [Shape; 8] = [
    Shape::polled("1 KB x 1,000", 1_000, 1_024, 0, 200),
    Shape::polled("100 B x 10,000", 10_000, 100, 0, 200),
    Shape::polled("1 MB x 10", 10, 1_000_000, 0, 60),
    Shape::polled("1 KB x 10,000", 10_000, 1_024, 0, 60),
    Shape::polled("KPL 500 x 100 B x 100", 100, 100, 500, 60),
    Shape::fan_out("fan-out 1 KB x 100", 100, 1_024),
    Shape::fan_out("fan-out 1 KB x 1,000", 1_000, 1_024),
    Shape::fan_out("fan-out 100 B x 10,000", 10_000, 100),
];

/// The shape with this name.
pub(crate) fn shape(name: &str) -> Result<&'static Shape> {
    Ok(SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| format!("there is no shape `{name}`"))?)
}

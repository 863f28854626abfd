//! What was read, in numbers.

use std::collections::BTreeMap;
use std::time::Instant;

use rokini::lease::ShardId;
use rokini::{ReadResponse, Record, format_time};
use serde::Serialize;

use crate::context::Context;
use crate::text::{count, seconds, span};
use crate::text_table::TextTable;

/// What was read, in all and of each shard.
#[derive(Debug)]
pub(super) struct Stats {
    started: Instant,
    shards: BTreeMap<ShardId, ShardStats>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct ShardStats {
    records: u64,
    bytes: u64,
    /// When the stream took the newest of them.
    newest: Option<String>,
    /// How far that was behind the newest record of the shard.
    lag_millis: u64,
    ended: bool,
}

#[derive(Serialize)]
struct Summary<'a> {
    records: u64,
    bytes: u64,
    seconds: f64,
    shards: BTreeMap<&'a str, &'a ShardStats>,
}

impl Default for Stats {
    fn default() -> Self {
        Self { started: Instant::now(), shards: BTreeMap::new() }
    }
}

impl Stats {
    /// Counts what was written of a response.
    pub(super) fn add(&mut self, shard: &ShardId, written: &[Record], response: &ReadResponse) {
        let stats = self.shards.entry(shard.clone()).or_default();
        stats.records += written.len() as u64;
        stats.bytes += written.iter().map(|record| record.data().len() as u64).sum::<u64>();
        if let Some(newest) = written.last() {
            stats.newest = Some(format_time(newest.arrival_millis));
        }
        stats.lag_millis = response.millis_behind_latest;
        stats.ended |= response.end.is_some();
    }

    /// Says it to standard error.
    pub(super) fn show(&self, context: &Context) {
        let records: u64 = self.shards.values().map(|shard| shard.records).sum();
        let bytes: u64 = self.shards.values().map(|shard| shard.bytes).sum();
        let elapsed = self.started.elapsed();
        if context.ui.is_json() {
            let shards = self.shards.iter().map(|(id, stats)| (id.as_str(), stats)).collect();
            let seconds = seconds(elapsed);
            return context.ui.object("stats", &Summary { records, bytes, seconds, shards });
        }
        let mut table = TextTable::new(["SHARD", "RECORDS", "BYTES", "LAG", "NEWEST"]);
        for (id, stats) in &self.shards {
            let lag = if stats.ended { "ended".to_owned() } else { span(stats.lag_millis) };
            let newest = stats.newest.clone().unwrap_or_else(|| "-".to_owned());
            table.row([id.to_string(), stats.records.to_string(), stats.bytes.to_string(), lag, newest]);
        }
        let seconds = elapsed.as_secs_f64();
        let rate = records as f64 / seconds.max(0.001);
        let all = format!(
            "{} ({}) in {seconds:.1} s, {rate:.0} a second",
            count(records, "record"),
            count(bytes, "byte")
        );
        context.ui.info(format_args!("{}{all}", table.text(false)));
    }
}

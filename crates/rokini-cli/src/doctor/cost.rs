//! What a configuration costs in a month, at the prices of us-east-1. Pure.

use std::time::Duration;

use rokini::lease::{CapacityUnits, FleetShape};
use rokini::{ConsumerConfig, Monitoring, Retrieval, cloudwatch_metrics};

use super::check::Check;
use super::stream_facts::StreamFacts;

const HOURS_PER_MONTH: f64 = 730.0;
/// What an hour of a provisioned shard costs, an hour of an on-demand stream, and one of a shard with a registered consumer, in
/// USD (Kinesis pricing page, 2026).
const SHARD_HOUR: f64 = 0.015;
const ON_DEMAND_HOUR: f64 = 0.04;
const CONSUMER_SHARD_HOUR: f64 = 0.015;
/// What a month of a metric costs, up to 10,000 of them, and 1,000 calls that send metrics (CloudWatch pricing page, 2026).
const METRIC: f64 = 0.30;
const THOUSAND_CALLS: f64 = 0.01;
/// What a worker has as a rule, where the streams are not known.
const SHARDS_PER_WORKER: u32 = 10;

/// Each part with its price, and their sum.
pub(super) fn cost(config: &ConsumerConfig, workers: u32, streams: &[StreamFacts]) -> Check {
    let known: u32 = streams.iter().map(|stream| stream.open_shards).sum();
    let is_known = known > 0;
    let shards = if is_known { known } else { workers.saturating_mul(SHARDS_PER_WORKER).max(1) };
    let mut parts: Vec<(String, f64)> = Vec::new();
    if !config.broadcast {
        let rest = FleetShape { workers, leases: shards }.cost_at_rest().per_month().usd();
        parts.push((format!("coordination of {}", crate::text::count(workers, "worker")), rest));
        let interval = config.checkpoint_interval.max(Duration::from_millis(100));
        let busy = CapacityUnits::of_positions(shards, interval).per_month().usd();
        parts.push((format!("positions of {}, all busy", crate::text::count(shards, "shard")), busy));
    }
    parts.extend(of_streams(config, streams));
    if config.monitoring.contains(&Monitoring::CloudWatch) {
        let number = u64::try_from(config.streams.len().max(1)).unwrap_or(1);
        let metrics = cloudwatch_metrics(config, workers.into(), number, shards.into());
        let seconds = HOURS_PER_MONTH * 3_600.0;
        let calls = f64::from(workers) * seconds / config.cloudwatch_interval.as_secs_f64();
        let price = metrics as f64 * METRIC + calls / 1_000.0 * THOUSAND_CALLS;
        parts.push((format!("CloudWatch with {metrics} metrics"), price));
    }
    let sum: f64 = parts.iter().map(|(_, price)| price).sum();
    let parts: Vec<String> = parts.iter().map(|(what, price)| format!("{price:.2} {what}")).collect();
    let guess = if is_known { "" } else { " (how many shards there are is a guess: no stream answered)" };
    Check::ok(
        "cost",
        format!(
            "about {sum:.2} USD a month in us-east-1{guess}: {}; what records, storage and KMS cost comes on top",
            parts.join(", ")
        ),
    )
}

fn of_streams(config: &ConsumerConfig, streams: &[StreamFacts]) -> Vec<(String, f64)> {
    let provisioned = streams.iter().filter(|stream| !stream.on_demand);
    let shards: u32 = provisioned.map(|stream| stream.open_shards).sum();
    let on_demand = streams.iter().filter(|stream| stream.on_demand).count();
    let mut parts = Vec::new();
    if shards > 0 {
        let price = f64::from(shards) * SHARD_HOUR * HOURS_PER_MONTH;
        parts.push((format!("the stream's {}", crate::text::count(shards, "shard")), price));
    }
    if on_demand > 0 {
        let price = on_demand as f64 * ON_DEMAND_HOUR * HOURS_PER_MONTH;
        parts.push((crate::text::count(on_demand, "stream on demand"), price));
    }
    // With `auto` from the first shard on that is subscribed to. On demand it is paid by the GB alone.
    if config.retrieval != Retrieval::Polling && shards > 0 {
        let price = f64::from(shards) * CONSUMER_SHARD_HOUR * HOURS_PER_MONTH;
        let when = if config.retrieval == Retrieval::Auto { "fan-out, once it is used" } else { "fan-out" };
        parts.push((when.to_owned(), price));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(open_shards: u32, on_demand: bool) -> StreamFacts {
        StreamFacts::for_tests(open_shards, on_demand)
    }

    fn said(toml: &str, streams: &[StreamFacts]) -> String {
        cost(&ConsumerConfig::from_toml_str(toml).unwrap(), 2, streams).what
    }

    #[test]
    fn the_cost_is_that_of_this_configuration() {
        let plain = "stream = \"orders\"\ngroup = \"g\"";
        let text = said(plain, &[stream(4, false)]);
        assert!(
            text.contains("43.80 the stream's 4 shards") && text.contains("positions of 4 shards"),
            "{text}"
        );
        assert!(
            !text.contains("fan-out") && !text.contains("CloudWatch") && !text.contains("guess"),
            "{text}"
        );
        let pushed = format!("{plain}\nretrieval = \"fan_out\"\nmonitoring = \"cloudwatch\"");
        let text = said(&pushed, &[stream(4, false), stream(1, true)]);
        for part in ["43.80 fan-out", "29.20 1 stream on demand", "positions of 5 shards", "CloudWatch with "]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!said(&pushed, &[stream(4, true)]).contains("fan-out"), "paid by the GB");
        assert!(said(plain, &[]).contains("a guess"));
        let parts: f64 = text
            .split([':', ',', ';'])
            .filter_map(|part| part.trim().split(' ').next()?.parse::<f64>().ok())
            .sum();
        let sum: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        assert!((sum - parts).abs() < 0.05, "{sum} {parts}: {text}");
    }
}

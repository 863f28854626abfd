//! The text that Prometheus scrapes, version 0.0.4 of its format.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use metrics::Key;

use super::metric::MetricKind;
use super::registry::{Cell, Distribution, Registry};

/// The content type of [`render`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every series as text.
pub(crate) fn render(registry: &Registry) -> String {
    let snapshot = registry.snapshot();
    let series: usize = snapshot.iter().map(|(_, series)| series.len()).sum();
    let mut text = String::with_capacity(1_024 + series * 160);
    for (metric, series) in snapshot {
        let (name, kind) = (
            metric.name(),
            match metric.kind() {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            },
        );
        text.push_str("# HELP ");
        text.push_str(name);
        text.push(' ');
        escape(&mut text, &metric.help(), false);
        // Writing to a string cannot fail.
        let _ = write!(text, "\n# TYPE {name} {kind}\n");
        for (key, cell) in &series {
            let mut labels = String::with_capacity(128);
            write_labels(&mut labels, key);
            match cell {
                Cell::Counter(value) => {
                    let _ = writeln!(text, "{name}{{{labels}}} {}", value.load(Ordering::Relaxed));
                }
                Cell::Gauge(bits) => {
                    let _ = write!(text, "{name}{{{labels}}} ");
                    number(&mut text, f64::from_bits(bits.load(Ordering::Relaxed)));
                    text.push('\n');
                }
                Cell::Histogram(buckets) => histogram(&mut text, name, &labels, &buckets.read()),
            }
        }
    }
    text
}

fn histogram(text: &mut String, name: &str, labels: &str, values: &Distribution) {
    let mut below = 0;
    let bounds = values.bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(&values.counts) {
        below += count;
        let _ = write!(text, "{name}_bucket{{{labels},le=\"");
        number(text, bound);
        let _ = writeln!(text, "\"}} {below}");
    }
    let _ = write!(text, "{name}_sum{{{labels}}} ");
    number(text, values.sum);
    let _ = write!(text, "\n{name}_count{{{labels}}} {below}\n");
}

fn write_labels(text: &mut String, key: &Key) {
    for (index, label) in key.labels().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(label.key());
        text.push_str("=\"");
        escape(text, label.value(), true);
        text.push('"');
    }
}

fn escape(text: &mut String, raw: &str, quotes: bool) {
    if !raw.contains(['\\', '\n', '"']) {
        return text.push_str(raw);
    }
    for c in raw.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            c => text.push(c),
        }
    }
}

fn number(text: &mut String, value: f64) {
    let _ = match value {
        f64::INFINITY => write!(text, "+Inf"),
        f64::NEG_INFINITY => write!(text, "-Inf"),
        value => write!(text, "{value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metric::{Metric, MetricKind, MetricScope};
    use crate::telemetry::recorders::Recorders;
    use crate::telemetry::series::Series;
    use metrics::Label;
    use prometheus_parse::{Scrape, Value};
    use std::sync::Arc;

    #[test]
    fn an_independent_parser_reads_what_was_recorded() {
        let registry = Arc::new(Registry::default());
        let mut recorders = Recorders::default();
        recorders.add(Arc::clone(&registry) as _);
        let odd = "a\"b\\c";
        let meter = Series::new(&recorders, MetricScope::Shard, vec![Label::new("shard", odd)], |kind| {
            kind != MetricKind::Gauge
        });
        meter.count(Metric::RecordsProcessed, 1_000);
        meter.record(Metric::HandlerTime, 0.5);
        meter.record(Metric::HandlerTime, 7.0);
        let text = render(&registry);
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = Scrape::parse(lines).unwrap();
        let sample = |metric: Metric| scrape.samples.iter().find(|s| s.metric == metric.name()).unwrap();
        let records = sample(Metric::RecordsProcessed);
        assert_eq!(records.value, Value::Counter(1_000.0));
        assert!(text.contains(r#"shard="a\"b\\c""#), "{text}");
        let Value::Histogram(buckets) = &sample(Metric::HandlerTime).value else { panic!("a histogram") };
        let counts: Vec<f64> = buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
        assert!(text.contains("rokini_handler_duration_seconds_sum{shard=\"a\\\"b\\\\c\"} 7.5\n"));
    }
}

//! What handlers in other processes say of themselves, as metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::consumer_metrics::ConsumerMetrics;
use super::metric::Metric;

/// What a handler in other processes, or in a service, says of itself. Counts are since the handler was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerStats {
    /// Processes that run, spares among them.
    pub running: u64,
    /// Processes that were started.
    pub started: u64,
    /// Tries to start one that failed.
    pub start_failures: u64,
    /// Processes that ended by themselves although nobody had asked them to.
    pub exited: u64,
    /// Processes that were ended by force.
    pub killed: u64,
    /// Lines of output that were held back.
    pub suppressed_lines: u64,
    /// Times that a service took no records.
    pub unavailable: u64,
    /// Resident memory of the processes and of those that they started, in bytes; 0 where that is not known.
    pub resident_bytes: u64,
    /// CPU time that they used, of those that ended too; zero where that is not known.
    pub cpu: Duration,
}

/// Asks a handler for its numbers.
#[derive(Clone)]
pub(crate) struct HandlerStatsSource(pub(crate) Arc<dyn Fn() -> HandlerStats + Send + Sync>);

impl fmt::Debug for HandlerStatsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandlerStatsSource")
    }
}

/// Makes metrics of the numbers of a handler.
#[derive(Debug)]
pub(crate) struct HandlerMetrics {
    source: HandlerStatsSource,
    before: HandlerStats,
}

impl HandlerMetrics {
    pub(crate) fn new(source: HandlerStatsSource) -> Self {
        Self { source, before: HandlerStats::default() }
    }

    pub(crate) fn sample(&mut self, metrics: &ConsumerMetrics) {
        let Some(series) = metrics.handler() else { return };
        let now = (self.source.0)();
        let before = std::mem::replace(&mut self.before, now);
        for (metric, now, before) in [
            (Metric::HandlerStarts, now.started, before.started),
            (Metric::HandlerStartFailures, now.start_failures, before.start_failures),
            (Metric::HandlerExits, now.exited, before.exited),
            (Metric::HandlerKills, now.killed, before.killed),
            (Metric::HandlerSuppressedLines, now.suppressed_lines, before.suppressed_lines),
            (Metric::HandlerUnavailable, now.unavailable, before.unavailable),
        ] {
            series.count(metric, now.saturating_sub(before));
        }
        series.set(Metric::HandlerProcesses, now.running as f64);
        series.set(Metric::HandlerMemory, now.resident_bytes as f64);
        series.set(Metric::HandlerCpu, now.cpu.as_secs_f64());
    }
}

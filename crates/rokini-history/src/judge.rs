//! From what happened to what it proves.

use std::sync::Arc;
use std::time::Duration;

use crate::cause::Span;
use crate::findings::{DETAILS, Findings, LeftBehind};
use crate::history::{History, Record};
use crate::record::ObservedHold;

impl History {
    /// What is proven so far.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let mut findings = self.so_far.clone();
        for (name, shard) in &self.shards {
            for (key, number) in shard.remembered() {
                let Some(record) = self.keys.get(key).and_then(|key| key.records.get(number)) else {
                    continue;
                };
                let waited = record.waits.iter().map(|wait| self.unexplained(name, *wait)).max();
                findings.add_wait(waited.unwrap_or_default(), key, *number);
            }
            let Some(oldest) = shard.oldest_waiting() else { continue };
            let count = shard.waiting.len();
            findings.waiting += count as u64;
            let passed = shard.reached.map_or(0, |reached| shard.waiting.range(..reached).count());
            findings.passed_over += passed as u64;
            findings.left_behind.push(LeftBehind { shard: Arc::clone(name), count, oldest });
        }
        for (name, key) in &self.keys {
            for (number, record) in &key.records {
                if let Record { put: None, seen: Some(seen), .. } = record {
                    findings.handled -= 1;
                    findings.add_unknown(name, *number, seen.hold);
                }
            }
        }
        (findings.causes, findings.unexplained_repeats) = self.repeats.explained();
        findings.unexplained = findings.unexplained_repeats.iter().map(|repeat| repeat.count).sum();
        findings.unexplained_repeats.truncate(DETAILS);
        findings
    }

    /// How long a record of the shard waited without an explanation, in one wait.
    pub(crate) fn unexplained(&self, shard: &Arc<str>, (from, to): Span) -> Duration {
        // Before the shards that this one came from are read to their end nobody may read it.
        let begun = self.parents_drained(shard).filter(|drained| *drained <= to).unwrap_or_default();
        let mut explained: Vec<Span> = Vec::new();
        self.explanations(shard, &mut explained);
        explained.extend(self.explained.get(&None).into_iter().flatten());
        explained.retain(|(begin, end)| *begin < to && *end > from);
        beyond((from.max(begun), to), &union(explained))
    }

    /// When records of the shard may wait, or the end of a shard that it came from, for which they wait.
    fn explanations(&self, shard: &Arc<str>, spans: &mut Vec<Span>) {
        spans.extend(self.explained.get(&Some(Arc::clone(shard))).into_iter().flatten());
        for parent in self.shards.get(shard).into_iter().flat_map(|shard| &shard.parents) {
            self.explanations(parent, spans);
        }
    }

    fn parents_drained(&self, shard: &str) -> Option<Duration> {
        let parents = &self.shards.get(shard)?.parents;
        let drained = |parent: &Arc<str>| {
            let own = self.shards.get(parent).and_then(|shard| shard.drained);
            own.max(self.parents_drained(parent))
        };
        parents.iter().filter_map(drained).max()
    }
}

impl Findings {
    pub(crate) fn add_unknown(&mut self, key: &Arc<str>, number: u64, hold: ObservedHold) {
        self.unknown += 1;
        if self.unknown_records.len() < DETAILS {
            self.unknown_records.push((Arc::clone(key), number, hold));
        }
    }

    pub(crate) fn add_wait(&mut self, wait: Duration, key: &Arc<str>, number: u64) {
        if wait > self.longest_wait {
            (self.longest_wait, self.longest_waiting) = (wait, Some((Arc::clone(key), number)));
        }
    }
}

/// The same spans without overlaps, in order.
fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// How long a span is without what others cover, which do not overlap.
fn beyond((from, to): Span, others: &[Span]) -> Duration {
    let covered: Duration =
        others.iter().map(|(begin, end)| to.min(*end).saturating_sub(from.max(*begin))).sum();
    to.saturating_sub(from).saturating_sub(covered)
}

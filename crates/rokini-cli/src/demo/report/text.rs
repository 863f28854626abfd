//! The result for people: the proof, whether every promise was kept, and where to go from here.

use std::fmt;

use super::{ChaosCounts, ChaosReport, MoveCause, Report};
use crate::demo::format::{Count, Seconds, shard_number};

/// Moves of one cause that are listed one by one.
const LISTED: usize = 12;

const NEXT: &str = "\
What to try next
  rokini local --stream orders:4          starts the same endpoints, to keep.
                                          It prints lines to copy into other
                                          terminals, where these then work:
  rokini consume orders --group billing   a worker; start two, stop or kill one
  rokini put orders --random 1000         records to work on
  rokini tail orders                      reads along, without a group
";

impl fmt::Display for ChaosReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChaosCounts { splits, merges, kills, freezes, fences, failed } = self.counts;
        writeln!(f, "Chaos (the same again: --seed {})", self.seed)?;
        writeln!(f, "  shards    {splits} splits, {merges} merges")?;
        writeln!(f, "  workers   {kills} killed and replaced, {freezes} frozen, {fences} of them fenced")?;
        if failed > 0 {
            writeln!(f, "  missed    {failed} actions failed, because the host was too busy")?;
        }
        for (service, calls) in [("Kinesis", self.kinesis), ("DynamoDB", self.dynamodb)] {
            let share = calls.faults as f64 * 100.0 / (calls.calls.max(1) as f64);
            let (calls, faults) = (Count(calls.calls), Count(calls.faults));
            writeln!(f, "  {service:<9} {calls} calls, {faults} with a fault ({share:.1} %)")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proof(f)?;
        if let Some(chaos) = &self.chaos {
            write!(f, "\n{chaos}")?;
        }
        self.silences(f)?;
        writeln!(f)?;
        for broken in &self.broken {
            writeln!(f, "BROKEN: {broken}")?;
        }
        for detail in &self.details {
            writeln!(f, "  {detail}")?;
        }
        match (self.ok, self.interrupted) {
            (true, false) => write!(f, "Every promise was kept.\n\n{NEXT}"),
            (true, true) => writeln!(f, "The run was interrupted; until then every promise was kept."),
            (false, _) => writeln!(f, "A promise broke. The exit status is 1."),
        }
    }
}

impl Report {
    /// The result in two sentences.
    pub(crate) fn summary(&self) -> String {
        let verdict = if self.ok { "Every promise was kept." } else { "A promise broke." };
        format!(
            "{} records put, {} handled, {} lost, {} out of order, {} handled twice. {verdict}",
            Count(self.produced),
            Count(self.processed),
            Count(self.lost),
            Count(self.order_violations),
            Count(self.duplicates)
        )
    }

    fn proof(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The proof")?;
        let mut row = |what: &str, count: u64, why: &str| {
            writeln!(f, "{}", format!("  {what:<14}{:>10}  {why}", Count(count).to_string()).trim_end())
        };
        row("produced", self.produced, "records that the stream took, numbered per key")?;
        row("processed", self.processed, "different records that a worker handled")?;
        row("lost", self.lost, "must be 0")?;
        if self.unread > 0 {
            row("not yet read", self.unread, "because of the interrupt")?;
        }
        row("handled twice", self.duplicates, &self.explained())?;
        row("out of order", self.order_violations, "per key; must be 0")?;
        match self.first_record_ms {
            Some(ms) => {
                let must = if self.chaos.is_some() { "" } else { "; must be within 3 s" };
                let ms = Count(ms).to_string();
                writeln!(f, "  {:<14}{ms:>7} ms  after the start{must}", "first record")?;
            }
            None => writeln!(f, "  {:<14}{:>10}", "first record", "none")?,
        }
        let (wait, limit) = (Seconds(self.longest_wait).to_string(), self.longest_wait_limit().as_secs());
        writeln!(f, "  {:<14}{wait:>10}  from put to handler; at most {limit} s", "longest wait")
    }

    /// Why records were handled twice.
    fn explained(&self) -> String {
        match (self.duplicates, self.duplicates_unexplained, &self.chaos) {
            (0, _, None) => "can only happen after the kill".to_owned(),
            (_, 0, None) => "after the kill: handled, but not yet stored".to_owned(),
            (_, _, None) => "the kill does not explain all of them".to_owned(),
            (_, unexplained, Some(_)) => format!(
                "{} after a kill, {} after a fence, {} else; must be 0",
                Count(self.duplicates_after_kill),
                Count(self.duplicates_after_fence),
                Count(unexplained)
            ),
        }
    }

    /// The shards that moved, by cause.
    fn silences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (cause, what) in [
            (MoveCause::Stop, "after the clean stop"),
            (MoveCause::Kill, "after a kill"),
            (MoveCause::Freeze, "after a freeze"),
            (MoveCause::Balance, "to balance the workers"),
        ] {
            let moves: Vec<_> = self.moves.iter().filter(|moved| moved.cause == cause).collect();
            if moves.is_empty() {
                continue;
            }
            let limit = self.silence_limit(cause);
            let limit = limit.map(|limit| format!(" (at most {} s)", limit.as_secs())).unwrap_or_default();
            writeln!(f, "\nShards that moved {what}, and their silence{limit}")?;
            if moves.len() > LISTED {
                let longest = moves.iter().map(|moved| moved.silence).max().unwrap_or_default();
                writeln!(f, "  {} moves, the longest silence {}", moves.len(), Seconds(longest))?;
                continue;
            }
            for moved in moves {
                let way = format!("{} -> {}", moved.from, moved.to);
                let silence = Seconds(moved.silence).to_string();
                writeln!(f, "  shard {:<6}{way:<24}{silence:>8}", shard_number(&moved.shard))?;
            }
        }
        Ok(())
    }
}

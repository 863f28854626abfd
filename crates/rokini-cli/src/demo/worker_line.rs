//! The line that a worker writes for one record.

use std::sync::Arc;

use rokini_history::{Delivery, Observed, Process};
use rokini_lease::SequenceNumber;
use serde::Deserialize;
use tokio::time::Instant;

use super::outputs::Round;
use super::producer;

#[derive(Deserialize)]
struct Line {
    shard: Arc<str>,
    epoch: u64,
    sequence: SequenceNumber,
    key: Arc<str>,
    data: String,
}

/// Reads the lines of a round. A line that is no record of this demo is an error with its text.
pub(crate) fn read(round: &Round, start: Instant) -> impl Iterator<Item = Result<Delivery, String>> {
    round.lines.iter().map(move |(process, line)| {
        let seen = parse(line).map(|(line, number)| seen((*process, line, number), round, start));
        seen.ok_or_else(|| String::from_utf8_lossy(line).chars().take(200).collect())
    })
}

fn parse(line: &[u8]) -> Option<(Line, u64)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let number = producer::number(&line.data)?;
    Some((line, number))
}

fn seen((process, line, number): (Process, Line, u64), round: &Round, start: Instant) -> Delivery {
    let Line { shard, epoch, sequence, key, .. } = line;
    let sequence = sequence.into();
    let at = round.at.saturating_duration_since(start);
    let observed = Observed::InRound(round.number);
    Delivery { process, epoch, shard, key, number, sequence, at, observed }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_read_as_consume_writes_it() {
        let good = br#"{"worker":"worker-1","shard":"shardId-000000000001","epoch":3,"sequence":"4959","sub_sequence":null,"key":"customer-007","arrival":"2026-01-31T12:00:00.000Z","data":"order 12"}"#;
        let lines =
            [&good[..], b"{}", b"words", br#"{"shard":"s","epoch":1,"sequence":"1","key":"k","data":"x"}"#];
        let start = Instant::now();
        let lines = lines.map(|line| (Process(2), line.to_vec())).to_vec();
        let round = Round { number: 9, at: start + Duration::from_secs(1), lines };
        let read: Vec<_> = read(&round, start).collect();
        let expected = Delivery {
            process: Process(2),
            at: Duration::from_secs(1),
            shard: "shardId-000000000001".into(),
            epoch: 3,
            sequence: SequenceNumber::from(4959).into(),
            key: "customer-007".into(),
            number: 12,
            observed: Observed::InRound(9),
        };
        assert_eq!(read[0], Ok(expected));
        assert_eq!(read[1..3], [Err("{}".to_owned()), Err("words".to_owned())]);
        assert!(read[3].is_err());
    }
}

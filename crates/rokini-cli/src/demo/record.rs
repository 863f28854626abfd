//! A worker's line for one record.

use std::sync::Arc;

use rokini_lease::SequenceNumber;
use serde::Deserialize;
use tokio::time::Instant;

use super::ledger::{Process, Seen};
use super::pipes::Pass;
use super::producer;

#[derive(Deserialize)]
struct Line {
    shard: Arc<str>,
    epoch: u64,
    sequence: SequenceNumber,
    key: Arc<str>,
    data: String,
}

/// Reads the lines of a pass; a line that is no record of this demo is an error with its text.
pub(crate) fn read(pass: &Pass, start: Instant) -> impl Iterator<Item = Result<Seen, String>> {
    pass.lines.iter().map(move |(process, line)| {
        let seen = parse(line).map(|(line, number)| seen((*process, line, number), pass, start));
        seen.ok_or_else(|| String::from_utf8_lossy(line).chars().take(200).collect())
    })
}

fn parse(line: &[u8]) -> Option<(Line, u64)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let number = producer::number(&line.data)?;
    Some((line, number))
}

fn seen((process, line, number): (Process, Line, u64), pass: &Pass, start: Instant) -> Seen {
    let Line { shard, epoch, sequence, key, .. } = line;
    let at = pass.at.saturating_duration_since(start);
    Seen { process, pass: pass.number, at, shard, epoch, sequence, key, number }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_read_as_consume_writes_it() {
        let good = br#"{"worker":"worker-1","shard":"shardId-000000000001","epoch":3,"sequence":"4959","sub_sequence":null,"key":"customer-007","arrival":"2026-01-31T12:00:00.000Z","data":"order 12"}"#;
        let lines =
            [&good[..], b"{}", b"talk", br#"{"shard":"s","epoch":1,"sequence":"1","key":"k","data":"x"}"#];
        let start = Instant::now();
        let lines = lines.map(|line| (Process(2), line.to_vec())).to_vec();
        let pass = Pass { number: 9, at: start + Duration::from_secs(1), lines };
        let read: Vec<_> = read(&pass, start).collect();
        let expected = Seen {
            process: Process(2),
            pass: 9,
            at: Duration::from_secs(1),
            shard: "shardId-000000000001".into(),
            epoch: 3,
            sequence: SequenceNumber::from(4959),
            key: "customer-007".into(),
            number: 12,
        };
        assert_eq!(read[0], Ok(expected));
        assert_eq!(read[1..3], [Err("{}".to_owned()), Err("talk".to_owned())]);
        assert!(read[3].is_err());
    }
}

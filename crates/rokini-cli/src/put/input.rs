//! Where the records to put come from.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rokini::UserRecord;
use tokio::io::{AsyncBufReadExt, BufReader, Stdin, stdin};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::error::{CliError, Status};

/// Where the records come from.
pub(super) enum Input {
    Arguments(std::vec::IntoIter<String>),
    Stdin { lines: BufReader<Stdin>, number: u64 },
    Random { left: u64, size: u32 },
}

/// The largest record that a stream can be set to take, in bytes (Kinesis limit).
const MOST_BYTES: usize = 10 << 20;

impl Input {
    pub(super) fn arguments(data: Vec<String>) -> Self {
        Self::Arguments(data.into_iter())
    }

    pub(super) fn stdin() -> Self {
        Self::Stdin { lines: BufReader::with_capacity(64 << 10, stdin()), number: 0 }
    }

    pub(super) fn random(count: u64, size: u32) -> Self {
        Self::Random { left: count, size }
    }

    /// Reads on a task of its own, no faster than `rate` records a second.
    pub(super) fn start(
        mut self,
        key: Option<String>,
        rate: Option<u32>,
    ) -> mpsc::Receiver<Result<UserRecord, CliError>> {
        let (records, receiver) = mpsc::channel(64);
        tokio::spawn(async move {
            let started = Instant::now();
            let mut count = 0_u32;
            loop {
                let record = match self.next().await {
                    Ok(None) => return,
                    Ok(Some(data)) => {
                        let partition_key = key.clone().unwrap_or_else(random_key);
                        Ok(UserRecord { partition_key, explicit_hash_key: None, data })
                    }
                    Err(error) => Err(error),
                };
                if let Some(rate) = rate {
                    sleep_until(started + Duration::from_secs(1) / rate * count).await;
                    count += 1;
                }
                let failed = record.is_err();
                if records.send(record).await.is_err() || failed {
                    return;
                }
            }
        });
        receiver
    }

    async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        match self {
            Self::Arguments(data) => Ok(data.next().map(Bytes::from)),
            Self::Random { left: 0, .. } => Ok(None),
            Self::Random { left, size } => {
                *left -= 1;
                Ok(Some(random_data(*size)))
            }
            Self::Stdin { lines, number } => {
                *number += 1;
                read_line(lines, *number).await
            }
        }
    }
}

async fn read_line(lines: &mut BufReader<Stdin>, number: u64) -> Result<Option<Bytes>, CliError> {
    let mut line = Vec::new();
    let read = lines.read_until(b'\n', &mut line).await;
    read.map_err(|error| CliError::new(Status::FAILED, "cannot read standard input").because(&error))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > MOST_BYTES {
        let what = format!(
            "line {number} of standard input has {} bytes, a record at most {MOST_BYTES}",
            line.len()
        );
        return Err(CliError::usage(what).next("split it; the lines before it are put"));
    }
    Ok(Some(line.into()))
}

fn random_key() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// Letters and digits, so that the data show well.
fn random_data(size: u32) -> Bytes {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(size as usize).collect()
}

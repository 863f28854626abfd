//! When records are put: no faster than a rate, and no sooner than they are due.

use std::time::Duration;

use rokini::UserRecord;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::error::CliError;

/// Records that wait between reading and packing.
pub(super) const WAITING: usize = 64;

/// A record, and when it is to be put, counted from the time of the first.
pub(super) type Timed = (UserRecord, Option<Duration>);

/// Hands records on no faster than `rate` a second, and no sooner than they are due.
pub(super) fn paced(
    mut timed: mpsc::Receiver<Result<Timed, CliError>>,
    rate: Option<u32>,
) -> mpsc::Receiver<Result<UserRecord, CliError>> {
    let (records, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let started = Instant::now();
        let mut count = 0_u32;
        while let Some(next) = timed.recv().await {
            let record = match next {
                Ok((record, due)) => {
                    if let Some(due) = due.and_then(|due| started.checked_add(due)) {
                        sleep_until(due).await;
                    }
                    if let Some(rate) = rate {
                        sleep_until(started + Duration::from_secs(1) / rate * count).await;
                        count += 1;
                    }
                    Ok(record)
                }
                Err(error) => Err(error),
            };
            if records.send(record).await.is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test(start_paused = true)]
    async fn records_come_when_they_are_due() {
        let record = || UserRecord::new("k", Bytes::new());
        let (sender, timed) = mpsc::channel(8);
        for due in [0, 500, 400, 2_000] {
            sender.send(Ok((record(), Some(Duration::from_millis(due))))).await.unwrap();
        }
        drop(sender);
        let (mut records, begun) = (paced(timed, None), Instant::now());
        let mut came = Vec::new();
        while records.recv().await.is_some() {
            came.push(begun.elapsed().as_millis());
        }
        assert_eq!(came, [0, 500, 500, 2_000]);
    }
}

//! Requests with many entries, of which some may be refused and are sent again.

use std::future::Future;
use std::time::Duration;

use aws_types::SdkConfig;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::letter::DeadLetter;
use crate::aws;
use crate::types::backoff::{COORDINATION, Retry};
use crate::types::error::Error;

/// How long one try of a request may take, and all its tries.
const ATTEMPT: Duration = Duration::from_secs(10);
const TOTAL: Duration = Duration::from_secs(30);
const TRIES: u32 = 3;
/// How many requests in a row may take no entry at all before the letter counts as failed: about 15 s.
const MAX_FRUITLESS: u32 = 8;

/// The configuration for the clients of sinks: a user's, with our limits of time.
pub(super) fn client_config(aws: &SdkConfig) -> Result<SdkConfig, Error> {
    aws::bounded(aws, ATTEMPT, TOTAL, TRIES)
}

/// What one request takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestLimits {
    pub(super) entries: usize,
    /// One entry may be larger, and then goes alone.
    pub(super) bytes: usize,
}

/// An entry and its size, in bytes.
pub(super) type SizedEntry<T> = (usize, T);

/// What a request did not take, and why.
pub(super) struct RefusedEntries<T> {
    pub(super) entries: Vec<SizedEntry<T>>,
    pub(super) why: Error,
}

/// Sends the entries of a letter until each is taken, or an error says that they are not, or nothing is taken for
/// long.
pub(super) async fn send_all<T, F>(
    letter: &DeadLetter,
    mut waiting: Vec<SizedEntry<T>>,
    limits: RequestLimits,
    mut send: impl FnMut(Vec<SizedEntry<T>>) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<Option<RefusedEntries<T>>, Error>>,
{
    // Different for letters that may wait at the same time.
    let seed = letter.records.first().map(|record| fnv(&letter.key(record))).unwrap_or_default();
    let mut retry = Retry::new(COORDINATION, StdRng::seed_from_u64(seed as u64));
    while !waiting.is_empty() {
        let rest = waiting.split_off(first_request(&waiting, limits));
        let sent = waiting.len();
        let refused = send(std::mem::replace(&mut waiting, rest)).await?;
        let Some(refused) = refused else {
            retry.succeeded();
            continue;
        };
        if refused.entries.len() < sent {
            retry.succeeded();
        }
        let pause = retry.failed();
        if retry.failures() >= MAX_FRUITLESS {
            return Err(refused.why);
        }
        waiting.extend(refused.entries);
        sleep(pause).await;
    }
    Ok(())
}

/// How many of the first entries go into one request.
fn first_request<T>(waiting: &[SizedEntry<T>], limits: RequestLimits) -> usize {
    let mut bytes = 0;
    let fits = |(size, _): &&SizedEntry<T>| {
        bytes += size;
        bytes <= limits.bytes
    };
    waiting.iter().take(limits.entries).take_while(fits).count().max(1)
}

/// FNV-1a with 128 bits: the same on every host and for ever.
pub(super) fn fnv(text: &str) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::tests::letter;
    use crate::types::error::ErrorKind;
    use std::collections::BTreeMap;

    const LIMITS: RequestLimits = RequestLimits { entries: 10, bytes: 100 };

    #[test]
    fn requests_keep_the_limits() {
        for (sizes, expected) in [
            (vec![1; 30], 10),
            (vec![30; 30], 3),
            (vec![100, 1], 1),
            (vec![1_000, 1], 1),
            (vec![99, 1, 1], 2),
        ] {
            let waiting: Vec<_> = sizes.iter().map(|size| (*size, ())).collect();
            assert_eq!(first_request(&waiting, LIMITS), expected, "{sizes:?}");
        }
    }

    #[test]
    fn hashes_are_those_of_the_definition() {
        assert_eq!(fnv(""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[tokio::test(start_paused = true)]
    async fn a1_only_what_was_refused_goes_again_until_all_is_taken() {
        let mut taken = BTreeMap::new();
        let mut calls = 0;
        let entries = (0..35).map(|number| (1, number)).collect();
        let send = |request: Vec<SizedEntry<u32>>| {
            calls += 1;
            let turn = calls;
            let (refused, ok): (Vec<_>, Vec<_>) =
                request.into_iter().partition(|(_, number)| (number + turn) % 3 == 0);
            for (_, number) in ok {
                *taken.entry(number).or_insert(0) += 1;
            }
            let why = Error::new(ErrorKind::Throttled, "too fast");
            let refused = (!refused.is_empty()).then_some(RefusedEntries { entries: refused, why });
            std::future::ready(Ok(refused))
        };
        send_all(&letter("g", 1, vec![]), entries, LIMITS, send).await.unwrap();
        assert_eq!(taken.len(), 35);
        assert!(taken.values().all(|times| *times == 1), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a1_what_is_never_taken_is_an_error_in_the_end() {
        let begun = tokio::time::Instant::now();
        let send = |request| {
            let why = Error::new(ErrorKind::Throttled, "too fast");
            std::future::ready(Ok(Some(RefusedEntries { entries: request, why })))
        };
        let error = send_all(&letter("g", 1, vec![]), vec![(1, ())], LIMITS, send).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
        let took = begun.elapsed().as_secs();
        assert!((5..20).contains(&took), "{took}");
    }
}

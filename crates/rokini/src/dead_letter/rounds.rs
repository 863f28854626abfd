//! Requests with many entries, of which some may be refused and go out again.

use std::future::Future;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::Error;
use crate::types::backoff::{Backoff, Retry};

/// How often in a row nothing at all may be taken before the letter counts as failed: about 15 s.
const FRUITLESS: u32 = 8;

/// What one request takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: usize,
    /// One entry may be larger, and then goes alone.
    pub(super) bytes: usize,
}

/// An entry and what it weighs against the limit, in bytes.
pub(super) type Weighed<T> = (usize, T);

/// What a request did not take, and why.
pub(super) struct Refused<T> {
    pub(super) entries: Vec<Weighed<T>>,
    pub(super) why: Error,
}

/// Sends every entry until each is taken, or an error says that they are not, or nothing is taken for long. `spread`
/// tells apart those who may wait at the same time.
pub(super) async fn send_all<T, F>(
    mut waiting: Vec<Weighed<T>>,
    limits: Limits,
    spread: &str,
    mut send: impl FnMut(Vec<Weighed<T>>) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<Option<Refused<T>>, Error>>,
{
    let mut retry = Retry::new(Backoff::COORDINATION, StdRng::seed_from_u64(fnv(spread) as u64));
    while !waiting.is_empty() {
        let rest = waiting.split_off(request(&waiting, limits));
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
        if retry.failures() >= FRUITLESS {
            return Err(refused.why);
        }
        waiting.extend(refused.entries);
        sleep(pause).await;
    }
    Ok(())
}

/// How many of the first entries go into one request.
fn request<T>(waiting: &[Weighed<T>], limits: Limits) -> usize {
    let mut bytes = 0;
    let fits = |(weight, _): &&Weighed<T>| {
        bytes += weight;
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
    use crate::ErrorKind;
    use std::collections::BTreeMap;

    const LIMITS: Limits = Limits { entries: 10, bytes: 100 };

    #[test]
    fn requests_keep_the_limits() {
        for (weights, expected) in [
            (vec![1; 30], 10),
            (vec![30; 30], 3),
            (vec![100, 1], 1),
            (vec![1_000, 1], 1),
            (vec![99, 1, 1], 2),
        ] {
            let waiting: Vec<_> = weights.iter().map(|weight| (*weight, ())).collect();
            assert_eq!(request(&waiting, LIMITS), expected, "{weights:?}");
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
        let send = |request: Vec<Weighed<u32>>| {
            calls += 1;
            let turn = calls;
            let (refused, ok): (Vec<_>, Vec<_>) =
                request.into_iter().partition(|(_, number)| (number + turn) % 3 == 0);
            for (_, number) in ok {
                *taken.entry(number).or_insert(0) += 1;
            }
            let why = Error::new(ErrorKind::Throttled, "too fast");
            let refused = (!refused.is_empty()).then_some(Refused { entries: refused, why });
            std::future::ready(Ok(refused))
        };
        send_all(entries, LIMITS, "x", send).await.unwrap();
        assert_eq!(taken.len(), 35);
        assert!(taken.values().all(|times| *times == 1), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a1_what_is_never_taken_is_an_error_in_the_end() {
        let begun = tokio::time::Instant::now();
        let send = |request| {
            let why = Error::new(ErrorKind::Throttled, "too fast");
            std::future::ready(Ok(Some(Refused { entries: request, why })))
        };
        let error = send_all(vec![(1, ())], LIMITS, "x", send).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
        let took = begun.elapsed().as_secs();
        assert!((5..20).contains(&took), "{took}");
    }
}

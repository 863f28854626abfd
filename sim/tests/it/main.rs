//! Fleets in virtual time: seeds, and what shows that the checks can see.
#![allow(clippy::too_many_lines, clippy::excessive_nesting, reason = "tests aside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod defects;
mod mutants;
mod promises;
mod scale;
mod seeds;
mod support;

/// Does it for all, on as many threads as there are cores: one test that goes through them alone would outlast all others. They
/// are dealt out like cards, since the dear ones stand together.
fn side_by_side<T: Sync, R: Send>(all: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads =
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(all.len().max(1));
    let run = &run;
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let deal = |first| all.iter().enumerate().skip(first).step_by(threads);
        let running: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || deal(first).map(|(at, one)| (at, run(one))).collect::<Vec<_>>()))
            .collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

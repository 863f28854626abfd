//! Request ids: unlike each other, alike from run to run.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

#[derive(Debug)]
pub(crate) struct RequestIds {
    seed: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }

    /// A request id and an extended id.
    pub(crate) fn next(&self) -> (String, String) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut rng = SmallRng::seed_from_u64(self.seed ^ count.rotate_left(32));
        let (a, b, c, d) = (rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64());
        let (time, node) = (a >> 32, b & 0xffff_ffff_ffff);
        let id =
            format!("{time:08x}-{:04x}-{:04x}-{:04x}-{node:012x}", a >> 16 & 0xffff, a & 0xffff, b >> 48);
        (id, format!("{c:016x}{d:016x}"))
    }
}

//! The suite that every store passes: each sentence of the contract of [`LeaseStore`], random updates compared
//! with the pure `apply`, and races. For authors of stores; behind the feature `conformance`.
//!
//! ```
//! # use std::sync::Arc;
//! use rokini_lease::{MemoryStore, store::conformance::Suite};
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let report = Suite::new(Arc::new(MemoryStore::new())).races(20).run().await;
//! assert!(report.applied > 0 && report.refused > 0);
//! # });
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test suite: a violated sentence is a panic that names it"
)]

use std::sync::Arc;

use crate::{GroupId, LeaseStore};

mod fixtures;
mod groups;
mod listings;
mod races;
mod rows;
mod sequences;

/// The suite with its sizes.
#[derive(Debug, Clone)]
pub struct Suite {
    store: Arc<dyn LeaseStore>,
    seed: u64,
    sequences: u32,
    races: u32,
    listed: u32,
    lost_replies: bool,
}

/// What a run came to: how many conditional updates took effect and how many were refused. Every kind of
/// update did both, or the run panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Updates that took effect.
    pub applied: u64,
    /// Updates whose condition did not hold.
    pub refused: u64,
}

impl Suite {
    /// The suite on a store. It writes to groups whose names begin with `conformance-` and the seed, and
    /// expects them to be empty.
    #[must_use]
    pub fn new(store: Arc<dyn LeaseStore>) -> Self {
        Self { store, seed: 1, sequences: 12, races: 1000, listed: 200, lost_replies: false }
    }

    /// The seed of everything random, and part of the groups' names. Default 1.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Random sequences of 100 updates each, one row per sequence. Default 12.
    #[must_use]
    pub fn sequences(mut self, sequences: u32) -> Self {
        self.sequences = sequences;
        self
    }

    /// Rounds of the race of 8 workers for one lease. Default 1,000.
    #[must_use]
    pub fn races(mut self, rounds: u32) -> Self {
        self.races = rounds;
        self
    }

    /// Leases in the listing that must come whole. Default 200.
    #[must_use]
    pub fn listed(mut self, leases: u32) -> Self {
        self.listed = leases;
        self
    }

    /// For a store behind a link that loses replies: an applied update may then not know the row before.
    /// Default: it must.
    #[must_use]
    pub fn lost_replies(mut self, lost: bool) -> Self {
        self.lost_replies = lost;
        self
    }

    /// Runs everything.
    ///
    /// # Panics
    /// When the store breaks its contract; the message names the sentence.
    pub async fn run(&self) -> Report {
        self.store.init().await.expect("init makes ready");
        self.store.init().await.expect("init is idempotent");
        rows::run(self).await;
        groups::run(self).await;
        listings::run(self).await;
        let report = sequences::run(self).await;
        races::run(self).await;
        report
    }

    fn group(&self, part: &str) -> GroupId {
        GroupId::new(format!("conformance-{}-{part}", self.seed)).expect("a valid name")
    }
}

/// Runs the suite with its defaults.
///
/// # Panics
/// As [`Suite::run`].
pub async fn run(store: Arc<dyn LeaseStore>) -> Report {
    Suite::new(store).run().await
}

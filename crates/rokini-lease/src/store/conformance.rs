//! The suite that every store passes: each sentence of the contract of [`LeaseStore`](crate::LeaseStore), random updates
//! compared with the pure `apply`, and races. For authors of stores; behind the feature `conformance`.
//!
//! ```
//! # use std::sync::Arc;
//! use rokini_lease::{MemoryStore, conformance::ConformanceSuite};
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let report = ConformanceSuite::new(Arc::new(MemoryStore::new())).races(20).run().await;
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

use crate::store::contract::LeaseStore;

mod fixtures;
mod groups;
mod listings;
mod races;
mod rows;
mod sequences;
mod suite;
mod unreadable;

pub use suite::{ConformanceSuite, Report};

impl ConformanceSuite {
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
        unreadable::run(self).await;
        let report = sequences::run(self).await;
        races::run(self).await;
        report
    }
}

/// Runs the suite with its defaults.
///
/// # Panics
/// As [`ConformanceSuite::run`].
pub async fn run(store: Arc<dyn LeaseStore>) -> Report {
    ConformanceSuite::new(store).run().await
}

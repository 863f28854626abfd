//! The suite with its sizes, and what a run came to.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::row::RowKey;
use crate::store::contract::LeaseStore;
use crate::types::GroupId;

/// The suite with its sizes.
#[derive(Debug, Clone)]
pub struct ConformanceSuite {
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) seed: u64,
    pub(super) sequences: u32,
    pub(super) races: u32,
    pub(super) listed: u32,
    pub(super) lost_replies: bool,
    pub(super) damage: Option<Damage>,
}

/// Makes a row of the store one that cannot be read.
#[derive(Clone)]
pub(super) struct Damage(pub(super) Arc<dyn Fn(GroupId, RowKey) -> BoxFuture<'static, ()> + Send + Sync>);

impl fmt::Debug for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Damage")
    }
}

/// What a run came to: how many conditional updates took effect and how many were refused. Every kind of
/// update did both, or the run panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Updates that took effect.
    pub applied: u64,
    /// Updates whose condition did not hold.
    pub refused: u64,
}

impl ConformanceSuite {
    /// The suite on a store. It writes to groups whose names begin with `conformance-` and the seed, and
    /// expects them to be empty.
    #[must_use]
    pub fn new(store: Arc<dyn LeaseStore>) -> Self {
        Self { store, seed: 1, sequences: 12, races: 1000, listed: 200, lost_replies: false, damage: None }
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

    /// How a row of the store is made one that cannot be read, behind the store's back: for the part about unreadable
    /// rows, which is left out otherwise.
    #[must_use]
    pub fn damage<F>(mut self, damage: impl Fn(GroupId, RowKey) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.damage = Some(Damage(Arc::new(move |group, key| damage(group, key).boxed())));
        self
    }

    #[expect(clippy::expect_used, reason = "a test suite")]
    pub(super) fn group(&self, part: &str) -> GroupId {
        GroupId::new(format!("conformance-{}-{part}", self.seed)).expect("a valid name")
    }
}

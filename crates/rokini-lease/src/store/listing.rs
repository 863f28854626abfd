//! What a listing returns.

use crate::row::RowKey;

/// Which rows of a group are listed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The worker rows only: small and frequent.
    Workers,
    /// The worker rows by consistent reads, at twice the read units: every one that was written before.
    WorkersNow,
    /// Every row of the group.
    All,
}

impl Listing {
    /// Whether rows of this key belong to it.
    #[must_use]
    pub fn includes(self, key: &RowKey) -> bool {
        self == Self::All || matches!(key, RowKey::Worker(_))
    }
}

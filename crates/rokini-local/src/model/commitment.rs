//! An account's commitment to a minimum of throughput.

use std::time::Duration;

use rokini_wire::shapes::account::BillingCommitment;
use rokini_wire::{BillingCommitmentStatus, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a commitment lasts at least, as the service documents.
const SHORTEST: Duration = Duration::from_secs(24 * 3600);

/// The last commitment of an account in a region.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Commitment {
    pub(crate) started: Timestamp,
    /// When it ends or ended, if it was ended.
    pub(crate) ends: Option<Timestamp>,
}

impl Commitment {
    /// It lasts for at least a day, as the service documents.
    pub(crate) fn earliest_end(&self) -> Timestamp {
        self.started.plus(SHORTEST)
    }

    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }

    pub(crate) fn describe(&self, now: Timestamp) -> BillingCommitment {
        let status = match self.ends {
            None => BillingCommitmentStatus::Enabled,
            Some(ends) if now < ends => BillingCommitmentStatus::EnabledUntilEarliestAllowedEnd,
            Some(_) => BillingCommitmentStatus::Disabled,
        };
        let mut described = BillingCommitment::new(status).started_at(self.started);
        described.ended_at = self.ends.filter(|ends| *ends <= now);
        described.earliest_allowed_end_at = self.holds(now).then(|| self.earliest_end());
        described
    }
}

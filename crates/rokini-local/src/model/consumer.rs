//! One registered consumer of enhanced fan-out.

use std::collections::BTreeMap;

use rokini_wire::shapes::consumer::Consumer;
use rokini_wire::{ConsumerStatus, Timestamp};
use serde::{Deserialize, Serialize};

/// A consumer with its subscriptions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RegisteredConsumer {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created: Timestamp,
    pub(crate) status: ConsumerStatus,
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) policy: Option<String>,
    /// When CREATING or DELETING ends.
    pub(crate) due: Timestamp,
    /// The last subscription to each shard. None outlives the process.
    #[serde(skip)]
    pub(crate) subscriptions: BTreeMap<u32, ActiveSubscription>,
}

/// The subscription that owns a shard for a consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActiveSubscription {
    pub(crate) id: u64,
    pub(crate) since: Timestamp,
}

impl RegisteredConsumer {
    /// Does what has come due. False when the consumer is gone.
    pub(crate) fn apply_due_changes(&mut self, now: Timestamp) -> bool {
        let due = self.due <= now;
        if due && self.status == ConsumerStatus::Creating {
            self.status = ConsumerStatus::Active;
        }
        !(due && self.status == ConsumerStatus::Deleting)
    }

    pub(crate) fn describe(&self) -> Consumer {
        Consumer::new(&self.name, &self.arn, self.status.clone(), self.created)
    }
}

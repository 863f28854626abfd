//! A consumer that reads everything by itself.

use crate::config::{ConfigKey, ConfigOrigin, ConsumerConfig};
use crate::types::error::Error;
use crate::types::start_position::StartPosition;

/// What says where and how positions are stored.
pub(super) const TABLE_KEYS: [ConfigKey; 6] = [
    ConfigKey::Table,
    ConfigKey::CreateTable,
    ConfigKey::BillingMode,
    ConfigKey::ReadCapacityUnits,
    ConfigKey::WriteCapacityUnits,
    ConfigKey::TablePartitions,
];

/// What is about sharing, beside [`TABLE_KEYS`], of which there is none.
const MEANINGLESS: [ConfigKey; 11] = [
    // Each process would take the subscriptions of the others.
    ConfigKey::Retrieval,
    ConfigKey::AllowFanOut,
    ConfigKey::FanOutConsumer,
    ConfigKey::FanOutTags,
    ConfigKey::Failover,
    ConfigKey::Heartbeat,
    ConfigKey::MaxLeases,
    ConfigKey::Balance,
    ConfigKey::UniqueWorkerNames,
    ConfigKey::CheckpointInterval,
    ConfigKey::AutoCheckpoint,
];

/// Settles what a broadcast leaves open, and refuses what makes no sense for one.
pub(super) fn settle(config: &mut ConsumerConfig, has_store: bool, has_policy: bool) -> Result<(), Error> {
    let wrong = |message: String| Err(Error::configuration(message));
    for keys in [&TABLE_KEYS[..], &MEANINGLESS[..]] {
        config.refuse(keys, "with `broadcast = true`")?;
    }
    if has_store {
        return wrong("a lease store has no effect with `broadcast = true`: remove it".to_owned());
    }
    if has_policy {
        return wrong("a balance policy has no effect with `broadcast = true`: remove it".to_owned());
    }
    match config.start {
        StartPosition::Latest => {}
        _ if config.origin(ConfigKey::Start) == ConfigOrigin::Default => {
            config.start(StartPosition::Latest)?;
        }
        other => {
            return wrong(format!(
                "`start = {other}` does not go with `broadcast = true`, which reads from now on: remove it"
            ));
        }
    }
    if config.group.is_none() {
        config.group("broadcast")?;
    }
    Ok(())
}

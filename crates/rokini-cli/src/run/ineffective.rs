//! Which settings act with which kind of handler.

use rokini::ConfigKey;

use super::args::HandlerKind;
use crate::error::CliError;
use crate::worker::settings::{EffectiveSettings, Ineffective};

const SHARES: &str = "`run` shares the shards with the other workers of its group";
const LIBRARY: &str = "it is for consumers that use the `rokini` library";

/// The handler confirms each batch, or parts of it.
const CONFIRMED: Ineffective = Ineffective {
    settings: &[
        (ConfigKey::AutoCheckpoint, "a record is done once the handler says so"),
        (ConfigKey::Broadcast, SHARES),
    ],
    instead: LIBRARY,
};

const CHECKPOINTS: &str = "an application of the KCL decides by its checkpoints what comes again";

const MULTILANG: Ineffective = Ineffective {
    settings: &[
        (ConfigKey::AutoCheckpoint, "a record is done once the application has checkpointed it"),
        (ConfigKey::Broadcast, SHARES),
        (ConfigKey::Concurrency, "the protocol has one process for each shard, and checkpoints in order"),
        (ConfigKey::OnFailure, CHECKPOINTS),
        (ConfigKey::MaxAttempts, CHECKPOINTS),
        (ConfigKey::MaxFailureAge, CHECKPOINTS),
        (ConfigKey::Bisect, CHECKPOINTS),
        (ConfigKey::Park, CHECKPOINTS),
        (ConfigKey::DeadLetter, CHECKPOINTS),
    ],
    instead: "it acts with `--handler lines`, `lambda` and `http`",
};

pub(super) fn of(kind: HandlerKind) -> Ineffective {
    match kind {
        HandlerKind::Lines | HandlerKind::Lambda | HandlerKind::Http => CONFIRMED,
        HandlerKind::Multilang => MULTILANG,
    }
}

/// Defaults that a kind has of its own. `by_properties`: whether those of a KCL application say how it is run, and so that
/// nothing limits it where they do not.
pub(super) fn set_defaults(
    kind: HandlerKind,
    by_properties: bool,
    effective: &mut EffectiveSettings,
) -> Result<(), CliError> {
    if !by_properties {
        effective.set_default(ConfigKey::HandlerTimeout, "5m")?;
    }
    if kind == HandlerKind::Lambda {
        // As an event source mapping has it.
        effective.set_default(ConfigKey::BatchMaxRecords, "100")?;
        effective.set_default(ConfigKey::Deaggregate, "false")?;
    }
    Ok(())
}

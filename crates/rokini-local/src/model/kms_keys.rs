//! KMS keys that cannot be used, and why.

use std::collections::BTreeMap;

use rokini_wire::{ErrorCode, ServiceError};
use serde::{Deserialize, Serialize};

/// KMS keys as tests set them. Keys work until told otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct KmsKeys {
    broken: BTreeMap<String, ErrorCode>,
}

impl KmsKeys {
    pub(crate) fn set_error(&mut self, key_id: String, error: Option<ErrorCode>) {
        match error {
            Some(error) => drop(self.broken.insert(key_id, error)),
            None => drop(self.broken.remove(&key_id)),
        }
    }

    /// Fails if the key of a stream cannot be used.
    pub(crate) fn check(&self, key_id: Option<&String>) -> Result<(), ServiceError> {
        let broken = key_id.and_then(|key| Some((key, self.broken.get(key)?)));
        broken.map_or(Ok(()), |(key, error)| {
            Err(ServiceError::new(error.clone(), format!("The KMS key {key} cannot be used.")))
        })
    }
}

//! Encryption at rest, as far as callers see it: what answers say, and keys that cannot be used.

use std::collections::BTreeMap;

use rokini_wire::shapes::stream::{Empty, StartStreamEncryptionRequest, StopStreamEncryptionRequest};
use rokini_wire::{EncryptionType, ErrorCode, ServiceError, StreamStatus, Timestamp};
use serde::{Deserialize, Serialize};

use super::Model;
use super::errors::{Checks, invalid, limit};
use super::scale::DAY;
use super::stream::Change;

/// Most changes to a key in 24 hours, as the service documents.
const MOST_KEYS: usize = 25;

impl Model {
    /// Turns encryption on. The stream is UPDATING for [`Settings::status_change`](crate::Settings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, LimitExceeded, InvalidArgument, Validation, the KMS errors.
    pub fn start_stream_encryption(
        &mut self,
        now: Timestamp,
        request: &StartStreamEncryptionRequest,
    ) -> Result<Empty, ServiceError> {
        check(&request.encryption_type, &request.key_id)?;
        self.keys.check(Some(&request.key_id))?;
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        stream.must_be_active()?;
        let since = now.minus(DAY);
        stream.encryptions.retain(|at| *at > since);
        if stream.encryptions.len() >= MOST_KEYS {
            return Err(limit(format!(
                "A key was applied {MOST_KEYS} times in 24 hours to {}.",
                stream.place()
            )));
        }
        stream.encryptions.push(now);
        let name = stream.name.clone();
        self.begin(now, &name, StreamStatus::Updating, Change::Encryption(Some(request.key_id.clone())))?;
        Ok(Empty::default())
    }

    /// Turns encryption off. The stream is UPDATING for [`Settings::status_change`](crate::Settings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, InvalidArgument, Validation.
    pub fn stop_stream_encryption(
        &mut self,
        now: Timestamp,
        request: &StopStreamEncryptionRequest,
    ) -> Result<Empty, ServiceError> {
        check(&request.encryption_type, &request.key_id)?;
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        stream.must_be_active()?;
        if stream.key_id.as_ref().is_some_and(|key| *key != request.key_id) {
            return Err(invalid(format!("KeyId {} is not the key of {}.", request.key_id, stream.place())));
        }
        let name = stream.name.clone();
        self.begin(now, &name, StreamStatus::Updating, Change::Encryption(None))?;
        Ok(Empty::default())
    }

    /// Makes every use of a KMS key fail with `error` (one of the KMS codes), or work again. Keys work until told
    /// otherwise.
    pub fn set_kms_key_error(&mut self, key_id: impl Into<String>, error: Option<ErrorCode>) {
        let key_id = key_id.into();
        match error {
            Some(error) => drop(self.keys.broken.insert(key_id, error)),
            None => drop(self.keys.broken.remove(&key_id)),
        }
        self.changed();
    }
}

/// KMS keys that cannot be used, and why.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Keys {
    broken: BTreeMap<String, ErrorCode>,
}

impl Keys {
    /// Fails if the key of a stream cannot be used.
    pub(crate) fn check(&self, key_id: Option<&String>) -> Result<(), ServiceError> {
        let broken = key_id.and_then(|key| Some((key, self.broken.get(key)?)));
        broken.map_or(Ok(()), |(key, error)| {
            Err(ServiceError::new(error.clone(), format!("The KMS key {key} cannot be used.")))
        })
    }
}

fn check(kind: &EncryptionType, key_id: &str) -> Result<(), ServiceError> {
    let mut checks = Checks::default();
    checks.one_of(kind, "encryptionType", EncryptionType::KNOWN);
    checks.length(key_id, "keyId", 1..=2048);
    checks.done()?;
    if *kind == EncryptionType::None {
        return Err(invalid("EncryptionType must be KMS."));
    }
    Ok(())
}

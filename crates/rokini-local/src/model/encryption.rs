//! Encryption at rest, as far as callers see it: what answers say, and keys that cannot be used.

use rokini_wire::shapes::stream::{EmptyResponse, StartStreamEncryptionRequest, StopStreamEncryptionRequest};
use rokini_wire::{EncryptionType, ErrorCode, ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::errors::{invalid_argument, limit_exceeded};
use crate::model::scale::DAY;
use crate::model::stream::StreamChange;

/// Most changes to a key, and most to none, in 24 hours, as the service documents.
const MAX_KEYS: usize = 25;

impl Model {
    /// Turns encryption on. The stream is UPDATING for [`LocalSettings::status_change`](crate::LocalSettings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, LimitExceeded, InvalidArgument, Validation, the KMS errors.
    pub fn start_stream_encryption(
        &mut self,
        now: Timestamp,
        request: &StartStreamEncryptionRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        check_kind(&request.encryption_type)?;
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        stream.must_be_active()?;
        self.keys.check(Some(&request.key_id))?;
        let since = now.minus(DAY);
        stream.encryptions.retain(|at| *at > since);
        if stream.encryptions.len() >= MAX_KEYS {
            return Err(limit_exceeded(format!(
                "A key was applied {MAX_KEYS} times in 24 hours to {}.",
                stream.label()
            )));
        }
        stream.encryptions.push(now);
        let key = stream.key();
        self.begin_change(now, &key, StreamChange::Encryption(Some(request.key_id.clone())))
    }

    /// Turns encryption off. The stream is UPDATING for [`LocalSettings::status_change`](crate::LocalSettings::status_change).
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, LimitExceeded, InvalidArgument, Validation.
    pub fn stop_stream_encryption(
        &mut self,
        now: Timestamp,
        request: &StopStreamEncryptionRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        check_kind(&request.encryption_type)?;
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        stream.must_be_active()?;
        let since = now.minus(DAY);
        stream.decryptions.retain(|at| *at > since);
        if stream.decryptions.len() >= MAX_KEYS {
            return Err(limit_exceeded(format!(
                "Encryption was stopped {MAX_KEYS} times in 24 hours for {}.",
                stream.label()
            )));
        }
        if stream.key_id.as_ref().is_some_and(|key| *key != request.key_id) {
            return Err(invalid_argument(format!(
                "KeyId {} is not the key of {}.",
                request.key_id,
                stream.label()
            )));
        }
        stream.decryptions.push(now);
        let key = stream.key();
        self.begin_change(now, &key, StreamChange::Encryption(None))
    }

    /// Makes every use of a KMS key fail with `error` (one of the KMS codes), or work again. Keys work until told
    /// otherwise.
    pub fn set_kms_key_error(&mut self, key_id: impl Into<String>, error: Option<ErrorCode>) {
        self.keys.set_error(key_id.into(), error);
        self.count_change();
    }
}

fn check_kind(kind: &EncryptionType) -> Result<(), ServiceError> {
    if *kind == EncryptionType::None {
        return Err(invalid_argument("EncryptionType must be KMS."));
    }
    Ok(())
}

//! On-demand Advantage: an account's commitment to a minimum of throughput, and what comes with it.

use rokini_wire::shapes::account::{
    AccountSettingsResponse, BillingCommitment, DescribeAccountSettingsRequest, UpdateAccountSettingsRequest,
};
use rokini_wire::shapes::stream::{
    UpdateStreamWarmThroughputRequest, UpdateStreamWarmThroughputResponse, WarmThroughput,
};
use rokini_wire::{BillingCommitmentStatus, ServiceError, StreamMode, Timestamp};

use crate::model::account::Model;
use crate::model::commitment::Commitment;
use crate::model::errors::{limit_exceeded, validation};
use crate::model::scope::Scope;
use crate::model::stream::{Stream, StreamChange};

/// Most consumers and queues together of a stream, as the service documents.
const MAX_READERS: usize = 20;
/// The same for an on-demand stream with On-demand Advantage, as the service documents.
const MAX_READERS_ADVANTAGE: usize = 50;
/// Largest warm throughput of a stream, as the service documents: 10 GiB a second.
const MAX_WARM_MIBPS: i32 = 10 * 1024;

impl Model {
    /// Tells the settings of the account.
    ///
    /// # Errors
    /// None.
    pub fn describe_account_settings(
        &mut self,
        now: Timestamp,
        _: &DescribeAccountSettingsRequest,
    ) -> Result<AccountSettingsResponse, ServiceError> {
        Ok(self.account_settings(now))
    }

    /// Begins or ends On-demand Advantage. What is ended within a day lasts until the day is over.
    ///
    /// # Errors
    /// Validation.
    pub fn update_account_settings(
        &mut self,
        now: Timestamp,
        request: &UpdateAccountSettingsRequest,
    ) -> Result<AccountSettingsResponse, ServiceError> {
        let scope = self.streams.scope();
        let holding = self.commitments.get_mut(&scope).filter(|commitment| commitment.holds(now));
        match (&request.minimum_throughput_billing_commitment.status, holding) {
            (BillingCommitmentStatus::Enabled, Some(commitment)) => commitment.ends = None,
            (BillingCommitmentStatus::Enabled, None) => {
                self.commitments.insert(scope, Commitment { started: now, ends: None });
            }
            (_, Some(commitment)) if commitment.ends.is_none() => {
                commitment.ends = Some(commitment.earliest_end().max(now));
            }
            _ => {}
        }
        Ok(self.account_settings(now))
    }

    /// Changes the throughput an on-demand stream is kept ready for. It is UPDATING for
    /// [`LocalSettings::status_change`](crate::LocalSettings::status_change), and then has a shard for each MiB a second.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse, LimitExceeded, Validation.
    pub fn update_stream_warm_throughput(
        &mut self,
        now: Timestamp,
        request: &UpdateStreamWarmThroughputRequest,
    ) -> Result<UpdateStreamWarmThroughputResponse, ServiceError> {
        let target = request.warm_throughput_mibps;
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        let (key, mode) = (stream.key(), stream.mode.clone());
        stream.must_be_active()?;
        self.check_warm_throughput(now, &key.scope, &mode, target)?;
        let stream = self.streams.keyed(now, &key)?;
        let (name, arn) = (stream.name.clone(), stream.arn.clone());
        let warm = warm_throughput(stream).target_mibps(target);
        self.begin_change(now, &key, StreamChange::Warm(target))?;
        let response = UpdateStreamWarmThroughputResponse::new().stream_name(name).stream_arn(arn);
        Ok(response.warm_throughput(warm))
    }

    fn account_settings(&self, now: Timestamp) -> AccountSettingsResponse {
        let commitment = self.commitments.get(&self.streams.scope()).map_or_else(
            || BillingCommitment::new(BillingCommitmentStatus::Disabled),
            |commitment| commitment.describe(now),
        );
        AccountSettingsResponse::new().minimum_throughput_billing_commitment(commitment)
    }

    /// Whether an account has On-demand Advantage.
    pub(super) fn has_advantage(&self, now: Timestamp, scope: &Scope) -> bool {
        self.commitments.get(scope).is_some_and(|commitment| commitment.holds(now))
    }

    /// Most consumers and queues together of a stream of this mode.
    pub(super) fn max_readers(&self, now: Timestamp, scope: &Scope, mode: &StreamMode) -> usize {
        let advantage = *mode == StreamMode::OnDemand && self.has_advantage(now, scope);
        if advantage { MAX_READERS_ADVANTAGE } else { MAX_READERS }
    }

    /// Whether a stream of this mode may be kept ready for so many MiB a second.
    pub(super) fn check_warm_throughput(
        &self,
        now: Timestamp,
        scope: &Scope,
        mode: &StreamMode,
        mibps: i32,
    ) -> Result<(), ServiceError> {
        if *mode != StreamMode::OnDemand {
            return Err(validation("Warm throughput is not supported for streams in PROVISIONED mode."));
        }
        if !self.has_advantage(now, scope) {
            return Err(validation(
                "Warm throughput is only supported for accounts that have MinimumThroughputBillingCommitment enabled.",
            ));
        }
        if mibps > MAX_WARM_MIBPS {
            return Err(limit_exceeded(format!(
                "A stream cannot be scaled to more than {MAX_WARM_MIBPS} MiBps; {mibps} are wanted."
            )));
        }
        Ok(())
    }
}

/// What a stream is kept ready for and what it can take now: 1 MiB a second for each open shard.
pub(super) fn warm_throughput(stream: &Stream) -> WarmThroughput {
    let open = i32::try_from(stream.open_shards()).unwrap_or(i32::MAX);
    WarmThroughput::new().target_mibps(stream.warm_mibps.unwrap_or(open)).current_mibps(open)
}

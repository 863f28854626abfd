//! Resource policies: stored and told. Finding a resource applies them.

use rokini_wire::shapes::account::{
    DeleteResourcePolicyRequest, GetResourcePolicyRequest, GetResourcePolicyResponse,
    PutResourcePolicyRequest,
};
use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::errors::{invalid_argument, no_consumer, no_queue, resource_not_found};
use crate::model::policy::fault_in;
use crate::model::scope::Resource;

/// Largest policy, as IAM documents for resource policies of this size class: 20 KiB.
const MAX_BYTES: usize = 20 * 1024;

impl Model {
    /// Attaches a policy to a stream, consumer or queue in place of the one it has.
    ///
    /// # Errors
    /// ResourceNotFound, AccessDenied, InvalidArgument for a policy that is none, Validation.
    pub fn put_resource_policy(
        &mut self,
        now: Timestamp,
        request: &PutResourcePolicyRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let policy = self.policy_of(now, &request.resource_arn)?;
        if request.policy.len() > MAX_BYTES {
            return Err(invalid_argument(format!("The policy is larger than {MAX_BYTES} bytes.")));
        }
        if let Some(fault) = fault_in(&request.policy) {
            return Err(invalid_argument(fault));
        }
        *policy = Some(request.policy.clone());
        Ok(EmptyResponse::new())
    }

    /// Tells the policy of a stream, consumer or queue.
    ///
    /// # Errors
    /// ResourceNotFound also if it has none, AccessDenied, Validation.
    pub fn get_resource_policy(
        &mut self,
        now: Timestamp,
        request: &GetResourcePolicyRequest,
    ) -> Result<GetResourcePolicyResponse, ServiceError> {
        let arn = &request.resource_arn;
        let policy = self.policy_of(now, arn)?.clone();
        let policy = policy.ok_or_else(|| resource_not_found(format!("{arn} has no resource policy.")))?;
        Ok(GetResourcePolicyResponse::new(policy))
    }

    /// Removes the policy of a stream, consumer or queue.
    ///
    /// # Errors
    /// ResourceNotFound also if it has none, AccessDenied, Validation.
    pub fn delete_resource_policy(
        &mut self,
        now: Timestamp,
        request: &DeleteResourcePolicyRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let arn = &request.resource_arn;
        match self.policy_of(now, arn)?.take() {
            Some(_) => Ok(EmptyResponse::new()),
            None => Err(resource_not_found(format!("{arn} has no resource policy."))),
        }
    }

    fn policy_of(&mut self, now: Timestamp, arn: &str) -> Result<&mut Option<String>, ServiceError> {
        match self.streams.arn_here(arn)?.map(|arn| arn.resource) {
            Some(Resource::Consumer { .. }) => {
                let (stream, name) = self.streams.find_consumer(now, arn)?;
                let consumer = stream.consumers.get_mut(name);
                consumer.map(|consumer| &mut consumer.policy).ok_or_else(|| no_consumer(name))
            }
            Some(Resource::Queue(_)) => {
                let (stream, id) = self.streams.find_queue(now, arn)?;
                let queue = stream.queues.get_mut(id);
                queue.map(|queue| &mut queue.policy).ok_or_else(|| no_queue(arn))
            }
            _ => Ok(&mut self.streams.find_by_arn(now, arn)?.policy),
        }
    }
}

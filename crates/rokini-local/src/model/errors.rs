//! Errors in the words of the service.

use rokini_wire::{ErrorCode, ServiceError};

pub(crate) fn invalid_argument(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorCode::InvalidArgument, message)
}

pub(crate) fn resource_not_found(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorCode::ResourceNotFound, message)
}

pub(crate) fn resource_in_use(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorCode::ResourceInUse, message)
}

pub(crate) fn limit_exceeded(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorCode::LimitExceeded, message)
}

pub(crate) fn no_queue(arn: &str) -> ServiceError {
    resource_not_found(format!("Queue {arn} not found."))
}

pub(crate) fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorCode::Validation, message)
}

pub(crate) fn no_consumer(name: &str) -> ServiceError {
    resource_not_found(format!("Consumer {name} not found."))
}

/// One member that breaks a rule which the service model does not have.
pub(crate) fn failed(value: &str, member: &str, rule: &str) -> ServiceError {
    validation(format!(
        "1 validation error detected: {value} at '{member}' failed to satisfy constraint: Member must {rule}"
    ))
}

//! What the SDK's own tries inside one call came to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;

/// Watches the tries of one call. Clones share.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    in_flight: AtomicBool,
    uncertain: AtomicBool,
}

impl Attempts {
    /// Whether a try was sent and got no answer that says what came of it: no answer at all, a server fault,
    /// or a body that could not be read. Its write may have taken effect, or may still.
    pub(super) fn uncertain(&self) -> bool {
        self.0.uncertain.load(Ordering::Acquire) || self.0.in_flight.load(Ordering::Acquire)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "RokiniAttempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.in_flight.store(true, Ordering::Release);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.0.in_flight.swap(false, Ordering::AcqRel) {
            let answered = match (context.output_or_error(), context.response()) {
                (Some(Ok(_)), _) => true,
                (_, Some(response)) => response.status().is_client_error(),
                _ => false,
            };
            if !answered {
                self.0.uncertain.store(true, Ordering::Release);
            }
        }
        Ok(())
    }
}

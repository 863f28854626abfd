//! Takes the body of an answer out of the SDK before anybody reads it: the events of a subscription.

use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;
use parking_lot::Mutex;
use rokini_wire::events::{Frame, INITIAL_RESPONSE};

/// Takes the body of an answer of success, and leaves in its place what the SDK waits for: that the events begin. Of one call;
/// clones share the body.
#[derive(Debug, Clone, Default)]
pub(in crate::source::kinesis) struct TakeBody(Arc<Mutex<Option<SdkBody>>>);

impl TakeBody {
    /// The body, once the call went through.
    pub(in crate::source::kinesis) fn take(&self) -> Option<SdkBody> {
        self.0.lock().take()
    }
}

#[dyn_dispatch_hint]
impl Intercept for TakeBody {
    fn name(&self) -> &'static str {
        "RokiniTakeBody"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            let begins = Frame::event(INITIAL_RESPONSE, "application/json", Bytes::from_static(b"{}"));
            let begins = SdkBody::from(begins.to_bytes().to_vec());
            *self.0.lock() = Some(std::mem::replace(response.body_mut(), begins));
        }
        Ok(())
    }
}

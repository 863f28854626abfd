//! A write that meets a transaction on its row is tried again: the SDK knows that of throttles, not of this.

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};

/// Rows go to other keys in transactions, so every write may meet one. It had no effect.
const CODE: &[u8] = b"TransactionConflictException";

#[derive(Debug)]
pub(super) struct Conflicts;

impl ClassifyRetry for Conflicts {
    fn name(&self) -> &'static str {
        "RokiniConflicts"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refusal = context.response().filter(|response| response.status().as_u16() == 400);
        let text = refusal.and_then(|response| response.body().bytes()).unwrap_or_default();
        match text.windows(CODE.len()).any(|part| part == CODE) {
            true => RetryAction::transient_error(),
            false => RetryAction::NoActionIndicated,
        }
    }
}

//! What every answer over HTTP is made from.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio_util::sync::CancellationToken;

use crate::faults::Faults;
use crate::journal::Journal;
use crate::readers::Readers;
use crate::service::Service;

/// The model with what stands around it. Clones share all of it.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) service: Service,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) readers: Readers,
    /// Whether everything answers that clients wait for.
    pub(crate) ready: Arc<AtomicBool>,
    /// The server stops: ends subscriptions, and calls that hang.
    pub(crate) stop: CancellationToken,
}

//! The model behind a lock, with a clock: what the HTTP server and callers in process share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rokini_wire::{AnyRequest, AnyResponse, ServiceError, Timestamp};
use tokio::sync::watch;

use crate::clock::{Clock, ShiftedClock};
use crate::model::{CallModel, Caller, Model, ModelRequest, answer_any};

/// A shared [`Model`] that knows the time. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Service {
    shared: Arc<ServiceState>,
}

#[derive(Debug)]
struct ServiceState {
    model: Mutex<Model>,
    clock: ShiftedClock,
    /// Counts changes of the model and jumps of the clock.
    changes: watch::Sender<u64>,
    #[cfg(feature = "data")]
    store: Option<crate::store::Store>,
}

impl Service {
    /// Puts a model and a clock together.
    #[must_use]
    pub fn new(model: Model, clock: Arc<dyn Clock>) -> Self {
        let clock = ShiftedClock::new(clock);
        let shared = ServiceState {
            model: Mutex::new(model),
            clock,
            changes: watch::Sender::new(0),
            #[cfg(feature = "data")]
            store: None,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keeps what is called from now on in a store. Without effect once the service is shared.
    #[cfg(feature = "data")]
    pub(crate) fn with_store(mut self, store: Option<crate::store::Store>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.store = store;
        }
        self
    }

    /// The present time of its clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Moves the time of the model forward: iterators expire, records pass their retention, streams become ACTIVE.
    pub fn advance(&self, by: Duration) {
        self.shift(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Lets the time jump by this many milliseconds, backwards if negative.
    pub(crate) fn shift(&self, millis: i64) {
        self.shared.clock.shift(millis);
        self.notify_changes();
    }

    /// Answers a request as of now.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn call<R: ModelRequest>(&self, request: &R) -> Result<R::Response, ServiceError> {
        self.call_as(&Caller::new(), request)
    }

    /// [`Service::call`] by a caller of another account or region.
    ///
    /// # Errors
    /// Those of the operation; AccessDenied for what is another account's.
    pub fn call_as<R: ModelRequest>(
        &self,
        caller: &Caller,
        request: &R,
    ) -> Result<R::Response, ServiceError> {
        self.with_model(|model, now| {
            #[cfg(feature = "data")]
            if let Some(store) = &self.shared.store {
                store.check_writable::<R>()?;
            }
            let response = model.call_as(caller, now, request)?;
            #[cfg(feature = "data")]
            if let Some(store) = &self.shared.store {
                // Under the lock: the store sees the calls in their order.
                store.add(now, caller, model.settings(), request, &response)?;
            }
            Ok(response)
        })
    }

    /// Answers a request of any operation but SubscribeToShard as of now.
    pub(crate) fn call_any(
        &self,
        caller: &Caller,
        request: &AnyRequest,
    ) -> Result<AnyResponse, ServiceError> {
        answer_any(&mut CallsAs { service: self, caller }, request)
    }

    /// Lends the model and the present time, for inspection and for changes no operation offers.
    pub fn with_model<T>(&self, visit: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        // A panic in `visit` leaves the model as it was between two of its own steps: still worth serving.
        let mut model = self.shared.model.lock();
        // Read under the lock, so that time grows in the order of the calls.
        let now = self.now();
        let before = model.version();
        let result = visit(&mut model, now);
        let changed = model.version() != before;
        drop(model);
        if changed {
            self.notify_changes();
        }
        result
    }

    /// Tells of changes of the model and jumps of the clock from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Wakes those who wait for records, because the time or the model changed.
    fn notify_changes(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Answers requests of any type by one caller.
struct CallsAs<'a> {
    service: &'a Service,
    caller: &'a Caller,
}

impl CallModel for CallsAs<'_> {
    fn call<R: ModelRequest>(&mut self, request: &R) -> Result<R::Response, ServiceError> {
        self.service.call_as(self.caller, request)
    }
}

//! The model behind a lock, with a clock: what the HTTP server and callers in process share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rokini_wire::shapes::consumer::SubscribeToShardRequest;
use rokini_wire::{AnyRequest, AnyResponse, ServiceError, Timestamp};
use tokio::sync::watch;

use crate::clock::{Clock, ShiftedClock};
#[cfg(feature = "data")]
use crate::model::changes_something;
use crate::model::{CallModel, Caller, Model, ModelRequest, StreamKey, Subscription, answer_any};
#[cfg(feature = "data")]
use crate::store::{Await, Live, Store};
use crate::wake_ups::WakeUps;

/// A shared [`Model`] that knows the time. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Service {
    shared: Arc<ServiceState>,
}

#[derive(Debug)]
struct ServiceState {
    model: Mutex<Model>,
    clock: ShiftedClock,
    wake_ups: WakeUps,
    #[cfg(feature = "data")]
    store: Option<Store>,
}

impl Service {
    /// Puts a model and a clock together.
    #[must_use]
    pub fn new(model: Model, clock: Arc<dyn Clock>) -> Self {
        let clock = ShiftedClock::new(clock);
        let shared = ServiceState {
            model: Mutex::new(model),
            clock,
            wake_ups: WakeUps::default(),
            #[cfg(feature = "data")]
            store: None,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keeps what is called from now on in a store, and goes on with the shift of the clock that was kept. Without effect once the
    /// service is shared.
    #[cfg(feature = "data")]
    pub(crate) fn with_store(mut self, store: Option<Store>, shift_millis: i64) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.store = store;
            shared.clock.shift(shift_millis);
        }
        self
    }

    #[cfg(feature = "data")]
    pub(crate) fn store(&self) -> Option<&Store> {
        self.shared.store.as_ref()
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
        let model = self.shared.model.lock();
        self.shared.clock.shift(millis);
        #[cfg(feature = "data")]
        if let Some(store) = self.store() {
            store.add_shift(self.now(), self.shared.clock.shifted_by());
        }
        drop(model);
        self.shared.wake_ups.wake_all();
    }

    /// How far the time was moved from that of its clock, in milliseconds.
    pub(crate) fn shifted_by(&self) -> i64 {
        self.shared.clock.shifted_by()
    }

    /// Answers a request as of now.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn call<R: ModelRequest>(&self, request: &R) -> Result<R::Response, ServiceError> {
        self.call_as(&Caller::new(), request)
    }

    /// [`Service::call`] by a caller of another account or region. Where streams are kept in files, it blocks until what the answer
    /// shows is on disk.
    ///
    /// # Errors
    /// Those of the operation; AccessDenied for what is another account's.
    pub fn call_as<R: ModelRequest>(
        &self,
        caller: &Caller,
        request: &R,
    ) -> Result<R::Response, ServiceError> {
        let response = self.call_unsettled(caller, request)?;
        #[cfg(feature = "data")]
        if let Some(store) = self.store() {
            judge(R::NAME, store.wait(awaited(R::NAME)))?;
        }
        Ok(response)
    }

    /// Answers a request; what it changed may still be on its way to the disk, for which [`Service::settled`] waits.
    pub(crate) fn call_unsettled<R: ModelRequest>(
        &self,
        caller: &Caller,
        request: &R,
    ) -> Result<R::Response, ServiceError> {
        let mut shards = None;
        let (result, changed, touched) = self.lend(|model, now| {
            #[cfg(feature = "data")]
            if let Some(store) = self.store().filter(|_| changes_something(R::NAME)) {
                store.check_writable()?;
            }
            let response = model.call_as(caller, now, request)?;
            let changed = request.changed(&response);
            #[cfg(feature = "data")]
            if let Some(store) = self.store() {
                // Under the lock: the store sees the calls in their order.
                store.add(now, model, &changed);
            }
            shards = changed.shards();
            Ok(response)
        });
        if changed {
            self.shared.wake_ups.wake(&touched, shards.as_deref());
        }
        result
    }

    /// Waits until what the answer to an operation shows is on disk, where streams are kept in files.
    ///
    /// # Errors
    /// InternalFailure if what the operation changed or shows cannot be kept.
    pub(crate) async fn settled(&self, operation: &str) -> Result<(), ServiceError> {
        #[cfg(feature = "data")]
        if let Some(store) = self.store() {
            return judge(operation, store.settled(awaited(operation)).await);
        }
        let _ = operation;
        Ok(())
    }

    /// Answers a request of any operation but SubscribeToShard as of now, unsettled.
    pub(crate) fn call_any(
        &self,
        caller: &Caller,
        request: &AnyRequest,
    ) -> Result<AnyResponse, ServiceError> {
        answer_any(&mut CallsAs { service: self, caller }, request)
    }

    /// Begins a subscription.
    pub(crate) fn subscribe_as(
        &self,
        caller: &Caller,
        request: &SubscribeToShardRequest,
    ) -> Result<Subscription, ServiceError> {
        let (result, changed, touched) = self.lend(|model, now| model.subscribe_as(caller, now, request));
        if changed {
            self.shared.wake_ups.wake(&touched, None);
        }
        result
    }

    /// Lends the model and the present time, for inspection and for changes no operation offers.
    pub fn with_model<T>(&self, visit: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        let (result, changed, _) = self.lend(visit);
        if changed {
            self.shared.wake_ups.wake_all();
        }
        result
    }

    fn lend<T>(&self, visit: impl FnOnce(&mut Model, Timestamp) -> T) -> (T, bool, Vec<(StreamKey, u64)>) {
        // A panic in `visit` leaves the model as it was between two of its own steps: still worth serving.
        let mut model = self.shared.model.lock();
        // Read under the lock, so that time grows in the order of the calls.
        let now = self.now();
        let before = model.version();
        let result = visit(&mut model, now);
        let changed = model.version() != before;
        let touched = if changed { model.touched().to_vec() } else { Vec::new() };
        (result, changed, touched)
    }

    /// Forgets what retention has taken, also from streams that nobody uses, and frees the files that only that needs. One stream at
    /// a time, so that no call waits for all.
    pub(crate) fn clean_up(&self) {
        let keys = self.shared.model.lock().stream_keys();
        #[cfg(feature = "data")]
        let mut live = Live { next_stream: self.shared.model.lock().next_stream_id(), ..Live::default() };
        for (id, key) in &keys {
            let mut model = self.shared.model.lock();
            model.trim_stream(self.now(), key);
            #[cfg(feature = "data")]
            if let Some(shards) = model.live_shards(*id, key) {
                live.streams.insert(*id, shards);
            }
            let _ = id;
        }
        #[cfg(feature = "data")]
        if let Some(store) = self.store() {
            store.reclaim(live);
        }
    }

    /// Tells of changes of the model and jumps of the clock from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.wake_ups.of_anything()
    }

    /// Tells of changes of one stream and jumps of the clock from now on.
    pub(crate) fn changes_of(&self, stream: &StreamKey) -> watch::Receiver<()> {
        self.shared.wake_ups.of_stream(stream)
    }

    /// The same, without records of other shards than this.
    pub(crate) fn changes_of_shard(&self, stream: &StreamKey, shard: u32) -> watch::Receiver<()> {
        self.shared.wake_ups.of_shard(stream, shard)
    }
}

/// What an operation's answer waits for: what it shows must not be gone after a crash.
#[cfg(feature = "data")]
fn awaited(operation: &str) -> Await {
    if changes_something(operation) || shows_records(operation) { Await::Everything } else { Await::State }
}

/// Whether an answer holds records: a consumer that has read one goes on after it, so it must be there after a crash.
#[cfg(feature = "data")]
fn shows_records(operation: &str) -> bool {
    matches!(operation, "GetRecords" | "SubscribeToShardEvent")
}

/// What cannot be kept fails what changes something, and what would show records that are gone at the next start. Everything else
/// shows what is there.
#[cfg(feature = "data")]
fn judge(operation: &str, settled: Result<(), ServiceError>) -> Result<(), ServiceError> {
    if changes_something(operation) || shows_records(operation) { settled } else { Ok(()) }
}

/// Answers requests of any type by one caller.
struct CallsAs<'a> {
    service: &'a Service,
    caller: &'a Caller,
}

impl CallModel for CallsAs<'_> {
    fn call<R: ModelRequest>(&mut self, request: &R) -> Result<R::Response, ServiceError> {
        self.service.call_unsettled(self.caller, request)
    }
}

#[cfg(test)]
mod tests {
    use rokini_wire::shapes::record::PutRecordRequest;
    use rokini_wire::shapes::shard::SplitShardRequest;
    use rokini_wire::shapes::stream::CreateStreamRequest;

    use super::*;
    use crate::clock::ManualClock;
    use crate::model::shard_id;
    use crate::settings::LocalSettings;

    #[test]
    fn only_those_are_woken_whom_a_call_concerns() {
        let clock = ManualClock::new(Timestamp::from_secs(1_700_000_000));
        let service = Service::new(Model::new(LocalSettings::default()), Arc::new(clock));
        for name in ["orders", "payments"] {
            service.call(&CreateStreamRequest::new(name).shard_count(2)).unwrap();
        }
        let keys = service.with_model(|model, _| model.stream_keys());
        let mut orders = service.changes_of(&keys[0].1);
        let mut payments = service.changes_of(&keys[1].1);
        let mut shards = [0, 1].map(|shard| service.changes_of_shard(&keys[0].1, shard));
        let mut anything = service.changes();
        let mut woken = || {
            let [first, second] = &mut shards;
            let woken = [&mut orders, first, second, &mut payments].map(|one| {
                let has_changed = one.has_changed().unwrap();
                one.mark_unchanged();
                has_changed
            });
            assert!(anything.has_changed().unwrap());
            anything.mark_unchanged();
            woken
        };
        let put = |name: &str, hash: u128| {
            let request = PutRecordRequest::new(b"x".to_vec()).partition_key("k").stream_name(name);
            service.call(&request.explicit_hash_key(hash.to_string())).unwrap();
        };
        put("payments", 0);
        assert_eq!(woken(), [false, false, false, true]);
        put("orders", 0);
        assert_eq!(woken(), [true, true, false, false]);
        put("orders", u128::MAX);
        assert_eq!(woken(), [true, false, true, false]);
        service.call(&SplitShardRequest::new(shard_id(0), "1000").stream_name("orders")).unwrap();
        assert_eq!(woken(), [true, true, true, false], "a shard that ends is its stream's");
        service.advance(Duration::from_secs(1));
        assert_eq!(woken(), [true; 4], "the time is everybody's");
    }
}

//! What stands between one worker and everything outside its process: it can be frozen, and it can crash in any call.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

/// Where in a call a process crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before the call takes effect.
    BeforeEffect,
    /// After it took effect, without its answer.
    AfterEffect,
}

/// The gate of a worker's process. Clones share it.
#[derive(Clone, Debug)]
pub struct ProcessGate {
    state: Arc<Mutex<State>>,
    /// Wakes in the order of arrival, which a watch channel does not.
    opens: Arc<Notify>,
    crash_after: Arc<Mutex<Option<(u32, CrashPoint)>>>,
    crashed: mpsc::UnboundedSender<u32>,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Frozen,
    /// The process is gone: what is left of it in this one gets nothing out.
    Dead,
}

/// The process is dead: its calls are not made.
#[derive(Debug)]
pub(crate) struct ProcessDead;

impl ProcessGate {
    pub(crate) fn new(number: u32, crashed: mpsc::UnboundedSender<u32>) -> Self {
        let state = Arc::new(Mutex::new(State::Open));
        Self { state, opens: Arc::default(), crash_after: Arc::default(), crashed, number }
    }

    /// Nothing goes out or comes in any more, until it thaws. What was on its way then goes on.
    pub fn freeze(&self, on: bool) {
        self.set(if on { State::Frozen } else { State::Open });
    }

    /// The worker is dead from now on.
    pub fn kill(&self) {
        self.set(State::Dead);
    }

    fn set(&self, new: State) {
        let mut state = lock(&self.state);
        if *state != State::Dead {
            *state = new;
        }
        drop(state);
        self.opens.notify_waiters();
    }

    /// The process crashes in the call that comes after so many others.
    pub fn crash_in(&self, calls: u32, at: CrashPoint) {
        *self.crash_after() = Some((calls, at));
    }

    /// Neither frozen nor about to crash.
    pub fn heal(&self) {
        *self.crash_after() = None;
        if self.is_frozen() {
            self.freeze(false);
        }
    }

    /// Whether the worker stands still.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        *lock(&self.state) == State::Frozen
    }

    fn crash_after(&self) -> MutexGuard<'_, Option<(u32, CrashPoint)>> {
        lock(&self.crash_after)
    }

    /// Waits while the worker is frozen.
    pub(crate) async fn thawed(&self) -> Result<(), ProcessDead> {
        loop {
            let mut opens = pin!(self.opens.notified());
            opens.as_mut().enable();
            match *lock(&self.state) {
                State::Open => return Ok(()),
                State::Dead => return Err(ProcessDead),
                State::Frozen => {}
            }
            opens.await;
        }
    }

    /// The way out.
    pub(crate) async fn before(&self) -> Result<(), ProcessDead> {
        let crashes = match &mut *self.crash_after() {
            Some((0, CrashPoint::BeforeEffect)) => true,
            Some((calls, _)) if *calls > 0 => {
                *calls -= 1;
                false
            }
            _ => false,
        };
        if crashes {
            self.crash();
        }
        self.thawed().await
    }

    /// The way back.
    pub(crate) async fn after(&self) -> Result<(), ProcessDead> {
        if matches!(*self.crash_after(), Some((0, CrashPoint::AfterEffect))) {
            self.crash();
        }
        self.thawed().await
    }

    fn crash(&self) {
        self.kill();
        // Nobody asks once the run is over.
        let _ = self.crashed.send(self.number);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

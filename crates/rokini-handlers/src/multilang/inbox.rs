//! What a child has said and nobody has looked at yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::message::{Message, read_message};
use crate::child::StdoutLines;

/// A child waits for the answer to a checkpoint before it says more, so there is hardly more than one message.
const MOST: usize = 1_000;

/// What a child has said and nobody has looked at yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    overflown: bool,
    closed: bool,
}

/// Why no message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoMessage {
    /// The child closed its output.
    Closed,
    /// It said more than it was asked for.
    TooMany,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message. Cancel safe.
    pub(super) async fn next(&self) -> Result<Message, NoMessage> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if state.overflown {
                    return Err(NoMessage::TooMany);
                }
                if let Some(message) = state.messages.pop_front() {
                    return Ok(message);
                }
                if state.closed {
                    return Err(NoMessage::Closed);
                }
            }
            changed.await;
        }
    }

    /// Waits until the child has said more than it was asked for. Cancel safe.
    pub(super) async fn overflow(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().overflown {
                return;
            }
            changed.await;
        }
    }
}

impl StdoutLines for Inbox {
    fn line(&self, line: &[u8]) -> bool {
        let Some(message) = read_message(line) else { return false };
        let mut state = self.state();
        if state.messages.len() < MOST {
            state.messages.push_back(message);
        } else {
            state.overflown = true;
        }
        drop(state);
        self.changed.notify_one();
        true
    }

    fn closed(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

//! First phases of checkpoints in two phases that wait to be stored.

use std::collections::VecDeque;

use bytes::Bytes;
use rokini_lease::Position;
use tokio::sync::oneshot;

use crate::types::error::Error;

/// A position that user code prepares, with bytes of its own, and whoever waits for it to be stored.
struct Prepare {
    position: Position,
    state: Bytes,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// What is prepared and not stored, in order.
#[derive(Default)]
pub(super) struct PrepareQueue(VecDeque<Prepare>);

impl PrepareQueue {
    pub(super) fn push(&mut self, position: Position, state: Bytes) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, stored) = oneshot::channel();
        self.0.push_back(Prepare { position, state, answer });
        stored
    }

    /// The first that somebody still waits for.
    pub(super) fn next(&mut self) -> Option<(Position, Bytes)> {
        while self.0.front().is_some_and(|first| first.answer.is_closed()) {
            self.0.pop_front();
        }
        self.0.front().map(|first| (first.position, first.state.clone()))
    }

    pub(super) fn answer_first(&mut self, answer: Result<(), Error>) {
        if let Some(first) = self.0.pop_front() {
            // Whoever asked may have stopped waiting.
            let _ = first.answer.send(answer);
        }
    }

    pub(super) fn refuse(self, refusal: impl Fn() -> Error) {
        for prepare in self.0 {
            let _ = prepare.answer.send(Err(refusal()));
        }
    }
}

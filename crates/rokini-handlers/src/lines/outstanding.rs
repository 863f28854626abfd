//! The records that a process has got and not answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rokini::lease::SequenceNumber;
use rokini::{AckToken, Record};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::message::{Answer, read_answer};
use crate::child::{ChildWatch, StdoutLines};
use crate::event::KillReason;

/// The records that a process has got and not answered, by the numbers it knows them by.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    records: BTreeMap<u64, (SequenceNumber, AckToken)>,
    /// When it answered last, or got the first record that it has not answered.
    heard: Option<Instant>,
    /// Answers in all.
    answers: u64,
    /// The last record that it had not answered when it ended.
    left: Option<SequenceNumber>,
    closed: bool,
}

impl Outstanding {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process gets this record: the number that it is to answer. `None` once it has ended; the token is given back.
    pub(super) fn add(&self, record: &Record, token: AckToken) -> Option<u64> {
        let mut state = self.state();
        if state.closed {
            token.give_back();
            return None;
        }
        if state.records.is_empty() {
            state.heard = Some(Instant::now());
        }
        state.next += 1;
        let number = state.next;
        state.records.insert(number, (record.sequence_number, token));
        Some(number)
    }

    /// Whether all records up to this number are answered.
    fn answered_through(&self, number: u64) -> bool {
        self.state().records.first_key_value().is_none_or(|(first, _)| *first > number)
    }

    /// Waits until all records up to this number are answered; whether they are, and not given back. Cancel safe.
    pub(super) async fn until_answered_through(&self, number: u64) -> bool {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Two may wait: the call and the one that looks after silence.
            changed.as_mut().enable();
            if self.state().closed {
                return self.state().left.is_none();
            }
            if self.answered_through(number) {
                return true;
            }
            changed.await;
        }
    }

    /// Waits until nothing more can be answered: the process closed its output. Cancel safe.
    pub(super) async fn until_closed(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state().closed {
                return;
            }
            changed.await;
        }
    }

    /// Waits until every record is answered, or the process has ended.
    pub(super) async fn until_settled(&self) {
        let last = self.state().next;
        self.until_answered_through(last).await;
    }

    /// Whether it ever answered.
    pub(super) fn has_answered(&self) -> bool {
        self.state().answers > 0
    }

    /// The last record that it had not answered when it ended.
    pub(super) fn left(&self) -> Option<SequenceNumber> {
        self.state().left
    }

    /// Ends a process that has records and says nothing about any of them for so long.
    pub(super) async fn end_when_silent(&self, child: ChildWatch, limit: Duration) {
        let mut ended = child.clone();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (is_empty, heard) = {
                let state = self.state();
                (state.records.is_empty(), state.heard)
            };
            let silent = async {
                match heard.filter(|_| !is_empty) {
                    Some(heard) => sleep_until(heard + limit).await,
                    // Records that come while there are none change nothing here before the limit.
                    None => tokio::time::sleep(limit).await,
                }
            };
            tokio::select! {
                _ = ended.ended() => return,
                () = changed => {}
                () = silent => {
                    let state = self.state();
                    let is_silent = state.heard.is_some_and(|heard| heard.elapsed() >= limit);
                    if is_silent && !state.records.is_empty() {
                        drop(state);
                        child.kill(KillReason::Answer(limit));
                        return;
                    }
                }
            }
        }
    }

    fn answer(&self, answer: Answer) {
        let mut state = self.state();
        state.answers += 1;
        state.heard = Some(Instant::now());
        match answer {
            // What is answered twice, or was never given out, says nothing.
            Answer::Ack(numbers) => {
                for number in numbers {
                    if let Some((_, token)) = state.records.remove(&number) {
                        token.ack();
                    }
                }
            }
            Answer::AckThrough(number) => {
                let later = state.records.split_off(&(number.saturating_add(1)));
                let done = std::mem::replace(&mut state.records, later);
                done.into_values().for_each(|(_, token)| token.ack());
            }
            Answer::Fail(numbers, error) => {
                for number in numbers {
                    if let Some((_, token)) = state.records.remove(&number) {
                        token.fail(error.clone());
                    }
                }
            }
        }
    }
}

impl StdoutLines for Outstanding {
    fn line(&self, line: &[u8]) -> bool {
        let Some(answer) = read_answer(line) else { return false };
        self.answer(answer);
        self.changed.notify_waiters();
        true
    }

    fn closed(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.left = state.records.last_key_value().map(|(_, (sequence, _))| *sequence);
        for (_, token) in std::mem::take(&mut state.records).into_values() {
            token.give_back();
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

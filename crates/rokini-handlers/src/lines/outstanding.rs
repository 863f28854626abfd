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

/// What becomes of a record.
pub(super) trait Settle: Send + 'static {
    fn ack(self);
    fn fail(self, error: String);
    fn give_back(self);
}

impl Settle for AckToken {
    fn ack(self) {
        self.ack();
    }

    fn fail(self, error: String) {
        self.fail(error);
    }

    fn give_back(self) {
        self.give_back();
    }
}

/// The records that a process has got and not answered, by the numbers it knows them by.
#[derive(Debug)]
pub(super) struct Outstanding<T = AckToken> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    next: u64,
    records: BTreeMap<u64, (SequenceNumber, T)>,
    /// Since when the oldest record that is not answered is the oldest: whatever is answered beside it, it waits.
    oldest_since: Option<Instant>,
    /// Whether an answer ever was about a record that was given out.
    has_answered: bool,
    /// The last record that it had not answered when it ended.
    left: Option<SequenceNumber>,
    closed: bool,
}

impl<T> Default for Outstanding<T> {
    fn default() -> Self {
        let state = State {
            next: 0,
            records: BTreeMap::new(),
            oldest_since: None,
            has_answered: false,
            left: None,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }
}

impl<T: Settle> Outstanding<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records of a process are numbered from here on, so that numbers that it writes for other ends answer nothing.
    pub(super) fn begin_at(&self, number: u64) {
        self.state().next = number;
    }

    /// The process gets this record: the number that it is to answer. `None` once it has ended; the token is given back.
    pub(super) fn add(&self, record: &Record, token: T) -> Option<u64> {
        let mut state = self.state();
        if state.closed {
            token.give_back();
            return None;
        }
        if state.records.is_empty() {
            state.oldest_since = Some(Instant::now());
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

    /// Whether it closed its output.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits until every record is answered, or the process has ended.
    pub(super) async fn until_settled(&self) {
        let last = self.state().next;
        self.until_answered_through(last).await;
    }

    /// Whether it ever answered a record.
    pub(super) fn has_answered(&self) -> bool {
        self.state().has_answered
    }

    /// The last record that it had not answered when it ended.
    pub(super) fn left(&self) -> Option<SequenceNumber> {
        self.state().left
    }

    /// Ends a process that says nothing about the oldest of its records for so long.
    pub(super) async fn end_when_silent(&self, child: ChildWatch, limit: Duration) {
        let mut ended = child.clone();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (is_empty, since) = {
                let state = self.state();
                (state.records.is_empty(), state.oldest_since)
            };
            let silent = async {
                match since.filter(|_| !is_empty) {
                    Some(since) => sleep_until(since + limit).await,
                    // Records that come while there are none change nothing here before the limit.
                    None => tokio::time::sleep(limit).await,
                }
            };
            tokio::select! {
                _ = ended.ended() => return,
                () = changed => {}
                () = silent => {
                    let state = self.state();
                    let is_silent = state.oldest_since.is_some_and(|since| since.elapsed() >= limit);
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
        let (oldest, before) = (state.records.keys().next().copied(), state.records.len());
        match answer {
            // What is answered twice, or was never given out, says nothing.
            Answer::Ack(numbers) => {
                for number in numbers {
                    if let Some((_, token)) = state.records.remove(&number) {
                        token.ack();
                    }
                }
            }
            Answer::AckThrough(number) if number > state.next => {}
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
        state.has_answered |= state.records.len() < before;
        if state.records.keys().next().copied() != oldest {
            state.oldest_since = Some(Instant::now());
        }
    }
}

impl<T: Settle> StdoutLines for Outstanding<T> {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::child::{NoMessages, Spawner};
    use crate::context::HandlerContext;
    use crate::settings::ProcessSettings;

    struct Token(u32, Arc<Mutex<Vec<(u32, &'static str)>>>);

    impl Settle for Token {
        fn ack(self) {
            self.1.lock().unwrap().push((self.0, "done"));
        }

        fn fail(self, _: String) {
            self.1.lock().unwrap().push((self.0, "failed"));
        }

        fn give_back(self) {
            self.1.lock().unwrap().push((self.0, "given back"));
        }
    }

    #[tokio::test]
    async fn m4_numbers_that_were_never_given_out_answer_nothing() {
        let (told, outstanding) = (Arc::default(), Outstanding::default());
        outstanding.begin_at(1 << 40);
        let record = Record::new(7.into(), "k", "d", 0);
        let number = outstanding.add(&record, Token(1, Arc::clone(&told))).unwrap();
        assert_eq!(number, (1 << 40) + 1);
        for stray in ["1", "200", r#"{"ack":[1,2]}"#, r#"{"ack_through":1000000}"#] {
            assert!(outstanding.line(stray.as_bytes()), "{stray}");
        }
        assert!(outstanding.line(format!(r#"{{"ack_through":{}}}"#, u64::MAX).as_bytes()));
        assert!(told.lock().unwrap().is_empty() && !outstanding.has_answered());
        outstanding.line(number.to_string().as_bytes());
        assert_eq!(*told.lock().unwrap(), [(1, "done")]);
        assert!(outstanding.has_answered());
    }

    /// Others are answered all the time, and numbers that mean nothing come: neither is a word about the first.
    #[tokio::test]
    async fn m4_a_record_that_is_not_answered_ends_its_process_however_much_it_says_of_others() {
        let settings = ProcessSettings::new(["sleep", "1000"]);
        let spawner = Spawner::new(settings, &HandlerContext::new(1));
        let mut child = spawner.spawn(Arc::new(NoMessages), &[]).unwrap();
        let (told, outstanding) = (Arc::default(), Arc::new(Outstanding::default()));
        let record = Record::new(7.into(), "k", "d", 0);
        outstanding.add(&record, Token(0, Arc::clone(&told))).unwrap();
        let (watched, watch) = (Arc::clone(&outstanding), child.watch());
        let limit = Duration::from_millis(500);
        let watching = spawner.tracker.spawn(async move { watched.end_when_silent(watch, limit).await });
        let talk = async {
            loop {
                let number = outstanding.add(&record, Token(1, Arc::clone(&told))).unwrap();
                outstanding.line(number.to_string().as_bytes());
                outstanding.line(b"0");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = talk => {}
            ended = tokio::time::timeout(Duration::from_secs(20), child.ended()) => assert!(ended.is_ok()),
        }
        watching.await.unwrap();
        assert_eq!(spawner.events.stats().killed, 1);
    }
}

//! One child and what is said to it: a message, then its checkpoints, then its `status`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rokini::lease::Position;
use rokini::{Record, ShardContext};
use tokio::time::{Instant, timeout};

use super::checkpointer::{Checkpoint, Checkpointer, INVALID_STATE, class_of};
use super::inbox::{Inbox, NoMessage};
use super::message::{Action, CheckpointRequest, Message, checkpoint_answer};
use crate::child::{Child, ChildWatch};
use crate::event::KillReason;

/// How long a checkpoint waits for a table that does not take it before the child is told: about as long as the DynamoDB client of
/// the Java daemon tries (8 times again, after 25 ms doubling). It is tried on after that.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(5);

/// Why a conversation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(String);

impl Failure {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One child and what is said to it. Dropped, the child is ended by force.
pub(super) struct Conversation {
    child: Child<Inbox>,
    shard: ShardContext,
    message_timeout: Option<Duration>,
    checkpointer: Checkpointer,
    /// Whether the end of the shard may be stored, and was.
    end: Option<bool>,
    last_said: Instant,
    pub(super) millis_behind_latest: Option<u64>,
}

impl Conversation {
    pub(super) fn new(child: Child<Inbox>, shard: ShardContext, message_timeout: Option<Duration>) -> Self {
        let checkpointer = Checkpointer::new(shard.position());
        Self {
            child,
            shard,
            message_timeout,
            checkpointer,
            end: None,
            last_said: Instant::now(),
            millis_behind_latest: None,
        }
    }

    pub(super) fn watch(&self) -> ChildWatch {
        self.child.watch()
    }

    /// How long nothing was said to it.
    pub(super) fn quiet_for(&self) -> Duration {
        self.last_said.elapsed()
    }

    /// The next message to it has these records.
    pub(super) fn deliver(&mut self, records: &[Record], millis_behind_latest: u64) {
        self.checkpointer.deliver(records);
        self.millis_behind_latest = Some(millis_behind_latest);
    }

    /// How long it has had its shard.
    pub(super) fn age(&self) -> Duration {
        self.child.age()
    }

    /// Whether it has checkpointed the end of the shard.
    pub(super) fn end_is_stored(&self) -> bool {
        self.end == Some(true)
    }

    /// Initializes it, within this time.
    pub(super) async fn start(&mut self, initialize: &str, limit: Duration) -> Result<(), Failure> {
        match timeout(limit, self.say(Action::Initialize, initialize)).await {
            Ok(said) => said,
            Err(_) => {
                self.child.kill(KillReason::Start(limit));
                Err(Failure(format!("the child process did not initialize within {limit:?}")))
            }
        }
    }

    /// Says something to it and hears it out. A failure leaves it in no state to go on.
    pub(super) async fn say(&mut self, action: Action, line: &str) -> Result<(), Failure> {
        if action == Action::ShardEnded {
            self.end = Some(false);
        }
        self.last_said = Instant::now();
        let pid = self.child.pid();
        self.write(action, line).await?;
        loop {
            match self.message(action).await? {
                Message::Status(answered) if answered == action.name() => {
                    self.last_said = Instant::now();
                    return Ok(());
                }
                Message::Status(answered) => {
                    let what = format!("it answered `{answered}` to `{}`", action.name());
                    self.child.kill(KillReason::Protocol(what.clone()));
                    return Err(Failure(format!("process {pid} broke the protocol: {what}")));
                }
                Message::Checkpoint(request) => {
                    let error = self.checkpoint(action, &request).await.err();
                    let answer = checkpoint_answer(&request, error);
                    self.write(action, &answer).await?;
                }
            }
        }
    }

    /// Writes to it as long as it takes, and no longer than it may take to answer: what one that stands still does not read fills
    /// the pipe, and no answer would ever be waited for.
    async fn write(&mut self, action: Action, text: &str) -> Result<(), Failure> {
        let (pid, inbox) = (self.child.pid(), Arc::clone(&self.child.stdout));
        let writing = self.child.write(text.as_bytes());
        let writing = async {
            match self.message_timeout {
                Some(limit) => timeout(limit, writing).await.map_err(|_| limit),
                None => Ok(writing.await),
            }
        };
        let written = tokio::select! {
            written = writing => written,
            // It talks and does not listen.
            () = inbox.overflow() => return Err(self.flooded()),
        };
        match written {
            Ok(written) => written.map_err(|error| {
                Failure(format!("`{}` cannot be written to process {pid}: {error}", action.name()))
            }),
            Err(limit) => {
                self.child.kill(KillReason::Answer(limit));
                Err(Failure(format!("process {pid} did not read `{}` within {limit:?}", action.name())))
            }
        }
    }

    /// Ends a child that said more than it was asked for.
    fn flooded(&self) -> Failure {
        let what = "it sent a flood of messages".to_owned();
        self.child.kill(KillReason::Protocol(what.clone()));
        Failure(format!("process {} broke the protocol: {what}", self.child.pid()))
    }

    async fn message(&mut self, action: Action) -> Result<Message, Failure> {
        let pid = self.child.pid();
        let next = self.child.stdout.next();
        let next = match self.message_timeout {
            Some(limit) => timeout(limit, next).await.map_err(|_| limit),
            None => Ok(next.await),
        };
        match next {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(NoMessage::Closed)) => {
                let status = timeout(Duration::from_secs(1), self.child.ended()).await;
                let how =
                    status.map_or_else(|_| "it closed its output".to_owned(), |status| status.to_string());
                Err(Failure(format!("process {pid} ended without answering `{}`: {how}", action.name())))
            }
            Ok(Err(NoMessage::TooMany)) => Err(self.flooded()),
            Err(limit) => {
                self.child.kill(KillReason::Answer(limit));
                Err(Failure(format!("process {pid} did not answer `{}` within {limit:?}", action.name())))
            }
        }
    }

    /// Stores what the child asks for; `Err` with the name of a Java class.
    async fn checkpoint(&mut self, action: Action, request: &CheckpointRequest) -> Result<(), &'static str> {
        if matches!(action, Action::Initialize | Action::LeaseLost) {
            return Err(INVALID_STATE);
        }
        let at_end = action == Action::ShardEnded;
        let largest = self.checkpointer.largest();
        if at_end && request.sequence_number.as_deref() == Some("SHARD_END") {
            return self.store(largest, true).await;
        }
        match self.checkpointer.resolve(request)? {
            // The end is stored with what comes last.
            Checkpoint::Nothing if at_end && self.checkpointer.last() == largest => {
                self.store(largest, true).await
            }
            Checkpoint::Nothing => Ok(()),
            Checkpoint::Store(position) => self.store(position, at_end && position == largest).await,
        }
    }

    async fn store(&mut self, position: Position, is_end: bool) -> Result<(), &'static str> {
        if position > self.checkpointer.last() {
            let stored = self.shard.checkpoint_through(position, CHECKPOINT_PATIENCE).await;
            stored.map_err(|error| class_of(error.kind()))?;
            self.checkpointer.stored(position);
        }
        if is_end {
            self.end = Some(true);
        }
        Ok(())
    }

    /// Closes its input and waits until it has ended, at last by force.
    pub(super) async fn stop(self, limit: Duration) {
        self.child.stop(limit).await;
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("child", &self.child).finish_non_exhaustive()
    }
}

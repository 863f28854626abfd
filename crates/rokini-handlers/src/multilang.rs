//! Applications of the KCL in other languages: the MultiLang protocol, without a JVM.

mod application;
mod checkpointer;
mod conversation;
mod credentials;
mod inbox;
mod keys;
mod message;
mod properties;
mod settings;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rokini::lease::LeaseLostReason;
use rokini::{Batch, HandlerError, HandlerStats, RecordProcessor, ShardContext};
use tokio::time::sleep;

pub use self::application::KclApplication;
use self::conversation::{Conversation, Failure};
pub use self::credentials::{CredentialsSource, RoleToAssume};
use self::inbox::Inbox;
use self::message::Action;
pub use self::settings::MultiLangSettings;
use crate::child::Spawner;
use crate::context::HandlerContext;
use crate::event::HandlerEvent;
use crate::pool::ChildPool;
use crate::restarts::Restarts;
use crate::settings::ProcessSettings;

/// Before a shard goes back to its last checkpoint, at least. Who ends all processes of a unit ends the child and asks this one to stop,
/// one after the other: what is about to leave does not begin anew.
const GO_BACK: Duration = Duration::from_millis(200);
/// A shard is finished although the application did not checkpoint its end after so many tries: its records were all
/// delivered and answered for, and its children would wait for ever.
const END_TRIES: u32 = 3;

/// Makes processors of MultiLang applications: a child for each shard. To be used with `auto_checkpoint = false`: a record
/// is done when the child has checkpointed it.
#[derive(Clone)]
pub struct MultiLang(Arc<Shared>);

struct Shared {
    pool: Arc<ChildPool<Inbox>>,
    settings: MultiLangSettings,
    /// Failures in a row of the children of a shard, across the times that it begins anew, and where their random numbers begin.
    failures: Mutex<(BTreeMap<Arc<str>, Restarts>, u64)>,
}

impl fmt::Debug for MultiLang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiLang").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Shared {
    /// A child failed that ran for so long: how long to wait before the shard goes back to its last checkpoint.
    fn failed(&self, shard: &Arc<str>, ran: Duration) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_shards, seed) = &mut *failures;
        *seed = seed.wrapping_add(1);
        let restarts = of_shards.entry(Arc::clone(shard)).or_insert_with(|| Restarts::new(*seed));
        restarts.ended_after(ran).max(GO_BACK)
    }

    /// Nothing more comes of this shard.
    fn finished(&self, shard: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).0.remove(shard);
    }
}

impl MultiLang {
    /// Starts the first child, which waits for a shard. Within a Tokio runtime only.
    #[must_use]
    pub fn new(process: ProcessSettings, settings: MultiLangSettings, context: &HandlerContext) -> Self {
        let pool = ChildPool::new(Spawner::new(process, context));
        let failures = Mutex::new((BTreeMap::new(), context.seed));
        Self(Arc::new(Shared { pool, settings, failures }))
    }

    /// The processor of a shard.
    #[must_use]
    pub fn processor(&self, shard: &ShardContext) -> MultiLangProcessor {
        MultiLangProcessor {
            shared: Arc::clone(&self.0),
            shard: shard.shard_id().as_str().into(),
            conversation: Arc::default(),
            end_tries: 0,
        }
    }

    /// Starts so many processes for shards that are about to come, and returns once they wait for their input, at the latest 10 s
    /// later. For before a worker joins a group whose shards other workers have: nobody waits then for an interpreter. Those that are
    /// not needed within [`ProcessSettings::idle_timeout`] are ended.
    pub async fn warm(&self, processes: usize) {
        self.0.pool.warm(processes).await;
    }

    /// Ends the children that wait for a shard. For the end of the consumer.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> HandlerStats {
        self.0.pool.spawner().events.stats()
    }

    /// Looks every 5 s at what the processes use of the machine, for [`stats`](Self::stats). Never returns: whoever wants to
    /// know has it run beside the consumer.
    pub async fn measure(&self) -> Infallible {
        let spawner = self.0.pool.spawner();
        spawner.events.measure(&spawner.tracker).await
    }
}

/// The child of a shard, between calls. Whoever talks to it takes it out: one that was left in the middle of a conversation
/// is of no use, and is ended.
type ConversationSlot = Arc<tokio::sync::Mutex<Option<Conversation>>>;

/// The records of one shard through a child of its own.
pub struct MultiLangProcessor {
    shared: Arc<Shared>,
    shard: Arc<str>,
    conversation: ConversationSlot,
    end_tries: u32,
}

impl fmt::Debug for MultiLangProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiLangProcessor").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl MultiLangProcessor {
    /// Starts a child and initializes it.
    async fn start(&self, shard: &ShardContext) -> Result<Conversation, Failure> {
        let spawner = self.shared.pool.spawner();
        let child = self.shared.pool.take().await;
        let child = child.map_err(|error| Failure::new(error.to_string()))?;
        child.assign(&self.shard);
        let message_timeout = self.shared.settings.message_timeout;
        let mut conversation = Conversation::new(child, shard.clone(), message_timeout);
        let initialize = message::initialize(&self.shard, shard.position());
        let limit = spawner.settings.start_timeout;
        conversation.start(&initialize, limit).await?;
        Ok(conversation)
    }

    /// The shard begins anew at its last checkpoint: what the child got since then, it may not have done.
    async fn go_back(&self, shard: &ShardContext, failure: Failure, ran: Duration) -> HandlerError {
        let error = failure.to_string();
        let pause = self.shared.failed(&self.shard, ran);
        tokio::select! {
            () = sleep(pause) => {}
            () = shard.cancelled() => {}
        }
        shard.restart(error.clone());
        error.into()
    }

    /// Looks after the child while nobody talks to it: that it lives, and that it is called without records.
    fn look_after(&self, shard: &ShardContext, watch: crate::child::ChildWatch) {
        let (shard, slot) = (shard.clone(), Arc::clone(&self.conversation));
        let (shared, name) = (Arc::clone(&self.shared), Arc::clone(&self.shard));
        self.shared.pool.spawner().tracker.spawn(async move {
            let events = shared.pool.spawner().events.clone();
            let watched = watch_child(&shard, &slot, &shared, &name, watch);
            if events.guard("idle child", watched).await.is_none() {
                shard.restart("a task that looks after its child panicked".to_owned());
            }
        });
    }
}

/// Until the child or the work on the shard ends.
async fn watch_child(
    shard: &ShardContext,
    slot: &ConversationSlot,
    shared: &Shared,
    name: &Arc<str>,
    mut watch: crate::child::ChildWatch,
) {
    let every = shared.settings.empty_calls;
    loop {
        let quiet = async {
            match every {
                Some(every) => sleep(every).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shard.cancelled() => return,
            _ = watch.ended() => {
                // Where nobody talks to it, nobody else notices.
                if let Some(ended) = slot.lock().await.take() {
                    let ran = ended.age();
                    drop(ended);
                    begin_anew(shard, shared.failed(name, ran), "the child process ended by itself".to_owned()).await;
                }
                return;
            }
            () = quiet => {}
        }
        let Some(every) = every else { continue };
        let mut slot = slot.lock().await;
        let Some(mut conversation) = slot.take() else { continue };
        let failed = if conversation.quiet_for() >= every {
            let line = message::process_records(&[], conversation.millis_behind_latest);
            conversation.say(Action::ProcessRecords, &line).await.err()
        } else {
            None
        };
        match failed {
            None => *slot = Some(conversation),
            Some(failure) => {
                let ran = conversation.age();
                drop(conversation);
                return begin_anew(shard, shared.failed(name, ran), failure.to_string()).await;
            }
        }
    }
}

/// The shard goes back to its last checkpoint after a while, unless it leaves before.
async fn begin_anew(shard: &ShardContext, pause: Duration, why: String) {
    tokio::select! {
        () = sleep(pause) => shard.restart(why),
        () = shard.cancelled() => {}
    }
}

impl RecordProcessor for MultiLangProcessor {
    async fn init(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        match self.start(shard).await {
            Ok(conversation) => {
                let watch = conversation.watch();
                *self.conversation.lock().await = Some(conversation);
                self.look_after(shard, watch);
                Ok(())
            }
            Err(failure) => {
                // The delay before the next try is that of every call which fails.
                let shard = Some(Arc::clone(&self.shard));
                let (error, retry_in) = (failure.to_string(), Duration::ZERO);
                self.shared.pool.spawner().events.emit(&HandlerEvent::StartFailed { shard, error, retry_in });
                Err(failure.to_string().into())
            }
        }
    }

    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        let mut slot = self.conversation.lock().await;
        let Some(mut conversation) = slot.take() else {
            // The shard is about to begin anew.
            return Err("the child process has ended: the shard goes back to its last checkpoint".into());
        };
        let line = message::process_records(batch.records(), Some(batch.millis_behind_latest()));
        conversation.deliver(batch.records(), batch.millis_behind_latest());
        match conversation.say(Action::ProcessRecords, &line).await {
            Ok(()) => {
                *slot = Some(conversation);
                Ok(())
            }
            Err(failure) => {
                let ran = conversation.age();
                drop(conversation);
                drop(slot);
                Err(self.go_back(batch.shard(), failure, ran).await)
            }
        }
    }

    async fn shard_ended(&mut self, shard: &ShardContext) -> Result<(), HandlerError> {
        let mut slot = Arc::clone(&self.conversation).lock_owned().await;
        let mut conversation = match slot.take() {
            Some(conversation) => conversation,
            None => self.start(shard).await.map_err(|failure| failure.to_string())?,
        };
        let said = conversation.say(Action::ShardEnded, &message::bare(Action::ShardEnded)).await;
        let checkpointed = conversation.end_is_stored();
        match said {
            Ok(()) => {}
            Err(failure) if !checkpointed => {
                let ran = conversation.age();
                drop(conversation);
                return Err(self.go_back(shard, failure, ran).await);
            }
            // What had to be stored is stored.
            Err(_) => {}
        }
        conversation.stop(self.shared.pool.spawner().settings.stop_timeout).await;
        if checkpointed {
            self.shared.finished(&self.shard);
            return Ok(());
        }
        self.end_tries += 1;
        if self.end_tries < END_TRIES {
            return Err("the application did not checkpoint the end of the shard: call `checkpoint()` without a sequence \
                        number in `shardEnded` (`shard_ended`, `shutdown` with the reason TERMINATE)"
                .into());
        }
        let (name, times) = (Some(Arc::clone(&self.shard)), self.end_tries);
        let event = HandlerEvent::EndNotCheckpointed { shard: name, times };
        self.shared.pool.spawner().events.emit(&event);
        Ok(())
    }

    async fn shutdown_requested(&mut self, _: &ShardContext) -> Result<(), HandlerError> {
        let Some(mut conversation) = self.conversation.lock().await.take() else { return Ok(()) };
        let requested = message::bare(Action::ShutdownRequested);
        let said = conversation.say(Action::ShutdownRequested, &requested).await;
        if said.is_ok() {
            let lost = message::bare(Action::LeaseLost);
            // It is ended in any case.
            let _ = conversation.say(Action::LeaseLost, &lost).await;
        }
        conversation.stop(self.shared.pool.spawner().settings.stop_timeout).await;
        said.map_err(|failure| failure.to_string().into())
    }

    async fn lease_lost(&mut self, _: &ShardContext, _: LeaseLostReason) {
        let Some(mut conversation) = self.conversation.lock().await.take() else { return };
        let lost = message::bare(Action::LeaseLost);
        // It is ended in any case.
        let _ = conversation.say(Action::LeaseLost, &lost).await;
        conversation.stop(self.shared.pool.spawner().settings.stop_timeout).await;
    }
}

//! The streams that a consumer reads, and how they come and go while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rokini_lease::{HashRange, Position, ShardId, StreamId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::source::stream_identity::is_same;
use crate::source::stream_source::{ShardSelection, StreamSource};
use crate::types::error::Error;
use crate::types::stream_ref::tell_apart;

/// A stream whose start position is stored.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) id: StreamId,
    pub(crate) name: String,
    pub(crate) start: Position,
    pub(crate) source: Arc<dyn StreamSource>,
    retention_millis: AtomicU64,
    holes: Mutex<Vec<HashRange>>,
    replaced: CancellationToken,
    doubt: Notify,
    answers: Mutex<Answers>,
    /// Which shards it has, as it said last: what one shard asks, the others need not ask.
    listed: tokio::sync::Mutex<Option<Listed>>,
    /// The ARN of the group's consumer, once it is known to be registered.
    consumer: tokio::sync::Mutex<Option<Arc<str>>>,
    /// Shards that were found ended and open at once.
    ended_but_open: Mutex<BTreeSet<ShardId>>,
}

/// How the stream answers this worker, over all its shards.
#[derive(Debug, Default)]
struct Answers {
    last: Option<Instant>,
    /// How often in a row it did not for so long that the worker could not read it.
    unable: u32,
    able_since: Option<Instant>,
}

/// The first pause before a stream that cannot be read is tried again; each further one is twice as long, up to
/// [`LONGEST_UNABLE`].
const FIRST_UNABLE: Duration = Duration::from_secs(15);
const LONGEST_UNABLE: Duration = Duration::from_secs(600);

/// What a look at a stream brought, and when.
#[derive(Debug, Clone)]
struct Listed {
    at: Instant,
    shards: Option<Arc<BTreeSet<ShardId>>>,
}

/// How long what one shard learned about the whole stream counts for the others.
const LISTED_FOR: Duration = Duration::from_secs(2);

impl OpenStream {
    pub(crate) fn new(
        id: StreamId,
        name: String,
        start: Position,
        source: Arc<dyn StreamSource>,
        retention: Duration,
    ) -> Self {
        let stream = Self {
            id,
            name,
            start,
            source,
            retention_millis: AtomicU64::default(),
            holes: Mutex::default(),
            replaced: CancellationToken::new(),
            doubt: Notify::new(),
            answers: Mutex::default(),
            listed: tokio::sync::Mutex::default(),
            consumer: tokio::sync::Mutex::default(),
            ended_but_open: Mutex::default(),
        };
        stream.set_retention(retention);
        stream
    }

    /// How long the stream keeps records, as it said last.
    pub(crate) fn retention(&self) -> Duration {
        Duration::from_millis(self.retention_millis.load(Ordering::Relaxed))
    }

    pub(crate) fn set_retention(&self, retention: Duration) {
        let millis = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        self.retention_millis.store(millis, Ordering::Relaxed);
    }

    /// A shard of it got an answer.
    pub(crate) fn answered(&self) {
        self.answers.lock().last = Some(Instant::now());
    }

    /// Whether no shard of it has had an answer for so long.
    pub(crate) fn is_silent(&self, limit: Duration) -> bool {
        self.answers.lock().last.is_none_or(|last| last.elapsed() >= limit)
    }

    /// It cannot be read from here: for how long to leave it.
    pub(crate) fn unable(&self) -> Duration {
        let mut answers = self.answers.lock();
        // It went well for as long as the longest pause: that is forgotten.
        if answers.able_since.take().is_some_and(|since| since.elapsed() >= LONGEST_UNABLE) {
            answers.unable = 0;
        }
        let pause = FIRST_UNABLE.saturating_mul(1 << answers.unable.min(8)).min(LONGEST_UNABLE);
        answers.unable += 1;
        pause
    }

    /// It can be read again.
    pub(crate) fn able(&self) {
        let now = Instant::now();
        let mut answers = self.answers.lock();
        (answers.last, answers.able_since) = (Some(now), Some(now));
    }

    /// Hashes that no lease covers, as the last audit of this worker found them.
    pub(crate) fn holes(&self) -> Vec<HashRange> {
        self.holes.lock().clone()
    }

    pub(crate) fn set_holes(&self, holes: Vec<HashRange>) {
        *self.holes.lock() = holes;
    }

    /// The shards it has now. `None` where it is another stream, or where it did not say a moment ago: whoever needs to
    /// know asks again. The shards of a stream that fail together look once together.
    pub(crate) async fn shards(&self) -> Result<Option<Arc<BTreeSet<ShardId>>>, Error> {
        let mut listed = self.listed.lock().await;
        if let Some(known) = listed.as_ref().filter(|known| known.at.elapsed() < LISTED_FOR) {
            return Ok(known.shards.clone());
        }
        let looked = self.look().await;
        let shards = looked.as_ref().ok().cloned().flatten();
        *listed = Some(Listed { at: Instant::now(), shards });
        looked
    }

    async fn look(&self) -> Result<Option<Arc<BTreeSet<ShardId>>>, Error> {
        if !is_same(&self.source.describe().await?.id, &self.id) {
            self.doubt();
            return Ok(None);
        }
        let listing = self.source.list_shards(ShardSelection::All).await?;
        Ok(Some(Arc::new(listing.into_iter().map(|shard| shard.id).collect())))
    }

    /// Notes the shards whose leases are ended while the stream lists them as open, and returns those that were so
    /// the last time too: a listing may be older than a lease.
    pub(crate) fn ended_but_open(&self, now: BTreeSet<ShardId>) -> Vec<ShardId> {
        let mut before = self.ended_but_open.lock();
        let both = before.intersection(&now).cloned().collect();
        *before = now;
        both
    }

    /// What is known of the group's consumer; whoever finds out more does so alone.
    pub(super) async fn consumer(&self) -> tokio::sync::MutexGuard<'_, Option<Arc<str>>> {
        self.consumer.lock().await
    }

    /// The consumer of this ARN is not registered any more.
    pub(crate) async fn forget_consumer(&self, arn: &str) {
        let mut known = self.consumer.lock().await;
        known.take_if(|known| **known == *arn);
    }

    /// Whether it was deleted and made again: nothing more of this one can be read.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.is_cancelled()
    }

    /// Resolves once it was deleted and made again. Cancel safe.
    pub(crate) async fn until_replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Something says that the stream may not be the one it was.
    pub(crate) fn doubt(&self) {
        self.doubt.notify_one();
    }

    pub(crate) async fn doubted(&self) {
        self.doubt.notified().await;
    }
}

/// Refuses two streams that positions could not tell apart.
pub(crate) fn apart(one: &dyn StreamSource, other: &dyn StreamSource) -> Result<(), Error> {
    one.reference().zip(other.reference()).map_or(Ok(()), |(one, other)| tell_apart(one, other))
}

/// Streams by id.
pub(crate) type Open = BTreeMap<StreamId, Arc<OpenStream>>;

fn admit(open: &Open, source: &dyn StreamSource) -> Result<(), Error> {
    open.values().try_for_each(|stream| apart(stream.source.as_ref(), source))
}

/// What is read now.
#[derive(Debug)]
pub(crate) struct Streams {
    open: watch::Sender<Arc<Open>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { open: watch::Sender::new(Arc::default()) }
    }
}

impl Streams {
    pub(crate) fn get(&self, id: &StreamId) -> Option<Arc<OpenStream>> {
        self.open.borrow().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Arc<Open> {
        Arc::clone(&self.open.borrow())
    }

    /// The stream of this name or id.
    pub(crate) fn named(&self, text: &str) -> Option<Arc<OpenStream>> {
        let open = self.open.borrow();
        open.values().find(|stream| stream.name == text || stream.id.as_str() == text).cloned()
    }

    /// Refuses a source whose stream positions could not tell from one that is read.
    pub(crate) fn admit(&self, source: &dyn StreamSource) -> Result<(), Error> {
        admit(&self.open.borrow(), source)
    }

    /// Reads a stream from now on. One that is read already stays as it is.
    ///
    /// # Errors
    /// As [`Streams::admit`].
    pub(crate) fn add(&self, stream: OpenStream) -> Result<Arc<OpenStream>, Error> {
        let added = Arc::new(stream);
        let mut refused = Ok(());
        self.open.send_if_modified(|open| {
            refused = admit(open, added.source.as_ref());
            if refused.is_err() || open.contains_key(&added.id) {
                return false;
            }
            Arc::make_mut(open).insert(added.id.clone(), Arc::clone(&added)).is_none()
        });
        refused.map(|()| self.get(&added.id).unwrap_or(added))
    }

    /// Reads a stream no more.
    pub(crate) fn remove(&self, stream: &OpenStream) {
        self.open.send_if_modified(|open| Arc::make_mut(open).remove(&stream.id).is_some());
    }

    /// Reads `new` in place of `old`, which is gone. Nothing happens where `old` is read no more anyway.
    pub(crate) fn replace(&self, old: &OpenStream, new: OpenStream) {
        self.open.send_if_modified(|open| {
            let open = Arc::make_mut(open);
            let was_read = open.remove(&old.id).is_some();
            if was_read {
                // Its tasks must know before the member asks them to hand over.
                old.replaced.cancel();
                open.entry(new.id.clone()).or_insert_with(|| Arc::new(new));
            }
            was_read
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Open>> {
        self.open.subscribe()
    }
}

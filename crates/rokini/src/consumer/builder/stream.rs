//! A consumer as a stream of records.

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;

use super::ConsumerBuilder;
use crate::config::ConfigKey;
use crate::consumer::handle::Handle;
use crate::consumer::shutdown_report::ShutdownReport;
use crate::delivery::acks::AckToken;
use crate::processor::batch::Batch;
use crate::processor::factory::Factory;
use crate::processor::record_processor::RecordProcessor;
use crate::processor::shard_context::ShardContext;
use crate::types::error::{Error, ErrorKind};
use crate::types::failure::HandlerError;
use crate::types::record::Record;

/// Records that wait in the stream, beside those that wait in their shards: enough that whoever reads is never idle
/// while there are some.
const WAITING: usize = 64;

/// A record, or a batch, from a stream of them. It is done once it is acked; dropped, it comes again.
///
/// What is read of it goes to the record or batch itself: `delivered.data()`, `delivered.len()`.
#[derive(Debug)]
#[must_use = "what is dropped without an ack comes again"]
pub struct Delivered<T> {
    item: T,
    token: AckToken,
    shard: ShardContext,
}

impl<T> Delivered<T> {
    /// It is done: [`AckToken::ack`]. Never waits.
    pub fn ack(self) {
        self.token.ack();
    }

    /// It is not done, and why: [`AckToken::fail`].
    pub fn fail(self, error: impl Into<HandlerError>) {
        self.token.fail(error);
    }

    /// Whether an ack still counts: [`AckToken::is_current`].
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.token.is_current()
    }

    /// Whether the shard may be worked on at this moment: [`ShardContext::is_valid`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.is_current() && self.shard.is_valid()
    }

    /// The shard it comes from.
    #[must_use]
    pub fn shard(&self) -> &ShardContext {
        &self.shard
    }

    /// The record or batch and its token, for those who part them.
    pub fn into_parts(self) -> (T, AckToken) {
        (self.item, self.token)
    }
}

impl<T> Deref for Delivered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

/// The records of a consumer as a [`Stream`]; got by [`ConsumerBuilder::into_stream`] and
/// [`ConsumerBuilder::into_batch_stream`].
///
/// - The consumer runs in a task of its own, and keeps its shards alive however slowly the stream is read. Reading it
///   slowly slows the reading of the shards: at most `max_outstanding_records` and `max_outstanding_bytes` of a shard
///   are out, of which 64 records wait here.
/// - Records of one shard come in its order, shards mixed. Each is done once it is acked ([`Delivered::ack`]), in any
///   order. What was taken from the stream has no limit of time: put one around the work on it, and drop it or fail it
///   then.
/// - What waits here and does not count any more, since its lease is lost, is no item: it comes to whoever has the
///   shard now. While the heartbeats of this worker do not arrive, nothing comes ([`ShardContext::is_valid`]).
/// - What passes by itself is no item: [`Handle::events`] tells it. An error that ends the consumer
///   ([`Consumer::run`](crate::Consumer::run)) is the last item.
/// - [`Handle::shutdown`] ends the stream once the shards have left: read on until then, so that what waits is done
///   or given back. [`Deliveries::close`] does both.
/// - Dropping it stops the consumer in order, in the background: what was not acked comes to the next holder of each
///   shard.
#[must_use = "the consumer stops when its stream is dropped"]
pub struct Deliveries<T> {
    items: mpsc::Receiver<Delivered<T>>,
    /// The next item, and what it waits for.
    withheld: Option<(Delivered<T>, BoxFuture<'static, ()>)>,
    run: Option<JoinHandle<Result<ShutdownReport, Error>>>,
    handle: Handle,
}

impl<T> fmt::Debug for Deliveries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<T> Deliveries<T> {
    /// A handle to stop and watch the consumer.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops the consumer in order, within [`ConfigKey::ShutdownDeadline`](crate::ConfigKey), and waits for that.
    /// Records that wait in the stream are given back; those that were taken from it and are not acked have until the
    /// deadline.
    ///
    /// # Errors
    /// As [`Consumer::run`](crate::Consumer::run).
    pub async fn close(mut self) -> Result<ShutdownReport, Error> {
        self.give_back();
        match self.run.take() {
            Some(run) => ended(run.await),
            None => Ok(ShutdownReport::default()),
        }
    }

    /// Begins the stop, and gives back what waits here.
    fn give_back(&mut self) {
        // Its first step, without an await, gives the order.
        let _ = self.handle.stop().now_or_never();
        self.items.close();
        if let Some((delivered, _)) = self.withheld.take() {
            delivered.token.give_back();
        }
        while let Ok(delivered) = self.items.try_recv() {
            delivered.token.give_back();
        }
    }
}

impl<T> Drop for Deliveries<T> {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn ended(run: Result<Result<ShutdownReport, Error>, JoinError>) -> Result<ShutdownReport, Error> {
    run.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Bug, "the task of the consumer died").with_source(error))
    })
}

/// Items move when they are given out; none is ever pinned.
impl<T> Unpin for Deliveries<T> {}

impl<T> Deliveries<T> {
    /// The next item whose shard may be worked on now. `None` once there is none any more.
    fn poll_valid(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivered<T>>> {
        loop {
            let delivered = match &mut self.withheld {
                Some((_, valid)) => {
                    ready!(valid.poll_unpin(cx));
                    self.withheld.take().map(|(delivered, _)| delivered)
                }
                None => ready!(self.items.poll_recv(cx)),
            };
            let Some(delivered) = delivered else { return Poll::Ready(None) };
            if delivered.is_valid() {
                return Poll::Ready(Some(delivered));
            }
            if delivered.is_current() {
                let shard = delivered.shard.clone();
                self.withheld = Some((delivered, async move { shard.until_valid().await }.boxed()));
            } else {
                delivered.token.give_back();
            }
        }
    }
}

impl<T> Stream for Deliveries<T> {
    type Item = Result<Delivered<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.run.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(Some(delivered)) = this.poll_valid(cx) {
            return Poll::Ready(Some(Ok(delivered)));
        }
        let Some(run) = &mut this.run else { return Poll::Ready(None) };
        let result = ready!(run.poll_unpin(cx));
        this.run = None;
        Poll::Ready(ended(result).err().map(Err))
    }
}

/// Passes on what a shard delivers.
struct Forward<T> {
    to: mpsc::Sender<Delivered<T>>,
    split: fn(Batch) -> Vec<(T, AckToken)>,
}

impl<T: Send + 'static> RecordProcessor for Forward<T> {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        let shard = batch.shard().clone();
        let mut items = (self.split)(batch).into_iter();
        for (item, token) in items.by_ref() {
            let room = tokio::select! {
                biased;
                () = shard.cancelled() => None,
                room = self.to.reserve() => room.ok(),
            };
            // The lease is lost, or nobody reads any more: the consumer is about to stop.
            let Some(room) = room else {
                token.give_back();
                break;
            };
            room.send(Delivered { item, token, shard: shard.clone() });
        }
        items.for_each(|(_, token)| token.give_back());
        Ok(())
    }
}

impl ConsumerBuilder {
    /// Builds the consumer, starts it, and gives its records as a stream, in place of a handler.
    ///
    /// ```no_run
    /// # async fn example(builder: rokini::ConsumerBuilder) -> Result<(), rokini::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let mut records = builder.into_stream().await?;
    /// while let Some(record) = records.try_next().await? {
    ///     println!("{:?}: {} bytes", record.partition_key(), record.data().len());
    ///     record.ack();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`ConsumerBuilder::build`]; [`ErrorKind::Configuration`] when there is a handler too, or a
    /// [`handler_timeout`](ConsumerBuilder::handler_timeout): a stream may be read as slowly as it takes. Errors
    /// of the start, such as a stream that does not exist, are items of the stream.
    pub async fn into_stream(self) -> Result<Deliveries<Record>, Error> {
        self.forward(WAITING, |batch| batch.into_acks().collect()).await
    }

    /// As [`ConsumerBuilder::into_stream`], with whole batches: sized as `batch_max_records`, `batch_max_bytes` and
    /// `batch_max_wait` say. An ack is for the whole batch.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::into_stream`].
    pub async fn into_batch_stream(self) -> Result<Deliveries<Batch>, Error> {
        let whole = |batch: Batch| {
            let token = batch.ack_token();
            vec![(batch, token)]
        };
        self.forward(1, whole).await
    }

    async fn forward<T: Send + 'static>(
        self,
        waiting: usize,
        split: fn(Batch) -> Vec<(T, AckToken)>,
    ) -> Result<Deliveries<T>, Error> {
        // It would run while records wait here, and count against those that nobody has looked at.
        let why = "with a stream of records, whose reader takes its time";
        self.config.refuse(&[ConfigKey::HandlerTimeout], why)?;
        let (to, items) = mpsc::channel(waiting);
        let consumer = self.handler(Factory::new(move |_| Forward { to: to.clone(), split })).build().await?;
        let handle = consumer.handle();
        let run = Some(TaskTracker::new().spawn(consumer.run()));
        Ok(Deliveries { items, withheld: None, run, handle })
    }
}

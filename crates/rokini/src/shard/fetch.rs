//! Reads a shard ahead of its handler.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Live;
use crate::consumer::engine::Engine;
use crate::consumer::streams::OpenStream;
use crate::delivery::retry::{Backoff, Retry};
use crate::events::Event;
use crate::{Error, ErrorKind, Fetched, ShardEnd, ShardReader};

/// A reader waits by itself after an error that passes, for as long as that one asks for. This on top of it keeps
/// one that does not from spinning.
const BESIDE_READER: Duration = Duration::from_millis(200);

/// Reads one shard into a channel, at most one response ahead of what was taken from it.
pub(crate) struct Fetch {
    pub(crate) engine: Arc<Engine>,
    pub(crate) live: Arc<Live>,
    pub(crate) stream: Arc<OpenStream>,
    pub(crate) responses: mpsc::Sender<Fetched>,
    retry: Retry,
}

impl Fetch {
    /// The fetcher and the end to take responses from.
    pub(crate) fn new(
        engine: &Arc<Engine>,
        live: &Arc<Live>,
        stream: &Arc<OpenStream>,
        rng: &mut StdRng,
    ) -> (Self, mpsc::Receiver<Fetched>) {
        let (responses, taken) = mpsc::channel(1);
        let retry = Retry::new(Backoff::DELIVERY, StdRng::from_rng(rng));
        let (engine, live, stream) = (Arc::clone(engine), Arc::clone(live), Arc::clone(stream));
        (Self { engine, live, stream, responses, retry }, taken)
    }

    /// Until the end of the shard, or until nobody takes responses any more.
    pub(crate) async fn run(mut self) {
        let hold = self.live.context.checkpoints().hold();
        let responses = self.responses.clone();
        let mut reader = None;
        while let Ok(place) = responses.reserve().await {
            let mut fetched = self.next(&mut reader).await;
            for record in &mut fetched.records {
                record.hold = Some(hold);
            }
            let ended = fetched.end.is_some();
            place.send(fetched);
            if ended {
                return;
            }
        }
    }

    /// The next response with something in it.
    async fn next(&mut self, reader: &mut Option<Box<dyn ShardReader>>) -> Fetched {
        let stream = Arc::clone(&self.stream);
        loop {
            let result = match reader {
                Some(reader) => tokio::select! {
                    biased;
                    () = stream.until_replaced() => return self.gone(),
                    read = reader.next() => read,
                },
                None => {
                    let context = &self.live.context;
                    match self.stream.source.open(context.shard_id(), &context.position()).await {
                        Ok(opened) => {
                            *reader = Some(opened);
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            match result {
                Ok(fetched) => {
                    self.retry.succeeded();
                    self.live.read(&fetched);
                    if !fetched.records.is_empty() || fetched.end.is_some() {
                        return fetched;
                    }
                }
                Err(error) if self.is_gone(&error).await => return self.gone(),
                Err(error) => tokio::select! {
                    biased;
                    () = stream.until_replaced() => return self.gone(),
                    () = self.failed(&error) => {}
                },
            }
        }
    }

    async fn failed(&mut self, error: &Error) {
        let mut retry_in = self.retry.failed();
        if error.is_retryable() {
            retry_in = retry_in.min(BESIDE_READER);
        }
        let failures = self.retry.failures();
        let context = &self.live.context;
        self.live.read_failed(error.to_string());
        self.engine.events.tell(Event::ReadFailed {
            stream: context.stream().clone(),
            shard: context.shard_id().clone(),
            kind: error.kind(),
            error: error.to_string(),
            failures,
            retry_in,
        });
        sleep(retry_in).await;
    }

    /// Whether the error means that the stream does not know the shard any more. Anything unclear is an error
    /// like others.
    async fn is_gone(&self, error: &Error) -> bool {
        let (context, engine) = (&self.live.context, &self.engine);
        if error.kind() != ErrorKind::Data {
            return false;
        }
        if !matches!(engine.catalog.is_gone(&self.stream, context.shard_id()).await, Ok(true)) {
            return false;
        }
        true
    }

    /// The end of a shard of which nothing more can be read.
    fn gone(&self) -> Fetched {
        let context = &self.live.context;
        let (stream, shard) = (context.stream().clone(), context.shard_id().clone());
        let position = context.checkpoints().pending();
        self.engine.events.tell(Event::ShardGone { stream, shard, position });
        Fetched { end: Some(ShardEnd::default()), ..Fetched::default() }
    }
}

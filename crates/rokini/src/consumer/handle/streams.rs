//! Streams that come and go while a consumer runs.

use std::sync::Arc;

use super::Handle;
use crate::consumer::control::Phase;
use crate::consumer::engine::refuse_dead_letters;
use crate::consumer::start::open;
use crate::types::stream_ref::tell_apart;
use crate::{Error, ErrorKind, Event, StreamRef, StreamSource};

impl Handle {
    /// Reads another stream from now on, by its name or ARN, as [`ConsumerBuilder::stream`] does from the start:
    /// returns once its start position and its leases are stored. A stream that is read already is left as it is.
    /// The other workers of the group read it when they are told to; its shards are spread over those that do.
    ///
    /// [`ConsumerBuilder::stream`]: crate::ConsumerBuilder::stream
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the text names no stream, when the stream does not exist, when another stream
    /// of the same name is read (in another account or region, which needs a group of its own), when dead letters go to
    /// it, and when the consumer was built without `aws`; [`ErrorKind::Permission`] when the credentials do not allow to read it;
    /// what passes by itself when it has not passed within a minute.
    pub async fn add_stream(&self, stream: &str) -> Result<(), Error> {
        let engine = &self.control.engine;
        let stream: StreamRef = stream.parse()?;
        if let Some(read) = engine.streams.named(stream.name()) {
            return read.source.reference().map_or(Ok(()), |read| tell_apart(read, &stream));
        }
        let source = engine.sources.kinesis(stream, &engine.config)?;
        self.add(source).await
    }

    /// As [`Handle::add_stream`], for a source of one's own.
    ///
    /// # Errors
    /// As [`Handle::add_stream`].
    pub async fn add_source(&self, source: impl StreamSource) -> Result<(), Error> {
        self.add(Arc::new(source)).await
    }

    async fn add(&self, source: Arc<dyn StreamSource>) -> Result<(), Error> {
        let control = &self.control;
        refuse_dead_letters(&control.engine.config, source.as_ref())?;
        if control.want_before_start(&source)? {
            return Ok(());
        }
        control.engine.streams.admit(source.as_ref())?;
        let rng = control.engine.sources.fork();
        let opened = open(&control.engine, source, &[], rng).await?;
        if control.phase() >= Phase::Stopping {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the consumer stops: start another one to read streams",
            ));
        }
        let stream = control.engine.streams.add(opened)?;
        control.engine.events.tell(Event::StreamAdded { stream: stream.id.clone() });
        Ok(())
    }

    /// Reads a stream no more, by its name or id: its shards drain and go to the workers that still read it;
    /// returns once this worker has none of them. That lasts as long as handlers do, and goes on when the returned
    /// future is dropped. Positions stay stored: a stream that is added again goes on from them.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the stream is not read.
    pub async fn remove_stream(&self, stream: &str) -> Result<(), Error> {
        let control = &self.control;
        let name = stream;
        let Some(stream) = control.engine.streams.named(name) else {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("stream `{name}` is not read: `Handle::status` lists those that are"),
            ));
        };
        control.engine.streams.remove(&stream);
        control.engine.events.tell(Event::StreamRemoved { stream: stream.id.clone() });
        control.without(&stream.id).await;
        Ok(())
    }
}

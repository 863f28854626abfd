//! Streams that come and go while a consumer runs.

use std::sync::Arc;

use super::Handle;
use crate::consumer::sources::refuse_dead_letters;
use crate::consumer::start::open;
use crate::events::table::EventKind;
use crate::source::stream_source::StreamSource;
use crate::types::error::{Error, ErrorKind};
use crate::types::phase::ConsumerPhase;
use crate::types::stream_ref::{StreamRef, tell_apart};

impl Handle {
    /// Reads another stream from now on, by its name or ARN, as [`ConsumerBuilder::stream`] does from the start:
    /// returns once its start position and its leases are stored. A stream that is read already is left as it is.
    /// The other workers of the group read it once it is added to them too; its shards are spread over those that do.
    ///
    /// [`ConsumerBuilder::stream`]: crate::ConsumerBuilder::stream
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the text names no stream, when the stream does not exist, when another stream
    /// of the same name is read (in another account or region, which needs a group of its own), when dead letters go to
    /// it, and when the consumer was built without `aws`; [`ErrorKind::Permission`] when the credentials do not allow to read it;
    /// what passes by itself when it has not passed within a minute.
    pub async fn add_stream(&self, stream: &str) -> Result<(), Error> {
        let control = &self.control;
        let stream: StreamRef = stream.parse()?;
        if let Some(read) = control.streams.named(stream.name()) {
            return read.source.reference().map_or(Ok(()), |read| tell_apart(read, &stream));
        }
        let source = control.sources.kinesis(stream, &control.config)?;
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
        refuse_dead_letters(&control.config, source.as_ref())?;
        // Before the start it is opened with the others.
        if let Some(wanted) = control.worker.before_start(|| control.sources.want(Arc::clone(&source))) {
            return wanted;
        }
        control.streams.admit(source.as_ref())?;
        let opened =
            open(&control.catalog, source, &[], control.config.retrieval, control.sources.fork()).await?;
        if control.worker.phase() >= ConsumerPhase::Stopping {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the consumer stops: start another one to read streams",
            ));
        }
        let stream = control.streams.add(opened)?;
        control.events.emit_for_stream(&stream.id, EventKind::StreamAdded);
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
        let Some(stream) = control.streams.named(name) else {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("stream `{name}` is not read: `Handle::status` lists those that are"),
            ));
        };
        control.streams.remove(&stream);
        control.events.emit_for_stream(&stream.id, EventKind::StreamRemoved);
        control.worker.until_without(&stream.id).await;
        Ok(())
    }
}

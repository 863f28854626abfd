//! The protocol without sockets, for a client in the same process and in virtual time.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Body;
use tokio_util::sync::CancellationToken;

use crate::faults::Faults;
use crate::http::body::ConnectionCut;
use crate::http::{Backend, Entry, Handler, Hosts, KinesisHandler, Origins};
use crate::journal::Journal;
use crate::readers::Readers;
use crate::service::Service;

/// Answers the requests of an HTTP client in the same process as the endpoint of a [`LocalKinesis`](crate::LocalKinesis)
/// answers them. Clones share everything.
///
/// Nothing is spawned and no socket is opened, so that under a paused clock of tokio time passes as it does for everything else.
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use http_body_util::BodyExt;
/// use rokini_local::wire::Timestamp;
/// use rokini_local::{Fault, FaultRule, InProcess, LocalSettings, ManualClock, Model, Service};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let clock = ManualClock::new(Timestamp::from_secs(1_700_000_000));
/// let kinesis = InProcess::new(Service::new(Model::new(LocalSettings::default()), Arc::new(clock)));
/// kinesis.faults().add(FaultRule::on("ListStreams", Fault::DropAfter).times(1));
/// let ask = |operation: &str, body: &'static str| {
///     let request = http::Request::post("http://kinesis/")
///         .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
///         .header("content-type", "application/x-amz-json-1.1");
///     kinesis.answer(request.body(Bytes::from_static(body.as_bytes())).unwrap())
/// };
///
/// assert_eq!(ask("CreateStream", r#"{"StreamName":"orders","ShardCount":2}"#).await?.status(), 200);
/// assert!(ask("ListStreams", "{}").await.is_err(), "the answer is lost");
/// let answer = ask("ListStreams", "{}").await?.into_body().collect().await?.to_bytes();
/// assert!(String::from_utf8_lossy(&answer).contains(r#""StreamNames":["orders"]"#));
/// # Ok::<(), rokini_local::ConnectionCut>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct InProcess {
    handler: KinesisHandler,
}

impl InProcess {
    /// Answers from this model, whatever host name a request has.
    #[must_use]
    pub fn new(service: Service) -> Self {
        let seed = service.with_model(|model, _| model.settings().seed);
        let backend = Backend {
            service,
            faults: Faults::new(seed),
            journal: Journal::default(),
            readers: Readers::default(),
            ready: Arc::new(true.into()),
            stop: CancellationToken::new(),
        };
        let entry = Entry::new(Hosts::new(["*".to_owned()]), Origins::default());
        Self { handler: KinesisHandler::new(backend, entry, false) }
    }

    /// The faults of calls.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.handler.backend.faults
    }

    /// Answers one request. The body of the answer to SubscribeToShard goes on for as long as the subscription.
    ///
    /// # Errors
    /// [`ConnectionCut`] where a fault has the connection cut: before an answer, or in its body.
    pub async fn answer(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<impl Body<Data = Bytes, Error = ConnectionCut> + Send + Unpin + use<>>, ConnectionCut>
    {
        self.handler.handle(request.map(Full::new)).await
    }
}

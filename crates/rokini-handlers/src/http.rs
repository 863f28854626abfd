//! HTTP services: the same event as Lambda's, or CloudEvents, by POST.

mod cloud_events;
mod push;
mod response;
mod secrets;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rokini::{Batch, Error, ErrorKind, HandlerError, HandlerStats, RecordProcessor, ShardContext};
use rokini_types::Backoff;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub use self::push::HttpFormat;
use self::push::Push;
use self::response::{Answer, is_emulator, read_response, with_causes};
use self::secrets::SecretFile;
use crate::batch_event::answer::Outcome;
use crate::batch_event::deliver::{Delivered, Invoked, deliver, failed, give_back, idempotency_key};
use crate::batch_event::kinesis_event::{EventSource, LARGEST_EVENT};
use crate::context::HandlerContext;
use crate::event::{Events, HandlerEvent};
use crate::pause::{self, Pause};

/// What is read of an answer at most, as Lambda does of a function's result: it names records, it does not bring any.
const LARGEST_ANSWER: usize = 6 * 1024 * 1024;
/// Where a service does not say how long to wait. Long enough that one which is overloaded gets a rest.
const UNAVAILABLE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// The longest that a service may ask to wait: what it says may be a mistake, and nothing looks whether it is up before.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// An idle connection is closed before most servers and balancers do it, so that few requests meet one that is.
const IDLE: Duration = Duration::from_secs(30);

/// Where and how records are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// The URL: `http` or `https`.
    pub url: String,
    /// In which form. Default [`HttpFormat::Lambda`].
    pub format: HttpFormat,
    /// How long a request may take until its answer is there; `None` for as long as it likes. Default 5 minutes.
    pub timeout: Option<Duration>,
    /// A file with a token that goes into `Authorization: Bearer`. Read again when it changes.
    pub bearer_token_file: Option<PathBuf>,
    /// A file with headers, `Name: value` in each line. Read again when it changes.
    pub header_file: Option<PathBuf>,
    /// Whether HTTP/2 is spoken without TLS. With TLS both ends agree on a version. Default `false`.
    pub http2_without_tls: bool,
}

impl HttpSettings {
    /// The defaults for this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            format: HttpFormat::default(),
            timeout: Some(Duration::from_secs(300)),
            bearer_token_file: None,
            header_file: None,
            http2_without_tls: false,
        }
    }

    /// Looks at the URL and the files, before a service is made of them.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the URL is none, not one of a service, or has a user or a password in it; when a file cannot
    /// be read or is not what it should be, or `Authorization` is given twice.
    pub fn check(&self) -> Result<(), Error> {
        self.uri()?;
        self.secrets().map(drop)
    }

    /// The files with a token and with headers.
    fn secrets(&self) -> Result<(Option<SecretFile>, Option<SecretFile>), Error> {
        let token = self.bearer_token_file.clone().map(SecretFile::bearer_token).transpose()?;
        let read = if token.is_some() { SecretFile::headers_beside_token } else { SecretFile::headers };
        Ok((token, self.header_file.clone().map(read).transpose()?))
    }

    fn uri(&self) -> Result<Uri, Error> {
        let wrong = |message: String| Error::new(ErrorKind::Configuration, message);
        let after_scheme = self.url.split_once("//").map_or(self.url.as_str(), |(_, rest)| rest);
        if after_scheme.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            // Not shown: that is why it is refused.
            return Err(wrong(
                "the URL has a user or a password in it, which logs would show: put `Authorization: Basic ...` into a file for \
                 `--header-file` (`header_file`), or a token into one for `--bearer-token-file` (`bearer_token_file`)"
                    .to_owned(),
            ));
        }
        let url: Uri = self.url.parse().map_err(|error| match self.url.contains('@') {
            true => wrong(format!("the URL is none: {error}")),
            false => wrong(format!("`{}` is no URL: {error}", self.url)),
        })?;
        if !["http", "https"].contains(&url.scheme_str().unwrap_or_default()) || url.host().is_none() {
            return Err(wrong(format!(
                "`{}` is no URL of a service: it begins with `http://` or `https://` and a host",
                self.url
            )));
        }
        let port = url.authority().is_some_and(|authority| authority.as_str().len() > authority.host().len());
        if port && url.port_u16().is_none() {
            // It may be the beginning of a password.
            return Err(wrong("the port in the URL is no number from 0 to 65535".to_owned()));
        }
        Ok(url)
    }
}

/// What comes of a body, up to [`LARGEST_ANSWER`] bytes, and whether that is all of it.
async fn read_body(mut body: Incoming) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let taken = data.len().min(LARGEST_ANSWER - bytes.len());
        bytes.extend_from_slice(&data[..taken]);
        if taken < data.len() {
            return Ok((bytes, false));
        }
    }
    Ok((bytes, true))
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Makes processors that send records to a service. Connections are kept, and shared by the shards.
#[derive(Clone)]
pub struct HttpPush(Arc<Shared>);

struct Shared {
    settings: HttpSettings,
    url: Uri,
    client: HttpClient,
    token: Option<SecretFile>,
    headers: Option<SecretFile>,
    sources: BTreeMap<String, EventSource>,
    events: Events,
    /// Whose turn it is, at the runtime interface emulator: it ends when it gets an event while it works on another one.
    turn: Option<Mutex<()>>,
}

impl fmt::Debug for HttpPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPush").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl HttpPush {
    /// A service. `sources` says for each stream, by its name, what events say of it.
    ///
    /// # Errors
    /// As [`HttpSettings::check`], or when the system has no root certificates for an `https` URL.
    pub fn new(
        settings: HttpSettings,
        sources: BTreeMap<String, EventSource>,
        context: &HandlerContext,
    ) -> Result<Self, Error> {
        let url = settings.uri()?;
        let scheme = url.scheme_str().unwrap_or_default();
        let (token, headers) = settings.secrets()?;
        let client = client(scheme == "https", settings.http2_without_tls)?;
        let events = Events::new(context.observer.clone());
        let turn = is_emulator(url.path()).then(Mutex::default);
        Ok(Self(Arc::new(Shared { settings, url, client, token, headers, sources, events, turn })))
    }

    /// The processor of a shard, or of a lane of it.
    #[must_use]
    pub fn processor(&self, shard: &ShardContext) -> HttpProcessor {
        let stream = shard.stream().as_str();
        let name = stream.rsplit_once('@').map_or(stream, |(name, _)| name);
        let source = self.0.sources.get(name).cloned();
        let source =
            source.unwrap_or_else(|| EventSource::of_stream(format!("arn:aws:kinesis:::stream/{name}")));
        HttpProcessor { shared: Arc::clone(&self.0), source, refusals: 0, pause: Pause::default() }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> HandlerStats {
        self.0.events.stats()
    }
}

fn client(with_tls: bool, http2_without_tls: bool) -> Result<HttpClient, Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(15)));
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    let no_roots = |error: std::io::Error| {
        let message = "the system's root certificates cannot be read: install them (`ca-certificates`)";
        Error::new(ErrorKind::Configuration, message).with_source(error)
    };
    let connector = HttpsConnectorBuilder::new();
    let connector = if with_tls {
        connector.with_provider_and_native_roots(ring::default_provider()).map_err(no_roots)?
    } else {
        connector.with_tls_config(without_roots()?)
    };
    let connector = connector.https_or_http().enable_http1().enable_http2().wrap_connector(tcp);
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).timer(TokioTimer::new());
    builder
        .http2_keep_alive_interval(Duration::from_secs(15))
        .http2_keep_alive_timeout(Duration::from_secs(10));
    builder.http2_keep_alive_while_idle(false).http2_only(http2_without_tls && !with_tls);
    Ok(builder.build(connector))
}

/// For URLs without TLS.
fn without_roots() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| {
        Error::new(ErrorKind::Bug, "the TLS library has no protocol version").with_source(error)
    })?;
    Ok(versions.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The records of one shard, or of a lane of it, to a service.
#[derive(Debug)]
pub struct HttpProcessor {
    shared: Arc<Shared>,
    source: EventSource,
    /// How often in a row the service took nothing.
    refusals: u32,
    pause: Pause,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Shared {
    async fn send(&self, batch: &Batch, push: Push<'_>) -> Invoked {
        let request = match self.request(batch, &push) {
            Ok(request) => request,
            Err(error) => return Invoked::Answered(Outcome::Failed(error)),
        };
        let _turn = match &self.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                // Nobody is there: no record was looked at.
                let refused = error.is_connect();
                let text = with_causes(&error);
                if refused { Answer::NotTaken(None, text) } else { Answer::Failed(text) }
            })?;
            let (head, body) = response.into_parts();
            let (body, is_whole) = read_body(body)
                .await
                .map_err(|error| Answer::Failed(format!("the answer broke off: {}", with_causes(&error))))?;
            if head.status.is_success() && !is_whole {
                return Err(Answer::Failed(format!(
                    "the answer, HTTP {}, is longer than {LARGEST_ANSWER} bytes, which is the most that is looked at for \
                     `batchItemFailures`: whether the records are done is not known",
                    head.status
                )));
            }
            let emulator = is_emulator(self.url.path());
            Ok(read_response(head.status, &head.headers, &body, push.records, emulator))
        };
        let answer = match self.settings.timeout {
            Some(limit) => timeout(limit, exchange)
                .await
                .unwrap_or_else(|_| Err(Answer::Failed(format!("no answer within {limit:?}")))),
            None => exchange.await,
        };
        match answer.unwrap_or_else(|answer: Answer| answer) {
            Answer::Outcome(outcome) => Invoked::Answered(outcome),
            Answer::Failed(error) => Invoked::Answered(Outcome::Failed(error)),
            Answer::NotTaken(wait, error) => {
                Invoked::NotTaken(wait.unwrap_or_default().min(LONGEST_WAIT), error)
            }
        }
    }

    fn request(&self, batch: &Batch, push: &Push<'_>) -> Result<Request<Full<Bytes>>, String> {
        let shard = batch.shard();
        let last = push.records.last().map(|record| record.sequence_number.to_string()).unwrap_or_default();
        let mut request = Request::post(&self.url)
            .header(CONTENT_TYPE, push.content_type)
            .header("Idempotency-Key", idempotency_key(batch, push.records))
            .header("Rokini-Group", shard.group().as_str())
            .header("Rokini-Stream", shard.stream().as_str())
            .header("Rokini-Shard", shard.shard_id().as_str())
            .header("Rokini-Epoch", batch.epoch().0)
            .header("Rokini-Position", last)
            .header("Rokini-Attempt", batch.attempt());
        for (name, value) in &push.headers {
            let value = HeaderValue::from_str(value);
            request = request.header(name, value.map_err(|error| format!("header `{name}`: {error}"))?);
        }
        let secrets = self.token.iter().chain(&self.headers).flat_map(SecretFile::current);
        for (name, value) in secrets {
            request = request.header(name, value);
        }
        request.body(Full::new(push.body.clone())).map_err(|error| format!("the request is none: {error}"))
    }
}

impl HttpProcessor {
    /// Several records in one request.
    async fn events(&self, batch: Batch) -> Delivered {
        let (shared, whole) = (&self.shared, batch.clone());
        deliver(batch, &self.source, LARGEST_EVENT, |event| {
            let push = Push {
                content_type: "application/json",
                headers: Vec::new(),
                records: &whole.records()[event.records],
                body: event.body.into(),
            };
            shared.send(&whole, push)
        })
        .await
    }

    /// Requests made of the records by themselves, each once the one before is done.
    async fn cloud_events(&self, batch: Batch, per_request: usize) -> Delivered {
        let whole = batch.clone();
        let mut done = 0;
        while done < whole.len() {
            let push =
                cloud_events::next(&whole, done, per_request, self.shared.settings.format, &self.source);
            let pushed = push.records.len();
            match self.shared.send(&whole, push).await {
                Invoked::Answered(Outcome::Done) => done += pushed,
                Invoked::Answered(Outcome::From(index, error)) => return failed(batch, done + index, error),
                Invoked::Answered(Outcome::Failed(error)) => return failed(batch, done, error),
                Invoked::NotTaken(wait, error) => {
                    give_back(batch, done, &error);
                    return Delivered::NotTaken(wait, error);
                }
            }
        }
        Delivered::Settled(Ok(()))
    }
}

impl RecordProcessor for HttpProcessor {
    async fn process(&mut self, batch: Batch) -> Result<(), HandlerError> {
        if !self.pause.is_over(&batch).await {
            pause::give_back(&batch);
            return Ok(());
        }
        let shard: Arc<str> = batch.shard().shard_id().as_str().into();
        let delivered = match self.shared.settings.format {
            HttpFormat::Lambda => self.events(batch).await,
            HttpFormat::CloudEventsBatch => self.cloud_events(batch, usize::MAX).await,
            HttpFormat::CloudEventsBinary | HttpFormat::CloudEventsStructured => {
                self.cloud_events(batch, 1).await
            }
        };
        match delivered {
            Delivered::Settled(result) => {
                self.refusals = 0;
                result
            }
            Delivered::NotTaken(asked, error) => {
                self.refusals = self.refusals.saturating_add(1);
                // What it asks for, where it asks for something: it knows how long its trouble lasts.
                let own = UNAVAILABLE.delay(if asked.is_zero() { self.refusals } else { 1 });
                let retry_in = asked.max(own);
                self.pause.begin(retry_in);
                self.shared.events.emit(&HandlerEvent::Unavailable { shard: Some(shard), error, retry_in });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_secret_is_refused_and_not_shown() {
        for url in ["http://hush:hush@h/", "https://hush@h", "http://hush:hu sh@h/", "http://hush:hu/sh@h"] {
            let error = HttpSettings::new(url).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(!error.to_string().contains("hu"), "{url}: {error}");
        }
        let error = HttpSettings::new("http://user:pass@h/").check().unwrap_err().to_string();
        assert!(error.contains("`--header-file`") && error.contains("`--bearer-token-file`"), "{error}");
        for url in
            ["http://h/users/@me", "http://h/?to=a@b", "https://h:1/", "http://[::1]:80/", "http://[::1]/"]
        {
            assert!(HttpSettings::new(url).check().is_ok(), "{url}");
        }
    }
}

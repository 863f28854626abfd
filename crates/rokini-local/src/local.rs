//! A local Kinesis as one value: build it, point clients at it, look inside, stop it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rokini_wire::shapes::record::{PutRecordRequest, PutRecordResponse, Record};
use rokini_wire::shapes::stream::CreateStreamRequest;
use rokini_wire::{ServiceError, Timestamp};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, ManualClock, SystemClock};
use crate::environment::{reachable, variables};
use crate::faults::Faults;
use crate::http::{Backend, Entry, Hosts, KinesisHandler, LongWork, Origins};
use crate::journal::{CallRecord, Journal};
use crate::model::{Model, shard_id};
use crate::readers::{NotConsumed, Readers};
use crate::server::{ConnectionLimits, Security, Server};
use crate::service::Service;
use crate::settings::LocalSettings;

/// How often what retention has taken is forgotten also in streams that nobody uses.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(30);

/// A Kinesis endpoint on the loopback interface. Dropping it cuts every connection and leaves no task behind.
///
/// Any region and any credentials are accepted: a region has its own streams, and so has an access key id of twelve digits, which is
/// taken for an account.
#[derive(Debug)]
pub struct LocalKinesis {
    backend: Backend,
    server: Server,
    scheme: &'static str,
}

/// Why a local Kinesis did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address could not be bound.
    #[error(
        "the local Kinesis cannot listen on {address}: choose another address, or port 0 for any free one"
    )]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The data kept in a directory cannot be used.
    #[cfg(feature = "data")]
    #[error(transparent)]
    Data(#[from] crate::store::DataError),
    /// The certificate or key cannot be used.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// A stream to begin with could not be created.
    #[error("cannot create the stream `{name}`: change its name or its number of shards")]
    Stream {
        /// Its name.
        name: String,
        /// What the model said.
        source: ServiceError,
    },
}

/// What a [`LocalKinesis`] will be like.
#[derive(Debug)]
pub struct LocalKinesisBuilder {
    address: SocketAddr,
    settings: LocalSettings,
    clock: Arc<dyn Clock>,
    model: Option<Model>,
    streams: Vec<(String, i32)>,
    signed_only: bool,
    ready: bool,
    host_names: Vec<String>,
    cors_origins: Vec<String>,
    #[cfg(feature = "data")]
    data: Option<std::path::PathBuf>,
    #[cfg(feature = "tls")]
    tls: Option<(Vec<u8>, Vec<u8>)>,
}

impl LocalKinesis {
    /// Starts from the defaults: a free loopback port, the system clock, [`LocalSettings::default`], no streams.
    #[must_use]
    pub fn builder() -> LocalKinesisBuilder {
        LocalKinesisBuilder {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            settings: LocalSettings::default(),
            clock: Arc::new(SystemClock),
            model: None,
            streams: Vec::new(),
            signed_only: false,
            ready: true,
            host_names: Vec::new(),
            cors_origins: Vec::new(),
            #[cfg(feature = "data")]
            data: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The URL to give to a client on this machine.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("{}://{}", self.scheme, reachable(self.server.address()))
    }

    /// The variables by which AWS clients in another process find it, without an option of theirs: where Kinesis is, the region under
    /// both of its names, and credentials. [`LocalDynamo::environment`](crate::LocalDynamo::environment) has the one for DynamoDB.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let kinesis = rokini_local::LocalKinesis::builder().stream("orders", 1).start().await?;
    /// let mut tests = std::process::Command::new("pytest");
    /// tests.envs(kinesis.environment());
    /// # Ok::<(), rokini_local::StartError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        let region = self.model().with_model(|model, _| model.settings().region.clone());
        variables("AWS_ENDPOINT_URL_KINESIS", self.endpoint_url(), &region)
    }

    /// The model behind the endpoint, to call and to inspect in process.
    #[must_use]
    pub fn model(&self) -> &Service {
        &self.backend.service
    }

    /// Moves the time of the model forward: iterators expire, records pass their retention, streams become ACTIVE.
    /// Nothing but the model is affected; a client goes on by its own clock.
    pub fn advance(&self, by: Duration) {
        self.backend.service.advance(by);
    }

    /// Puts a record, in process.
    ///
    /// # Errors
    /// Those of PutRecord.
    pub fn put(
        &self,
        stream: &str,
        partition_key: &str,
        data: impl AsRef<[u8]>,
    ) -> Result<PutRecordResponse, ServiceError> {
        self.backend.service.call(
            &PutRecordRequest::new(data.as_ref().to_vec()).partition_key(partition_key).stream_name(stream),
        )
    }

    /// The records that a stream keeps, shard by shard, each in its order.
    ///
    /// # Errors
    /// ResourceNotFound.
    pub fn records_of(&self, stream: &str) -> Result<Vec<Record>, ServiceError> {
        self.backend.service.with_model(|model, now| model.records_of(now, stream))
    }

    /// Waits until a reader has come past every record that a stream of the model's own account and region holds now.
    ///
    /// A reader that polls is known by its access key id, so give each group's client one of its own; it is past a record when it asks
    /// for what follows, or was given the end of the shard. A reader by fan-out is known by the name of its consumer; it is past a
    /// record when its connection took it. Whether what was read is processed, and where the reader's own position is stored, this
    /// endpoint cannot know: a consumer that reads ahead asks before it has processed.
    ///
    /// # Errors
    /// [`NotConsumed`] after `within`, also if there is no such stream or reader.
    pub async fn wait_until_consumed(
        &self,
        stream: &str,
        reader: &str,
        within: Duration,
    ) -> Result<(), NotConsumed> {
        let Backend { service, readers, .. } = &self.backend;
        let found = service.with_model(|model, now| model.ends_of(now, stream));
        let mut moved = readers.moved();
        let behind = || match &found {
            Some((key, ends)) => readers.behind(reader, key, ends),
            None => vec![0],
        };
        let done = async {
            while !behind().is_empty() {
                // The sender is here: it is never gone.
                let _ = moved.changed().await;
            }
        };
        if tokio::time::timeout(within, done).await.is_ok() {
            return Ok(());
        }
        Err(NotConsumed {
            stream: stream.to_owned(),
            reader: reader.to_owned(),
            shards: behind().into_iter().map(shard_id).collect(),
            within,
            seen: found.as_ref().map(|(key, _)| readers.of_stream(key)).unwrap_or_default(),
        })
    }

    /// Lets `/_rokini/health` say that everything serves, after [`LocalKinesisBuilder::ready_later`].
    pub fn set_ready(&self) {
        self.backend.ready.store(true, Ordering::Relaxed);
    }

    /// The faults that are applied to calls to the endpoint.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.backend.faults
    }

    /// The calls the endpoint has answered, the oldest first; at most the last 10,000.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.backend.journal.list()
    }

    /// Forgets the calls answered so far.
    pub fn forget_calls(&self) {
        self.backend.journal.clear();
    }

    /// Copies of the files in [`LocalKinesisBuilder::data`]'s directory that could not be read whole. What could be read of them is
    /// there.
    #[cfg(feature = "data")]
    #[must_use]
    pub fn set_aside(&self) -> &[std::path::PathBuf] {
        self.backend.service.store().map_or(&[], crate::store::Store::set_aside)
    }

    /// Stops accepting, lets requests under way finish for at most two seconds, and waits until every task has ended.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

impl LocalKinesisBuilder {
    /// Listens here instead of on a free loopback port.
    #[must_use]
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Behaves by these settings.
    #[must_use]
    pub fn settings(mut self, settings: LocalSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Limits rates, those of shards and those of calls, as AWS does (the default) or not at all.
    #[must_use]
    pub fn throughput_limits(mut self, limited: bool) -> Self {
        self.settings.throughput_limits = limited;
        self
    }

    /// Limits how many times a second an operation such as CreateStream or DescribeStreamSummary can be called, as AWS does
    /// (the default) or not. Without effect where [`LocalKinesisBuilder::throughput_limits`] are off.
    #[must_use]
    pub fn call_limits(mut self, limited: bool) -> Self {
        self.settings.call_limits = limited;
        self
    }

    /// How long streams stay CREATING, UPDATING and DELETING. Default zero.
    #[must_use]
    pub fn status_change(mut self, takes: Duration) -> Self {
        self.settings.status_change = takes;
        self
    }

    /// Goes by this clock instead of the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets the time stand at `start`; only [`LocalKinesis::advance`] moves it.
    #[must_use]
    pub fn virtual_time(self, start: Timestamp) -> Self {
        self.clock(Arc::new(ManualClock::new(start)))
    }

    /// Serves this model instead of an empty one, and instead of what [`LocalKinesisBuilder::data`] finds, which it replaces.
    /// [`LocalKinesisBuilder::settings`] then count for nothing.
    #[must_use]
    pub fn model(mut self, model: Model) -> Self {
        self.model = Some(model);
        self
    }

    /// Creates a provisioned stream before the first request is answered, unless there is one of this name. It is ACTIVE at
    /// once.
    #[must_use]
    pub fn stream(mut self, name: impl Into<String>, shards: i32) -> Self {
        self.streams.push((name.into(), shards));
        self
    }

    /// Refuses requests without a signature. Signatures are never verified. Default: everyone is served.
    #[must_use]
    pub fn signed_only(mut self, yes: bool) -> Self {
        self.signed_only = yes;
        self
    }

    /// Answers `/_rokini/health` with status 503 until [`LocalKinesis::set_ready`]: for what is served beside it, such as a
    /// [`LocalDynamo`](crate::LocalDynamo), when clients wait for both. Everything else is answered at once. Default: ready when it serves.
    #[must_use]
    pub fn ready_later(mut self) -> Self {
        self.ready = false;
        self
    }

    /// Answers requests for this host name too, such as that of a container; `*` for any. Addresses, `localhost`, names below it and
    /// those of AWS's own forms are always answered; others are refused, so that no web page reaches this endpoint by a name of
    /// its own.
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.host_names.push(name.into());
        self
    }

    /// Lets web pages of this origin, such as `http://localhost:3000`, use the endpoint from a browser; `*` for any. Default: none.
    #[must_use]
    pub fn cors_origin(mut self, origin: impl Into<String>) -> Self {
        self.cors_origins.push(origin.into());
        self
    }

    /// Whose account it is where a caller does not say: twelve digits. Callers say so by an access key id of twelve digits.
    /// Default `000000000000`.
    #[must_use]
    pub fn account(mut self, id: impl Into<String>) -> Self {
        self.settings.account_id = id.into();
        self
    }

    /// In which region it is where a caller does not say; clients say so by their signature. Streams to begin with are made there.
    /// Default `us-east-1`.
    #[must_use]
    pub fn region(mut self, name: impl Into<String>) -> Self {
        self.settings.region = name.into();
        self
    }

    /// Keeps the streams in this directory, which is created if absent, and starts with those already there. Every call that
    /// changes something is on disk before it is answered. What is changed in process by other ways than
    /// [`Service::call`] and [`LocalKinesis::advance`] is not kept. What cannot be read of a file at the start is set aside beside it
    /// and said in the log. When the files cannot be written, every further change is refused until the next start, and so is every read
    /// of records if some are not on disk. Where nothing can be written at the start, what is there is served, and changes are refused.
    #[cfg(feature = "data")]
    #[must_use]
    pub fn data(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    /// Serves HTTPS with these certificates, the server's own first, and this key, both in PEM. HTTP/2 and HTTP/1.1 are
    /// offered by ALPN.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, certificates_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.tls = Some((certificates_pem.into(), key_pem.into()));
        self
    }

    /// Starts serving.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self) -> Result<LocalKinesis, StartError> {
        #[cfg(feature = "data")]
        let (store, kept, shift_millis) = self.open_data()?;
        #[cfg(not(feature = "data"))]
        let kept = None;
        #[cfg(feature = "tls")]
        let (security, scheme) = match &self.tls {
            Some((certificates, key)) => {
                (Security { tls: Some(crate::tls::acceptor(certificates, key)?) }, "https")
            }
            None => (Security::default(), "http"),
        };
        #[cfg(not(feature = "tls"))]
        let (security, scheme) = (Security::default(), "http");
        let Self { address, settings, clock, model, streams, signed_only, ready, .. } = self;
        let model = model.or(kept).unwrap_or_else(|| Model::new(settings));
        let seed = model.settings().seed;
        let service = Service::new(model, clock);
        #[cfg(feature = "data")]
        let service = service.with_store(store, shift_millis);
        create_streams(&service, service.now(), streams)?;
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let stop = CancellationToken::new();
        let (faults, journal) = (Faults::new(seed), Journal::default());
        let readers = Readers::default();
        let ready = Arc::new(ready.into());
        let backend = Backend { service, faults, journal, readers, ready, stop: stop.clone() };
        let entry = Entry::new(Hosts::new(self.host_names), Origins::new(self.cors_origins));
        let mut handler = KinesisHandler::new(backend.clone(), entry, signed_only);
        handler.long_work = LongWork::of_this_runtime();
        let cleaned = backend.service.clone();
        let cleaning = async move {
            loop {
                tokio::time::sleep(CLEAN_UP_EVERY).await;
                cleaned.clean_up();
            }
        };
        let limits = ConnectionLimits::default();
        let server = Server::start(listener, handler, security, limits, stop.clone()).map_err(listen)?;
        server.spawn(async move {
            stop.run_until_cancelled(cleaning).await;
        });
        Ok(LocalKinesis { backend, server, scheme })
    }
}

#[cfg(feature = "data")]
type OpenedData = (Option<crate::store::Store>, Option<Model>, i64);

#[cfg(feature = "data")]
impl LocalKinesisBuilder {
    /// The store, the model in it, and how far the clock was shifted; a model that is given replaces it.
    fn open_data(&self) -> Result<OpenedData, StartError> {
        let Some(directory) = &self.data else { return Ok((None, None, 0)) };
        let now = self.clock.now();
        let (store, kept) = crate::store::Store::open(directory, self.settings.clone(), now)?;
        if let Some(model) = &self.model {
            store.replace(directory, now, model)?;
            return Ok((Some(store), None, 0));
        }
        let shift_millis = kept.as_ref().map_or(0, |kept| kept.shift_millis);
        Ok((Some(store), kept.map(|kept| kept.model), shift_millis))
    }
}

fn create_streams(service: &Service, now: Timestamp, streams: Vec<(String, i32)>) -> Result<(), StartError> {
    let settings = service.with_model(|model, _| {
        let asked = model.settings().clone();
        *model.settings_mut() =
            LocalSettings { status_change: Duration::ZERO, call_limits: false, ..asked.clone() };
        asked
    });
    for (name, shards) in streams {
        if service.with_model(|model, _| model.has_stream(now, &name)) {
            continue;
        }
        let request = CreateStreamRequest::new(&name).shard_count(shards);
        service.call(&request).map_err(|source| StartError::Stream { name, source })?;
    }
    service.with_model(|model, _| *model.settings_mut() = settings);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    /// Records that are kept, without a look that would forget any.
    fn kept(local: &LocalKinesis) -> u64 {
        let overview = local.model().with_model(|model, now| serde_json::to_value(model.overview(now, None)));
        overview.unwrap()["streams"][0]["records"].as_u64().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_retention_has_taken_is_forgotten_in_streams_that_nobody_uses() {
        let start = Timestamp::from_secs(1_700_000_000);
        let local = LocalKinesis::builder().virtual_time(start).stream("orders", 1).start().await.unwrap();
        local.put("orders", "k", "x").unwrap();
        tokio::time::sleep(2 * CLEAN_UP_EVERY).await;
        assert_eq!(kept(&local), 1);
        local.advance(Duration::from_secs(24 * 3600 + 1));
        assert_eq!(kept(&local), 1, "it is still there");
        tokio::time::sleep(CLEAN_UP_EVERY + Duration::from_secs(1)).await;
        assert_eq!(kept(&local), 0);
        local.shutdown().await;
    }
}

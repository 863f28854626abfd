//! A model Kinesis behind the real SDK, in process and in tokio's time, so that a paused clock drives it all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use aws_types::region::Region;
use bytes::Bytes;
use futures::stream::{self, Stream};
use http_body_util::StreamBody;
use hyper::body::Frame as BodyFrame;
use rokini_lease::ShardId;
use rokini_local::wire::events::{Frame, INITIAL_RESPONSE, SUBSCRIBE_TO_SHARD_EVENT};
use rokini_local::wire::shapes::consumer::{
    DeregisterStreamConsumerRequest, DescribeStreamConsumerRequest, RegisterStreamConsumerRequest,
    SubscribeToShardRequest,
};
use rokini_local::wire::shapes::record::{
    GetRecordsRequest, GetShardIteratorRequest, PutRecordRequest, PutRecordResponse,
};
use rokini_local::wire::shapes::shard::{ListShardsRequest, MergeShardsRequest, SplitShardRequest};
use rokini_local::wire::shapes::stream::{CreateStreamRequest, DescribeStreamSummaryRequest};
use rokini_local::wire::{Codec, ServiceError, Timestamp};
use rokini_local::{Clock, LocalSettings, Model, ModelRequest, Service, Subscription, SubscriptionPoll};
use tokio::time::Instant;

use crate::config::{ConfigKey, ConsumerConfig};
use crate::source::kinesis::KinesisSource;

/// When the time of a bench begins.
pub(crate) const EPOCH_MILLIS: u64 = 1_700_000_000_000;

#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MILLIS as i64 + self.0.elapsed().as_millis() as i64)
    }
}

/// What a call gets in place of the model's answer.
#[derive(Debug, Clone)]
pub(crate) enum Instead {
    Http(u16, String),
    Unreachable,
    Silence,
}

impl Instead {
    /// An error answer as Kinesis writes it.
    pub(crate) fn refusal(status: u16, code: &str) -> Self {
        Self::Http(status, format!(r#"{{"__type":"{code}","message":"as told"}}"#))
    }
}

/// A stream `s`, and everything that was asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    pub(crate) service: Service,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Time of arrival and operation of every call.
    calls: Vec<(Instant, String)>,
    /// As JSON, whatever they came in.
    bodies: Vec<String>,
    codecs: Vec<(String, Codec)>,
    instead: VecDeque<(&'static str, Instead)>,
    latency: Duration,
    json_only: bool,
}

impl Bench {
    pub(crate) fn new(shards: i32) -> Self {
        Self::with_settings(shards, LocalSettings::default())
    }

    pub(crate) fn with_settings(shards: i32, settings: LocalSettings) -> Self {
        let service = Service::new(Model::new(settings), Arc::new(TokioClock(Instant::now())));
        let create = CreateStreamRequest::new("s").shard_count(shards);
        service.call(&create).unwrap();
        Self { service, state: Arc::default() }
    }

    /// Answers CBOR as servers do that do not know it.
    pub(crate) fn json_only(self, only: bool) -> Self {
        self.state.lock().unwrap().json_only = only;
        self
    }

    /// Every call takes this long.
    pub(crate) fn latency(self, latency: Duration) -> Self {
        self.state.lock().unwrap().latency = latency;
        self
    }

    /// The next call of this operation that has no answer yet gets this one.
    pub(crate) fn instead(&self, operation: &'static str, answer: Instead) {
        self.state.lock().unwrap().instead.push_back((operation, answer));
    }

    /// When each call of this operation arrived.
    pub(crate) fn calls(&self, operation: &str) -> Vec<Instant> {
        let state = self.state.lock().unwrap();
        state.calls.iter().filter(|(_, name)| name == operation).map(|(at, _)| *at).collect()
    }

    /// The bodies of all requests so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.state.lock().unwrap().bodies.clone()
    }

    /// In which encodings this operation was asked for.
    pub(crate) fn codecs(&self, operation: &str) -> Vec<Codec> {
        let state = self.state.lock().unwrap();
        state.codecs.iter().filter(|(name, _)| name == operation).map(|(_, codec)| *codec).collect()
    }

    pub(crate) fn config(&self) -> SdkConfig {
        sdk_config(self.clone())
    }

    pub(crate) fn source(&self) -> KinesisSource {
        self.source_with(&[])
    }

    pub(crate) fn source_with(&self, settings: &[(ConfigKey, &str)]) -> KinesisSource {
        let mut config = ConsumerConfig::default();
        for (key, value) in settings {
            config.set(*key, value).unwrap();
        }
        KinesisSource::new(&self.config(), "s".parse().unwrap(), &config, 7).unwrap()
    }

    pub(crate) fn put(&self, shard: usize, data: impl Into<Vec<u8>>) -> PutRecordResponse {
        let shards = self.service.call(&ListShardsRequest::new().stream_name("s"));
        let hash = &shards.unwrap().shards.unwrap()[shard].hash_key_range.starting_hash_key.clone();
        let put = PutRecordRequest::new(data.into() as Vec<u8>)
            .partition_key("key")
            .stream_name("s")
            .explicit_hash_key(hash);
        self.service.call(&put).unwrap()
    }

    /// An iterator of shard 0, of this type.
    pub(crate) fn iterator(&self, kind: &str) -> String {
        let body = format!(r#"{{"StreamName":"s","ShardId":"{}","ShardIteratorType":"{kind}"}}"#, shard(0));
        let request: GetShardIteratorRequest = Codec::Json.decode(body.as_bytes()).unwrap();
        self.service.call(&request).unwrap().shard_iterator.unwrap()
    }

    pub(crate) fn split(&self, shard: &str, at: &str) {
        let split = SplitShardRequest::new(shard, at).stream_name("s");
        self.service.call(&split).unwrap();
    }

    pub(crate) fn merge(&self, shard: &str, adjacent: &str) {
        let merge = MergeShardsRequest::new(shard, adjacent).stream_name("s");
        self.service.call(&merge).unwrap();
    }

    fn answer(&self, operation: &str, codec: Codec, body: &[u8]) -> (u16, Vec<u8>) {
        let answered = match operation {
            "GetRecords" => self.serve::<GetRecordsRequest>(codec, body),
            "GetShardIterator" => self.serve::<GetShardIteratorRequest>(codec, body),
            "ListShards" => self.serve::<ListShardsRequest>(codec, body),
            "RegisterStreamConsumer" => self.serve::<RegisterStreamConsumerRequest>(codec, body),
            "DescribeStreamConsumer" => self.serve::<DescribeStreamConsumerRequest>(codec, body),
            "DeregisterStreamConsumer" => self.serve::<DeregisterStreamConsumerRequest>(codec, body),
            "DescribeStreamSummary" => self.serve::<DescribeStreamSummaryRequest>(codec, body),
            other => panic!("{other} is not on the bench"),
        };
        answered.map_or_else(|error| (error.status(), codec.encode(&error)), |body| (200, body))
    }

    /// Registers a consumer of the stream: its ARN.
    pub(crate) fn register(&self, name: &str) -> String {
        let summary = self.service.call(&DescribeStreamSummaryRequest::new().stream_name("s")).unwrap();
        let arn = summary.stream_description_summary.stream_arn;
        let made = self.service.call(&RegisterStreamConsumerRequest::new(arn, name)).unwrap();
        made.consumer.consumer_arn
    }

    /// A subscription that begins, and what is pushed to it.
    fn subscribe(&self, codec: Codec, body: &[u8]) -> Result<SdkBody, ServiceError> {
        let request: SubscribeToShardRequest = codec.decode(body).unwrap();
        let begin = |model: &mut Model, now| model.subscribe_to_shard(now, &request);
        let subscription = self.service.with_model(begin)?;
        let first = Frame::event(INITIAL_RESPONSE, codec.content_type(), codec.encode(&()).into());
        let first = stream::iter([Ok(BodyFrame::data(first.to_bytes()))]);
        let pushed = futures::StreamExt::fuse(self.pushed(codec, subscription));
        let frames = futures::StreamExt::chain(first, pushed);
        Ok(SdkBody::from_body_1_x(StreamBody::new(Box::pin(frames))))
    }

    fn pushed(
        &self,
        codec: Codec,
        subscription: Subscription,
    ) -> impl Stream<Item = Result<BodyFrame<Bytes>, std::io::Error>> + Send + 'static {
        let bench = self.clone();
        stream::unfold(Some((bench, subscription)), move |state| async move {
            let (bench, mut subscription) = state?;
            let mut changes = bench.service.changes();
            let event = loop {
                changes.borrow_and_update();
                let next = |model: &mut Model, now| (model.poll_subscription(now, &mut subscription), now);
                match bench.service.with_model(next) {
                    (SubscriptionPoll::Event(event), _) => break Ok(event),
                    (SubscriptionPoll::Fail(error), _) => break Err(error),
                    (SubscriptionPoll::Wait(until), now) => {
                        let wait = Duration::from_millis(until.millis_since(now).cast_unsigned().max(1));
                        tokio::select! {
                            _ = changes.changed() => {}
                            () = tokio::time::sleep(wait) => {}
                        }
                    }
                    _ => return None,
                }
            };
            let instead = bench.take_instead(SUBSCRIBE_TO_SHARD_EVENT);
            let data = |frame: Frame| Ok(BodyFrame::data(frame.to_bytes()));
            let exception =
                |code: &str| data(Frame::exception(code, codec.content_type(), codec.encode(&()).into()));
            let event_of = |payload: Vec<u8>| {
                data(Frame::event(SUBSCRIBE_TO_SHARD_EVENT, codec.content_type(), payload.into()))
            };
            Some(match (instead, event) {
                (Some(Instead::Http(200, body)), _) => {
                    (event_of(body.into_bytes()), Some((bench, subscription)))
                }
                (Some(Instead::Http(_, code)), _) => (exception(&code), None),
                (Some(Instead::Unreachable), _) => (Err(std::io::Error::other("connection reset")), None),
                (Some(Instead::Silence), _) => std::future::pending().await,
                (None, Ok(event)) => {
                    bench
                        .state
                        .lock()
                        .unwrap()
                        .calls
                        .push((Instant::now(), SUBSCRIBE_TO_SHARD_EVENT.to_owned()));
                    (event_of(codec.encode(&event)), Some((bench, subscription)))
                }
                (None, Err(error)) => (exception(error.code.as_str()), None),
            })
        })
    }

    fn take_instead(&self, operation: &str) -> Option<Instead> {
        let mut state = self.state.lock().unwrap();
        let at = state.instead.iter().position(|(name, _)| *name == operation)?;
        state.instead.remove(at).map(|(_, instead)| instead)
    }

    fn serve<R: ModelRequest>(&self, codec: Codec, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let request: R = codec.decode(body).unwrap();
        Ok(codec.encode(&self.service.call(&request)?))
    }
}

pub(crate) fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

/// An SDK configuration whose calls go to `connector`.
pub(crate) fn sdk_config(connector: impl HttpConnector + Clone + 'static) -> SdkConfig {
    let client = http_client_fn(move |_, _| SharedHttpConnector::new(connector.clone()));
    SdkConfig::builder()
        .behavior_version(crate::aws::behavior())
        .region(Region::new("eu-west-1"))
        .endpoint_url("http://bench")
        .credentials_provider(SharedCredentialsProvider::new(Credentials::from_keys("id", "secret", None)))
        .http_client(client)
        .build()
}

pub(crate) fn response(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), body.into());
    response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
    response
}

impl HttpConnector for Bench {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let bench = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap();
            let operation = target.rsplit('.').next().unwrap().to_owned();
            let codec = Codec::from_content_type(request.headers().get("content-type").unwrap());
            let body = request.body().bytes().unwrap().to_vec();
            let shown = match codec {
                Codec::Json => String::from_utf8(body.clone()).unwrap(),
                _ => match ciborium::from_reader::<serde_json::Value, _>(&body[..]) {
                    Ok(value) => value.to_string(),
                    // A time, which JSON has no type for.
                    Err(_) => {
                        format!("{:?}", ciborium::from_reader::<ciborium::Value, _>(&body[..]).unwrap())
                    }
                },
            };
            let (latency, json_only) = {
                let mut state = bench.state.lock().unwrap();
                state.calls.push((Instant::now(), operation.clone()));
                state.codecs.push((operation.clone(), codec));
                state.bodies.push(shown);
                (state.latency, state.json_only)
            };
            let instead = bench.take_instead(&operation);
            // Half of the way there, half back: a call may be dropped on either.
            tokio::time::sleep(latency / 2).await;
            let (status, body) = match instead {
                Some(Instead::Http(status, body)) => (status, SdkBody::from(body)),
                Some(Instead::Unreachable) => {
                    return Err(ConnectorError::io("connection refused".into()));
                }
                Some(Instead::Silence) => std::future::pending().await,
                None if json_only && codec == Codec::Cbor => (415, SdkBody::from("Unsupported Media Type")),
                None if operation == "SubscribeToShard" => match bench.subscribe(codec, &body) {
                    Ok(body) => (200, body),
                    Err(error) => (error.status(), SdkBody::from(codec.encode(&error))),
                },
                None => {
                    let (status, body) = bench.answer(&operation, codec, &body);
                    (status, SdkBody::from(body))
                }
            };
            let now = bench.service.now().millis() / 1_000;
            tokio::time::sleep(latency / 2).await;
            let mut response = response(status, body);
            let date = std::time::UNIX_EPOCH + Duration::from_secs(now as u64);
            response.headers_mut().insert("date", httpdate::fmt_http_date(date));
            Ok(response)
        })
    }
}

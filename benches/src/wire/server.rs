//! A Kinesis of prepared answers, in a process of its own: it has the answers to GetRecords, or the events of SubscribeToShard,
//! ready in both encodings, and writes only the numbers of the next page into them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rokini_local::wire::events;
use rokini_local::wire::shapes::consumer::{SubscribeToShardEvent, SubscribeToShardRequest};
use rokini_local::wire::shapes::record::{GetRecordsRequest, GetRecordsResponse, Record};
use rokini_local::wire::{AggregateBuilder, Codec, SequenceNumber, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::shape::Shape;
use crate::error::Result;

/// The stream's name.
pub(crate) const STREAM: &str = "bench";
/// The ARN of the only registered consumer.
pub(super) const CONSUMER: &str =
    "arn:aws:kinesis:us-east-1:000000000000:stream/bench/consumer/bench:1700000000";
/// What stands before the page in a sequence number, and the number of pages of a template.
const PAGE: &str = "4959000000000000";
const PAGE_DIGITS: usize = 12;
/// What stands in a template for the next iterator: shard, page.
const NEXT: &str = "000000.000000000000";

/// An answer or an event with the places of what is different in each.
struct Template {
    body: Vec<u8>,
    pages: Vec<usize>,
    /// Of the next iterator, in an answer.
    next: Option<usize>,
}

impl Template {
    fn new(codec: Codec, shape: &Shape) -> Result<Self> {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_millis() as i64;
        let number = |number: usize| format!("{PAGE}{number:040}");
        let record = |at: usize| {
            let sequence: SequenceNumber = number(at).parse()?;
            let packed = shape.packed > 0;
            let data = if packed { aggregate(at, shape.size, shape.packed) } else { vec![b'x'; shape.size] };
            let record = Record::new(sequence, data).partition_key(format!("key-{:08}", at % 997));
            Ok(record.approximate_arrival_timestamp(Timestamp::from_millis(now)))
        };
        let records: Vec<Record> = (0..shape.records).map(record).collect::<Result<_>>()?;
        let body = if shape.fan_out {
            let mut event = SubscribeToShardEvent::new(records, 1_000);
            event.continuation_sequence_number = Some(number(shape.records - 1));
            let payload = codec.encode(&event).into();
            let name = events::SUBSCRIBE_TO_SHARD_EVENT;
            events::Frame::event(name, codec.content_type(), payload).to_bytes().to_vec()
        } else {
            let answer =
                GetRecordsResponse::new(records).next_shard_iterator(NEXT).millis_behind_latest(1_000);
            codec.encode(&answer)
        };
        let pages = places(&body, PAGE.as_bytes()).map(|at| at + PAGE.len() - PAGE_DIGITS).collect();
        let next = places(&body, NEXT.as_bytes()).next();
        Ok(Self { body, pages, next })
    }

    fn answer(&self, shard: u32, page: u64) -> Vec<u8> {
        let mut body = self.body.clone();
        let digits = format!("{page:0PAGE_DIGITS$}");
        for at in &self.pages {
            body[*at..at + PAGE_DIGITS].copy_from_slice(digits.as_bytes());
        }
        if let Some(at) = self.next {
            let next = format!("{shard:06}.{:0PAGE_DIGITS$}", page + 1);
            body[at..at + NEXT.len()].copy_from_slice(next.as_bytes());
        }
        body
    }

    /// A whole frame, with the checksum that it should have.
    fn event(&self, page: u64) -> Vec<u8> {
        let mut frame = self.answer(0, page);
        if let Some((covered, checksum)) = frame.split_last_chunk_mut::<4>() {
            *checksum = crc32fast::hash(covered).to_be_bytes();
        }
        frame
    }
}

/// How long an event of this shape is in CBOR, on the wire.
pub(super) fn event_length(shape: &Shape) -> Result<usize> {
    Ok(Template::new(Codec::Cbor, shape)?.body.len())
}

/// An aggregate of so many user records of this size, with ten for each key.
fn aggregate(number: usize, size: usize, user_records: usize) -> Vec<u8> {
    let mut builder = AggregateBuilder::default();
    for user_record in 0..user_records {
        let key = format!("key-{:08}", (number * 31 + user_record) % user_records.div_ceil(10));
        builder.push(&key, None, &vec![b'x'; size]);
    }
    builder.build()
}

fn places<'a>(body: &'a [u8], text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + body[from..].windows(text.len()).position(|window| window == text)?;
        from = at + text.len();
        Some(at)
    })
}

struct Canned {
    shards: u32,
    cbor: Template,
    json: Template,
}

impl Canned {
    fn template(&self, codec: Codec) -> &Template {
        if codec == Codec::Json { &self.json } else { &self.cbor }
    }

    fn answer(&self, operation: &str, codec: Codec, body: &[u8]) -> Result<Vec<u8>> {
        match operation {
            "GetRecords" => {
                let request: GetRecordsRequest = codec.decode(body)?;
                let (shard, page) = request.shard_iterator.split_once('.').ok_or("an iterator of others")?;
                Ok(self.template(codec).answer(shard.parse()?, page.parse()?))
            }
            "GetShardIterator" => {
                let request: Value = serde_json::from_slice(body)?;
                let shard =
                    request["ShardId"].as_str().and_then(|id| id.rsplit('-').next()).ok_or("no shard")?;
                let shard: u32 = shard.parse()?;
                let page = page_after(request["StartingSequenceNumber"].as_str())?;
                Ok(serde_json::to_vec(
                    &json!({ "ShardIterator": format!("{shard:06}.{page:0PAGE_DIGITS$}") }),
                )?)
            }
            "DescribeStreamSummary" => Ok(serde_json::to_vec(&json!({ "StreamDescriptionSummary": {
                "StreamName": STREAM, "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/bench",
                "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1_700_000_000,
                "EnhancedMonitoring": [], "OpenShardCount": self.shards,
            }}))?),
            "ListShards" => {
                let width = u128::MAX / u128::from(self.shards);
                let shard = |number: u32| {
                    let start = width * u128::from(number);
                    let end = if number + 1 == self.shards { u128::MAX } else { start + width - 1 };
                    json!({
                        "ShardId": format!("shardId-{number:012}"),
                        "HashKeyRange": { "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() },
                        "SequenceNumberRange": { "StartingSequenceNumber": "0" },
                    })
                };
                Ok(serde_json::to_vec(&json!({ "Shards": (0..self.shards).map(shard).collect::<Vec<_>>() }))?)
            }
            "DescribeStreamConsumer" => Ok(serde_json::to_vec(&json!({ "ConsumerDescription": {
                "ConsumerName": "bench", "ConsumerARN": CONSUMER, "ConsumerStatus": "ACTIVE",
                "ConsumerCreationTimestamp": 1_700_000_000,
                "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/bench",
            }}))?),
            other => Err(format!("{other} is not canned").into()),
        }
    }
}

/// The page after the record with this number; the first without one.
fn page_after(number: Option<&str>) -> Result<u64> {
    match number {
        Some(number) => {
            let page = number.get(PAGE.len() - PAGE_DIGITS..PAGE.len()).ok_or("a number of others")?;
            Ok(page.parse::<u64>()? + 1)
        }
        None => Ok(0),
    }
}

/// Events without end, as fast as they are taken.
struct Events {
    canned: Arc<Canned>,
    codec: Codec,
    page: u64,
    begun: bool,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let frame = if std::mem::replace(&mut self.begun, true) {
            self.page += 1;
            Bytes::from(self.canned.template(self.codec).event(self.page - 1))
        } else {
            let payload = Bytes::from_static(b"{}");
            events::Frame::event(events::INITIAL_RESPONSE, "application/json", payload).to_bytes()
        };
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn whole(body: Vec<u8>) -> Answer {
    Response::new(Full::new(body.into()).boxed_unsync())
}

fn subscribed(canned: &Arc<Canned>, codec: Codec, body: &[u8]) -> Result<Answer> {
    let request: SubscribeToShardRequest = codec.decode(body)?;
    let page = page_after(request.starting_position.sequence_number.as_deref())?;
    let events = Events { canned: Arc::clone(canned), codec, page, begun: false };
    Ok(Response::new(events.boxed_unsync()))
}

async fn respond(canned: Arc<Canned>, request: Request<Incoming>) -> std::result::Result<Answer, Infallible> {
    let header = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let codec = Codec::from_content_type(&header("content-type"));
    let operation = header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (answer, content_type) = match operation.as_str() {
        "SubscribeToShard" => (subscribed(&canned, codec, &body), events::CONTENT_TYPE),
        _ => (canned.answer(&operation, codec, &body).map(whole), codec.content_type()),
    };
    let mut response = answer.unwrap_or_else(|error| {
        let mut refused =
            whole(format!(r#"{{"__type":"InternalFailure","message":"{error}"}}"#).into_bytes());
        *refused.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        refused
    });
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert("content-type", value);
    }
    Ok(response)
}

async fn serve_one(canned: Arc<Canned>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(move |request| respond(Arc::clone(&canned), request));
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, canned: Arc<Canned>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (canned, tls) = (Arc::clone(&canned), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve_one(canned, stream).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve_one(canned, stream).await;
                    }
                }
            }
        });
    }
}

/// Serves until the standard input closes. Prints the two addresses and the certificate, on a line each.
pub(crate) async fn serve(shape: &Shape) -> Result<()> {
    let template = |codec| Template::new(codec, shape);
    let shards = shape.shards;
    let canned = Arc::new(Canned { shards, cbor: template(Codec::Cbor)?, json: template(Codec::Json)? });
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    if shape.fan_out {
        // As the service offers it, and as the stock SDK and Rokini take it for subscriptions.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    let (plain, secret) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    println!("{}", plain.local_addr()?.port());
    println!("{}", secret.local_addr()?.port());
    println!("{}", made.cert.pem().replace('\n', "|"));
    tokio::spawn(accept(plain, None, Arc::clone(&canned)));
    tokio::spawn(accept(secret, Some(TlsAcceptor::from(Arc::new(config))), canned));
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

//! What a record costs on its way from the socket to the handler: the consumer in both encodings, a loop of the stock SDK, and
//! the bytes received and dropped, against prepared answers from another process.
//!
//! Answers of KPL aggregates are unpacked, in the loop of the stock SDK by prost and md-5. Shapes of fan-out come by
//! SubscribeToShard, as fast as they are taken.

mod prost_aggregate;
mod server;
mod shape;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesis::config::{BehaviorVersion, Region};
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_types::SdkConfig;
use rokini::lease::MemoryStore;
use rokini::{ConfigKey, Consumer, HttpOptions};
use rokini_local::wire::shapes::consumer::{StartingPosition as Start, SubscribeToShardRequest};
use rokini_local::wire::{Codec, ShardIteratorType as From, cbor};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) use self::server::serve;
use self::server::{CONSUMER, STREAM, event_length};
use self::shape::{POLLERS, SHAPES, Shape};
pub(crate) use self::shape::{Transport, shape};
use crate::error::Result;
use crate::process::{allocations, cpu_nanos, quantile};

/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// The buffer of the loops that receive and drop.
const RECEIVED_AT_ONCE: usize = 256 << 10;

/// What brings the records in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// Received into a buffer that is used again, and not looked at.
    Drop,
    /// GetRecords of the SDK as it is, in a loop.
    Sdk,
    /// A consumer, its handler called by batches.
    Batches(&'static str),
    /// A consumer, its handler called for each record.
    Each(&'static str),
}

const METHODS: [(&str, Method); 5] = [
    ("receive and drop", Method::Drop),
    ("stock SDK loop", Method::Sdk),
    ("rokini, CBOR", Method::Batches("cbor")),
    ("rokini, JSON", Method::Batches("json")),
    ("rokini, CBOR, one by one", Method::Each("cbor")),
];

/// What came in.
#[derive(Debug, Default)]
struct Seen {
    bytes: AtomicU64,
    records: AtomicU64,
}

impl Seen {
    /// As a handler does that looks at each record.
    fn touch(&self, data: &[u8]) {
        std::hint::black_box(data.first());
        self.add((1, data.len() as u64));
    }

    /// So many records with so many bytes.
    fn add(&self, (records, bytes): (u64, u64)) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
}

struct Server {
    _child: Child,
    plain: u16,
    secret: u16,
    pem: String,
}

impl Server {
    async fn start(shape: &Shape) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve-canned", "--shape", shape.name]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines =
            BufReader::new(child.stdout.take().ok_or("the child has no standard output")?).lines();
        let mut line = async || -> Result<String> { Ok(lines.next_line().await?.ok_or("the child ended")?) };
        let (plain, secret) = (line().await?.parse()?, line().await?.parse()?);
        let pem = line().await?.replace('|', "\n");
        Ok(Self { _child: child, plain, secret, pem })
    }

    fn url(&self, tls: bool) -> String {
        if tls {
            format!("https://localhost:{}", self.secret)
        } else {
            format!("http://localhost:{}", self.plain)
        }
    }

    /// Everything but the HTTP client.
    fn config(&self, tls: bool) -> aws_types::sdk_config::Builder {
        let keys = Credentials::from_keys("local", "local", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(self.url(tls))
            .credentials_provider(SharedCredentialsProvider::new(keys))
    }

    /// As the SDK makes it, but for the certificate that is trusted.
    fn stock(&self, tls: bool) -> Result<SdkConfig> {
        let trust = TrustStore::empty().with_pem_certificate(self.pem.as_bytes());
        let context = TlsContext::builder().with_trust_store(trust).build()?;
        let client = aws_smithy_http_client::Builder::new();
        let client =
            client.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https();
        Ok(self.config(tls).http_client(client).build())
    }

    fn own(&self, tls: bool) -> Result<SdkConfig> {
        let client = HttpOptions::default().trust(self.pem.as_bytes())?.client()?;
        Ok(self.config(tls).http_client(client).build())
    }
}

async fn sdk_loop(config: SdkConfig, shard: u32, seen: Arc<Seen>) -> Result<()> {
    let client = aws_sdk_kinesis::Client::new(&config);
    let opened = client.get_shard_iterator().stream_name(STREAM).shard_id(format!("shardId-{shard:012}"));
    let opened = opened.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
    let mut iterator = opened.shard_iterator;
    while let Some(at) = iterator {
        let answer = client.get_records().shard_iterator(at).limit(10_000).send().await?;
        for record in &answer.records {
            let data = record.data.as_ref();
            match prost_aggregate::unpack(data) {
                Some(user_records) => user_records.records.iter().for_each(|record| seen.touch(&record.data)),
                None => seen.touch(data),
            }
        }
        iterator = answer.next_shard_iterator;
    }
    Ok(())
}

async fn sdk_subscription(config: SdkConfig, shard: u32, seen: Arc<Seen>) -> Result<()> {
    let client = aws_sdk_kinesis::Client::new(&config);
    let from = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build()?;
    let call = client.subscribe_to_shard().consumer_arn(CONSUMER).shard_id(format!("shardId-{shard:012}"));
    let mut events = call.starting_position(from).send().await?.event_stream;
    while let Some(event) = events.recv().await? {
        if let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event {
            event.records.iter().for_each(|record| seen.touch(record.data.as_ref()));
        }
    }
    Ok(())
}

/// Receives by hand what one shard brings.
async fn receive(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shard: u32,
    shape: &Shape,
    seen: &Seen,
) -> Result<()> {
    match shape.fan_out {
        false => receive_answers(stream, shard, shape, seen).await,
        true => receive_events(stream, shard, shape, seen).await,
    }
}

/// Subscribes and receives, by hand, into one buffer.
async fn receive_events(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shard: u32,
    shape: &Shape,
    seen: &Seen,
) -> Result<()> {
    let start = Start::new(From::TrimHorizon);
    let request = SubscribeToShardRequest::new(CONSUMER, format!("shardId-{shard:012}"), start);
    stream.write_all(&request_by_hand("SubscribeToShard", &Codec::Cbor.encode(&request))).await?;
    let mut buffer = vec![0; RECEIVED_AT_ONCE];
    let length = event_length(shape)?;
    let mut left = length;
    loop {
        let mut read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        while read >= left {
            read -= left;
            left = length;
            seen.add(shape.answer());
        }
        left -= read;
    }
}

fn request_by_hand(operation: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: {}\r\nx-amz-target: Kinesis_20131202.{operation}\r\n\
         content-length: {}\r\n\r\n",
        cbor::CONTENT_TYPE,
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Asks and receives, by hand: the body goes into one buffer, and is counted as the data in it.
async fn receive_answers(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shard: u32,
    shape: &Shape,
    seen: &Seen,
) -> Result<()> {
    let request = rokini_local::wire::shapes::record::GetRecordsRequest::new(format!("{shard:06}.{:012}", 0));
    let request = request_by_hand("GetRecords", &Codec::Cbor.encode(&request));
    let mut buffer = vec![0; RECEIVED_AT_ONCE];
    loop {
        stream.write_all(&request).await?;
        let mut filled = 0;
        let (head, length) = loop {
            filled += match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => read,
            };
            let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&buffer[..end])?.to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")).ok_or("no length")?;
            break (end + 4, length.trim().parse::<usize>()?);
        };
        let mut left = length - (filled - head);
        while left > 0 {
            let most = left.min(buffer.len());
            match stream.read(&mut buffer[..most]).await? {
                0 => return Ok(()),
                read => left -= read,
            }
        }
        seen.add(shape.answer());
    }
}

async fn receive_loop(
    port: u16,
    tls: Option<TlsConnector>,
    shard: u32,
    shape: &Shape,
    seen: &Seen,
) -> Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    match tls {
        None => receive(stream, shard, shape, seen).await,
        Some(tls) => receive(tls.connect(name, stream).await?, shard, shape, seen).await,
    }
}

fn connector(pem: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

/// What a run cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu_seconds_per_gb: f64,
    nanoseconds_per_record: f64,
    allocations_per_record: f64,
    gb_per_second: f64,
}

async fn between(seen: &Seen, time: Duration) -> Cost {
    tokio::time::sleep(WARM_UP).await;
    let read = || (seen.bytes.load(Ordering::Relaxed) as f64, seen.records.load(Ordering::Relaxed) as f64);
    let ((bytes, records), cpu, allocated) = (read(), cpu_nanos(), allocations());
    tokio::time::sleep(time).await;
    let (cpu, allocated) = ((cpu_nanos() - cpu) as f64, (allocations() - allocated) as f64);
    let (bytes, records) = (read().0 - bytes, read().1 - records);
    Cost {
        cpu_seconds_per_gb: cpu / bytes,
        nanoseconds_per_record: cpu / records,
        allocations_per_record: allocated / records,
        gb_per_second: bytes / 1e9 / time.as_secs_f64(),
    }
}

async fn run(
    server: &Server,
    shape: &'static Shape,
    method: Method,
    tls: bool,
    time: Duration,
) -> Result<Cost> {
    let seen = Arc::<Seen>::default();
    let cost = match method {
        Method::Drop | Method::Sdk => {
            let mut loops = tokio::task::JoinSet::new();
            let stock = server.stock(tls)?;
            for shard in 0..POLLERS {
                let (stock, seen) = (stock.clone(), Arc::clone(&seen));
                let port = if tls { server.secret } else { server.plain };
                let tls = if tls { Some(connector(&server.pem)?) } else { None };
                loops.spawn(async move {
                    let ended = match (method, shape.fan_out) {
                        (Method::Sdk, false) => sdk_loop(stock, shard, seen).await,
                        (Method::Sdk, true) => sdk_subscription(stock, shard, seen).await,
                        _ => receive_loop(port, tls, shard, shape, &seen).await,
                    };
                    ended.map_err(|error| error.to_string())
                });
            }
            tokio::select! {
                cost = between(&seen, time) => cost,
                Some(ended) = loops.join_next() => return Err(format!("a loop ended: {ended:?}").into()),
            }
        }
        Method::Batches(wire) | Method::Each(wire) => {
            let builder = Consumer::builder()
                .group("bench")
                .stream(STREAM)
                .aws(&server.own(tls)?)
                .store(MemoryStore::new())
                .set(ConfigKey::Retrieval, if shape.fan_out { "fan_out" } else { "polling" })
                .set(ConfigKey::Wire, wire);
            let touched = Arc::clone(&seen);
            let builder = if matches!(method, Method::Each(_)) {
                builder.for_each(move |record| {
                    touched.touch(record.data());
                    async { Ok(()) }
                })
            } else {
                builder.for_each_batch(move |batch| {
                    batch.iter().for_each(|record| touched.touch(record.data()));
                    async { Ok(()) }
                })
            };
            let consumer = builder.build().await?;
            let handle = consumer.handle();
            let running = tokio::spawn(consumer.run());
            while seen.bytes.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let cost = between(&seen, time).await;
            handle.shutdown(Duration::from_secs(5)).await;
            running.await??;
            cost
        }
    };
    Ok(cost)
}

/// In turns, on one thread; medians. Prints a table of ratios as it goes. No names mean all.
pub(crate) fn measure(
    rounds: usize,
    time: Duration,
    shapes: &[String],
    rows: &[String],
    transports: &[Transport],
) -> Result<Value> {
    let shapes = match shapes {
        [] => SHAPES.iter().collect(),
        names => names.iter().map(|name| shape(name)).collect::<Result<Vec<_>>>()?,
    };
    let is_wanted = |row: &str| rows.is_empty() || rows.iter().any(|wanted| wanted == row);
    let methods: Vec<_> = METHODS.into_iter().filter(|(name, _)| is_wanted(name)).collect();
    let mut found = BTreeMap::new();
    for shape in shapes {
        for transport in transports {
            let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
            for _ in 0..rounds {
                for (name, method) in &methods {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    let cost = runtime.block_on(async {
                        let server = Server::start(shape).await?;
                        run(&server, shape, *method, *transport == Transport::Tls, time).await
                    })?;
                    costs.entry(*name).or_default().push(cost);
                }
            }
            let title = match transport {
                Transport::Plain => format!("{}, plain", shape.name),
                Transport::Tls => format!("{}, TLS", shape.name),
            };
            let measured = table(&title, &costs);
            found.insert(title, measured);
        }
    }
    Ok(json!({ "bench": "wire", "rounds": rounds, "shapes": found }))
}

fn table(title: &str, costs: &BTreeMap<&str, Vec<Cost>>) -> Value {
    let median =
        |name: &str, of: fn(&Cost) -> f64| quantile(costs.get(name).into_iter().flatten().map(of), 0.5);
    let per_gb = |name: &str| median(name, |cost| cost.cpu_seconds_per_gb);
    let (stock, floor) = (per_gb("stock SDK loop"), per_gb("receive and drop"));
    println!(
        "{title:24} CPU-s/GB   ns/record   allocations/record   fewer than stock   times the floor   GB/s"
    );
    let mut rows = serde_json::Map::new();
    for (name, _) in METHODS.into_iter().filter(|(name, _)| costs.contains_key(name)) {
        let (cost, record) = (per_gb(name), median(name, |cost| cost.nanoseconds_per_record));
        let allocated = median(name, |cost| cost.allocations_per_record);
        let pace = median(name, |cost| cost.gb_per_second);
        println!(
            "  {name:24} {cost:7.3} {record:11.0} {allocated:20.3} {:17.2}x {:16.2}x {pace:6.2}",
            stock / cost,
            cost / floor
        );
        rows.insert(
            name.to_owned(),
            json!({
                "cpu_seconds_per_gb": cost, "nanoseconds_per_record": record, "allocations_per_record": allocated,
                "fewer_than_stock": stock / cost, "times_the_floor": cost / floor, "gb_per_second": pace,
            }),
        );
    }
    Value::Object(rows)
}

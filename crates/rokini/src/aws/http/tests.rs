//! The client against small servers over sockets of this machine.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_util::task::TaskTracker;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What a server saw, and how it answers.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: std::sync::Mutex<Vec<(http::Version, String, http::HeaderMap)>>,
    /// Answers to `/held` wait for it.
    released: Notify,
}

impl Seen {
    fn requests(&self) -> Vec<(http::Version, String, http::HeaderMap)> {
        self.requests.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

struct Server {
    address: SocketAddr,
    certificate: String,
    seen: Arc<Seen>,
    tasks: JoinSet<()>,
}

type Answer = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// `/held` waits, `/open` sends one piece and no end, `/large` sends 3 MB, anything else `done`.
async fn reply(
    request: Request<Incoming>,
    seen: Arc<Seen>,
) -> Result<Response<Answer>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let _ = body.collect().await;
    let path = parts.uri.path().to_owned();
    seen.requests.lock().unwrap().push((parts.version, parts.uri.to_string(), parts.headers));
    if path == "/held" {
        seen.released.notified().await;
    }
    let body = match &*path {
        "/open" => {
            let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"first")))]);
            StreamBody::new(futures::StreamExt::chain(first, futures::stream::pending())).boxed()
        }
        "/large" => Full::new(Bytes::from(vec![7; 3 << 20])).boxed(),
        _ => Full::new(Bytes::from_static(b"done")).boxed(),
    };
    Ok(Response::new(body))
}

impl Server {
    /// `tls` is the protocols that it offers, or none.
    async fn start(tls: Option<&[&[u8]]>, most_streams: u32) -> Self {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "kinesis.test".to_owned()]).unwrap();
        let acceptor = tls.map(|protocols| {
            let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
            let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, mut tasks) = (Arc::<Seen>::default(), JoinSet::new());
        let of_server = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                of_server.connections.fetch_add(1, SeqCst);
                let (seen, acceptor) = (Arc::clone(&of_server), acceptor.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request| reply(request, Arc::clone(&seen)));
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().max_concurrent_streams(most_streams);
                    let _ = match acceptor {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => return,
                        },
                        None => builder.serve_connection(TokioIo::new(stream), service).await,
                    };
                });
            }
        });
        Self { address, certificate: made.cert.pem(), seen, tasks }
    }

    fn options(&self) -> HttpOptions {
        HttpOptions::default().trust(self.certificate.clone()).unwrap()
    }

    fn url(&self, path: &str, tls: bool) -> String {
        format!("{}://localhost:{}{path}", if tls { "https" } else { "http" }, self.address.port())
    }
}

fn get(url: &str) -> HttpRequest {
    HttpRequest::try_from(Request::get(url).body(SdkBody::empty()).unwrap()).unwrap()
}

fn subscription(url: &str) -> HttpRequest {
    let request = Request::post(url).header("x-amz-target", SUBSCRIBE);
    HttpRequest::try_from(request.body(SdkBody::from("{}")).unwrap()).unwrap()
}

async fn text(answer: HttpResponse) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn in_time<T>(wait: impl Future<Output = T>) -> T {
    timeout(20 * SECOND, wait).await.expect("in time")
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

#[tokio::test]
async fn calls_go_over_http1_on_one_connection_although_the_server_offers_http2() {
    let server = Server::start(Some(BOTH), 10).await;
    let connector = server.options().connector(SECOND).unwrap();
    for _ in 0..3 {
        let answer = connector.call(get(&server.url("/a?b=c", true))).await.unwrap();
        assert_eq!(text(answer).await, "done");
    }
    let large = connector.call(get(&server.url("/large", true))).await.unwrap();
    assert_eq!(large.body().bytes().unwrap(), vec![7; 3 << 20]);
    let requests = server.seen.requests();
    assert_eq!((server.seen.connections(), requests.len()), (1, 4));
    let (version, target, headers) = &requests[0];
    assert_eq!((*version, &**target), (http::Version::HTTP_11, "/a?b=c"));
    assert_eq!(headers["host"], format!("localhost:{}", server.address.port()));
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_is_refused() {
    let server = Server::start(Some(BOTH), 10).await;
    let connector = HttpOptions::default().connector(SECOND).unwrap();
    let error = connector.call(get(&server.url("/", true))).await.unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    assert!(server.seen.requests().is_empty());
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_connection_and_those_as_silent_with_it() {
    let server = Server::start(None, 10).await;
    let connector = server.options().connector(SECOND).unwrap();
    let call = |path| connector.call(get(&server.url(path, false)));
    // Two idle connections.
    let (held, free) = (call("/held"), call("/"));
    let tasks = TaskTracker::new();
    let held = tasks.spawn(held.into_future());
    in_time(async {
        while server.seen.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    free.await.unwrap();
    server.seen.released.notify_waiters();
    in_time(held).await.unwrap().unwrap();
    assert_eq!(server.seen.connections(), 2);
    // Given up at once: that says nothing about the other.
    assert!(timeout(SECOND / 10, call("/held")).await.is_err());
    call("/").await.unwrap();
    assert_eq!(server.seen.connections(), 2, "the other goes on");
    // Given up after a while: the other was as silent.
    let _ = tasks.spawn(call("/").into_future()).await;
    assert!(timeout(SECOND * 3 / 2, call("/held")).await.is_err());
    call("/").await.unwrap();
    assert_eq!(server.seen.connections(), 3, "a fresh one");
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_costs_no_call() {
    let mut server = Server::start(None, 10).await;
    let connector = server.options().connector(SECOND).unwrap();
    let url = server.url("/", false);
    connector.call(get(&url)).await.unwrap();
    let address = server.address;
    server.tasks.shutdown().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(|request| reply(request, Arc::default()));
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    };
    tokio::select! {
        answer = connector.call(get(&url)) => { answer.unwrap(); }
        served = serve => panic!("no answer: {served:?}"),
    }
}

#[tokio::test]
async fn no_more_than_64_connections_lead_to_one_server_and_no_call_is_lost() {
    let server = Server::start(None, 10).await;
    let connector = server.options().connector(5 * SECOND).unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let call = connector.call(get(&server.url("/held", false)));
        calls.spawn(call.into_future());
    }
    let release = async {
        while !calls.is_empty() {
            tokio::select! {
                done = calls.join_next() => { done.unwrap().unwrap().unwrap(); }
                () = tokio::time::sleep(SECOND / 20) => server.seen.released.notify_waiters(),
            }
        }
    };
    in_time(release).await;
    assert_eq!((server.seen.requests().len(), server.seen.connections()), (200, 64));
}

/// A proxy that leads everywhere to one server, and says what it was asked for.
async fn proxy(server: SocketAddr) -> (SocketAddr, Arc<std::sync::Mutex<Vec<String>>>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::<std::sync::Mutex<Vec<String>>>::default());
    let (mut tasks, log) = (JoinSet::new(), Arc::clone(&asked));
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let log = Arc::clone(&log);
            connections.spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let text = String::from_utf8(head.clone()).unwrap();
                log.lock().unwrap().push(text.clone());
                let mut upstream = TcpStream::connect(server).await.unwrap();
                match text.starts_with("CONNECT ") {
                    true => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap(),
                    false => upstream.write_all(&head).await.unwrap(),
                }
                let _ = copy_bidirectional(&mut client, &mut upstream).await;
            });
        }
    });
    (address, asked, tasks)
}

#[tokio::test]
async fn https_goes_through_the_tunnel_of_a_proxy_and_http_in_whole_urls() {
    for tls in [true, false] {
        let server = Server::start(tls.then_some(BOTH), 10).await;
        let (address, asked, _tasks) = proxy(server.address).await;
        let url = format!("http://me:secret@{address}");
        let proxies = Proxies::none().https(url.clone()).unwrap().http(url).unwrap();
        let connector = server.options().proxies(proxies.except("localhost.test")).connector(SECOND).unwrap();
        let scheme = if tls { "https" } else { "http" };
        for path in ["/a", "/b"] {
            let answer = connector.call(get(&format!("{scheme}://kinesis.test:4567{path}"))).await.unwrap();
            assert_eq!(text(answer).await, "done");
        }
        assert_eq!(server.seen.connections(), 1, "the tunnel is kept");
        let asked = asked.lock().unwrap().clone();
        let first = if tls {
            "CONNECT kinesis.test:4567 HTTP/1.1"
        } else {
            "GET http://kinesis.test:4567/a HTTP/1.1"
        };
        assert!(asked[0].starts_with(first), "{asked:?}");
        assert!(asked[0].to_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0"), "{asked:?}");
        let (_, target, headers) = &server.seen.requests()[1];
        assert_eq!(headers["host"], "kinesis.test:4567");
        assert_eq!(target == "/b", tls, "the server behind a tunnel is no proxy");
        assert_eq!(
            headers.contains_key("proxy-authorization"),
            !tls,
            "nobody but the proxy gets the password"
        );
        if tls {
            let open = connector.call(subscription("https://kinesis.test:4567/open")).await.unwrap();
            assert_eq!(open.status().as_u16(), 200);
            assert_eq!(server.seen.requests()[2].0, http::Version::HTTP_2);
        }
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_the_tunnel_is_an_error_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refuse = async {
        let (mut client, _) = listener.accept().await.unwrap();
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
        client.flush().await.unwrap();
        client
    };
    let proxies = Proxies::none().https(format!("http://{address}")).unwrap();
    let connector = HttpOptions::default().proxies(proxies).connector(SECOND).unwrap();
    let (error, _client) = tokio::join!(connector.call(get("https://kinesis.test/")), refuse);
    let error = error.unwrap_err();
    assert!(format!("{error:?}").contains("ProxyAuthRequired"), "{error:?}");
}

async fn first_piece(answer: &mut HttpResponse) -> Bytes {
    in_time(answer.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn subscriptions_open_as_many_connections_as_the_limit_of_streams_asks_for() {
    let server = Server::start(Some(BOTH), 3).await;
    let connector = server.options().connector(SECOND).unwrap();
    let mut open = Vec::new();
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(connector.call(subscription(&server.url("/open", true))).into_future());
    }
    while let Some(answer) = in_time(calls.join_next()).await {
        let mut answer = answer.unwrap().unwrap();
        assert_eq!(first_piece(&mut answer).await, "first");
        open.push(answer);
    }
    assert_eq!(server.seen.connections(), 4);
    assert!(server.seen.requests().iter().all(|(version, ..)| *version == http::Version::HTTP_2));
    // A place is free again with the end of its answer.
    open.truncate(9);
    let mut answer = in_time(connector.call(subscription(&server.url("/open", true)))).await.unwrap();
    assert_eq!(first_piece(&mut answer).await, "first");
    assert_eq!(server.seen.connections(), 4);
    // Polling beside it has connections of its own.
    connector.call(get(&server.url("/", true))).await.unwrap();
    assert_eq!(server.seen.connections(), 5);
}

#[tokio::test]
async fn without_http2_every_subscription_has_a_connection_of_its_own_and_ends_it() {
    for tls in [None, Some(&BOTH[1..])] {
        let server = Server::start(tls, 3).await;
        let connector = server.options().connector(SECOND).unwrap();
        for count in 1..=2 {
            let url = server.url("/open", tls.is_some());
            let mut answer = in_time(connector.call(subscription(&url))).await.unwrap();
            assert_eq!(first_piece(&mut answer).await, "first");
            assert_eq!(server.seen.connections(), count);
        }
    }
}

#[tokio::test]
async fn p10_a_subscription_whose_connection_falls_silent_ends_and_the_next_has_a_fresh_one() {
    let server = Server::start(Some(BOTH), 10).await;
    // A relay that stops carrying.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), server.address);
    let stop = Arc::<Notify>::default();
    let stopped = Arc::clone(&stop);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let stopped = Arc::clone(&stopped);
            connections.spawn(async move {
                let mut upstream = TcpStream::connect(target).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut upstream) => {}
                    () = stopped.notified() => std::future::pending().await,
                }
            });
        }
    });
    let options = server.options();
    let dialer = Dialer::new(&options.proxies, &options.trusted).unwrap();
    let pings = streaming::Pings { interval: SECOND / 5, limit: SECOND / 2 };
    let pool = StreamingPool::with_pings(dialer, pings);
    let subscribe = || {
        let request = subscription(&format!("https://localhost:{port}/open")).try_into_http1x().unwrap();
        pool.call(request, SECOND)
    };
    let mut answer = in_time(subscribe()).await.unwrap();
    let first = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "first");
    // Alive for as long as it answers PINGs, however quiet.
    assert!(timeout(2 * SECOND, answer.body_mut().frame()).await.is_err());
    stop.notify_waiters();
    let begun = Instant::now();
    assert!(in_time(answer.body_mut().frame()).await.unwrap().is_err());
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    in_time(subscribe()).await.unwrap();
    assert_eq!(server.seen.connections(), 2);
}

/// What a step failed for, with the step.
async fn failed_at(options: &HttpOptions, url: &str) -> (ProbeStep, String) {
    let error = options.probe(url, SECOND).await.expect_err(url);
    (error.step(), format!("{error}: {:?}", std::error::Error::source(&error).unwrap()))
}

#[tokio::test]
async fn a_probe_says_how_a_server_is_reached_and_at_which_step_it_is_not() {
    let server = Server::start(Some(BOTH), 10).await;
    let reached = server.options().probe(&server.url("/", true), SECOND).await.unwrap();
    let tls = reached.tls.unwrap();
    assert_eq!((reached.status, reached.proxy, &*tls.version, tls.http2), (200, None, "TLSv1.3", true));
    assert!(!reached.addresses.is_empty() && !tls.certificate.is_empty());
    let old = Server::start(Some(&[b"http/1.1"]), 10).await;
    let reached = old.options().probe(&old.url("/", true), SECOND).await.unwrap();
    assert!(!reached.tls.unwrap().http2, "subscriptions would not get through");
    let plain = Server::start(None, 10).await;
    let reached = HttpOptions::default().probe(&plain.url("/", false), SECOND).await.unwrap();
    assert_eq!((reached.tls, reached.status), (None, 200));

    // By way of a proxy, which has the name looked up.
    let (address, asked, _tasks) = proxy(server.address).await;
    let proxies = Proxies::none().https(format!("http://me:secret@{address}")).unwrap();
    let reached = server.options().proxies(proxies).probe("https://kinesis.test/", SECOND).await.unwrap();
    assert_eq!((reached.proxy, reached.status), (Some(address.to_string()), 200));
    assert!(asked.lock().unwrap()[0].starts_with("CONNECT kinesis.test:443"));

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Takes the request and answers something else.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://{}/", mute.local_addr().unwrap());
    let answering = async {
        let (mut stream, _) = mute.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
    };
    let options = HttpOptions::default();
    let ((), said) = tokio::join!(answering, failed_at(&options, &other));
    assert_eq!(said.0, ProbeStep::Http, "{}", said.1);
    for (url, step, says) in [
        ("https://kinesis.invalid/".to_owned(), ProbeStep::Dns, "lookup"),
        (format!("http://{nobody}/"), ProbeStep::Connect, "refused"),
        (server.url("/", true), ProbeStep::Tls, "UnknownIssuer"),
        (format!("https://localhost:{}/", plain.address.port()), ProbeStep::Tls, ""),
    ] {
        let said = failed_at(&options, &url).await;
        assert!(said.0 == step && said.1.contains(says), "{url}: {said:?}");
    }
}

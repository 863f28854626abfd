#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::Ipv4Addr;

use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::http::body::{Body, ConnectionCut, full_body};
use crate::http::{Entry, Hosts, Origins, RequestBody};

const SOON: Duration = Duration::from_millis(200);
/// Longer than any of it takes on a busy machine.
const LATE: Duration = Duration::from_secs(30);

/// Answers with the body of the request, or why there is none.
#[derive(Clone)]
struct Echo(Entry);

impl Handler for Echo {
    async fn handle(&self, request: Request<impl RequestBody>) -> Result<Response<Body>, ConnectionCut> {
        let body = self.0.read_body(request.into_body(), 1024).await.unwrap_or_else(Into::into);
        Ok(Response::new(full_body(body)))
    }
}

async fn serve(limits: ConnectionLimits) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let entry = Entry { body_timeout: SOON, ..Entry::new(Hosts::default(), Origins::default()) };
    Server::start(listener, Echo(entry), Security::default(), limits, CancellationToken::new()).unwrap()
}

const PATIENT: ConnectionLimits =
    ConnectionLimits { connections: 100, first_bytes: LATE, head: LATE, ping: LATE };

async fn open(server: &Server, sent: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    socket.write_all(sent).await.unwrap();
    socket
}

/// What comes until the connection is closed.
async fn rest(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = timeout(LATE, socket.read_to_end(&mut answer)).await.expect("the server closes it");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn whoever_does_not_say_a_version_in_time_is_cut() {
    let server = serve(ConnectionLimits { first_bytes: SOON, ..PATIENT }).await;
    for sent in ["", "P", "PRI * HTTP/2.0\r\n\r\n"] {
        let mut silent = open(&server, sent.as_bytes()).await;
        assert_eq!(rest(&mut silent).await, "", "{sent:?}");
    }
    // What has begun otherwise has its own time: the second half comes long after the first bytes.
    let mut slow = open(&server, b"POST / HTTP/1.1\r\nHost: x\r\n").await;
    tokio::time::sleep(2 * SOON).await;
    slow.write_all(b"Connection: close\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    assert!(rest(&mut slow).await.ends_with("\r\n\r\nhi"));
}

#[tokio::test]
async fn a_head_that_stops_ends_the_connection() {
    let server = serve(ConnectionLimits { head: SOON, ..PATIENT }).await;
    let mut half = open(&server, b"POST / HTTP/1.1\r\nHost: x\r\n").await;
    assert!(!rest(&mut half).await.contains("200 OK"));
    // So does one that never comes, after an answer.
    let mut idle = open(&server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await;
    assert!(rest(&mut idle).await.ends_with("\r\n\r\nhi"));
}

#[tokio::test]
async fn a_body_that_stops_is_answered() {
    let server = serve(PATIENT).await;
    let mut half =
        open(&server, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhi")
            .await;
    let answer = rest(&mut half).await;
    assert!(answer.contains("it did not arrive within 200ms"), "{answer}");
}

#[tokio::test]
async fn more_connections_wait_for_a_place() {
    let server = serve(ConnectionLimits { connections: 2, ..PATIENT }).await;
    let silent = [open(&server, b"").await, open(&server, b"").await];
    let mut third =
        open(&server, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
            .await;
    assert!(timeout(SOON, third.readable()).await.is_err(), "it is not served");
    drop(silent);
    assert!(rest(&mut third).await.ends_with("\r\n\r\nhi"));
}

/// Kinds of HTTP/2 frames.
const SETTINGS: u8 = 4;
const PING: u8 = 6;

/// An HTTP/2 connection that has begun.
async fn open_http2(server: &Server) -> TcpStream {
    open(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await
}

#[tokio::test]
async fn an_http2_connection_that_answers_no_ping_is_cut() {
    let server = serve(ConnectionLimits { ping: SOON, ..PATIENT }).await;
    let mut silent = open_http2(&server).await;
    rest(&mut silent).await;

    let mut living = open_http2(&server).await;
    let mut answered = 0;
    while answered < 5 {
        let mut head = [0; 9];
        timeout(LATE, living.read_exact(&mut head)).await.unwrap().unwrap();
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        living.read_exact(&mut payload).await.unwrap();
        if flags & 1 == 0 && matches!(kind, SETTINGS | PING) {
            let payload = if kind == PING { payload } else { Vec::new() };
            answered += usize::from(kind == PING);
            let length = u8::try_from(payload.len()).unwrap();
            let answer = [&[0, 0, length, kind, 1, 0, 0, 0, 0], &payload[..]].concat();
            living.write_all(&answer).await.unwrap();
        }
    }
}

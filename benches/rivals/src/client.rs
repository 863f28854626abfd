//! One connection that speaks both codecs and can throw a body away unread.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rokini_local::wire::{Codec, Operation};

pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn connect(address: &str) -> Self {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (to, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Self(to)
    }

    /// The answer, or what the server said instead.
    pub(crate) async fn call<R: Operation>(&mut self, request: &R) -> Result<R::Response, String> {
        let answer = self.send(Codec::Json, request).await;
        let fine = answer.status().is_success();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        // CreateStream answers with an empty body.
        let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
        if !fine {
            return Err(String::from_utf8_lossy(&body).into_owned());
        }
        Codec::Json.decode(&body).map_err(|error| error.to_string())
    }

    /// The length of the answer, which nobody reads.
    pub(crate) async fn length<R: Operation>(&mut self, codec: Codec, request: &R) -> usize {
        let answer = self.send(codec, request).await;
        assert!(answer.status().is_success(), "{}", answer.status());
        let (mut body, mut bytes) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        bytes
    }

    async fn send<R: Operation>(&mut self, codec: Codec, request: &R) -> http::Response<Incoming> {
        let request = http::Request::post("/")
            .header("host", "local")
            .header("x-amz-target", format!("Kinesis_20131202.{}", R::NAME))
            .header("content-type", codec.content_type())
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/kinesis/aws4_request, \
                 SignedHeaders=host, Signature=00",
            )
            .body(Full::new(codec.encode(request).into()));
        self.0.send_request(request.unwrap()).await.unwrap()
    }
}

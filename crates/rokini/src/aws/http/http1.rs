//! A request and its answer over HTTP/1.1, the body received into the memory where it stays.
//!
//! Heads are read by `httparse`, which hyper reads them by. What is around it is done here, because hyper receives a body into
//! buffers of its own, hands their parts from its task to ours, and leaves it to us to copy them together: for an answer of
//! 1 MB that costs more than everything else on the way.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use httparse::{EMPTY_HEADER, ParserConfig, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::connect::Io;
use crate::aws::buffer_pool::{BufferPool, LARGE};

/// What is received at once before it is known how long the body is.
const PIECE: usize = 8 << 10;
/// The longest head, and the longest line around a chunk.
const MOST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;
/// Bodies of up to so many bytes go out together with the head.
const SMALL: usize = 64 << 10;
/// No answer of AWS is larger than about 15 MB. An endpoint that sends without end does not get all the memory.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// Memory that is made ready on the word of a header alone. More is as it comes.
const TRUSTED: usize = 16 << 20;

type BoxError = Box<dyn StdError + Send + Sync>;

/// A connection on which one call is made after the other.
pub(super) struct Http1 {
    io: Io,
    /// What was received and not taken: between calls it is empty.
    received: BytesMut,
    /// Whether another call can follow.
    reusable: bool,
    buffers: Arc<BufferPool>,
}

/// Why there is no answer.
pub(super) struct NoAnswer {
    pub(super) error: io::Error,
    /// Whether the request was not even begun, so that it can go out on another connection.
    pub(super) unsent: bool,
}

impl From<io::Error> for NoAnswer {
    /// What is wrong with an answer that begins.
    fn from(error: io::Error) -> Self {
        Self { error, unsent: false }
    }
}

/// What of a request has not gone out yet.
struct Unsent {
    /// With the body, where that is small.
    head: Bytes,
    body: Bytes,
    /// Whether some of it went out.
    begun: bool,
}

impl Unsent {
    fn new(request: &Parts, body: &Bytes) -> Self {
        let mut head = head_of(request, body.len());
        let mut rest = Bytes::new();
        if body.len() <= SMALL {
            head.extend_from_slice(body);
        } else {
            rest = body.clone();
        }
        Self { head: head.freeze(), body: rest, begun: false }
    }

    fn next(&mut self) -> &mut Bytes {
        if self.head.is_empty() { &mut self.body } else { &mut self.head }
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }
}

/// Where the end of a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Told(usize),
    Chunked,
    /// The end of the connection.
    Untold,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Http1 {
    /// Large bodies are received into `buffers`.
    pub(super) fn new(io: Io, buffers: Arc<BufferPool>) -> Self {
        Self { io, received: BytesMut::new(), reusable: true, buffers }
    }

    /// Whether another call can follow, after the last answer.
    pub(super) fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Whether another call can be made on it now. The server may have closed it meanwhile, or said what nobody asked for.
    pub(super) fn is_usable(&mut self) -> bool {
        let mut space = [0; 1];
        let mut context = Context::from_waker(std::task::Waker::noop());
        let polled = Pin::new(&mut self.io).poll_read(&mut context, &mut ReadBuf::new(&mut space));
        self.reusable && polled.is_pending()
    }

    /// Sends a request, and takes the whole answer, whose body may break off. `heard` is called whenever some of it comes.
    pub(super) async fn call(
        &mut self,
        request: &Parts,
        body: &Bytes,
        mut heard: impl FnMut(),
    ) -> Result<Response<Result<Bytes, BoxError>>, NoAnswer> {
        self.reusable = false;
        let mut unsent = Unsent::new(request, body);
        let (head, keeps) = self.head(&mut unsent, &mut heard).await?;
        let bodiless = request.method == Method::HEAD
            || matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = if bodiless { Length::Told(0) } else { length(head.headers())? };
        let body = match length {
            // JSON is decoded in its own text, so that must be nobody else's.
            Length::Told(length) if (LARGE..=TRUSTED).contains(&length) && !is_json(head.headers()) => {
                let mut whole = self.buffers.take(length);
                self.take(&mut whole.bytes, length, &mut heard).await.map(|()| whole.freeze())
            }
            Length::Told(length) => self.exactly(length, &mut heard).await,
            Length::Chunked => self.chunked(&mut heard).await,
            Length::Untold => self.until_closed(&mut heard).await,
        };
        // What was not sent to its end, and what came beyond the answer, would be taken for part of the next call.
        self.reusable = keeps
            && unsent.is_empty()
            && length != Length::Untold
            && body.is_ok()
            && self.received.is_empty();
        Ok(head.map(|()| body.map_err(Into::into)))
    }

    /// Sends, and receives something: a server may answer what it has not read to its end.
    async fn exchange(&mut self, unsent: &mut Unsent) -> Result<(), NoAnswer> {
        let mut broken = None;
        std::future::poll_fn(|cx| {
            while broken.is_none() {
                let (is_all, io) = (unsent.is_empty(), Pin::new(&mut self.io));
                let sent = if is_all {
                    io.poll_flush(cx).map_ok(|()| None)
                } else {
                    io.poll_write(cx, unsent.next()).map_ok(Some)
                };
                match sent {
                    Poll::Pending | Poll::Ready(Ok(None)) => break,
                    Poll::Ready(Ok(Some(0))) => broken = Some(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(Some(sent))) => {
                        unsent.begun = true;
                        unsent.next().advance(sent);
                    }
                    Poll::Ready(Err(error)) => broken = Some(error),
                }
            }
            match self.poll_receive(cx) {
                Poll::Pending if broken.is_some() && !unsent.begun => Poll::Ready(Ok(0)),
                received => received,
            }
        })
        .await
        .and_then(|received| match (received, broken.take()) {
            (0, Some(error)) => Err(error),
            (0, None) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the answer")),
            _ => Ok(()),
        })
        .map_err(|error| NoAnswer { error, unsent: !unsent.begun })
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.received.len();
        self.received.reserve(PIECE);
        let mut receive = std::pin::pin!(self.io.read_buf(&mut self.received));
        let polled = receive.as_mut().poll(cx);
        polled.map_ok(|_| self.received.len() - before)
    }

    /// Receives more. An end is an error.
    async fn more(&mut self) -> io::Result<()> {
        self.received.reserve(PIECE);
        match self.io.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The head of the answer, and whether the connection goes on after it. The request goes out meanwhile.
    async fn head(
        &mut self,
        unsent: &mut Unsent,
        heard: &mut impl FnMut(),
    ) -> Result<(Response<()>, bool), NoAnswer> {
        let mut passed = 0;
        loop {
            match parse_head(&self.received)? {
                // Nobody asked for what these say, but a server may send them before it reads on.
                Some((length, head, _)) if head.status().is_informational() => {
                    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
                        return Err(invalid("an answer switches protocols").into());
                    }
                    self.received.advance(length);
                    passed += length;
                }
                Some((length, head, keeps)) => {
                    self.received.advance(length);
                    return Ok((head, keeps));
                }
                None if passed + self.received.len() > MOST_HEAD => {
                    return Err(invalid("a head without an end").into());
                }
                None => {
                    self.exchange(unsent).await?;
                    heard();
                }
            }
        }
    }

    async fn exactly(&mut self, length: usize, heard: &mut impl FnMut()) -> io::Result<Bytes> {
        if length > MOST_BYTES {
            return Err(invalid("the answer is larger than 64 MiB"));
        }
        let mut whole = BytesMut::with_capacity(length.min(TRUSTED));
        self.take(&mut whole, length, heard).await?;
        Ok(whole.freeze())
    }

    /// So many bytes to the end of a body.
    async fn take(
        &mut self,
        whole: &mut impl BufMut,
        length: usize,
        heard: &mut impl FnMut(),
    ) -> io::Result<()> {
        let here = self.received.len().min(length);
        whole.put_slice(&self.received[..here]);
        self.received.advance(here);
        let mut left = length - here;
        while left > 0 {
            match self.io.read_buf(&mut (&mut *whole).limit(left)).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => left -= received,
            }
            heard();
        }
        Ok(())
    }

    async fn chunked(&mut self, heard: &mut impl FnMut()) -> io::Result<Bytes> {
        let mut whole = BytesMut::new();
        loop {
            let length = self.line(|line| match httparse::parse_chunk_size(line) {
                Ok(Status::Complete((end, length))) => Ok(Some((end, length))),
                Ok(Status::Partial) => Ok(None),
                Err(_) => Err(invalid("no length of a chunk")),
            });
            let length = usize::try_from(length.await?).unwrap_or(usize::MAX);
            heard();
            if length == 0 {
                break;
            }
            if length > MOST_BYTES - whole.len() {
                return Err(invalid("the answer is larger than 64 MiB"));
            }
            self.take(&mut whole, length, heard).await?;
            if !self.line(end_of_line).await? {
                return Err(invalid("a chunk is longer than it says"));
            }
        }
        self.line(end_of_trailers).await?;
        Ok(whole.freeze())
    }

    /// Takes what `read` finds at the beginning, once it is all here: how long it is, and what it says.
    async fn line<T>(&mut self, read: impl Fn(&[u8]) -> io::Result<Option<(usize, T)>>) -> io::Result<T> {
        loop {
            if let Some((length, said)) = read(&self.received)? {
                self.received.advance(length);
                return Ok(said);
            }
            if self.received.len() > MOST_HEAD {
                return Err(invalid("a line without an end"));
            }
            self.more().await?;
        }
    }

    async fn until_closed(&mut self, heard: &mut impl FnMut()) -> io::Result<Bytes> {
        let mut whole = std::mem::take(&mut self.received);
        loop {
            if whole.len() > MOST_BYTES {
                return Err(invalid("the answer is larger than 64 MiB"));
            }
            whole.reserve(PIECE);
            if self.io.read_buf(&mut whole).await? == 0 {
                return Ok(whole.freeze());
            }
            heard();
        }
    }
}

/// A line: whether there is nothing in it.
fn end_of_line(received: &[u8]) -> io::Result<Option<(usize, bool)>> {
    let Some(end) = received.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    Ok(Some((end + 1, matches!(&received[..end], b"" | b"\r"))))
}

/// The lines after the last chunk, of which nobody asks for any but the empty one at their end.
fn end_of_trailers(received: &[u8]) -> io::Result<Option<(usize, ())>> {
    match httparse::parse_headers(received, &mut [EMPTY_HEADER; MOST_HEADERS]) {
        Ok(Status::Complete((end, _))) => Ok(Some((end, ()))),
        Ok(Status::Partial) => Ok(None),
        Err(_) => Err(invalid("no end of the chunks")),
    }
}

fn head_of(request: &Parts, length: usize) -> BytesMut {
    let target = &request.uri;
    let mut head = BytesMut::with_capacity(1024 + if length <= SMALL { length } else { 0 });
    for part in [request.method.as_str(), " ", &target.to_string(), " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &request.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    let expects_body = !matches!(request.method, Method::GET | Method::HEAD | Method::DELETE);
    if !request.headers.contains_key(CONTENT_LENGTH) && (length > 0 || expects_body) {
        head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// How long the head is, what it says, and whether the connection goes on after the body; `None` while it is not all here.
fn parse_head(received: &[u8]) -> io::Result<Option<(usize, Response<()>, bool)>> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    let wrong = |error: httparse::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let Status::Complete(length) = config.parse_response(&mut parsed, received).map_err(wrong)? else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
    let mut head = Response::new(());
    *head.status_mut() = status.map_err(|_| invalid("no status"))?;
    let is_11 = parsed.version == Some(1);
    *head.version_mut() = if is_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    for header in parsed.headers.iter() {
        let name =
            HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| invalid("no name of a header"))?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| invalid("no value of a header"))?;
        head.headers_mut().append(name, value);
    }
    let closes = tokens(head.headers(), &CONNECTION).any(|token| token.eq_ignore_ascii_case("close"));
    Ok(Some((length, head, is_11 && !closes)))
}

/// The parts of a list in headers.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")))
}

fn length(headers: &HeaderMap) -> io::Result<Length> {
    let told = || {
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter().flat_map(|value| {
            value.to_str().unwrap_or("?").split(',').map(|length| length.trim().parse::<usize>().ok())
        });
        let Some(first) = lengths.next() else { return Ok(None) };
        match first {
            Some(length) if lengths.all(|other| other == first) => Ok(Some(length)),
            _ => Err(invalid("no length of the answer")),
        }
    };
    let told = told()?;
    Ok(match (tokens(headers, &TRANSFER_ENCODING).last(), told) {
        // Who says both may mean either: what follows could be taken for another answer.
        (Some(_), Some(_)) => return Err(invalid("two lengths of the answer")),
        (Some(last), None) if last.eq_ignore_ascii_case("chunked") => Length::Chunked,
        (None, Some(length)) => Length::Told(length),
        _ => Length::Untold,
    })
}

#[cfg(test)]
mod tests;

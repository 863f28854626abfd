//! A link to a server that does to each request what a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request on its way. A test may change its body.
pub(crate) struct Request {
    /// Such as `UpdateItem`.
    pub(crate) action: String,
    pub(crate) body: String,
}

/// What becomes of a request.
pub(crate) enum ProxyAction {
    Forward,
    /// It passes after a while; others may pass it meanwhile.
    Delay(Duration),
    /// It reaches the server, and the connection breaks before the reply.
    DropReply,
    /// The connection breaks before it reaches the server.
    DropRequest,
    /// It is answered here, with this status and error code or body.
    Answer(u16, String),
    /// It is never answered.
    Hang,
}

impl ProxyAction {
    /// The refusal of the service with this code.
    pub(crate) fn refuse(code: &str) -> Self {
        let message = format!("refused by the test with {code}");
        Self::Answer(
            400,
            format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"{message}"}}"#),
        )
    }
}

type Decide = Arc<Mutex<dyn FnMut(&mut Request) -> ProxyAction + Send>>;

/// Ends with its test.
pub(crate) struct Proxy {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(
        server: &str,
        decide: impl FnMut(&mut Request) -> ProxyAction + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let decide: Decide = Arc::new(Mutex::new(decide));
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (server, log) = (server.to_owned(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server.clone(), Arc::clone(&decide), Arc::clone(&log)));
            }
        });
        Self { address, seen, task }
    }

    /// The actions seen since the last look.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, server: String, decide: Decide, seen: Arc<Mutex<Vec<String>>>) {
    while let Some((head, body)) = message(&mut client).await {
        let action =
            header(&head, "x-amz-target").and_then(|target| target.split('.').nth(1).map(str::to_owned));
        let mut request =
            Request { action: action.unwrap_or_default(), body: String::from_utf8(body).unwrap() };
        seen.lock().unwrap().push(request.action.clone());
        let action = (decide.lock().unwrap())(&mut request);
        let reply = match action {
            ProxyAction::DropRequest => return,
            ProxyAction::Hang => std::future::pending().await,
            ProxyAction::Answer(status, ref body) => format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
            ProxyAction::Forward | ProxyAction::Delay(_) | ProxyAction::DropReply => {
                if let ProxyAction::Delay(pause) = action {
                    tokio::time::sleep(pause).await;
                }
                let mut upstream = TcpStream::connect(&server).await.unwrap();
                let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length"));
                let head = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\r\n");
                let length = request.body.len();
                let request = format!("{head}\r\ncontent-length: {length}\r\n\r\n{}", request.body);
                upstream.write_all(request.as_bytes()).await.unwrap();
                let (head, body) = message(&mut upstream).await.unwrap();
                [head.into_bytes(), body].concat()
            }
        };
        if matches!(action, ProxyAction::DropReply) || client.write_all(&reply).await.is_err() {
            return;
        }
    }
}

/// Reads one message: its head with the empty line, and its body.
async fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let length: usize = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

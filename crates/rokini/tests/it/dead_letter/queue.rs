use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rokini::{DeadLetterEntry, DeadLetterQueue, DeadLetterSink, ErrorKind};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{aws, letter, put_together, record};

/// What the queue does with a request in place of taking it.
#[derive(Clone)]
pub enum Answer {
    /// Does not take these messages of it.
    Fail(Vec<usize>, &'static str, bool),
    /// Takes nothing.
    Error(u16, &'static str),
    /// Takes everything, and cuts the connection.
    TakeAndCut,
    /// Takes everything, and says nothing of the last message.
    TakeAndForgetOne,
}

/// A receiver of `SendMessageBatch` as Amazon SQS documents it.
#[derive(Default)]
pub struct Queue {
    limit: usize,
    script: VecDeque<Answer>,
    messages: Vec<Value>,
    requests: Vec<usize>,
    repetitions: BTreeSet<String>,
}

impl Queue {
    /// The answer; `None` cuts the connection.
    fn call(&mut self, target: &str, body: &Value) -> Option<(u16, Value)> {
        let error = |code: &str| Some((400, json!({ "__type": format!("com.amazonaws.sqs#{code}") })));
        assert_eq!(target, "AmazonSQS.SendMessageBatch");
        let url = body["QueueUrl"].as_str().unwrap();
        if !url.ends_with("/dead") && !url.ends_with("/dead.fifo") {
            return error("QueueDoesNotExist");
        }
        let entries = body["Entries"].as_array().unwrap();
        let ids: BTreeSet<_> = entries.iter().map(|entry| entry["Id"].as_str().unwrap()).collect();
        assert!((1..=10).contains(&entries.len()) && ids.len() == entries.len());
        let bodies = entries.iter().map(|entry| entry["MessageBody"].as_str().unwrap());
        if bodies.clone().map(str::len).sum::<usize>() > self.limit {
            return error("BatchRequestTooLong");
        }
        let allowed = |c: char| c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}');
        assert!(bodies.flat_map(str::chars).all(allowed));
        self.requests.push(entries.len());
        let (mut taken, mut failed) = (Vec::new(), Vec::new());
        let answer = self.script.pop_front();
        if let Some(Answer::Error(status, code)) = answer {
            return Some((status, json!({ "__type": code })));
        }
        for (index, entry) in entries.iter().enumerate() {
            if let Some(Answer::Fail(which, code, sender)) = &answer
                && which.contains(&index)
            {
                failed.push(json!({ "Id": entry["Id"], "Code": code, "SenderFault": sender }));
                continue;
            }
            let is_new = !url.ends_with(".fifo") || {
                assert!(entry["MessageGroupId"].as_str().is_some_and(|id| (1..=128).contains(&id.len())));
                let id = entry["MessageDeduplicationId"].as_str().unwrap();
                assert!((1..=128).contains(&id.len()));
                self.repetitions.insert(id.to_owned())
            };
            if is_new {
                self.messages.push(entry.clone());
            }
            let id = &entry["Id"];
            taken.push(
                json!({ "Id": id, "MessageId": "m", "MD5OfMessageBody": "0123456789abcdef0123456789abcdef" }),
            );
        }
        match answer {
            Some(Answer::TakeAndCut) => return None,
            Some(Answer::TakeAndForgetOne) => {
                taken.pop();
            }
            _ => {}
        }
        Some((200, json!({ "Successful": taken, "Failed": failed })))
    }

    pub fn entries(&self) -> Vec<DeadLetterEntry> {
        let body = |message: &Value| message["MessageBody"].as_str().unwrap().to_owned();
        self.messages
            .iter()
            .map(|message| DeadLetterEntry::parse(body(message).as_bytes()).unwrap())
            .collect()
    }

    fn times(&self) -> HashMap<String, usize> {
        let mut times = HashMap::new();
        for entry in self.entries() {
            *times.entry(entry.sequence_number).or_default() += 1;
        }
        times
    }
}

pub type Shared = Arc<Mutex<Queue>>;

async fn answer(queue: Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    let target = header("x-amz-target");
    assert_eq!(header("content-type"), "application/x-amz-json-1.0");
    assert!(header("authorization").contains("/us-east-1/sqs/aws4_request"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answered = queue.lock().unwrap().call(&target, &serde_json::from_slice(&body).unwrap());
    let (status, body) = answered.ok_or(std::io::ErrorKind::ConnectionAborted)?;
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    Ok(response.body(Full::new(body.to_string().into())).unwrap())
}

pub async fn serve(script: impl IntoIterator<Item = Answer>) -> (SocketAddr, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let queue = Queue { limit: 256 << 10, script: script.into_iter().collect(), ..Queue::default() };
    let queue = Arc::new(Mutex::new(queue));
    let shared = Arc::clone(&queue);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let queue = Arc::clone(&shared);
            let service = service_fn(move |request| answer(Arc::clone(&queue), request));
            tokio::spawn(async move {
                let served = hyper::server::conn::http1::Builder::new();
                let _ = served.serve_connection(TokioIo::new(socket), service).await;
                Ok::<(), Infallible>(())
            });
        }
    });
    (address, queue)
}

pub async fn sink(address: SocketAddr, name: &str) -> DeadLetterQueue {
    let endpoint = format!("http://{address}");
    DeadLetterQueue::new(&aws(&endpoint).await, format!("{endpoint}/000000000000/{name}")).unwrap()
}

#[tokio::test]
async fn a_letter_becomes_messages_that_say_where_from_and_why() {
    let (address, queue) = serve([]).await;
    let given = letter((0..23).map(|number| record(number, "ann", format!("data {number}"))).collect());
    sink(address, "dead").await.put(&given).await.unwrap();
    let queue = queue.lock().unwrap();
    assert_eq!(queue.requests, [10, 10, 3]);
    for (entry, record) in queue.entries().iter().zip(&given.records) {
        assert_eq!(entry.data().unwrap(), record.data());
        assert_eq!(entry.key, given.key(record));
        assert_eq!((entry.partition_key.as_deref(), entry.epoch), (Some("ann"), 3));
        assert_eq!(entry.failure, "panic: no such customer");
    }
}

#[tokio::test]
async fn a1_only_the_messages_that_were_refused_are_sent_again() {
    let script = [
        Answer::Fail(vec![0, 4, 9], "InternalError", false),
        Answer::Fail(vec![1], "RequestThrottled", true),
        Answer::Error(503, "ServiceUnavailable"),
    ];
    let (address, queue) = serve(script).await;
    let given = letter((0..25).map(|number| record(number, "k", "x")).collect());
    sink(address, "dead").await.put(&given).await.unwrap();
    let times = queue.lock().unwrap().times();
    assert_eq!(times.len(), 25);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[tokio::test]
async fn a1_lost_replies_are_no_confirmation_and_a_fifo_queue_drops_the_repetition() {
    for script in [[Answer::TakeAndCut], [Answer::TakeAndForgetOne]] {
        let (address, queue) = serve(script.clone()).await;
        let given = letter(vec![record(1, "k", "x"), record(2, "k", "y")]);
        sink(address, "dead").await.put(&given).await.unwrap();
        let times = queue.lock().unwrap().times();
        assert!(times["1"] >= 1 && times["2"] == 2, "kept, and once more: {times:?}");

        let (address, queue) = serve(script).await;
        sink(address, "dead.fifo").await.put(&given).await.unwrap();
        let times = queue.lock().unwrap().times();
        assert_eq!((times["1"], times["2"]), (1, 1));
    }
}

#[tokio::test]
async fn two_groups_do_not_take_each_other_for_repetitions() {
    let (address, queue) = serve([]).await;
    let sink = sink(address, "dead.fifo").await;
    let mut given = letter(vec![record(1, "k", "x")]);
    sink.put(&given).await.unwrap();
    given.group = "other".parse().unwrap();
    sink.put(&given).await.unwrap();
    assert_eq!(queue.lock().unwrap().messages.len(), 2);
}

#[tokio::test]
async fn a1_ten_mebibytes_come_in_parts_and_are_the_same_byte_by_byte() {
    let (address, queue) = serve([Answer::Fail(vec![0], "InternalError", false)]).await;
    let data: Vec<u8> = (0..10_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    sink(address, "dead").await.put(&letter(vec![record(1, "k", data.clone())])).await.unwrap();
    let entries = queue.lock().unwrap().entries();
    assert!(entries.len() > 40, "{} parts", entries.len());
    assert_eq!(put_together(entries), data);

    // A queue that takes more needs fewer, one that takes less says so.
    let (address, queue) = serve([]).await;
    queue.lock().unwrap().limit = 1 << 20;
    let large = sink(address, "dead").await.max_message_size(1 << 20);
    let data = data[..2 << 20].to_vec();
    large.put(&letter(vec![record(1, "k", data.clone())])).await.unwrap();
    let entries = queue.lock().unwrap().entries();
    assert!(entries.len() < 5, "{} parts", entries.len());
    assert_eq!(put_together(entries), data);
    queue.lock().unwrap().limit = 128 << 10;
    let error = large.put(&letter(vec![record(2, "k", data)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("raise its `MaximumMessageSize`"), "{error}");
}

#[tokio::test]
async fn a1_errors_say_what_to_do_and_confirm_nothing() {
    let given = letter(vec![record(1, "k", "x")]);
    let always = |answer: Answer| std::iter::repeat_n(answer, 40);
    for (answer, kind) in [
        (Answer::Error(403, "AccessDeniedException"), ErrorKind::Permission),
        (Answer::Error(400, "com.amazonaws.sqs#KmsAccessDenied"), ErrorKind::Permission),
        (Answer::Error(400, "RequestThrottled"), ErrorKind::Throttled),
        (Answer::Error(500, "InternalFailure"), ErrorKind::Retry),
        (Answer::Fail(vec![0], "InvalidMessageContents", true), ErrorKind::Configuration),
        (Answer::Fail(vec![0], "AWS.SimpleQueueService.NonExistentQueue", true), ErrorKind::Configuration),
    ] {
        let (address, queue) = serve(always(answer)).await;
        let error = sink(address, "dead").await.put(&given).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(queue.lock().unwrap().messages.is_empty());
    }
    let (address, _queue) = serve([]).await;
    let error = sink(address, "other").await.put(&given).await.unwrap_err();
    assert!(error.to_string().contains("/other` for dead letters does not exist"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let aws = aws("http://127.0.0.1:1").await;
    let url = "https://sqs.eu-west-1.amazonaws.com/000000000000/dead";
    let error = DeadLetterQueue::new(&aws, url).unwrap_err();
    assert!(error.to_string().contains("is in region `eu-west-1`"), "{error}");
}

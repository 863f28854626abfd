//! CloudEvents as the reader of the CloudEvents project understands them.

use std::collections::BTreeMap;
use std::process::Stdio;

use aws_sdk_kinesis::primitives::Blob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;
use tokio::time::timeout;

use crate::support::{LONGEST_WAIT, Local, Member};

/// Writes what the reader makes of each request: a line of JSON for an event.
const SERVICE: &str = r#"
import base64, json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.v1.http import from_http, from_json
def show(headers, body):
    event = from_http_event(HTTPMessage(headers=headers, body=body))
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    data = event.get_data()
    if isinstance(data, bytes): data = {"base64": base64.b64encode(data).decode()}
    print(json.dumps({**attributes, "data": data}), flush=True)
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *arguments): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = 200
        try:
            # By both of the readers that the package has: they refuse what is none.
            if headers["content-type"].startswith("application/cloudevents-batch"):
                for event in map(json.dumps, json.loads(body)):
                    from_json(event)
                    show({"content-type": "application/cloudevents+json"}, event.encode())
            else:
                from_http(headers, body, data_unmarshaller=lambda data: data)
                show(headers, body)
        except Exception as error:
            print(json.dumps({"error": repr(error)}), flush=True)
            status = 500
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

async fn line(lines: &mut Lines<BufReader<ChildStdout>>, member: &Member) -> String {
    let line = timeout(LONGEST_WAIT, lines.next_line()).await;
    line.unwrap_or_else(|_| panic!("nothing comes\n{}", member.stderr())).unwrap().unwrap()
}

#[tokio::test]
async fn the_reader_of_the_cloud_events_project_understands_every_format() {
    let Some(python) = super::support::python("cloudevents.core.bindings.http, cloudevents.v1.http") else {
        return;
    };
    let local = Local::start(1).await;
    let records: [(&str, &[u8]); 4] = [
        ("k", b"{\"a\": [1, \"\xc3\xa9\"]}"),
        ("schl\u{fc}ssel \u{20ac} 100% \"x\"", b"plain"),
        ("k", b"\x00\xff\xfe"),
        ("k", b"17"),
    ];
    let client = crate::fleet::kinesis(&local);
    let mut numbers = Vec::new();
    for (key, data) in records {
        let put = client.put_record().stream_name("orders").partition_key(key).data(Blob::new(data));
        numbers.push(put.send().await.unwrap().sequence_number().to_owned());
    }
    std::fs::write(local.home().join("reader.py"), SERVICE).unwrap();
    let mut service = tokio::process::Command::new(&python);
    service.arg("reader.py").current_dir(local.home()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut service = service.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let port = lines.next_line().await.unwrap().unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    for format in ["cloudevents-binary", "cloudevents-structured", "cloudevents-batch"] {
        let arguments =
            ["run", "orders", "--group", format, "--handler", "http", "--url", &url, "--format", format];
        let mut member = Member::spawn(local.rokini(&arguments));
        let mut ids = BTreeMap::new();
        for (number, (key, data)) in numbers.iter().zip(records) {
            let event: Value = serde_json::from_str(&line(&mut lines, &member).await).unwrap();
            let said =
                |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{format} {name}: {event}"));
            assert_eq!(
                (said("specversion"), said("type")),
                ("1.0", "aws.kinesis.record"),
                "{format}: {event}"
            );
            assert_eq!((said("partitionkey"), said("sequence")), (key, number.as_str()), "{format}");
            assert_eq!(said("subject"), "shardId-000000000000");
            assert!(said("source").ends_with(":stream/orders") && said("time").starts_with("20"), "{event}");
            ids.insert(said("id").to_owned(), ());
            let is_json = serde_json::from_slice::<Value>(data);
            let content_type = if is_json.is_ok() { "application/json" } else { "application/octet-stream" };
            assert_eq!(said("datacontenttype"), content_type);
            let read = match &event["data"] {
                Value::Object(bytes) if bytes.contains_key("base64") => {
                    STANDARD.decode(bytes["base64"].as_str().unwrap()).unwrap() == data
                }
                Value::String(text) => text.as_bytes() == data,
                json => is_json.is_ok_and(|wanted| wanted == *json),
            };
            assert!(read, "{format}: {event}");
        }
        assert_eq!(ids.len(), records.len());
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
}

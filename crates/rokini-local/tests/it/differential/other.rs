//! The other server, installed by npm into the target directory and run by node.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PACKAGE: &str = "kinesis-local@0.6.2";

/// A running server, which ends with this value.
pub(crate) struct Other {
    pub(crate) endpoint: String,
    process: Child,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts it; `None`, with the reason printed, if that cannot be.
pub(crate) async fn start() -> Option<Other> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kinesis-local");
    let package = directory.join("node_modules/kinesis-local");
    if !package.join("main.js").exists() {
        std::fs::create_dir_all(&directory).unwrap();
        let arguments = ["install", "--silent", "--no-audit", "--no-fund", PACKAGE];
        match Command::new("npm").args(arguments).current_dir(&directory).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                crate::skipped(format_args!("npm could not install {PACKAGE}: {}", why.trim()));
                return None;
            }
            Err(error) => {
                crate::skipped(format_args!("npm is not there: {error}"));
                return None;
            }
        }
    }
    let (plain, tls) = (free_port(), free_port());
    let mut command = Command::new("node");
    // It reads a file from where it is started.
    command.arg("main.js").current_dir(&package).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("KINESIS_MOCK_PLAIN_PORT", plain.to_string()).env("KINESIS_MOCK_TLS_PORT", tls.to_string());
    command.env("SHARD_LIMIT", "1000").env("LOG_LEVEL", "ERROR").env("AWS_REGION", "us-east-1");
    for change in [
        "CREATE_STREAM",
        "DELETE_STREAM",
        "REGISTER_STREAM_CONSUMER",
        "DEREGISTER_STREAM_CONSUMER",
        "SPLIT_SHARD",
        "MERGE_SHARDS",
        "UPDATE_SHARD_COUNT",
        "START_STREAM_ENCRYPTION",
        "STOP_STREAM_ENCRYPTION",
    ] {
        command.env(format!("{change}_DURATION"), "10ms");
    }
    let process = match command.spawn() {
        Ok(process) => process,
        Err(error) => {
            crate::skipped(format_args!("node is not there: {error}"));
            return None;
        }
    };
    let other = Other { endpoint: format!("http://127.0.0.1:{plain}"), process };
    let started = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", plain)).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "kinesis-local does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some(other)
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

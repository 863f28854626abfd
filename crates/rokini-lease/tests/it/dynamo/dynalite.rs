//! `dynalite`: a DynamoDB of other authors, installed by npm for one test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const PACKAGE: &str = "dynalite@4.0.0";

/// Ends, and is removed, with its test.
pub(crate) struct Dynalite {
    pub(crate) address: String,
    process: Child,
    directory: Directory,
}

/// Removed when dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Dynalite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Dynalite {
    /// Installs and starts it. An error says why that cannot be done here.
    pub(crate) async fn start() -> Result<Self, String> {
        for program in ["node", "npm"] {
            let probe =
                Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !probe.is_ok_and(|status| status.success()) {
                return Err(format!("{program} is not installed"));
            }
        }
        let directory =
            Directory(std::env::temp_dir().join(format!("rokini-dynalite-{}", std::process::id())));
        std::fs::create_dir_all(&directory.0).map_err(|error| error.to_string())?;
        let install = || {
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]);
            npm.arg(&directory.0).arg(PACKAGE).output()
        };
        let installed = install().map_err(|error| error.to_string())?;
        if !installed.status.success() {
            let said = String::from_utf8_lossy(&installed.stderr);
            let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or_default().to_owned();
            return Err(format!("npm cannot install {PACKAGE}: {last}"));
        }
        // The port is free again once this is dropped, and nobody else is given it at once.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = format!("127.0.0.1:{}", port.map_err(|error| error.to_string())?.port());
        let process = Command::new("node")
            .arg(directory.0.join("node_modules/dynalite/cli.js"))
            .args(["--host", "127.0.0.1", "--createTableMs", "20", "--port"])
            .arg(address.rsplit(':').next().unwrap_or_default())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let server = Self { address, process, directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&server.address).await.is_err() {
            assert!(
                Instant::now() < deadline,
                "dynalite does not answer in {}",
                server.directory.0.display()
            );
            sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }
}

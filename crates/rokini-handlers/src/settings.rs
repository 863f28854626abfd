//! How processes are started, waited for and ended.

use std::ffi::OsString;
use std::time::Duration;

/// How processes are started, waited for and ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessSettings {
    /// The program and its arguments. Looked up in `PATH`, without a shell. Not empty.
    pub command: Vec<OsString>,
    /// A program in front of it that ends in becoming it, such as one that has the kernel end it with this process.
    /// Default: none.
    pub launcher: Vec<OsString>,
    /// A program that is started beside them and ends their process groups when this process is killed, with all that they
    /// started: it does what [`keep_groups`](crate::keep_groups) does with its standard input. Default: none.
    pub keeper: Vec<OsString>,
    /// Variables of its environment besides those of this process.
    pub environment: Vec<(String, String)>,
    /// How long it may take until it is ready. Default 60 s.
    pub start_timeout: Duration,
    /// How long it may take for one batch of records; `None` for as long as it likes. Default 5 minutes.
    pub batch_timeout: Option<Duration>,
    /// How long it may take to end once it was asked to. Then it gets SIGTERM, and a second later SIGKILL, both with
    /// its whole process group. Default 5 s.
    pub stop_timeout: Duration,
    /// How many processes are started before a shard needs them. Default 1: the first record after a hand-over does not
    /// wait for an interpreter to start.
    pub spares: usize,
    /// How many processes start at the same time, at least one; one that takes longer than a second leaves its place to the next.
    /// Default: two for each processor of this machine, and 4 at least, so that those which wait for a disk do not leave a processor
    /// idle.
    pub starts_at_once: usize,
    /// How long processes wait beyond the spares that nobody needs. Then they are ended. Default 60 s.
    pub idle_timeout: Duration,
    /// Lines of output of one process that are shown in a second, and at once after a silence ten times as many; what is
    /// above is counted. Default 100.
    pub output_lines_per_second: u32,
    /// The same of the bytes of these lines. A line that is held back somewhere is held back to its end, and counted. Default
    /// 64 KiB.
    pub output_bytes_per_second: u32,
}

impl ProcessSettings {
    /// The defaults for this command.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            launcher: Vec::new(),
            keeper: Vec::new(),
            environment: Vec::new(),
            start_timeout: Duration::from_secs(60),
            batch_timeout: Some(Duration::from_secs(300)),
            stop_timeout: Duration::from_secs(5),
            spares: 1,
            starts_at_once: std::thread::available_parallelism()
                .map_or(4, |processors| processors.get() * 2)
                .max(4),
            idle_timeout: Duration::from_secs(60),
            output_lines_per_second: 100,
            output_bytes_per_second: 64 << 10,
        }
    }
}

//! The standard output of all workers, read in rounds: with them the history can compare lines of different
//! processes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use futures::FutureExt;
use futures::future::select_all;
use rokini_history::Process;
use tokio::net::unix::pipe::Receiver;
use tokio::process::ChildStdout;
use tokio::time::Instant;

const CHUNK: usize = 64 << 10;

/// The standard outputs of worker processes, one pipe each.
#[derive(Debug)]
pub(crate) struct WorkerOutputs {
    open: Vec<Pipe>,
    rounds: u64,
    chunk: Vec<u8>,
}

#[derive(Debug)]
struct Pipe {
    process: Process,
    end: Receiver,
    /// The begun line.
    rest: Vec<u8>,
}

/// One round through all pipes, in which each was read until it was empty.
#[derive(Debug)]
pub(crate) struct Round {
    /// Counts the rounds.
    pub(crate) number: u64,
    pub(crate) at: Instant,
    /// Whole lines without their ends, those of one process in their order.
    pub(crate) lines: Vec<(Process, Vec<u8>)>,
}

impl WorkerOutputs {
    pub(crate) fn new() -> Self {
        Self { open: Vec::new(), rounds: 0, chunk: vec![0; CHUNK] }
    }

    pub(crate) fn add(&mut self, process: Process, stdout: ChildStdout) -> io::Result<()> {
        self.add_end(process, stdout.into_owned_fd()?)
    }

    fn add_end(&mut self, process: Process, end: OwnedFd) -> io::Result<()> {
        self.open.push(Pipe { process, end: Receiver::from_owned_fd(end)?, rest: Vec::new() });
        Ok(())
    }

    /// Waits until there is something to read, and makes a round. Pipes at their end are dropped; an unfinished line at
    /// the end was cut off and does not count. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Round> {
        loop {
            self.readable().await?;
            let round = self.round()?;
            if !round.lines.is_empty() {
                return Ok(round);
            }
        }
    }

    /// Makes a round without waiting.
    pub(crate) fn round(&mut self) -> io::Result<Round> {
        let mut lines = Vec::new();
        let mut failure = None;
        let chunk = &mut self.chunk;
        self.open.retain_mut(|pipe| {
            pipe.drain(chunk, &mut lines).unwrap_or_else(|error| {
                failure = Some(error);
                false
            })
        });
        self.rounds += 1;
        match failure {
            Some(error) => Err(error),
            None => Ok(Round { number: self.rounds, at: Instant::now(), lines }),
        }
    }

    async fn readable(&self) -> io::Result<()> {
        if self.open.is_empty() {
            return std::future::pending().await;
        }
        let (ready, _, _) = select_all(self.open.iter().map(|pipe| pipe.end.readable().boxed())).await;
        ready
    }
}

impl Pipe {
    /// Reads until the pipe is empty. False at its end.
    fn drain(&mut self, chunk: &mut [u8], lines: &mut Vec<(Process, Vec<u8>)>) -> io::Result<bool> {
        loop {
            match self.read(chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => self.take(&chunk[..count], lines),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what is there. The runtime remembers that the pipe was empty and then does not look again, but a round proves
    /// something only when the system itself says so.
    fn read(&self, chunk: &mut [u8]) -> io::Result<usize> {
        match self.end.try_read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                rustix::io::read(self.end.as_fd(), chunk).map_err(Into::into)
            }
            read => read,
        }
    }

    fn take(&mut self, mut bytes: &[u8], lines: &mut Vec<(Process, Vec<u8>)>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            lines.push((self.process, std::mem::take(&mut self.rest)));
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write};

    use super::*;

    impl WorkerOutputs {
        /// Whether every process has closed its end.
        pub(crate) fn is_empty(&self) -> bool {
            self.open.is_empty()
        }
    }

    fn pipe(outputs: &mut WorkerOutputs, process: usize) -> PipeWriter {
        let (read, write) = io::pipe().unwrap();
        outputs.add_end(Process(process), read.into()).unwrap();
        write
    }

    fn texts(round: &Round) -> Vec<(usize, &str)> {
        round.lines.iter().map(|(process, line)| (process.0, str::from_utf8(line).unwrap())).collect()
    }

    #[tokio::test]
    async fn a_pass_reads_every_pipe_to_its_end_and_keeps_begun_lines() {
        let mut outputs = WorkerOutputs::new();
        let (mut one, mut two) = (pipe(&mut outputs, 1), pipe(&mut outputs, 2));
        two.write_all(b"a\nbeg").unwrap();
        one.write_all(b"x\ny\n").unwrap();
        let first = outputs.next().await.unwrap();
        assert_eq!(texts(&first), [(1, "x"), (1, "y"), (2, "a")]);
        two.write_all(b"un\n").unwrap();
        let second = outputs.next().await.unwrap();
        assert_eq!(texts(&second), [(2, "begun")]);
        assert!(second.number > first.number && second.at >= first.at);
    }

    #[tokio::test]
    async fn a_pass_asks_the_system_and_not_the_memory_of_the_runtime() {
        let mut outputs = WorkerOutputs::new();
        let mut writer = pipe(&mut outputs, 0);
        writer.write_all(b"first\n").unwrap();
        assert_eq!(texts(&outputs.next().await.unwrap()), [(0, "first")]);
        // Nothing is awaited between the two, so that the runtime cannot learn of the second line.
        writer.write_all(b"second\n").unwrap();
        assert_eq!(texts(&outputs.round().unwrap()), [(0, "second")]);
    }

    #[tokio::test]
    async fn more_than_a_chunk_is_read_in_one_pass() {
        let mut outputs = WorkerOutputs::new();
        outputs.chunk.truncate(3);
        let mut writer = pipe(&mut outputs, 0);
        writer.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(texts(&outputs.next().await.unwrap()), [(0, "one"), (0, "two"), (0, "three")]);
    }

    #[tokio::test]
    async fn a_closed_pipe_gives_what_was_whole_and_goes() {
        let mut outputs = WorkerOutputs::new();
        let mut writer = pipe(&mut outputs, 0);
        writer.write_all(b"whole\ncut o").unwrap();
        drop(writer);
        assert_eq!(texts(&outputs.next().await.unwrap()), [(0, "whole")]);
        assert!(outputs.is_empty());
    }

    #[tokio::test]
    async fn waits_for_whichever_pipe_comes_first() {
        let mut outputs = WorkerOutputs::new();
        let _quiet = pipe(&mut outputs, 0);
        let mut writer = pipe(&mut outputs, 1);
        assert!(outputs.next().now_or_never().is_none());
        writer.write_all(b"late\n").unwrap();
        assert_eq!(texts(&outputs.next().await.unwrap()), [(1, "late")]);
    }
}

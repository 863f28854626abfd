//! Standard output: data, written by a thread of its own, so that a slow reader blocks nothing else.

mod closed;
mod reader;

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::closed::refuse_closed_stdout;
use crate::error::{CliError, Status};

/// Texts that wait for the reader. Each caller waits for its own, so there are hardly more than callers.
const WAITING: usize = 64;

/// Standard output. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    texts: mpsc::Sender<Text>,
    closed: CancellationToken,
    failure: Arc<OnceLock<(io::ErrorKind, String)>>,
    /// Bytes flushed in all.
    flushed: Arc<AtomicU64>,
}

struct Text {
    bytes: Vec<u8>,
    /// Told how many bytes are flushed in all with these.
    flushed: oneshot::Sender<u64>,
}

impl Output {
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn stdout() -> Result<Self, CliError> {
        let output = Self::to(io::BufWriter::with_capacity(64 << 10, io::stdout()))?;
        tokio::spawn(output.clone().watch_reader());
        Ok(output)
    }

    fn to(writer: impl Write + Send + 'static) -> Result<Self, CliError> {
        let (texts, mut waiting) = mpsc::channel(WAITING);
        let closed = CancellationToken::new();
        let output = Self { texts, closed, failure: Arc::default(), flushed: Arc::default() };
        let (closed, failure) = (output.closed.clone(), Arc::clone(&output.failure));
        let total = Arc::clone(&output.flushed);
        let write = move || {
            // Both outlive the failure's being told: who waits learns why as soon as they go.
            let mut unflushed = Vec::new();
            if let Err(error) = write_all(writer, &mut waiting, &mut unflushed, &total) {
                let _ = failure.set((error.kind(), error.to_string()));
                closed.cancel();
            }
        };
        let started = thread::Builder::new().name("stdout".to_owned()).spawn(write);
        started.map_err(|error| CliError::output(error.kind(), &error.to_string()))?;
        Ok(output)
    }

    /// Writes; returns once it is flushed.
    ///
    /// # Errors
    /// When it cannot be written. Where the reader is gone the error says so.
    pub(crate) async fn write(&self, bytes: Vec<u8>) -> Result<(), CliError> {
        self.write_through(bytes).await.map(drop)
    }

    /// As [`Output::write`], with the number of bytes that are flushed in all up to the end of these.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) async fn write_through(&self, bytes: Vec<u8>) -> Result<u64, CliError> {
        let (flushed, done) = oneshot::channel();
        if self.closed.is_cancelled() || self.texts.send(Text { bytes, flushed }).await.is_err() {
            return Err(self.refusal());
        }
        done.await.map_err(|_| self.refusal())
    }

    /// How many bytes the reader has taken, at least; `None` where that cannot be told.
    pub(crate) fn taken(&self) -> Option<u64> {
        // In this order: what is flushed between the two counts as not taken.
        let flushed = self.flushed.load(Ordering::Acquire);
        reader::unread().map(|unread| flushed.saturating_sub(unread))
    }

    /// Writes a JSON value as a line.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) async fn json(&self, value: &(impl serde::Serialize + Sync)) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| CliError::new(Status::DEFECT, "cannot write JSON").because(&error))?;
        line.push(b'\n');
        self.write(line).await
    }

    /// Cancelled when nothing can be written any more: the reader went away.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Why nothing can be written any more, once that is so.
    pub(crate) fn failure(&self) -> Option<CliError> {
        let failed = self.failure.get().map(|(kind, message)| CliError::output(*kind, message));
        failed.or_else(|| self.closed.is_cancelled().then(Self::reader_gone))
    }

    fn reader_gone() -> CliError {
        CliError::output(io::ErrorKind::BrokenPipe, "the reader is gone")
    }

    fn refusal(&self) -> CliError {
        self.failure().unwrap_or_else(Self::reader_gone)
    }

    /// Notices that the reader went away also while there is nothing to write.
    async fn watch_reader(self) {
        if reader::gone().await {
            self.closed.cancel();
        }
    }
}

/// Writes what waits, flushes once for all of it, then tells those who wait.
fn write_all(
    mut writer: impl Write,
    waiting: &mut mpsc::Receiver<Text>,
    unflushed: &mut Vec<(oneshot::Sender<u64>, u64)>,
    total: &AtomicU64,
) -> io::Result<()> {
    let mut written = 0_u64;
    while let Some(text) = waiting.blocking_recv() {
        let mut next = Some(text);
        while let Some(Text { bytes, flushed }) = next {
            unflushed.push((flushed, written + bytes.len() as u64));
            writer.write_all(&bytes)?;
            written += bytes.len() as u64;
            next = waiting.try_recv().ok();
        }
        writer.flush()?;
        total.store(written, Ordering::Release);
        for (flushed, end) in unflushed.drain(..) {
            let _ = flushed.send(end);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Fails at the given write.
    #[derive(Clone, Default)]
    struct Pipe {
        written: Arc<Mutex<Vec<u8>>>,
        flushed: Arc<Mutex<usize>>,
        breaks: bool,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.breaks && bytes.contains(&b'!') {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            *self.flushed.lock().unwrap() = self.written.lock().unwrap().len();
            Ok(())
        }
    }

    #[tokio::test]
    async fn returns_once_flushed() {
        let pipe = Pipe::default();
        let output = Output::to(pipe.clone()).unwrap();
        for n in 1..=3 {
            assert_eq!(output.write_through(b"line\n".to_vec()).await.unwrap(), 5 * n as u64);
            assert_eq!(*pipe.flushed.lock().unwrap(), 5 * n);
        }
    }

    /// Fails as a full disk does.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_is_never_taken_for_a_reader_that_went_away() {
        for _ in 0..500 {
            let output = Output::to(Full).unwrap();
            let refused = output.write(b"line\n".to_vec()).await.unwrap_err();
            assert!(!refused.reader_gone && refused.status == Status::FAILED, "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_broken_pipe_refuses_this_and_everything_after() {
        let output = Output::to(Pipe { breaks: true, ..Pipe::default() }).unwrap();
        output.write(b"good\n".to_vec()).await.unwrap();
        for text in ["bad!\n", "good\n"] {
            assert!(output.write(text.into()).await.unwrap_err().reader_gone, "{text}");
        }
        output.closed().cancelled().await;
    }
}

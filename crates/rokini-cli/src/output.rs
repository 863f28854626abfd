//! Standard output: data, written by a thread of its own, so that a slow reader blocks nothing else.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::CliError;

/// Texts that wait for the reader. Each caller waits for its own, so there are hardly more than callers.
const WAITING: usize = 64;

/// Standard output. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    texts: mpsc::Sender<Text>,
    closed: CancellationToken,
    failure: Arc<OnceLock<(io::ErrorKind, String)>>,
}

struct Text {
    bytes: Vec<u8>,
    flushed: oneshot::Sender<()>,
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
        let (texts, waiting) = mpsc::channel(WAITING);
        let output = Self { texts, closed: CancellationToken::new(), failure: Arc::default() };
        let (closed, failure) = (output.closed.clone(), Arc::clone(&output.failure));
        let write = move || {
            if let Err(error) = write_all(writer, waiting) {
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
        let (flushed, done) = oneshot::channel();
        if self.closed.is_cancelled()
            || self.texts.send(Text { bytes, flushed }).await.is_err()
            || done.await.is_err()
        {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Writes a JSON value as a line.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) async fn json(&self, value: &(impl serde::Serialize + Sync)) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(value).map_err(|error| {
            CliError::new(crate::error::Status::DEFECT, "cannot write JSON").because(&error)
        })?;
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
        if reader_gone().await {
            self.closed.cancel();
        }
    }
}

/// Writes what waits, flushes once for all of it, then tells those who wait.
fn write_all(mut writer: impl Write, mut waiting: mpsc::Receiver<Text>) -> io::Result<()> {
    let mut unflushed = Vec::new();
    while let Some(text) = waiting.blocking_recv() {
        let mut next = Some(text);
        while let Some(Text { bytes, flushed }) = next {
            writer.write_all(&bytes)?;
            unflushed.push(flushed);
            next = waiting.try_recv().ok();
        }
        writer.flush()?;
        for flushed in unflushed.drain(..) {
            let _ = flushed.send(());
        }
    }
    Ok(())
}

/// Returns whether the reader of a pipe is gone, once it is; `false` for what cannot be watched.
#[cfg(target_os = "linux")]
async fn reader_gone() -> bool {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    use tokio::io::Interest;
    use tokio::net::unix::pipe::Sender;

    let Ok(file) = io::stdout().as_fd().try_clone_to_owned().map(File::from) else { return false };
    if !file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return false;
    }
    // Only watched, never written: the pipe stays blocking for the thread that writes.
    let Ok(pipe) = Sender::from_file_unchecked(file) else { return false };
    pipe.ready(Interest::ERROR).await.is_ok()
}

#[cfg(not(target_os = "linux"))]
async fn reader_gone() -> bool {
    false
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
            output.write(b"line\n".to_vec()).await.unwrap();
            assert_eq!(*pipe.flushed.lock().unwrap(), 5 * n);
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

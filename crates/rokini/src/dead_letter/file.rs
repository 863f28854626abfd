//! Dead letters in a file of JSON lines.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::entry;
use super::letter::DeadLetter;
use super::sink::DeadLetterSink;
use crate::types::error::{Error, ErrorKind};

/// Keeps dead letters in a file: one line of JSON for each record ([`DeadLetterEntry`](crate::DeadLetterEntry)),
/// appended and flushed to the disk (fsync) before it counts as kept.
///
/// The file is made by the consumer's `build` where it is missing, opened anew for each letter, and never shortened or
/// renamed: it can be moved away while the consumer runs. All shards of a worker share it, and so may several processes
/// of one host: they write in turn, under a lock of the file. A line that a crash cut off stays as it is and is ended
/// before the next one begins.
///
/// The disk is that of the host the worker runs on: in a container give it a volume.
#[derive(Debug, Clone)]
pub struct DeadLetterFile {
    path: Arc<Path>,
    /// Letters of one process are written one after the other.
    turn: Arc<Mutex<()>>,
    /// Writes that have begun are carried to their end, also when nobody waits for them any more.
    writes: TaskTracker,
}

impl DeadLetterFile {
    /// Keeps them in the file at `path`. Touches nothing yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), turn: Arc::default(), writes: TaskTracker::new() }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does work on the file where it may block.
    async fn blocking(
        &self,
        work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let path = Arc::clone(&self.path);
        match self.writes.spawn_blocking(move || work(&path)).await {
            Ok(result) => result.map_err(|error| failed(&self.path, error)),
            Err(error) => {
                Err(Error::new(ErrorKind::Bug, "the task that writes dead letters died").with_source(error))
            }
        }
    }
}

#[async_trait]
impl DeadLetterSink for DeadLetterFile {
    /// Makes the file where it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`] and [`ErrorKind::Configuration`] when it cannot be opened.
    async fn open(&self) -> Result<(), Error> {
        self.blocking(|path| open(path).map(drop)).await
    }

    /// # Errors
    /// [`ErrorKind::Permission`] and [`ErrorKind::Configuration`] when the file cannot be opened;
    /// [`ErrorKind::Retry`] when it cannot be written (a full disk, for example) or another process writes it.
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        let mut lines = String::new();
        for record in &letter.records {
            lines.push_str(&entry::whole(letter, record)?);
            lines.push('\n');
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.blocking(move |path| {
            let _turn = turn;
            append(path, lines.as_bytes())
        })
        .await
    }
}

/// Opens the file, or makes it. A new one is there after a crash only once its folder is on the disk too.
fn open(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    match path.parent().filter(|_| is_new && cfg!(unix)) {
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all()?,
        Some(folder) => File::open(folder)?.sync_all()?,
        None => {}
    }
    Ok(file)
}

/// Adds whole lines at the end and waits until the disk has them.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    // Let go with the file.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::WouldBlock, "another process writes it now")
        }
        TryLockError::Error(error) => error,
    })?;
    if ends_within_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)?;
    file.sync_all()
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn failed(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound => (
            ErrorKind::Configuration,
            format!("the file for dead letters `{path}` cannot be made: make its folder"),
        ),
        io::ErrorKind::IsADirectory => {
            (ErrorKind::Configuration, format!("`{path}` is a folder: name a file for dead letters"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (
            ErrorKind::Permission,
            format!(
                "the file for dead letters `{path}` may not be written: allow it to the user of this process"
            ),
        ),
        _ => (
            ErrorKind::Retry,
            format!("dead letters could not be written to `{path}`: it is tried again; check the disk"),
        ),
    };
    Error::new(kind, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::entry::DeadLetterEntry;
    use super::*;
    use crate::dead_letter::letter::tests::letter;
    use crate::types::record::Record;
    use rokini_lease::SequenceNumber;

    fn one(number: u128, data: &str) -> DeadLetter {
        letter("g", 1, vec![Record::new(SequenceNumber::from(number), "k", data, 1)])
    }

    fn lines(path: &Path) -> Vec<Result<String, ErrorKind>> {
        let text = std::fs::read_to_string(path).unwrap();
        let entry = |line: &str| match DeadLetterEntry::parse(line.as_bytes()) {
            Ok(entry) => Ok(entry.sequence_number),
            Err(error) => Err(error.kind()),
        };
        text.lines().map(entry).collect()
    }

    #[tokio::test]
    async fn a1_a_torn_last_line_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.jsonl");
        DeadLetterFile::new(&path).put(&one(1, "whole")).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        // As a crash within the next write leaves it.
        std::fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
        let again = DeadLetterFile::new(&path);
        again.put(&one(2, "after")).await.unwrap();
        again.put(&one(3, "after")).await.unwrap();
        let found = lines(&path);
        assert_eq!(found, [Ok("1".into()), Err(ErrorKind::Data), Ok("2".into()), Ok("3".into())]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a1_many_shards_share_a_file_and_dropped_calls_tear_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let sink = Arc::new(DeadLetterFile::new(folder.path().join("dead.jsonl")));
        let data = "x".repeat(200_000);
        let mut puts = tokio::task::JoinSet::new();
        for number in 0..40 {
            let (sink, letter) = (Arc::clone(&sink), one(number, &data));
            puts.spawn(async move { sink.put(&letter).await.map(|()| number.to_string()) });
        }
        let mut kept = std::collections::BTreeSet::new();
        while let Some(put) = puts.join_next().await {
            kept.insert(put.unwrap().unwrap());
            if kept.len() == 20 {
                puts.abort_all();
                break;
            }
        }
        while puts.join_next().await.is_some() {}
        sink.writes.close();
        sink.writes.wait().await;
        let found: std::collections::BTreeSet<_> =
            lines(sink.path()).into_iter().collect::<Result<_, _>>().unwrap();
        assert!(found.is_superset(&kept));
    }

    #[tokio::test]
    async fn a_file_that_another_process_writes_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.jsonl");
        // Another open file stands for another process: locks belong to it.
        let other = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        other.lock().unwrap();
        let sink = DeadLetterFile::new(&path);
        assert!(sink.put(&one(1, "a")).await.unwrap_err().is_retryable());
        assert_eq!(lines(&path), []);
        drop(other);
        sink.put(&one(1, "a")).await.unwrap();
        assert_eq!(lines(&path), [Ok("1".into())]);
    }

    #[tokio::test]
    async fn what_waiting_does_not_mend_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let missing = DeadLetterFile::new(folder.path().join("no/dead.jsonl"));
        assert!(missing.open().await.is_err(), "known before the first letter");
        let error = missing.put(&one(1, "a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().ends_with("make its folder"), "{error}");
        let error = DeadLetterFile::new(folder.path()).put(&one(1, "a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }
}

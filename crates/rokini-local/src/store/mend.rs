//! Takes out of the files what cannot be read, and keeps a copy of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Gives a file a second name that nothing deletes.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    for count in 1.. {
        let aside = path.with_extension(format!("damaged-{count}"));
        match std::fs::hard_link(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // A file system without hard links.
            Err(_) => return std::fs::copy(path, &aside).map(|_| aside),
            Ok(()) => return Ok(aside),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Sets a file aside, and leaves of it what can be read. On a disk that takes no writing it stays as it is.
pub(super) fn set_aside_rest(
    path: &Path,
    bytes: &[u8],
    unread: usize,
    readable: &[Range<usize>],
) -> Option<PathBuf> {
    let frames = || readable.iter().map(|place| &bytes[place.clone()]);
    let moved = set_aside(path).and_then(|aside| {
        replace(path, frames()).inspect_err(|_| drop(std::fs::remove_file(&aside)))?;
        Ok(aside)
    });
    let (length, shown) = (bytes.len(), path.display());
    match moved {
        Ok(aside) => {
            tracing::warn!(
                "{unread} of {length} bytes of `{shown}` cannot be read. The file is set aside as `{}`; everything else in it is \
                 there.",
                aside.display()
            );
            Some(aside)
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "{unread} of {length} bytes of `{shown}` cannot be read, and it cannot be set aside; everything else in it is there"
            );
            None
        }
    }
}

/// Replaces a file by one of these frames, or by none.
fn replace<'a>(path: &Path, frames: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let mut frames = frames.peekable();
    if frames.peek().is_none() {
        return std::fs::remove_file(path);
    }
    let new = path.with_extension("new");
    let write = || {
        let mut file = File::create(&new)?;
        for frame in frames {
            file.write_all(frame)?;
        }
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&new)))
}

/// Takes the beginning of a call from the end of the last file. Only what was being written as the process ended looks like that,
/// unless somebody else cut the file.
pub(super) fn cut_off(path: &Path, from: usize, length: usize) {
    let cut = if from == 0 {
        std::fs::remove_file(path)
    } else {
        OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(from as u64))
    };
    let shown = path.display();
    match cut {
        Ok(()) => tracing::warn!(
            "`{shown}` ended with {length} bytes of a call that was being written as the process ended, and never answered: they \
             are cut off. If the process ended otherwise, the file was cut, and a call that was answered is lost."
        ),
        Err(error) => {
            tracing::warn!(%error, "the last {length} bytes of `{shown}` are no whole call, and cannot be cut off");
        }
    }
}

//! Tokens and headers in files, which others replace while this process runs. Never shown.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use rokini::{Error, ErrorKind};
use tokio::time::Instant;

/// How often it is looked whether a file has changed.
const LOOK: Duration = Duration::from_secs(5);

type Headers = Vec<(HeaderName, HeaderValue)>;

/// A file with a token or with headers.
pub(super) struct SecretFile {
    path: PathBuf,
    read: fn(&str) -> Result<Headers, String>,
    state: Mutex<State>,
}

struct State {
    headers: Headers,
    modified: Option<SystemTime>,
    looked: Instant,
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SecretFile {
    pub(super) fn bearer_token(path: PathBuf) -> Result<Self, Error> {
        Self::open(path, |text| {
            let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
            let mut value = value.map_err(|_| "it is no token: it has characters that no header may have")?;
            value.set_sensitive(true);
            Ok(vec![(AUTHORIZATION, value)])
        })
    }

    pub(super) fn headers(path: PathBuf) -> Result<Self, Error> {
        Self::open(path, |text| read_headers(text, 1))
    }

    /// For where a file with a token says who asks.
    pub(super) fn headers_beside_token(path: PathBuf) -> Result<Self, Error> {
        Self::open(path, |text| read_headers(text, 0))
    }

    fn open(path: PathBuf, read: fn(&str) -> Result<Headers, String>) -> Result<Self, Error> {
        let wrong = |what: String| {
            Error::new(ErrorKind::Configuration, format!("the file `{}`: {what}", path.display()))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let headers = read(&text).map_err(wrong)?;
        let modified = std::fs::metadata(&path).and_then(|file| file.modified()).ok();
        let state = Mutex::new(State { headers, modified, looked: Instant::now() });
        Ok(Self { path, read, state })
    }

    /// As the file has them now; those it had before where it cannot be read.
    pub(super) fn current(&self) -> Headers {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let modified = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
            if modified != state.modified
                && let Ok(text) = std::fs::read_to_string(&self.path)
                && let Ok(headers) = (self.read)(&text)
            {
                (state.headers, state.modified) = (headers, modified);
            }
        }
        state.headers.clone()
    }
}

/// `Authorization` may be there so often: which of two counts, every service decides for itself.
fn read_headers(text: &str, authorizations: usize) -> Result<Headers, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let header = |(index, line): (usize, &str)| {
        let wrong = || format!("header {} is not `Name: value`", index + 1);
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = name.trim().parse().map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    let headers = lines.enumerate().map(header).collect::<Result<Headers, String>>()?;
    if headers.iter().filter(|(name, _)| *name == AUTHORIZATION).count() > authorizations {
        return Err(match authorizations {
            0 => "it has `Authorization`, and so has the bearer token: give one of the two".to_owned(),
            _ => "it has `Authorization` more than once".to_owned(),
        });
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_read_again_when_its_file_changes_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hush\n").unwrap();
        let secret = SecretFile::bearer_token(path.clone()).unwrap();
        assert_eq!(secret.current()[0].1, "Bearer hush");
        assert!(!format!("{secret:?} {:?}", secret.current()).contains("hush"));
        std::fs::write(&path, "later").unwrap();
        std::fs::File::open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(secret.current()[0].1, "Bearer hush", "not looked at each time");
        tokio::time::advance(LOOK).await;
        assert_eq!(secret.current()[0].1, "Bearer later");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK).await;
        assert_eq!(secret.current()[0].1, "Bearer later");
    }

    #[test]
    fn headers_are_lines_and_mistakes_do_not_show_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        std::fs::write(&path, "# for the gateway\nX-Api-Key: hush\n\nX-Tenant: a:b\n").unwrap();
        let secret = SecretFile::headers(path.clone()).unwrap();
        let headers = secret.current();
        assert_eq!(headers.len(), 2);
        assert_eq!((headers[1].0.as_str(), headers[1].1.to_str().unwrap()), ("x-tenant", "a:b"));
        std::fs::write(&path, "hush hush").unwrap();
        let error = SecretFile::headers(path).unwrap_err().to_string();
        assert!(error.contains("header 1") && !error.contains("hush hush"), "{error}");
        assert!(SecretFile::headers(folder.path().join("none")).is_err());
    }

    #[test]
    fn who_asks_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        let basic = "Authorization: Basic hush\n";
        std::fs::write(&path, basic).unwrap();
        assert_eq!(SecretFile::headers(path.clone()).unwrap().current().len(), 1);
        let beside = SecretFile::headers_beside_token(path.clone()).unwrap_err();
        std::fs::write(&path, basic.repeat(2)).unwrap();
        let twice = SecretFile::headers(path).unwrap_err();
        assert_eq!((beside.kind(), twice.kind()), (ErrorKind::Configuration, ErrorKind::Configuration));
        let (beside, twice) = (beside.to_string(), twice.to_string());
        assert!(beside.contains("bearer token") && twice.contains("more than once"), "{beside} {twice}");
        assert!(!beside.contains("hush") && !twice.contains("hush"), "{beside} {twice}");
    }
}

//! Credentials from the shared files, which somebody renews while the process runs: the SDK reads the files once.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::ConfigLoader;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use rokini_lease::WallClock;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::types::error::plain;

/// How long credentials without an end are used before the files are looked at again.
const LOOK: Duration = Duration::from_secs(60);
/// How long they are kept without asking their provider again, which may be a program: as the SDK's cache does.
const KEEP: Duration = Duration::from_secs(15 * 60);

/// When each file was changed, and its size; `None` where there is none.
type Versions = Vec<Option<(SystemTime, u64)>>;

/// The standard providers of credentials, made anew when a shared file has changed.
///
/// Credentials that have no end get one, a minute ahead, so that the SDK's cache asks here again. While a changed file brings
/// no credentials, as one that is half written, the ones from before are used.
pub(super) struct SharedFiles {
    /// Makes the providers.
    loader: Box<dyn Fn() -> ConfigLoader + Send + Sync>,
    files: Vec<PathBuf>,
    state: Mutex<State>,
}

struct State {
    provider: SharedCredentialsProvider,
    /// Of the files that the provider was made from.
    versions: Versions,
    /// The last credentials without an end, and since when.
    kept: Option<(Credentials, Instant)>,
}

impl SharedFiles {
    /// `provider` is what `loader` has made just now.
    pub(super) fn new(
        provider: SharedCredentialsProvider,
        loader: impl Fn() -> ConfigLoader + Send + Sync + 'static,
    ) -> Self {
        let files = files();
        let versions = versions(&files);
        Self { loader: Box::new(loader), files, state: Mutex::new(State { provider, versions, kept: None }) }
    }

    async fn credentials(&self) -> provider::Result {
        let mut state = self.state.lock().await;
        let versions = versions(&self.files);
        let changed = versions != state.versions;
        if !changed
            && let Some((kept, since)) = &state.kept
            && since.elapsed() < KEEP
        {
            return Ok(looked_at_again(kept.clone()));
        }
        if changed && let Some(provider) = (self.loader)().load().await.credentials_provider() {
            state.provider = provider;
        }
        match state.provider.provide_credentials().await {
            Ok(credentials) => {
                state.versions = versions;
                let endless = credentials.expiry().is_none();
                state.kept = endless.then(|| (credentials.clone(), Instant::now()));
                Ok(if endless { looked_at_again(credentials) } else { credentials })
            }
            Err(error) => match &state.kept {
                Some((kept, _)) => {
                    let error = plain(&error.to_string()).to_owned();
                    tracing::warn!(
                        error,
                        "the AWS credentials cannot be read again: the ones from before are used"
                    );
                    Ok(looked_at_again(kept.clone()))
                }
                None => Err(error),
            },
        }
    }
}

impl ProvideCredentials for SharedFiles {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl fmt::Debug for SharedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFiles").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Says of credentials that they have no end of their own.
#[derive(Debug, Clone)]
struct Endless;

/// When credentials end: not when they are only to be looked at again. `None` where they do not.
pub fn credentials_end(credentials: &Credentials) -> Option<SystemTime> {
    credentials.expiry().filter(|_| credentials.get_property::<Endless>().is_none())
}

fn looked_at_again(mut credentials: Credentials) -> Credentials {
    credentials.set_property(Endless);
    *credentials.expiry_mut() = Some(UNIX_EPOCH + Duration::from_millis(WallClock::system().millis()) + LOOK);
    credentials
}

/// Where the SDK looks for the shared files.
#[expect(
    clippy::disallowed_methods,
    reason = "the loader of the AWS configuration reads the environment, when asked"
)]
fn files() -> Vec<PathBuf> {
    let home = || std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE")).map(PathBuf::from);
    let place = |variable, name| {
        let named = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        named.or_else(|| Some(home()?.join(".aws").join(name)))
    };
    [place("AWS_CONFIG_FILE", "config"), place("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
        .into_iter()
        .flatten()
        .collect()
}

fn versions(files: &[PathBuf]) -> Versions {
    let version = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(version).collect()
}

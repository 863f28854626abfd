//! The wall clock as a value.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the wall clock. Only for what people see (time of a checkpoint, lag), never for a lease decision:
/// those use the monotonic `tokio::time`.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// The host's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|| {
            #[expect(clippy::disallowed_methods, reason = "the one door to the host's wall clock")]
            let now = SystemTime::now();
            now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
        }))
    }

    /// A clock of your own: milliseconds since the Unix epoch.
    pub fn from_fn(millis: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(millis))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn millis(&self) -> u64 {
        (self.0)()
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

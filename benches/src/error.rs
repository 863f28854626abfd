//! What goes wrong while measuring.

use std::error::Error;

/// Whatever it is: it is printed.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
